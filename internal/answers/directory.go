// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const (
	// directoryTimeout is how long all questions to a directory may take together.
	directoryTimeout = 3 * time.Minute
	// maxHeldPages is of how many pages an answer is held: it can be stapled and carried, and
	// be evidence. Of a larger one a page is read, verified and let go.
	maxHeldPages = 64
	// pagesAtOnce is how many pages are asked for at once.
	pagesAtOnce = 8
	// stapleAge is how old a staple may be where the directory itself could be asked.
	stapleAge = 24 * time.Hour
	// firstSplit is of how many digits the prefix is under which a directory is
	// first asked for the proof that it has nothing, and of which there are no fewer.
	firstSplit = 2
	// maxBehind is how much older than the newest state that was seen an answer may
	// be: files of two builds are side by side for as long as a build is published, or
	// a cache keeps them.
	maxBehind = 24 * time.Hour
)

// formatBirth is before the first policy of this format was bound.
var formatBirth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Directory looks a repository up in a directory (SPEC 16): which bindings exist, as
// a proof. What it answers is verified with the directory's key and the logs'; that
// its map is what the logs hold is its word, of which it can be convicted.
type Directory struct {
	Root       *sigstore.Root
	Forges     *bindings.Forges
	Descriptor *Descriptor
	// Client asks the directory; nil asks nobody.
	Client *web.Client
	// Staple is an answer that is at hand. It is used if it is not older than
	// StapleAge, 0 for any age, and else the directory is asked. Where somebody can be
	// asked, it is never used for longer than a day.
	Staple    []byte
	StapleAge time.Duration
	// Pages are pages of the staple that are at hand, by [PageName].
	Pages map[string][]byte
	// Heads remembers the newest tree of the output log; nil remembers nothing.
	Heads rekor.Heads
	Now   func() time.Time

	answer  []byte            // that was verified last
	pages   map[string][]byte // that it needed
	timeout time.Duration     // 0 for directoryTimeout
	rests   *bindings.Found   // on which the last answer rests, if it was the staple
	held    int               // 0 for maxHeldPages
	taken   int64             // of the memory of a run, by the last answer
	from    *budget.Budget    // of that run
	earlier *rekor.Head       // that was kept when this run began; nil if it was not asked for
}

// Answer returns the answer that was verified last, which can be stapled; nil without
// one.
func (d *Directory) Answer() []byte { return d.answer }

// AnswerPages returns the pages that [Directory.Answer] needs, by [PageName].
func (d *Directory) AnswerPages() map[string][]byte { return d.pages }

// PageName names a page: the hex SHA-256 of its key, the number of the block and, unless it is
// full, the number of its records. It is part of its address, too.
func PageName(key string, block, records int) string {
	hash := prefixmap.KeyHash(key)
	if records < prefixmap.BlockSize {
		return fmt.Sprintf("%x/%d.p/%d", hash[:], block, records)
	}
	return fmt.Sprintf("%x/%d", hash[:], block)
}

// Stapled returns what the staple proved, if that was what was taken; nil else. Of evidence
// that is beyond it nothing is known.
func (d *Directory) Stapled() *bindings.Found { return d.rests }

// Name returns the directory's URL.
func (d *Directory) Name() string { return "directory " + d.Descriptor.URL }

// Best says that a directory proves what it answers.
func (d *Directory) Best() chain.Completeness { return chain.CompleteProven }

// Find returns what the directory proves. The error is a [*Lie] or a [*Fork] if the
// directory, or a log, contradicts itself or what is at hand.
func (d *Directory) Find(ctx context.Context, q bindings.Query) (bindings.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.timeout, directoryTimeout))
	defer cancel()
	p := &proving{
		root: d.Root, forges: d.Forges, descriptor: d.Descriptor, generations: q.Generations, repo: q.Repository,
	}
	p.take, p.held = d.takes(budget.Of(ctx)), cmp.Or(d.held, maxHeldPages)
	p.page = func(key string, block, records int) ([]byte, error) { return d.page(ctx, p, key, block, records) }
	if d.Staple != nil {
		found, err := d.stapled(ctx, p, q)
		var fork *rekor.Fork
		var lie *bindings.Lie
		if err == nil {
			d.rests = &found
		}
		if err == nil || d.Client == nil || errors.As(err, &fork) || errors.As(err, &lie) {
			return found, err
		}
	}
	d.rests = nil
	if d.Client == nil {
		return bindings.Found{}, errors.New("it is not asked")
	}
	raw, a, err := d.ask(ctx, p)
	if err != nil {
		return bindings.Found{}, err
	}
	return d.judge(ctx, p, raw, a, q, true)
}

// stapled returns what the staple proves, if that will do.
func (d *Directory) stapled(ctx context.Context, p *proving, q bindings.Query) (bindings.Found, error) {
	a, err := ParseAnswer(d.Staple)
	if err != nil {
		return bindings.Found{}, fmt.Errorf("staple: %w", err)
	}
	found, err := d.judge(ctx, p, d.Staple, a, q, false)
	switch {
	case err != nil:
		return bindings.Found{}, fmt.Errorf("staple: %w", err)
	case d.StapleAge > 0 && d.Now().Sub(found.AsOf) > d.StapleAge,
		d.Client != nil && d.Now().Sub(found.AsOf) > stapleAge:
		return bindings.Found{}, fmt.Errorf("staple: it is as of %s", found.AsOf.Format(time.RFC3339))
	case d.Client != nil && d.Descriptor.Witnesses != "" && found.Completeness == chain.CompleteSigned:
		return bindings.Found{}, errors.New("staple: no quorum of witnesses cosigned it")
	}
	return found, nil
}

// ask returns the directory's answer: the one about the repository or, if there is
// none, that there is nothing.
func (d *Directory) ask(ctx context.Context, p *proving) ([]byte, *Answer, error) {
	key := prefixmap.KeyHash(p.key())
	digits := hex.EncodeToString(key[:])
	get := func(path string) ([]byte, *Answer, error) {
		raw, err := d.Client.Get(ctx, p.mapID()+path+bindings.AnswerExtension, MaxAnswerBytes)
		if err != nil {
			return nil, nil, err
		}
		a, err := ParseAnswer(raw)
		return raw, a, err
	}
	raw, a, err := get("/lookup/" + digits[:2] + "/" + digits)
	var status *web.StatusError
	if !errors.As(err, &status) || !status.Missing() {
		return raw, a, err
	}
	for n := firstSplit; ; n = a.Split {
		if raw, a, err = get("/absent/" + digits[:n]); err != nil || a.Split == 0 {
			return raw, a, err
		}
		if a.Split <= n {
			return nil, nil, fmt.Errorf("it says that longer prefixes than %d digits have %d", n, a.Split)
		}
	}
}

// page returns a block of records: one that is at hand, or else the directory's.
func (d *Directory) page(ctx context.Context, p *proving, key string, block, records int) ([]byte, error) {
	name := PageName(key, block, records)
	if data, carried := d.Pages[name]; carried {
		return data, nil
	}
	if d.Client == nil {
		return nil, errors.New("the oldest records are in pages, which are not asked for")
	}
	return d.Client.Get(
		ctx, fmt.Sprintf("%s/page/%.2s/%s%s", p.mapID(), name, name, bindings.AnswerExtension), MaxAnswerBytes,
	)
}

// takes counts the memory of an answer, which takes the place of the one before.
func (d *Directory) takes(b *budget.Budget) func(bytes int64) error {
	d.from.Give(d.taken)
	d.taken, d.from = 0, b
	return func(n int64) error {
		if err := b.Take(n); err != nil {
			return err
		}
		d.taken += n
		return nil
	}
}

// hold remembers what was verified, so that it can be stapled; not what is too large.
func (d *Directory) hold(a *Answer, c *claim) {
	d.answer, d.pages = nil, map[string][]byte{}
	if c.large {
		return
	}
	d.answer = c.raw
	i := 0
	for _, k := range a.Keys {
		for block := range k.Blocks {
			d.pages[PageName(k.Key, block, k.PageRecords(block))] = c.pages[i]
			i++
		}
	}
}

// judge verifies an answer: what the directory's key covers, every record, what it
// has to agree with, and last that the output log goes on from what was kept. Only an
// answer that was asked for may be of an older state than that.
func (d *Directory) judge(
	ctx context.Context, p *proving, raw []byte, a *Answer, q bindings.Query, asked bool,
) (bindings.Found, error) {
	c, err := p.open(raw, a)
	if err != nil {
		return bindings.Found{}, err
	}
	now := d.Now()
	floor := rekor.Floor{Time: c.leaf.Time, Why: "the " + d.Name()}
	if floor.Time.After(now.Add(rekor.Leeway)) {
		return bindings.Found{}, &rekor.Behind{Floor: floor, Now: now}
	}
	proven, err := p.records(c)
	if err != nil {
		return bindings.Found{}, err
	}
	if err := proven.whole(c, q.Repository); err != nil {
		return bindings.Found{}, err
	}
	if asked {
		if err := d.more(ctx, p, c, proven, q.Asked()); err != nil {
			return bindings.Found{}, err
		}
	}
	if err := d.nothingBeside(ctx, p, c, q.BesideKeys()); err != nil {
		return bindings.Found{}, err
	}
	for _, h := range q.Held {
		if p.omits(c, h) {
			return bindings.Found{}, p.lie(c, h.Bundle, omission(c, h))
		}
	}
	for log, trees := range c.trees {
		for _, now := range trees {
			for _, seen := range q.Trees[log] {
				if err := agree(log, seen, now, "a bundle shows another tree of %d entries"); err != nil {
					return bindings.Found{}, err
				}
			}
		}
	}
	found := bindings.Found{
		Completeness: chain.CompleteSigned, AsOf: c.leaf.Time, Directory: proven.directory(c), Floor: floor,
	}
	for _, l := range p.logs() {
		for _, cp := range c.trees[l.ID] {
			found.Trees = append(found.Trees, rekor.Seen{Log: l.ID, Generation: l.Generation, Checkpoint: cp})
		}
	}
	w, err := d.Descriptor.witnesses()
	if err != nil {
		return bindings.Found{}, err
	}
	if w != nil {
		if seen, err := w.Seen(c.checkpoint.Note, now); err == nil {
			found.Completeness = chain.CompleteProven
			if seen.Before(found.AsOf) {
				found.AsOf = seen
			}
			if seen.After(floor.Time) {
				found.Floor = rekor.Floor{Time: seen, Why: "a quorum of witnesses of the " + d.Name()}
			}
		}
	}
	if now.Before(found.AsOf) {
		found.AsOf = now
	}
	kept, err := d.continues(ctx, c, func(behind time.Duration) error {
		if !asked {
			return errors.New("nobody was asked for it")
		}
		return c.mayLag(behind, q.Held)
	})
	if err != nil {
		return bindings.Found{}, err
	}
	if kept {
		found.Completeness = chain.CompleteProven
	}
	var dated bool
	if found.Inputs, dated = p.oldest(c); !dated && found.Completeness == chain.CompleteProven {
		found.Completeness = chain.CompleteSigned // it may have been shown an old state of a log
	}
	// Where no certificate proves a repository, the maintainers' own entries bind: they
	// are in no map.
	if p.before() || p.forges.MaintainersBind(p.repo) {
		found.Completeness = chain.CompleteNone
	}
	d.hold(a, c)
	if c.leftOut != "" { // what is shown is not all, and decides nothing
		found.Completeness, found.Directory, d.answer = chain.CompleteNone, nil, nil
	} else if asked {
		found.Files = d.missing(ctx, proven, q)
	}
	for b, v := range proven.bindings {
		here := func(e policy.Entry) bool { return e.Log == b.log && e.Index == b.index }
		if !slices.ContainsFunc(q.Known[v.Leaf.LeafHash], here) {
			found.Leaves = append(found.Leaves, bindings.NewLeaf(v.Leaf, v.By))
		}
	}
	return found, nil
}

// Limits of what is fetched of a directory beside its answer.
const (
	maxListedFiles = 256
	maxListedBytes = 256 << 10 // of one file
	maxListedTotal = 8 << 20
	listedTimeout  = 30 * time.Second
)

// missing fetches the signatures that the directory lists and that are not at hand: without
// them their statement counts for nothing, and whoever serves the others can leave them out.
// What cannot be had is missed by the chain.
func (d *Directory) missing(ctx context.Context, p *proven, q bindings.Query) []bindings.File {
	have := map[at]bool{}
	for _, entries := range q.Known {
		for _, e := range entries {
			have[at{e.Log, e.Index}] = true
		}
	}
	var todo []at
	for x := range p.signatures {
		if !have[x] {
			todo = append(todo, x)
		}
	}
	arrange.By(todo, func(a, b at) int { return cmp.Or(cmp.Compare(a.log, b.log), cmp.Compare(a.index, b.index)) })
	within, cancel := context.WithTimeout(ctx, listedTimeout)
	defer cancel()
	var out []bindings.File
	total := 0
	for _, x := range todo[:min(len(todo), maxListedFiles)] {
		if total >= maxListedTotal || within.Err() != nil {
			break
		}
		data, err := d.Client.Get(within, fmt.Sprintf("signature/%s/%d", x.log, x.index), maxListedBytes)
		if err != nil {
			continue
		}
		total += len(data)
		out = append(out, bindings.File{Name: fmt.Sprintf("signature %d of the directory", x.index), Data: data})
	}
	return out
}

// more asks for further names of the repository: what the directory says of all of them has
// to be one state.
func (d *Directory) more(ctx context.Context, p *proving, c *claim, known *proven, names []policy.Locator) error {
	for _, name := range names {
		if name == p.repo || slices.ContainsFunc(c.keys, func(k KeyAnswer) bool { return k.Key == name.String() }) {
			continue
		}
		q := *p
		q.repo = name
		raw, a, err := d.ask(ctx, &q)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		other, err := q.open(raw, a)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if other.index != c.index || other.checkpoint.Root != c.checkpoint.Root {
			return fmt.Errorf("%s: another state than of %s: it was built meanwhile, ask again", name, p.repo)
		}
		found, err := q.records(other)
		if err != nil {
			return err
		}
		if err := found.whole(other, name); err != nil {
			return err
		}
		c.leftOut = cmp.Or(c.leftOut, other.leftOut)
		known.join(c, found, other)
	}
	return nil
}

// nothingBeside demands the proof that a map has nothing under these keys, which no answer about
// a name would show; what the answer has under them is shown.
func (d *Directory) nothingBeside(ctx context.Context, p *proving, c *claim, keys []string) error {
	for _, key := range keys {
		if slices.ContainsFunc(c.keys, func(k KeyAnswer) bool { return k.Key == key }) {
			continue
		}
		if d.Client == nil {
			return fmt.Errorf("nobody is asked about %s", key)
		}
		q := *p
		q.beside = key
		raw, a, err := d.ask(ctx, &q)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		other, err := q.open(raw, a)
		switch {
		case err != nil:
			return fmt.Errorf("%s: whether something is bound under another name: %w", key, err)
		case a.Absent == nil:
			return fmt.Errorf("%s: something is bound under another name", key)
		case other.index != c.index || other.checkpoint.Root != c.checkpoint.Root:
			return fmt.Errorf("%s: another state than of %s: it was built meanwhile, ask again", key, p.repo)
		}
	}
	return nil
}

// before reports whether Rekor v1 may hold bindings that decide and that the
// directory does not read: entries from before the first log of Rekor v2, unless
// that is as old as the format.
func (p *proving) before() bool {
	var first time.Time
	logs := p.logs()
	for _, l := range logs {
		if l.Generation != 2 {
			return false // it is read
		}
		if first.IsZero() || l.Start.Before(first) {
			first = l.Start
		}
	}
	return first.After(formatBirth) && slices.ContainsFunc(p.root.Logs(), func(l sigstore.Log) bool {
		return l.Start.Before(first) &&
			!slices.ContainsFunc(logs, func(read sigstore.Log) bool { return read.ID == l.ID })
	})
}

// continues demands that the output log goes on from the tree that was kept, and
// keeps the new one. It reports whether one was kept before this run, and both were
// shown to be of one history. Where nobody is asked, that may stay open.
//
// An older tree is the beginning of the kept one, which then stays, and may itself be so
// far behind.
func (d *Directory) continues(ctx context.Context, c *claim, may func(behind time.Duration) error) (bool, error) {
	if d.Heads == nil {
		return false, nil
	}
	about := "directory " + d.Descriptor.Key
	now := rekor.Tree{Size: c.checkpoint.Size, Root: hex.EncodeToString(c.checkpoint.Root[:])}
	for {
		old, err := d.Heads.LoadHead(about)
		if err != nil {
			return false, err
		}
		if d.earlier == nil {
			d.earlier = &old
		}
		kept := d.earlier.Checkpoint != nil
		switch {
		case old.Checkpoint == nil && old.Tree != rekor.Tree{}:
			return false, errors.New("kept head: a tree without its checkpoint")
		case old.Checkpoint == nil:
		case now == old.Tree:
			return kept, nil
		case now.Size == old.Tree.Size:
			return false, &rekor.Fork{
				Log: d.Descriptor.URL, Seen: old.Checkpoint, New: c.checkpoint.Note,
				Why: fmt.Sprintf("two output logs of %d entries", now.Size),
			}
		case (now.Size < old.Tree.Size) != c.leaf.Time.Before(old.Time) && !c.leaf.Time.Equal(old.Time):
			return false, fmt.Errorf(
				"its clock runs backwards: %s at %d entries, %s at %d", old.Time.Format(time.RFC3339), old.Tree.Size,
				c.leaf.Time.Format(time.RFC3339), now.Size,
			)
		case now.Size < old.Tree.Size:
			err := may(old.Time.Sub(c.leaf.Time))
			if err == nil {
				err = d.begins(ctx, now, old.Tree, old, c)
			}
			if err != nil && !errors.Is(err, rekor.ErrLogFork) {
				err = fmt.Errorf(
					"stale: an output log of %d entries, but %d were seen before: %w", now.Size, old.Tree.Size, err,
				)
			}
			return kept && err == nil, err
		case d.Client == nil:
			return false, nil // only the directory can show it
		default:
			if err := d.begins(ctx, old.Tree, now, old, c); err != nil {
				return false, err
			}
		}
		ok, err := d.Heads.SaveHead(about, old, rekor.Head{Tree: now, Checkpoint: c.checkpoint.Note, Time: c.leaf.Time})
		if err != nil || ok {
			return kept, err
		}
		// Another process was here, and may have been shown something else.
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// mayLag returns why a claim does not count although it is of one history with a state
// that was seen and is so much newer: it has to be of nearly the same time, and to have
// read all bindings that are at hand. nil if it counts.
func (c *claim) mayLag(behind time.Duration, held []bindings.Held) error {
	if behind > maxBehind {
		return fmt.Errorf("it is %s older", behind)
	}
	for _, h := range held {
		e := h.Leaf.Facts().Entry
		if size, read := c.sizes[e.Log]; read && e.Index >= size {
			return fmt.Errorf("it has not read the binding at %d of the log %s, which is at hand", e.Index, e.Log)
		}
	}
	return nil
}

// begins demands that one tree is the beginning of another. One of them was kept, the
// other is that of the claim.
func (d *Directory) begins(ctx context.Context, small, large rekor.Tree, old rekor.Head, c *claim) error {
	var roots [2][]byte
	for i, t := range []rekor.Tree{small, large} {
		var err error
		if roots[i], err = hex.DecodeString(t.Root); err != nil || len(roots[i]) != sha256.Size {
			return fmt.Errorf("kept head: %q is no root", clip.Text(t.Root))
		}
	}
	root, err := rekor.NewOutputTiles(ctx, d.Client).
		Prefix(small.Size, sigstore.Checkpoint{Size: large.Size, Root: roots[1]})
	if err != nil {
		return fmt.Errorf(
			"no proof that the output log of %d entries goes on from that of %d: %w", large.Size, small.Size, err,
		)
	}
	if !bytes.Equal(root[:], roots[0]) {
		return &rekor.Fork{
			Log:  d.Descriptor.URL,
			Seen: old.Checkpoint,
			New:  c.checkpoint.Note,
			Why: fmt.Sprintf(
				"the first %d entries of its output log of %d are not those that it signed", small.Size, large.Size,
			),
		}
	}
	return nil
}
