// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
)

// answerer makes the answers of a state (SPEC 16.4).
type answerer struct {
	tx   *bolt.Tx
	head *Head
	m    *Map
	tree *tree
	logs map[string]int // generation of each log
}

func newAnswers(tx *bolt.Tx, head *Head, m *Map) *answerer {
	a := &answerer{tx, head, m, m.tree(tx), map[string]int{}}
	a.tree.lists = map[string]*list{}
	for _, l := range m.logs() {
		a.logs[l.ID] = l.Generation
	}
	return a
}

func (a *answerer) empty() answers.Answer {
	return answers.Answer{
		Checkpoint: a.head.Checkpoint, Leaf: a.head.Leaf, Index: a.head.Index, Inclusion: a.head.Inclusion,
	}
}

// lookup returns what the map holds of a locator, and of all keys that its bindings have in
// common with it, and those with them; false if it holds nothing.
func (a *answerer) lookup(key string) (answers.Answer, bool, error) {
	out := a.empty()
	keys := []string{key}
	inline := 0
	for i := 0; i < len(keys) && i < answers.MaxAnswerKeys; i++ {
		k, ok, err := a.key(keys[i], &inline)
		if err != nil || !ok && i == 0 {
			return out, false, err
		}
		if !ok {
			return out, false, fmt.Errorf("state: no record of %s", keys[i])
		}
		out.Keys = append(out.Keys, k)
		others, err := a.others(keys[i])
		if err != nil {
			return out, false, err
		}
		for _, k := range others {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return out, true, nil
}

// others returns the keys that the bindings of a key have beside it.
func (a *answerer) others(key string) ([]string, error) {
	var out []string
	_, err := get(a.m.bucket(a.tx).Bucket(bucketNumbers), []byte(key), &out)
	return out, err
}

// maxInline is about how many bytes of records stand in an answer itself; what is more is in
// pages, so that no repository's answer is too large.
const maxInline = 256 << 10

// key returns all that the map holds of one key: of blocks the hash, and nothing of a key
// that has too many. Inline counts the bytes of records.
func (a *answerer) key(key string, inline *int) (answers.KeyAnswer, bool, error) {
	out := answers.KeyAnswer{Key: key}
	hash := prefixmap.KeyHash(key)
	k, err := a.tree.key(hash)
	if err != nil || k.count == 0 {
		return out, false, err
	}
	w, err := a.tree.find(prefixmap.NewLabel(hash, 0), prefixmap.KeyBits)
	if err != nil {
		return out, false, err
	}
	out.Path = w.path
	if k.count > answers.MaxKeyRecords {
		out.Top = &k.node
		return out, true, nil
	}
	if out.Blocks, err = a.tree.fullBlocks(hash, k.count); err != nil {
		return out, false, err
	}
	from := uint64(len(out.Blocks)) * prefixmap.BlockSize
	if out.Records, err = a.records(hash, from, k.count); err != nil {
		return out, false, err
	}
	if *inline += sizeOf(out.Records); *inline <= maxInline {
		return out, true, nil
	}
	values, err := a.tree.values(hash, from, k.count)
	out.Blocks = append(out.Blocks, prefixmap.Block(hash, len(out.Blocks), values))
	out.Rest, out.Records = len(out.Records)%prefixmap.BlockSize, nil
	return out, true, err
}

// sizeOf returns about how many bytes records are.
func sizeOf(records []answers.Record) int {
	n := 0
	for _, r := range records {
		n += recordBytes
		if b := r.Binding; b != nil {
			n += len(b.Body) + len(b.Entry) + len(b.Checkpoint) + proofBytes*len(b.Inclusion)
		}
	}
	return n
}

const (
	recordBytes = 300
	proofBytes  = 48 // of a hash
)

func (a *answerer) records(hash prefixmap.Hash, from, to uint64) ([]answers.Record, error) {
	texts, err := a.tree.texts(hash, from, to)
	var out []answers.Record
	for _, text := range texts {
		r, err := a.record(text)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, err
}

// record returns what stands behind the text of a record.
func (a *answerer) record(text string) (answers.Record, error) {
	r, _, err := answers.ParseRecordText(text)
	if err != nil {
		return r, fmt.Errorf("state: %w", err)
	}
	if r.Binding != nil {
		r.Binding, err = a.binding(r.Binding.Log, r.Binding.Index)
	}
	return r, err
}

// binding returns the entry of a binding with its proof.
func (a *answerer) binding(log string, index int64) (*answers.BindingRecord, error) {
	b, place, err := a.readingOf(log, index)
	if err != nil {
		return nil, err
	}
	var c candidate
	if ok, err := get(b.Bucket(bucketCandidates), number(uint64(place)), &c); err != nil || !ok {
		return nil, cmp.Or(err, fmt.Errorf("state: entry %d of %s is missing", index, log))
	}
	out := &answers.BindingRecord{Log: log, Index: index}
	if a.logs[log] == 1 {
		out.Entry = c.Body
		return out, nil
	}
	cp := b.Bucket(bucketCheckpoints).Get(number(uint64(c.Size)))
	if cp == nil {
		return nil, fmt.Errorf("state: the checkpoint of size %d of %s is missing", c.Size, log)
	}
	out.Body, out.Inclusion, out.Checkpoint = string(c.Body), c.Inclusion, string(cp)
	return out, nil
}

// readingOf returns what was read of the log, or of the shard of Rekor v1 that has
// the entry, and the entry's place there.
func (a *answerer) readingOf(log string, index int64) (*bolt.Bucket, int64, error) {
	if a.logs[log] == 2 {
		b, err := readingBucket(a.tx, a.m.function(), log)
		if err == nil && b == nil {
			err = errors.New("state: a binding of a log that was not read")
		}
		return b, index, err
	}
	all := a.tx.Bucket(bucketReadings).Bucket([]byte(a.m.function()))
	c := all.Cursor()
	for name, _ := c.Seek([]byte(log + " ")); strings.HasPrefix(string(name), log+" "); name, _ = c.Next() {
		var r reading
		if _, err := get(all.Bucket(name), keyReading, &r); err != nil {
			return nil, 0, err
		}
		if r.Base <= index && index < r.Base+r.Size {
			return all.Bucket(name), index - r.Base, nil
		}
	}
	return nil, 0, fmt.Errorf("state: no shard of %s has the entry %d", log, index)
}

// page returns a block with so many records: a full one, or what is after those.
func (a *answerer) page(key string, block, records int) (answers.Page, bool, error) {
	p := answers.Page{Key: key, Block: block}
	hash := prefixmap.KeyHash(key)
	from := uint64(block) * prefixmap.BlockSize
	k, err := a.tree.key(hash)
	if err != nil || records < 1 || records > prefixmap.BlockSize || from+uint64(records) > k.count {
		return p, false, err
	}
	p.Records, err = a.records(hash, from, from+uint64(records))
	return p, err == nil, err
}

// nothing returns that no key whose hash begins with some hex digits has a record,
// but those that it lists.
func (a *answerer) nothing(digits string) (answers.Answer, error) {
	out := a.empty()
	l, err := prefixOf(digits)
	if err != nil {
		return out, err
	}
	depth := 4 * len(digits)
	w, err := a.tree.find(l, depth)
	if err != nil {
		return out, err
	}
	out.Absent = &answers.Absence{Path: w.path, Other: w.other}
	if !w.there {
		return out, nil
	}
	keys, err := a.tree.within(l[:], depth)
	out.Absent.Depth = depth
	for _, k := range keys {
		out.Absent.Items = append(out.Absent.Items, k.node)
	}
	return out, err
}

// absent returns that one key has no record, if that is so.
func (a *answerer) absent(hash prefixmap.Hash) (answers.Answer, bool, error) {
	out := a.empty()
	w, err := a.tree.find(prefixmap.NewLabel(hash, 0), prefixmap.KeyBits)
	out.Absent = &answers.Absence{Path: w.path, Other: w.other}
	return out, !w.there, err
}

// splits reports whether under a prefix stand too many keys for one answer: whoever chooses
// names can make them begin alike. Then longer prefixes have one each.
func (a *answerer) splits(digits string) (bool, error) {
	l, err := prefixOf(digits)
	if err != nil {
		return false, err
	}
	n, err := a.tree.howMany(l[:], 4*len(digits), answers.MaxAbsentItems+1)
	return n > answers.MaxAbsentItems, err
}

// prefixOf returns a label that begins with hex digits.
func prefixOf(digits string) (l prefixmap.Label, err error) {
	if strings.Trim(digits, "0123456789abcdef") != "" || len(digits) > 2*len(prefixmap.Hash{}) {
		return l, fmt.Errorf("%q is no beginning of a hash", digits)
	}
	raw, err := hex.DecodeString(digits + strings.Repeat("0", len(digits)%2))
	copy(l[:], raw)
	return l, err
}

// keys calls f with each key that has records, in the order of their hashes.
func (a *answerer) keys(f func(key string, hash prefixmap.Hash, count uint64) error) error {
	return a.tree.keys.ForEach(func(hash, data []byte) error {
		k, err := decodeKeyNode(hash, data)
		if err != nil {
			return err
		}
		return f(k.name, prefixmap.Hash(hash), k.count)
	})
}

// isLocator reports whether a key is one; the others are numbers.
func isLocator(key string) bool { return !strings.Contains(key, "#") }

// few is how many keys an answer about absence should list.
const few = 8

// digitsFor returns how many hex digits tell prefixes apart below which there are
// few keys, if there are that many keys.
func digitsFor(keys int64) int {
	n := bits.Len64(uint64(keys / few))
	return max(2, (n+3)/4)
}
