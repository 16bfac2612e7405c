// SPDX-License-Identifier: Apache-2.0

package rekor

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

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

const (
	maxProofReply  = 64 << 10
	MaxProofHashes = 64
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

// treeProof says that one tree of a log is the beginning of another.
type treeProof struct {
	log, origin  string
	small, large int64 // entries
	hashes       [][]byte
}

// prove demands that the smaller of two trees is the beginning of the larger one. The one is
// new, the other is known.
func (t *Trees) prove(ctx context.Context, s *shard, now, known sigstore.Checkpoint) error {
	small, large := now, known
	if small.Size > large.Size {
		small, large = large, small
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

// carries reports whether a proof that is at hand shows one tree to be the beginning of
// another, whichever is the smaller one.
func (t *Trees) carries(s *shard, a, b sigstore.Checkpoint) bool {
	if a.Size > b.Size {
		a, b = b, a
	}
	return slices.ContainsFunc(t.proofs, func(p treeProof) bool {
		return p.log == s.log && p.origin == s.origin && p.small == a.Size && p.large == b.Size &&
			begins(a, b, p.hashes) == nil
	})
}

// begins demands that a consistency proof shows one tree to be the beginning of another.
func begins(small, large sigstore.Checkpoint, hashes [][]byte) error {
	return proof.VerifyConsistency(
		rfc6962.DefaultHasher, uint64(small.Size), uint64(large.Size), hashes, small.Root, large.Root,
	)
}

// gone reports whether an error says that a log which the trusted root no longer trusts for
// new entries is not served any more.
func (t *Trees) gone(s *shard, err error) bool {
	closed := slices.ContainsFunc(t.Root.Logs(), func(l sigstore.Log) bool {
		return l.ID == s.log && !l.End.IsZero() && l.End.Before(t.Now())
	})
	var status *web.StatusError
	var name *net.DNSError
	return closed &&
		(errors.As(err, &status) && status.Missing() || errors.As(err, &name) && name.IsNotFound ||
			errors.Is(err, syscall.ECONNREFUSED))
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
	note, err := client.Get(ctx, "api/v2/checkpoint", MaxCheckpoint)
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
	err := t.prefix(ctx, s, small, large)
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
		return &Fork{
			Log: client.URL(), Seen: large.Note, New: newest.Note,
			Why: fmt.Sprintf("two trees of %d entries", large.Size),
		}
	case newest.Size == large.Size:
		return err
	}
	for _, x := range []sigstore.Checkpoint{small, large} {
		if err := t.prefix(ctx, s, x, newest); err != nil {
			return err
		}
	}
	return nil
}

// prefix demands that a log's tiles, which have to give the larger tree, give the smaller.
func (t *Trees) prefix(ctx context.Context, s *shard, small, large sigstore.Checkpoint) error {
	client := t.Clients[s.log]
	if of := treeOfCheckpoint(large); s.of != of {
		s.of, s.tiles = of, NewTiles(ctx, client)
	}
	s.tiles.ctx = ctx
	root, err := s.tiles.Prefix(small.Size, large)
	if err != nil {
		return err
	}
	if !bytes.Equal(root[:], small.Root) {
		return &Fork{
			Log:  client.URL(),
			Seen: small.Note,
			New:  large.Note,
			Why: fmt.Sprintf(
				"the first %d entries of its tree of %d are not those that it signed", small.Size, large.Size,
			),
		}
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
		return &Fork{
			Log:   client.URL(),
			Seen:  small.Note,
			New:   large.Note,
			Proof: reply,
			Why: fmt.Sprintf(
				"its tree of %d entries is not the beginning of that of %d: %s", small.Size, large.Size, err,
			),
		}
	}
	return nil
}

// askProof asks Rekor v1 for a consistency proof.
func askProof(
	ctx context.Context, client *web.Client, origin string, small, large int64,
) (hashes [][]byte, reply []byte, err error) {
	reply, err = client.Fetch(ctx, "api/v1/log/proof", url.Values{
		"firstSize": {
			strconv.FormatInt(small, 10),
		}, "lastSize": {strconv.FormatInt(large, 10)}, "treeID": {sigstore.TreeID(origin)},
	}, "", maxProofReply)
	if err != nil {
		return nil, nil, fmt.Errorf("proof that the log goes on from what it showed before: %w", err)
	}
	if hashes, err = ParseProof(reply); err != nil {
		return nil, nil, fmt.Errorf("%s: consistency proof: %w", client.URL(), err)
	}
	return hashes, reply, nil
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
	if p.Hashes == nil || len(p.Hashes) > MaxProofHashes {
		return nil, fmt.Errorf("%d hashes, at most %d are read", len(p.Hashes), MaxProofHashes)
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
