// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// tree is a tree of so many entries that somebody dates at an hour.
func tree(log string, size, h int64, by string) policy.Moment {
	return policy.Log{ID: log}.Seen(size, hour(h), by)
}

func all(moments []policy.Moment) (out []dated) {
	for _, m := range moments {
		out = append(out, datedBy(m))
	}
	return out
}

// TestMoments: a log was as large as a tree at the earliest time by which any tree of that size
// or a larger one was seen. Who dates a tree before an entry in it is believed in nothing, and of
// what shows that one entry is named; a directory's leaf of which that is so is passed over.
func TestMoments(t *testing.T) {
	for name, x := range map[string]struct {
		moments []policy.Moment
		entries []policy.Entry
		liars   []contradicted
		by      time.Time // of the entry with index 5 of log a; zero for the end of the log
	}{
		"none":                     {nil, nil, nil, hour(100)},
		"one":                      {[]policy.Moment{tree("a", 6, 30, "x")}, nil, nil, hour(30)},
		"of a smaller tree":        {[]policy.Moment{tree("a", 5, 30, "x")}, nil, nil, hour(100)},
		"of another log":           {[]policy.Moment{tree("c", 6, 30, "x")}, nil, nil, hour(100)},
		"of an unknown log":        {[]policy.Moment{tree("nowhere", 6, 30, "x")}, nil, nil, hour(100)},
		"a larger one was earlier": {[]policy.Moment{tree("a", 6, 30, "x"), tree("a", 20, 25, "y")}, nil, nil, hour(25)},
		"a larger one was later":   {[]policy.Moment{tree("a", 20, 30, "x"), tree("a", 6, 25, "y")}, nil, nil, hour(25)},
		"the largest was first": {
			[]policy.Moment{tree("a", 6, 30, "x"), tree("a", 9, 40, "x"), tree("a", 20, 25, "")}, nil, nil, hour(25),
		},
		"one size, two times": {[]policy.Moment{tree("a", 6, 30, "x"), tree("a", 6, 25, "y")}, nil, nil, hour(25)},
		"an entry is as old":  {[]policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("a", 5, 30)}, nil, hour(30)},
		"an entry beyond is younger": {
			[]policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("a", 6, 31)}, nil, hour(30),
		},
		"of another log is younger": {
			[]policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("c", 3, 60)}, nil, hour(30),
		},
		"of no place is younger": {
			[]policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("a", -1, 60)}, nil, hour(30),
		},
		"an entry is younger": {
			[]policy.Moment{tree("a", 6, 30, "x"), tree("a", 6, 40, "y")}, []policy.Entry{entryAt("a", 4, 31)},
			[]contradicted{{"x", entryAt("a", 4, 31)}}, hour(40),
		},
		"in another log of theirs": {
			[]policy.Moment{tree("a", 6, 40, "x"), tree("c", 6, 60, "x")}, []policy.Entry{entryAt("c", 4, 61)},
			[]contradicted{{"x", entryAt("c", 4, 61)}}, hour(100),
		},
		"several are younger": {
			[]policy.Moment{tree("a", 6, 30, "x")},
			[]policy.Entry{entryAt("a", 4, 31), entryAt("a", 2, 33), entryAt("a", 3, 32)},
			[]contradicted{{"x", entryAt("a", 2, 33)}}, hour(100),
		},
		"two lie": {
			[]policy.Moment{tree("a", 6, 30, "y"), tree("a", 6, 29, "x")}, []policy.Entry{entryAt("a", 4, 31)},
			[]contradicted{{"x", entryAt("a", 4, 31)}, {"y", entryAt("a", 4, 31)}}, hour(100),
		},
		"a leaf's clock is slow": {
			[]policy.Moment{tree("a", 6, 30, ""), tree("a", 9, 50, "")}, []policy.Entry{entryAt("a", 4, 31)}, nil, hour(50),
		},
	} {
		for range 2 {
			o := newOrder(orderLogs)
			if got := o.date(all(x.moments), x.entries); !slices.Equal(got, x.liars) {
				t.Errorf("%s: %v lie", name, got)
			}
			if got := o.notAfter(policy.Entry{Log: "a", Index: 5}); !got.Equal(x.by) {
				t.Errorf("%s: by %s, want %s", name, got, x.by)
			}
			slices.Reverse(x.moments)
			slices.Reverse(x.entries)
		}
	}
}

// TestBounds: an entry was logged in the window of its log, after what the log had reached before
// it and its certificate began; what has no place has the bounds that it came with.
func TestBounds(t *testing.T) {
	o := newOrder(orderLogs)
	o.wind(nil, []policy.Entry{entryAt("a", 10, 20)})
	for name, x := range map[string]struct {
		e        policy.Entry
		from, to time.Time
	}{
		"in a window":            {policy.Entry{Log: "a", Index: 3}, hour(0), hour(100)},
		"its certificate":        {entryAt("a", 3, 7), hour(7), hour(100)},
		"after what was reached": {entryAt("a", 11, 7), hour(20), hour(100)},
		"it has a time":          {policy.Entry{Log: "a", Index: 3, Time: hour(9)}, hour(0), hour(9)},
		"an open log":            {policy.Entry{Log: "b", Index: 3}, hour(100), time.Time{}},
		"no place":               {policy.Entry{Log: "a", Index: -1}, time.Time{}, time.Time{}},
		"no place, and bounds": {
			policy.Entry{Log: "a", Index: -1, NotBefore: hour(-9), Time: hour(200)}, hour(-9), hour(200),
		},
		"no log": {policy.Entry{NotBefore: hour(-9), Time: hour(200)}, hour(-9), hour(200)},
	} {
		if from, to := o.notBefore(x.e), o.notAfter(x.e); !from.Equal(x.from) || !to.Equal(x.to) {
			t.Errorf("%s: from %s to %s", name, from, to)
		}
	}
}

// TestDated: the moments beside a piece of evidence date it if they are of its log, beyond it and
// nothing contradicts them; in Rekor v1 an entry has a time of its own.
func TestDated(t *testing.T) {
	e := entryAt("a", 5, 20)
	timed := e
	timed.Time = hour(40)
	for name, x := range map[string]struct {
		e       policy.Entry
		moments []policy.Moment
		shown   []policy.Entry
		want    time.Time
	}{
		"none": {e, nil, nil, time.Time{}},
		"one":  {e, []policy.Moment{tree("a", 6, 30, "x")}, nil, hour(30)},
		"the earliest": {
			e, []policy.Moment{tree("a", 6, 30, "x"), tree("a", 9, 29, "y"), tree("a", 9, 31, "y")}, nil, hour(29),
		},
		"earlier than it has":      {timed, []policy.Moment{tree("a", 6, 30, "x")}, nil, hour(30)},
		"later than it has":        {timed, []policy.Moment{tree("a", 6, 50, "x")}, nil, hour(40)},
		"of a smaller tree":        {e, []policy.Moment{tree("a", 5, 30, "x")}, nil, time.Time{}},
		"without a time":           {e, []policy.Moment{policy.Log{ID: "a"}.Seen(6, time.Time{}, "x")}, nil, time.Time{}},
		"before its certificate":   {e, []policy.Moment{tree("a", 6, 19, "x")}, nil, time.Time{}},
		"as its certificate began": {e, []policy.Moment{tree("a", 6, 20, "x")}, nil, hour(20)},
		"contradicted": {
			e, []policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("a", 3, 31)}, time.Time{},
		},
		"one beyond is younger": {
			e, []policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("a", 6, 31)}, hour(30),
		},
		"one of another log":  {e, []policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("c", 3, 60)}, hour(30)},
		"one without a place": {e, []policy.Moment{tree("a", 6, 30, "x")}, []policy.Entry{entryAt("a", -1, 60)}, hour(30)},
		"by the last of two":  {e, []policy.Moment{tree("a", 6, 19, "x"), tree("a", 6, 30, "y")}, nil, hour(30)},
		"in Rekor v1": {
			entryAt("v1", 5, 20), []policy.Moment{tree("v1", 6, 20, "x")}, nil, hour(20).Add(time.Minute),
		},
		"in a log that is not known": {
			entryAt("nowhere", 5, 20), []policy.Moment{tree("nowhere", 6, 30, "x")}, nil, time.Time{},
		},
		"of a log that is not its own": {e, []policy.Moment{tree("c", 60, 60, "x")}, nil, time.Time{}},
	} {
		o := newOrder(orderLogs)
		o.date(nil, x.shown)
		if got := o.dated(x.e, x.moments); !got.Time.Equal(x.want) || got.Index != x.e.Index || got.Log != x.e.Log {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// An authority that lied about anything dates nothing.
	o := newOrder(orderLogs)
	o.date(all([]policy.Moment{tree("c", 9, 55, "x")}), []policy.Entry{entryAt("c", 3, 60)})
	if got := o.dated(e, []policy.Moment{tree("a", 6, 30, "x")}); !got.Time.IsZero() {
		t.Errorf("by a liar: %s", got.Time)
	}
}
