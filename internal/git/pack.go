// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"container/list"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Limits of an object, by its type. What it is made of, bases and deltas, is bounded
// like the largest.
const (
	MaxObjectBytes = 16 << 20
	maxCommitBytes = 1 << 20
	maxTagBytes    = 1 << 20
	maxTreeBytes   = MaxObjectBytes
	maxBlobBytes   = MaxObjectBytes

	maxDeltas     = 4096     // in one chain; git makes no longer ones
	maxChainBytes = 1 << 30  // that are made on the way to one object
	maxCache      = 16 << 20 // bytes of objects that are kept because others may be made of them
	cacheOverhead = 256      // of one of them
)

// oid is an object's id as packs hold it.
type oid [20]byte

func (o oid) id() ID { return ID(hex.EncodeToString(o[:])) }

// raw returns an id as packs hold it; the zero one for what is none.
func (id ID) raw() (o oid) {
	_, _ = hex.Decode(o[:], []byte(id)) // what is none is nowhere
	return o
}

// Numbers of types in packs.
// https://git-scm.com/docs/pack-format#_object_types
const (
	packedCommit = 1
	packedTree   = 2
	packedBlob   = 3
	packedTag    = 4
	offsetDelta  = 6
	idDelta      = 7
)

var packedTypes = map[byte]Type{packedCommit: Commit, packedTree: Tree, packedBlob: Blob, packedTag: Tag}

// limitOf returns how large an object of the type may be.
func limitOf(t Type) int64 {
	switch t {
	case Commit:
		return maxCommitBytes
	case Tag:
		return maxTagBytes
	case Tree:
		return maxTreeBytes
	case Blob:
		return maxBlobBytes
	}
	return 0
}

// tooLarge is the error of an object that is larger than is read. It is malformed.
type tooLarge struct{ size, limit int64 }

func (e *tooLarge) Error() string {
	return fmt.Sprintf("%s: %d bytes, at most %d are read", ErrMalformed, e.size, e.limit)
}

func (e *tooLarge) Unwrap() error { return ErrMalformed }

// errNoBase is the error of a delta whose base is not in the pack.
var errNoBase = errors.New("a delta without its base")

// packFile reads the objects of a pack, one by one.
type packFile struct {
	name string
	in   *inflater
	find func(oid) (int64, bool, error) // where an object is, for deltas that name their base
	held *cache
}

// entry is the header of an object in a pack.
type entry struct {
	at, content int64 // positions of the header and of what is deflated
	kind        byte
	size        int64 // as it declares
	base        int64 // position of a delta's base; -1 if it is not in the pack
}

// header reads the header of the object at a position.
func (p *packFile) header(at int64) (entry, error) {
	e := entry{at: at}
	if err := p.in.m.work(entryWork); err != nil {
		return e, err
	}
	p.in.seek(at)
	if err := p.kindAndSize(&e); err != nil {
		return e, err
	}
	switch e.kind {
	case packedCommit, packedTree, packedBlob, packedTag:
	case offsetDelta:
		back, err := p.offset()
		if err != nil {
			return e, err
		}
		if back <= 0 || back > at {
			return e, malformed("a delta in %s whose base is not before it", p.name)
		}
		e.base = at - back
	case idDelta:
		var id oid
		if _, err := io.ReadFull(p.in, id[:]); err != nil {
			return e, p.bad(err)
		}
		e.content = p.in.pos()
		base, ok, err := p.find(id)
		if err != nil {
			return e, err
		}
		if e.base = base; !ok {
			e.base = -1
		}
		return e, nil
	default:
		return e, malformed("an object of type %d in %s", e.kind, p.name)
	}
	e.content = p.in.pos()
	return e, nil
}

// kindAndSize reads the first number of a header.
func (p *packFile) kindAndSize(e *entry) error {
	b, err := p.in.ReadByte()
	if err != nil {
		return p.bad(err)
	}
	e.kind, e.size = b>>4&7, int64(b&15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = p.in.ReadByte(); err != nil {
			return p.bad(err)
		}
		if shift > 53 {
			return malformed("a size beyond all bounds in %s", p.name)
		}
		e.size |= int64(b&0x7f) << shift
	}
	return nil
}

// offset reads how far before a delta its base is.
func (p *packFile) offset() (int64, error) {
	for back := int64(-1); ; {
		b, err := p.in.ReadByte()
		if err != nil {
			return 0, p.bad(err)
		}
		if back > 1<<48 {
			return 0, malformed("a delta in %s whose base is before it", p.name)
		}
		back = (back+1)<<7 | int64(b&0x7f)
		if b&0x80 == 0 {
			return back, nil
		}
	}
}

// bad says where a pack cannot be read. What ends a run stays what it is.
func (p *packFile) bad(err error) error {
	var large *tooLarge
	if Fatal(err) || errors.As(err, &large) || errors.Is(err, ErrMalformed) {
		return err
	}
	return malformed("%s: %s", p.name, err)
}

// read returns the object at a position. What it returns may be in the cache too and
// is not written to. The error of a delta whose base is not there is [errNoBase].
func (p *packFile) read(at int64) (Type, []byte, error) {
	s := scratch{m: p.in.m}
	defer s.free()
	t, content, chain, err := p.base(&s, at)
	if err != nil {
		return "", nil, err
	}
	limit, made := limitOf(t), int64(0)
	for _, e := range slices.Backward(chain) {
		before := s.held
		delta, target, err := p.delta(&s, e, limit)
		if err != nil {
			return "", nil, err
		}
		if made += target + e.size; made > maxChainBytes {
			return "", nil, malformed("an object in %s that takes more than %d bytes to make",
				p.name, int64(maxChainBytes))
		}
		if err := s.hold(target); err != nil {
			return "", nil, err
		}
		if content, err = applyDelta(s.m, content, delta, limit); err != nil {
			return "", nil, p.bad(err)
		}
		p.held.put(p, e.at, t, content)
		s.give(before + e.size) // the delta, and its base but for the cache
	}
	return t, content, nil
}

// scratch is the memory that one reading holds.
type scratch struct {
	m    *meter
	held int64
}

func (s *scratch) hold(n int64) error {
	if err := s.m.hold(n); err != nil {
		return err
	}
	s.held += n
	return nil
}

func (s *scratch) give(n int64) {
	s.m.give(n)
	s.held -= n
}

func (s *scratch) free() { s.give(s.held) }

// base returns what the object at a position is made from: the object itself, or the base of
// the chain of deltas that leads to it, whose first is the object's own.
func (p *packFile) base(s *scratch, at int64) (t Type, content []byte, chain []entry, err error) {
	for pos := at; ; {
		if c := p.held.get(p, pos); c != nil {
			return c.t, c.content, chain, nil
		}
		e, err := p.header(pos)
		if err != nil {
			return "", nil, nil, err
		}
		limit := int64(MaxObjectBytes)
		t, whole := packedTypes[e.kind]
		if whole {
			limit = limitOf(t)
		}
		if e.size > limit {
			return "", nil, nil, &tooLarge{e.size, limit}
		}
		if whole {
			if err := s.hold(e.size); err != nil {
				return "", nil, nil, err
			}
			content, err := p.in.object(e.size)
			if err != nil {
				return "", nil, nil, p.bad(err)
			}
			p.held.put(p, pos, t, content)
			return t, content, chain, nil
		}
		if e.base < 0 {
			return "", nil, nil, errNoBase
		}
		if len(chain) == maxDeltas {
			return "", nil, nil, malformed("a chain of more than %d deltas in %s", maxDeltas, p.name)
		}
		chain = append(chain, e)
		pos = e.base
	}
}

// delta reads a delta, and the size of what it makes.
func (p *packFile) delta(s *scratch, e entry, limit int64) (delta []byte, target int64, err error) {
	if err := s.hold(e.size); err != nil {
		return nil, 0, err
	}
	p.in.seek(e.content)
	if delta, err = p.in.object(e.size); err != nil {
		return nil, 0, p.bad(err)
	}
	_, size, _, err := deltaSizes(delta)
	if err != nil {
		return nil, 0, p.bad(err)
	}
	if size > uint64(limit) {
		return nil, 0, &tooLarge{int64(min(size, 1<<62)), limit}
	}
	return delta, int64(size), nil
}

// cache keeps objects that others may be made of, the ones used last.
type cache struct {
	m     *meter
	max   int64
	bytes int64
	items map[cacheKey]*list.Element
	order *list.List // of *cached, the newest first
}

type cacheKey struct {
	p  *packFile
	at int64
}

type cached struct {
	cacheKey
	t       Type
	content []byte
}

// newCache returns a cache that gives way to whatever else the meter holds.
func newCache(m *meter) *cache {
	m.cache = &cache{m: m, max: min(maxCache, m.budget.Limit()/4), items: map[cacheKey]*list.Element{}, order: list.New()}
	return m.cache
}

func (c *cache) get(p *packFile, at int64) *cached {
	e := c.items[cacheKey{p, at}]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached)
}

// put keeps an object as long as there is room. A blob is kept too: only those that
// are asked for are read, and they resemble each other.
func (c *cache) put(p *packFile, at int64, t Type, content []byte) {
	size := int64(len(content)) + cacheOverhead
	key := cacheKey{p, at}
	if size > c.max || c.items[key] != nil {
		return
	}
	for c.bytes+size > c.max {
		c.evict()
	}
	if c.m.hold(size) != nil {
		return
	}
	c.bytes += size
	c.items[key] = c.order.PushFront(&cached{key, t, content})
}

func (c *cache) evict() {
	e := c.order.Back()
	old := e.Value.(*cached)
	c.order.Remove(e)
	delete(c.items, old.cacheKey)
	size := int64(len(old.content)) + cacheOverhead
	c.bytes -= size
	c.m.give(size)
}

// clear forgets everything.
func (c *cache) clear() {
	for c.order.Len() > 0 {
		c.evict()
	}
}

// compareIDs orders ids.
func compareIDs(a, b oid) int { return bytes.Compare(a[:], b[:]) }
