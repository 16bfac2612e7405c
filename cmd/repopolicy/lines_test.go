// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// people is a rule for whatever alice signs of the files of [listed].
const people = `[[release]]
name       = "people"
tags       = "any"
artifacts  = ["widget_*", "SHA256SUMS"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

// BenchmarkLines runs whole processes over checksum files of more and more lines, each of which names
// a file of 16 bytes, and `sha256sum --check` after them. It reports milliseconds, MiB, and microseconds for
// a file.
func BenchmarkLines(b *testing.B) {
	program := buildIn(b, b.TempDir(), "repopolicy", ".")
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := listed(b, n, true)
			benchmarkFiles(b, program, dir, n, "files/SHA256SUMS")
			theirs := 0.0
			for range b.N {
				took, _ := measured(b, filepath.Join(dir, "files"), "sha256sum", "--check", "--quiet", "SHA256SUMS")
				theirs += took
			}
			b.ReportMetric(theirs/float64(b.N), "sha256sum-ms")
		})
	}
}

// BenchmarkSubjects runs whole processes over as many files of 16 bytes as one statement can be about. It
// reports milliseconds, MiB, and microseconds for a file.
func BenchmarkSubjects(b *testing.B) {
	const n = 10_000
	benchmarkFiles(b, buildIn(b, b.TempDir(), "repopolicy", "."), listed(b, n, false), n, "files")
}

func benchmarkFiles(b *testing.B, program, dir string, n int, what string) {
	b.Helper()
	var ms, rss float64
	for b.Loop() {
		took, mem := measured(b, dir, program, judging(what)...)
		ms, rss = ms+took, max(rss, mem)
	}
	if rss > maxRSS>>20 {
		b.Errorf("%.0f MiB", rss)
	}
	b.ReportMetric(ms/float64(b.N), "ms")
	b.ReportMetric(rss, "MiB")
	b.ReportMetric(ms*1000/float64(b.N)/float64(n), "us/file")
}

// judging is the command line that judges some of the files of [listed].
func judging(what string) []string {
	return []string{"verify", "--policy", "policy.toml", "--trusted-root", "root.json",
		"--as-of", sigstoretest.Now.AddDate(0, 1, 0).Format(time.RFC3339), what}
}

// listed returns a directory with policy.toml, root.json, and n files under one signature: of a list, or
// of a statement about them.
func listed(b testing.TB, n int, list bool) string {
	b.Helper()
	dir, inst := b.TempDir(), sigstoretest.New(b)
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o700); err != nil {
		b.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var lines bytes.Buffer
	var subjects []string
	for i := range n {
		data := fmt.Appendf(nil, "%016d", i)
		name, sum := fmt.Sprintf("widget_%06d.tar.gz", i), sha256.Sum256(data)
		write("files/"+name, data)
		fmt.Fprintf(&lines, "%x  %s\n", sum, name)
		subjects = append(subjects, fmt.Sprintf(`{"name":%q,"digest":{"sha256":"%x"}}`, name, sum))
	}
	r := sigstoretest.Request{SAN: "alice@example.com", Issuer: "https://accounts.google.com"}
	if list {
		r.Artifact = lines.Bytes()
		write("files/SHA256SUMS", r.Artifact)
		write("files/SHA256SUMS.sigstore.json", inst.Sign(r))
	} else {
		r.Statement = []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",` +
			`"predicate":{},"subject":[` + strings.Join(subjects, ",") + `]}`)
		write("files/multiple.intoto.jsonl", append(bytes.ReplaceAll(inst.Sign(r), []byte("\n"), nil), '\n'))
	}
	head, _ := policyParts(b)
	write("policy.toml", []byte(head+people))
	write("root.json", inst.Root(sigstoretest.RootOptions{}))
	return dir
}

// measured runs a program and returns how long it took, in milliseconds, and its memory, in MiB.
func measured(b *testing.B, dir, program string, args ...string) (ms, rss float64) {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	start := time.Now()
	out, err := cmd.CombinedOutput()
	ms = float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		b.Fatalf("%s: %v\n%.2000s", program, err, out)
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		rss = float64(u.Maxrss) / 1024
	}
	return ms, rss
}

// TestSignalAmongMany: a signal ends a run over a long list, whatever it does just then, and what was
// found until then is no verdict.
func TestSignalAmongMany(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for processes")
	}
	prog, dir := build(t), listed(t, 5_000, true)
	run := func(after time.Duration) (code int, out string, took time.Duration) {
		cmd := exec.Command(prog.bin, judging("files/SHA256SUMS")...)
		cmd.Dir = dir
		var b bytes.Buffer
		cmd.Stdout, cmd.Stderr = &b, &b
		start := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if after > 0 {
			defer time.AfterFunc(after, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }).Stop()
		}
		_ = cmd.Wait() // the code says it
		return cmd.ProcessState.ExitCode(), b.String(), time.Since(start)
	}
	code, out, whole := run(0)
	if code != 0 || !strings.Contains(out, "OK: 5001 of 5001") {
		t.Fatalf("exit %d\n%.500s", code, out)
	}
	for part := 1; part < 8; part++ {
		code, out, _ := run(whole * time.Duration(part) / 8)
		if code == 0 != strings.Contains(out, "OK: 5001 of 5001") || code != 0 && code != 3 && code != -1 {
			t.Errorf("after %d/8: exit %d\n%.500s", part, code, out)
		}
		t.Logf("after %d/8 of %s: exit %d", part, whole, code)
	}
}
