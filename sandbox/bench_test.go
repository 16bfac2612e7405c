// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/sandbox"
)

// BenchmarkStart is from Start to a ready stack, in this process and in a fresh
// directory.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	var took []time.Duration
	for i := range b.N {
		begin := time.Now()
		s, err := sandbox.Start(b.Context(), filepath.Join(dir, strconv.Itoa(i)), sandbox.Options{})
		check(b, err)
		took = append(took, time.Since(begin))
		b.StopTimer()
		check(b, s.Close())
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "median-ms")
}

// BenchmarkProcess is from the start of the program to the line that says ready,
// and the most memory that it had in RAM by then.
func BenchmarkProcess(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "repopolicy-sandbox")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/repopolicy-sandbox").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	dir := b.TempDir()
	var took []time.Duration
	var peak int
	b.ResetTimer()
	for i := range b.N {
		cmd := exec.Command(binary, "up", "--dir", filepath.Join(dir, strconv.Itoa(i)))
		talk, err := cmd.StderrPipe()
		check(b, err)
		begin := time.Now()
		check(b, cmd.Start())
		lines := bufio.NewScanner(talk)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "ready") {
		}
		took = append(took, time.Since(begin))
		b.StopTimer()
		peak = max(peak, highWater(b, cmd.Process.Pid))
		check(b, cmd.Process.Signal(os.Interrupt))
		for lines.Scan() {
		}
		check(b, cmd.Wait())
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "median-ms")
	b.ReportMetric(float64(peak)/1024, "peak-MiB")
}

// highWater returns the most memory that a process had in RAM, in KiB, where
// Linux tells.
func highWater(b *testing.B, pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Logf("no memory figures: %v", err)
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(v)[0])
			check(b, err)
			return n
		}
	}
	return 0
}

// BenchmarkSign is from an ID token to a bundle that was verified.
func BenchmarkSign(b *testing.B) {
	s := start(b, sandbox.Options{})
	tr := trustedRoot(b, s)
	b.ResetTimer()
	for b.Loop() {
		bundle, err := signing{}.sign(b.Context(), s, blob([]byte("x")))
		check(b, err)
		check(b, judge(tr, bundle, []byte("x"), jobSAN, jobIssuer))
	}
}

// BenchmarkParallel signs two hundred times at once, each with its own token,
// certificate, time stamp and entry.
func BenchmarkParallel(b *testing.B) {
	const n = 200
	s := start(b, sandbox.Options{})
	begin := time.Now()
	for range b.N {
		errs := make(chan error, n)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				_, err := signing{timeout: time.Minute}.sign(context.WithoutCancel(b.Context()), s, blob([]byte("x")))
				errs <- err
			})
		}
		wg.Wait()
		for range n {
			check(b, <-errs)
		}
	}
	b.ReportMetric(float64(n*b.N)/time.Since(begin).Seconds(), "signatures/s")
}
