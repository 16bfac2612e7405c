// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// large makes a bare repository of so many commits, with five objects each or alone.
func large(b testing.TB, commits int, files bool) string {
	b.Helper()
	dir := b.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		cmd.Stderr = os.Stderr
		return cmd
	}
	if err := run("init", "-q", "--bare", "-b", "main").Run(); err != nil {
		b.Skip(err)
	}
	cmd := run("fast-import", "--quiet")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(in)
	for i := range commits {
		fmt.Fprintf(w, "commit refs/heads/main\ncommitter t <t@example.com> %d +0000\ndata 1\nx\n", 1700000000+i)
		if i == 0 {
			fmt.Fprint(w,
				"M 100644 inline .repopolicy/policy.toml\ndata 6\npolicy\nM 100644 inline "+
					".repopolicy/signatures/1-a.sigstore.json\ndata 2\n{}\n")
		}
		if !files {
			continue
		}
		text := fmt.Sprint(i)
		fmt.Fprintf(w, "M 100644 inline a%d/b%d/f\ndata %d\n%s\n", i%10, i%100, len(text), text)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkLarge reads the files of a policy at the head of 100,000 commits and
// 500,000 objects, beside git.
func BenchmarkLarge(b *testing.B) {
	dir := large(b, 100_000, true)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			r, err := Open(context.Background(), dir)
			if err != nil {
				b.Fatal(err)
			}
			s, err := r.Local()
			if err != nil {
				b.Fatal(err)
			}
			if text, err := s.File(s.Default, ".repopolicy/policy.toml"); err != nil || string(text) != "policy" {
				b.Fatalf("%q, %v", text, err)
			}
			if files, err := s.Dir(s.Default, ".repopolicy/signatures", func(string) bool { return true }); err != nil ||
				len(files) != 1 {
				b.Fatal(files, err)
			}
			r.Close()
		}
	})
	b.Run("git", func(b *testing.B) {
		for b.Loop() {
			out, err := exec.Command("git", "-C", dir, "cat-file", "blob", "main:.repopolicy/policy.toml").Output()
			if err != nil || !strings.HasPrefix(string(out), "policy") {
				b.Fatal(string(out), err)
			}
		}
	})
}
