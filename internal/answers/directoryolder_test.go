// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// older serves the tampered of another state beside the tiles of the site's own, of
// which tamper may change each.
func (s *site) older(f *directorytest.Directory, tamper func(tile []byte) []byte) {
	s.Tamper = func(p string, own []byte) []byte {
		switch {
		case !strings.HasPrefix(p, "/tile/"):
			return f.File(p)
		case tamper != nil:
			return tamper(own)
		}
		return own
	}
}

// TestOlderState: an answer of an older state than was seen counts if that is shown to be
// its beginning, and nearly as new. What was kept stays.
func TestOlderState(t *testing.T) {
	// sees makes the machine remember the site's state.
	sees := func(s *site, d *answers.Directory) {
		s.t.Helper()
		_, err := d.Find(s.t.Context(), bindings.Query{Repository: locator(s.t, repo)})
		check(s.t, err)
	}
	late := func(behind time.Duration) func(s *site, d *answers.Directory) {
		return func(s *site, d *answers.Directory) {
			f := s.Fork()
			s.Build(built.Add(time.Minute + behind))
			d.Now = func() time.Time { return now.Add(behind) }
			sees(s, d)
			s.older(f, nil)
		}
	}
	fewer := func(tamper func(tile []byte) []byte) func(s *site, d *answers.Directory) {
		return func(s *site, d *answers.Directory) {
			sees(s, d)
			s.older(s.before, tamper)
		}
	}
	// unread serves a state that has read but one entry.
	unread := func(s *site, d *answers.Directory) {
		s.read(s.Bodies[:1])
		s.Build(built.Add(2 * time.Minute))
		f := s.Fork()
		s.read(s.Bodies)
		s.Build(built.Add(3 * time.Minute))
		sees(s, d)
		s.older(f, nil)
	}
	for name, x := range map[string]struct {
		serve func(s *site, d *answers.Directory)
		held  bool   // what the repository's files bind is at hand
		want  string // of the error; "" for none
		forks bool
	}{
		"one fewer": {fewer(nil), true, "", false},
		"two fewer": {func(s *site, d *answers.Directory) {
			s.Build(built.Add(2 * time.Minute))
			fewer(nil)(s, d)
		}, true, "", false},
		"many fewer": {func(s *site, d *answers.Directory) {
			many(s, 600)
			fewer(nil)(s, d)
		}, true, "", false},
		"at the same time": {late(0), true, "", false},
		"a day older":      {late(24 * time.Hour), true, "", false},
		"older than a day": {late(24*time.Hour + time.Second), true, "it is 24h0m1s older", false},
		"of another history": {func(s *site, d *answers.Directory) {
			f := s.before.Fork()
			f.Build(built.Add(2 * time.Second)) // in the place of the site's third
			s.Build(built.Add(2 * time.Minute))
			sees(s, d)
			s.older(f, nil)
		}, true, "are not those that it signed", true},
		"of another history, with its tiles": {func(s *site, d *answers.Directory) {
			f := s.before.Fork()
			f.Build(built.Add(2 * time.Second))
			s.Build(built.Add(2 * time.Minute))
			sees(s, d)
			shown := f.Fork()
			f.Build(built.Add(3 * time.Minute))
			s.older(shown, nil)
			tampered := s.Tamper
			s.Tamper = func(p string, own []byte) []byte {
				if strings.HasPrefix(p, "/tile/") {
					return f.File(p)
				}
				return tampered(p, own)
			}
		}, true, "no proof", false}, // which nobody signed
		"without tiles": {fewer(func([]byte) []byte { return nil }), true, "no proof", false},
		"with other tiles": {
			fewer(func(tile []byte) []byte { return bytes.Repeat([]byte{1}, len(tile)) }), true, "no proof", false,
		},
		"with short tiles": {fewer(func(tile []byte) []byte { return tile[:32] }), true, "no proof", false},
		"with one bit changed": {fewer(func(tile []byte) []byte {
			tile = bytes.Clone(tile)
			tile[0] ^= 1
			return tile
		}), true, "no proof", false},
		"with the tiles of then alone": {func(s *site, d *answers.Directory) {
			sees(s, d)
			s.serveInstead(s.before)
		}, true, "no proof", false},
		"signed by nobody": {func(s *site, d *answers.Directory) {
			sees(s, d)
			f := directorytest.New(t, "directory.example/output")
			f.Read(s.World.Root, s.Log, s.Bodies, s.World.Checkpoint)
			f.Build(built)
			s.older(f, nil)
		}, true, "no verifiable signatures", false},
		"that has not read what is at hand":     {unread, true, "which is at hand", false},
		"that has not read what is not at hand": {unread, false, "", false},
		"stapled, and nobody to ask": {
			func(s *site, d *answers.Directory) { sees(s, d); d.Staple, d.Client = s.before.Honest(repo), nil }, true,
			"nobody was asked", false,
		},
		"stapled, and the directory says no better": {
			func(s *site, d *answers.Directory) { fewer(nil)(s, d); d.Staple = s.before.Honest(repo) }, true, "", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.Witness = nil
			s.before = s.Directory.Fork()
			s.Build(built.Add(time.Minute))
			state := bindtest.NewState(t)
			first := s.lookup(state)
			x.serve(s, first)
			about := "directory " + first.Descriptor.Key
			kept, err := state.LoadHead(about)
			if err != nil || kept.Checkpoint == nil {
				t.Fatalf("nothing was kept: %v", err)
			}
			q := bindings.Query{Repository: locator(t, repo)}
			if c, _ := bindings.Collect(s.World.Root, nil, s.Files); x.held {
				if q.Held = c.Held(); len(q.Held) == 0 {
					t.Fatal("nothing is at hand")
				}
			}
			next := &answers.Directory{
				Root: first.Root, Descriptor: first.Descriptor, Client: first.Client, Heads: state,
				Staple: first.Staple, Now: first.Now,
			}
			found, err := next.Find(t.Context(), q)
			var fork *rekor.Fork
			switch {
			case x.want == "" && err != nil, x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
				t.Fatalf("want %q: %v", x.want, err)
			case errors.As(err, &fork) != x.forks:
				t.Fatalf("evidence: %v", err)
			case fork != nil && (!bytes.Equal(fork.Seen, kept.Checkpoint) || len(fork.New) == 0):
				t.Errorf("not of what was kept: %s", fork.Seen)
			case x.want == "" &&
				(found.Completeness != chain.CompleteProven || !found.AsOf.Before(kept.Time) && name != "at the same time"):
				t.Errorf("%s as of %s", found.Completeness, found.AsOf)
			}
			if after, err := state.LoadHead(about); err != nil || !reflect.DeepEqual(after, kept) {
				t.Errorf("%d entries are kept, not %d: %v", after.Tree.Size, kept.Tree.Size, err)
			}
		})
	}
}

// TestOlderStateInOneRun: without a state from an earlier run it is the directory's word,
// as the newer one was.
func TestOlderStateInOneRun(t *testing.T) {
	s := newSite(t)
	s.Witness = nil
	before := s.Directory.Fork()
	s.Build(built.Add(time.Minute))
	d := s.lookup(bindtest.NewState(t))
	for _, serve := range []func(){func() {}, func() { s.older(before, nil) }} {
		serve()
		found, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)})
		if err != nil || found.Completeness != chain.CompleteSigned {
			t.Errorf("%s: %v", found.Completeness, err)
		}
	}
}

// TestOlderStateOfChain: an older answer takes nothing back of what the machine knows of
// a repository, and is as old as it is.
func TestOlderStateOfChain(t *testing.T) {
	s := newSite(t)
	s.Witness = nil
	c, _ := bindings.Collect(s.World.Root, nil, s.Files)
	one := c.Held()[1].Leaf.Facts().Entry.Index // of the second version
	s.read(s.Bodies[:one])
	s.Build(built.Add(time.Second))
	before := s.Directory.Fork()
	s.read(s.Bodies)
	s.Build(built.Add(time.Minute))
	state := bindtest.NewState(t)
	d := s.lookup(state)
	judge := func(keeper bindings.Keeper, files []bindings.File, age time.Duration) policy.Reason {
		t.Helper()
		d := &answers.Directory{Root: d.Root, Descriptor: d.Descriptor, Client: d.Client, Heads: state, Now: d.Now}
		r := &bindings.Resolver{Root: s.World.Root, Lookups: []bindings.Lookup{d}, Keeper: keeper, Now: now}
		res, err := r.Resolve(t.Context(), locator(t, repo), files)
		check(t, err)
		demand := demand
		demand.MaxAge = age
		return decide(res.Chain, demand)
	}
	const fine = policy.NoRules // no rule could allow what is judged, and the chain has no fault
	day := 24 * time.Hour
	first := slices.DeleteFunc(
		slices.Clone(s.Files), func(f bindings.File) bool { return strings.Contains(f.Name, "/1-") },
	)
	if got := judge(state, s.Files, day); got != fine {
		t.Fatalf("the newest: %s", got)
	}
	s.older(before, nil)
	for name, x := range map[string]struct {
		keeper bindings.Keeper
		files  []bindings.File
		age    time.Duration
		want   policy.Reason
	}{
		"the second version is at hand":        {state, s.Files, day, policy.BelowRequired},
		"it is withheld":                       {state, first, day, policy.ChainRollback},
		"it was never seen":                    {nil, first, day, fine},
		"it was never seen, and the age is":    {nil, first, time.Minute, policy.ViewStale},
		"it is withheld, and the age is small": {state, first, time.Minute, policy.ChainRollback},
	} {
		if got := judge(x.keeper, x.files, x.age); got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
}
