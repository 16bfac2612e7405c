// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEntries: lists of entries have no order, copies mean nothing, and one entry's proof is
// none of another's.
func TestEntries(t *testing.T) {
	a, b := Entry{Log: "a", Index: 7}, Entry{Log: "b", Index: 7}
	for _, c := range []struct {
		x, y Entry
		same bool
	}{
		{a, a, true}, {a, Entry{Log: "a", Index: 7, Time: signed}, true}, {a, b, false},
		{a, Entry{Log: "a", Index: 8}, false}, {a, Entry{}, false}, {Entry{}, Entry{}, false},
	} {
		if c.x.Same(c.y) != c.same || c.y.Same(c.x) != c.same {
			t.Errorf("%v and %v are the same: %v", c.x, c.y, !c.same)
		}
	}
	v := Verification{
		Times: []time.Time{signed}, Logged: true, Proven: true, Entries: []Entry{b, a, b}, Promised: []Entry{b},
	}
	ev := Claims{}.Verified(v)
	if got := ev.Verification().Entries; !slices.Equal(got, []Entry{a, b}) {
		t.Errorf("entries %v", got)
	}
	if !slices.Equal(v.Entries, []Entry{b, a, b}) {
		t.Error("the caller's list was changed")
	}
	if !ev.At(a).Verification().Proven || ev.At(b).Verification().Proven || !ev.Verification().Proven {
		t.Error("what is proven")
	}
	v.Proven = false
	if (Claims{}).Verified(v).At(a).Verification().Proven {
		t.Error("a proof out of nothing")
	}
}

// TestUnfit: what nobody verified, or without a time, no policy takes.
func TestUnfit(t *testing.T) {
	for name, c := range map[string]struct {
		ev   Evidence
		want Reason
	}{
		"verified":       {Claims{}.Verified(proven), ""},
		"not verified":   {Evidence{verification: proven}, Internal},
		"without time":   {Claims{}.Verified(Verification{}), EvidenceUntimed},
		"no time at all": {Claims{}.Verified(Verification{Times: []time.Time{signed, {}}}), EvidenceUntimed},
	} {
		if d, unfit := c.ev.Unfit(); d.Reason != c.want || unfit != (c.want != "") || d.Permitted {
			t.Errorf("%s: %v %s", name, unfit, d.Reason)
		}
	}
	run := RunFacts{}.Verified(Identity{})
	for name, c := range map[string]struct {
		run   Run
		stage Stage
		now   time.Time
		unfit bool
	}{
		"a run": {run, StageSign, signed, false}, "nobody's": {Run{}, StageSign, signed, true},
		"no stage": {run, "", signed, true}, "no moment": {run, StagePublish, time.Time{}, true},
	} {
		if d, unfit := c.run.Unfit(c.stage, Request{Now: c.now}); unfit != c.unfit || unfit != (d.Reason == Internal) {
			t.Errorf("%s: %v %s", name, unfit, d.Reason)
		}
	}
}

// TestRestored: a version lifts what it names, and nothing else.
func TestRestored(t *testing.T) {
	alice, bob := &Principal{Kind: KindEmail, Value: "alice"}, &Principal{Kind: KindEmail, Value: "bob"}
	digest := Digest{"sha256", strings.Repeat("0", 64)}
	all := []selector{
		{Identity: alice}, {Identity: bob}, {Rule: "r"}, {Rule: "s"}, {Key: "k"}, {Tag: "v1"}, {Digest: digest},
	}
	for i, s := range all {
		f := &File{Restored: []Withdrawal{{selector: s}}}
		for k, other := range all {
			if other.Identity != nil { // another pointer to the same
				x := *other.Identity
				other.Identity = &x
			}
			if f.restores(other) != (i == k) {
				t.Errorf("%+v restores %+v: %v", s, other, i != k)
			}
		}
	}
}
