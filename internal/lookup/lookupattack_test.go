// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// without returns a bundle whose log entry lacks a field.
func without(t testing.TB, bundle []byte, field string) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	entry := b["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)[0].(map[string]any)
	if _, ok := entry[field]; !ok {
		t.Fatalf("the entry has no %s", field)
	}
	delete(entry, field)
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestIndexUnplaced: a binding whose file lacks the promise that gives it a place
// binds nothing, and so must not keep the look-up from fetching the entry that does.
func TestIndexUnplaced(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	last := len(c.Files) - 1 // binds version 2
	name, _ := bindtest.EntryV1(t, c.Files[last].Data)
	_, c.V1[name] = bindtest.EntryV1(t, c.Files[last].Data)
	c.Files[last].Data = without(t, c.Files[last].Data, "inclusionPromise")
	// Unlisted, version 2 is not bound: the index's word. Listed, it is.
	for versions, names := range map[int][]string{1: {}, 2: {name}} {
		res := c.Resolve(c.Files, c.Hint(&bindtest.Index{List: bindtest.List(names...)}))
		if len(res.Ignored) > 0 || res.Chain.Reason() != "" || len(res.Chain.Versions()) != versions {
			t.Errorf(
				"%d names: %d versions, %s, ignored %v", len(names), len(res.Chain.Versions()), res.Chain.Reason(),
				res.Ignored,
			)
		}
	}
}

// TestScanTwice: a binding that is in the log at two places is found at the one
// that is not at hand, which may be the one that took effect.
func TestScanTwice(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	held, _ := bindings.Collect(c.Root, nil, c.Files)
	q := c.Query()
	q.Known = held.Known()
	bodies := c.Inst.BodiesV2()
	for name, x := range map[string]struct {
		again [][]byte
		want  int
	}{"once": {nil, 2}, "twice": {bodies, 6}} { // two of four are in no file
		all := append(slices.Clone(bodies), x.again...)
		log := &bindtest.Tiles{Bodies: all, Checkpoint: c.Inst.CheckpointV2(all, c.Inst.Origin())}
		found, err := c.Scan(log, bindtest.NewState(t)).Find(t.Context(), q)
		if err != nil || len(found.Leaves) != x.want {
			t.Errorf("%s: %d leaves, want %d (%v)", name, len(found.Leaves), x.want, err)
		}
	}
}

// TestIndexes: where there are several logs of Rekor v1, each has its own index,
// and none speaks for another.
func TestIndexes(t *testing.T) {
	c := bindtest.NewChained(t, 1)
	speaks, silent := &bindtest.Index{
		List: bindtest.List(c.Names...),
	}, &bindtest.Index{
		List: func() string { return "<!doctype html>" },
	}
	for name, x := range map[string]struct {
		indexes []*bindtest.Index
		want    chain.Completeness
	}{
		"both answer":      {[]*bindtest.Index{speaks, speaks}, chain.CompleteHinted},
		"the second alone": {[]*bindtest.Index{silent, speaks}, chain.CompleteNone},
		"the first alone":  {[]*bindtest.Index{speaks, silent}, chain.CompleteNone},
	} {
		res := c.Resolve(c.Files, c.Hint(x.indexes[0]), c.Hint(x.indexes[1]))
		if got := res.Chain.View().Completeness; got != x.want ||
			(bindtest.Decide(res.Chain) == policy.BelowRequired) != (x.want == chain.CompleteNone) {
			t.Errorf("%s: %s, decided %s", name, got, bindtest.Decide(res.Chain))
		}
	}
}

// TestUnreadable: a binding that index and scan pass over binds nothing for those
// who are shown it either.
func TestUnreadable(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		generation int
		change     func(*sigstoretest.Request)
		bound      bool
	}{
		"dsse":         {1, func(*sigstoretest.Request) {}, true},
		"intoto":       {1, func(r *sigstoretest.Request) { r.Intoto = true }, false},
		"hashedrekord": {2, func(*sigstoretest.Request) {}, true},
		"another key":  {2, func(r *sigstoretest.Request) { r.Key = p384 }, false},
	} {
		c := bindtest.NewChained(t, x.generation)
		c.Files = nil
		c.Add(
			"signed",
			sigstoretest.Request{Statement: c.One, SAN: "alice@example.com", Issuer: "https://accounts.google.com"},
		)
		r := bindtest.Workflow(bindtest.Widget, c.One)
		x.change(&r)
		c.Add("bound", r)
		res := c.Resolve(c.Files)
		if (len(res.Chain.Versions()) == 1) != x.bound || len(res.Ignored) != map[bool]int{true: 0, false: 1}[x.bound] {
			t.Errorf("%s: %d versions, ignored %v", name, len(res.Chain.Versions()), res.Ignored)
		}
	}
}

// TestFrozen: what is known is as of the moment of the oldest answer, such as that
// of a log whose witnesses have seen nothing new.
func TestFrozen(t *testing.T) {
	c := bindtest.NewChained(t, 1, 2)
	bodies := c.Inst.BodiesV2()
	frozen := c.Scan(
		&bindtest.Tiles{Bodies: bodies, Checkpoint: c.Inst.CheckpointV2(bodies, c.Inst.Origin())},
		bindtest.NewState(t),
	)
	frozen.Now = func() time.Time { return sigstoretest.Now.Add(-30 * 24 * time.Hour) }
	lookups := []bindings.Lookup{c.Hint(&bindtest.Index{List: bindtest.List(c.Names...)}), frozen}
	for range 2 {
		view := c.Resolve(c.Files, lookups...).Chain.View()
		if view.Completeness != chain.CompleteHinted || !view.AsOf.Equal(frozen.Now()) {
			t.Errorf("%s as of %s", view.Completeness, view.AsOf)
		}
		slices.Reverse(lookups)
	}
}

// TestOvertaken: when another process has kept more and the time is up, nothing is
// decided.
func TestOvertaken(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for lost, ok := range []bool{true, false} {
		r := &bindings.Resolver{
			Root: c.Root, Keeper: &bindtest.Failing{Keeper: bindtest.NewState(t), Lost: lost}, Now: sigstoretest.Now,
		}
		if res, err := r.Resolve(ctx, bindtest.Locator(t, bindtest.Widget), c.Files); (err == nil) != ok ||
			(res != nil) != ok {
			t.Errorf("overtaken %d times: %v", lost, err)
		}
	}
}
