// SPDX-License-Identifier: Apache-2.0

// Mutate changes one operator, condition or result of a package at a time and
// runs the package's tests: a change that no test notices is one that a mistake
// could make as well.
//
//	go run ./internal/scaffold/mutate -run 'Chain|Model' ./policy/chain chain.go quorum.go
//
// All changes are compiled into one test binary, each behind a switch that an
// environment variable sets; the sources are not touched. It prints the changes
// that survive and the score.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

type options struct {
	dir     string // of the package whose tests run
	run     string
	timeout time.Duration
	workers int
}

func main() {
	o := options{}
	flag.StringVar(&o.dir, "tests", "", "`directory` of the package whose tests run; by default the package itself")
	flag.StringVar(&o.run, "run", "", "tests to run, as for go test")
	flag.DurationVar(&o.timeout, "timeout", 2*time.Minute, "for the tests of one mutant")
	flag.IntVar(&o.workers, "j", 2, "mutants at a time")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: mutate [flags] DIRECTORY FILE...")
		os.Exit(2)
	}
	if o.dir == "" {
		o.dir = flag.Arg(0)
	}
	survivors, total, err := o.mutate(flag.Arg(0), flag.Args()[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
	for _, m := range survivors {
		fmt.Printf("%s: survives: %s\n", m.pos, m.what)
	}
	fmt.Printf(
		"%d mutants, %d survive: %.1f %% killed\n", total, len(survivors),
		100*float64(total-len(survivors))/float64(max(total, 1)),
	)
}

// mutate compiles the tests with every mutant of the files and runs them for each.
func (o *options) mutate(pkg string, files []string) ([]mutant, int, error) {
	tmp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(tmp)
	g := &generator{}
	replace := map[string]string{}
	put := func(name string, text []byte) error {
		path, err := filepath.Abs(filepath.Join(pkg, name))
		if err != nil {
			return err
		}
		replace[path] = filepath.Join(tmp, strconv.Itoa(len(replace))+".go")
		return os.WriteFile(replace[path], text, 0o600)
	}
	name := ""
	for _, f := range files {
		var text []byte
		if text, name, err = g.file(filepath.Join(pkg, f)); err != nil {
			return nil, 0, err
		}
		if err := put(f, text); err != nil {
			return nil, 0, err
		}
	}
	if err := put("mutant_switch.go", fmt.Appendf(nil, switchSource, name)); err != nil {
		return nil, 0, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, 0, err
	}
	config, bin := filepath.Join(tmp, "overlay.json"), filepath.Join(tmp, "tests")
	if err := os.WriteFile(config, overlay, 0o600); err != nil {
		return nil, 0, err
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", config, "-o", bin, ".")
	build.Dir = o.dir
	if out, err := build.CombinedOutput(); err != nil {
		return nil, 0, fmt.Errorf("%w\n%s", err, out)
	}
	if noticed, err := o.test(bin, 0); err != nil || noticed {
		return nil, 0, errors.Join(err, errors.New("the tests fail without any mutant"))
	}
	survivors, err := o.all(bin, g.mutants)
	return survivors, len(g.mutants), err
}

// all runs the tests for every mutant and returns those that nothing notices.
func (o *options) all(bin string, mutants []mutant) ([]mutant, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var survivors []mutant
	var first error
	jobs := make(chan mutant)
	for range o.workers {
		wg.Go(func() {
			for m := range jobs {
				noticed, err := o.test(bin, m.number)
				mu.Lock()
				if first = cmpErr(first, err); err == nil && !noticed {
					survivors = append(survivors, m)
					fmt.Fprintf(os.Stderr, "%s: survives: %s\n", m.pos, m.what)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range mutants {
		jobs <- m
	}
	close(jobs)
	wg.Wait()
	slices.SortFunc(survivors, func(a, b mutant) int { return a.number - b.number })
	return survivors, first
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// test reports whether the tests notice the mutant.
func (o *options) test(bin string, number int) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	run := exec.CommandContext(ctx, bin, "-test.failfast", "-test.run", o.run)
	run.Dir = o.dir
	run.Env = append(os.Environ(), "MUTANT="+strconv.Itoa(number))
	err := run.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || errors.As(err, &exit) {
		return true, nil
	}
	return false, err
}
