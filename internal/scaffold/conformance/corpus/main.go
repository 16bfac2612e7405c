// SPDX-License-Identifier: Apache-2.0

// Corpus judges a directory of real Sigstore bundles and compares every verdict
// with the one that the directory's manifest expects.
//
//	go run ./internal/scaffold/conformance/corpus DIR
//
// DIR holds manifest.json (cases with thresholds, trusted roots and expected
// verdicts) and policies.json (policies in a neutral form with identity
// verdicts). Nothing is special-cased by name or digest. The last line is
// "N passed, M failed"; the exit code is 1 if anything failed or nothing ran.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sort"
	"sync"
)

func main() {
	verbose := flag.Bool("v", false, "print what passed, too")
	write := flag.String("write-policies", "", "write the policies that policies.json became to this `DIR`")
	all := flag.Bool("flips", false, "flip a bit in every byte of the sampled bundles rather than in some")
	originals := flag.Bool("originals", false, "judge the forms in which the evidence was published, too")
	cosign := flag.String("cosign", "", "run exported commands with the cosign at this `PATH`")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: corpus [-v] [-flips] [-originals] [-cosign PATH] [-write-policies DIR] DIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	c, err := load(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(2)
	}
	t := &tally{w: os.Stdout, verbose: *verbose}
	stderr := silence()
	c.judgeCases(t)
	if *cosign != "" {
		c.runCosign(t, *cosign)
	}
	if *originals {
		if err := c.judgeOriginals(t); err != nil {
			fmt.Fprintln(stderr, "corpus:", err)
			os.Exit(2)
		}
	}
	for _, err := range []error{c.judgePolicies(t, *write), c.flipBits(t, *all)} {
		if err != nil {
			fmt.Fprintln(stderr, "corpus:", err)
			os.Exit(2)
		}
	}
	os.Exit(t.finish())
}

// silence keeps sigstore-go from telling standard error about each signature
// that does not verify, and returns the real one.
func silence() *os.File {
	stderr := os.Stderr
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	return stderr
}

// tally counts checks and keeps what is to be listed.
type tally struct {
	mu      sync.Mutex
	w       io.Writer
	verbose bool
	passed  int
	failed  []string
	aside   map[string][]string // heading -> lines
}

// check counts one comparison.
func (t *tally) check(ok bool, what, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		t.passed++
		if t.verbose {
			fmt.Fprintf(t.w, "ok   %s: %s\n", what, fmt.Sprintf(format, args...))
		}
		return
	}
	t.failed = append(t.failed, fmt.Sprintf("FAIL %s: %s", what, fmt.Sprintf(format, args...)))
}

// leave lists something that is not judged, and why.
func (t *tally) leave(heading, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.aside == nil {
		t.aside = map[string][]string{}
	}
	if line := fmt.Sprintf(format, args...); !slices.Contains(t.aside[heading], line) {
		t.aside[heading] = append(t.aside[heading], line)
	}
}

func (t *tally) finish() int {
	var headings []string
	for h := range t.aside {
		headings = append(headings, h)
	}
	sort.Strings(headings)
	for _, h := range headings {
		sort.Strings(t.aside[h])
		fmt.Fprintf(t.w, "%s (%d):\n", h, len(t.aside[h]))
		for _, line := range t.aside[h] {
			fmt.Fprintln(t.w, "  "+line)
		}
	}
	sort.Strings(t.failed)
	for _, f := range t.failed {
		fmt.Fprintln(t.w, f)
	}
	fmt.Fprintf(t.w, "%d passed, %d failed\n", t.passed, len(t.failed))
	if len(t.failed) > 0 || t.passed == 0 {
		return 1
	}
	return 0
}

// parallel calls f for every index below n.
func parallel(n int, f func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
