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
		c.pending(d, l, own)
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
	return p.after(w.order, l.place)
}

// foreign judges a binding under the chain's name by another repository number.
func (c *Chain) foreign(l *leaf) {
	if c.void(l) {
		c.alarms = append(c.alarms, newAlarm(AlarmVoid, "a binding of repository number "+l.Binding.RepositoryID+" is declared void", nil, []Entry{l.Entry}))
		return
	}
	c.fail(RepositoryChanged, fmt.Sprintf("%s was bound by repository number %s", c.repository, l.Binding.RepositoryID), l.Entry)
}

// pending judges a binding whose statement or quorum may be missing.
func (c *Chain) pending(d *disclosure, l *leaf, own bool) {
	s := l.statement
	f := d.fate(l)
	if f == fateOurs && !own { // of the same statement, by another repository
		f = fatePending
	}
	switch {
	case f == fateLost && s.doc != nil && s.file().Recovers != "" && d.walk != nil && !d.walk.settled[l]:
		c.alarms = append(c.alarms, newAlarm(AlarmSecondGenesis, "a recovery that the chain does not allow", []string{s.digest}, []Entry{l.Entry}))
	case f == fateOurs || f == fateLost:
	case c.void(l):
		c.alarms = append(c.alarms, newAlarm(AlarmVoid, "a binding without a statement or quorum is declared void", nil, []Entry{l.Entry}))
	case s == nil && d.hidden(l):
		c.alarms = append(c.alarms, newAlarm(AlarmUndisclosed, "a binding whose statement was never published lies before the newest version", nil, []Entry{l.Entry}))
	case f == fateNewer:
		c.fail(NeedsNewerVersion, "a version of the policy has a newer format", l.Entry)
	case d.walk != nil && d.walk.owner[l]:
		c.fail(OwnerChanged, fmt.Sprintf("version %d was bound by owner number %s and does not say that the owner changed", s.version, l.Binding.OwnerID), l.Entry)
	case s != nil:
		c.fail(Undisclosed, fmt.Sprintf("version %d is bound, but not in force by the signatures and log entries at hand (leaf sha256:%s)", s.version, l.Body), l.Entry)
		c.problems[len(c.problems)-1].Statement = s.digest
	default:
		c.fail(Undisclosed, fmt.Sprintf("its statement is not at hand (leaf sha256:%s)", l.Body), l.Entry)
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
	return d.walk.head().effect.after(d.order, place{entry: l.Entry})
}

// fate returns what becomes of a binding.
func (d *disclosure) fate(l *leaf) fate {
	s := l.statement
	if s == nil {
		return fatePending
	}
	if f := d.fateOf(s); f != fatePending && f != fateNewer {
		return f
	}
	return d.judge(s, l)
}

// fateOf returns what becomes of a statement that is at hand: it is lost if
// every binding of it is.
func (d *disclosure) fateOf(s *Statement) fate {
	if f, ok := d.fates[s.digest]; ok {
		return f
	}
	// Chains are followed by digest and cannot be circular; recursion ends at a
	// version 1 or at a statement that is missing.
	f := fatePending
	_, ours := d.index[s.digest]
	switch {
	case s.err != nil:
		f = fateLost
	case ours:
		f = fateOurs
	case len(d.leaves[s.digest]) > 0:
		f = fateLost
		for _, l := range d.leaves[s.digest] {
			if x := d.judge(s, l); x != fateLost && f == fateLost {
				f = x
			}
		}
	}
	d.fates[s.digest] = f
	return f
}

// judge judges a binding of a statement that is not part of the chain.
func (d *disclosure) judge(s *Statement, l *leaf) fate {
	pending := fatePending
	if s.newer {
		pending = fateNewer
	}
	isRoot := func(w *walk) bool { return w != d.walk && w.root() == s }
	if d.walk == nil { // which chain it is, is not decided
		if slices.ContainsFunc(d.walks, func(w *walk) bool { return isRoot(w) && slices.Contains(w.links[0].effect.possible, l) }) {
			return fateLost
		}
		return pending
	}
	after := s.previous
	if s.doc != nil && after == "" {
		after = s.file().Recovers
	}
	switch {
	case d.walk.settled[l]:
		return fateLost
	case s.version > 1 || after != "":
		return d.successor(s, l, after, pending)
	case d.walk.links[0].effect.surelyBy(d.order, l.place):
		return fateLost
	}
	// A version 1 that took effect is compared with the chain elsewhere.
	if slices.ContainsFunc(d.walks, func(w *walk) bool {
		e := &w.links[0].effect
		return isRoot(w) && (slices.Contains(e.possible, l) || slices.Contains(e.mirror, l))
	}) {
		return fateLost
	}
	return pending
}

// successor judges a binding of a statement that wants to come after the one with
// the digest.
func (d *disclosure) successor(s *Statement, l *leaf, after string, pending fate) fate {
	parent := d.statements[after]
	if parent == nil {
		return pending
	}
	if s.version > 1 && !s.newer && parent.doc != nil && !follows(parent, s) {
		return fateLost
	}
	i, ours := d.index[after]
	switch {
	case !ours && d.fateOf(parent) == fateLost:
		return fateLost
	case !ours:
		return pending
	case s.version == 1 && !recoverable(parent, s):
		return fateLost
	case i+1 < len(d.walk.links) && d.walk.links[i+1].effect.surelyBy(d.order, l.place):
		return fateLost
	}
	return pending
}
