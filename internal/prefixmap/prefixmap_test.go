// SPDX-License-Identifier: Apache-2.0

package prefixmap_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
)

type (
	hash    = prefixmap.Hash
	path    = prefixmap.Path
	subtree = prefixmap.Subtree
	// content is a map as one would write it down: the values of each key.
	content map[hash][]hash
)

// tree returns the map with its proofs.
func (c content) tree() directorytest.Tree {
	var values []directorytest.Value
	for key, vs := range c {
		for n, v := range vs {
			values = append(values, directorytest.Value{Label: prefixmap.NewLabel(key, uint64(n)), Hash: v})
		}
	}
	return directorytest.NewTree(values)
}

// root computes the root as SPEC 16.2 has it, bit by bit, with nothing of the
// package.
func (c content) root() hash {
	type leaf struct {
		bits  string
		label []byte
		value hash
	}
	var all []leaf
	for key, vs := range c {
		for n, v := range vs {
			label := binary.BigEndian.AppendUint64(bytes.Clone(key[:]), uint64(n))
			bits := ""
			for _, b := range label {
				bits += fmt.Sprintf("%08b", b)
			}
			all = append(all, leaf{bits, label, v})
		}
	}
	var of func(all []leaf, d int) hash
	of = func(all []leaf, d int) hash {
		if len(all) == 1 {
			return sha256.Sum256(slices.Concat([]byte{0}, all[0].label, all[0].value[:]))
		}
		var sides [2][]leaf
		for _, l := range all {
			sides[l.bits[d]-'0'] = append(sides[l.bits[d]-'0'], l)
		}
		for _, s := range sides {
			if len(s) == len(all) {
				return of(all, d+1)
			}
		}
		prefix := make([]byte, (d+7)/8)
		for i, b := range all[0].bits[:d] {
			if b == '1' {
				prefix[i/8] |= 0x80 >> (i % 8)
			}
		}
		left, right := of(sides[0], d+1), of(sides[1], d+1)
		return sha256.Sum256(slices.Concat([]byte{1, byte(d >> 8), byte(d)}, prefix, left[:], right[:]))
	}
	if len(all) == 0 {
		return sha256.Sum256([]byte{2})
	}
	return of(all, 0)
}

// key returns a hash with some bits set: keys that share few bits or nearly all.
func key(bits ...int) (h hash) {
	for _, b := range bits {
		h[b/8] |= 0x80 >> (b % 8)
	}
	return h
}

func value(n int) hash { return sha256.Sum256([]byte{'v', byte(n >> 8), byte(n)}) }

func values(n int) (out []hash) {
	for i := range n {
		out = append(out, value(i))
	}
	return out
}

func genContent(t *rapid.T) content {
	c := content{}
	for range rapid.IntRange(0, 12).Draw(t, "keys") {
		c[genKey(t)] = values(rapid.SampledFrom([]int{1, 1, 1, 2, 3, 5, 63, 64, 65, 130}).Draw(t, "values"))
	}
	return c
}

func genKey(t *rapid.T) hash {
	return key(rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 2, 3, 7, 8, 9, 100, 254, 255}), 0, 4).Draw(t, "bits")...)
}

// TestOracle: the root is that of the specification, every key proves its values
// and no other, and every other key that it has none.
func TestOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genContent(t)
		tree, root := c.tree(), c.root()
		if tree.Root() != root {
			t.Fatal("another root")
		}
		for k, want := range c {
			got, way := tree.Member(k)
			if !slices.Equal(got, want) {
				t.Fatal("another member")
			}
			for blocks := 0; blocks*prefixmap.BlockSize <= len(want); blocks++ {
				var given []hash
				for n := range blocks {
					given = append(given, prefixmap.Block(k, n, want[n*prefixmap.BlockSize:(n+1)*prefixmap.BlockSize]))
				}
				if r, err := way.Member(k, given, want[blocks*prefixmap.BlockSize:]); err != nil || r != root {
					t.Fatalf("%d blocks: %v", blocks, err)
				}
			}
		}
		k := genKey(t)
		if c[k] != nil {
			return
		}
		for _, depth := range []int{0, 1, 4, 8, 9, 12, 255} {
			items, way, other := tree.Absent(k, depth)
			r, err := hash{}, error(nil)
			if len(items) > 0 {
				r, err = way.Absent(k, depth, items)
			} else {
				r, err = way.Diverged(k, other)
			}
			if err != nil || r != root {
				t.Fatalf("absent at %d: %v", depth, err)
			}
		}
	})
}

// TestGrow: what is added leaves every other key's values as they were.
func TestGrow(t *testing.T) {
	c := content{}
	roots := map[hash]bool{}
	for i := range 70 {
		c[key(i%5)] = append(c[key(i%5)], value(i))
		if r := c.tree().Root(); r != c.root() || roots[r] {
			t.Fatalf("after %d values", i)
		} else {
			roots[r] = true
		}
	}
	if len(c[key(3)]) != 14 {
		t.Error("values are missing")
	}
}

// proof is one of the three, as it is sent.
type proof struct {
	Key    hash
	Path   path
	Blocks []hash
	Values []hash
	Depth  int
	Items  []subtree
	Other  *subtree
	None   bool // the second and third form; without both the map is empty
}

func (p *proof) root() (hash, error) {
	switch {
	case !p.None:
		return p.Path.Member(p.Key, p.Blocks, p.Values)
	case len(p.Items) > 0:
		return p.Path.Absent(p.Key, p.Depth, p.Items)
	}
	return p.Path.Diverged(p.Key, p.Other)
}

func (p *proof) clone() *proof {
	out := *p
	out.Path, out.Blocks, out.Values, out.Items = slices.Clone(
		p.Path,
	), slices.Clone(
		p.Blocks,
	), slices.Clone(
		p.Values,
	), slices.Clone(
		p.Items,
	)
	if p.Other != nil {
		other := *p.Other
		out.Other = &other
	}
	return &out
}

// mutants returns the proof with each change that could matter, one at a time.
func (p *proof) mutants() map[string]*proof {
	out := map[string]*proof{}
	change := func(name string, f func(q *proof)) {
		q := p.clone()
		f(q)
		out[name] = q
	}
	flipped := func(h hash) hash { h[17] ^= 4; return h }
	for i := range p.Path {
		change(fmt.Sprint("step dropped ", i), func(q *proof) { q.Path = slices.Delete(q.Path, i, i+1) })
		change(fmt.Sprint("step twice ", i), func(q *proof) { q.Path = slices.Insert(q.Path, i, q.Path[i]) })
		change(fmt.Sprint("step hash ", i), func(q *proof) { q.Path[i].Hash = flipped(q.Path[i].Hash) })
		for _, d := range []int{-1, 1, 8, -1000, 1000} {
			change(fmt.Sprint("step depth ", i, d), func(q *proof) { q.Path[i].Depth += d })
		}
		if i > 0 {
			change(fmt.Sprint("steps swapped ", i), func(q *proof) { q.Path[i], q.Path[i-1] = q.Path[i-1], q.Path[i] })
		}
	}
	change("step more", func(q *proof) { q.Path = append(q.Path, prefixmap.Step{Depth: 0}) })
	change("no path", func(q *proof) { q.Path = nil })
	for i := range p.Values {
		change(fmt.Sprint("value dropped ", i), func(q *proof) { q.Values = slices.Delete(q.Values, i, i+1) })
		change(fmt.Sprint("value twice ", i), func(q *proof) { q.Values = slices.Insert(q.Values, i, q.Values[i]) })
		change(fmt.Sprint("value changed ", i), func(q *proof) { q.Values[i] = flipped(q.Values[i]) })
		if i > 0 {
			change(
				fmt.Sprint("values swapped ", i),
				func(q *proof) { q.Values[i], q.Values[i-1] = q.Values[i-1], q.Values[i] },
			)
		}
		if !p.None {
			change(fmt.Sprint("values as a block ", i), func(q *proof) {
				q.Blocks = append(q.Blocks, prefixmap.Values(p.Key, nil, q.Values[:i+1]))
				q.Values = q.Values[i+1:]
			})
		}
	}
	for i := range p.Blocks {
		change(fmt.Sprint("block dropped ", i), func(q *proof) { q.Blocks = slices.Delete(q.Blocks, i, i+1) })
		change(fmt.Sprint("block as a value ", i), func(q *proof) {
			q.Values = append([]hash{q.Blocks[i]}, q.Values...)
			q.Blocks = slices.Delete(q.Blocks, i, i+1)
		})
	}
	if !p.None {
		change("no values", func(q *proof) { q.Blocks, q.Values = nil, nil })
		change("one more", func(q *proof) { q.Values = append(q.Values, value(999)) })
		change("claims an empty map", func(q *proof) { q.None, q.Path = true, nil })
		change("claims none beside itself", func(q *proof) {
			q.None, q.Items = true, []subtree{
				{Label: prefixmap.NewLabel(p.Key, 0), Depth: prefixmap.LabelBits, Left: first(p.Values)},
			}
		})
		change("claims that itself diverges", func(q *proof) {
			q.None, q.Other = true, &subtree{
				Label: prefixmap.NewLabel(p.Key, 1), Depth: prefixmap.LabelBits, Left: first(p.Values),
			}
		})
	}
	for i := range p.Items {
		change(fmt.Sprint("item dropped ", i), func(q *proof) { q.Items = slices.Delete(q.Items, i, i+1) })
		change(fmt.Sprint("item twice ", i), func(q *proof) { q.Items = slices.Insert(q.Items, i, q.Items[i]) })
		change(fmt.Sprint("item renamed ", i), func(q *proof) { q.Items[i].Label[31] ^= 1 })
		change(fmt.Sprint("item is the key ", i), func(q *proof) { q.Items[i].Label = prefixmap.NewLabel(p.Key, 0) })
		change(fmt.Sprint("item numbered ", i), func(q *proof) { q.Items[i].Label[39] ^= 1 })
		change(fmt.Sprint("item left ", i), func(q *proof) { q.Items[i].Left = flipped(q.Items[i].Left) })
		change(
			fmt.Sprint("item sides ", i),
			func(q *proof) { q.Items[i].Left, q.Items[i].Right = q.Items[i].Right, q.Items[i].Left },
		)
		for _, d := range []int{0, 255, 256, 319, 320, 321, -1} {
			change(fmt.Sprint("item depth ", i, " ", d), func(q *proof) { q.Items[i].Depth = d })
		}
		if i > 0 {
			change(
				fmt.Sprint("items swapped ", i),
				func(q *proof) { q.Items[i], q.Items[i-1] = q.Items[i-1], q.Items[i] },
			)
		}
	}
	if len(p.Items) > 0 {
		for _, d := range []int{-1, 0, p.Depth - 1, p.Depth + 1, 255, 256, 320} {
			change(fmt.Sprint("depth ", d), func(q *proof) { q.Depth = d })
		}
		change("only the first", func(q *proof) { q.Items = q.Items[:1] })
	}
	if p.Other != nil {
		for _, d := range []int{-1, 0, 1, 255, 256, 319, 320, 321} {
			change(fmt.Sprint("other depth ", d), func(q *proof) { q.Other.Depth = d })
		}
		change("other left", func(q *proof) { q.Other.Left = flipped(q.Other.Left) })
		change("other is the key's", func(q *proof) { q.Other.Label = prefixmap.NewLabel(p.Key, 0) })
		change("other is empty", func(q *proof) { q.Other = nil })
	}
	return out
}

func first(values []hash) (h hash) {
	if len(values) > 0 {
		return values[0]
	}
	return h
}

// holds reports whether what the proof says is so. With a block of which nobody can
// show BlockSize values it says nothing.
func (p *proof) holds(c content) bool {
	if p.None {
		return len(c[p.Key]) == 0
	}
	have, n := c[p.Key], len(p.Blocks)*prefixmap.BlockSize
	for i, b := range p.Blocks {
		if (i+1)*prefixmap.BlockSize > len(have) ||
			b != prefixmap.Block(p.Key, i, have[i*prefixmap.BlockSize:(i+1)*prefixmap.BlockSize]) {
			return true
		}
	}
	return n <= len(have) && slices.Equal(have[n:], p.Values)
}

// samples are maps and honest proofs in them, by name.
func samples() map[string]struct {
	content
	*proof
} {
	type sample = struct {
		content
		*proof
	}
	out := map[string]sample{}
	member := func(name string, c content, k hash, blocks int) {
		vs, way := c.tree().Member(k)
		p := &proof{Key: k, Path: way, Values: vs[blocks*prefixmap.BlockSize:]}
		for n := range blocks {
			p.Blocks = append(p.Blocks, prefixmap.Block(k, n, vs[n*prefixmap.BlockSize:(n+1)*prefixmap.BlockSize]))
		}
		out[name] = sample{c, p}
	}
	absent := func(name string, c content, k hash, depth int) {
		p := &proof{Key: k, None: true}
		if p.Items, p.Path, p.Other = c.tree().Absent(k, depth); len(p.Items) > 0 {
			p.Depth = depth
		}
		out[name] = sample{c, p}
	}
	three := content{
		key(): values(3), key(0): values(1), key(1): values(2), key(1, 255): values(1),
		key(8, 9): values(1), key(0, 200): values(5),
	}
	long := content{key(4): values(130), key(5): values(64), key(6): values(65), key(6, 255): values(1)}
	member("member-alone", content{key(3): values(1)}, key(3), 0)
	member("member-alone-of-three", content{key(3): values(3)}, key(3), 0)
	member("member-three", three, key(), 0)
	member("member-one", three, key(0), 0)
	member("member-close", three, key(1), 0)
	member("member-closest", three, key(1, 255), 0)
	member("member-64", long, key(5), 0)
	member("member-block", long, key(5), 1)
	member("member-block-and-one", long, key(6), 1)
	member("member-two-blocks", long, key(4), 2)
	member("member-one-block-of-two", long, key(4), 1)
	absent("absent-empty", content{}, key(7), 8)
	absent("absent-beside-one", content{key(3): values(1)}, key(7), 8)
	absent("absent-beside-three-values", content{key(3): values(3)}, key(2), 8)
	absent("absent-one-item", three, key(1, 9), 8)
	absent("absent-all", three, key(7), 0)
	absent("absent-items", three, key(7), 8)
	absent("absent-12-bits", three, key(8, 9, 100), 12)
	absent("absent-nothing-there", three, key(0, 1), 8)
	absent("absent-close", three, key(254), 255)
	absent("absent-close-to-close", three, key(1, 254), 8)
	return out
}

// TestTamper: no change of a proof makes it prove what is not so.
func TestTamper(t *testing.T) {
	accepted, refused := 0, 0
	for name, s := range samples() {
		root := s.content.root()
		if r, err := s.proof.root(); err != nil || r != root || !s.holds(s.content) {
			t.Fatalf("%s: the honest proof: %v", name, err)
		}
		for change, q := range s.mutants() {
			r, err := q.root()
			if err != nil || r != root {
				refused++
				continue
			}
			if accepted++; !q.holds(s.content) {
				t.Errorf("%s, %s: accepted", name, change)
			}
		}
	}
	// What is accepted says the same in another way: blocks, fewer bits.
	if refused < 1000 || accepted > refused/20 {
		t.Errorf("%d refused, %d accepted", refused, accepted)
	}
}

// TestErrors: what cannot be a proof is an error, not another root.
func TestErrors(t *testing.T) {
	a, b := prefixmap.NewLabel(key(), 0), prefixmap.NewLabel(key(0), 0)
	leaf := func(l prefixmap.Label) *subtree { return &subtree{Label: l, Depth: prefixmap.LabelBits} }
	for name, p := range map[string]*proof{
		"no value":                  {Key: key()},
		"a path in the empty map":   {None: true, Path: path{{}}},
		"a step below the key":      {Values: values(1), Path: path{{Depth: prefixmap.KeyBits}}},
		"a step of negative depth":  {Values: values(1), Path: path{{Depth: -1}}},
		"steps that descend":        {Values: values(1), Path: path{{Depth: 3}, {Depth: 4}}},
		"steps at one depth":        {Values: values(1), Path: path{{Depth: 3}, {Depth: 3}}},
		"the key's own leaf":        {None: true, Other: leaf(a)},
		"a later value of the key":  {None: true, Other: leaf(prefixmap.NewLabel(key(), 7))},
		"a node above the key":      {None: true, Other: &subtree{Label: a, Depth: 9}},
		"a node that agrees so far": {None: true, Other: &subtree{Label: b, Depth: 0}},
		"another side of a step":    {None: true, Other: leaf(b), Path: path{{Depth: 0}}},
		"a node at no depth":        {None: true, Other: &subtree{Label: b, Depth: -1}},
		"a node too deep":           {None: true, Other: &subtree{Label: b, Depth: prefixmap.LabelBits + 1}},
		"an item of the key":        {None: true, Depth: 0, Items: []subtree{*leaf(a)}},
		"an item of two keys":       {None: true, Depth: 0, Items: []subtree{{Label: b, Depth: 255}}},
		"an item of another prefix": {None: true, Depth: 1, Items: []subtree{*leaf(b)}},
		"an item twice":             {None: true, Depth: 0, Items: []subtree{*leaf(b), *leaf(b)}},
		"a key in two items": {
			None: true, Depth: 0, Items: []subtree{*leaf(b), *leaf(prefixmap.NewLabel(key(0), 1))},
		},
		"items that descend": {
			None: true, Depth: 0, Items: []subtree{*leaf(b), *leaf(prefixmap.NewLabel(key(1), 0))},
		},
		"a prefix of negative depth": {None: true, Depth: -1, Items: []subtree{*leaf(b)}},
		"a prefix beyond the key":    {None: true, Depth: 256, Items: []subtree{*leaf(b)}},
		"a step within the prefix": {
			None: true, Depth: 1, Items: []subtree{*leaf(prefixmap.NewLabel(key(1), 0))}, Path: path{{Depth: 1}},
		},
	} {
		if r, err := p.root(); err == nil {
			t.Errorf("%s gives %s", name, hex.EncodeToString(r[:]))
		}
	}
}
