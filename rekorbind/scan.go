// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of a log's tiles (C2SP tlog-tiles).
const (
	maxCheckpoint = 64 << 10
	maxEntryTile  = 256 * (64<<10 + 2)
	tileEntries   = 256
)

// ErrLogFork is wrapped by the error about a log that shows another history than
// it did before, or than its own checkpoint says.
var ErrLogFork = errors.New("the log contradicts itself")

// Fork is the error about a fork, with the two checkpoints that prove it.
type Fork struct {
	Log  string
	Seen []byte // checkpoint that was kept; nil if the entries contradict New alone
	New  []byte
	Why  string
}

// Error says what contradicts what.
func (f *Fork) Error() string { return f.Log + ": " + f.Why }

// Bytes returns both checkpoints as JSON, to be kept as evidence.
func (f *Fork) Bytes() []byte {
	doc := struct {
		Log  string `json:"log"`
		Seen string `json:"seen"`
		New  string `json:"new"`
		Why  string `json:"why"`
	}{f.Log, string(f.Seen), string(f.New), f.Why}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil // text always encodes
	}
	return append(data, '\n')
}

// Unwrap returns [ErrLogFork].
func (f *Fork) Unwrap() error { return ErrLogFork }

// Binding is a binding that a scan found, for whichever repository: enough to
// find the entry again and to have it judged.
type Binding struct {
	Keys  []string `json:"keys"` // under which it is looked up; see [Keys]
	Index int64    `json:"index"`
	Body  []byte   `json:"body"` // canonical body of the entry
}

// Cursor is how far a log was read, and what was found.
type Cursor struct {
	Size       int64     `json:"size"`
	Hashes     []string  `json:"hashes"`     // compact range of the tree of that size, hex
	Checkpoint []byte    `json:"checkpoint"` // the last that was verified
	Bindings   []Binding `json:"bindings"`
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

// Scan reads all shards of Rekor v2. What it finds is complete for the size that
// it read: every tile is checked against a signed checkpoint, and every
// checkpoint against the one before.
type Scan struct {
	Root    *sigstore.Root
	Forges  *Forges
	Clients map[string]*web.Client // by log
	Cursors Cursors
	Now     func() time.Time
	// Progress, if set, is called with the entries read and those there are.
	Progress func(log string, done, total int64)
}

// Name says what is read.
func (s *Scan) Name() string { return "tiles of Rekor v2" }

// Find reads what is new in every shard and returns the repository's bindings.
func (s *Scan) Find(ctx context.Context, q Query) (Found, error) {
	found := Found{Completeness: policy.CompleteScanned, AsOf: s.Now()}
	shards := 0
	for _, l := range s.Root.Logs() {
		if l.Generation != 2 {
			// Entries of Rekor v1 that decide anything cannot be scanned: what
			// its index says, or fails to say, is as much as is known.
			found.Completeness = policy.CompleteNone
			continue
		}
		shards++
		c, err := s.advance(ctx, l)
		if err != nil {
			return Found{}, err
		}
		for _, b := range c.Bindings {
			leaf, err := s.Root.LeafV2(l.ID, b.Index, b.Body)
			if err != nil {
				return Found{}, fmt.Errorf("%s: entry %d: %w", l.URL, b.Index, err)
			}
			if q.Known[leaf.LeafHash] || !contains(b.Keys, q.Repository) {
				continue
			}
			if p, err := newLeaf(s.Forges, leaf); err == nil {
				found.Leaves = append(found.Leaves, p)
			}
		}
	}
	if shards == 0 {
		return Found{}, errors.New("the trusted root has no Rekor v2 log to scan")
	}
	return found, nil
}

func contains(keys []string, repo policy.Locator) bool {
	for _, k := range keys {
		if k == repo.String() {
			return true
		}
	}
	return false
}

// advance reads a log from its cursor to its newest checkpoint.
func (s *Scan) advance(ctx context.Context, l sigstore.Log) (Cursor, error) {
	client := s.Clients[l.ID]
	if client == nil {
		return Cursor{}, fmt.Errorf("no client for %s", l.URL)
	}
	old, err := s.Cursors.Load(l.ID)
	if err != nil {
		return Cursor{}, err
	}
	data, err := client.Get(ctx, "api/v2/checkpoint", maxCheckpoint)
	if err != nil {
		return Cursor{}, err
	}
	cp, err := s.Root.OpenCheckpoint(l.ID, data)
	if err != nil {
		return Cursor{}, fmt.Errorf("%s: %w", l.URL, err)
	}
	next, tree, err := old.resume()
	if err != nil {
		return Cursor{}, err
	}
	seen, err := tree.GetRootHash(nil)
	if err != nil {
		return Cursor{}, err
	}
	if m := s.mapping(); old.Map != m {
		next, tree, err = Cursor{}.resume()
		if err != nil {
			return Cursor{}, err
		}
		next.Map = m
	}
	if cp.Size < old.Size {
		return Cursor{}, fmt.Errorf("%s: stale: a checkpoint of size %d, but %d was seen before", l.URL, cp.Size, old.Size)
	}
	for next.Size < cp.Size {
		if err := ctx.Err(); err != nil {
			return Cursor{}, err
		}
		entries, err := s.tile(ctx, client, next.Size, cp.Size)
		if err != nil {
			return Cursor{}, fmt.Errorf("%s: %w", l.URL, err)
		}
		for _, body := range entries {
			if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(body), nil); err != nil {
				return Cursor{}, err
			}
			if leaf, err := s.Root.LeafV2(l.ID, next.Size, body); err == nil {
				if b, err := s.Forges.Authority(leaf.Signer); err == nil {
					next.Bindings = append(next.Bindings, Binding{Keys(b), next.Size, body})
				}
			}
			next.Size++
			// Only where everything is read again.
			if next.Size == old.Size {
				if root, err := tree.GetRootHash(nil); err != nil {
					return Cursor{}, err
				} else if !bytes.Equal(root, seen) {
					return Cursor{}, &Fork{Log: l.URL, Seen: old.Checkpoint, New: data, Why: fmt.Sprintf("its first %d entries are not those that were seen before", old.Size)}
				}
			}
		}
		if s.Progress != nil {
			s.Progress(l.URL, next.Size, cp.Size)
		}
	}
	root, err := tree.GetRootHash(nil)
	if err != nil {
		return Cursor{}, err
	}
	if cp.Size == 0 {
		root = rfc6962.DefaultHasher.EmptyRoot()
	}
	if !bytes.Equal(root, cp.Root) {
		return Cursor{}, &Fork{Log: l.URL, Seen: old.Checkpoint, New: data, Why: fmt.Sprintf("its %d entries do not give the root of its checkpoint", cp.Size)}
	}
	next.Hashes = nil
	for _, h := range tree.Hashes() {
		next.Hashes = append(next.Hashes, hex.EncodeToString(h))
	}
	next.Checkpoint = data
	if next.Size == old.Size && next.Map == old.Map && bytes.Equal(data, old.Checkpoint) {
		return next, nil
	}
	if ok, err := s.Cursors.Save(l.ID, old, next); err != nil {
		return Cursor{}, err
	} else if !ok {
		// Another process was here, and the log may have shown it something else.
		return s.advance(ctx, l)
	}
	return next, nil
}

// mapping says what bindings depend on beside the log.
func (s *Scan) mapping() string {
	return fmt.Sprintf("%d %s %s", MapVersion, s.Root.Digest().Hex, s.Forges.Digest())
}

// resume returns a copy of the cursor and the tree that it stands for.
func (c Cursor) resume() (Cursor, *compact.Range, error) {
	if c.Size < 0 {
		return Cursor{}, nil, fmt.Errorf("kept cursor: a log of size %d", c.Size)
	}
	var hashes [][]byte
	for _, h := range c.Hashes {
		raw, err := hex.DecodeString(h)
		if err != nil || len(raw) != rfc6962.DefaultHasher.Size() {
			return Cursor{}, nil, errors.New("kept cursor: not a SHA-256 hash")
		}
		hashes = append(hashes, raw)
	}
	f := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	tree, err := f.NewRange(0, uint64(c.Size), hashes)
	if err != nil {
		return Cursor{}, nil, fmt.Errorf("kept cursor: %w", err)
	}
	next := c
	next.Bindings = append([]Binding(nil), c.Bindings...)
	return next, tree, nil
}

// tile returns the entries from index from up to the end of their tile.
func (s *Scan) tile(ctx context.Context, client *web.Client, from, size int64) ([][]byte, error) {
	n := from / tileEntries
	width := min(tileEntries, size-n*tileEntries)
	path := "api/v2/tile/entries/" + tilePath(n)
	if width < tileEntries {
		path += ".p/" + strconv.FormatInt(width, 10)
	}
	data, err := client.Get(ctx, path, maxEntryTile)
	if err != nil {
		return nil, err
	}
	out, err := splitTile(data)
	if err == nil && int64(len(out)) != width {
		err = fmt.Errorf("%d entries, not %d", len(out), width)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out[from-n*tileEntries:], nil
}

// splitTile returns the entries of a tile, each of which has its length before
// it.
func splitTile(data []byte) ([][]byte, error) {
	var out [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("cut within an entry")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		out = append(out, data[2:end])
		data = data[end:]
	}
	return out, nil
}

// tilePath returns the index of a tile as it stands in its path: in groups of
// three digits, all but the last with an 'x' before it.
func tilePath(n int64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return path
}
