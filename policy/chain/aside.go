// SPDX-License-Identifier: Apache-2.0

package chain

import "slices"

// Aside is a statement of which no binding counts, but for the branch that it is from.
type Aside struct {
	Statement *Statement
	Number    string // of the repository that has to bind it again
}

// Asides returns the statements that lead to the one with the digest, it included, and have to
// be bound again because the default branch has got another name (SPEC 8.7), the newest first:
// who binds them in that order never shows a chain that ends too early. None if the chain would
// not reach the statement, or not its quorum, if all branches were default ones.
func (h History) Asides(digest string) []Aside {
	all := h
	all.DefaultRefs = nil
	for _, l := range h.Leaves {
		all.DefaultRefs = append(all.DefaultRefs, l.facts.Binding.Ref)
	}
	e := newEvaluator(&all, newOrder(h.Logs))
	root := e.rootOf(digest)
	if root == nil || h.MaintainersBind {
		return nil
	}
	for _, id := range e.foundersOf(root) {
		if w := e.walkFrom(root, id); w != nil && len(w.problems) == 0 {
			if reached := w.upTo(digest); len(reached) > 0 {
				return w.aside(reached, h.DefaultRefs)
			}
		}
	}
	return nil
}

// rootOf returns the version 1, not a recovery, on which the statement with the digest rests.
func (e *evaluator) rootOf(digest string) *Statement {
	for {
		s := e.statements[digest]
		if s == nil || s.doc == nil {
			return nil
		}
		if digest = afterOf(s); digest == "" {
			return s
		}
	}
}

// upTo returns the versions up to the one with the digest; up to the head if the statement
// follows or recovers that with its quorum, and is not in force yet.
func (w *walk) upTo(digest string) []*link {
	if i := slices.IndexFunc(w.links, func(l *link) bool { return l.stmt.digest == digest }); i >= 0 {
		return w.links[:i+1]
	}
	s, head := w.statements[digest], w.head()
	before := head
	if s.version == 1 {
		before = nil
	}
	sigs := w.countable(before, s)
	own, old := tally(&s.file().Maintainers, sigs).Met(), before == nil || tally(&head.file().Maintainers, sigs).Met()
	recovers := s.file().Recovers == head.stmt.digest && recoverable(head.stmt, s)
	if !own || !old || !recovers && !follows(head.stmt, s) {
		return nil
	}
	return w.links
}

// aside returns those of the versions of which no binding counts under these default branches.
func (w *walk) aside(links []*link, refs []string) []Aside {
	real := *w.h
	real.DefaultRefs = refs
	w.h = &real
	var out []Aside
	for i, k := range links {
		var prev *link
		if i > 0 && k.stmt.version > 1 {
			prev = links[i-1]
		}
		bound := k.effect.possible
		if len(bound) == 0 {
			bound = k.effect.mirror
		}
		if !slices.ContainsFunc(bound, func(l *leaf) bool { return w.onDefault(prev, k.stmt, l) }) {
			out = append(out, Aside{k.stmt, w.firstOf(&k.effect).Binding.RepositoryID})
		}
	}
	slices.Reverse(out)
	return out
}
