// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/policy"
)

// order compares places in several logs (SPEC 8.4). It is partial: of two
// places neither may be known to come first.
type order struct {
	logs    map[string]policy.Log
	first   time.Time // start of the first Rekor v2 log; zero if there is none
	clock   map[string][]tick
	moments map[string][]moment
	shown   []policy.Entry  // whose certificates show when there was less
	liars   map[string]bool // authorities that are believed in no date
}

// tick says that a log had reached a moment: an entry up to that index carries a
// certificate that was issued then. Ticks are sorted by index, and each moment
// is the latest up to there.
type tick struct {
	index int64
	at    time.Time
}

// moment says that a log had that many entries at a time. Moments are sorted by size,
// and each time is the earliest by which the log was that large.
type moment struct {
	size int64
	at   time.Time
}

// dated is a moment of a log, as an authority has it.
type dated struct {
	log  string
	size int64
	at   time.Time
	by   string // "" for a directory's leaf
}

func datedBy(m policy.Moment) dated {
	log, size, at, by := m.Facts()
	return dated{log, size, at, by}
}

func newOrder(logs []policy.Log) *order {
	o := &order{logs: map[string]policy.Log{}, clock: map[string][]tick{}, moments: map[string][]moment{}}
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
func (o *order) v2Alone(entries []policy.Entry) bool {
	v1 := func(e policy.Entry) bool { return o.logs[e.Log].Generation == 1 }
	for _, l := range o.logs {
		if l.Generation == 1 {
			return !slices.ContainsFunc(entries, v1)
		}
	}
	return false
}

// wind sets the log clocks: by what the view has read of the logs, and by entries that
// it vouches for.
func (o *order) wind(read []readTick, entries []policy.Entry) {
	for _, t := range read {
		o.clock[t.log] = append(o.clock[t.log], tick{t.index, t.at})
	}
	for _, e := range entries {
		if o.placed(e) && !e.NotBefore.IsZero() {
			o.clock[e.Log] = append(o.clock[e.Log], tick{e.Index, e.NotBefore})
		}
	}
	for _, ticks := range o.clock {
		arrange.By(ticks, func(a, b tick) int { return cmp.Or(cmp.Compare(a.index, b.index), a.at.Compare(b.at)) })
		for i := 1; i < len(ticks); i++ {
			if ticks[i].at.Before(ticks[i-1].at) {
				ticks[i].at = ticks[i-1].at
			}
		}
	}
}

// date takes over when the logs are known to have been how large. An authority that
// dates a tree before the certificate of an entry below its size is believed in
// nothing: the proof of that, one for each authority, is returned.
func (o *order) date(moments []dated, entries []policy.Entry) []contradicted {
	liars := map[string]contradicted{}
	for i, m := range moments {
		for _, e := range entries {
			if e.Log == m.log && o.placed(e) && e.Index < m.size && m.at.Before(e.NotBefore) {
				if m.by == "" {
					moments[i].log = "" // a directory's leaf, whose clock is a bit slow
				} else if old, twice := liars[m.by]; !twice || e.Compare(old.entry) < 0 {
					liars[m.by] = contradicted{m.by, e}
				}
			}
		}
	}
	for _, m := range moments {
		if _, lies := liars[m.by]; !lies && o.logs[m.log].Generation != 0 {
			o.moments[m.log] = append(o.moments[m.log], moment{m.size, m.at})
		}
	}
	for _, all := range o.moments {
		arrange.By(all, func(a, b moment) int { return cmp.Or(cmp.Compare(a.size, b.size), a.at.Compare(b.at)) })
		for i := len(all) - 2; i >= 0; i-- {
			if all[i+1].at.Before(all[i].at) {
				all[i].at = all[i+1].at
			}
		}
	}
	var out []contradicted
	o.shown, o.liars = entries, map[string]bool{}
	for _, by := range slices.Sorted(maps.Keys(liars)) {
		out, o.liars[by] = append(out, liars[by]), true
	}
	return out
}

// dated returns the entry with the earliest time by which one of these moments shows it in
// its log. A moment that an entry contradicts shows nothing.
func (o *order) dated(e policy.Entry, moments []policy.Moment) policy.Entry {
	if o.logs[e.Log].Generation != 2 {
		return e // a v1 entry has a time of its own
	}
	out := e
	for _, x := range moments {
		m := datedBy(x)
		lies := func(x policy.Entry) bool {
			return x.Log == m.log && o.placed(x) && x.Index < m.size && m.at.Before(x.NotBefore)
		}
		elsewhere := m.log != e.Log || e.Index >= m.size || m.at.IsZero()
		if elsewhere || o.liars[m.by] || lies(e) || slices.ContainsFunc(o.shown, lies) {
			continue
		}
		if out.Time.IsZero() || m.at.Before(out.Time) {
			out.Time = m.at
		}
	}
	return out
}

// contradicted is an authority, and an entry that shows that it lies.
type contradicted struct {
	by    string
	entry policy.Entry
}

// placed reports whether the entry has a place: its log is one of the trusted
// root's, and in Rekor v1 a promise covers index and time.
func (o *order) placed(e policy.Entry) bool {
	l := o.logs[e.Log]
	return e.Index >= 0 && (l.Generation == 2 || l.Generation == 1 && !e.Time.IsZero())
}

// counts reports whether an entry is evidence of anything: its log is one of the
// trusted root's and was trusted then, and the log clock had not passed the end
// of its certificate (SPEC 8.4).
func (o *order) counts(e policy.Entry) bool {
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
func (o *order) late(e policy.Entry) bool {
	if e.NotAfter.IsZero() {
		return false
	}
	return o.reached(e).After(e.NotAfter)
}

// reached returns the moment that the log of an entry is known to have reached before
// it; zero if none is known.
func (o *order) reached(e policy.Entry) time.Time {
	ticks := o.clock[e.Log]
	n, _ := slices.BinarySearchFunc(ticks, e.Index, func(t tick, index int64) int {
		return cmp.Compare(t.index, index)
	})
	if n == 0 {
		return time.Time{}
	}
	return ticks[n-1].at
}

// authoritative reports whether an entry that counts is in the sequence of logs
// that decides about effect: Rekor v1 up to the start of the first v2 log, then
// the v2 logs.
func (o *order) authoritative(e policy.Entry) bool {
	return o.logs[e.Log].Generation == 2 || o.first.IsZero() || e.Time.Before(o.first)
}

// before reports whether a certainly comes before b. An entry without a log is a
// time: of its certificate, and the last one that is trusted.
func (o *order) before(a, b policy.Entry) bool {
	if a.Log != "" && a.Log == b.Log {
		return a.Index < b.Index
	}
	switch {
	case o.logBefore(a, b):
		return true
	case o.logBefore(b, a):
		return false
	}
	from, to := o.notBefore(b), o.notAfter(a)
	return !from.IsZero() && !to.IsZero() && to.Before(from)
}

// notBefore returns the earliest moment at which the entry can have been logged; zero if
// nothing bounds it (SPEC 8.4).
func (o *order) notBefore(e policy.Entry) time.Time {
	out := e.NotBefore
	if o.placed(e) {
		for _, t := range []time.Time{o.logs[e.Log].Start, o.reached(e)} {
			if t.After(out) {
				out = t
			}
		}
	}
	return out
}

// notAfter returns the latest moment at which the entry can have been logged; zero if
// nothing bounds it (SPEC 8.4).
func (o *order) notAfter(e policy.Entry) time.Time {
	out := e.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (out.IsZero() || t.Before(out)) {
			out = t
		}
	}
	if !o.placed(e) {
		return out
	}
	earlier(o.logs[e.Log].End)
	all := o.moments[e.Log]
	n, _ := slices.BinarySearchFunc(all, e.Index+1, func(m moment, size int64) int { return cmp.Compare(m.size, size) })
	if n < len(all) {
		earlier(all[n].at)
	}
	return out
}

// logBefore reports whether the window of a's log ends before that of b's begins, or a
// was integrated into Rekor v1 before there was a v2.
func (o *order) logBefore(a, b policy.Entry) bool {
	la, lb := o.logs[a.Log], o.logs[b.Log]
	if la.Generation == 1 && lb.Generation == 2 && !a.Time.IsZero() && a.Time.Before(o.first) {
		return true
	}
	return !la.End.IsZero() && !la.End.After(lb.Start)
}
