// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

// levels is how many bytes of a key's hash have a node of their own in the tree's
// bucket of tops: what is below one of the second level is folded anew when a key
// in it changes. With 10^7 repositories that are 300 keys.
const levels = 2

var (
	treeKeys    = []byte("keys")    // hash of a key → keyNode
	treeRecords = []byte("records") // hash of a key, number → text of the record
	treeBlocks  = []byte("blocks")  // hash of a key, number of a full block → its hash
	treeTops    = []byte("tops")    // 0 to levels bytes → node of all labels that begin so
	treeLabels  = []byte("labels")  // number of labels
	treeCount   = []byte("count")   // number of keys
)

// tree is the compressed prefix tree of a map (SPEC 16.2) in a bucket. Of each key
// the topmost node is kept, and of all keys that share a first byte, or two, the
// node that they make.
type tree struct {
	keys, records, blocks, tops *bolt.Bucket
	self                        *bolt.Bucket
	// lists remembers the two upper levels of a state that changes no more; nil
	// remembers nothing.
	lists map[string]*list
}

func makeTree(b *bolt.Bucket) error {
	for _, name := range [][]byte{treeKeys, treeRecords, treeBlocks, treeTops} {
		if _, err := b.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

func openTree(b *bolt.Bucket) *tree {
	return &tree{
		keys: b.Bucket(treeKeys), records: b.Bucket(treeRecords), blocks: b.Bucket(treeBlocks), tops: b.Bucket(treeTops),
		self: b,
	}
}

// keyNode is what is kept of a key: its name, how many records it has, and the
// node of exactly these.
type keyNode struct {
	name  string
	count uint64
	node  prefixmap.Subtree
}

func (k keyNode) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, k.count)
	b = binary.BigEndian.AppendUint16(b, uint16(k.node.Depth))
	b = append(b, k.node.Left[:]...)
	b = append(b, k.node.Right[:]...)
	return append(b, k.name...)
}

const keyNodeSize = 8 + 2 + 2*len(prefixmap.Hash{})

func decodeKeyNode(hash, b []byte) (keyNode, error) {
	if len(hash) != len(prefixmap.Hash{}) || len(b) < keyNodeSize {
		return keyNode{}, errors.New("state: not a key of the map")
	}
	k := keyNode{count: binary.BigEndian.Uint64(b), name: string(b[keyNodeSize:])}
	k.node = prefixmap.Subtree{
		Label: prefixmap.NewLabel(prefixmap.Hash(hash), 0), Depth: int(binary.BigEndian.Uint16(b[8:])),
	}
	copy(k.node.Left[:], b[10:])
	copy(k.node.Right[:], b[10+len(k.node.Left):])
	return k, nil
}

// key returns a key; the count is 0 if it has no record.
func (t *tree) key(hash prefixmap.Hash) (keyNode, error) {
	data := t.keys.Get(hash[:])
	if data == nil {
		return keyNode{}, nil
	}
	return decodeKeyNode(hash[:], data)
}

// labels returns how many labels the map has.
func (t *tree) labels() int64 { return t.count(treeLabels) }

// size returns how many keys the map has.
func (t *tree) size() int64 { return t.count(treeCount) }

func (t *tree) count(name []byte) int64 {
	if data := t.self.Get(name); data != nil {
		return int64(binary.BigEndian.Uint64(data))
	}
	return 0
}

// root returns the root of the map.
func (t *tree) root() (prefixmap.Hash, error) {
	data := t.tops.Get(topName(nil))
	if data == nil {
		return prefixmap.Empty(), nil
	}
	n, err := decodeNode(data)
	return n.Hash, err
}

// addition is a record to be appended to a key.
type addition struct{ key, text string }

// add appends records, in this order, and brings the tree up to date.
func (t *tree) add(all []addition) error {
	if len(all) == 0 {
		return nil
	}
	byKey := map[string][]string{}
	for _, a := range all {
		byKey[a.key] = append(byKey[a.key], a.text)
	}
	touched := map[prefixmap.Hash]bool{}
	// In the order of the file, which is much faster than at random.
	hashes := make(map[prefixmap.Hash]string, len(byKey))
	for name := range byKey {
		hashes[prefixmap.KeyHash(name)] = name
	}
	fresh := uint64(0)
	order := slices.SortedFunc(maps.Keys(hashes), func(a, b prefixmap.Hash) int { return bytes.Compare(a[:], b[:]) })
	for _, hash := range order {
		name := hashes[hash]
		if t.keys.Get(hash[:]) == nil {
			fresh++
		}
		if err := t.extend(hash, name, byKey[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		touched[hash] = true
	}
	if err := t.self.Put(treeLabels, number(uint64(t.labels())+uint64(len(all)))); err != nil {
		return err
	}
	if err := t.self.Put(treeCount, number(uint64(t.size())+fresh)); err != nil {
		return err
	}
	return t.fold(touched)
}

// extend appends records to one key.
func (t *tree) extend(hash prefixmap.Hash, name string, texts []string) error {
	k, err := t.key(hash)
	if err != nil {
		return err
	}
	if k.count > 0 && k.name != name {
		return fmt.Errorf("two keys of one hash, %q is the other", k.name)
	}
	k.name = name
	for _, text := range texts {
		label := prefixmap.NewLabel(hash, k.count)
		if err := t.records.Put(label[:], []byte(text)); err != nil {
			return err
		}
		if k.count++; k.count%prefixmap.BlockSize != 0 {
			continue
		}
		n := k.count/prefixmap.BlockSize - 1
		values, err := t.values(hash, n*prefixmap.BlockSize, k.count)
		if err != nil {
			return err
		}
		block := prefixmap.Block(hash, int(n), values)
		if err := t.blocks.Put(append(hash[:], number(n)...), block[:]); err != nil {
			return err
		}
	}
	blocks, err := t.fullBlocks(hash, k.count)
	if err != nil {
		return err
	}
	values, err := t.values(hash, uint64(len(blocks))*prefixmap.BlockSize, k.count)
	if err != nil {
		return err
	}
	k.node = topmost(hash, blocks, values)
	return t.keys.Put(hash[:], k.encode())
}

// texts returns records of a key, from one number up to another.
func (t *tree) texts(hash prefixmap.Hash, from, to uint64) ([]string, error) {
	var out []string
	c := t.records.Cursor()
	first := prefixmap.NewLabel(hash, from)
	for l, text := c.Seek(first[:]); from < to; l, text = c.Next() {
		want := prefixmap.NewLabel(hash, from)
		if !bytes.Equal(l, want[:]) {
			return nil, fmt.Errorf("state: record %d is missing", from)
		}
		out = append(out, string(text))
		from++
	}
	return out, nil
}

func (t *tree) values(hash prefixmap.Hash, from, to uint64) ([]prefixmap.Hash, error) {
	texts, err := t.texts(hash, from, to)
	var out []prefixmap.Hash
	for _, text := range texts {
		out = append(out, value(text))
	}
	return out, err
}

// fullBlocks returns the hashes of the blocks of a key with that many records that
// are given as one hash: all full ones, but that some records are left.
func (t *tree) fullBlocks(hash prefixmap.Hash, count uint64) ([]prefixmap.Hash, error) {
	var out []prefixmap.Hash
	for n := range (max(count, 1) - 1) / prefixmap.BlockSize {
		data := t.blocks.Get(append(hash[:], number(n)...))
		if len(data) != len(prefixmap.Hash{}) {
			return nil, fmt.Errorf("state: block %d is missing", n)
		}
		out = append(out, prefixmap.Hash(data))
	}
	return out, nil
}

// topmost returns the node of all values of a key, of which there is at least one.
func topmost(hash prefixmap.Hash, blocks, values []prefixmap.Hash) prefixmap.Subtree {
	if len(blocks) == 0 && len(values) == 1 {
		return prefixmap.Subtree{Label: prefixmap.NewLabel(hash, 0), Depth: prefixmap.LabelBits, Left: values[0]}
	}
	var nodes []prefixmap.Node
	for i, b := range blocks {
		nodes = append(nodes, prefixmap.Node{Label: prefixmap.NewLabel(hash, uint64(i)*prefixmap.BlockSize), Hash: b})
	}
	from := uint64(len(blocks)) * prefixmap.BlockSize
	for i, v := range values {
		l := prefixmap.NewLabel(hash, from+uint64(i))
		nodes = append(nodes, prefixmap.Node{Label: l, Hash: prefixmap.Leaf(l, v)})
	}
	return inner(nodes)
}

// inner returns the node that several subtrees make.
func inner(nodes []prefixmap.Node) prefixmap.Subtree {
	depth, split := fork(nodes)
	return prefixmap.Subtree{
		Label: nodes[0].Label, Depth: depth, Left: prefixmap.Fold(nodes[:split]), Right: prefixmap.Fold(nodes[split:]),
	}
}

// fork returns how many bits the labels of several subtrees share, and the number
// of the first of them whose next bit is 1.
func fork(nodes []prefixmap.Node) (depth, split int) {
	depth = nodes[0].Label.Common(nodes[len(nodes)-1].Label)
	split, _ = slices.BinarySearchFunc(nodes, 1, func(n prefixmap.Node, one int) int {
		return int(n.Label.Bit(depth)) - one
	})
	return depth, split
}

func encodeNode(n prefixmap.Node) []byte { return append(bytes.Clone(n.Label[:]), n.Hash[:]...) }

func decodeNode(data []byte) (n prefixmap.Node, err error) {
	if len(data) != len(n.Label)+len(n.Hash) {
		return n, errors.New("state: not a node of the map")
	}
	copy(n.Label[:], data)
	copy(n.Hash[:], data[len(n.Label):])
	return n, nil
}

// topName is the name of a prefix in the bucket: its length and the prefix, so
// that those of one length stand together and in order.
func topName(prefix []byte) []byte { return append([]byte{byte(len(prefix))}, prefix...) }

// nodes returns the nodes one level below a prefix, in order: of the prefixes that
// are one byte longer, or of the keys below a prefix of levels bytes.
func (t *tree) nodes(prefix []byte) ([]prefixmap.Node, error) {
	var out []prefixmap.Node
	if len(prefix) < levels {
		below := append([]byte{byte(len(prefix) + 1)}, prefix...)
		c := t.tops.Cursor()
		for name, data := c.Seek(below); bytes.HasPrefix(name, below) && len(name) == len(below)+1; name, data = c.Next() {
			n, err := decodeNode(data)
			if err != nil {
				return nil, err
			}
			out = append(out, n)
		}
		return out, nil
	}
	keys, err := t.within(prefix, 8*len(prefix))
	for _, k := range keys {
		out = append(out, prefixmap.Node{Label: k.node.Label, Hash: k.node.Hash()})
	}
	return out, err
}

// within returns the keys whose hashes begin with the first bits of prefix.
func (t *tree) within(prefix []byte, depth int) ([]keyNode, error) {
	var want prefixmap.Label
	copy(want[:], prefix)
	var out []keyNode
	c := t.keys.Cursor()
	for hash, data := c.Seek(prefix[:(depth+7)/8]); hash != nil; hash, data = c.Next() {
		k, err := decodeKeyNode(hash, data)
		if err != nil {
			return nil, err
		}
		if k.node.Label.Common(want) < depth {
			break
		}
		out = append(out, k)
	}
	return out, nil
}

// howMany counts the keys whose hashes begin with the first bits of prefix, up to a number.
func (t *tree) howMany(prefix []byte, depth, most int) (int, error) {
	var want prefixmap.Label
	copy(want[:], prefix)
	n := 0
	c := t.keys.Cursor()
	for hash, _ := c.Seek(prefix[:(depth+7)/8]); hash != nil && n < most; hash, _ = c.Next() {
		if len(hash) != len(prefixmap.Hash{}) {
			return 0, errors.New("state: not a key of the map")
		}
		if prefixmap.NewLabel(prefixmap.Hash(hash), 0).Common(want) < depth {
			break
		}
		n++
	}
	return n, nil
}

// fold computes the tops above keys anew, from the lowest to the root.
func (t *tree) fold(touched map[prefixmap.Hash]bool) error {
	for level := levels; level >= 0; level-- {
		prefixes := map[string]bool{}
		for hash := range touched {
			prefixes[string(hash[:level])] = true
		}
		for _, prefix := range slices.Sorted(maps.Keys(prefixes)) {
			nodes, err := t.nodes([]byte(prefix))
			if err != nil {
				return err
			}
			top := prefixmap.Node{Label: nodes[0].Label, Hash: prefixmap.Fold(nodes)}
			if err := t.tops.Put(topName([]byte(prefix)), encodeNode(top)); err != nil {
				return err
			}
		}
	}
	return nil
}

// way is the way down the tree to all labels with some first bits.
type way struct {
	path  prefixmap.Path // from there to the root
	there bool           // there are such labels
	// other is the node beside which they would stand; nil if they are there or
	// the map is empty.
	other *prefixmap.Subtree
}

// list is the nodes of one level, and hashes of the trees that some of them make.
type list struct {
	nodes  []prefixmap.Node
	hashes map[[2]int]prefixmap.Hash // by the first node, and the one after the last
}

// list returns the nodes below a prefix.
func (t *tree) list(prefix []byte) (*list, error) {
	if l := t.lists[string(prefix)]; l != nil {
		return l, nil
	}
	nodes, err := t.nodes(prefix)
	l := &list{nodes, map[[2]int]prefixmap.Hash{}}
	if t.lists != nil && len(prefix) < levels && err == nil {
		t.lists[string(prefix)] = l
	}
	return l, err
}

// fold is [prefixmap.Fold] of the nodes from one up to another, which remembers.
func (l *list) fold(from, to int) prefixmap.Hash {
	if to-from == 1 {
		return l.nodes[from].Hash
	}
	of := [2]int{from, to}
	h, ok := l.hashes[of]
	if !ok {
		h = l.inner(from, to).Hash()
		l.hashes[of] = h
	}
	return h
}

// inner returns the node that several nodes make.
func (l *list) inner(from, to int) *prefixmap.Subtree {
	depth, split := fork(l.nodes[from:to])
	split += from
	return &prefixmap.Subtree{
		Label: l.nodes[from].Label, Depth: depth, Left: l.fold(from, split), Right: l.fold(split, to),
	}
}

// find goes down to the labels that share the first depth bits with label.
func (t *tree) find(label prefixmap.Label, depth int) (way, error) {
	var down []byte // prefix of the level
	var w way
	l, err := t.list(nil)
	from, to := 0, len(l.nodes)
	for err == nil && from < to {
		first, last := l.nodes[from].Label, l.nodes[to-1].Label
		shared := min(label.Common(first), label.Common(last))
		// One node of several keys shows one of their labels only.
		if shared >= depth && (to-from > 1 || len(down) == levels || depth <= 8*(len(down)+1)) {
			w.there = true
			break
		}
		if to-from == 1 {
			if len(down) == levels {
				k, err := t.key(first.Key())
				if err != nil {
					return w, err
				}
				w.other = &k.node
				break
			}
			down = first[:len(down)+1]
			l, err = t.list(down)
			from, to = 0, len(l.nodes)
			continue
		}
		at, split := fork(l.nodes[from:to])
		if shared < at {
			w.other = l.inner(from, to)
			break
		}
		if split += from; label.Bit(at) == 0 {
			w.path = append(w.path, prefixmap.Step{Depth: at, Hash: l.fold(split, to)})
			to = split
		} else {
			w.path = append(w.path, prefixmap.Step{Depth: at, Hash: l.fold(from, split)})
			from = split
		}
	}
	slices.Reverse(w.path)
	return w, err
}
