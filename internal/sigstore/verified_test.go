// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"slices"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// TestVerification: every entry that has a place is there once, and one without
// counts as logged and as nothing else (SPEC 8.4).
func TestVerification(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	v1 := func(index, proven int64) LogEntry {
		e := LogEntry{LogID: "01", Generation: 1, PromisedIndex: index, TreeIndex: -1, TreeSize: -1}
		if index >= 0 {
			e.Time = at
		}
		if proven >= 0 {
			e.Proven, e.TreeIndex, e.TreeSize = true, proven, proven+1
		}
		return e
	}
	v2 := func(index int64) LogEntry {
		return LogEntry{
			LogID: "02", Generation: 2, PromisedIndex: -1, Proven: index >= 0, TreeIndex: index, TreeSize: index + 1,
		}
	}
	placed := func(log string, index int64, at time.Time) policy.Entry {
		return policy.Entry{Log: log, Index: index, Time: at}
	}
	first, third := placed("01", 1000, at), placed("02", 3, time.Time{})
	for name, c := range map[string]struct {
		entries          []LogEntry
		want, promised   []policy.Entry
		logged, isProven bool
	}{
		"none": {},
		"promised and proven": {
			entries: []LogEntry{v1(1000, 7)}, want: []policy.Entry{first}, logged: true, isProven: true,
		},
		"promised": {
			entries: []LogEntry{v1(1000, -1)}, want: []policy.Entry{first}, promised: []policy.Entry{first}, logged: true,
		},
		"the first place is one, too": {
			entries: []LogEntry{v1(0, 0), v2(0)}, want: []policy.Entry{placed("01", 0, at), placed("02", 0, time.Time{})},
			logged: true, isProven: true,
		},
		"without promise":           {entries: []LogEntry{v1(-1, 7)}, logged: true, isProven: true},
		"of Rekor v2 without proof": {entries: []LogEntry{v2(-1)}, logged: true},
		"one of each generation": {
			entries: []LogEntry{v1(1000, 7), v2(3)}, want: []policy.Entry{first, third}, logged: true, isProven: true,
		},
		"one has no place": {
			entries: []LogEntry{v1(-1, 7), v2(3)}, want: []policy.Entry{third}, logged: true, isProven: true,
		},
		"a proof without place lends none": {
			entries: []LogEntry{v1(-1, 7), v1(1000, -1)}, want: []policy.Entry{first}, promised: []policy.Entry{first},
			logged: true, isProven: true,
		},
		"nor does one of another place": {
			entries: []LogEntry{v1(1000, -1), v2(3)}, want: []policy.Entry{first, third}, promised: []policy.Entry{first},
			logged: true, isProven: true,
		},
		"twice": {
			entries: []LogEntry{v1(1000, 7), v1(1000, 7)}, want: []policy.Entry{first}, logged: true, isProven: true,
		},
		"twice, once with a proof": {
			entries: []LogEntry{v1(1000, -1), v1(1000, 7)}, want: []policy.Entry{first}, logged: true, isProven: true,
		},
		"twice, once with a proof, at last": {
			entries: []LogEntry{v1(1000, 7), v1(1000, -1)}, want: []policy.Entry{first}, logged: true, isProven: true,
		},
	} {
		v := &Verified{Times: []Time{{Time: at}}, Entries: c.entries}
		got := v.Verification()
		if !slices.Equal(got.Entries, c.want) || !slices.Equal(got.Promised, c.promised) || got.Logged != c.logged ||
			got.Proven != c.isProven || !slices.Equal(got.Times, []time.Time{at}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
