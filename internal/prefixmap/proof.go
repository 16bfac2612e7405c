// SPDX-License-Identifier: Apache-2.0

package prefixmap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Step is an inner node on the way from a subtree up to the root: how many bits
// its labels share, and the hash of its other side.
type Step struct {
	Depth int
	Hash  Hash
}

// Path leads from a subtree to the root, the lowest step first.
type Path []Step

// root returns the root above a subtree that holds all labels with the first
// depth bits of l.
func (p Path) root(l Label, depth int, h Hash) (Hash, error) {
	for _, s := range p {
		if s.Depth < 0 || s.Depth >= depth {
			return Hash{}, fmt.Errorf("a step at depth %d above one at %d", s.Depth, depth)
		}
		if depth = s.Depth; l.Bit(depth) == 0 {
			h = Inner(l, depth, h, s.Hash)
		} else {
			h = Inner(l, depth, s.Hash, h)
		}
	}
	return h, nil
}

// Member returns the root under which a key has exactly the given values, of
// which the oldest ones may be blocks; see [Values]. Nothing is proven before each
// block is known to be that of BlockSize values: alone, it might stand for fewer.
// No value is an error.
func (p Path) Member(key Hash, blocks, values []Hash) (Hash, error) {
	if len(blocks)+len(values) == 0 {
		return Hash{}, errors.New("no value")
	}
	return p.root(NewLabel(key, 0), KeyBits, Values(key, blocks, values))
}

// Beyond returns the root under which a key has more values than are shown, and a number that
// the newest of them has at least. Top is the node of all of its values: on either side of it
// there are some.
func (p Path) Beyond(key Hash, top Subtree) (root Hash, least uint64, err error) {
	if top.Depth < KeyBits || top.Depth >= LabelBits || top.Label.Key() != key {
		return Hash{}, 0, fmt.Errorf("a node at depth %d", top.Depth)
	}
	root, err = p.root(NewLabel(key, 0), KeyBits, top.Hash())
	return root, 1 << (LabelBits - 1 - top.Depth), err
}

// Subtree is a node with what is hashed into it: a leaf, or an inner node.
type Subtree struct {
	Label Label // of a leaf; some label below an inner node
	// Depth is how many bits the labels of an inner node share; LabelBits for a
	// leaf.
	Depth int
	// Left and Right are the sides of an inner node; of a leaf, Left is the
	// value.
	Left, Right Hash
}

// Hash returns the node's hash. Depth has to be from 0 to LabelBits.
func (s *Subtree) Hash() Hash {
	if s.Depth == LabelBits {
		return Leaf(s.Label, s.Left)
	}
	return Inner(s.Label, s.Depth, s.Left, s.Right)
}

// Diverged returns the root under which a key has no value, since another node
// stands where its labels would be; nil for the empty map.
func (p Path) Diverged(key Hash, other *Subtree) (Hash, error) {
	if other == nil {
		if len(p) > 0 {
			return Hash{}, errors.New("a path in the empty map")
		}
		return Empty(), nil
	}
	if other.Depth < 0 || other.Depth > LabelBits {
		return Hash{}, fmt.Errorf("a node at depth %d", other.Depth)
	}
	l := NewLabel(key, 0)
	shared := l.Common(other.Label)
	if shared >= min(other.Depth, KeyBits) {
		return Hash{}, errors.New("the node may hold labels of the key")
	}
	if len(p) > 0 && p[0].Depth >= shared {
		return Hash{}, errors.New("the node is not on the key's side")
	}
	return p.root(l, shared, other.Hash())
}

// Absent returns the root under which a key has no value, since all keys whose
// hashes begin with the same bits are others. Items are their subtrees, each of one
// key, in ascending order. No item is an error; [Path.Diverged] is for that.
func (p Path) Absent(key Hash, depth int, items []Subtree) (Hash, error) {
	if depth < 0 || depth >= KeyBits {
		return Hash{}, fmt.Errorf("a prefix of %d bits", depth)
	}
	if len(items) == 0 {
		return Hash{}, errors.New("no item")
	}
	l := NewLabel(key, 0)
	var nodes []Node
	for i, it := range items {
		switch {
		case it.Depth < KeyBits || it.Depth > LabelBits:
			return Hash{}, fmt.Errorf("an item at depth %d", it.Depth)
		case it.Label.Common(l) < depth:
			return Hash{}, errors.New("an item with another prefix")
		case it.Label.Key() == key:
			return Hash{}, errors.New("an item of the key")
		case i > 0 && bytes.Compare(nodes[i-1].Label[:sha256.Size], it.Label[:sha256.Size]) >= 0:
			return Hash{}, errors.New("the items are not in ascending order")
		}
		nodes = append(nodes, Node{it.Label, it.Hash()})
	}
	if len(p) > 0 && p[0].Depth >= depth {
		return Hash{}, errors.New("a step within the prefix")
	}
	return p.root(l, depth, Fold(nodes))
}

// KeyHash returns the hash of a key.
func KeyHash(key string) Hash { return sha256.Sum256([]byte(key)) }
