// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"context"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// answering is a look-up that answers the same every time.
type answering struct {
	name  string
	found Found
	err   error
}

func (a answering) Name() string             { return a.name }
func (a answering) Best() chain.Completeness { return a.found.Completeness }

func (a answering) Find(context.Context, Query) (Found, error) { return a.found, a.err }

// TestLookupsTogether: what several look-ups leave open together is open.
func TestLookupsTogether(t *testing.T) {
	c := newChained(t, 1)
	now := sigstoretest.Now
	hinted := answering{name: "index", found: Found{Completeness: chain.CompleteHinted, AsOf: now}}
	one := answering{name: "one", found: Found{Completeness: chain.CompleteSigned, AsOf: now, Directory: &chain.Directory{}}}
	other := answering{name: "other", found: Found{Completeness: chain.CompleteProven, AsOf: now, Directory: &chain.Directory{}}}
	late := answering{name: "late", err: &Behind{Floor: Floor{now.AddDate(0, 1, 0), "a test"}, Now: now}}
	for name, x := range map[string]struct {
		lookups []Lookup
		want    chain.Completeness
		behind  bool
	}{
		"one directory":               {[]Lookup{one}, chain.CompleteSigned, false},
		"an index beside":             {[]Lookup{one, hinted}, chain.CompleteSigned, false},
		"two directories":             {[]Lookup{one, other}, chain.CompleteNone, false},
		"two, in the other order":     {[]Lookup{other, hinted, one}, chain.CompleteNone, false},
		"an answer from the future":   {[]Lookup{late}, chain.CompleteNone, true},
		"one that does not, and that": {[]Lookup{hinted, late}, chain.CompleteHinted, true},
	} {
		clock := &Clock{Now: func() time.Time { return now }}
		r := &Resolver{Root: c.root, Lookups: x.lookups, Clock: clock, Now: now}
		res, err := r.Resolve(t.Context(), locator(t, widget), c.files)
		check(t, err)
		if got := res.Chain.View().Completeness; got != x.want || (clock.Check() != nil) != x.behind {
			t.Errorf("%s: %s, %v", name, got, clock.Check())
		}
	}
}
