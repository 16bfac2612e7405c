// SPDX-License-Identifier: Apache-2.0

package lookup

import "slices"

// Looked is what an entry of an index was found to be, by its whole name.
type Looked struct {
	Name string
	// Keys are those of the binding that its body is under the trusted root, as [lookKey] gives
	// them; none if it binds nothing, wherever and whenever it was logged.
	Keys []string
	// Index is the place of a binding as the service showed it, and Late says that it binds
	// nothing there.
	Index int64
	Late  bool
}

// Remembered is what outlives a run of the entries that an index listed.
type Remembered interface {
	Get(name string) (Looked, bool)
	// Age returns before how many others an entry was looked at.
	Age(name string) int
	Add(entries []Looked) error
}

// same reports whether both say the same of the entry.
func (l Looked) same(o Looked) bool {
	if l.Name != o.Name || !slices.Equal(l.Keys, o.Keys) {
		return false
	}
	return len(l.Keys) == 0 || l.Index == o.Index && l.Late == o.Late
}
