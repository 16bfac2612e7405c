// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// recovery is a version 1 that takes over a chain whose quorum is lost, after
// the delay that the chain's head allows and unless the old quorum binds a
// version in between (SPEC 8.7). It takes effect between two moments.
type recovery struct {
	stmt   *Statement
	effect effect
	sigs   []*signature
	// may is the first moment at which it can be in force, by the first binding that may
	// be after the head; sure the first at which it certainly is, by the first that
	// certainly is after it. Zero if nothing bounds that.
	may, sure time.Time
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
		r := recovery{stmt: s, sigs: sigs}
		w.settle(own.mirror) // what came before the head is nothing
		for _, l := range own.possible {
			if head.effect.possiblyBy(w.order, l.Entry) {
				r.effect.possible = append(r.effect.possible, l)
				w.start(&r, l, delay, slices.Contains(own.sure, l) && head.effect.surelyBy(w.order, l.Entry))
			}
		}
		if r.effect.none() {
			continue
		}
		for _, l := range own.mirror {
			if w.mayFollow(&head.effect, l) {
				r.effect.mirror = append(r.effect.mirror, l)
				w.start(&r, l, delay, head.effect.surelyBy(w.order, l.Entry) || head.effect.mirrored(w.order, l.Entry))
			}
		}
		w.settle(r.effect.possible)
		out = append(out, r)
	}
	arrange.By(out, func(a, b recovery) int { return a.may.Compare(b.may) })
	return out
}

// mayFollow reports whether an entry in a Rekor v1 log, beside the authoritative ones, may
// come after a version took effect.
func (w *walk) mayFollow(e *effect, l *leaf) bool {
	if len(e.mirror) > 0 && !slices.ContainsFunc(e.mirror, func(m *leaf) bool { return !w.before(l.Entry, m.Entry) }) {
		return false
	}
	return e.possiblyBy(w.order, l.Entry)
}

// recoverable reports whether s can recover the head at all, whoever signs and
// binds it.
func recoverable(head, s *Statement) bool {
	return head.file().Recovery > 0 && !head.file().Tombstone && s.repository.Host() == head.repository.Host()
}

// start sets the moments of effect by one more binding. The delay runs from when a log
// showed the recovery to the world, and never from before a directory did.
func (w *walk) start(r *recovery, l *leaf, delay time.Duration, sure bool) {
	earlier := func(t *time.Time, by time.Time) {
		if shown := w.disclosed(nil, r.stmt, r.sigs, l); shown.After(by) {
			by = shown
		}
		if by = by.Add(delay); t.IsZero() || by.Before(*t) {
			*t = by
		}
	}
	earlier(&r.may, w.notBefore(l.Entry))
	if by := w.notAfter(l.Entry); sure && !by.IsZero() {
		earlier(&r.sure, by)
	}
}

// vetoed reports whether the version took effect before the moment: certainly, or at least
// possibly.
func (e *effect) vetoed(certainly bool, before time.Time) bool {
	all := e.possible
	if certainly {
		all = e.sure
	}
	return slices.ContainsFunc(all, func(l *leaf) bool { return before.IsZero() || l.Entry.NotBefore.Before(before) })
}

// recover adds the recovery that took effect before win did, if there is one.
func (w *walk) recover(head *link, recs []recovery, win *contender) *link {
	var due *recovery
	for i := range recs {
		r := &recs[i]
		at := entriesOf(r.effect.possible)
		say := func(text string) {
			w.alarms = append(w.alarms, Alarm{
				Code: alarmRecovery, Text: text, Statements: []string{head.stmt.digest, r.stmt.digest}, Entries: at,
			})
		}
		open := func(detail string) {
			w.problems = append(w.problems, Problem{Reason: policy.EffectUndecided, Detail: detail, Entries: at})
			if win != nil {
				w.settle(win.effect.possible)
			}
		}
		switch {
		case win != nil && win.effect.vetoed(true, r.may):
			say("a recovery was vetoed")
		case w.h.Now.Before(r.may):
			say("a recovery takes effect " + spelling.Stamp(r.may) + " unless the maintainers bind a version before")
		case win != nil && win.effect.vetoed(false, r.sure):
			open("whether the maintainers bound a version before a recovery took effect is not known")
		case r.sure.IsZero():
			open("nothing says when the log showed a recovery; it takes effect " + spelling.Stamp(r.may) + " or later")
		case w.h.View.AsOf.Before(r.sure):
			open("a recovery takes effect by " + spelling.Stamp(r.sure) +
				", unless a version was bound after what is known")
		case due == nil: // they are sorted by the first moment
			say("a recovery took effect " + spelling.Stamp(r.sure))
			due = r
		case !due.sure.Before(r.may) || !due.sure.Before(r.sure):
			w.fail(policy.ChainForked, at, "of two recoveries neither certainly takes effect before the other")
		default:
			say("a recovery came after another one")
		}
	}
	if due == nil || len(w.problems) > 0 {
		return nil
	}
	if win != nil {
		w.lost(win, due.stmt)
	}
	due.effect.mayFrom, due.effect.from = due.may, due.sure
	due.effect.sure = nil
	return w.add(due.stmt, due.effect, due.sigs)
}
