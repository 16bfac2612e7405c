// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/policy"
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
			if w != nil && w.handsOver(l) {
				c.pending(d, l, own)
			}
			continue
		}
		if w != nil && !own && !c.earlier(w, l) {
			c.foreign(l)
			continue
		}
		c.pending(d, l, own)
	}
	c.sayLapsed(e)
	if w == nil {
		c.unbound(d)
	}
}

// unbound says why there is no chain.
func (c *Chain) unbound(d *disclosure) {
	detail, ref := "", ""
	if len(d.genesis) > 0 {
		detail = "a policy is there, but nothing binds it"
	}
	for _, l := range d.all() {
		s := l.statement
		if s != nil && s.version == 1 && l.Binding.Repository.Host() == d.h.Repository.Host() && d.aside(s, l) {
			ref = l.Binding.Ref
			detail = "a policy was bound from another branch"
		}
	}
	if len(c.problems) == 0 {
		c.fail(policy.NoBinding, detail)
	}
	for i := range c.problems {
		if p := &c.problems[i]; ref != "" {
			p.Ref = ref
			p.Detail += "; version 1 was bound from " + ref +
				", not from the default branch of today, whose `repopolicy bind` can bind it again"
		}
	}
}

// handsOver reports whether a binding by another number may be of a version that hands over to
// it: under the name of a version, and not certainly after the next one took effect.
func (w *walk) handsOver(l *leaf) bool {
	for i, k := range w.links {
		over := i+1 < len(w.links) && w.links[i+1].effect.surelyBy(w.order, l.Entry)
		if k.stmt.repository == l.Binding.Repository && !over && k.effect.possiblyBy(w.order, l.Entry) {
			return true
		}
	}
	return false
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
	arrange.By(out, func(a, b *leaf) int { return a.Entry.Compare(b.Entry) })
	return out
}

// earlier reports whether the leaf lies before the chain took up the name.
func (c *Chain) earlier(w *walk, l *leaf) bool {
	p := w.presence()
	return p.after(w.order, l.Entry)
}

// sayLapsed raises the alarm about bindings of the repository that bind nothing, because
// nobody handed in in time what they bind.
func (c *Chain) sayLapsed(e *evaluator) {
	var entries []policy.Entry
	var statements []string
	for _, l := range e.lapsed {
		if !c.mine(l) {
			continue
		}
		entries = append(entries, l.Entry)
		if l.statement != nil && !slices.Contains(statements, l.statement.digest) {
			statements = append(statements, l.statement.digest)
		}
	}
	if len(entries) > 0 {
		const text = "a binding lapsed: what it binds was not handed in to the directory in time"
		c.alarm(alarmLapsed, text, statements, entries...)
	}
}

// mine reports whether a binding is under the name that was asked for, or by a number of the
// chain.
func (c *Chain) mine(l *leaf) bool {
	return l.Binding.Repository == c.repository || slices.ContainsFunc(c.links, func(k *link) bool {
		return slices.ContainsFunc(k.effect.possible, func(b *leaf) bool { return b.number() == l.number() })
	})
}

// foreign judges a binding under the chain's name by another repository number.
func (c *Chain) foreign(l *leaf) {
	if c.lists(l) {
		c.alarm(alarmVoid, "a binding of repository number "+l.Binding.RepositoryID+" is declared void", nil, l.Entry)
		return
	}
	detail := fmt.Sprintf("%s was bound by repository number %s", c.repository, l.Binding.RepositoryID)
	c.fail(policy.RepositoryChanged, detail, l.Entry)
}

// pending judges a binding whose statement or quorum may be missing.
func (c *Chain) pending(d *disclosure, l *leaf, own bool) {
	s, before := l.statement, len(c.problems)
	if d.incomplete[digestOf(s)] {
		s = nil
	}
	f := d.fate(l)
	if f == fateOurs && !own { // of the same statement, by another repository
		f = fatePending
	}
	switch {
	case f == fateLost && s.doc != nil && s.file().Recovers != "" && d.walk != nil && !d.walk.settled[l]:
		c.alarm(alarmSecondGenesis, "a recovery that the chain does not allow", []string{s.digest}, l.Entry)
	case f == fateLost && own && d.overlooked(s, l):
		c.alarm(alarmBranch, fmt.Sprintf(
			"version %d is bound from %s alone, which is not the default branch of today, and counts for nothing",
			s.version, l.Binding.Ref), []string{s.digest}, l.Entry)
	case f == fateOurs || f == fateLost:
	case c.void(l):
		c.alarm(alarmVoid, "a binding without a statement or quorum is declared void", nil, l.Entry)
	case f == fateNewer:
		c.fail(policy.NeedsNewerVersion, "a version of the policy has a newer format", l.Entry)
	case d.walk != nil && d.walk.owner[l]:
		c.fail(policy.OwnerChanged, fmt.Sprintf(
			"version %d was bound by owner number %s and does not say that the owner changed",
			s.version, l.Binding.OwnerID), l.Entry)
	case s != nil:
		c.fail(policy.Undisclosed, fmt.Sprintf(
			"version %d is bound, but not in force by the signatures and log entries at hand%s (leaf sha256:%s)",
			s.version, d.why(l), l.Body), l.Entry)
		c.problems[len(c.problems)-1].Statement = s.digest
	case l.statement != nil:
		c.fail(policy.Undisclosed, fmt.Sprintf(
			"a signature over version %d that the directory shows is not at hand (leaf sha256:%s)",
			l.statement.version, l.Body), l.Entry)
	default:
		detail := fmt.Sprintf("its statement is not at hand%s (leaf sha256:%s)", d.why(l), l.Body)
		c.fail(policy.Undisclosed, detail, l.Entry)
	}
	if n := len(c.problems); n > before {
		c.problems[n-1].Waits = l.waits() && c.problems[n-1].Reason == policy.Undisclosed
	}
}

// waits reports whether a directory waits for what a binding binds.
func (l *leaf) waits() bool { return l.pending || l.watch == watchOpen && l.statement != nil }

func digestOf(s *Statement) string {
	if s == nil {
		return ""
	}
	return s.digest
}

// why returns what else is known of a binding that is not in force.
func (d *disclosure) why(l *leaf) string {
	switch {
	case l.waits():
		return ", and the directory waits for what it binds"
	case l.Binding.Ref != "" && !slices.Contains(d.h.DefaultRefs, l.Binding.Ref):
		return ", from " + l.Binding.Ref + ", which is not the default branch"
	}
	return ""
}

// fate returns what becomes of a binding.
func (d *disclosure) fate(l *leaf) fate {
	s := l.statement
	if s == nil || d.incomplete[s.digest] {
		return fatePending
	}
	if f := d.fateOf(s); f != fatePending && f != fateNewer {
		return f
	}
	return d.judge(s, l)
}

// settled reports whether all that can ever count of what a binding binds is at hand: the
// directory showed it in time, with its quorum or without one when the time was over.
func (d *disclosure) settled(s *Statement, l *leaf) bool {
	if l.watch == watchNone || l.pending || s.newer || s.doc == nil || d.walk != nil && d.walk.owner[l] {
		return false
	}
	var prev *link
	for after := afterOf(s); after != ""; {
		p := d.statements[after]
		if p == nil {
			_, shown := d.watch.statements[after]
			return !shown && l.watch == watchOver // of what it follows nothing was ever shown
		}
		if p.newer {
			return false
		}
		if prev == nil && s.previous != "" && p.doc != nil {
			prev = &link{stmt: p}
		}
		after = afterOf(p)
	}
	if l.watch == watchOver {
		return true
	}
	w := d.walk
	return w != nil && w.quorum(prev, s, w.sigs[s.digest], w.mustPrecede(l))
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
	case len(d.leaves[s.digest]) > 0 || slices.ContainsFunc(d.lapsed, func(l *leaf) bool { return l.statement == s }):
		f = fateLost
		for _, l := range d.leaves[s.digest] {
			if x := d.judge(s, l); x != fateLost && f == fateLost {
				f = x
			}
		}
	}
	parent := d.statements[afterOf(s)]
	if d.walk != nil && f != fateOurs && parent != nil && d.fateOf(parent) == fateLost {
		f = fateLost // whatever binds it
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
	if d.aside(s, l) {
		return fateLost
	}
	isRoot := func(w *walk) bool { return w != d.walk && w.root() == s }
	if d.walk == nil { // which chain it is, is not decided
		if slices.ContainsFunc(d.walks, func(w *walk) bool {
			return isRoot(w) && slices.Contains(w.links[0].effect.possible, l)
		}) {
			return fateLost
		}
		return pending
	}
	after := afterOf(s)
	switch {
	case d.walk.settled[l] || d.settled(s, l):
		return fateLost
	case s.version > 1 || after != "":
		return d.successor(s, l, after, pending)
	case d.walk.links[0].effect.surelyBy(d.order, l.Entry):
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

// aside reports whether a binding is from another branch than the default one, and binds
// what only that can.
func (d *disclosure) aside(s *Statement, l *leaf) bool {
	if s.doc == nil {
		return false
	}
	var prev *link
	if s.previous != "" {
		p := d.statements[s.previous]
		if p == nil || p.doc == nil {
			return false
		}
		prev = &link{stmt: p}
	}
	w := &walk{evaluator: d.evaluator}
	return !w.onDefault(prev, s, l)
}

// overlooked reports whether a binding would make a version the next one, but for the branch
// that it is from: whoever says which branch is the default one takes it back by that.
func (d *disclosure) overlooked(s *Statement, l *leaf) bool {
	if d.walk == nil || l.watch == watchOver && l.pending || !d.aside(s, l) {
		return false
	}
	head := d.walk.head().stmt
	return follows(head, s) || s.version == 1 && s.file().Recovers == head.digest && recoverable(head, s)
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
	case i+1 < len(d.walk.links) && d.walk.links[i+1].effect.surelyBy(d.order, l.Entry):
		return fateLost
	}
	return pending
}

// afterOf returns the digest of the statement that s wants to come after; "" if none.
func afterOf(s *Statement) string {
	if s.previous == "" && s.doc != nil {
		return s.file().Recovers
	}
	return s.previous
}
