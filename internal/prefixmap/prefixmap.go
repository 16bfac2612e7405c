// SPDX-License-Identifier: Apache-2.0

// Package prefixmap is the map of a directory (SPEC 16.2): a compressed binary
// prefix tree over labels of fixed length, of which one hash commits to every
// label and value. Labels are only ever added. A proof shows all values of one key
// or that the key has none; no root admits two proofs that disagree.
//
// The shape is that of CONIKS and AKD, without their privacy: labels are plain
// hashes, since the log that is mapped is public.
package prefixmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

const (
	// KeyBits is how many bits of a label its key decides.
	KeyBits = 8 * sha256.Size
	// LabelSize is the length of a label in bytes.
	LabelSize = sha256.Size + 8
	// LabelBits is the same in bits.
	LabelBits = 8 * LabelSize
	// BlockSize is how many values of a key make a block, which does not change
	// any more once it is full.
	BlockSize = 64
)

// Hash is a SHA-256 hash.
type Hash = [sha256.Size]byte

// Label is where a value stands: the hash of its key, and after it the value's
// number under that key in big endian, from 0.
type Label [LabelSize]byte

// NewLabel returns the label of the nth value of a key with that hash.
func NewLabel(key Hash, n uint64) Label {
	var l Label
	copy(l[:], key[:])
	binary.BigEndian.PutUint64(l[sha256.Size:], n)
	return l
}

// Key returns the hash of the label's key.
func (l Label) Key() Hash { return Hash(l[:sha256.Size]) }

// Number returns which of its key's values the label names.
func (l Label) Number() uint64 { return binary.BigEndian.Uint64(l[sha256.Size:]) }

// Bit returns the bit at a depth below LabelBits, the most significant of the
// first byte at 0.
func (l Label) Bit(depth int) byte { return l[depth/8] >> (7 - depth%8) & 1 }

// Common returns how many bits two labels share from the beginning.
func (l Label) Common(other Label) int {
	for i := range l {
		if x := l[i] ^ other[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return LabelBits
}

// prefix returns the first bits of the label in as many bytes as they need, the
// rest of the last one zero.
func (l Label) prefix(depth int) []byte {
	out := bytes.Clone(l[:(depth+7)/8])
	if r := depth % 8; r != 0 {
		out[len(out)-1] &= byte(0xff) << (8 - r)
	}
	return out
}

// The first byte of what is hashed tells a leaf from an inner node and both from
// the empty map.
const (
	tagLeaf  = 0
	tagInner = 1
	tagEmpty = 2
)

// Empty returns the root of the empty map.
func Empty() Hash { return sha256.Sum256([]byte{tagEmpty}) }

// Leaf returns the hash of a leaf.
func Leaf(l Label, value Hash) Hash {
	var buf [1 + LabelSize + sha256.Size]byte
	buf[0] = tagLeaf
	copy(buf[1:], l[:])
	copy(buf[1+LabelSize:], value[:])
	return sha256.Sum256(buf[:])
}

// Inner returns the hash of the node below which all labels share exactly the
// first depth bits of l; depth is less than LabelBits. Left holds those whose next
// bit is 0.
func Inner(l Label, depth int, left, right Hash) Hash {
	var buf [3 + LabelSize + 2*sha256.Size]byte
	b := append(buf[:0], tagInner)
	b = binary.BigEndian.AppendUint16(b, uint16(depth))
	b = append(b, l.prefix(depth)...)
	b = append(b, left[:]...)
	b = append(b, right[:]...)
	return sha256.Sum256(b)
}

// Node is a subtree: a label in it and its hash.
type Node struct {
	Label Label
	Hash  Hash
}

// Fold returns the hash of the tree that consists of some subtrees, which are
// sorted by their labels and of which no two overlap; [Empty] for none.
func Fold(nodes []Node) Hash {
	switch len(nodes) {
	case 0:
		return Empty()
	case 1:
		return nodes[0].Hash
	}
	first, last := nodes[0].Label, nodes[len(nodes)-1].Label
	depth := first.Common(last)
	split := 1
	for split < len(nodes)-1 && nodes[split].Label.Bit(depth) == 0 {
		split++
	}
	return Inner(first, depth, Fold(nodes[:split]), Fold(nodes[split:]))
}

// Values returns the hash of the subtree of a key: its values from number 0 on.
// The oldest ones may be given as blocks, each the hash of the subtree of
// BlockSize values. There has to be at least one value or block.
func Values(key Hash, blocks, values []Hash) Hash {
	nodes := make([]Node, 0, len(blocks)+len(values))
	for i, h := range blocks {
		nodes = append(nodes, Node{NewLabel(key, uint64(i)*BlockSize), h})
	}
	from := uint64(len(blocks)) * BlockSize
	for i, v := range values {
		l := NewLabel(key, from+uint64(i))
		nodes = append(nodes, Node{l, Leaf(l, v)})
	}
	return Fold(nodes)
}

// Block returns the hash of a full block of a key, that of the values from
// BlockSize×n on.
func Block(key Hash, n int, values []Hash) Hash {
	nodes := make([]Node, 0, len(values))
	for i, v := range values {
		l := NewLabel(key, uint64(n)*BlockSize+uint64(i))
		nodes = append(nodes, Node{l, Leaf(l, v)})
	}
	return Fold(nodes)
}
