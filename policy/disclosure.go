// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
)

// fate is what is known about a statement beside the chain.
type fate uint8

const (
	fatePending fate = iota // it may be part of the chain: what is missing is not taken for absent
	fateOurs                // it is part of the chain
	fateLost                // it can never be part of the chain
	fateNewer               // pending, and of a format that only a newer program understands
)

// missing is rule 3: a binding of this repository whose statement or quorum is
// not at hand leaves the chain undecided, unless it certainly cannot matter or a
// version of the chain declares it void (SPEC 8.3). It also finds bindings of
// another repository under the same name.
func (c *Chain) missing(e *evaluator, w *walk, walks []*walk) {
	d := &disclosure{evaluator: e, walk: w, walks: walks, fates: map[string]fate{}, index: map[string]int{}}
	ids := map[string]bool{}
	host := e.h.Repository.Host()
	if w != nil {
		host = w.root().repository.Host()
		for i, l := range w.links {
			d.index[l.stmt.digest] = i
			ids[l.ids.Repository] = true
			for _, x := range l.effect.possible {
				ids[x.Binding.RepositoryID] = true
			}
		}
	}
	for _, l := range d.all() {
		own := ids[l.Binding.RepositoryID] && l.Binding.Repository.Host() == host
		if !own && l.Binding.Repository != e.h.Repository {
			continue
		}
		if w != nil && !own && !c.earlier(w, l) {
			c.foreign(l)
			continue
		}
		c.pending(d, l)
	}
	if w == nil && len(c.problems) == 0 {
		detail := ""
		if len(e.genesis) > 0 {
			detail = "a policy is there, but nothing binds it"
		}
		c.fail(NoBinding, detail)
	}
}

// disclosure finds out what each binding that is not part of the chain means.
type disclosure struct {
	*evaluator
	walk  *walk
	walks []*walk
	fates map[string]fate
	index map[string]int // place in the chain, by digest of the statement
}

// all returns every binding in a fixed order.
func (d *disclosure) all() []*leaf {
	var out []*leaf
	for _, ls := range d.leaves {
		out = append(out, ls...)
	}
	out = append(out, d.unknown...)
	slices.SortFunc(out, func(a, b *leaf) int { return sortEntry(a.Entry, b.Entry) })
	return out
}

// earlier reports whether the leaf lies before the chain took up the name.
func (c *Chain) earlier(w *walk, l *leaf) bool {
	p := w.presence()
	return slices.ContainsFunc(p.possible, func(x *leaf) bool { return w.before(l.place, x.place) })
}

// foreign judges a binding under the chain's name by another repository number.
func (c *Chain) foreign(l *leaf) {
	if c.void([]*leaf{l}) {
		c.alarms = append(c.alarms, Alarm{AlarmVoid, "a binding of repository number " + l.Binding.RepositoryID + " is declared void", nil, []Entry{l.Entry}})
		return
	}
	c.fail(RepositoryChanged, fmt.Sprintf("%s was bound by repository number %s", c.repository, l.Binding.RepositoryID), l.Entry)
}

// pending judges a binding whose statement may be missing.
func (c *Chain) pending(d *disclosure, l *leaf) {
	f := fatePending
	if l.statement != nil {
		f = d.fate(l.statement)
	}
	switch {
	case f == fateLost && l.statement.doc != nil && l.statement.file().Recovers != "" && !d.walk.settled[l.statement.digest]:
		c.alarms = append(c.alarms, Alarm{AlarmSecondGenesis, "a recovery that the chain does not allow", []string{l.statement.digest}, []Entry{l.Entry}})
	case f == fateOurs || f == fateLost:
	case c.void([]*leaf{l}):
		c.alarms = append(c.alarms, Alarm{AlarmVoid, "a binding without a statement is declared void", nil, []Entry{l.Entry}})
	case l.statement == nil && d.hidden(l):
		c.alarms = append(c.alarms, Alarm{AlarmUndisclosed, "a binding whose statement was never published lies before the newest version", nil, []Entry{l.Entry}})
	case f == fateNewer:
		c.fail(NeedsNewerVersion, "a version of the policy has a newer format", l.Entry)
	case l.statement != nil && d.walk != nil && d.walk.owner[l.statement.digest]:
		c.fail(OwnerChanged, fmt.Sprintf("version %d was bound by owner number %s and does not say that the owner changed", l.statement.version, l.Binding.OwnerID), l.Entry)
	case l.statement != nil:
		c.fail(Undisclosed, fmt.Sprintf("version %d is bound, but not in force by the signatures and log entries at hand", l.statement.version), l.Entry)
	default:
		c.fail(Undisclosed, "its statement is not at hand", l.Entry)
	}
}

// hidden reports whether a directory shows that nobody published the statement
// of the leaf before the newest version took effect: it then never wins over it.
func (d *disclosure) hidden(l *leaf) bool {
	if d.h.Directory == nil || d.walk == nil || l.place.disclosed == nil {
		return false
	}
	for _, digest := range []string{l.Payload, l.PAE} {
		if _, published := d.h.Directory.Disclosed[digest]; published && digest != "" {
			return false // somebody has it, and we should
		}
	}
	return slices.ContainsFunc(d.walk.head().effect.sure, func(x *leaf) bool { return d.before(place{entry: l.Entry}, x.place) })
}

// fate returns what becomes of a statement that is at hand.
func (d *disclosure) fate(s *Statement) fate {
	if f, ok := d.fates[s.digest]; ok {
		return f
	}
	// Chains are followed by digest and cannot be circular; recursion ends at a
	// version 1 or at a statement that is missing.
	f := d.judge(s)
	d.fates[s.digest] = f
	return f
}

func (d *disclosure) judge(s *Statement) fate {
	pending := fatePending
	switch {
	case s.err != nil:
		return fateLost
	case s.newer:
		pending = fateNewer
	}
	if _, ours := d.index[s.digest]; ours {
		return fateOurs
	}
	if d.walk == nil { // which chain it is, is not decided
		if slices.ContainsFunc(d.walks, func(w *walk) bool { return w.root() == s && !w.links[0].effect.none() }) {
			return fateOurs
		}
		return pending
	}
	if d.walk.settled[s.digest] {
		return fateLost
	}
	switch {
	case s.version > 1:
		return d.successor(s, s.previous, pending)
	case s.doc != nil && s.file().Recovers != "":
		return d.successor(s, s.file().Recovers, pending)
	}
	// A version 1. One that took effect is compared with the chain elsewhere.
	for _, w := range d.walks {
		if w != d.walk && w.root() == s {
			return fateLost
		}
	}
	if d.allAfter(s, &d.walk.links[0].effect) {
		return fateLost
	}
	return pending
}

// successor judges a statement that wants to come after the one with the digest.
func (d *disclosure) successor(s *Statement, after string, pending fate) fate {
	parent := d.statements[after]
	if parent == nil {
		return pending
	}
	if s.version > 1 && !s.newer && parent.doc != nil && !follows(parent, s) {
		return fateLost
	}
	i, ours := d.index[after]
	if !ours {
		if f := d.fate(parent); f == fateLost {
			return fateLost
		}
		return pending
	}
	if s.version == 1 && (parent.file().Recovery == 0 || parent.file().Tombstone) {
		return fateLost
	}
	if i+1 < len(d.walk.links) && d.allAfter(s, &d.walk.links[i+1].effect) {
		return fateLost
	}
	return pending
}

// allAfter reports whether every binding of the statement certainly comes after
// the effect began.
func (d *disclosure) allAfter(s *Statement, e *effect) bool {
	return !slices.ContainsFunc(d.leaves[s.digest], func(l *leaf) bool { return !e.surelyBy(d.order, l.place) })
}
