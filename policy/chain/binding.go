// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// bindsAs is whether a certificate may bind a version.
type bindsAs uint8

const (
	bindsNot   bindsAs = iota
	bindsOwner         // but for the owner's number, of which the version says nothing
	bindsWell
)

// mayBind is the first half of rule 7: the certificate that binds a version
// carries the repository number of the version before, or the one to which this
// version hands over; it names the repository of either version, so that a
// rename is an ordinary version; and it carries the owner number of before
// unless this version says that the owner changed (SPEC 8.7).
func (w *walk) mayBind(prev *link, s *Statement, b Binding) bindsAs {
	f := s.file()
	if prev == nil {
		if b.Repository != s.repository || b.RepositoryID != w.id {
			return bindsNot
		}
		return bindsWell
	}
	switch {
	case b.Repository != s.repository && b.Repository != prev.stmt.repository:
		return bindsNot
	case b.RepositoryID != prev.ids.Repository &&
		(f.Handover == "" || b.RepositoryID != f.Handover || b.Repository != prev.stmt.repository):
		return bindsNot // who asks for the name and the number of before has to see it
	case b.OwnerID != prev.ids.Owner && !f.OwnerChanged:
		return bindsOwner
	}
	return bindsWell
}

// follows reports whether s can be the version after prev at all, whoever signs
// and binds it.
func follows(prev, s *Statement) bool {
	return s.doc != nil && prev.doc != nil && s.version == prev.version+1 && s.previous == prev.digest &&
		s.repository.Host() == prev.repository.Host() && !prev.file().Tombstone
}

// idsAfter returns the numbers that the chain has once s is in force, as its
// first binding shows them; none where no certificate has numbers. It is false if
// a binding with other numbers may be the first.
func (w *walk) idsAfter(s *Statement, e *effect) (policy.Ids, bool) {
	if w.h.MaintainersBind {
		return policy.Ids{}, true
	}
	first := w.firstOf(e)
	ids := policy.Ids{Repository: first.Binding.RepositoryID, Owner: first.Binding.OwnerID}
	sure := true
	for _, l := range slices.Concat(e.possible, e.short) {
		if l.Binding.OwnerID != ids.Owner || l.Binding.RepositoryID != ids.Repository {
			sure = sure && w.before(first.Entry, l.Entry)
		}
	}
	if h := s.file().Handover; h != "" {
		ids.Repository = h
	}
	return ids, sure
}

// firstOf returns the binding that stands for the version: the first, or of
// several that are not ordered always the same.
func (w *walk) firstOf(e *effect) *leaf {
	all := e.sure
	if len(all) == 0 {
		all = append(append(all, e.possible...), e.mirror...)
	}
	first := all[0]
	for _, l := range all[1:] {
		if w.before(l.Entry, first.Entry) {
			first = l
		}
	}
	return first
}
