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

const linesPolicy = `format     = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version    = 1
expires    = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name       = "people"
tags       = "any"
artifacts  = ["widget_*", "SHA256SUMS"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

// BenchmarkLines runs whole processes over checksum files of more and more lines, each of which names
// a file of 16 bytes, beside `sha256sum --check`. It reports milliseconds, MiB, and microseconds for a line.
func BenchmarkLines(b *testing.B) {
	program := filepath.Join(b.TempDir(), "repopolicy")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkLines(b, program, n) })
	}
}

func benchmarkLines(b *testing.B, program string, n int) {
	dir := listed(b, n)
	var ours, theirs, rss float64
	for b.Loop() {
		took, mem := measured(b, dir, program, "verify", "--policy", "policy.toml", "--trusted-root", "root.json",
			"--as-of", sigstoretest.Now.AddDate(0, 1, 0).Format(time.RFC3339), "files/SHA256SUMS")
		ours, rss = ours+took, max(rss, mem)
		took, _ = measured(b, filepath.Join(dir, "files"), "sha256sum", "--check", "--quiet", "SHA256SUMS")
		theirs += took
	}
	if rss > maxRSS>>20 {
		b.Errorf("%.0f MiB", rss)
	}
	b.ReportMetric(ours/float64(b.N), "ms")
	b.ReportMetric(rss, "MiB")
	b.ReportMetric(ours*1000/float64(b.N)/float64(n), "us/line")
	b.ReportMetric(theirs/float64(b.N), "sha256sum-ms")
}

// listed returns a directory with policy.toml, root.json, and files with a signed list of n of them.
func listed(b testing.TB, n int) string {
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
	var list bytes.Buffer
	for i := range n {
		data := fmt.Appendf(nil, "%016d", i)
		name := fmt.Sprintf("widget_%06d.tar.gz", i)
		write("files/"+name, data)
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(data), name)
	}
	write("files/SHA256SUMS", list.Bytes())
	write("files/SHA256SUMS.sigstore.json", inst.Sign(sigstoretest.Request{
		SAN: "alice@example.com", Issuer: "https://accounts.google.com", Artifact: list.Bytes(),
	}))
	write("policy.toml", []byte(linesPolicy))
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
	prog, dir := build(t), listed(t, 5_000)
	run := func(after time.Duration) (code int, out string, took time.Duration) {
		cmd := exec.Command(prog.bin, "verify", "--policy", "policy.toml", "--trusted-root", "root.json",
			"--as-of", sigstoretest.Now.AddDate(0, 1, 0).Format(time.RFC3339), "files/SHA256SUMS")
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
