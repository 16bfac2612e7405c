// SPDX-License-Identifier: Apache-2.0

package git

import "hash/maphash"

// Sizes of an [idSet].
const (
	idChunk  = 1 << 14 // ids
	idSlots  = 1 << 12 // at first
	slotSize = 4
)

// idSet is a set of ids in the order in which they were added, in less than half the
// memory of a map and a queue: histories have millions of commits.
type idSet struct {
	m      *meter
	seed   maphash.Seed
	chunks [][]oid
	n      int
	slots  []uint32 // one more than a position among the ids; 0 for none
	held   int64
}

func newIDSet(m *meter) *idSet { return &idSet{m: m, seed: maphash.MakeSeed()} }

func (s *idSet) at(i int) oid { return s.chunks[i/idChunk][i%idChunk] }

// add adds an id, if it is not there yet.
func (s *idSet) add(id oid) error {
	if 2*s.n >= len(s.slots) {
		if err := s.grow(); err != nil {
			return err
		}
	}
	slot := s.slot(id)
	if s.slots[slot] != 0 {
		return nil
	}
	if s.n%idChunk == 0 {
		if err := s.hold(idChunk * int64(len(id))); err != nil {
			return err
		}
		s.chunks = append(s.chunks, make([]oid, 0, idChunk))
	}
	last := len(s.chunks) - 1
	s.chunks[last] = append(s.chunks[last], id)
	s.n++
	s.slots[slot] = uint32(s.n)
	return nil
}

// slot returns where an id is or belongs.
func (s *idSet) slot(id oid) int {
	mask := len(s.slots) - 1
	for i := int(maphash.Bytes(s.seed, id[:])) & mask; ; i = (i + 1) & mask {
		if n := s.slots[i]; n == 0 || s.at(int(n-1)) == id {
			return i
		}
	}
}

func (s *idSet) has(id oid) bool { return len(s.slots) > 0 && s.slots[s.slot(id)] != 0 }

func (s *idSet) grow() error {
	old := int64(len(s.slots)) * slotSize
	n := max(2*len(s.slots), idSlots)
	if err := s.hold(int64(n) * slotSize); err != nil {
		return err
	}
	s.slots = make([]uint32, n)
	for i := range s.n {
		s.slots[s.slot(s.at(i))] = uint32(i + 1)
	}
	s.held -= old
	s.m.give(old)
	return nil
}

func (s *idSet) hold(n int64) error {
	err := s.m.hold(n)
	if err == nil {
		s.held += n
	}
	return err
}

// free gives back what the set held.
func (s *idSet) free() {
	s.m.give(s.held)
	*s = idSet{}
}
