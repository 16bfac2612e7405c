// SPDX-License-Identifier: Apache-2.0

package prefixmap_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

// node is a node of a tree that nobody promised to be a map: labels may stand
// anywhere, and twice.
type node struct {
	subtree
	left, right *node
}

// source reads numbers until its bytes end.
type source []byte

func (s *source) below(n int) int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b) % n
}

var (
	pool   = []hash{key(), key(0), key(1), key(255), key(0, 255), key(0, 1, 254)}
	depths = []int{0, 1, 2, 7, 253, 254, 255, 256, 300, 317, 318, 319}
)

// grow makes a tree: often one that is nearly a map, sometimes nonsense.
func grow(s *source, levels int) *node {
	label := prefixmap.NewLabel(pool[s.below(len(pool))], uint64(s.below(4)))
	if levels == 0 || s.below(4) == 0 {
		return &node{subtree: subtree{Label: label, Depth: prefixmap.LabelBits, Left: value(s.below(3))}}
	}
	l, r := grow(s, levels-1), grow(s, levels-1)
	depth := l.Label.Common(r.Label)
	if depth == prefixmap.LabelBits || s.below(8) == 0 {
		depth = depths[s.below(len(depths))]
	} else if l.Label.Bit(depth) == 1 && s.below(8) > 0 {
		l, r = r, l
	}
	if s.below(8) > 0 {
		label = l.Label
	}
	return &node{subtree{Label: label, Depth: depth, Left: l.Hash(), Right: r.Hash()}, l, r}
}

func (n *node) leaves() []*node {
	if n.left == nil {
		return []*node{n}
	}
	return append(n.left.leaves(), n.right.leaves()...)
}

// ones returns the topmost nodes that claim to be of one key.
func (n *node) ones() []subtree {
	if n.Depth >= prefixmap.KeyBits || n.left == nil {
		return []subtree{n.subtree}
	}
	return append(n.left.ones(), n.right.ones()...)
}

// proofs calls f with every proof about a key that the tree has material for.
func (n *node) proofs(k hash, way path, f func(*proof)) {
	var vs []hash
	for _, l := range n.leaves() {
		vs = append(vs, l.Left)
	}
	f(&proof{Key: k, Path: way, Values: vs})
	f(&proof{Key: k, Path: way, None: true, Other: &n.subtree})
	for _, d := range depths {
		f(&proof{Key: k, Path: way, None: true, Depth: d, Items: n.ones()})
	}
	if n.left == nil {
		return
	}
	n.left.proofs(k, append(path{{Depth: n.Depth, Hash: n.Right}}, way...), f)
	n.right.proofs(k, append(path{{Depth: n.Depth, Hash: n.Left}}, way...), f)
}

// disagree returns two proofs under one root that contradict each other, and how
// many of both kinds the root admits.
func disagree(root *node) (why string, members, none int) {
	want := root.Hash()
	for _, k := range append(slices.Clone(pool), key(3)) {
		var said *proof
		root.proofs(k, nil, func(p *proof) {
			if r, err := p.root(); err != nil || r != want {
				return
			}
			if p.None {
				none++
			} else {
				members++
			}
			if said != nil && (said.None != p.None || !slices.Equal(said.Values, p.Values)) {
				why = fmt.Sprintf("%x: %+v and %+v", k, said, p)
			}
			said = p
		})
	}
	return why, members, none
}

// TestNoTwoProofs: no root admits two proofs that disagree, not even one of a tree
// that is no map.
func TestNoTwoProofs(t *testing.T) {
	members, none := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := source(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "tree"))
		why, m, n := disagree(grow(&s, 1+s.below(5)))
		if why != "" {
			t.Fatal(why)
		}
		members, none = members+m, none+n
	})
	if members == 0 || none == 0 {
		t.Errorf("%d proofs of values, %d of none", members, none)
	}
}

// FuzzNoTwoProofs is the same.
func FuzzNoTwoProofs(f *testing.F) {
	for i := range 20 {
		seed := make([]byte, 150)
		for j := range seed {
			seed[j] = byte(i*37 + j*j*11 + j/3)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := source(data)
		if why, _, _ := disagree(grow(&s, 1+s.below(5))); why != "" {
			t.Error(why)
		}
	})
}

// FuzzTamper: a proof that verifies under the root of a real map says what is in it.
func FuzzTamper(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, byte(1), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, which, change byte) {
		s := source(data)
		c := content{}
		for range s.below(8) {
			c[pool[s.below(len(pool))]] = values(1 + s.below(6))
		}
		k := pool[int(which)%len(pool)]
		p := &proof{Key: k}
		if len(c[k]) > 0 {
			p.Values, p.Path = c.tree().Member(k)
		} else {
			p.None, p.Depth = true, int(change)%9
			p.Items, p.Path, p.Other = c.tree().Absent(k, p.Depth)
		}
		root := c.root()
		if r, err := p.root(); err != nil || r != root {
			t.Fatalf("the honest proof: %v", err)
		}
		for name, q := range p.mutants() {
			for again, x := range q.mutants() {
				if r, err := x.root(); err == nil && r == root && !x.holds(c) {
					t.Errorf("%s, %s: accepted", name, again)
				}
			}
		}
	})
}
