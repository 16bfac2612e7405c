// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/oracle"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestFlip flips some hundred bits of a bundle of each kind, each time others, and asks the library about
// each.
func TestFlip(t *testing.T) {
	inst := sigstoretest.New(t)
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",` +
		`"predicate":{},"subject":[{"name":"artifact","digest":{"sha256":` +
		`"b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"}}]}`)
	root := inst.Root(sigstoretest.RootOptions{})
	for name, change := range map[string]func(*sigstoretest.Request){
		"message":     func(r *sigstoretest.Request) { r.Artifact = []byte("artifact") },
		"envelope":    func(r *sigstoretest.Request) { r.Statement = statement },
		"v2 message":  func(r *sigstoretest.Request) { r.Artifact, r.Log, r.TSA = []byte("a"), sigstoretest.LogV2, true },
		"v2 envelope": func(r *sigstoretest.Request) { r.Statement, r.Log, r.TSA = statement, sigstoretest.LogV2, true },
		"both logs":   func(r *sigstoretest.Request) { r.Statement, r.Log, r.TSA = statement, sigstoretest.LogBoth, true },
		"no log": func(r *sigstoretest.Request) {
			r.Artifact, r.Log, r.TSA = []byte("artifact"), sigstoretest.LogNone, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := sigstoretest.Workflow("v1.2.3")
			change(&r)
			s := subject{id: name, data: inst.Sign(r), files: [2][]byte{root, nil}}
			if err := s.read(); err != nil {
				t.Fatal(err)
			}
			const bits = 200
			step := 8 * len(s.data) / bits
			counts, all := map[string]int{}, 0
			if n := s.flip(rand.IntN(step), step, 1, counts); n > 0 {
				t.Errorf("%d faults in\n%s\nunder\n%s", n, s.data, root)
			}
			for _, n := range counts {
				all += n
			}
			if all < bits {
				t.Errorf("%d of %d bits were judged", all, bits)
			}
			t.Log(counts)
		})
	}
}

// TestFaults: a bit is a fault where we take what the library refuses, and what not both accept as it is, is
// not tried.
func TestFaults(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	r := sigstoretest.Workflow("v1.2.3")
	r.Artifact = []byte("artifact")
	s := subject{data: inst.Sign(r), files: [2][]byte{stranger.Root(sigstoretest.RootOptions{}), nil}}
	if s.read() == nil {
		t.Error("a bundle of another instance was read")
	}
	theirs := s.theirs
	s.files[0] = inst.Root(sigstoretest.RootOptions{})
	if err := s.read(); err != nil {
		t.Fatal(err)
	}
	s.data = append(s.data, '\t') // with its third bit flipped it is white space, too
	last := 8 * (len(s.data) - 1)
	for want, by := range []*oracle.Root{s.theirs, theirs} {
		s.theirs = by
		if n := s.flip(last, 1, 1, map[string]int{}); n != want {
			t.Errorf("%d faults, want %d", n, want)
		}
	}
}
