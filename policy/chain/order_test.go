// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

var orderLogs = []policy.Log{
	{ID: "v1", Generation: 1, Start: hour(-1000), End: hour(900)},
	{ID: "old1", Generation: 1, Start: hour(-2000), End: hour(-1000)},
	{ID: "a", Generation: 2, Start: hour(0), End: hour(100)},
	{ID: "b", Generation: 2, Start: hour(100)},
	{ID: "c", Generation: 2, Start: hour(50), End: hour(150)},
}

// entryAt is an entry with a certificate of that hour; in Rekor v1 it was
// integrated a minute later.
func entryAt(log string, index, h int64) policy.Entry {
	e := policy.Entry{Log: log, Index: index, NotBefore: hour(h), NotAfter: hour(h).Add(10 * time.Minute)}
	if log == "v1" || log == "old1" {
		e.Time = hour(h).Add(time.Minute)
	}
	return e
}

func TestEvaluatorOrder(t *testing.T) {
	o := newOrder(orderLogs)
	if !o.first.Equal(hour(0)) {
		t.Fatalf("the first v2 log starts %s", o.first)
	}
	untimed := entryAt("v1", 5, -5)
	untimed.Time = time.Time{}
	key := policy.Entry{Log: "a", Index: 7}
	elsewhere := entryAt("nowhere", 1, 1)
	for name, c := range map[string]struct {
		a, b        policy.Entry
		want, other bool // a before b, b before a
	}{
		"one log":               {entryAt("a", 1, 9), entryAt("a", 2, 1), true, false},
		"one log, one index":    {entryAt("a", 1, 1), entryAt("a", 1, 2), false, false},
		"shards in turn":        {entryAt("a", 9, 99), entryAt("b", 0, 1), true, false},
		"shards that overlap":   {entryAt("a", 1, 1), entryAt("c", 1, 90), false, false},
		"an open shard":         {entryAt("b", 1, 101), entryAt("c", 1, 102), false, false},
		"v1 before v2":          {entryAt("v1", 9, -1), entryAt("a", 1, 1), true, false},
		"v1 at the start of v2": {entryAt("v1", 9, 0), entryAt("a", 1, 0), false, false},
		"v1 before the start by a second": {
			policy.Entry{Log: "v1", Index: 9, Time: hour(0).Add(-time.Second)}, entryAt("a", 1, 0), true, false,
		},
		"v1 exactly at the start": {
			policy.Entry{Log: "v1", Index: 9, Time: hour(0)}, policy.Entry{Log: "a", Index: 1}, false, false,
		},
		"late v1, by time": {entryAt("v1", 9, 20), entryAt("a", 1, 30), true, false},
		"late v1, same minute": {
			entryAt("v1", 9, 20), policy.Entry{Log: "a", Index: 1, NotBefore: hour(20).Add(time.Minute)}, false, false,
		},
		"late v1 after v2":        {entryAt("a", 1, 20), entryAt("v1", 9, 30), false, false},
		"v1 without time":         {untimed, entryAt("a", 1, 30), false, false},
		"two v1 logs":             {entryAt("old1", 9, -1500), entryAt("v1", 1, -500), true, false},
		"a key has no window":     {entryAt("v1", 9, 20), key, false, false},
		"v1 before a key in v2":   {entryAt("v1", 9, -1), key, true, false},
		"late v1 and a key in v2": {entryAt("v1", 9, 1), key, false, false},
		"shards in turn, whatever a time says": {
			policy.Entry{Log: "b", Index: 1, Time: hour(5)}, entryAt("a", 9, 50), false, true,
		},
		"a time from before Rekor v2 in one": {
			policy.Entry{Log: "b", Index: 1, Time: hour(-5)}, entryAt("a", 9, 50), false, true,
		},
		"an unknown log":          {elsewhere, entryAt("b", 1, 300), false, false},
		"an unknown log after v1": {entryAt("v1", 9, -9), elsewhere, true, false},
		"no log":                  {policy.Entry{Time: hour(5)}, entryAt("a", 1, 6), true, false},
		"no log and no log": {
			policy.Entry{Time: hour(5), NotBefore: hour(4)}, policy.Entry{Time: hour(7), NotBefore: hour(6)}, true,
			false,
		},
		"no log at one time": {
			policy.Entry{Time: hour(5), NotBefore: hour(4)}, policy.Entry{Time: hour(5), NotBefore: hour(4)}, false,
			false,
		},
	} {
		a, b := c.a, c.b
		if o.before(a, b) != c.want || o.before(b, a) != c.other {
			t.Errorf("%s: %v %v", name, o.before(a, b), o.before(b, a))
		}
	}
	for other, want := range map[policy.Entry]bool{
		{}: false, {Log: "a", Index: 7}: true, {Log: "b", Index: 7}: false, {Log: "a", Index: 8}: false,
	} {
		if key.Same(other) != want || other.Same(key) != want {
			t.Errorf("the same as %v: %v", other, !want)
		}
	}
	if elsewhere.Same(policy.Entry{}) || (policy.Entry{}).Same(policy.Entry{}) {
		t.Error("same")
	}
}

func TestEvaluatorClock(t *testing.T) {
	o := newOrder(append([]policy.Log{{Generation: 2}}, orderLogs...))
	unpromised := entryAt("v1", 2, 500)
	unpromised.Time = time.Time{}
	negative := entryAt("a", -1, 90)
	o.wind(nil, []policy.Entry{
		entryAt("a", 10, 20), entryAt("a", 12, 19), {Log: "a", Index: 13}, // a key has no window
		unpromised, negative, entryAt("nowhere", 1, 90), entryAt("v1", 10, 20),
	})
	ends := func(log string, index int64, end time.Time) policy.Entry {
		e := policy.Entry{Log: log, Index: index, NotBefore: end.Add(-10 * time.Minute), NotAfter: end}
		if log == "v1" || log == "old1" {
			e.Time = end
		}
		return e
	}
	for name, c := range map[string]struct {
		e    policy.Entry
		want bool
	}{
		"ended before":                  {ends("a", 11, hour(19)), false},
		"ended before, after a younger": {ends("a", 13, hour(20).Add(-time.Second)), false},
		"ended at that moment":          {ends("a", 11, hour(20)), true},
		"earlier index":                 {ends("a", 9, hour(1)), true},
		"the same index":                {ends("a", 10, hour(1)), true},
		"another log":                   {ends("b", 99, hour(101)), true},
		"a key is never late":           {policy.Entry{Log: "a", Index: 99}, true},
		"v1, no tick without a promise": {ends("v1", 5, hour(30)), true},
		"v1, ended before":              {ends("v1", 11, hour(19)), false},
		"v1 without promise":            {unpromised, false},
		"v1 integrated after the end": {
			policy.Entry{Log: "v1", Index: 5, Time: hour(3), NotBefore: hour(1), NotAfter: hour(2)}, false,
		},
		"v1 integrated at the end": {
			policy.Entry{Log: "v1", Index: 5, Time: hour(2), NotBefore: hour(1), NotAfter: hour(2)}, true,
		},
		"v1 integrated before the start": {
			policy.Entry{Log: "v1", Index: 5, Time: hour(0), NotBefore: hour(1), NotAfter: hour(2)}, false,
		},
		"v1 integrated at the start": {
			policy.Entry{Log: "v1", Index: 5, Time: hour(1), NotBefore: hour(1), NotAfter: hour(2)}, true,
		},
		"v1 before its window":            {policy.Entry{Log: "v1", Index: 5, Time: hour(-1001)}, false},
		"v1 at the beginning of it":       {policy.Entry{Log: "v1", Index: 5, Time: hour(-1000)}, true},
		"v1 at the end of its window":     {policy.Entry{Log: "v1", Index: 5, Time: hour(900)}, true},
		"v1 after its window":             {policy.Entry{Log: "v1", Index: 5, Time: hour(901)}, false},
		"v2 certificate after the window": {ends("a", 5, hour(101)), false},
		"v2 certificate at its end": {
			policy.Entry{Log: "a", Index: 5, NotBefore: hour(100), NotAfter: hour(101)}, true,
		},
		"v2 certificate before the window": {ends("b", 5, hour(99)), false},
		"v2 certificate at its start":      {ends("b", 5, hour(100)), true},
		"negative index":                   {negative, false},
		"index zero":                       {ends("b", 0, hour(101)), true},
		"unknown log":                      {ends("nowhere", 5, hour(10)), false},
		"no log":                           {policy.Entry{Index: 5}, false},
	} {
		if got := o.counts(c.e); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for e, want := range map[policy.Entry]bool{
		entryAt("a", 1, 1): true, entryAt("v1", 1, -1): true, entryAt("v1", 1, 0): false,
		{Log: "v1", Time: hour(0).Add(-1)}: true, {Log: "v1", Time: hour(0)}: false,
	} {
		if o.authoritative(e) != want {
			t.Errorf("%+v: %v", e, !want)
		}
	}
	if only := newOrder(orderLogs[:2]); !only.authoritative(entryAt("v1", 1, 500)) {
		t.Error("where there is only v1, it is authoritative")
	}
	later := newOrder([]policy.Log{orderLogs[3], orderLogs[2]})
	if !later.first.Equal(hour(0)) {
		t.Error("the first v2 log is the one that starts first")
	}
}
