// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// reading is how far a log was read for maps of one function and forge table. What
// it keeps are the entries that may bind under any trusted root, so that another
// root is no reason to read a log again.
type reading struct {
	Size   int64    `json:"size"`   // entries that were read
	Hashes []string `json:"hashes"` // compact range of their tree, hex
	// Checkpoint is the last one up to which the log was read to the end, and
	// Tree its root, hex.
	Checkpoint string    `json:"checkpoint,omitempty"`
	Tree       string    `json:"tree,omitempty"`
	Seen       time.Time `json:"seen"` // when it was asked for
	// Newest is the latest minute in which a certificate began that an entry carries, by
	// the hex digest of the trusted root that it is of.
	Newest map[string]time.Time `json:"newest,omitempty"`
	// Base is the index of the first entry, in a shard of Rekor v1.
	Base int64 `json:"base,omitempty"`
}

// candidate is an entry that may bind.
type candidate struct {
	Body      []byte   `json:"body"` // of a log of Rekor v1, the entry as it was answered
	Inclusion [][]byte `json:"inclusion,omitempty"`
	Size      int64    `json:"size,omitempty"` // of the tree that it is proven in
}

var (
	keyReading        = []byte("reading")
	bucketCandidates  = []byte("candidates")
	bucketCheckpoints = []byte("checkpoints") // size → checkpoint, with the log's own signature
)

// bucket returns the bucket of a log that is read for a function, which is made if
// the transaction can write.
func readingBucket(tx *bolt.Tx, function, log string) (*bolt.Bucket, error) {
	b := tx.Bucket(bucketReadings)
	for _, name := range []string{function, log} {
		next := b.Bucket([]byte(name))
		if next == nil {
			if !tx.Writable() {
				return nil, nil
			}
			var err error
			if next, err = b.CreateBucket([]byte(name)); err != nil {
				return nil, err
			}
		}
		b = next
	}
	if tx.Writable() {
		for _, name := range [][]byte{bucketCandidates, bucketCheckpoints} {
			if _, err := b.CreateBucketIfNotExists(name); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// load returns how far a log was read.
func (s *Store) loadReading(function, log string) (reading, error) {
	var r reading
	err := s.db.View(func(tx *bolt.Tx) error {
		b, err := readingBucket(tx, function, log)
		if err != nil || b == nil {
			return err
		}
		_, err = get(b, keyReading, &r)
		return err
	})
	return r, err
}

func (r reading) compact() (*compact.Range, error) {
	var hashes [][]byte
	for _, h := range r.Hashes {
		raw, err := hex.DecodeString(h)
		if err != nil || len(raw) != rfc6962.DefaultHasher.Size() {
			return nil, errors.New("state: not a SHA-256 hash")
		}
		hashes = append(hashes, raw)
	}
	f := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	return f.NewRange(0, uint64(r.Size), hashes)
}

func (r *reading) set(tree *compact.Range) {
	r.Size, r.Hashes = int64(tree.End()), []string{}
	for _, h := range tree.Hashes() {
		r.Hashes = append(r.Hashes, hex.EncodeToString(h))
	}
}

func rootOf(tree *compact.Range) ([]byte, error) {
	if tree.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return tree.GetRootHash(nil)
}

// follower reads logs up to checkpoints that were fixed when a build began.
type follower struct {
	store    *Store
	function string // name of the readings
	fn       MapFn
	roots    []*sigstore.Root // of the maps that are made of what is read
	progress func(log string, done, total int64)
	counted  func(log string, entries int) // for metrics
}

// found is a candidate and its index.
type found struct {
	index int64
	candidate
}

// follow reads a log up to its checkpoint. What it read is proven to be
// the beginning of that tree before it is kept, step by step.
func (f *follower) follow(ctx context.Context, src source) error {
	for {
		old, err := f.store.loadReading(f.function, src.name())
		if err != nil {
			return err
		}
		if old.Size >= src.cp.Size {
			return f.finish(src, old)
		}
		next, entries, err := f.step(ctx, src, old)
		if err != nil {
			return err
		}
		if err := f.keep(src, next, entries); err != nil {
			return err
		}
		if f.counted != nil {
			f.counted(src.log.URL, int(next.Size-old.Size))
		}
		if f.progress != nil {
			f.progress(src.log.URL, next.Size, src.cp.Size)
		}
	}
}

// finish compares what was read with the checkpoint that it was read for.
func (f *follower) finish(src source, r reading) error {
	if r.Size > src.cp.Size {
		return &Stale{Log: src.log.URL, Seen: r.Size, Size: src.cp.Size}
	}
	tree, err := r.compact()
	if err != nil {
		return err
	}
	root, err := rootOf(tree)
	if err != nil {
		return err
	}
	if !bytes.Equal(root, src.cp.Root) {
		return src.fork(r, "another tree of %d entries than was read", src.cp.Size)
	}
	return f.store.update(func(tx *bolt.Tx) error {
		b, err := readingBucket(tx, f.function, src.name())
		if err != nil {
			return err
		}
		r.Checkpoint, r.Tree, r.Seen = string(src.cp.Own), hex.EncodeToString(src.cp.Root), src.seen
		return put(b, keyReading, r)
	})
}

// step reads what is next of a log and returns the candidates in it.
func (f *follower) step(ctx context.Context, src source, old reading) (reading, []found, error) {
	fail := func(err error) (reading, []found, error) {
		return reading{}, nil, fmt.Errorf("%s: %w", src.log.URL, err)
	}
	tree, err := old.compact()
	if err != nil {
		return fail(err)
	}
	r := src.reader(ctx)
	entries, err := r.next(ctx, old.Size)
	if err != nil {
		return fail(err)
	}
	hashes, claims := make([][]byte, len(entries)), make([]bool, len(entries))
	parallel(len(entries), func(i int) {
		hashes[i], claims[i] = entries[i].hash, f.fn.Claims(src.log.Generation, entries[i].body)
	})
	for _, h := range hashes {
		if err := tree.Append(h, nil); err != nil {
			return fail(err)
		}
	}
	next := old
	next.Base = src.base
	next.set(tree)
	next.Newest = f.newest(src.log.Generation, entries, old.Newest)
	root, err := rootOf(tree)
	if err != nil {
		return fail(err)
	}
	switch ok, err := r.beginning(next.Size, root); {
	case err != nil:
		return fail(err)
	case !ok:
		return reading{}, nil, src.fork(old, "its first %d entries are not those of its checkpoint", next.Size)
	}
	var out []found
	var places []int64
	for i, e := range entries {
		if claims[i] {
			places = append(places, old.Size+int64(i))
			out = append(out, found{old.Size + int64(i), candidate{Body: bytes.Clone(e.body)}})
		}
	}
	proofs, err := r.inclusions(places)
	if err != nil {
		return fail(err)
	}
	for i, p := range proofs {
		out[i].Inclusion, out[i].Size = p, src.cp.Size
	}
	return next, out, nil
}

// newest returns the latest minutes in which certificates began that entries carry, by root,
// those that were found before included. Whatever the steps are, they are the same.
func (f *follower) newest(generation int, entries []entry, before map[string]time.Time) map[string]time.Time {
	out := maps.Clone(before)
	if out == nil {
		out = map[string]time.Time{}
	}
	dated := make([]rekor.Dated, len(entries))
	parallel(len(entries), func(i int) { dated[i] = rekor.DateEntry(generation, entries[i].body) })
	for _, r := range f.roots {
		digest := r.Digest().Hex
		for _, d := range dated {
			if d.Minute.After(out[digest]) && d.By(r) { // one certificate a minute is verified
				out[digest] = d.Minute
			}
		}
	}
	return out
}

// keep stores a step.
func (f *follower) keep(src source, r reading, entries []found) error {
	return f.store.update(func(tx *bolt.Tx) error {
		b, err := readingBucket(tx, f.function, src.name())
		if err != nil {
			return err
		}
		all := b.Bucket(bucketCandidates)
		all.FillPercent = 1 // they are only appended
		for _, e := range entries {
			if err := put(all, number(uint64(e.index)), e.candidate); err != nil {
				return err
			}
		}
		if len(entries) > 0 { // they are proven in its tree
			if err := b.Bucket(bucketCheckpoints).Put(number(uint64(src.cp.Size)), src.cp.Own); err != nil {
				return err
			}
		}
		return put(b, keyReading, r)
	})
}

// candidates calls f with the candidates of a log from one index up to another.
func candidates(b *bolt.Bucket, from, to int64, f func(index int64, c candidate) (more bool, err error)) error {
	cur := b.Bucket(bucketCandidates).Cursor()
	for k, v := cur.Seek(number(uint64(from))); k != nil; k, v = cur.Next() {
		index := int64(binary.BigEndian.Uint64(k))
		if index >= to {
			return nil
		}
		var c candidate
		if err := unmarshal(k, v, &c); err != nil {
			return err
		}
		if more, err := f(index, c); err != nil || !more {
			return err
		}
	}
	return nil
}

// Stale is the error about a log that shows an older tree than it did before.
type Stale struct {
	Log        string
	Seen, Size int64
}

// Error says which sizes.
func (s *Stale) Error() string {
	return fmt.Sprintf("%s: stale: a checkpoint of size %d, but %d was seen before", s.Log, s.Size, s.Seen)
}

// parallel calls f for each number below n, on all processors.
func parallel(n int, f func(i int)) {
	var g errgroup.Group
	chunks := min(n, runtime.GOMAXPROCS(0)*8)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for c := range chunks {
		g.Go(func() error {
			for i := c; i < n; i += chunks {
				f(i)
			}
			return nil
		})
	}
	_ = g.Wait()
}
