// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// BenchmarkLongChain runs whole processes, in turns: the policy in force of a clone with a chain of
// 1,000 versions, of two bundles each, which no run before has seen, and of one with a chain of one. It
// reports seconds, of processor time as well, and the most memory that each held, in MiB: the medians.
func BenchmarkLongChain(b *testing.B) {
	dir := b.TempDir()
	ours, measure := buildIn(b, dir, "repopolicy", "."), buildIn(b, dir, "measure", "./testdata/measure")
	for _, versions := range []int{1, 1000} {
		root, clone := filepath.Join(dir, fmt.Sprint(versions, ".json")), b.TempDir()
		f := bindtest.NewForge(b)
		if err := os.WriteFile(root, f.Root.Bytes(), 0o600); err != nil {
			b.Fatal(err)
		}
		commit(b, clone, f.Chain(versions))
		b.Run(fmt.Sprint(versions), func(b *testing.B) {
			var wall, cpu, memory []float64
			for b.Loop() {
				figure := filepath.Join(b.TempDir(), "rss")
				cmd := exec.Command(measure, figure, ours, "show", "-R", bindtest.Widget, "--git", clone, "--offline",
					"--require", "claimed,none", "--trusted-root", root, "--format", "json")
				cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+b.TempDir(), "XDG_CONFIG_HOME="+b.TempDir())
				start := time.Now()
				out, err := cmd.CombinedOutput()
				wall = append(wall, time.Since(start).Seconds())
				if err != nil || !strings.Contains(string(out), fmt.Sprintf(`"version": %d`, versions)) {
					b.Fatalf("%v\n%s", err, out)
				}
				cpu = append(cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
				memory = append(memory, kibibytes(b, figure)/1024)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(wall), "s")
			b.ReportMetric(median(cpu), "cpu-s")
			b.ReportMetric(median(memory), "MiB")
		})
	}
}

// commit writes files into a new clone, on the default branch.
func commit(b *testing.B, dir string, files []bindings.File) {
	b.Helper()
	var in strings.Builder
	w := bufio.NewWriter(&in)
	fmt.Fprintf(w, "commit refs/heads/main\ncommitter t <t@example.com> %d +0000\ndata 1\nx\n", sigstoretest.Now.Unix())
	for _, f := range files {
		fmt.Fprintf(w, "M 100644 inline %s\ndata %d\n%s\n", f.Name, len(f.Data), f.Data)
	}
	w.Flush()
	for _, args := range [][]string{{"init", "-q", "--bare", "-b", "main"}, {"fast-import", "--quiet"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		cmd.Stdin = strings.NewReader(in.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Skipf("git: %v: %s", err, out)
		}
	}
}
