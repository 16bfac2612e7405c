// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/sync/errgroup"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// claim is what the directory's key vouches for in an answer: which records its
// map holds for the keys that were asked for. Whether they are what the logs hold
// is another question.
type claim struct {
	raw        []byte
	pages      [][]byte // nil if there are too many to be kept
	checkpoint OutputCheckpoint
	leaf       DirectoryLeaf
	index      int64                            // of the leaf
	sizes      map[string]int64                 // entries that were read, by log
	trees      map[string][]sigstore.Checkpoint // under which they stand in it
	dated      map[string]time.Time             // the latest minute that dates each log; none if nothing does
	keys       []KeyAnswer                      // with all records; none if the map holds none
	// verified are bindings of which the records hold the place alone: an answer of many pages
	// is not held in memory.
	verified map[at]bindings.Verified
	values   []prefixmap.Hash // of the first key
	large    bool             // its pages are not kept
	leftOut  string           // why not all of it is shown; ""  if it is
}

// proving verifies answers.
type proving struct {
	root        *sigstore.Root
	forges      *bindings.Forges
	descriptor  *Descriptor
	repo        policy.Locator
	beside      string         // key that is asked for instead of the repository's name; "" for that
	generations map[string]int // of logs, as their entries show it
	page        func(key string, block, records int) ([]byte, error)
	take        func(bytes int64) error // of the run's memory; nil for any
	held        int                     // of how many pages an answer is held
}

// slimBytes is about what is held of a record whose body is not.
const slimBytes = 1536

// key is the key of the map that is asked for.
func (p *proving) key() string { return cmp.Or(p.beside, p.repo.String()) }

// mapID is the id of the map that the program itself would make.
func (p *proving) mapID() string {
	return bindings.MapID(bindings.MapVersion, p.root.Digest().Hex, p.forges.Digest())
}

// logs returns the logs that a directory has to read: those of Rekor v2, or those
// of Rekor v1 where there is no other.
func (p *proving) logs() []sigstore.Log {
	all := p.root.Logs()
	for i := range all {
		if g := p.generations[all[i].ID]; g != 0 {
			all[i].Generation = g
		}
	}
	v1 := func(l sigstore.Log) bool { return l.Generation == 1 }
	if later := slices.DeleteFunc(slices.Clone(all), v1); len(later) > 0 {
		return later
	}
	return all
}

// open verifies everything in an answer that the directory's signature covers.
func (p *proving) open(raw []byte, a *Answer) (*claim, error) {
	c := &claim{
		raw: raw, verified: map[at]bindings.Verified{}, sizes: map[string]int64{},
		trees: map[string][]sigstore.Checkpoint{}, dated: map[string]time.Time{},
	}
	var err error
	if c.checkpoint, err = p.descriptor.Open([]byte(a.Checkpoint)); err != nil {
		return nil, err
	}
	if a.Index != c.checkpoint.Size-1 {
		return nil, fmt.Errorf("an old state: entry %d of an output log of %d", a.Index, c.checkpoint.Size)
	}
	err = proof.VerifyInclusion(
		rfc6962.DefaultHasher, uint64(a.Index), uint64(c.checkpoint.Size), rfc6962.DefaultHasher.HashLeaf(a.Leaf),
		a.Inclusion, c.checkpoint.Root[:],
	)
	if err != nil {
		return nil, fmt.Errorf("the leaf is not in the output log: %w", err)
	}
	if c.leaf, err = ParseDirectoryLeaf(a.Leaf); err != nil {
		return nil, err
	}
	mine := slices.IndexFunc(c.leaf.Maps, func(m MapLeaf) bool { return m.ID() == p.mapID() })
	if mine < 0 {
		return nil, errors.New("it keeps no map for this trusted root, forge table and version of the program")
	}
	state := c.leaf.Maps[mine]
	c.index = a.Index
	if err := p.inputs(c, state.Inputs); err != nil {
		return nil, err
	}
	if a.Split != 0 {
		return nil, errors.New("it says where to ask, and nothing else")
	}
	if a.Absent != nil {
		return c, absent(a.Absent, prefixmap.KeyHash(p.key()), state.Hash)
	}
	pages := 0
	for _, k := range a.Keys {
		pages += len(k.Blocks)
	}
	c.large = pages > cmp.Or(p.held, maxHeldPages)
	for _, k := range a.Keys {
		if err := p.member(c, k, state.Hash); err != nil {
			return nil, fmt.Errorf("records of %s: %w", clip.Text(k.Key), err)
		}
	}
	return c, nil
}

// inputs demands a checkpoint of each log that has to be read, and takes how far
// that was.
func (p *proving) inputs(c *claim, inputs []Input) error {
	logs := p.logs()
	for _, in := range inputs {
		i := slices.IndexFunc(logs, func(l sigstore.Log) bool { return l.ID == in.Log })
		if i < 0 {
			return fmt.Errorf("it reads the log %s, which is none of those that count", in.Log)
		}
		cp, err := p.tree(logs[i], []byte(in.Checkpoint))
		if err != nil {
			return fmt.Errorf("%s: %w", logs[i].URL, err)
		}
		if slices.ContainsFunc(c.trees[in.Log], func(o sigstore.Checkpoint) bool { return o.Origin == cp.Origin }) {
			return fmt.Errorf("%s: it was read up to two sizes", logs[i].URL)
		}
		c.trees[in.Log] = append(c.trees[in.Log], cp)
		c.sizes[in.Log] += cp.Size
		if at := in.Dated(); at.After(c.dated[in.Log]) {
			c.dated[in.Log] = at
		}
	}
	for _, l := range logs {
		if len(c.trees[l.ID]) == 0 {
			return fmt.Errorf("it has not read the log %s", l.URL)
		}
	}
	return nil
}

// oldest returns when what was read last of the open logs was made, of that of which it is the
// longest ago; zero if all are closed or empty. All is whether something dates each of them.
func (p *proving) oldest(c *claim) (at time.Time, all bool) {
	all = true
	for _, l := range p.logs() {
		if c.sizes[l.ID] == 0 || !l.End.IsZero() && l.End.Before(c.leaf.Time) {
			continue // nothing can be missing that was made lately, or there was never anything
		}
		dated, ok := c.dated[l.ID]
		all = all && ok
		if ok && (at.IsZero() || dated.Before(at)) {
			at = dated
		}
	}
	return at, all
}

// tree verifies a checkpoint of a log.
func (p *proving) tree(l sigstore.Log, note []byte) (sigstore.Checkpoint, error) {
	if l.Generation == 2 {
		return p.root.OpenCheckpoint(l.ID, note)
	}
	cp, id, err := p.root.OpenAnyCheckpoint(note) // of a shard
	if err == nil && id != l.ID {
		err = fmt.Errorf("a checkpoint of the log %s", id)
	}
	return cp, err
}

// absent demands that the map holds nothing for a key.
func absent(a *Absence, key, root prefixmap.Hash) error {
	var got prefixmap.Hash
	var err error
	if len(a.Items) > 0 {
		got, err = a.Path.Absent(key, a.Depth, a.Items)
	} else {
		got, err = a.Path.Diverged(key, a.Other)
	}
	if err == nil && got != root {
		err = errors.New("another map")
	}
	if err != nil {
		return fmt.Errorf("no proof that there are no records: %w", err)
	}
	return nil
}

// member demands that the map holds exactly these records for a key, and adds
// those of its blocks.
func (p *proving) member(c *claim, k KeyAnswer, root prefixmap.Hash) error {
	key := prefixmap.KeyHash(k.Key)
	if k.Top != nil {
		return c.beyond(k, root)
	}
	values, err := valuesOf(k.Records)
	if err != nil {
		return err
	}
	got, err := k.Path.Member(key, k.Blocks, values)
	if err == nil && got != root {
		err = errors.New("another map")
	}
	if err != nil {
		return fmt.Errorf("no proof that these are all: %w", err)
	}
	first := len(c.keys) == 0
	out := KeyAnswer{Key: k.Key}
	for from := 0; from < len(k.Blocks); from += pagesAtOnce {
		to := min(from+pagesAtOnce, len(k.Blocks))
		pages, err := p.pages(c, &k, from, to)
		if err != nil {
			return err
		}
		for _, page := range pages {
			out.Records = append(out.Records, page.records...)
			if first && c.large {
				c.values = append(c.values, page.values...)
			}
		}
	}
	out.Records = append(out.Records, k.Records...)
	c.keys = append(c.keys, out)
	return nil
}

// beyond demands that a key has more records than are shown.
func (c *claim) beyond(k KeyAnswer, root prefixmap.Hash) error {
	got, least, err := k.Path.Beyond(prefixmap.KeyHash(k.Key), *k.Top)
	switch {
	case err != nil:
	case got != root:
		err = errors.New("another map")
	case least < MaxKeyRecords:
		err = fmt.Errorf("perhaps no more than %d records", least+1)
	}
	if err != nil {
		return fmt.Errorf("no proof that there are more than are shown: %w", err)
	}
	c.leftOut = fmt.Sprintf("%s has more than %d records", k.Key, MaxKeyRecords)
	return nil
}

// paged are the records of a page.
type paged struct {
	raw     []byte
	records []Record
	values  []prefixmap.Hash
}

// pages returns pages of a key, in order. What a number of the repository has is mostly what
// its name has, and is not asked for twice.
func (p *proving) pages(c *claim, k *KeyAnswer, from, to int) ([]paged, error) {
	out := make([]paged, to-from)
	var group errgroup.Group
	group.SetLimit(pagesAtOnce)
	for i := range out {
		block := from + i
		if c.same(k, block, &out[i]) {
			continue
		}
		group.Go(func() (err error) {
			out[i], err = p.onePage(k, block)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i := range out {
		switch {
		case !c.large:
			c.pages = append(c.pages, out[i].raw)
		case out[i].raw != nil:
			if err := p.slim(c, out[i].records); err != nil {
				return nil, err
			}
			out[i].raw = nil
		}
	}
	return out, nil
}

// same takes a page from the first key of a large answer, if its records are the same.
func (c *claim) same(k *KeyAnswer, block int, out *paged) bool {
	from := block * prefixmap.BlockSize
	to := from + k.PageRecords(block)
	if len(c.keys) == 0 || to > len(c.values) {
		return false
	}
	values := c.values[from:to]
	if prefixmap.Block(prefixmap.KeyHash(k.Key), block, values) != k.Blocks[block] {
		return false
	}
	*out = paged{records: slices.Clone(c.keys[0].Records[from:to]), values: values}
	return true
}

// onePage asks for a page, and demands that it is that of the map.
func (p *proving) onePage(k *KeyAnswer, block int) (out paged, err error) {
	n := k.PageRecords(block)
	if out.raw, err = p.page(k.Key, block, n); err != nil {
		return out, err
	}
	page, err := ParsePage(out.raw)
	if err != nil {
		return out, err
	}
	if out.values, err = valuesOf(page.Records); err != nil {
		return out, err
	}
	if page.Key != k.Key || page.Block != block || len(page.Records) != n ||
		prefixmap.Block(prefixmap.KeyHash(k.Key), block, out.values) != k.Blocks[block] {
		return out, fmt.Errorf("page %d is not that of the map", block)
	}
	out.records = page.Records
	return out, nil
}

// slim verifies the bindings among some records, and keeps only where they are.
func (p *proving) slim(c *claim, records []Record) error {
	if p.take != nil {
		if err := p.take(slimBytes * int64(len(records))); err != nil {
			return err
		}
	}
	found, faults := make([]bindings.Verified, len(records)), make([]error, len(records))
	bindings.Parallel(len(records), func(i int) {
		if b := records[i].Binding; b != nil {
			found[i], faults[i] = p.binding(c, b)
		}
	})
	if err := errors.Join(faults...); err != nil {
		return err
	}
	for i, r := range records {
		if r.Binding == nil {
			continue
		}
		here := at{r.Binding.Log, r.Binding.Index}
		if old, twice := c.verified[here]; twice && old.Leaf.LeafHash != found[i].Leaf.LeafHash {
			return fmt.Errorf("two entries at %d of the log %s", here.index, here.log)
		}
		c.verified[here] = found[i]
		records[i].Binding = &BindingRecord{Log: here.log, Index: here.index}
	}
	return nil
}

func valuesOf(records []Record) ([]prefixmap.Hash, error) {
	var out []prefixmap.Hash
	for _, r := range records {
		text, err := r.Text()
		if err != nil {
			return nil, err
		}
		out = append(out, Value(text))
	}
	return out, nil
}

// at is the place of an entry.
type at struct {
	log   string
	index int64
}

// proven is what the records of a claim prove by themselves.
type proven struct {
	bindings   map[at]bindings.Verified // each once, whatever number of keys it has
	shown      map[at]chain.Shown
	statements map[string]chain.Listed // by digest of the payload
	signatures map[at]chain.Listed
}

// latest is the moment of the leaf of the claim.
func (c *claim) latest() chain.Shown {
	return chain.Shown{Leaf: c.index, Time: c.leaf.Time, Clock: c.leaf.Clock}
}

// directory returns what was proven.
func (p *proven) directory(c *claim) *chain.Directory {
	out := &chain.Directory{Latest: c.latest(), Sizes: c.sizes, Bindings: map[chain.Position]chain.Shown{}}
	for b, s := range p.shown {
		out.Bindings[chain.Position{Log: b.log, Index: b.index}] = s
	}
	for _, s := range p.statements {
		out.Statements = append(out.Statements, s)
	}
	for _, s := range p.signatures {
		out.Signatures = append(out.Signatures, s)
	}
	return out
}

// records verifies every record. The error is a [*Lie] if the directory's map holds
// what it must not, whatever came with it.
func (p *proving) records(c *claim) (*proven, error) {
	out := &proven{map[at]bindings.Verified{}, map[at]chain.Shown{}, map[string]chain.Listed{}, map[at]chain.Listed{}}
	moments := []chain.Shown{c.latest()}
	for _, k := range c.keys {
		if err := p.recordsOf(c, k, out); err != nil {
			return nil, err
		}
		for _, r := range k.Records {
			moments = append(moments, r.At)
		}
	}
	if why := impossible(moments); why != "" {
		return nil, p.lie(c, nil, why)
	}
	return out, nil
}

// impossible returns why leaves of one output log cannot have these moments, of which the
// first is the newest; "" if they can.
func impossible(moments []chain.Shown) string {
	newest := moments[0]
	arrange.By(moments, func(a, b chain.Shown) int { return cmp.Compare(a.Leaf, b.Leaf) })
	for i, m := range moments {
		switch {
		case m.Leaf > newest.Leaf:
			return fmt.Sprintf("a record of leaf %d in the answer of leaf %d", m.Leaf, newest.Leaf)
		case i == 0:
			continue
		}
		switch before := moments[i-1]; {
		case m.Leaf == before.Leaf && m != before:
			return fmt.Sprintf("two moments of leaf %d", m.Leaf)
		case m.Time.Before(before.Time) || m.Clock < before.Clock || m.Clock-before.Clock > m.Time.Sub(before.Time):
			return fmt.Sprintf("the clock of leaf %d is not after that of leaf %d", m.Leaf, before.Leaf)
		}
	}
	return ""
}

// recordsOf verifies the records of one key.
func (p *proving) recordsOf(c *claim, k KeyAnswer, out *proven) error {
	lie := func(format string, args ...any) error {
		return p.lie(c, nil, fmt.Sprintf("records of %s: ", k.Key)+fmt.Sprintf(format, args...))
	}
	last, bound, shown, signed := map[string]at{}, map[string]bool{}, map[string]bool{}, map[at]bool{}
	leaf := map[string]int64{} // of the last binding of each log
	for _, r := range k.Records {
		switch {
		case r.Disclosed != nil:
			s := chain.Listed{Payload: r.Disclosed.Payload, PAE: r.Disclosed.PAE, Shown: r.At}
			if !bound[s.PAE] && !bound[s.Payload] || shown[s.Payload] {
				return lie("the statement %s, which nothing binds or which stands twice", s.Payload)
			}
			if other, twice := out.statements[s.Payload]; twice && other != s {
				return lie("the statement %s has two moments or two names", s.Payload)
			}
			shown[s.Payload], out.statements[s.Payload] = true, s
		case r.Signature != nil:
			x := at{r.Signature.Log, r.Signature.Index}
			s := chain.Listed{
				Payload: r.Signature.Payload, Position: chain.Position{Log: x.log, Index: x.index}, Shown: r.At,
			}
			if !shown[s.Payload] || signed[x] {
				return lie(
					"a signature over the statement %s, which it does not show, or one that stands twice", s.Payload,
				)
			}
			if other, twice := out.signatures[x]; twice && other != s {
				return lie("the signature at %d of the log %s has two moments or two statements", x.index, x.log)
			}
			signed[x], out.signatures[x] = true, s
		default:
			b := r.Binding
			here := at{b.Log, b.Index}
			size, read := c.sizes[b.Log]
			before, again := last[b.Log]
			switch {
			case !read || b.Index >= size:
				return lie("the entry %d of the log %s, which it has not read", b.Index, b.Log)
			case again && b.Index <= before.index:
				return lie("the entry %d of the log %s after %d", b.Index, b.Log, before.index)
			case again && r.At.Leaf < leaf[b.Log]:
				return lie("the entry %d of the log %s was read before the one before it", b.Index, b.Log)
			}
			last[b.Log], leaf[b.Log] = here, r.At.Leaf
			v, err := p.verifiedAt(c, b, out)
			if err != nil {
				return err
			}
			out.bindings[here] = v
			if other, twice := out.shown[here]; twice && other != r.At {
				return lie("the entry %d of the log %s was read at two moments", b.Index, b.Log)
			}
			out.shown[here] = r.At
			if !slices.Contains(bindings.Keys(v.By), k.Key) {
				return lie("the entry %d of the log %s binds another repository", b.Index, b.Log)
			}
			bound[v.Leaf.PAE+v.Leaf.Payload] = true // an entry shows one of them
		}
	}
	return nil
}

// verifiedAt returns what the entry of a record is, each verified once.
func (p *proving) verifiedAt(c *claim, b *BindingRecord, out *proven) (bindings.Verified, error) {
	here := at{b.Log, b.Index}
	if v, slim := c.verified[here]; slim && b.Body == "" && b.Entry == nil {
		return v, nil
	}
	v, known := out.bindings[here]
	if hash, err := b.LeafHash(); err == nil && known && v.Leaf.LeafHash == hash {
		return v, nil
	}
	return p.binding(c, b)
}

// binding verifies the entry of a record, and that it is in the log.
func (p *proving) binding(c *claim, b *BindingRecord) (bindings.Verified, error) {
	fail := func(err error) (bindings.Verified, error) {
		return bindings.Verified{}, fmt.Errorf("the entry %d of the log %s: %w", b.Index, b.Log, err)
	}
	i := slices.IndexFunc(p.logs(), func(l sigstore.Log) bool { return l.ID == b.Log })
	if v1 := b.Body == ""; i < 0 || v1 != (p.logs()[i].Generation == 1) {
		return fail(errors.New("not of the generation of that log"))
	}
	if b.Body == "" {
		leaf, by, err := bindings.BindsV1(p.root, p.forges, b.Entry)
		if err == nil && (leaf.Place.Log != b.Log || leaf.Place.Index != b.Index) {
			err = fmt.Errorf("its promise is about the entry %d of %s", leaf.Place.Index, leaf.Place.Log)
		}
		if err != nil {
			return fail(err)
		}
		return bindings.Verified{Leaf: leaf, By: by}, nil
	}
	leaf, by, err := bindings.Binds(p.root, p.forges, b.Log, b.Index, []byte(b.Body))
	if err != nil {
		return bindings.Verified{}, p.lie(
			c, nil, fmt.Sprintf("the entry %d of the log %s is no binding: %s", b.Index, b.Log, err),
		)
	}
	cp := c.trees[b.Log][0]
	if b.Checkpoint != "" {
		if cp, err = p.root.OpenCheckpoint(b.Log, []byte(b.Checkpoint)); err != nil {
			return fail(err)
		}
		if err := agree(b.Log, cp, c.trees[b.Log][0], "the directory shows two trees of %d entries"); err != nil {
			return bindings.Verified{}, err
		}
	}
	err = proof.VerifyInclusion(
		rfc6962.DefaultHasher, uint64(b.Index), uint64(cp.Size), rfc6962.DefaultHasher.HashLeaf([]byte(b.Body)),
		b.Inclusion, cp.Root,
	)
	if err != nil {
		return fail(fmt.Errorf("not in the log: %w", err))
	}
	return bindings.Verified{Leaf: leaf, By: by}, nil
}

// agree returns the fork that two trees of a log show.
func agree(log string, seen, now sigstore.Checkpoint, why string) error {
	if seen.Origin == now.Origin && seen.Size == now.Size && !bytes.Equal(seen.Root, now.Root) {
		return &rekor.Fork{Log: log, Seen: seen.Note, New: now.Note, Why: fmt.Sprintf(why, now.Size)}
	}
	return nil
}

// whole demands that the claim is about the name, all keys that its bindings have in common
// with it, those with them, and nothing else. If that are more than an answer has, or one of
// them is beyond it, something is left out.
func (p *proven) whole(c *claim, repo policy.Locator) error {
	if len(c.keys) == 0 {
		return nil
	}
	want := map[string]bool{repo.String(): true}
	todo := []string{repo.String()}
	shown := 0
	for ; len(todo) > 0; todo = todo[1:] {
		key := todo[0]
		i := slices.IndexFunc(c.keys, func(k KeyAnswer) bool { return k.Key == key })
		if i < 0 {
			if c.leftOut != "" || len(c.keys) == MaxAnswerKeys && key != repo.String() {
				continue
			}
			return fmt.Errorf("an answer that is not about %s", clip.Text(key))
		}
		shown++
		for _, r := range c.keys[i].Records {
			if r.Binding == nil {
				continue
			}
			for _, k := range bindings.Keys(p.bindings[at{r.Binding.Log, r.Binding.Index}].By) {
				if !want[k] {
					want[k], todo = true, append(todo, k)
				}
			}
		}
	}
	switch {
	case shown != len(c.keys) && c.leftOut == "":
		return fmt.Errorf("an answer about %d names and numbers, not the %d of this repository", len(c.keys), len(want))
	case len(want) > MaxAnswerKeys:
		c.leftOut = fmt.Sprintf("the repository has more than %d names and numbers", MaxAnswerKeys)
	}
	return nil
}

// join takes over what another answer of the same leaf proves.
func (p *proven) join(c *claim, other *proven, more *claim) {
	for _, k := range more.keys {
		if !slices.ContainsFunc(c.keys, func(x KeyAnswer) bool { return x.Key == k.Key }) {
			c.keys = append(c.keys, k)
		}
	}
	maps.Copy(p.bindings, other.bindings)
	maps.Copy(p.shown, other.shown)
	maps.Copy(p.statements, other.statements)
	maps.Copy(p.signatures, other.signatures)
}

// omits reports whether the claim is about a binding, and does not show it. The
// binding itself was verified; what is looked at here is whether whoever reads the
// log has to see it.
func (p *proving) omits(c *claim, h bindings.Held) bool {
	f := h.Leaf.Facts()
	size, read := c.sizes[f.Entry.Log]
	if c.leftOut != "" || f.Binding.IsZero() || !read || f.Entry.Index < 0 || f.Entry.Index >= size {
		return false
	}
	there := func(r Record) bool {
		return r.Binding != nil && r.Binding.Log == f.Entry.Log && r.Binding.Index == f.Entry.Index
	}
	for _, key := range bindings.Keys(f.Binding) {
		i := slices.IndexFunc(c.keys, func(k KeyAnswer) bool { return k.Key == key })
		none := len(c.keys) == 0 && key == p.repo.String()
		if none || i >= 0 && !slices.ContainsFunc(c.keys[i].Records, there) {
			return p.visible(h, f.Entry)
		}
	}
	return false
}

// visible reports whether the map function sees a binding, of which a bundle may
// show more than the log does.
func (p *proving) visible(h bindings.Held, at policy.Entry) bool {
	b, err := sigstore.ParseBundle(h.Bundle)
	if err != nil {
		return false
	}
	body := b.Body(at.Log)
	if i := slices.IndexFunc(p.logs(), func(l sigstore.Log) bool { return l.ID == at.Log }); i >= 0 &&
		p.logs()[i].Generation == 1 {
		return body != nil // its promise says the rest
	}
	_, _, err = bindings.Binds(p.root, p.forges, at.Log, at.Index, body)
	return err == nil
}
