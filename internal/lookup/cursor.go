// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/sigstore"
)

const (
	// maxForeign bounds the bindings, bodies counted, of repositories that nobody
	// asked about: whoever fills a log must not fill the state.
	maxForeign = 8 << 20
	maxAsked   = 1000
	// maxProven is how many older trees are remembered, so that none is proven twice.
	maxProven = 4096
)

// Binding is a binding that a scan found, for whichever repository: enough to
// find the entry again and to have it judged.
type Binding struct {
	Keys  []string `json:"keys"` // under which it is looked up; see [Keys]
	Index int64    `json:"index"`
	Body  []byte   `json:"body"` // canonical body of the entry
}

// Cursor is how far a log was read, and what was found.
type Cursor struct {
	Size   int64    `json:"size"`             // entries that were read
	Hashes []string `json:"hashes,omitempty"` // compact range of the tree of that size, hex
	// Checkpoint is the last one that was verified, with size and root of its
	// tree. The entries that were read are its beginning.
	Checkpoint []byte     `json:"checkpoint"`
	Tree       rekor.Tree `json:"tree"`
	// Proven are trees, of those that bundles show, that are beginnings of it.
	Proven   []rekor.Tree `json:"proven,omitempty"`
	Bindings []Binding    `json:"bindings,omitempty"`
	// Asked are the names and numbers that were looked up, the latest last.
	Asked []string `json:"asked,omitempty"`
	// Narrow says that only the bindings of those were kept: there were too many
	// others.
	Narrow bool `json:"narrow,omitempty"`
	// Map says by which function and under which trusted root the bindings were
	// told from the rest: what binds under another may have been passed over.
	Map string `json:"map"`
}

// Cursors keeps a cursor for each log between runs.
type Cursors interface {
	// Load returns the cursor of a log; the zero value for an unknown one.
	Load(log string) (Cursor, error)
	// Save stores next if old is still what is stored, and reports whether it
	// did.
	Save(log string, old, next Cursor) (bool, error)
}

// reading is a cursor on its way.
type reading struct {
	Cursor
	tree    *compact.Range
	foreign int // bytes of bindings of repositories that nobody asked about
	// verified are the entries of the repository that this run verified already,
	// by index.
	verified map[int64]bindings.Verified
	// shown are checkpoints of which what is read has to be the continuation, by
	// size.
	shown map[int64]sigstore.Checkpoint
	last  sigstore.Checkpoint // up to which it was read
}

// resume goes on from a kept cursor, or from the beginning where the bindings that
// were kept are not those that are wanted.
func resume(old Cursor, mapping string, keys []string) (*reading, error) {
	r, err := old.reading()
	if err != nil {
		return nil, err
	}
	missing := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return slices.Contains(old.Asked, k) })
	if old.Map != mapping || old.Narrow && len(missing) > 0 {
		again := Cursor{Map: mapping, Asked: old.Asked, Narrow: old.Map == mapping && old.Narrow}
		if r, err = again.reading(); err != nil {
			return nil, err
		}
	}
	if len(missing) > 0 {
		r.Asked = append(slices.Clone(r.Asked), missing...)
		r.Asked = r.Asked[max(0, len(r.Asked)-maxAsked):]
	}
	r.verified, r.shown = map[int64]bindings.Verified{}, map[int64]sigstore.Checkpoint{}
	for _, b := range r.Bindings {
		r.count(b)
	}
	return r, nil
}

// reading returns a copy of the cursor and the tree that it stands for.
func (c Cursor) reading() (*reading, error) {
	if c.Size < 0 || c.Tree.Size < c.Size {
		return nil, fmt.Errorf("kept cursor: %d entries of %d", c.Size, c.Tree.Size)
	}
	var hashes [][]byte
	for _, h := range c.Hashes {
		raw, err := hex.DecodeString(h)
		if err != nil || len(raw) != rfc6962.DefaultHasher.Size() {
			return nil, errors.New("kept cursor: not a SHA-256 hash")
		}
		hashes = append(hashes, raw)
	}
	f := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	tree, err := f.NewRange(0, uint64(c.Size), hashes)
	if err != nil {
		return nil, fmt.Errorf("kept cursor: %w", err)
	}
	r := &reading{Cursor: c, tree: tree}
	r.Bindings = slices.Clone(c.Bindings)
	if c.Size == c.Tree.Size && c.Size > 0 {
		if root, err := r.root(); err != nil || root != c.Tree.Root {
			return nil, errors.New("kept cursor: its hashes are not those of its checkpoint")
		}
	}
	return r, nil
}

// root returns the root of what was read, hex.
func (r *reading) root() (string, error) {
	if r.Size == 0 {
		return hex.EncodeToString(rfc6962.DefaultHasher.EmptyRoot()), nil
	}
	root, err := r.tree.GetRootHash(nil)
	return hex.EncodeToString(root), err
}

// prove proves trees, each no larger than what was read up to the checkpoint.
func (r *reading) prove(t rekor.Tiles, cp sigstore.Checkpoint, older []sigstore.Checkpoint) error {
	for _, o := range older {
		small := rekor.Tree{Size: o.Size, Root: hex.EncodeToString(o.Root)}
		if o.Size == 0 || o.Size == cp.Size || slices.Contains(r.Proven, small) {
			continue // that of cp was compared before
		}
		root, err := t.Prefix(o.Size, cp)
		if err != nil {
			return err
		}
		if !bytes.Equal(root[:], o.Root) {
			return &rekor.Fork{Seen: o.Note, New: cp.Note, Why: fmt.Sprintf("a bundle shows another tree of %d entries", o.Size)}
		}
		r.proven(small)
	}
	return nil
}

// proven remembers a beginning of what was read.
func (r *reading) proven(t rekor.Tree) {
	if r.Proven = append(slices.Clone(r.Proven), t); len(r.Proven) > maxProven {
		r.Proven = r.Proven[1:]
	}
}

// take reads the next entry, which is a binding if keys are given.
func (r *reading) take(body []byte, keys []string) error {
	if err := r.tree.Append(rfc6962.DefaultHasher.HashLeaf(body), nil); err != nil {
		return err
	}
	b := Binding{keys, r.Size, bytes.Clone(body)} // not the whole tile
	r.Size++
	if len(keys) == 0 || r.Narrow && !r.wants(b) {
		return nil
	}
	r.Bindings = append(r.Bindings, b)
	if r.count(b); r.foreign > maxForeign {
		r.Narrow = true
		r.Bindings = slices.DeleteFunc(r.Bindings, func(b Binding) bool { return !r.wants(b) })
		r.foreign = 0
	}
	return nil
}

func (r *reading) count(b Binding) {
	if !r.wants(b) {
		r.foreign += len(b.Body)
	}
}

func (r *reading) wants(b Binding) bool {
	return slices.ContainsFunc(b.Keys, func(k string) bool { return slices.Contains(r.Asked, k) })
}

// lacks reports whether bindings under one of the keys may have been passed over.
func (r *reading) lacks(keys []string) bool {
	return r.Narrow && slices.ContainsFunc(keys, func(k string) bool { return !slices.Contains(r.Asked, k) })
}

// at returns the cursor to keep, under a checkpoint of which what was read is the
// beginning.
func (r *reading) at(cp sigstore.Checkpoint) Cursor {
	c := r.Cursor
	c.Bindings = append([]Binding(nil), r.Bindings...) // none is nil, as when it is read again
	c.Hashes = nil
	for _, h := range r.tree.Hashes() {
		c.Hashes = append(c.Hashes, hex.EncodeToString(h))
	}
	c.Checkpoint, c.Tree = cp.Note, rekor.Tree{Size: cp.Size, Root: hex.EncodeToString(cp.Root)}
	return c
}
