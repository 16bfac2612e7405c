// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

const (
	growthSchema = SchemaBase + "growth-v1.json"
	// MaxGrowthBytes is the largest file with proofs of one log that is read.
	MaxGrowthBytes = 1 << 20
	maxGrowth      = 1000 // proofs in it
)

// Growth is a file that shows trees of one log to be the beginnings of another: what a
// machine without a network cannot ask for (SPEC 19). Nothing in it is verified before
// [Trees.Carry].
type Growth struct {
	Checkpoint []byte // signed note of the largest tree
	Proofs     []GrowthProof
}

// GrowthProof shows that the tree of so many entries is the beginning of the largest one (RFC
// 6962, section 2.1.2).
type GrowthProof struct {
	Size   int64
	Hashes [][]byte
}

type growthDoc struct {
	Schema     string           `json:"schema"`
	Checkpoint string           `json:"checkpoint"`
	Proofs     []growthProofDoc `json:"proofs"`
}

type growthProofDoc struct {
	Size   int64    `json:"size"`
	Hashes []string `json:"hashes"`
}

// Bytes returns the file.
func (g *Growth) Bytes() []byte {
	doc := growthDoc{growthSchema, string(g.Checkpoint), []growthProofDoc{}}
	for _, p := range g.Proofs {
		d := growthProofDoc{p.Size, []string{}}
		for _, h := range p.Hashes {
			d.Hashes = append(d.Hashes, hex.EncodeToString(h))
		}
		doc.Proofs = append(doc.Proofs, d)
	}
	return strictjson.Compact(doc)
}

// ParseGrowth reads such a file. Every other spelling of one is an error.
func ParseGrowth(data []byte) (*Growth, error) {
	doc, err := strictjson.Canonical[growthDoc](data, MaxGrowthBytes)
	switch {
	case err != nil:
		return nil, err
	case doc.Schema != growthSchema:
		return nil, fmt.Errorf("schema %q is not %q", clip.Text(doc.Schema), growthSchema)
	case doc.Proofs == nil || len(doc.Proofs) > maxGrowth:
		return nil, fmt.Errorf("%d proofs, at most %d are read", len(doc.Proofs), maxGrowth)
	case doc.Checkpoint == "" || len(doc.Checkpoint) > MaxCheckpoint:
		return nil, errors.New("checkpoint: missing or too large")
	}
	g := &Growth{Checkpoint: []byte(doc.Checkpoint)}
	for i, d := range doc.Proofs {
		if d.Size <= 0 || i > 0 && d.Size <= doc.Proofs[i-1].Size || d.Hashes == nil || len(d.Hashes) > MaxProofHashes {
			return nil, fmt.Errorf("proof %d: not of a tree that is larger than the one before", i)
		}
		p := GrowthProof{Size: d.Size}
		for _, s := range d.Hashes {
			h, err := hex.DecodeString(s)
			if err != nil || len(h) != rfc6962.DefaultHasher.Size() || hex.EncodeToString(h) != s {
				return nil, fmt.Errorf("proof %d: not a SHA-256 hash", i)
			}
			p.Hashes = append(p.Hashes, h)
		}
		g.Proofs = append(g.Proofs, p)
	}
	return g, nil
}

// Carry takes what a file shows, as if its checkpoint had been fetched. The error says why it
// counts for nothing, or is that of [Trees.Same].
func (t *Trees) Carry(ctx context.Context, g *Growth) error {
	cp, log, err := t.Root.OpenAnyCheckpoint(g.Checkpoint)
	if err != nil {
		return err
	}
	for _, p := range g.Proofs {
		t.proofs = append(t.proofs, treeProof{log, cp.Origin, p.Size, cp.Size, p.Hashes})
	}
	return t.Same(ctx, Seen{log, t.generation(log), cp})
}

func (t *Trees) generation(log string) int {
	for _, l := range t.Root.Logs() {
		if l.ID == log {
			return l.Generation
		}
	}
	return 0
}

// Growth returns, for each log of which several trees were shown to be of one history, the
// proofs of it, as the log gives them: to be carried where nobody can ask.
func (t *Trees) Growth(ctx context.Context) ([]*Growth, error) {
	t.mu.Lock()
	all := slices.Collect(maps.Values(t.shards))
	t.mu.Unlock()
	arrange.By(all, func(a, b *shard) int { return cmpShards(a.shardOf, b.shardOf) })
	var out []*Growth
	for _, s := range all {
		s.mu.Lock()
		g, err := t.growth(ctx, s)
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if g != nil {
			out = append(out, g)
		}
	}
	return out, nil
}

func (t *Trees) growth(ctx context.Context, s *shard) (*Growth, error) {
	if len(s.chain) < 2 || t.Clients[s.log] == nil {
		return nil, nil
	}
	large := s.chain[len(s.chain)-1].Checkpoint
	g := &Growth{Checkpoint: large.Note}
	for _, x := range s.chain[:min(len(s.chain)-1, maxGrowth)] {
		hashes, err := t.ask(ctx, s, x.Checkpoint, large)
		if err != nil {
			return nil, fmt.Errorf(
				"%s: proof that its tree of %d entries goes on from that of %d: %w", t.name(s), large.Size, x.Size,
				err,
			)
		}
		if err := begins(x.Checkpoint, large, hashes); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name(s), err)
		}
		g.Proofs = append(g.Proofs, GrowthProof{x.Size, hashes})
	}
	return g, nil
}

// Show compares the checkpoints that pieces of evidence show, and of which nothing is
// verified yet. What no log of the trusted root signed is passed over.
func (t *Trees) Show(ctx context.Context, notes [][]byte) error {
	for _, note := range notes {
		cp, log, err := t.Root.OpenAnyCheckpoint(note)
		if err != nil {
			continue
		}
		if err := t.Same(ctx, Seen{log, t.generation(log), cp}); err != nil {
			return err
		}
	}
	return nil
}

// ask asks a log for a consistency proof.
func (t *Trees) ask(ctx context.Context, s *shard, small, large sigstore.Checkpoint) ([][]byte, error) {
	client := t.Clients[s.log]
	if s.generation != 2 {
		hashes, _, err := askProof(ctx, client, s.origin, small.Size, large.Size)
		return hashes, err
	}
	return NewTiles(ctx, client).Growth(small.Size, large)
}
