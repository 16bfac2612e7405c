// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

const (
	maxProofReply  = 64 << 10
	maxProofHashes = 64
)

// Head is the newest tree of a log, or shard of Rekor v1, that was seen. Of a directory it
// is that of its output log.
type Head struct {
	Tree       Tree   `json:"tree"`
	Checkpoint []byte `json:"checkpoint"`
	// Earlier are trees that were proven to be its beginnings, the latest proven
	// last.
	Earlier []Tree `json:"earlier,omitempty"`
	// Time is, of a directory's output log, that of its newest leaf.
	Time time.Time `json:"time,omitzero"`
}

// Heads keeps the head of each log between runs.
type Heads interface {
	// LoadHead returns the head of a shard; the zero value for an unknown one.
	LoadHead(shard string) (Head, error)
	// SaveHead stores next if old is still what is stored, and reports whether
	// it did.
	SaveHead(shard string, old, next Head) (bool, error)
}

// TreeProof shows that one tree of a log is the beginning of another (RFC 6962, section
// 2.1.2).
type TreeProof struct {
	Log, Origin  string
	Small, Large int64 // entries
	Hashes       [][]byte
}

// prove demands that the smaller of two trees is the beginning of the larger one. The one is
// new, the other is known.
func (t *Trees) prove(ctx context.Context, s *shard, now, known sigstore.Checkpoint) error {
	small, large := now, known
	if small.Size > large.Size {
		small, large = large, small
	}
	if slices.ContainsFunc(t.Carried, func(p TreeProof) bool {
		return p.Log == s.log && p.Origin == s.origin && p.Small == small.Size && p.Large == large.Size && begins(small, large, p.Hashes) == nil
	}) {
		return nil
	}
	var err error
	switch {
	case t.Clients[s.log] == nil:
		return &Unproven{t.name(s), small.Size, large.Size, true, errors.New("the log is not asked")}
	case s.generation == 2:
		err = t.byTiles(ctx, s, small, large)
	default:
		err = t.byAnswer(ctx, s, small, large)
	}
	var fork *Fork
	switch {
	case errors.As(err, &fork):
		if bytes.Equal(fork.Seen, small.Note) && bytes.Equal(fork.New, large.Note) {
			fork.Seen, fork.New = known.Note, now.Note
		}
		return fork
	case err != nil:
		return &Unproven{t.name(s), small.Size, large.Size, t.gone(s, err), err}
	}
	return nil
}

// begins demands that a consistency proof shows one tree to be the beginning of another.
func begins(small, large sigstore.Checkpoint, hashes [][]byte) error {
	return proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(small.Size), uint64(large.Size), hashes, small.Root, large.Root)
}

// gone reports whether an error says that a log which the trusted root no longer trusts for
// new entries is not served any more.
func (t *Trees) gone(s *shard, err error) bool {
	closed := slices.ContainsFunc(t.Root.Logs(), func(l sigstore.Log) bool {
		return l.ID == s.log && !l.End.IsZero() && l.End.Before(t.Now())
	})
	var status *web.StatusError
	var name *net.DNSError
	return closed && (errors.As(err, &status) && status.Missing() || errors.As(err, &name) && name.IsNotFound || errors.Is(err, syscall.ECONNREFUSED))
}

// fetch returns the newest checkpoint of a log of Rekor v2; it is fetched once.
func (t *Trees) fetch(ctx context.Context, s *shard) (sigstore.Checkpoint, error) {
	if s.newest != nil {
		return *s.newest, nil
	}
	client := t.Clients[s.log]
	if client == nil {
		return sigstore.Checkpoint{}, errors.New("the log is not asked")
	}
	note, err := client.Get(ctx, "api/v2/checkpoint", maxCheckpoint)
	if err != nil {
		return sigstore.Checkpoint{}, err
	}
	cp, err := t.Root.OpenCheckpoint(s.log, note)
	if err == nil {
		s.newest = &cp
	}
	return cp, err
}

// byTiles asks a log of Rekor v2 for the hashes that prove it. A log that does not have the
// larger tree, which it signed, has to show both to be beginnings of its newest one.
func (t *Trees) byTiles(ctx context.Context, s *shard, small, large sigstore.Checkpoint) error {
	client := t.Clients[s.log]
	err := t.prefix(ctx, client, small, large)
	if err == nil || errors.As(err, new(*Fork)) {
		return err
	}
	newest, why := t.fetch(ctx, s)
	switch {
	case why != nil:
		return why
	case newest.Size < large.Size:
		return fmt.Errorf("stale: it shows a tree of %d entries", newest.Size)
	case newest.Size == large.Size && !bytes.Equal(newest.Root, large.Root):
		return &Fork{Log: client.URL(), Seen: large.Note, New: newest.Note, Why: fmt.Sprintf("two trees of %d entries", large.Size)}
	case newest.Size == large.Size:
		return err
	}
	for _, x := range []sigstore.Checkpoint{small, large} {
		if err := t.prefix(ctx, client, x, newest); err != nil {
			return err
		}
	}
	return nil
}

// prefix demands that a log's tiles, which have to give the larger tree, give the smaller.
func (t *Trees) prefix(ctx context.Context, client *web.Client, small, large sigstore.Checkpoint) error {
	root, err := NewTiles(ctx, client).Prefix(small.Size, large)
	if err != nil {
		return err
	}
	if !bytes.Equal(root[:], small.Root) {
		return &Fork{Log: client.URL(), Seen: small.Note, New: large.Note, Why: fmt.Sprintf("the first %d entries of its tree of %d are not those that it signed", small.Size, large.Size)}
	}
	return nil
}

// byAnswer asks Rekor v1 for the proof.
func (t *Trees) byAnswer(ctx context.Context, s *shard, small, large sigstore.Checkpoint) error {
	client := t.Clients[s.log]
	hashes, reply, err := askProof(ctx, client, s.origin, small.Size, large.Size)
	if err != nil {
		return err
	}
	if err := begins(small, large, hashes); err != nil {
		return &Fork{Log: client.URL(), Seen: small.Note, New: large.Note, Proof: reply, Why: fmt.Sprintf("its tree of %d entries is not the beginning of that of %d: %s", small.Size, large.Size, err)}
	}
	return nil
}

// askProof asks Rekor v1 for a consistency proof.
func askProof(ctx context.Context, client *web.Client, origin string, small, large int64) (hashes [][]byte, reply []byte, err error) {
	reply, err = client.Fetch(ctx, "api/v1/log/proof", url.Values{
		"firstSize": {strconv.FormatInt(small, 10)}, "lastSize": {strconv.FormatInt(large, 10)}, "treeID": {sigstore.TreeID(origin)},
	}, "", maxProofReply)
	if err != nil {
		return nil, nil, fmt.Errorf("proof that the log goes on from what it showed before: %w", err)
	}
	if hashes, err = ParseProof(reply); err != nil {
		return nil, nil, fmt.Errorf("%s: consistency proof: %w", client.URL(), err)
	}
	return hashes, reply, nil
}

// Proof returns a proof that one tree of a log is the beginning of another, as the log gives
// it: to be carried where nobody can ask.
func (t *Trees) Proof(ctx context.Context, seen Seen, large sigstore.Checkpoint) (TreeProof, error) {
	out := TreeProof{Log: seen.Log, Origin: seen.Origin, Small: seen.Size, Large: large.Size}
	client := t.Clients[seen.Log]
	if client == nil {
		return out, errors.New("the log is not asked")
	}
	if seen.Generation != 2 {
		hashes, _, err := askProof(ctx, client, seen.Origin, seen.Size, large.Size)
		out.Hashes = hashes
		return out, err
	}
	tree := tlog.Tree{N: large.Size, Hash: tlog.Hash(large.Root)}
	hashes, err := tlog.ProveTree(large.Size, seen.Size, tlog.TileHashReader(tree, NewTiles(ctx, client)))
	for _, h := range hashes {
		out.Hashes = append(out.Hashes, h[:])
	}
	return out, err
}

// ParseProof reads the hashes of a consistency proof. Null is no proof.
//
// API: https://github.com/sigstore/rekor/blob/main/openapi.yaml (ConsistencyProof).
func ParseProof(reply []byte) ([][]byte, error) {
	var p struct {
		Hashes []string `json:"hashes"`
	}
	if err := json.Unmarshal(reply, &p); err != nil {
		return nil, err
	}
	if p.Hashes == nil || len(p.Hashes) > maxProofHashes {
		return nil, fmt.Errorf("%d hashes, at most %d are read", len(p.Hashes), maxProofHashes)
	}
	var out [][]byte
	for _, s := range p.Hashes {
		hash, err := hex.DecodeString(s)
		if err != nil || len(hash) != rfc6962.DefaultHasher.Size() {
			return nil, errors.New("not a SHA-256 hash")
		}
		out = append(out, hash)
	}
	return out, nil
}
