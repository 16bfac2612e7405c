// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// effect says from where on a version is in force (SPEC 8.2).
type effect struct {
	sure     []*leaf // at each of these it certainly is
	possible []*leaf // at each of these it may be; all of sure are among them
	// mirror are the entries in a Rekor v1 log beside the authoritative ones. They
	// order the version against other entries of that log.
	mirror []*leaf
	// short are the bindings that the signatures at hand do not suffice for. With
	// those that may be missing, the version was in force from there on.
	short []*leaf
	// Of a recovery, which takes effect at a moment: it may be in force for what was
	// issued from the first of these on, and certainly is from the second. Else zero.
	mayFrom, from time.Time
}

func (e *effect) none() bool { return len(e.possible) == 0 && e.from.IsZero() }

// surelyBy reports whether the version is certainly in force at p, a place in
// the sequence of logs.
func (e *effect) surelyBy(o *order, p policy.Entry) bool {
	if !e.from.IsZero() {
		issued := p.NotBefore
		if issued.IsZero() { // a bare key
			issued = o.notBefore(p)
		}
		return !issued.Before(e.from)
	}
	return slices.ContainsFunc(e.sure, func(l *leaf) bool { return o.before(l.Entry, p) })
}

// possiblyBy reports whether the version may be in force at p.
func (e *effect) possiblyBy(o *order, p policy.Entry) bool {
	if !e.from.IsZero() {
		issued := p.NotBefore
		if issued.IsZero() {
			issued = o.notAfter(p)
		}
		return issued.IsZero() || !issued.Before(e.mayFrom)
	}
	may := func(l *leaf) bool { return !o.before(p, l.Entry) }
	return slices.ContainsFunc(e.possible, may) ||
		slices.ContainsFunc(e.short, func(l *leaf) bool { return o.authoritative(l.Entry) && may(l) })
}

// mirrored reports whether the version is in force at p because an entry of the
// same log says so. Evidence in no log is compared by time.
func (e *effect) mirrored(o *order, p policy.Entry) bool {
	return slices.ContainsFunc(e.mirror, func(l *leaf) bool {
		return (p.Log == l.Entry.Log || p.Log == "") && o.before(l.Entry, p)
	})
}

// mayMirror reports whether p may come after an entry of the same log that binds
// the version.
func (e *effect) mayMirror(o *order, p policy.Entry) bool {
	may := func(l *leaf) bool {
		return (p.Log == l.Entry.Log || p.Log == "") && !o.before(p, l.Entry)
	}
	return slices.ContainsFunc(e.mirror, may) || slices.ContainsFunc(e.short, may)
}

// after reports whether the version certainly took effect after p, whichever of
// its bindings did it. A binding that somebody logs again later must not help.
func (e *effect) after(o *order, p policy.Entry) bool {
	not := func(l *leaf) bool { return !o.before(p, l.Entry) }
	return len(e.possible) > 0 && !slices.ContainsFunc(e.possible, not) && !slices.ContainsFunc(e.short, not)
}

// beats reports whether a certainly took effect before b could: before each binding at
// which b may have, one at which a certainly had.
func (e *effect) beats(o *order, b *effect) bool {
	return len(e.sure) > 0 && !slices.ContainsFunc(b.possible, func(y *leaf) bool {
		return !slices.ContainsFunc(e.sure, func(x *leaf) bool { return o.before(x.Entry, y.Entry) })
	})
}

// start returns when the version took effect, as the first of its bindings was logged; zero if
// nothing dates it.
func (e *effect) start(o *order) (start time.Time) {
	if !e.from.IsZero() {
		return e.from
	}
	bindings := e.sure
	if len(bindings) == 0 {
		bindings = e.possible
	}
	for _, l := range bindings {
		at := l.Entry.Time
		if at.IsZero() {
			at = o.notBefore(l.Entry)
		}
		if start.IsZero() || !at.IsZero() && at.Before(start) {
			start = at
		}
	}
	return start
}

// inForce says which version the one of an index is, and when it was in force.
func (c *Chain) inForce(i int) policy.InForce {
	out := policy.InForce{Newest: c.links[len(c.links)-1].stmt.version}
	if i != before {
		l := c.links[i]
		out.Number, out.Digest, out.From = l.stmt.version, l.stmt.doc.Digest(), l.effect.start(c.order)
	}
	if next := i + 1; next < len(c.links) {
		out.Until = c.links[next].effect.start(c.order)
	}
	return out
}

// within returns the part of the effect whose bindings name the repository.
func (e *effect) within(repo policy.Locator) effect {
	named := func(all []*leaf) []*leaf {
		var out []*leaf
		for _, l := range all {
			if l.Binding.Repository == repo {
				out = append(out, l)
			}
		}
		return out
	}
	return effect{sure: named(e.sure), possible: named(e.possible), mirror: named(e.mirror), short: named(e.short)}
}

// effectOf is rule 2: a version takes effect at the first binding that its
// quorum, and the effect of the version before, precede in the authoritative
// logs (SPEC 8.2).
//
// The head is the version that the binding is compared with: prev, or for a
// recovery the one that it takes over from.
func (w *walk) effectOf(prev, head *link, s *Statement, sigs []*signature) effect {
	var e effect
	for _, l := range w.bindings(s, sigs) {
		if w.mayBind(head, s, l.Binding) != bindsWell || !w.onDefault(prev, s, l) {
			continue
		}
		short := func() {
			if l.watch != watchOver { // what was not handed in in time never comes
				e.short = append(e.short, l)
			}
		}
		if l.pending {
			short()
			continue
		}
		precedes := func(sig *signature) bool {
			return sig.countsFor(l) && (w.before(sig.Entry, l.Entry) || sig.Entry.Same(l.Entry))
		}
		if !w.authoritative(l.Entry) {
			inLog := func(sig *signature) bool { return sig.Entry.Log == l.Entry.Log && precedes(sig) }
			if w.quorum(prev, s, sigs, inLog) {
				e.mirror = append(e.mirror, l)
			} else {
				short()
			}
			continue
		}
		// The version before is in force already, or this binding came too early.
		if prev != nil && !prev.effect.possiblyBy(w.order, l.Entry) {
			continue
		}
		if !w.quorum(prev, s, sigs, w.mayPrecede(l)) {
			short()
			continue
		}
		e.possible = append(e.possible, l)
		if (prev == nil || prev.effect.surelyBy(w.order, l.Entry)) && w.quorum(prev, s, sigs, w.mustPrecede(l)) {
			e.sure = append(e.sure, l)
		}
	}
	return e
}

// mayPrecede returns which signatures count for a binding and do not certainly follow it.
func (w *walk) mayPrecede(l *leaf) func(*signature) bool {
	return func(sig *signature) bool {
		return sig.countsFor(l) && w.authoritative(sig.Entry) && !w.before(l.Entry, sig.Entry)
	}
}

// mustPrecede returns which signatures count for a binding and certainly do not follow it.
func (w *walk) mustPrecede(l *leaf) func(*signature) bool {
	return func(sig *signature) bool {
		return sig.countsFor(l) && w.authoritative(sig.Entry) &&
			(w.before(sig.Entry, l.Entry) || sig.Entry.Same(l.Entry))
	}
}

// bindings returns the leaves that may bind s: those of its workflow or, where no
// certificate can prove the repository, its maintainers' own entries.
func (w *walk) bindings(s *Statement, sigs []*signature) []*leaf {
	if !w.h.MaintainersBind {
		return w.leaves[s.digest]
	}
	var out []*leaf
	for _, sig := range sigs {
		out = append(out, &leaf{
			LeafFacts: LeafFacts{
				Payload: s.digest, PAE: s.pae, Binding: Binding{Repository: s.repository}, Entry: sig.Entry,
			},
			statement: s,
		})
	}
	return out
}

// onDefault reports whether the binding is from a default branch, where that matters: of
// what a quorum of the version before does not vouch for. The branch may have got another
// name since; then the same statement has to be bound again from the one of today (SPEC 8.7).
func (w *walk) onDefault(prev *link, s *Statement, l *leaf) bool {
	f := s.file()
	if l.Binding.Ref == "" {
		return true
	}
	if prev != nil && f.Handover == "" && !f.Maintainers.Repository && !prev.file().Maintainers.Repository {
		return true
	}
	return slices.ContainsFunc(w.leaves[s.digest], func(x *leaf) bool {
		return (x == l || w.before(l.Entry, x.Entry)) && x.Binding.RepositoryID == l.Binding.RepositoryID &&
			slices.Contains(w.h.DefaultRefs, x.Binding.Ref)
	})
}
