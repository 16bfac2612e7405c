// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const (
	// scanTimeout is how long a scan may take, whatever its logs answer. What
	// was read until then is kept.
	scanTimeout = 10 * time.Minute
	// saveEvery is after how many entries of a long scan the cursor is kept.
	saveEvery = 256 * rekor.TileEntries
)

// Scan reads all shards of Rekor v2. What it finds is complete for the size that
// it read: every tile is checked against a signed checkpoint, and every
// checkpoint against the one before.
type Scan struct {
	Root    *sigstore.Root
	Forges  *bindings.Forges
	Clients map[string]*web.Client // by log
	Cursors Cursors
	Now     func() time.Time
	// Witnesses, if set, must have cosigned every checkpoint that is relied upon.
	Witnesses *rekor.WitnessPolicy
	// Progress, if set, is called with the entries read and those there are.
	Progress func(log string, done, total int64)

	timeout time.Duration // 0 for scanTimeout
	every   int64         // 0 for saveEvery
}

// Name says what is read.
func (s *Scan) Name() string { return "tiles of Rekor v2" }

// Best says that who reads a whole log has seen all of it.
func (s *Scan) Best() chain.Completeness { return chain.CompleteScanned }

// Find reads what is new in every shard and returns the repository's found.
// What is known is as of now or, with a witness policy, of the earliest moment at
// which a quorum of witnesses had seen one of the checkpoints.
func (s *Scan) Find(ctx context.Context, q bindings.Query) (bindings.Found, error) {
	limit := cmp.Or(s.timeout, scanTimeout)
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found, err := s.find(within, q)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf(
			"not done after %s; what was read is kept, and the next run goes on from there: %w", limit, err,
		)
	}
	return found, err
}

func (s *Scan) find(ctx context.Context, q bindings.Query) (bindings.Found, error) {
	keys := q.BesideKeys()
	for _, n := range q.Asked() {
		keys = append(keys, n.String())
	}
	for {
		found, read, err := s.all(ctx, q, keys)
		if err != nil {
			return bindings.Found{}, err
		}
		if keys = closure(read, keys); len(keys) > maxAsked {
			return bindings.Found{}, fmt.Errorf("%d names and numbers, at most %d are looked for", len(keys), maxAsked)
		}
		if slices.ContainsFunc(read, func(x logReading) bool { return x.lacks(keys) }) {
			continue // what was passed over has to be read again
		}
		for _, x := range read {
			leaves, err := s.leaves(x, keys, q)
			if err != nil {
				return bindings.Found{}, err
			}
			found.Leaves = append(found.Leaves, leaves...)
		}
		return found, nil
	}
}

// all reads what is new in every shard.
func (s *Scan) all(ctx context.Context, q bindings.Query, keys []string) (bindings.Found, []logReading, error) {
	found := bindings.Found{Completeness: chain.CompleteScanned, AsOf: s.Now()}
	var read []logReading
	for _, l := range s.Root.Logs() {
		if g := q.Generations[l.ID]; g != 0 {
			l.Generation = g
		}
		if l.Generation != 2 {
			// Entries of Rekor v1 that decide anything cannot be scanned: what
			// its index says, or fails to say, is as much as is known.
			found.Completeness = chain.CompleteNone
			continue
		}
		r, at, err := s.advance(ctx, l, q, keys)
		if err != nil {
			return bindings.Found{}, nil, err
		}
		if s.Witnesses != nil && at.Before(found.AsOf) {
			found.AsOf = at
		}
		if at.After(found.Floor.Time) {
			found.Floor = rekor.Floor{Time: at, Why: "a quorum of witnesses of " + l.URL}
		}
		read = append(read, logReading{l, r})
		found.Trees = append(found.Trees, rekor.Seen{Log: l.ID, Generation: l.Generation, Checkpoint: r.last})
	}
	if len(read) == 0 {
		return bindings.Found{}, nil, errors.New("the trusted root has no Rekor v2 log to scan")
	}
	return found, read, nil
}

// logReading is what was read of a log.
type logReading struct {
	sigstore.Log
	*reading
}

// closure returns the keys of all found that have one of the keys, or one in common with
// those, sorted.
func closure(read []logReading, of []string) []string {
	keys := map[string]bool{}
	for _, k := range of {
		keys[k] = true
	}
	for more := true; more; {
		more = false
		for _, x := range read {
			for _, b := range x.Bindings {
				if !slices.ContainsFunc(b.Keys, func(k string) bool { return keys[k] }) {
					continue
				}
				for _, k := range b.Keys {
					more, keys[k] = more || !keys[k], true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// leaves returns the found of a log under the keys.
func (s *Scan) leaves(x logReading, keys []string, q bindings.Query) ([]chain.Leaf, error) {
	var out []chain.Leaf
	for _, b := range x.Bindings {
		if !slices.ContainsFunc(b.Keys, func(k string) bool { return slices.Contains(keys, k) }) {
			continue
		}
		v, ok := x.verified[b.Index]
		if !ok {
			var err error
			if v, err = s.binding(x.ID, b.Index, b.Body); err != nil {
				return nil, fmt.Errorf("%s: entry %d: %w", x.URL, b.Index, err)
			}
		}
		// The same leaf at another place may be the one that took effect.
		here := func(e policy.Entry) bool { return e.Log == x.ID && e.Index == b.Index }
		if !slices.ContainsFunc(q.Known[v.Leaf.LeafHash], here) {
			out = append(out, bindings.NewLeaf(v.Leaf, v.By))
		}
	}
	return out, nil
}

func (s *Scan) binding(log string, index int64, body []byte) (bindings.Verified, error) {
	leaf, by, err := bindings.Binds(s.Root, s.Forges, log, index, body)
	return bindings.Verified{Leaf: leaf, By: by}, err
}

// advance reads a log from its cursor to its newest checkpoint, and returns when
// witnesses had seen that.
func (s *Scan) advance(
	ctx context.Context, l sigstore.Log, q bindings.Query, keys []string,
) (*reading, time.Time, error) {
	fail := func(err error) (*reading, time.Time, error) { return nil, time.Time{}, err }
	client := s.Clients[l.ID]
	if client == nil {
		return fail(fmt.Errorf("no client for %s", l.URL))
	}
	old, err := s.Cursors.Load(l.ID)
	if err != nil {
		return fail(err)
	}
	note, err := client.Get(ctx, "api/v2/checkpoint", rekor.MaxCheckpoint)
	if err != nil {
		return fail(err)
	}
	cp, err := s.Root.OpenCheckpoint(l.ID, note)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", l.URL, err))
	}
	var seen time.Time
	if s.Witnesses != nil {
		if seen, err = s.Witnesses.Seen(note, s.Now()); err != nil {
			return fail(fmt.Errorf("%s: %w", l.URL, err))
		}
	}
	r, err := resume(old, s.mapping(), keys)
	if err != nil {
		return fail(err)
	}
	tiles := rekor.NewTiles(ctx, client)
	var older []sigstore.Checkpoint
	for _, t := range q.Trees[l.ID] {
		why := fmt.Sprintf("a bundle shows another tree of %d entries", t.Size)
		switch {
		case cp.Size < t.Size:
			return fail(
				fmt.Errorf("%s: stale: a checkpoint of size %d, but a bundle shows one of %d", l.URL, cp.Size, t.Size),
			)
		case cp.Size == t.Size && !bytes.Equal(cp.Root, t.Root):
			return fail(&rekor.Fork{Log: l.URL, Seen: t.Note, New: note, Why: why})
		case old.Tree.Size == t.Size && old.Tree.Root != hex.EncodeToString(t.Root):
			return fail(&rekor.Fork{Log: l.URL, Seen: old.Checkpoint, New: t.Note, Why: why})
		case t.Size > r.Size:
			r.shown[t.Size] = t
		default: // read before
			older = append(older, t)
		}
	}
	if cp.Size < old.Tree.Size {
		return fail(
			fmt.Errorf("%s: stale: a checkpoint of size %d, but %d was seen before", l.URL, cp.Size, old.Tree.Size),
		)
	}
	if old.Tree.Size > 0 {
		root, err := hex.DecodeString(old.Tree.Root)
		if err != nil {
			return fail(fmt.Errorf("kept cursor: %w", err))
		}
		r.shown[old.Tree.Size] = sigstore.Checkpoint{Size: old.Tree.Size, Root: root, Note: old.Checkpoint}
	}
	kept, err := s.read(ctx, l, tiles, old, r, cp, q.Repository)
	switch {
	case err != nil:
		return fail(err)
	case !kept: // by another process, which the log may have shown something else
		return s.advance(ctx, l, q, keys)
	}
	if err := s.prove(l, tiles, r, cp, older); err != nil {
		return fail(err)
	}
	r.last = cp
	return r, seen, nil
}

// prove demands that older trees are beginnings of the one that was read, and keeps
// which are.
func (s *Scan) prove(
	l sigstore.Log, t rekor.Tiles, r *reading, cp sigstore.Checkpoint, older []sigstore.Checkpoint,
) error {
	read := r.at(cp)
	why := r.prove(t, cp, older)
	if next := r.at(cp); !reflect.DeepEqual(read, next) {
		// Where another process was faster, they are proven again.
		if _, err := s.Cursors.Save(l.ID, read, next); err != nil {
			return err
		}
	}
	var fork *rekor.Fork
	if errors.As(why, &fork) {
		fork.Log = l.URL
		return fork
	} else if why != nil {
		return fmt.Errorf("%s: %w", l.URL, why)
	}
	return nil
}

// read reads up to the checkpoint and keeps how far it came, at the end and every
// now and then. It reports whether nobody else did in between.
func (s *Scan) read(
	ctx context.Context, l sigstore.Log, t rekor.Tiles, old Cursor, r *reading, cp sigstore.Checkpoint,
	repo policy.Locator,
) (bool, error) {
	fork := func(seen []byte, format string, args ...any) error {
		return &rekor.Fork{Log: l.URL, Seen: seen, New: cp.Note, Why: fmt.Sprintf(format, args...)}
	}
	saved, last := r.Size, r.shown[old.Tree.Size]
	for r.Size < cp.Size {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		entries, err := t.Entries(r.Size, cp.Size)
		if err != nil {
			return false, fmt.Errorf("%s: %w", l.URL, err)
		}
		found := make([]bindings.Verified, len(entries)) // the zero value for what is none
		bindings.Parallel(len(entries), func(i int) {
			if v, err := s.binding(l.ID, r.Size+int64(i), entries[i]); err == nil {
				found[i] = v
			}
		})
		for i, body := range entries {
			if found[i].By.Repository == repo {
				r.verified[r.Size] = found[i]
			}
			if err := r.take(body, bindings.Keys(found[i].By)); err != nil {
				return false, err
			}
			seen, ok := r.shown[r.Size]
			if !ok {
				continue
			}
			if root, err := r.root(); err != nil {
				return false, err
			} else if root != hex.EncodeToString(seen.Root) {
				return false, fork(seen.Note, "its first %d entries are not those that were seen before", r.Size)
			}
			r.proven(rekor.Tree{Size: r.Size, Root: hex.EncodeToString(seen.Root)})
		}
		if s.Progress != nil {
			s.Progress(l.URL, r.Size, cp.Size)
		}
		if r.Size-saved < cmp.Or(s.every, saveEvery) || r.Size == cp.Size {
			continue
		}
		of := cp
		if r.Size < last.Size { // what was seen is not reached yet, and must not be forgotten
			of = last
		}
		if root, err := t.Prefix(r.Size, of); err != nil {
			return false, fmt.Errorf("%s: %w", l.URL, err)
		} else if have, err := r.root(); err != nil {
			return false, err
		} else if have != hex.EncodeToString(root[:]) {
			return false, fork(of.Note, "its first %d entries are not those of its checkpoint", r.Size)
		}
		next := r.at(of)
		if ok, err := s.Cursors.Save(l.ID, old, next); err != nil || !ok {
			return ok, err
		}
		old, saved = next, r.Size
	}
	if root, err := r.root(); err != nil {
		return false, err
	} else if root != hex.EncodeToString(cp.Root) {
		return false, fork(old.Checkpoint, "its %d entries do not give the root of its checkpoint", cp.Size)
	}
	next := r.at(cp)
	if reflect.DeepEqual(old, next) {
		return true, nil
	}
	return s.Cursors.Save(l.ID, old, next)
}

// mapping says what found depend on beside the log.
func (s *Scan) mapping() string {
	return fmt.Sprintf("%d %s %s", bindings.MapVersion, s.Root.Digest().Hex, s.Forges.Digest())
}
