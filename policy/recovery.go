// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"
)

// recovery is a version 1 that takes over a chain whose quorum is lost, after
// the delay that the chain's head allows and unless the old quorum binds a
// version in between (SPEC 8.7).
type recovery struct {
	stmt   *Statement
	effect effect
	sigs   []*signature
	from   time.Time // when it takes effect; zero if nothing bounds that
}

// recoveries returns the versions 1 that recover the head, bound after it by the
// same repository and signed by their own quorum.
func (w *walk) recoveries(head *link) []recovery {
	delay := head.file().Recovery
	var out []recovery
	for _, s := range w.recoverers[head.stmt.digest] {
		if !recoverable(head.stmt, s) {
			continue
		}
		// The quorum is its own alone; the binding is judged like any other.
		sigs := w.countable(nil, s)
		own := w.effectOf(nil, head, s, sigs)
		var r recovery
		for _, l := range own.possible {
			if head.effect.surelyBy(w.order, l.place) {
				r.effect.possible = append(r.effect.possible, l)
				if slices.Contains(own.sure, l) {
					r.start(l, delay)
				}
			}
		}
		if r.effect.none() {
			continue
		}
		for _, l := range own.mirror {
			r.effect.mirror = append(r.effect.mirror, l)
			r.start(l, delay)
		}
		r.stmt, r.sigs = s, sigs
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b recovery) int { return a.from.Compare(b.from) })
	return out
}

// recoverable reports whether s can recover the head at all, whoever signs and
// binds it.
func recoverable(head, s *Statement) bool {
	return head.file().Recovery > 0 && !head.file().Tombstone && s.repository.Host() == head.repository.Host()
}

// start sets the moment of effect by one more binding: the delay runs from the
// first moment by which a log is known to have shown the recovery to the world.
func (r *recovery) start(l *leaf, delay time.Duration) {
	if t := l.Entry.Time; !t.IsZero() && (r.from.IsZero() || t.Add(delay).Before(r.from)) {
		r.from = t.Add(delay)
	}
}

// vetoed reports whether e may have taken effect before the moment.
func (e *effect) vetoed(from time.Time) bool {
	for _, l := range e.possible {
		if l.Entry.NotBefore.Before(from) {
			return true
		}
	}
	return false
}
