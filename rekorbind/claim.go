// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// claim is what the directory's key vouches for in an answer: which records its
// map holds for the keys that were asked for. Whether they are what the logs hold
// is another question.
type claim struct {
	raw        []byte
	pages      [][]byte
	checkpoint OutputCheckpoint
	leaf       DirectoryLeaf
	sizes      map[string]int64                 // entries that were read, by log
	trees      map[string][]sigstore.Checkpoint // under which they stand in it
	keys       []KeyAnswer                      // with all records; none if the map holds none
}

// proving verifies answers.
type proving struct {
	root        *sigstore.Root
	forges      *Forges
	descriptor  *Descriptor
	repo        policy.Locator
	generations map[string]int // of logs, as their entries show it
	page        func(key string, block int) ([]byte, error)
}

// mapID is the id of the map that the program itself would make.
func (p *proving) mapID() string {
	return MapID(MapVersion, p.root.Digest().Hex, p.forges.Digest())
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
	c := &claim{raw: raw, sizes: map[string]int64{}, trees: map[string][]sigstore.Checkpoint{}}
	var err error
	if c.checkpoint, err = p.descriptor.Open([]byte(a.Checkpoint)); err != nil {
		return nil, err
	}
	if a.Index != c.checkpoint.Size-1 {
		return nil, fmt.Errorf("an old state: entry %d of an output log of %d", a.Index, c.checkpoint.Size)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(a.Index), uint64(c.checkpoint.Size), rfc6962.DefaultHasher.HashLeaf(a.Leaf), a.Inclusion, c.checkpoint.Root[:]); err != nil {
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
	if err := p.inputs(c, state.Inputs); err != nil {
		return nil, err
	}
	if a.Split != 0 {
		return nil, errors.New("it says where to ask, and nothing else")
	}
	if a.Absent != nil {
		return c, absent(a.Absent, prefixmap.KeyHash(p.repo.String()), state.Hash)
	}
	for _, k := range a.Keys {
		if err := p.member(c, k, state.Hash); err != nil {
			return nil, fmt.Errorf("records of %s: %w", clip(k.Key), err)
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
	}
	for _, l := range logs {
		if len(c.trees[l.ID]) == 0 {
			return fmt.Errorf("it has not read the log %s", l.URL)
		}
	}
	return nil
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
	var all []Record
	for i, block := range k.Blocks {
		raw, err := p.page(k.Key, i)
		if err != nil {
			return err
		}
		page, err := ParsePage(raw)
		if err != nil {
			return err
		}
		values, err := valuesOf(page.Records)
		if err != nil {
			return err
		}
		if page.Key != k.Key || page.Block != i || prefixmap.Block(key, i, values) != block {
			return fmt.Errorf("page %d is not that of the map", i)
		}
		c.pages = append(c.pages, raw)
		all = append(all, page.Records...)
	}
	c.keys = append(c.keys, KeyAnswer{Key: k.Key, Records: append(all, k.Records...)})
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
	bindings  map[at]verified // each once, whatever number of keys it has
	disclosed map[string]map[string]int64
}

// records verifies every record. The error is a [*Lie] if the directory's map holds
// what it must not, whatever came with it.
func (p *proving) records(c *claim) (*proven, error) {
	out := &proven{map[at]verified{}, map[string]map[string]int64{}}
	for _, k := range c.keys {
		lie := func(format string, args ...any) error {
			return p.lie(c, nil, fmt.Sprintf("records of %s: ", k.Key)+fmt.Sprintf(format, args...))
		}
		last, here := map[string]int64{}, map[string]bool{}
		for _, r := range k.Records {
			if r.Disclosed != nil {
				if !here[r.Disclosed.Statement] {
					return nil, lie("a publication of the statement %s, which nothing binds or which stands twice", r.Disclosed.Statement)
				}
				here[r.Disclosed.Statement] = false
				if why := c.mayBe(r.Disclosed, out.disclosed); why != "" {
					return nil, lie("a publication of the statement %s %s", r.Disclosed.Statement, why)
				}
				out.disclosed[r.Disclosed.Statement] = r.Disclosed.Sizes
				continue
			}
			b := r.Binding
			size, read := c.sizes[b.Log]
			before, again := last[b.Log]
			last[b.Log] = b.Index
			switch {
			case !read || b.Index >= size:
				return nil, lie("the entry %d of the log %s, which it has not read", b.Index, b.Log)
			case again && b.Index <= before:
				return nil, lie("the entry %d of the log %s after %d", b.Index, b.Log, before)
			}
			v, known := out.bindings[at{b.Log, b.Index}]
			if hash, err := b.LeafHash(); err != nil || !known || v.leaf.LeafHash != hash {
				if v, err = p.binding(c, b); err != nil {
					return nil, err
				}
				out.bindings[at{b.Log, b.Index}] = v
			}
			if !slices.Contains(Keys(v.by), k.Key) {
				return nil, lie("the entry %d of the log %s binds another repository", b.Index, b.Log)
			}
			statement := v.leaf.PAE + v.leaf.Payload // an entry shows one of them
			if _, twice := here[statement]; !twice {
				here[statement] = true
			}
		}
	}
	return out, nil
}

// mayBe returns why a publication cannot be what it says; "" if it can.
func (c *claim) mayBe(r *DisclosedRecord, others map[string]map[string]int64) string {
	for log, size := range r.Sizes {
		if read, known := c.sizes[log]; !known || size > read {
			return fmt.Sprintf("when the log %s had %d entries, which it has not read", log, size)
		}
	}
	if other, twice := others[r.Statement]; twice && !maps.Equal(other, r.Sizes) {
		return "at two moments"
	}
	return ""
}

// binding verifies the entry of a record, and that it is in the log.
func (p *proving) binding(c *claim, b *BindingRecord) (verified, error) {
	fail := func(err error) (verified, error) {
		return verified{}, fmt.Errorf("the entry %d of the log %s: %w", b.Index, b.Log, err)
	}
	i := slices.IndexFunc(p.logs(), func(l sigstore.Log) bool { return l.ID == b.Log })
	if v1 := b.Body == ""; i < 0 || v1 != (p.logs()[i].Generation == 1) {
		return fail(errors.New("not of the generation of that log"))
	}
	if b.Body == "" {
		leaf, by, err := BindsV1(p.root, p.forges, b.Entry)
		if err == nil && (leaf.Place.Log != b.Log || leaf.Place.Index != b.Index) {
			err = fmt.Errorf("its promise is about the entry %d of %s", leaf.Place.Index, leaf.Place.Log)
		}
		if err != nil {
			return fail(err)
		}
		return verified{leaf, by}, nil
	}
	leaf, by, err := Binds(p.root, p.forges, b.Log, b.Index, []byte(b.Body))
	if err != nil {
		return verified{}, p.lie(c, nil, fmt.Sprintf("the entry %d of the log %s is no binding: %s", b.Index, b.Log, err))
	}
	cp := c.trees[b.Log][0]
	if b.Checkpoint != "" {
		if cp, err = p.root.OpenCheckpoint(b.Log, []byte(b.Checkpoint)); err != nil {
			return fail(err)
		}
		if err := agree(b.Log, cp, c.trees[b.Log][0], "the directory shows two trees of %d entries"); err != nil {
			return verified{}, err
		}
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(b.Index), uint64(cp.Size), rfc6962.DefaultHasher.HashLeaf([]byte(b.Body)), b.Inclusion, cp.Root); err != nil {
		return fail(fmt.Errorf("not in the log: %w", err))
	}
	return verified{leaf, by}, nil
}

// agree returns the fork that two trees of a log show.
func agree(log string, seen, now sigstore.Checkpoint, why string) error {
	if seen.Origin == now.Origin && seen.Size == now.Size && !bytes.Equal(seen.Root, now.Root) {
		return &Fork{Log: log, Seen: seen.Note, New: now.Note, Why: fmt.Sprintf(why, now.Size)}
	}
	return nil
}

// whole demands that the claim is about the repository: its locator, the numbers of
// the locator's bindings, and nothing else.
func (p *proven) whole(c *claim, repo policy.Locator) error {
	if len(c.keys) == 0 {
		return nil
	}
	want := []string{repo.String()}
	i := slices.IndexFunc(c.keys, func(k KeyAnswer) bool { return k.Key == repo.String() })
	if i < 0 {
		return fmt.Errorf("an answer about %s", clip(c.keys[0].Key))
	}
	for _, r := range c.keys[i].Records {
		if r.Binding != nil {
			want = append(want, Keys(p.bindings[at{r.Binding.Log, r.Binding.Index}].by)...)
		}
	}
	slices.Sort(want)
	var got []string
	for _, k := range c.keys {
		got = append(got, k.Key)
	}
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		return fmt.Errorf("an answer about %d names and numbers, not the %d of this repository", len(got), len(want))
	}
	return nil
}

// unasked says of a statement which only repositories bound that the claim is not about,
// such as one that handed over to this one, that nobody is seen to have withheld it:
// whether it was published is not in the answer.
func (p *proven) unasked(c *claim, repo policy.Locator, h Held) {
	f := h.Leaf.Facts()
	asked := func(key string) bool {
		return key == repo.String() || slices.ContainsFunc(c.keys, func(k KeyAnswer) bool { return k.Key == key })
	}
	if slices.ContainsFunc(Keys(f.Binding), asked) {
		return
	}
	for _, v := range p.bindings {
		if v.leaf.PAE != "" && v.leaf.PAE == f.PAE || v.leaf.Payload != "" && v.leaf.Payload == f.Payload {
			return
		}
	}
	if statement := cmp.Or(f.PAE, f.Payload); p.disclosed[statement] == nil {
		p.disclosed[statement] = map[string]int64{}
	}
}

// omits reports whether the claim is about a binding, and does not show it. The
// binding itself was verified; what is looked at here is whether whoever reads the
// log has to see it.
func (p *proving) omits(c *claim, h Held) bool {
	f := h.Leaf.Facts()
	size, read := c.sizes[f.Entry.Log]
	if f.Binding.IsZero() || !read || f.Entry.Index < 0 || f.Entry.Index >= size {
		return false
	}
	there := func(r Record) bool {
		return r.Binding != nil && r.Binding.Log == f.Entry.Log && r.Binding.Index == f.Entry.Index
	}
	for _, key := range Keys(f.Binding) {
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
func (p *proving) visible(h Held, at policy.Entry) bool {
	b, err := sigstore.ParseBundle(h.Bundle)
	if err != nil {
		return false
	}
	body := b.Body(at.Log)
	if i := slices.IndexFunc(p.logs(), func(l sigstore.Log) bool { return l.ID == at.Log }); i >= 0 && p.logs()[i].Generation == 1 {
		return body != nil // its promise says the rest
	}
	_, _, err = Binds(p.root, p.forges, at.Log, at.Index, body)
	return err == nil
}
