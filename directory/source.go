// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/sync/errgroup"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// Limits of reading a log.
const (
	stepTiles     = 16 // whose entries are one transaction: some 10 MB
	stepV1        = 50 // batches of Rekor v1 that are one
	batchV1       = 10 // entries, as many as the service takes in one request
	fetchers      = 8  // requests at a time
	maxCheckpoint = 64 << 10
	maxLogInfo    = 1 << 20
	maxEntriesV1  = 16 << 20
	maxProofReply = 64 << 10
	maxShards     = 64
)

// source is a log, or a shard of Rekor v1, and the checkpoint up to which a build
// reads it.
type source struct {
	log    sigstore.Log
	shard  string // tree of Rekor v1; "" for Rekor v2
	base   int64  // index of its first entry
	cp     sigstore.Checkpoint
	seen   time.Time // when the checkpoint was asked for
	client *web.Client
}

// name tells the source from others in the state.
func (s source) name() string {
	if s.shard == "" {
		return s.log.ID
	}
	return s.log.ID + " " + s.shard
}

func (s source) fork(old reading, format string, args ...any) error {
	return &rekor.Fork{Log: s.log.URL, Seen: []byte(old.Checkpoint), New: s.cp.Note, Why: fmt.Sprintf(format, args...)}
}

// entry is an entry as it was read.
type entry struct {
	body []byte // what the map function takes
	hash []byte // of the leaf
}

// reader reads a source. One serves one step, so that what it remembers is bounded.
type reader interface {
	// next returns the entries from a place on, as many as make a step.
	next(ctx context.Context, from int64) ([]entry, error)
	// beginning reports whether the first n entries of the checkpoint's tree give
	// that root.
	beginning(n int64, root []byte) (bool, error)
	// inclusions returns the inclusion proofs of entries; nil where none is needed.
	inclusions(places []int64) ([][][]byte, error)
}

func (s source) reader(ctx context.Context) reader {
	if s.log.Generation == 2 {
		return &tiles{s, rekor.NewTiles(ctx, s.client)}
	}
	return &retriever{s, ctx}
}

// tiles reads Rekor v2.
type tiles struct {
	source
	t rekor.Tiles
}

func (r *tiles) next(ctx context.Context, from int64) ([]entry, error) {
	var starts []int64
	for at := from; at < r.cp.Size && len(starts) < stepTiles; {
		starts = append(starts, at)
		at = (at/rekor.TileEntries + 1) * rekor.TileEntries
	}
	bodies := make([][][]byte, len(starts))
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for i, at := range starts {
		g.Go(func() (err error) {
			bodies[i], err = r.t.Entries(at, r.cp.Size)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(bodies...)
	out := make([]entry, len(all))
	parallel(len(all), func(i int) { out[i] = entry{all[i], rfc6962.DefaultHasher.HashLeaf(all[i])} })
	return out, nil
}

func (r *tiles) beginning(n int64, root []byte) (bool, error) {
	want, err := r.t.Prefix(n, r.cp)
	return bytes.Equal(want[:], root), err
}

func (r *tiles) inclusions(places []int64) ([][][]byte, error) {
	if len(places) == 0 {
		return nil, nil
	}
	return r.t.Inclusions(places, r.cp)
}

// retriever reads a shard of Rekor v1.
type retriever struct {
	source
	ctx context.Context
}

func (r *retriever) next(ctx context.Context, from int64) ([]entry, error) {
	n := min(r.cp.Size-from, stepV1*batchV1)
	out := make([]entry, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for at := int64(0); at < n; at += batchV1 {
		g.Go(func() error { return r.batch(ctx, r.base+from+at, out[at:min(at+batchV1, n)]) })
	}
	return out, g.Wait()
}

// batch fetches entries by their indices.
func (r *retriever) batch(ctx context.Context, first int64, out []entry) error {
	var want []int64
	for i := range out {
		want = append(want, first+int64(i))
	}
	body, err := json.Marshal(map[string][]int64{"logIndexes": want})
	if err != nil {
		return err
	}
	reply, err := r.client.Ask(ctx, "api/v1/log/entries/retrieve", "application/json", body, maxEntriesV1)
	if err != nil {
		return err
	}
	var answered []map[string]json.RawMessage
	if err := json.Unmarshal(reply, &answered); err != nil {
		return err
	}
	for _, m := range answered {
		for _, raw := range m {
			var at struct {
				LogIndex *canonical.Number `json:"logIndex"`
				Body     canonical.Bytes   `json:"body"`
			}
			if err := json.Unmarshal(raw, &at); err != nil {
				return err
			}
			if at.LogIndex == nil || int64(*at.LogIndex) < first || int64(*at.LogIndex) >= first+int64(len(out)) {
				return errors.New("an entry that was not asked for")
			}
			kept, err := withoutProof(raw)
			if err != nil {
				return err
			}
			out[int64(*at.LogIndex)-first] = entry{kept, rfc6962.DefaultHasher.HashLeaf(at.Body)}
		}
	}
	for i := range out {
		if out[i].hash == nil {
			return fmt.Errorf("entry %d is withheld", first+int64(i))
		}
	}
	return nil
}

// withoutProof returns an entry without its inclusion proof and attestation, which
// nothing needs: the promise covers place and time.
func withoutProof(raw []byte) ([]byte, error) {
	var e struct {
		Body           json.RawMessage `json:"body"`
		IntegratedTime json.RawMessage `json:"integratedTime"`
		LogID          json.RawMessage `json:"logID"`
		LogIndex       json.RawMessage `json:"logIndex"`
		Verification   struct {
			Promise json.RawMessage `json:"signedEntryTimestamp"`
		} `json:"verification"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// beginning asks for the proof that what was read is the beginning of the tree.
func (r *retriever) beginning(n int64, root []byte) (bool, error) {
	if n == r.cp.Size {
		return bytes.Equal(root, r.cp.Root), nil
	}
	reply, err := r.client.Fetch(r.ctx, "api/v1/log/proof", url.Values{
		"firstSize": {strconv.FormatInt(n, 10)}, "lastSize": {strconv.FormatInt(r.cp.Size, 10)}, "treeID": {r.shard},
	}, "", maxProofReply)
	if err != nil {
		return false, fmt.Errorf("consistency proof: %w", err)
	}
	hashes, err := rekor.ParseProof(reply)
	if err != nil {
		return false, fmt.Errorf("consistency proof: %w", err)
	}
	err = proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(n), uint64(r.cp.Size), hashes, root, r.cp.Root)
	return err == nil, nil
}

func (r *retriever) inclusions([]int64) ([][][]byte, error) { return nil, nil }

// ask returns the sources of a log with their newest checkpoints, verified under
// the trusted root.
func ask(
	ctx context.Context, root *sigstore.Root, l sigstore.Log, client *web.Client, now time.Time,
) ([]source, error) {
	if l.Generation == 1 {
		return askV1(ctx, root, l, client, now)
	}
	note, err := client.Get(ctx, "api/v2/checkpoint", maxCheckpoint)
	if err != nil {
		return nil, err
	}
	cp, err := root.OpenCheckpoint(l.ID, note)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.URL, err)
	}
	return []source{{log: l, cp: cp, seen: now, client: client}}, nil
}

// shardV1 is a tree of Rekor v1.
//
// API: https://github.com/sigstore/rekor/blob/main/openapi.yaml (LogInfo).
type shardV1 struct {
	Head   string `json:"signedTreeHead"`
	TreeID string `json:"treeID"`
	Size   int64  `json:"treeSize"`
}

func askV1(
	ctx context.Context, root *sigstore.Root, l sigstore.Log, client *web.Client, now time.Time,
) ([]source, error) {
	fail := func(err error) ([]source, error) { return nil, fmt.Errorf("%s: %w", l.URL, err) }
	reply, err := client.Get(ctx, "api/v1/log", maxLogInfo)
	if err != nil {
		return nil, err
	}
	var info struct {
		shardV1
		Inactive []shardV1 `json:"inactiveShards"`
	}
	if err := json.Unmarshal(reply, &info); err != nil {
		return fail(err)
	}
	if len(info.Inactive) >= maxShards {
		return fail(fmt.Errorf("%d shards, at most %d are read", len(info.Inactive)+1, maxShards))
	}
	var out []source
	base := int64(0)
	for _, sh := range append(info.Inactive, info.shardV1) {
		src, err := newSourceV1(root, l, []byte(sh.Head), client, now)
		if err != nil {
			return fail(err)
		}
		if src.shard != sh.TreeID || src.cp.Size != sh.Size ||
			slices.ContainsFunc(out, func(o source) bool { return o.shard == src.shard }) {
			return fail(fmt.Errorf("the tree head of shard %q is of another tree", src.shard))
		}
		src.base = base
		base += src.cp.Size
		out = append(out, src)
	}
	return out, nil
}

// newSourceV1 returns a shard by its tree head; where it begins is not known.
func newSourceV1(root *sigstore.Root, l sigstore.Log, head []byte, client *web.Client, now time.Time) (source, error) {
	cp, id, err := root.OpenAnyCheckpoint(head)
	if err != nil {
		return source{}, err
	}
	shard := sigstore.TreeID(cp.Origin)
	if id != l.ID || shard == "" {
		return source{}, errors.New("the tree head is not of this log")
	}
	return source{log: l, shard: shard, cp: cp, seen: now, client: client}, nil
}
