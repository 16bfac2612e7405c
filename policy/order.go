// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// order compares places in several logs (SPEC 8.4). It is partial: of two
// places neither may be known to come first.
type order struct {
	logs  map[string]Log
	first time.Time // start of the first Rekor v2 log; zero if there is none
	clock map[string][]tick
}

// tick says that a log had reached a moment: the entry at index carries a
// certificate that was issued then. Ticks are sorted by index, and each moment
// is the latest up to there.
type tick struct {
	index int64
	at    time.Time
}

func newOrder(logs []Log) *order {
	o := &order{logs: map[string]Log{}, clock: map[string][]tick{}}
	for _, l := range logs {
		if l.ID == "" { // such an entry is in no log
			continue
		}
		if old, twice := o.logs[l.ID]; twice && old != l {
			l.Generation = 0 // contradictory: its entries are worth nothing
		}
		o.logs[l.ID] = l
		if l.Generation == 2 && (o.first.IsZero() || l.Start.Before(o.first)) {
			o.first = l.Start
		}
	}
	return o
}

// v2Alone reports whether there is a Rekor v1 log and none of the entries is in
// one.
func (o *order) v2Alone(entries []Entry) bool {
	v1 := func(e Entry) bool { return o.logs[e.Log].Generation == 1 }
	for _, l := range o.logs {
		if l.Generation == 1 {
			return !slices.ContainsFunc(entries, v1)
		}
	}
	return false
}

// wind sets the log clocks by all entries that are known.
func (o *order) wind(entries []Entry) {
	for _, e := range entries {
		if o.placed(e) && !e.NotBefore.IsZero() {
			o.clock[e.Log] = append(o.clock[e.Log], tick{e.Index, e.NotBefore})
		}
	}
	for _, ticks := range o.clock {
		slices.SortFunc(ticks, func(a, b tick) int { return cmp.Or(cmp.Compare(a.index, b.index), a.at.Compare(b.at)) })
		for i := 1; i < len(ticks); i++ {
			if ticks[i].at.Before(ticks[i-1].at) {
				ticks[i].at = ticks[i-1].at
			}
		}
	}
}

// placed reports whether the entry has a place: its log is one of the trusted
// root's, and in Rekor v1 a promise covers index and time.
func (o *order) placed(e Entry) bool {
	l := o.logs[e.Log]
	return e.Index >= 0 && (l.Generation == 2 || l.Generation == 1 && !e.Time.IsZero())
}

// counts reports whether an entry is evidence of anything: its log is one of the
// trusted root's and was trusted then, and the log clock had not passed the end
// of its certificate (SPEC 8.4).
func (o *order) counts(e Entry) bool {
	if !o.placed(e) {
		return false
	}
	l := o.logs[e.Log]
	outside := func(t time.Time) bool { return t.Before(l.Start) || !l.End.IsZero() && t.After(l.End) }
	switch l.Generation {
	case 1:
		if outside(e.Time) || e.Time.Before(e.NotBefore) || !e.NotAfter.IsZero() && e.Time.After(e.NotAfter) {
			return false
		}
	case 2:
		if !l.End.IsZero() && e.NotBefore.After(l.End) || !e.NotAfter.IsZero() && e.NotAfter.Before(l.Start) {
			return false
		}
	}
	return !o.late(e)
}

// late reports whether the log had passed the end of the entry's certificate.
func (o *order) late(e Entry) bool {
	if e.NotAfter.IsZero() {
		return false
	}
	ticks := o.clock[e.Log]
	n, _ := slices.BinarySearchFunc(ticks, e.Index, func(t tick, index int64) int { return cmp.Compare(t.index, index) })
	return n > 0 && ticks[n-1].at.After(e.NotAfter)
}

// authoritative reports whether an entry that counts is in the sequence of logs
// that decides about effect: Rekor v1 up to the start of the first v2 log, then
// the v2 logs.
func (o *order) authoritative(e Entry) bool {
	return o.logs[e.Log].Generation == 2 || o.first.IsZero() || e.Time.Before(o.first)
}

// place is a place in a log, a time where there is no entry, or the moment at
// which the directory saw a statement published: the later of what is set.
type place struct {
	entry     Entry            // Log is "" where there is only a time
	disclosed map[string]int64 // sizes of the logs at disclosure; none if that does not matter
	// evidence is compared with versions as the log has them, whenever they were
	// published.
	evidence bool
}

// before reports whether a certainly comes before b.
func (o *order) before(a, b place) bool {
	entry := o.entryBefore(a.entry, b.entry)
	if a.evidence || b.evidence || maps.Equal(a.disclosed, b.disclosed) { // also if neither matters
		return entry
	}
	// The later of a's moments must come before the later of b's.
	size, known := b.disclosed[a.entry.Log]
	if !entry && !(known && a.entry.Index < size) {
		return false
	}
	if len(a.disclosed) == 0 {
		return true
	}
	if size, known := a.disclosed[b.entry.Log]; known && b.entry.Index >= size {
		return true
	}
	for log, size := range a.disclosed {
		if later, known := b.disclosed[log]; known && size < later {
			return true
		}
	}
	return false
}

func (o *order) entryBefore(a, b Entry) bool {
	if a.Log != "" && a.Log == b.Log {
		return a.Index < b.Index
	}
	switch {
	case o.logBefore(a, b):
		return true
	case o.logBefore(b, a):
		return false
	}
	// In different logs: a was integrated before the certificate of b existed.
	return !a.Time.IsZero() && !b.NotBefore.IsZero() && a.Time.Before(b.NotBefore)
}

// logBefore reports whether the log of a comes before that of b in the sequence
// of logs. Where windows overlap, neither does.
func (o *order) logBefore(a, b Entry) bool {
	la, lb := o.logs[a.Log], o.logs[b.Log]
	if la.Generation == 1 && lb.Generation == 2 && !a.Time.IsZero() && a.Time.Before(o.first) {
		return true
	}
	return !la.End.IsZero() && !la.End.After(lb.Start)
}

// same reports whether two entries are one.
func same(a, b Entry) bool { return a.Log == b.Log && a.Index == b.Index && a.Log != "" }

// sortEntry orders entries for the sake of determinism only.
func sortEntry(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Index, b.Index), a.Time.Compare(b.Time), a.NotBefore.Compare(b.NotBefore), a.NotAfter.Compare(b.NotAfter))
}
