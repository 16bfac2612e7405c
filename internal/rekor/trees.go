// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// maxEarlier is how many older trees of a log are remembered, so that none is asked about
// twice.
const maxEarlier = 1024

// Trees holds the checkpoints that a run has at hand under one trusted root, and demands of
// those of a log that they are of one history: one log is one tree (SPEC 9.1). It may be used
// by several goroutines.
type Trees struct {
	Root *sigstore.Root
	// Clients asks the logs, by log. One that has none is not asked.
	Clients map[string]*web.Client
	// Heads remembers the newest tree of each log; nil remembers nothing.
	Heads Heads
	// Witnesses, if set, must have cosigned every checkpoint of Rekor v2, or one that it
	// begins.
	Witnesses *WitnessPolicy
	Now       func() time.Time

	proofs []treeProof // at hand, before anything was compared
	mu     sync.Mutex
	shards map[shardOf]*shard
	fork   *Fork
}

// shardOf is what has one tree: a log of Rekor v2, or a shard of one of Rekor v1.
type shardOf struct{ log, origin string }

func cmpShards(a, b shardOf) int {
	return cmp.Or(cmp.Compare(a.log, b.log), cmp.Compare(a.origin, b.origin))
}

// Seen is a checkpoint that a verified entry, an answer or a reading shows.
type Seen struct {
	Log        string // id
	Generation int    // of the log
	sigstore.Checkpoint
}

// Unproven is the error that nothing shows two trees of a log to be of one history.
type Unproven struct {
	Log          string
	Small, Large int64 // entries
	// Unasked says that the log was not asked, or is gone: it may be as honest as any.
	Unasked bool
	Err     error
}

// Error says what is not proven, and why.
func (u *Unproven) Error() string {
	return fmt.Sprintf(
		"%s: nothing shows that its tree of %d entries goes on from that of %d: %s", u.Log, u.Large, u.Small, u.Err,
	)
}

// Unwrap returns why.
func (u *Unproven) Unwrap() error { return u.Err }

// shard is what is known of one tree as it grows.
type shard struct {
	shardOf
	generation int

	mu     sync.Mutex
	loaded bool
	kept   Head
	chain  []treeSeen // of one history, the smallest first
	loose  []treeSeen // of no history that is known
	newest *sigstore.Checkpoint
	proofs int   // that were asked for
	tiles  Tiles // of the tree that is proven against last
	of     Tree
}

// treeSeen is a checkpoint at hand.
type treeSeen struct {
	sigstore.Checkpoint
	witnessed bool  // or the beginning of one that is
	err       error // why it is of no history that is known
}

// Fork returns the evidence that a log forked, once there is some; nil without.
func (t *Trees) Fork() *Fork {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fork
}

// Same demands that a checkpoint is of one history with all that were shown before, in this
// run or an earlier one. The error is a [*Fork], an [*Unproven], or about the machine's own
// state. The nil Trees demands nothing.
func (t *Trees) Same(ctx context.Context, seen Seen) error {
	if t == nil || seen.Size == 0 { // nothing lies in an empty tree
		return nil
	}
	s := t.shard(seen)
	s.mu.Lock()
	defer s.mu.Unlock()
	err := t.same(ctx, s, seen.Checkpoint)
	var fork *Fork
	if errors.As(err, &fork) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fork = cmp.Or(t.fork, fork)
	}
	return err
}

func (t *Trees) shard(seen Seen) *shard {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := shardOf{seen.Log, seen.Origin}
	if t.shards == nil {
		t.shards = map[shardOf]*shard{}
	}
	s := t.shards[of]
	if s == nil {
		s = &shard{shardOf: of, generation: seen.Generation}
		t.shards[of] = s
	}
	return s
}

// about is the name under which the newest tree is kept.
func (s *shard) about() string { return s.log + " " + s.origin }

func (t *Trees) same(ctx context.Context, s *shard, cp sigstore.Checkpoint) error {
	for {
		if err := t.load(ctx, s); err != nil {
			return err
		}
		known, err := t.compare(s, cp)
		if known || err != nil {
			return err
		}
		x := treeSeen{Checkpoint: cp}
		if err := t.join(ctx, s, &x); err != nil {
			x.err = err
			s.loose = append(s.loose, x)
			return err
		}
		if ok, err := t.keep(s, x); err != nil || ok {
			return err
		}
		// Another process was here, and the log may have shown it something else.
		if err := ctx.Err(); err != nil {
			return err
		}
		s.loaded = false
	}
}

// name says which log it is about.
func (t *Trees) name(s *shard) string {
	if c := t.Clients[s.log]; c != nil {
		return c.URL()
	}
	for _, l := range t.Root.Logs() {
		if l.ID == s.log {
			return l.URL
		}
	}
	return s.log
}

// load takes over what an earlier run kept, or another process meanwhile.
func (t *Trees) load(ctx context.Context, s *shard) error {
	if s.loaded || t.Heads == nil {
		return nil
	}
	kept, err := t.Heads.LoadHead(s.about())
	if err != nil {
		return err
	}
	if kept.Checkpoint == nil && (kept.Tree != Tree{} || len(kept.Earlier) > 0) {
		return errors.New("kept head: a tree without its checkpoint")
	}
	if kept.Checkpoint != nil {
		root, err := hex.DecodeString(kept.Tree.Root)
		if err != nil {
			return fmt.Errorf("kept head: %w", err)
		}
		x := treeSeen{
			Checkpoint: sigstore.Checkpoint{Origin: s.origin, Size: kept.Tree.Size, Root: root, Note: kept.Checkpoint},
		}
		x.witnessed = t.cosigned(s, x.Checkpoint)
		known, err := t.compare(s, x.Checkpoint)
		switch {
		case err != nil:
			return err
		case known:
		case len(s.chain) == 0 || t.demands(s):
			s.insert(x)
		default:
			if err := t.join(ctx, s, &x); err != nil {
				return err
			}
		}
	}
	s.loaded, s.kept = true, kept
	return nil
}

// demands reports whether witnesses have to cosign what the log shows.
func (t *Trees) demands(s *shard) bool { return t.Witnesses != nil && s.generation == 2 }

// cosigned reports whether a quorum of the witnesses that are demanded has seen a checkpoint.
func (t *Trees) cosigned(s *shard, cp sigstore.Checkpoint) bool {
	if !t.demands(s) {
		return false
	}
	_, err := t.Witnesses.Seen(cp.Note, t.Now())
	return err == nil
}

// compare reports whether a tree is among those that are known already, in this run or an
// earlier one.
func (t *Trees) compare(s *shard, cp sigstore.Checkpoint) (known bool, err error) {
	for _, trees := range [][]treeSeen{s.chain, s.loose} { // not joined, since a long chain asks for each of its trees
		i := slices.IndexFunc(trees, func(x treeSeen) bool { return x.Size == cp.Size })
		if i < 0 {
			continue
		}
		old := &trees[i]
		if !bytes.Equal(old.Root, cp.Root) {
			return false, &Fork{
				Log: t.name(s), Seen: old.Note, New: cp.Note, Why: fmt.Sprintf("two trees of %d entries", cp.Size),
			}
		}
		return old.err != nil || old.witnessed || !t.demands(s), old.err
	}
	if t.demands(s) || !slices.Contains(s.kept.Earlier, treeOfCheckpoint(cp)) {
		return false, nil
	}
	s.insert(treeSeen{Checkpoint: cp}) // an earlier run was shown that the newest one goes on from it
	return true, nil
}

func treeOfCheckpoint(cp sigstore.Checkpoint) Tree { return Tree{cp.Size, hex.EncodeToString(cp.Root)} }

// join demands a proof that a tree is of one history with those of the chain, of which its
// neighbour is enough. Where witnesses are demanded their word stands for it.
func (t *Trees) join(ctx context.Context, s *shard, x *treeSeen) error {
	if t.demands(s) {
		return t.witnessed(ctx, s, x)
	}
	if len(s.chain) > 0 && !t.carried(s, x.Checkpoint) {
		if err := t.hub(ctx, s); err != nil {
			return err
		}
		n := s.after(x.Size)
		if n == len(s.chain) {
			n--
		} else if s.newest != nil {
			n = len(s.chain) - 1 // of which most tiles are at hand
		}
		if err := t.prove(ctx, s, x.Checkpoint, s.chain[n].Checkpoint); err != nil {
			return err
		}
	}
	s.insert(*x)
	return nil
}

// carried reports whether a proof that is at hand does: that a tree begins a larger one of the
// chain, or goes on from the largest. Two that go on from one tree may be of two histories.
func (t *Trees) carried(s *shard, cp sigstore.Checkpoint) bool {
	n := min(s.after(cp.Size), len(s.chain)-1)
	return slices.ContainsFunc(s.chain[n:], func(y treeSeen) bool { return t.carries(s, cp, y.Checkpoint) })
}

// hub takes the newest tree of a log of Rekor v2 into the chain, once more than one proof is
// wanted: against that the proofs of many trees need few tiles. Without it each is proven
// against its neighbour; that it contradicts the chain is a [*Fork].
func (t *Trees) hub(ctx context.Context, s *shard) error {
	if s.proofs++; s.proofs != 2 || s.generation != 2 || t.Clients[s.log] == nil {
		return nil
	}
	cp, err := t.fetch(ctx, s)
	last := s.chain[len(s.chain)-1]
	if err != nil {
		return nil
	}
	var fork *Fork
	if _, err := t.compare(s, cp); errors.As(err, &fork) {
		return fork
	}
	if cp.Size <= last.Size {
		return nil
	}
	if err := t.prove(ctx, s, cp, last.Checkpoint); errors.As(err, &fork) {
		return fork
	} else if err != nil {
		s.newest = nil
		return nil
	}
	x := treeSeen{Checkpoint: cp}
	s.insert(x)
	if ok, err := t.keep(s, x); err != nil || !ok {
		s.loaded = false // what was kept is looked at again
	}
	return nil
}

// witnessed demands that a quorum of witnesses has cosigned a tree, or one that it begins.
func (t *Trees) witnessed(ctx context.Context, s *shard, x *treeSeen) error {
	x.witnessed = t.cosigned(s, x.Checkpoint)
	if x.witnessed {
		s.insert(*x)
		return nil
	}
	for _, larger := range s.chain[s.after(x.Size):] {
		if !larger.witnessed {
			continue
		}
		var err error
		if !t.carries(s, x.Checkpoint, larger.Checkpoint) {
			err = t.prove(ctx, s, x.Checkpoint, larger.Checkpoint)
		}
		if err == nil {
			x.witnessed = true
			s.insert(*x)
		}
		return demanded(err)
	}
	newest, err := t.fetch(ctx, s)
	if err == nil && !t.cosigned(s, newest) {
		err = errors.New("its newest checkpoint has no quorum of witnesses either")
	}
	if err != nil {
		return &Unproven{
			Log: t.name(s), Small: x.Size, Large: x.Size,
			Err: fmt.Errorf("no quorum of witnesses cosigned it: %w", err),
		}
	}
	if _, err := t.compare(s, newest); err != nil {
		return err
	}
	if err := t.prove(ctx, s, x.Checkpoint, newest); err != nil {
		return demanded(err)
	}
	x.witnessed = true
	s.insert(*x)
	s.insert(treeSeen{Checkpoint: newest, witnessed: true})
	return nil
}

// demanded makes what is not proven an obstacle whether or not the log was asked.
func demanded(err error) error {
	var u *Unproven
	if errors.As(err, &u) {
		u.Unasked = false
	}
	return err
}

// after returns the place in the chain of the first tree that is larger.
func (s *shard) after(size int64) int {
	n, _ := slices.BinarySearchFunc(
		s.chain, size+1, func(x treeSeen, size int64) int { return cmp.Compare(x.Size, size) },
	)
	return n
}

func (s *shard) insert(x treeSeen) {
	n := s.after(x.Size)
	if n > 0 && s.chain[n-1].Size == x.Size {
		s.chain[n-1].witnessed = s.chain[n-1].witnessed || x.witnessed
		return
	}
	s.chain = slices.Insert(s.chain, n, x)
}

// keep remembers a tree that was joined to the chain, and reports whether nobody else
// remembered another in between.
func (t *Trees) keep(s *shard, x treeSeen) (bool, error) {
	if t.Heads == nil {
		return true, nil
	}
	next, now := s.kept, treeOfCheckpoint(x.Checkpoint)
	switch {
	case next.Checkpoint == nil:
		next = Head{Tree: now, Checkpoint: x.Note}
	case now == next.Tree || t.demands(s):
		return true, nil // the witnesses' word is no proof that one goes on from the other
	case now.Size > next.Tree.Size:
		next.Earlier = append(slices.Clone(next.Earlier), next.Tree)
		next.Tree, next.Checkpoint = now, x.Note
	default:
		next.Earlier = append(slices.Clone(next.Earlier), now)
	}
	if n := len(next.Earlier); n > maxEarlier {
		next.Earlier = next.Earlier[n-maxEarlier:]
	}
	ok, err := t.Heads.SaveHead(s.about(), s.kept, next)
	if ok {
		s.kept = next
	}
	return ok, err
}

// Tree is a tree that a log signed.
type Tree struct {
	Size int64  `json:"size"`
	Root string `json:"root"` // hex SHA-256
}
