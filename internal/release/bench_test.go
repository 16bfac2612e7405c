// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// many returns n distinct artifacts with their bundles, in a directory.
func many(b *testing.B, n int) (dir string, inst *sigstoretest.Instance) {
	b.Helper()
	inst = sigstoretest.New(b)
	files := map[string][]byte{}
	for i := range n {
		name := fmt.Sprintf("widget_%d.tar.gz", i)
		req := sigstoretest.Workflow("v1")
		req.Artifact = fmt.Append(nil, name)
		files[name], files[name+".sigstore.json"] = req.Artifact, inst.Sign(req)
	}
	return put(b, files), inst
}

const distinct = 1000

// BenchmarkDistinctBundles judges 1,000 artifacts with 1,000 bundles in one
// call, policy included. Compare with BenchmarkSigstoreGoLoop.
func BenchmarkDistinctBundles(b *testing.B) {
	dir, inst := many(b, distinct)
	p := pin(b, workflowRule)
	for b.Loop() {
		if c := Class(run(judge(p, parseRoot(b, inst, sigstoretest.RootOptions{})), dir)); c != policy.ClassOK {
			b.Fatal(c)
		}
	}
	b.ReportMetric(float64(distinct)*float64(b.N)/b.Elapsed().Seconds(), "bundles/s")
}

// BenchmarkSigstoreGoLoop verifies the same bundles with sigstore-go alone, one
// after the other, without a policy.
func BenchmarkSigstoreGoLoop(b *testing.B) {
	dir, inst := many(b, distinct)
	tr, err := root.NewTrustedRootFromJSON(inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		b.Fatal(err)
	}
	id, err := verify.NewShortCertificateIdentity("https://token.actions.githubusercontent.com", "",
		sigstoretest.Workflow("v1").SAN, "")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		v, err := verify.NewVerifier(tr, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
		if err != nil {
			b.Fatal(err)
		}
		for i := range distinct {
			name := fmt.Sprintf("widget_%d.tar.gz", i)
			lib, err := bundle.LoadJSONFromPath(filepath.Join(dir, name+".sigstore.json"))
			if err != nil {
				b.Fatal(err)
			}
			artifact := verify.WithArtifact(bytes.NewReader([]byte(name)))
			if _, err := v.Verify(lib, verify.NewPolicy(artifact, verify.WithCertificateIdentity(id))); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(distinct)*float64(b.N)/b.Elapsed().Seconds(), "bundles/s")
}

const sumsFiles, sumsSize = 1000, 256 << 10

// BenchmarkSumsUnderOneBundle judges 1,000 files under one signed checksum file.
func BenchmarkSumsUnderOneBundle(b *testing.B) { underOneBundle(b, sumsFiles, sumsSize) }

// BenchmarkLargeUnderOneBundle judges one file of 256 MiB so.
func BenchmarkLargeUnderOneBundle(b *testing.B) { underOneBundle(b, 1, sumsFiles*sumsSize) }

// underOneBundle judges files under one signed checksum file, in turns with SHA-256 of the same bytes in
// memory, and with SHA-256 of the same files read in the simplest way, on as many cores. It reports the
// second and third times as parts of the first: what is missing to 100 is reading the files and judging
// them, or judging them alone.
func underOneBundle(b *testing.B, count, size int) {
	inst := sigstoretest.New(b)
	files := map[string][]byte{}
	var sums bytes.Buffer
	for i := range count {
		name := fmt.Sprintf("widget_%d.tar.gz", i)
		files[name] = bytes.Repeat(fmt.Append(nil, i), size/len(fmt.Append(nil, i)))
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	req := sigstoretest.Workflow("v1")
	req.Artifact = sums.Bytes()
	files["SHA256SUMS"], files["SHA256SUMS.sigstore.json"] = sums.Bytes(), inst.Sign(req)
	dir := put(b, files)
	p, r := pin(b, workflowRule), parseRoot(b, inst, sigstoretest.RootOptions{})
	var contents [][]byte
	var paths []string
	for name, data := range files {
		contents, paths = append(contents, data), append(paths, filepath.Join(dir, name))
	}
	b.SetBytes(int64(count) * int64(size))
	var ours, memory, read time.Duration
	since := func(sum *time.Duration, f func()) {
		start := time.Now()
		f()
		*sum += time.Since(start)
	}
	for b.Loop() {
		since(&ours, func() {
			if c := Class(run(judge(p, r), filepath.Join(dir, "SHA256SUMS"))); c != policy.ClassOK {
				b.Fatal(c)
			}
		})
		since(&memory, func() { side(workers(), len(contents), func(i int) { sha256.Sum256(contents[i]) }) })
		since(&read, func() { side(workers(), len(paths), func(i int) { simply(b, paths[i]) }) })
	}
	b.ReportMetric(100*memory.Seconds()/ours.Seconds(), "%-of-sha256")
	b.ReportMetric(100*read.Seconds()/ours.Seconds(), "%-of-read-and-sha256")
}

// simply hashes a file.
func simply(b *testing.B, path string) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	h, buf := sha256.New(), make([]byte, 128<<10)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buf); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSHA256 is the floor of BenchmarkSumsUnderOneBundle on as many cores.
func BenchmarkSHA256(b *testing.B) {
	data := make([]byte, sumsSize)
	b.SetBytes(sumsSize)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			sha256.Sum256(data)
		}
	})
}

// BenchmarkAccept and BenchmarkRefuse judge one artifact each: refusing must not
// cost more than accepting.
func BenchmarkAccept(b *testing.B) { benchmarkOne(b, workflowRule, policy.ClassOK) }

// BenchmarkRefuse refuses by identity.
func BenchmarkRefuse(b *testing.B) { benchmarkOne(b, peopleRule, policy.ClassDeny) }

func benchmarkOne(b *testing.B, rule string, want policy.Class) {
	dir, inst := many(b, 1)
	p, r := pin(b, rule), parseRoot(b, inst, sigstoretest.RootOptions{})
	for b.Loop() {
		if c := Class(run(judge(p, r), filepath.Join(dir, "widget_0.tar.gz"))); c != want {
			b.Fatal(c)
		}
	}
}

// TestDigestFile compares with the plain hash.
func TestDigestFile(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 1<<20+1)
	dir := put(t, map[string][]byte{"a": data})
	ds, err := Digests(filepath.Join(dir, "a"), []string{"sha256", "sha512", "sha384"})
	sum := sha256.Sum256(data)
	if err != nil || len(ds) != 3 || ds[0].Hex != hex.EncodeToString(sum[:]) {
		t.Errorf("%v %v", ds, err)
	}
	if _, err := Digests(dir, []string{"sha256"}); err == nil {
		t.Error("a directory has a digest")
	}
	if got := digestBytes(data); got[0] != ds[0] {
		t.Error("bytes and file differ")
	}
}
