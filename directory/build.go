// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Builder makes the next state of a directory. All of its steps can be cut off.
type Builder struct {
	Store  *Store
	Output *Output
	Forge  Forge // where repositories publish; nil looks nowhere
	// LookTimeout is how long a repository has to answer; 0 for lookTimeout.
	LookTimeout time.Duration
	Transport   http.RoundTripper
	Agent       string
	Now         func() time.Time
	// Progress, if set, is told how far a log was read; Warn what went wrong and
	// keeps nothing else from going on.
	Progress func(log string, done, total int64)
	Warn     func(format string, args ...any)
	// Counted, if set, is told how many entries of a log were read.
	Counted func(log string, entries int)
}

// target is a source of a build on its way, as it is kept.
type target struct {
	Log   string    `json:"log"`
	Shard string    `json:"shard,omitempty"`
	Base  int64     `json:"base,omitempty"`
	Note  string    `json:"note"`
	Seen  time.Time `json:"seen"`
}

// pending is a build on its way. What it reads is fixed when it begins: records
// stand in the order of builds, and one that was cut off must not become two.
type pending struct {
	At      chain.Shown `json:"at"` // of the leaf to come
	Targets []target    `json:"targets"`
	Looked  bool        `json:"looked,omitempty"` // for publications, as long as it wanted
	Taken   bool        `json:"taken,omitempty"`  // what was found is in List, and due
	List    []byte      `json:"list,omitempty"`
	Leaf    []byte      `json:"leaf,omitempty"` // to be appended to the output log
}

// Head is the newest state, ready to be published.
type Head struct {
	Checkpoint string   `json:"checkpoint"` // of the output log, whose last entry is the leaf
	Index      int64    `json:"index"`
	Leaf       []byte   `json:"leaf"`
	Inclusion  [][]byte `json:"inclusion"`
}

// Head returns the newest state; nil before the first build.
func (s *Store) Head() (*Head, error) {
	var h Head
	var ok bool
	err := s.db.View(func(tx *bolt.Tx) (err error) {
		ok, err = get(tx.Bucket(bucketMeta), keyHead, &h)
		return err
	})
	if err != nil || !ok {
		return nil, err
	}
	return &h, nil
}

// Build finishes what an earlier run began, and makes one leaf with all that the
// logs hold now. The error is a [*rekor.Fork] or a [*Stale] if a log shows
// something else than before, [*Diverged] if the output log is not that of the
// state, [ErrWitnesses] if not enough witnesses cosigned.
func (b *Builder) Build(ctx context.Context) (*Head, error) {
	p, err := b.pending()
	if err != nil {
		return nil, err
	}
	if p != nil {
		if p.Leaf == nil && !p.Looked {
			if err := b.aim(ctx, p); err != nil {
				return nil, err
			}
			if err := b.save(p); err != nil {
				return nil, err
			}
		}
		if _, err := b.finish(ctx, p); err != nil {
			return nil, err
		}
	}
	if p, err = b.begin(ctx); err != nil {
		return nil, err
	}
	return b.finish(ctx, p)
}

func (b *Builder) warn(format string, args ...any) {
	if b.Warn != nil {
		b.Warn(format, args...)
	}
}

func (b *Builder) pending() (*pending, error) {
	var p pending
	var ok bool
	err := b.Store.db.View(func(tx *bolt.Tx) (err error) {
		ok, err = get(tx.Bucket(bucketMeta), keyPending, &p)
		return err
	})
	if err != nil || !ok {
		return nil, err
	}
	return &p, nil
}

func (b *Builder) save(p *pending) error {
	return b.Store.update(func(tx *bolt.Tx) error { return put(tx.Bucket(bucketMeta), keyPending, p) })
}

func (b *Builder) client(l sigstore.Log) (*web.Client, error) {
	return web.New(l.URL, b.Transport, b.Agent)
}

// begin asks every log of every map for its newest checkpoint.
func (b *Builder) begin(ctx context.Context) (*pending, error) {
	p := &pending{}
	// What is handed in from now on may be bound beyond what the logs show.
	b.Store.asking.Add(1)
	defer b.Store.asking.Add(-1)
	if err := b.aim(ctx, p); err != nil {
		return nil, err
	}
	// What the logs showed was there by now.
	if err := b.Store.db.View(func(tx *bolt.Tx) (err error) {
		p.At, err = b.moment(tx)
		return err
	}); err != nil {
		return nil, err
	}
	return p, b.save(p)
}

// aim asks the logs of all maps for their newest checkpoints, but for those that the
// build has read to its end already: only of the others nothing is mapped yet. A log
// that showed a checkpoint which its entries do not give can so be asked again.
func (b *Builder) aim(ctx context.Context, p *pending) error {
	all, err := b.Store.Maps()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no map: name a trusted root")
	}
	asked := map[string]bool{}
	for _, m := range all {
		for _, l := range m.logs() {
			if asked[l.ID] {
				continue
			}
			asked[l.ID] = true
			if done, err := b.wasRead(all, l, p); err != nil || done {
				if err != nil {
					return err
				}
				continue
			}
			sources, err := b.ask(ctx, m, l)
			if err != nil {
				return err
			}
			p.Targets = slices.DeleteFunc(p.Targets, func(t target) bool { return t.Log == l.ID })
			for _, src := range sources {
				p.Targets = append(p.Targets, target{l.ID, src.shard, src.base, string(src.cp.Own), src.seen})
			}
		}
	}
	return nil
}

// wasRead reports whether a log, or any shard of it, was read up to its target for
// any map in a build on its way.
func (b *Builder) wasRead(all []*Map, l sigstore.Log, p *pending) (bool, error) {
	for _, t := range p.Targets {
		for _, m := range all {
			if t.Log != l.ID {
				continue
			}
			r, err := b.Store.loadReading(m.function(), source{log: l, shard: t.Shard}.name())
			if err != nil || r.Checkpoint == t.Note && r.Seen.Equal(t.Seen) {
				return true, err
			}
		}
	}
	return false, nil
}

// ask returns the sources of a log. One that takes no entries any more, and was
// read since, need not answer for ever.
func (b *Builder) ask(ctx context.Context, m *Map, l sigstore.Log) ([]source, error) {
	client, err := b.client(l)
	if err != nil {
		return nil, err
	}
	now := b.Now().UTC()
	sources, err := ask(ctx, m.root, l, client, now)
	if err == nil {
		for _, src := range sources {
			if err := b.goesOn(m, src); err != nil {
				return nil, err
			}
		}
		return sources, nil
	}
	old, loadErr := b.Store.loadReading(m.function(), l.ID)
	if loadErr != nil {
		return nil, loadErr
	}
	if l.End.IsZero() || l.Generation != 2 || !old.Seen.After(l.End) {
		return nil, err
	}
	cp, openErr := m.root.OpenCheckpoint(l.ID, []byte(old.Checkpoint))
	if openErr != nil {
		return nil, openErr
	}
	b.warn("%s: no answer (%s); it has ended, and was read since", l.URL, err)
	return []source{{log: l, cp: cp, seen: old.Seen, client: client}}, nil
}

// goesOn refuses a checkpoint that can be told at once not to go on from what was
// read; whether it does is shown by reading.
func (b *Builder) goesOn(m *Map, src source) error {
	old, err := b.Store.loadReading(m.function(), src.name())
	switch {
	case err != nil:
		return err
	case src.cp.Size < old.Size:
		return &Stale{Log: src.log.URL, Seen: old.Size, Size: src.cp.Size}
	case src.cp.Size == old.Size && old.Tree != "" && old.Tree != hex.EncodeToString(src.cp.Root):
		return src.fork(old, "two trees of %d entries", src.cp.Size)
	}
	return nil
}

// sources returns those of a map in a build, in the map's order.
func (b *Builder) sources(m *Map, p *pending) ([]source, error) {
	var out []source
	for _, l := range m.logs() {
		client, err := b.client(l)
		if err != nil {
			return nil, err
		}
		n := len(out)
		for _, t := range p.Targets {
			if t.Log != l.ID {
				continue
			}
			var src source
			if l.Generation == 2 {
				cp, err := m.root.OpenCheckpoint(l.ID, []byte(t.Note))
				if err != nil {
					return nil, err
				}
				src = source{log: l, cp: cp, seen: t.Seen, client: client}
			} else if src, err = newSourceV1(m.root, l, []byte(t.Note), client, t.Seen); err != nil {
				return nil, err
			}
			src.base = t.Base
			out = append(out, src)
		}
		if len(out) == n {
			return nil, fmt.Errorf("%s: %w", l.URL, errNoTarget)
		}
	}
	return out, nil
}

// errNoTarget is the error about a map that began while a build was on its way:
// the next one has it.
var errNoTarget = errors.New("not among the logs of the build on its way")

// finish does what is left of a build.
func (b *Builder) finish(ctx context.Context, p *pending) (*Head, error) {
	if p.Leaf == nil {
		if err := b.prepare(ctx, p); err != nil {
			return nil, err
		}
	}
	return b.append(ctx, p)
}

// prepare does all that comes before the leaf.
func (b *Builder) prepare(ctx context.Context, p *pending) error {
	all, err := b.Store.Maps()
	if err != nil {
		return err
	}
	inputs := map[string][]source{}
	for _, m := range all {
		sources, err := b.sources(m, p)
		if errors.Is(err, errNoTarget) {
			continue
		} else if err != nil {
			return err
		}
		inputs[m.ID] = sources
	}
	all = slices.DeleteFunc(all, func(m *Map) bool { return inputs[m.ID] == nil })
	if err := b.read(ctx, all, inputs, p.At); err != nil {
		return err
	}
	if !p.Looked {
		if err := b.look(ctx, all); err != nil {
			return err
		}
		p.Looked = true
		if err := b.save(p); err != nil {
			return err
		}
	}
	if !p.Taken {
		if err := b.gather(all, p.At.Leaf); err != nil {
			return err
		}
	}
	return b.leaf(p, all, inputs)
}

// read reads all logs and maps what is in them, for the leaf to come.
func (b *Builder) read(ctx context.Context, all []*Map, inputs map[string][]source, at chain.Shown) error {
	for _, m := range all {
		f := &follower{store: b.Store, function: m.function(), fn: m.fn, progress: b.Progress, counted: b.Counted}
		for _, other := range all {
			if other.function() == f.function {
				f.roots = append(f.roots, other.root)
			}
		}
		for _, src := range inputs[m.ID] {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f.follow(ctx, src); err != nil {
				return err
			}
			if err := b.Store.advance(m, src, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaf takes what was found published and commits to the state of all maps.
func (b *Builder) leaf(p *pending, all []*Map, inputs map[string][]source) error {
	if !p.Taken {
		if err := b.take(p, all); err != nil {
			return err
		}
	}
	for _, m := range all {
		if err := b.Store.settle(m); err != nil {
			return err
		}
	}
	return b.Store.update(func(tx *bolt.Tx) error {
		doc := answers.DirectoryLeaf{Time: p.At.Time, Clock: p.At.Clock}
		lines := strings.FieldsFunc(string(p.List), func(r rune) bool { return r == '\n' })
		list, _ := answers.NewPublished(lines)
		for _, m := range all {
			l, err := m.leaf(tx, inputs[m.ID], p.At.Time)
			if err != nil {
				return err
			}
			l.Disclosed = list
			doc.Maps = append(doc.Maps, l)
		}
		p.Leaf = doc.Bytes()
		if len(p.Leaf) > answers.MaxDirectoryLeafBytes {
			return fmt.Errorf("a leaf of %d bytes, at most %d are read: retire a map", len(p.Leaf),
				answers.MaxDirectoryLeafBytes)
		}
		return put(tx.Bucket(bucketMeta), keyPending, p)
	})
}

// moment returns that of the next leaf. Its time never runs backwards, whatever the
// machine's clock does.
func (b *Builder) moment(tx *bolt.Tx) (chain.Shown, error) {
	out := chain.Shown{Leaf: leaves(tx), Time: b.Now().UTC().Truncate(time.Second)}
	last := tx.Bucket(bucketLeaves).Get(number(uint64(out.Leaf - 1)))
	if last == nil {
		return out, nil
	}
	l, err := answers.ParseDirectoryLeaf(last)
	if l.Time.After(out.Time) {
		b.warn("this machine's clock is behind the last leaf, of %s", l.Time.Format(time.RFC3339))
		out.Time = l.Time
	}
	out.Clock = l.Tick(out.Time)
	return out, err
}

// take lists what was handed in.
func (b *Builder) take(p *pending, all []*Map) error {
	return b.Store.update(func(tx *bolt.Tx) error {
		lines, signers, err := handedIn(tx)
		if err != nil {
			return err
		}
		if err := enlist(tx, all, lines, p.At, func(r *bindings.SignatureRecord) policy.Identity {
			line, _ := r.Line() // it was read from one
			return signers[line]
		}); err != nil {
			return err
		}
		for _, line := range lines {
			if err := tx.Bucket(bucketFound).Delete([]byte(line)); err != nil {
				return err
			}
		}
		p.Taken = true
		_, p.List = answers.NewPublished(lines)
		return put(tx.Bucket(bucketMeta), keyPending, p)
	})
}

// leaf returns the state of the map.
func (m *Map) leaf(tx *bolt.Tx, inputs []source, at time.Time) (answers.MapLeaf, error) {
	t := m.tree(tx)
	root, err := t.root()
	out := answers.MapLeaf{
		Function: m.Function, Root: m.root.Digest().Hex, Forges: m.forges.Digest(), Labels: t.labels(), Hash: root,
	}
	for _, src := range inputs {
		in := answers.Input{Log: src.log.ID, Checkpoint: string(src.cp.Own)}
		newest, err := m.newest(tx, src)
		if err != nil {
			return out, err
		}
		if newest.After(at) { // the clock of who certifies is a bit fast
			newest = at.Truncate(time.Minute)
		}
		if !newest.IsZero() {
			in.Newest = newest.UTC().Format(time.RFC3339)
		}
		out.Inputs = append(out.Inputs, in)
	}
	slices.SortFunc(out.Inputs, func(a, b answers.Input) int {
		return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.Checkpoint, b.Checkpoint))
	})
	return out, err
}

// newest returns the latest minute that dates what was read of a log; zero for none.
func (m *Map) newest(tx *bolt.Tx, src source) (time.Time, error) {
	b, err := readingBucket(tx, m.function(), src.name())
	if err != nil || b == nil {
		return time.Time{}, err
	}
	var r reading
	_, err = get(b, keyReading, &r)
	return r.Newest[m.root.Digest().Hex], err
}

// sizes returns how large the logs were at a leaf, all of its maps together; none
// before the first one.
func sizes(tx *bolt.Tx, index int64) (map[string]int64, error) {
	if index < 0 {
		return nil, nil
	}
	return LeafSizes(tx.Bucket(bucketLeaves).Get(number(uint64(index))))
}

// LeafSizes returns how large each log was at a leaf, by all of its maps.
func LeafSizes(leaf []byte) (map[string]int64, error) {
	l, err := answers.ParseDirectoryLeaf(leaf)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, m := range l.Maps {
		ofMap := map[string]int64{}
		for _, in := range m.Inputs {
			size, err := checkpointSize(in.Checkpoint)
			if err != nil {
				return nil, err
			}
			ofMap[in.Log] += size // of all shards
		}
		for log, size := range ofMap {
			out[log] = max(out[log], size)
		}
	}
	return out, nil
}

// append puts the leaf into the output log and notes where.
func (b *Builder) append(ctx context.Context, p *pending) (*Head, error) {
	var index int64
	if err := b.Store.db.View(func(tx *bolt.Tx) error { index = leaves(tx); return nil }); err != nil {
		return nil, err
	}
	head, err := b.Output.Append(ctx, index, p.Leaf)
	if err != nil {
		return nil, err
	}
	return head, b.Store.update(func(tx *bolt.Tx) error {
		if err := tx.Bucket(bucketLeaves).Put(number(uint64(index)), p.Leaf); err != nil {
			return err
		}
		if err := tx.Bucket(bucketLists).Put(number(uint64(index)), p.List); err != nil {
			return err
		}
		if err := put(tx.Bucket(bucketMeta), keyHead, head); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Delete(keyPending)
	})
}
