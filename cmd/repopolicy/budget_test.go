// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// maxRSS is what a run may hold, whatever strangers send.
const maxRSS = 256 << 20

// program is the program as it is released, and what measures it.
type program struct{ bin, measure string }

func build(t *testing.T) program {
	t.Helper()
	dir := t.TempDir()
	p := program{filepath.Join(dir, "repopolicy"), filepath.Join(dir, "measure")}
	for out, pkg := range map[string]string{p.bin: ".", p.measure: "./testdata/measure"} {
		if text, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	return p
}

// run runs the program and returns its exit code, its output, the most memory that it
// held and how long it took.
func (p program) run(t *testing.T, dir string, args ...string) (code int, out []byte, rss int64, took time.Duration) {
	t.Helper()
	figure := filepath.Join(t.TempDir(), "rss")
	cmd := exec.Command(p.measure, append([]string{figure, p.bin}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir+"/.cache")
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took = time.Since(start)
	text, rerr := os.ReadFile(figure)
	if cmd.ProcessState == nil || rerr != nil {
		t.Fatal(err, rerr)
	}
	if _, err := fmt.Sscan(string(text), &rss); err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out, rss << 10, took
}

// TestBudget: whatever lies beside an artifact, a run ends soon, within its memory and
// with a verdict that is none of OK. What is honest fits.
func TestBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("large inputs")
	}
	const mib = 1 << 20
	prog, dir := build(t), t.TempDir()
	fixtures(t, dir)
	art := []byte("widget 1.2.3\n")
	write := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	repeat := func(s string, n int) []byte { return bytes.Repeat([]byte(s), n) }
	object := func(head, element, tail string, n int) []byte {
		return append(append([]byte(head), repeat(element, n/len(element))...), tail...)
	}
	verify := []string{"verify", "--offline", "--policy", "policy.toml", "--trusted-root", "trusted_root.json"}
	check := func(name string, args []string, codes ...int) {
		t.Helper()
		code, out, rss, took := prog.run(t, dir, append(verify[:len(verify):len(verify)], args...)...)
		t.Logf("%-40s exit %d, %3d MiB, %5.1f s", name, code, rss/mib, took.Seconds())
		if !slices.Contains(codes, code) || rss > maxRSS || took > 2*time.Minute {
			t.Errorf("%s: exit %d, %d MiB, %s\n%s", name, code, rss/mib, took, out[max(0, len(out)-300):])
		}
	}
	for name, data := range map[string][]byte{
		"lines beyond the limit":    repeat("1\n", 32*mib),
		"lines within it":           repeat("1\n", 8*mib-10),
		"lines of objects":          repeat("{}\n", 5*mib),
		"a list of numbers":         object("[", "1,", "1]", 15*mib),
		"a bundle of empty entries": object(`{"verificationMaterial":{"tlogEntries":[`, "{},", "{}]}}", 4*mib-200),
		"a thousand such": repeat(
			string(object(`{"verificationMaterial":{"tlogEntries":[`, "{},", "{}]}}", 15000))+"\n", 1000,
		),
		"members":                 []byte("{" + strings.Repeat(`"a":1,`, 2*mib) + `"b":1}`),
		"nested lists":            repeat("[", 8*mib),
		"nested objects":          repeat(`{"a":`, 2*mib),
		"attestations of nothing": object(`{"attestations":[`, "[],", "[]]}", 15*mib),
		"bundles of nothing":      object(`{"attestation_bundles":[`, "{},", `{}],"version":1}`, 15*mib),
		"a long signature": object(
			`{"base64Signature":"`, "AAAA",
			`","cert":"x","rekorBundle":{"SignedEntryTimestamp":"","Payload":{"body":"e30=",`+
				`"integratedTime":1,"logIndex":1,"logID":"aa"}}}`,
			15*mib,
		),
		"a body of empty objects": []byte(
			`{"base64Signature":"AAAA","cert":"x","rekorBundle":{"SignedEntryTimestamp":"","Payload":{"body":"` +
				base64.StdEncoding.EncodeToString(object(`{"spec":[`, "{},", "{}]}", 3*mib)) + `","integratedTime":1,` +
				`"logIndex":1,"logID":"aa"}}}`,
		),
		"a predicate of empty objects": []byte(
			`{"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}],"payload":"` +
				base64.StdEncoding.EncodeToString(object(
					`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"digest":{"sha256":"`+
						strings.Repeat("a", 64)+`"}}],"predicate":[`,
					"{},", "{}]}", 2*mib,
				)) + `"}`,
		),
		"subjects": []byte(
			`{"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}],"payload":"` +
				base64.StdEncoding.EncodeToString(object(
					`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[`,
					`{"digest":{"sha256":"`+strings.Repeat("a", 64)+`"}},`, "{}]}", 2*mib,
				)) + `"}`,
		),
		"a certificate of a few MiB": []byte(
			`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",` +
				`"verificationMaterial":{"certificate":{"rawBytes":"` +
				base64.StdEncoding.EncodeToString(repeat("\x30\x84\x00\x20\x00\x00", mib/3)) +
				`"}},"messageSignature":{}}`,
		),
		"text that is no JSON": repeat("x", 15*mib),
		"quotes":               repeat(`"`, 15*mib),
	} {
		folder := strings.ReplaceAll(name, " ", "-")
		ending := ".intoto.jsonl"
		if data[0] != '{' {
			ending = ".sigstore.json"
		}
		write(folder+"/widget_1.2.3.tar.gz", art)
		write(folder+"/widget_1.2.3.tar.gz"+ending, data)
		check(name, []string{folder}, 1, 3, 6)
		if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
			t.Fatal(err)
		}
	}
	var list bytes.Buffer
	for i := range 200_000 {
		fmt.Fprintf(&list, "%064x  f%d\n", i, i)
	}
	write("lists/SHA256SUMS", list.Bytes())
	check("a list of 200,000 files", []string{"lists/SHA256SUMS"}, 6)
	write("lists/SHA256SUMS", list.Bytes()[:bytes.Index(list.Bytes(), []byte("f15000\n"))-66])
	check("a list of 15,000 files", []string{"--format", "sarif", "lists/SHA256SUMS"}, 1)
	write("lists/SHA256SUMS", repeat("\n", 16*mib))
	check("a list of empty lines", []string{"lists/SHA256SUMS"}, 6)
	for i := range release.MaxArtifacts + 1 {
		write(fmt.Sprintf("many/%d", i), nil)
	}
	check("more files than are judged", []string{"many"}, 1)
	if err := os.Remove(filepath.Join(dir, "many/0")); err != nil {
		t.Fatal(err)
	}
	check("as many files as are judged", []string{"--format", "json", "many"}, 1)
	check("more results than a SARIF log has", []string{"--format", "sarif", "many"}, 1) // a denial stays one
	if err := os.RemoveAll(filepath.Join(dir, "many")); err != nil {
		t.Fatal(err)
	}

	// 200 rules, of which the last allows all files.
	head, rule := policyParts(t)
	var rules strings.Builder
	for i := range 199 {
		fmt.Fprintf(
			&rules,
			"[[release]]\nname = \"r%d\"\ntags = [\"w*\"]\nartifacts = [\"other_*\"]\n"+
				"workflow = \".github/workflows/other.yml\"\nenvironment = \"e%d\"\n",
			i, i,
		)
	}
	write("policy200.toml", []byte(head+rules.String()+rule))
	inst := sigstoretest.New(t)
	write("root200.json", inst.Root(sigstoretest.RootOptions{}))
	// .ci/long has 10,000 files.
	thousands := 2
	if os.Getenv("REPOPOLICY_LONG") != "" {
		thousands = 10
	}
	var lines bytes.Buffer
	for k := range thousands {
		var subjects []string
		for i := range 1000 {
			name := fmt.Sprintf("widget_%d.tar.gz", 1000*k+i)
			write("honest/"+name, []byte(name))
			subjects = append(
				subjects, fmt.Sprintf(`{"name":%q,"digest":{"sha256":"%x"}}`, name, sha256.Sum256([]byte(name))),
			)
		}
		r := sigstoretest.Workflow("v1.2.3")
		r.Statement = []byte(
			`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},` +
				`"subject":[` + strings.Join(subjects, ",") + `]}`,
		)
		lines.Write(bytes.ReplaceAll(inst.Sign(r), []byte("\n"), nil))
		lines.WriteByte('\n')
	}
	write("honest/multiple.intoto.jsonl", lines.Bytes())
	verify[3], verify[5] = "policy200.toml", "root200.json"
	check("files by 200 rules", []string{"--format", "json", "honest"}, 0)
	verify[0] = "explain"
	check("files by 200 rules, explained", []string{"honest"}, 0, 3)
	verify[0] = "verify"
	write("policy200.toml", []byte(head+rules.String()))
	check("files that no rule of 199 allows", []string{"--format", "sarif", "honest"}, 1)
}

// TestSignals: the first signal ends a run within a second, also one that looks at
// nothing but a file without an end.
func TestSignals(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for processes")
	}
	prog, dir := build(t), t.TempDir()
	fixtures(t, dir)
	sparse := filepath.Join(dir, "widget_sparse.tar.gz")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<40); err != nil {
		t.Skip(err)
	}
	bundle, err := os.ReadFile(filepath.Join(dir, "widget_1.2.3.tar.gz.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sparse+".sigstore.json", bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.Command(
			prog.bin, "verify", "--offline", "--policy", "policy.toml", "--trusted-root", "trusted_root.json", sparse,
		)
		cmd.Dir = dir
		talk, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(talk).ReadString('\n'); err != nil { // it says what it judges by
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond) // and hashes
		start := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code, took := cmd.ProcessState.ExitCode(), time.Since(start); code != 3 ||
			took > 10*time.Second { // a terabyte takes minutes
			t.Errorf("%s: exit %d after %s", sig, code, took)
		}
	}
}
