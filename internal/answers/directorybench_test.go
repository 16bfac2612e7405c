// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// sparse returns the root of a log of 2^level entries of which only some are known,
// by index, and their inclusion proofs. The hashes of what is not known are random.
func sparse(level int, from int64, known map[int64][]byte) (root []byte, proofs map[int64][][]byte) {
	here := false
	for i := range known {
		here = here || from <= i && i < from+1<<level
	}
	switch {
	case !here:
		root = make([]byte, sha256.Size)
		_, _ = rand.Read(root) // never fails
		return root, nil
	case level == 0:
		return rfc6962.DefaultHasher.HashLeaf(known[from]), map[int64][][]byte{from: nil}
	}
	left, proofs := sparse(level-1, from, known)
	right, more := sparse(level-1, from+1<<(level-1), known)
	if proofs == nil {
		proofs = map[int64][][]byte{}
	}
	for i := range proofs {
		proofs[i] = append(proofs[i], right)
	}
	for i, p := range more {
		proofs[i] = append(p, left)
	}
	return rfc6962.DefaultHasher.HashChildren(left, right), proofs
}

// large is a directory of 100,000 repositories in a log of 2^level entries after a
// year of hourly builds. The repository that is asked for has three bindings, each
// far from the others.
func large(b *testing.B, level int) *site {
	b.Helper()
	s := &site{World: bindtest.NewWorld(b, 2), Directory: directorytest.New(b, "directory.example/output"), t: b}
	s.Directory.Witness = directorytest.NewWitness(b, "witness.example")
	known := map[int64][]byte{}
	for i, nth := range []int64{1, 4, 7} {
		at := nth << level / 9
		known[at] = s.SignedWorkflow(repo, s.Payloads[min(i, 1)])
	}
	root, proofs := sparse(level, 0, known)
	s.Read(s.World.Root, s.Log, nil, s.Inst.SignV2(1<<level, [32]byte(root)))
	for at, body := range known {
		for _, k := range []string{repo, number} {
			s.Records[k] = append(
				s.Records[k],
				answers.Record{
					Binding: &answers.BindingRecord{Log: s.Log, Index: at, Body: string(body), Inclusion: proofs[at]},
				},
			)
		}
	}
	for _, k := range []string{repo, number} {
		r := s.Records[k]
		for i := range r {
			for j := range i {
				if r[i].Binding.Index < r[j].Binding.Index {
					r[i], r[j] = r[j], r[i]
				}
			}
		}
	}
	for i := range 100_000 {
		other := answers.Record{
			Disclosed: &answers.DisclosedRecord{Payload: spelling.Sum(fmt.Append(nil, i)), PAE: spelling.Sum(nil)},
		}
		s.Records[fmt.Sprint("https://github.com/others/", i)] = []answers.Record{other}
		s.Records[fmt.Sprint("https://github.com#15:9", i)] = []answers.Record{other}
	}
	for i := range 365 * 24 {
		s.Append(fmt.Append(nil, i))
	}
	s.Build(built)
	return s
}

// BenchmarkDirectory checks an answer of three bindings: what it takes to read, what
// is proven without a certificate, and all of it, by a root that has not seen them;
// and that there is none. It reports how large answers are.
func BenchmarkDirectory(b *testing.B) {
	for _, level := range []int{10, 20, 30} {
		s := large(b, level)
		three := s.Honest(repo)
		a := s.Absence("https://github.com/acme/nobody", 5) // where few prefixes have a key
		none, err := a.Encode()
		check(b, err)
		d := &answers.Directory{
			Root: s.World.Root, Descriptor: s.Descriptor("https://directory.example"), Staple: three,
			Now: func() time.Time { return now },
		}
		run := func(what string, size int, f func(b *testing.B)) {
			b.Run(fmt.Sprintf("entries=2^%d/%s", level, what), func(b *testing.B) {
				f(b)
				b.ReportMetric(float64(size), "bytes")
			})
		}
		run("read", len(three), func(b *testing.B) {
			for b.Loop() {
				_, err := answers.ParseAnswer(three)
				check(b, err)
			}
		})
		run("proofs", len(three), func(b *testing.B) {
			parsed, err := answers.ParseAnswer(three)
			check(b, err)
			for b.Loop() {
				check(b, answers.CheckProofs(d, parsed, locator(b, repo)))
			}
		})
		run("everything", len(three), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				d.Root = s.NewRoot()
				b.StartTimer()
				found, err := d.Find(b.Context(), bindings.Query{Repository: locator(b, repo)})
				if err != nil || len(found.Leaves) != 3 || found.Completeness != chain.CompleteProven {
					b.Fatal(len(found.Leaves), err)
				}
			}
		})
		run("none", len(none), func(b *testing.B) {
			d := *d
			d.Root, d.Staple = s.World.Root, none
			for b.Loop() {
				_, err := d.Find(b.Context(), bindings.Query{Repository: locator(b, "https://github.com/acme/nobody")})
				check(b, err)
			}
		})
	}
}
