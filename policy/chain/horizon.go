// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"maps"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// horizon finds the bindings that bear on a repository, by its name, until nothing new
// appears: under a name or number of those that were found, or under a name or number that
// their statements take up (SPEC 8.7). It returns the names and numbers.
func horizon(
	repo policy.Locator, leaves []*leaf, found func(*leaf),
) (names map[policy.Locator]bool, numbers map[string]bool) {
	names, numbers = map[policy.Locator]bool{repo: true}, map[string]bool{}
	byName, byNumber := map[policy.Locator][]*leaf{}, map[string][]*leaf{}
	for _, l := range leaves {
		if l.Binding.Repository.Host() == repo.Host() {
			byName[l.Binding.Repository] = append(byName[l.Binding.Repository], l)
			byNumber[l.Binding.RepositoryID] = append(byNumber[l.Binding.RepositoryID], l)
		}
	}
	todo := slices.Clone(byName[repo])
	name := func(n policy.Locator) {
		if !names[n] && n.Host() == repo.Host() {
			names[n], todo = true, append(todo, byName[n]...)
		}
	}
	number := func(id string) {
		if id != "" && !numbers[id] {
			numbers[id], todo = true, append(todo, byNumber[id]...)
		}
	}
	for len(todo) > 0 {
		l := todo[0]
		todo = todo[1:]
		found(l)
		name(l.Binding.Repository)
		number(l.Binding.RepositoryID)
		if s := l.statement; s != nil && s.err == nil {
			name(s.repository)
			if !s.formerly.IsZero() {
				name(s.formerly)
			}
			if s.doc != nil {
				number(s.file().Handover)
			}
		}
	}
	return names, numbers
}

// Horizon returns the names of the repository that the bindings at hand show, that which was
// asked for included, and its numbers, both in a fixed order: what else is to be asked for.
func (h History) Horizon() (names []policy.Locator, numbers []string) {
	shown := map[string]*Statement{}
	for i := range h.Statements {
		s := &h.Statements[i]
		shown[s.digest], shown[s.pae] = s, s
	}
	var leaves []*leaf
	for _, v := range h.Leaves {
		if !v.verified || v.facts.Binding.IsZero() {
			continue
		}
		l := &leaf{LeafFacts: v.facts, statement: shown[v.facts.Payload]}
		if l.statement == nil {
			l.statement = shown[v.facts.PAE]
		}
		leaves = append(leaves, l)
	}
	n, m := horizon(h.Repository, leaves, func(*leaf) {})
	names = slices.SortedFunc(maps.Keys(n), func(a, b policy.Locator) int {
		return cmp.Compare(a.String(), b.String())
	})
	return names, slices.Sorted(maps.Keys(m))
}
