// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

// oracle is the map without a tree: all labels, and the root by the definition.
type oracle map[string][]string

func (o oracle) root() prefixmap.Hash {
	var nodes []prefixmap.Node
	for key, texts := range o {
		for i, text := range texts {
			l := prefixmap.NewLabel(prefixmap.KeyHash(key), uint64(i))
			nodes = append(nodes, prefixmap.Node{Label: l, Hash: prefixmap.Leaf(l, sha256.Sum256([]byte(text)))})
		}
	}
	slices.SortFunc(nodes, func(a, b prefixmap.Node) int { return slices.Compare(a.Label[:], b.Label[:]) })
	return naive(nodes)
}

// naive folds bit by bit, and skips nodes with one side.
func naive(nodes []prefixmap.Node) prefixmap.Hash {
	var fold func(nodes []prefixmap.Node, depth int) prefixmap.Hash
	fold = func(nodes []prefixmap.Node, depth int) prefixmap.Hash {
		if len(nodes) == 1 {
			return nodes[0].Hash
		}
		var sides [2][]prefixmap.Node
		for _, n := range nodes {
			b := n.Label.Bit(depth)
			sides[b] = append(sides[b], n)
		}
		if len(sides[0]) == 0 || len(sides[1]) == 0 {
			return fold(nodes, depth+1)
		}
		return prefixmap.Inner(nodes[0].Label, depth, fold(sides[0], depth+1), fold(sides[1], depth+1))
	}
	if len(nodes) == 0 {
		return prefixmap.Empty()
	}
	return fold(nodes, 0)
}

func testStore(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func testTree(t testing.TB, s *Store, f func(*tree) error) {
	t.Helper()
	err := s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("tree under test"))
		if err != nil {
			return err
		}
		if err := makeTree(b); err != nil {
			return err
		}
		return f(openTree(b))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTree compares the tree, its proofs of what there is and its proofs of what
// there is not with the oracle, after each of many steps, for few keys that share
// no bits and for many that share some.
func TestTree(t *testing.T) {
	for _, keys := range []int{1, 2, 3, 30, 700} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(keys)))
			s, all := testStore(t), oracle{}
			for step := range 12 {
				testTree(t, s, func(tr *tree) error {
					var more []addition
					for range rng.IntN(300) {
						a := addition{fmt.Sprintf("key %d", rng.IntN(keys)), fmt.Sprintf("value %d\n", rng.Int())}
						more = append(more, a)
						all[a.key] = append(all[a.key], a.text)
					}
					if err := tr.add(more); err != nil {
						return err
					}
					return compare(t, tr, all, rng, keys, step)
				})
			}
		})
	}
}

func compare(t *testing.T, tr *tree, all oracle, rng *rand.Rand, keys, step int) error {
	t.Helper()
	root, err := tr.root()
	if err != nil {
		return err
	}
	if want := all.root(); root != want {
		t.Fatalf("step %d: root %x, not %x", step, root, want)
	}
	total := 0
	for _, texts := range all {
		total += len(texts)
	}
	if n := tr.labels(); n != int64(total) {
		t.Fatalf("step %d: %d labels, not %d", step, n, total)
	}
	tr.lists = map[string]*list{} // until the next change
	defer func() { tr.lists = nil }()
	for range 20 {
		key := fmt.Sprintf("key %d", rng.IntN(2*keys)) // half of them are not there
		hash := prefixmap.KeyHash(key)
		if texts := all[key]; len(texts) > 0 {
			if err := member(t, tr, root, hash, texts); err != nil {
				return err
			}
			continue
		}
		w, err := tr.find(prefixmap.NewLabel(hash, 0), prefixmap.KeyBits)
		if err != nil || w.there {
			return fmt.Errorf("%s: there %t: %w", key, w.there, err)
		}
		if got, err := w.path.Diverged(hash, w.other); err != nil || got != root {
			t.Fatalf("%s: %v, root %x", key, err, got)
		}
		if err := absent(t, tr, root, hash); err != nil {
			return err
		}
	}
	return nil
}

func member(t *testing.T, tr *tree, root, hash prefixmap.Hash, texts []string) error {
	t.Helper()
	k, err := tr.key(hash)
	if err != nil {
		return err
	}
	got, err := tr.texts(hash, 0, k.count)
	if err != nil || !slices.Equal(got, texts) {
		t.Fatalf("%d records of %d: %v", len(got), len(texts), err)
	}
	blocks, err := tr.fullBlocks(hash, k.count)
	if err != nil {
		return err
	}
	values, err := tr.values(hash, uint64(len(blocks))*prefixmap.BlockSize, k.count)
	if err != nil {
		return err
	}
	if len(values) == 0 || len(values) > prefixmap.BlockSize {
		t.Fatalf("%d values beside %d blocks", len(values), len(blocks))
	}
	w, err := tr.find(prefixmap.NewLabel(hash, 0), prefixmap.KeyBits)
	if err != nil || !w.there {
		t.Fatalf("not there: %v", err)
	}
	if r, err := w.path.Member(hash, blocks, values); err != nil || r != root {
		t.Fatalf("%v: root %x, not %x", err, r, root)
	}
	return nil
}

// absent proves by prefixes of every length that a key has no value.
func absent(t *testing.T, tr *tree, root, hash prefixmap.Hash) error {
	t.Helper()
	for digits := range 6 {
		h := hex.EncodeToString(hash[:])[:digits]
		l, err := prefixOf(h)
		if err != nil {
			return err
		}
		w, err := tr.find(l, 4*digits)
		if err != nil {
			return err
		}
		var got prefixmap.Hash
		if w.there {
			keys, err := tr.within(l[:], 4*digits)
			if err != nil {
				return err
			}
			var items []prefixmap.Subtree
			for _, k := range keys {
				items = append(items, k.node)
			}
			got, err = w.path.Absent(hash, 4*digits, items)
			if err != nil {
				t.Fatalf("%q: %v", h, err)
			}
		} else if got, err = w.path.Diverged(hash, w.other); err != nil {
			t.Fatalf("%q: %v", h, err)
		}
		if got != root {
			t.Fatalf("%q: root %x, not %x", h, got, root)
		}
	}
	return nil
}
