// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"time"
)

// Log is a transparency log of the trusted root that evidence is judged under.
type Log struct {
	ID         string
	Generation int       // 1: Rekor v1, 2: a Rekor v2 shard; another is never ordered
	Start, End time.Time // the window in which the trusted root trusts it; a zero End is open
}

// Entry is a verified log entry: its inclusion was proven under a signed
// checkpoint, or in generation 1 promised, and its index is the one that proof or
// promise covers.
type Entry struct {
	Log   string
	Index int64
	// Time is a moment by which the log had integrated the entry: that of a
	// signed entry timestamp, or of a cosignature over a checkpoint that covers
	// the entry. Zero if none is known. A time stamp authority's time is not one:
	// it bounds the signature, never the position.
	Time time.Time
	// NotBefore and NotAfter are the window of the entry's certificate; zero for
	// a bare key.
	NotBefore, NotAfter time.Time
}

// Same reports whether two entries are one.
func (e Entry) Same(o Entry) bool { return e.Log == o.Log && e.Index == o.Index && e.Log != "" }

// Compare orders entries for the sake of determinism only: which of them was logged first,
// a chain of versions knows.
func (e Entry) Compare(o Entry) int {
	return cmp.Or(
		cmp.Compare(e.Log, o.Log), cmp.Compare(e.Index, o.Index), e.Time.Compare(o.Time),
		e.NotBefore.Compare(o.NotBefore), e.NotAfter.Compare(o.NotAfter),
	)
}

// Moment says that a log was seen with so many entries at a time. The zero value says
// nothing.
type Moment struct {
	log  string
	size int64
	at   time.Time
	by   string
}

// Seen declares that a tree of the log, of that size, was verified to have existed at a
// time, by the word of an authority. It is to be called where that happens and nowhere else.
func (l Log) Seen(size int64, at time.Time, by string) Moment { return Moment{l.ID, size, at, by} }

// Facts returns what was verified: the log, its size, when it had that, and who says so.
func (m Moment) Facts() (log string, size int64, at time.Time, by string) {
	return m.log, m.size, m.at, m.by
}
