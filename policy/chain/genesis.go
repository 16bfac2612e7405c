// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// genesisRank orders labels, the better one higher.
var genesisRank = map[policy.GenesisLabel]int{
	policy.GenesisClaimed: 1, policy.GenesisFirst: 2, policy.GenesisAnchored: 3, policy.GenesisPinned: 4,
}

// presence returns from where on the chain speaks for the repository that was
// asked for: the effect of its first version that was bound under that name.
func (w *walk) presence() effect {
	for _, l := range w.links {
		if at := l.effect.within(w.h.Repository); !at.none() {
			return at
		}
	}
	return effect{}
}

func (w *walk) root() *Statement { return w.links[0].stmt }

// choose returns the chain of the repository: the one that the user or a super
// root named, or that was kept, or else the first (SPEC 8.7). Nil if there is
// none or if it is not decided.
func (c *Chain) choose(e *evaluator, walks []*walk) *walk {
	for _, named := range []struct {
		digest string
		label  policy.GenesisLabel
	}{{e.h.Pin, policy.GenesisPinned}, {e.h.Anchor, policy.GenesisAnchored}} {
		if named.digest == "" {
			continue
		}
		c.label = named.label
		var same []*walk
		for _, w := range walks {
			if p := w.presence(); w.root().digest == named.digest && !p.none() {
				same = append(same, w)
			}
		}
		if len(same) > 0 {
			return c.oldest(e, same, (*walk).presence)
		}
		c.fail(policy.GenesisMissing, "statement sha256:"+named.digest+" is not at hand, or was never bound")
		return nil
	}
	c.label = policy.GenesisFirst
	if e.h.MaintainersBind {
		c.label = policy.GenesisClaimed
	}
	if kept := e.h.Kept.Chain; len(kept) > 0 {
		var same []*walk
		for _, w := range walks {
			if w.root().digest == kept[0] && !w.links[0].effect.none() {
				same = append(same, w)
			}
		}
		return c.oldest(e, same, atRoot) // if there is none, demandKept says so
	}
	return c.firstOf(e, walks)
}

// firstOf returns the chain that the log shows first under the name. If another
// chain of the same repository number is older, because the repository had
// another name then, that one is meant.
func (c *Chain) firstOf(e *evaluator, walks []*walk) *walk {
	var present []*walk
	for _, w := range walks {
		if p := w.presence(); !p.none() {
			present = append(present, w)
		}
	}
	first := c.oldest(e, present, (*walk).presence)
	if first == nil || e.h.MaintainersBind {
		return first
	}
	var same []*walk
	for _, w := range walks {
		if w.root().repository.Host() == first.root().repository.Host() &&
			w.links[0].ids.Repository == first.links[0].ids.Repository && !w.links[0].effect.none() {
			same = append(same, w)
		}
	}
	return c.oldest(e, same, atRoot)
}

func atRoot(w *walk) effect { return w.links[0].effect }

// oldest returns the chain that takes effect before all others; nil if there is
// none, or if that is not decided, which is then a problem.
func (c *Chain) oldest(e *evaluator, walks []*walk, at func(*walk) effect) *walk {
	var entries []policy.Entry
	for _, w := range walks {
		mine := at(w)
		if !slices.ContainsFunc(walks, func(x *walk) bool {
			theirs := at(x)
			return x != w && !mine.beats(e.order, &theirs)
		}) {
			return w
		}
		entries = append(entries, entriesOf(mine.possible)...)
	}
	if len(walks) == 0 {
		return nil
	}
	c.fail(policy.GenesisConflict, fmt.Sprintf("%d versions 1, and no order between them", len(walks)), entries...)
	return nil
}

// adopt takes over what the chosen chain says.
func (c *Chain) adopt(w *walk) {
	c.walk, c.links = w, w.links
	c.alarms = append(c.alarms, w.alarms...)
	c.problems = append(c.problems, w.problems...)
	var docs []*policy.Document
	for _, l := range w.links {
		docs = append(docs, l.stmt.doc)
	}
	n := len(docs) - 1
	c.newest = docs[n].Bound(w.links[n].ids, c.label, docs[:n])
}

// compare says what every other version 1 means: one that comes later is an
// alarm and no obstacle, one that does not leaves the genesis undecided, unless
// a super root decided or the chain declares its bindings void.
func (c *Chain) compare(e *evaluator, chosen *walk, walks []*walk) {
	if chosen == nil {
		return
	}
	mine := chosen.presence()
	if mine.none() { // a name that the chain has not taken up yet
		mine = chosen.links[0].effect
	}
	for _, w := range walks {
		if w == chosen || w.root() == chosen.root() { // the same one bound by another repository: see foreign
			continue
		}
		ours, theirs := mine, w.presence()
		first := w.links[0].effect
		if theirs.none() && len(first.mirror) > 0 { // bound in Rekor v1 alone
			theirs = first.within(e.h.Repository)
			theirs.possible = theirs.mirror
			ours.sure = append(slices.Clone(mine.sure), mine.mirror...)
		}
		sameID := w.links[0].ids == chosen.links[0].ids && w.root().repository.Host() == chosen.root().repository.Host()
		if theirs.none() {
			if !sameID || e.h.MaintainersBind {
				continue // of another repository
			}
			theirs = first
		}
		statements := []string{chosen.root().digest, w.root().digest}
		entries := append(entriesOf(mine.possible), entriesOf(theirs.possible)...)
		switch {
		case ours.beats(e.order, &theirs):
			c.alarm(alarmSecondGenesis, "another version 1 was bound later", statements, entries...)
		case c.label == policy.GenesisAnchored,
			!slices.ContainsFunc(theirs.possible, func(l *leaf) bool { return !c.void(l) }):
			c.alarm(alarmGenesisConflict, "another version 1 was bound earlier", statements, entries...)
		default:
			const detail = "another version 1 was bound earlier, or no order between them is known"
			c.fail(policy.GenesisConflict, detail, entries...)
		}
	}
}

// lists reports whether a version of the chain lists the binding under void.
func (c *Chain) lists(l *leaf) bool {
	return l.Body != "" && slices.ContainsFunc(c.links, func(k *link) bool {
		return slices.Contains(k.file().Void, l.Body)
	})
}

// void reports whether a version of the chain declares the binding void. Of the chain's own
// number it can do so only where no directory says when something was handed in, and only
// for what is older than the time that there is for that (SPEC 8.3).
func (c *Chain) void(l *leaf) bool {
	if !c.lists(l) {
		return false
	}
	own := slices.ContainsFunc(c.links, func(k *link) bool {
		return k.ids.Repository == l.Binding.RepositoryID || slices.ContainsFunc(k.effect.possible, func(b *leaf) bool {
			return b.Binding.RepositoryID == l.Binding.RepositoryID
		})
	})
	return !own || l.watch == watchNone && !c.view.AsOf.IsZero() && !l.Entry.NotBefore.Add(Grace).After(c.view.AsOf)
}

// demandKept compares the chain with what an earlier run kept: the one must be a
// continuation of the other, unless a super root names another chain (SPEC 18.1).
func (c *Chain) demandKept(e *evaluator) {
	k := c.kept.Chain
	if len(k) > 0 && c.label == policy.GenesisAnchored && c.walk != nil && c.walk.root().digest != k[0] {
		const text = "another chain was seen before than the one that the super root names"
		c.alarm(alarmReanchored, text, []string{k[0], c.walk.root().digest})
		return
	}
	for i, digest := range k {
		switch {
		case c.lapsed(e, i, digest):
			c.fail(policy.Undisclosed, fmt.Sprintf(
				"version %d of the chain was seen before, and its binding lapsed: it has to be bound again", i+1))
			return
		case i >= len(c.links):
			c.fail(policy.ChainRollback, fmt.Sprintf(
				"version %d of the chain was seen before, now only %d are there", i+1, len(c.links)))
			return
		case c.links[i].stmt.digest != digest:
			c.fail(policy.ChainForked, fmt.Sprintf(
				"version %d of the chain is another one than was seen before", i+1),
				entriesOf(c.links[i].effect.possible)...)
			return
		}
	}
}

// demandIds compares the numbers of the first version's repository with those that the user's lock
// names (SPEC 9.3). Nothing was bound then, so a chain that another number founded is of a repository
// that took the name, and one of another owner of a repository that was handed on before it had a policy.
func (c *Chain) demandIds(want policy.Ids) {
	if want == (policy.Ids{}) || len(c.links) == 0 {
		return
	}
	first := c.links[0]
	bound := entriesOf(first.effect.possible)
	switch got := first.ids; {
	case got.Repository != want.Repository:
		c.fail(policy.RepositoryChanged, fmt.Sprintf("the lock is of the repository with the number %s, and number %s "+
			"bound version 1", want.Repository, got.Repository), bound...)
	case got.Owner != want.Owner:
		c.fail(policy.OwnerChanged, fmt.Sprintf("the lock is of the repository of the owner with the number %s, and "+
			"number %s owned it when version 1 was bound", want.Owner, got.Owner), bound...)
	}
}

// lapsed reports whether a version that was seen before is not in force only because nobody
// handed it in to the directory in time.
func (c *Chain) lapsed(e *evaluator, i int, digest string) bool {
	if i < len(c.links) && c.links[i].stmt.digest == digest {
		return false
	}
	s := e.statements[digest]
	return slices.ContainsFunc(e.lapsed, func(l *leaf) bool { // it may be that one
		return c.mine(l) && (l.Payload == digest || s != nil && l.PAE == s.pae || s == nil && l.statement == nil)
	})
}
