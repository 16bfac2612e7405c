// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestReadMetrics: a figure is the median of its runs, whatever else is printed.
func TestReadMetrics(t *testing.T) {
	got := readMetrics([]byte("goos: linux\nBenchmarkX/a-2 \t 1\t 30 ns/op\t 2.5 MiB\n" +
		"BenchmarkX/a-2 \t 1\t 10 ns/op\t 3.5 MiB\nBenchmarkX/a-2 \t 1\t 20 ns/op\nBenchmarkY\n    x.go:1: 4 y 5 z\nPASS\n"))
	if want := map[string]float64{"ns/op": 20, "MiB": 3.5}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestLinked: packages without imports, and of the standard library, count as none.
func TestLinked(t *testing.T) {
	const list = "unsafe,,\nfmt,,unsafe\na.example/x,a.example,fmt\nb.example/y,b.example,a.example/x,fmt\n" +
		library + "/internal/git," + library + ",b.example/y\n" + library + "," + library + ",fmt,a.example/x," +
		library + "/internal/git\n"
	for want, skip := range map[string][]string{"a.example b.example": nil, "a.example": {library + "/internal/git"}} {
		if got := strings.Join(slices.Sorted(maps.Keys(linked(list, skip...))), " "); got != want {
			t.Errorf("without %v %s, want %s", skip, got, want)
		}
	}
}

// TestBenchmark: what a benchmark does not say is an error, and one of its own where a program beside it is
// not at hand.
func TestBenchmark(t *testing.T) {
	t.Setenv("COSIGN", "")
	t.Setenv("GH", "/gh")
	t.Setenv("REPOPOLICY_PEERS", "")
	m := &measure{metrics: map[string]map[string]float64{"X": {"ms": 1.5}}}
	for unit, c := range map[string]struct {
		want   string
		failed bool
		absent bool
	}{
		"ms": {want: "1.5"}, "s": {failed: true}, "gh-ms": {failed: true}, "cosign-ms": {failed: true, absent: true},
	} {
		got, err := m.benchmark("./x", "X", "1x", 1, unit, "%.1f")()
		if got != c.want || (err != nil) != c.failed || errors.Is(err, errNoPeer) != c.absent {
			t.Errorf("%s: %q, %v", unit, got, err)
		}
	}
	if _, err := command("go", "version", "-x"); err == nil {
		t.Error("a command that fails is no error")
	}
}
