// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/sigstore"
)

const (
	maxProofReply  = 64 << 10
	maxProofHashes = 64
	// maxEarlier is how many older trees of a log are remembered, so that none
	// is asked about twice.
	maxEarlier = 256
)

// Head is the newest tree of a Rekor v1 shard that was seen, which verified
// bundles show: nobody has to be asked for it. Of a directory it is that of its
// output log.
type Head struct {
	Tree       Tree   `json:"tree"`
	Checkpoint []byte `json:"checkpoint"`
	// Earlier are trees that were proven to be its beginnings, the latest proven
	// last.
	Earlier []Tree `json:"earlier,omitempty"`
	// Time is, of a directory's output log, that of its newest leaf.
	Time time.Time `json:"time,omitzero"`
}

// Heads keeps the head of each shard between runs.
type Heads interface {
	// LoadHead returns the head of a shard; the zero value for an unknown one.
	LoadHead(shard string) (Head, error)
	// SaveHead stores next if old is still what is stored, and reports whether
	// it did.
	SaveHead(shard string, old, next Head) (bool, error)
}

// consistent demands that a shard of Rekor v1 which was seen before goes on from
// what it showed then. It asks at most one question, and none about trees that
// were proven already.
func (h *Hint) consistent(ctx context.Context, cp sigstore.Checkpoint) error {
	now := Tree{cp.Size, hex.EncodeToString(cp.Root)}
	shard := h.Log + " " + cp.Origin
	for {
		old, err := h.Heads.LoadHead(shard)
		if err != nil {
			return err
		}
		next := old
		switch {
		case old.Checkpoint == nil && (old.Tree != Tree{} || len(old.Earlier) > 0):
			return errors.New("kept head: a tree without its checkpoint")
		case old.Checkpoint == nil:
			next = Head{Tree: now, Checkpoint: cp.Note}
		case now == old.Tree || slices.Contains(old.Earlier, now):
			return nil
		case now.Size == old.Tree.Size:
			return &Fork{Log: h.Client.URL(), Seen: old.Checkpoint, New: cp.Note, Why: fmt.Sprintf("two trees of %d entries", now.Size)}
		case now.Size > old.Tree.Size:
			if err := h.prove(ctx, cp.Origin, old.Tree, now, old.Checkpoint, cp.Note); err != nil {
				return err
			}
			next = Head{Tree: now, Checkpoint: cp.Note, Earlier: append(slices.Clone(old.Earlier), old.Tree)}
		default:
			if err := h.prove(ctx, cp.Origin, now, old.Tree, old.Checkpoint, cp.Note); err != nil {
				return err
			}
			next.Earlier = append(slices.Clone(old.Earlier), now)
		}
		if n := len(next.Earlier); n > maxEarlier {
			next.Earlier = next.Earlier[n-maxEarlier:]
		}
		if ok, err := h.Heads.SaveHead(shard, old, next); err != nil || ok {
			return err
		}
		// Another process was here, and the log may have shown it something else.
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// prove asks for the proof that one tree is the beginning of another.
func (h *Hint) prove(ctx context.Context, origin string, small, large Tree, seen, shown []byte) error {
	if small.Size == 0 {
		return nil // of every tree
	}
	reply, err := h.Client.Fetch(ctx, "api/v1/log/proof", url.Values{
		"firstSize": {strconv.FormatInt(small.Size, 10)}, "lastSize": {strconv.FormatInt(large.Size, 10)}, "treeID": {sigstore.TreeID(origin)},
	}, "", maxProofReply)
	if err != nil {
		return fmt.Errorf("proof that the log goes on from what it showed before: %w", err)
	}
	hashes, err := ParseProof(reply)
	if err != nil {
		return fmt.Errorf("%s: consistency proof: %w", h.Client.URL(), err)
	}
	var roots [2][]byte
	for i, t := range []Tree{small, large} {
		if roots[i], err = hex.DecodeString(t.Root); err != nil {
			return fmt.Errorf("kept tree: %w", err)
		}
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(small.Size), uint64(large.Size), hashes, roots[0], roots[1]); err != nil {
		return &Fork{Log: h.Client.URL(), Seen: seen, New: shown, Proof: reply, Why: fmt.Sprintf("its tree of %d entries is not the beginning of that of %d: %s", small.Size, large.Size, err)}
	}
	return nil
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
