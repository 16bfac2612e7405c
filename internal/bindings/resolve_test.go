// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"context"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// answering is a look-up that answers the same every time.
type answering struct {
	name  string
	found bindings.Found
	err   error
}

func (a answering) Name() string             { return a.name }
func (a answering) Best() chain.Completeness { return a.found.Completeness }

func (a answering) Find(context.Context, bindings.Query) (bindings.Found, error) {
	return a.found, a.err
}

// TestLookupsTogether: what several look-ups leave open together is open.
func TestLookupsTogether(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	now := sigstoretest.Now
	hinted := answering{name: "index", found: bindings.Found{Completeness: chain.CompleteHinted, AsOf: now}}
	one := answering{
		name:  "one",
		found: bindings.Found{Completeness: chain.CompleteSigned, AsOf: now, Directory: &chain.Directory{}},
	}
	other := answering{
		name:  "other",
		found: bindings.Found{Completeness: chain.CompleteProven, AsOf: now, Directory: &chain.Directory{}},
	}
	late := answering{
		name: "late", err: &rekor.Behind{Floor: rekor.Floor{Time: now.AddDate(0, 1, 0), Why: "a test"}, Now: now},
	}
	for name, x := range map[string]struct {
		lookups []bindings.Lookup
		want    chain.Completeness
		behind  bool
	}{
		"one directory":               {[]bindings.Lookup{one}, chain.CompleteSigned, false},
		"an index beside":             {[]bindings.Lookup{one, hinted}, chain.CompleteSigned, false},
		"two directories":             {[]bindings.Lookup{one, other}, chain.CompleteNone, false},
		"two, in the other order":     {[]bindings.Lookup{other, hinted, one}, chain.CompleteNone, false},
		"an answer from the future":   {[]bindings.Lookup{late}, chain.CompleteNone, true},
		"one that does not, and that": {[]bindings.Lookup{hinted, late}, chain.CompleteHinted, true},
	} {
		clock := &rekor.Clock{Now: func() time.Time { return now }}
		r := &bindings.Resolver{Root: c.Root, Lookups: x.lookups, Clock: clock, Now: now}
		res, err := r.Resolve(t.Context(), bindtest.Locator(t, bindtest.Widget), c.Files)
		bindtest.Check(t, err)
		if got := res.Chain.View().Completeness; got != x.want || (clock.Check() != nil) != x.behind {
			t.Errorf("%s: %s, %v", name, got, clock.Check())
		}
	}
}
