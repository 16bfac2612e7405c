// SPDX-License-Identifier: Apache-2.0

// Package directorytest is a small directory with knobs, for tests only: it holds a
// directory's key and signs whatever map it is told to, true or not. Its trees are
// naive, and its proofs hold.
package directorytest

import (
	"bytes"
	"slices"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

// Value is a label and what stands there.
type Value struct {
	Label prefixmap.Label
	Hash  prefixmap.Hash
}

// Tree is all of a map, ascending by label.
type Tree []Value

// NewTree returns the map of some values, which are in any order.
func NewTree(values []Value) Tree {
	t := slices.Clone(values)
	slices.SortFunc(t, func(a, b Value) int { return bytes.Compare(a.Label[:], b.Label[:]) })
	return t
}

// Root returns the map's root.
func (t Tree) Root() prefixmap.Hash {
	var nodes []prefixmap.Node
	for _, v := range t {
		nodes = append(nodes, prefixmap.Node{Label: v.Label, Hash: prefixmap.Leaf(v.Label, v.Hash)})
	}
	return prefixmap.Fold(nodes)
}

// depth returns how many bits the labels share.
func (t Tree) depth() int { return t[0].Label.Common(t[len(t)-1].Label) }

// sides returns the labels whose next bit is 0, and the others.
func (t Tree) sides() (left, right Tree) {
	d := t.depth()
	n := slices.IndexFunc(t, func(v Value) bool { return v.Label.Bit(d) == 1 })
	return t[:n], t[n:]
}

// Top returns the topmost node.
func (t Tree) Top() prefixmap.Subtree {
	s := prefixmap.Subtree{Label: t[0].Label, Depth: t.depth(), Left: t[0].Hash}
	if len(t) > 1 {
		left, right := t.sides()
		s.Left, s.Right = left.Root(), right.Root()
	}
	return s
}

// below returns what has the first depth bits of a label, and the way from there to
// the root; where nothing has, the node that stands in its place.
func (t Tree) below(l prefixmap.Label, depth int) (own Tree, path prefixmap.Path, other *prefixmap.Subtree) {
	if len(t) == 0 {
		return nil, nil, nil
	}
	d := t.depth()
	switch shared := l.Common(t[0].Label); {
	case d >= depth && shared >= depth:
		return t, nil, nil
	case shared < d:
		top := t.Top()
		return nil, nil, &top
	}
	left, right := t.sides()
	if l.Bit(d) == 1 {
		left, right = right, left
	}
	own, path, other = left.below(l, depth)
	return own, append(path, prefixmap.Step{Depth: d, Hash: right.Root()}), other
}

// Member returns the values of a key, and the way from their subtree to the root.
func (t Tree) Member(key prefixmap.Hash) ([]prefixmap.Hash, prefixmap.Path) {
	own, path, _ := t.below(prefixmap.NewLabel(key, 0), prefixmap.KeyBits)
	var values []prefixmap.Hash
	for _, v := range own {
		values = append(values, v.Hash)
	}
	return values, path
}

// Absent returns the proof for all keys that are not there and whose hashes begin
// with the same bits: the keys that are, or else the node in their place.
func (t Tree) Absent(
	key prefixmap.Hash, bits int,
) (items []prefixmap.Subtree, path prefixmap.Path, other *prefixmap.Subtree) {
	own, path, other := t.below(prefixmap.NewLabel(key, 0), bits)
	for len(own) > 0 {
		n := 0
		for n < len(own) && own[n].Label.Key() == own[0].Label.Key() {
			n++
		}
		items = append(items, own[:n].Top())
		own = own[n:]
	}
	return items, path, other
}
