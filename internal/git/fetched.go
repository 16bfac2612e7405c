// SPDX-License-Identifier: Apache-2.0

package git

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sort"
)

// fetched are the objects of the packs of one fetch. Their names were computed from
// their content; of each, only the name and the place is held.
type fetched struct {
	m     *meter
	cache *cache
	packs []*fetchedPack
}

// fetchedPack is one pack with the names of its objects.
type fetchedPack struct {
	packFile
	spool *spool
	known []place // sorted by id
}

// place is where an object is. A pack is smaller than 4 GiB.
type place struct {
	id oid
	at uint32
}

// Of memory that one object takes, as lists of them grow: its place, and for a delta
// where it is.
const (
	placeBytes = 3 * 24
	deltaBytes = 3 * 4
)

func newFetched(m *meter) *fetched { return &fetched{m: m, cache: newCache(m)} }

func (f *fetched) counts() *meter { return f.m }

func (f *fetched) blob(id ID) ([]byte, error) { return blobOf(f, id) }

// Object returns an object that was fetched; see [Repository.Object].
func (f *fetched) Object(id ID) (Type, []byte, error) {
	for _, p := range f.packs {
		at, ok, err := p.place(id.raw())
		if err != nil || !ok {
			continue
		}
		t, content, err := p.read(at)
		return named(id, t, content, err)
	}
	return "", nil, fmt.Errorf("object %s: %w", id, ErrNotFound)
}

// has reports whether an object was fetched.
func (f *fetched) has(id ID) bool {
	raw := id.raw()
	return slices.ContainsFunc(f.packs, func(p *fetchedPack) bool { _, ok, _ := p.place(raw); return ok })
}

func (p *fetchedPack) place(id oid) (int64, bool, error) {
	i, ok := sort.Find(len(p.known), func(i int) int { return compareIDs(id, p.known[i].id) })
	if !ok {
		return 0, false, nil
	}
	return int64(p.known[i].at), true, nil
}

// add reads a pack and names its objects.
func (f *fetched) add(r io.Reader) error {
	s := newSpool(f.m)
	if err := s.fill(r); err != nil {
		s.close()
		return err
	}
	p := &fetchedPack{spool: s, packFile: packFile{name: "the pack", in: &inflater{m: f.m}, held: f.cache}}
	p.in.src, p.find = s, p.place
	deltas, err := p.scan()
	if err == nil {
		err = p.resolve(deltas)
	}
	if err != nil {
		s.close()
		return err
	}
	f.packs = append(f.packs, p)
	return nil
}

// scan goes through the pack once, names what is no delta, and returns where the deltas
// are. Nothing is held of the content, so that it may be of any size.
func (p *fetchedPack) scan() (deltas []uint32, err error) {
	var head [12]byte
	p.in.seek(0)
	if _, err := io.ReadFull(p.in, head[:]); err != nil || string(head[:8]) != "PACK\x00\x00\x00\x02" {
		return nil, malformed("not a pack of version 2")
	}
	scratch := make([]byte, workStep)
	sum := sha1.New()
	for n := binary.BigEndian.Uint32(head[8:]); n > 0; n-- {
		e, err := p.header(p.in.pos())
		if err != nil {
			return nil, err
		}
		t, whole := packedTypes[e.kind]
		if !whole {
			if err := p.in.m.hold(deltaBytes); err != nil {
				return nil, err
			}
			deltas = append(deltas, uint32(e.at))
			if err := p.in.pass(e.size, io.Discard, scratch); err != nil {
				return nil, p.bad(err)
			}
			continue
		}
		sum.Reset()
		fmt.Fprintf(sum, "%s %d\x00", t, e.size)
		if err := p.in.pass(e.size, sum, scratch); err != nil {
			return nil, p.bad(err)
		}
		if err := p.keep(&p.known, sum, e.at); err != nil {
			return nil, err
		}
	}
	if p.in.pos() != p.spool.size-sha1.Size {
		return nil, malformed("a pack that goes on after its objects")
	}
	slices.SortStableFunc(p.known, func(a, b place) int { return compareIDs(a.id, b.id) })
	return deltas, nil
}

func (p *fetchedPack) keep(into *[]place, sum hash.Hash, at int64) error {
	if err := p.in.m.hold(placeBytes); err != nil {
		return err
	}
	pl := place{at: uint32(at)}
	sum.Sum(pl.id[:0])
	*into = append(*into, pl)
	return nil
}

// resolve names the deltas. One whose base is known by name only waits until it is; one
// that makes more than is read of an object is left out, like what it is of.
func (p *fetchedPack) resolve(deltas []uint32) error {
	sum := sha1.New()
	for len(deltas) > 0 {
		var fresh []place
		waiting := deltas[:0]
		for _, at := range deltas {
			t, content, err := p.read(int64(at))
			var large *tooLarge
			switch {
			case errors.Is(err, errNoBase):
				waiting = append(waiting, at)
				continue
			case errors.As(err, &large):
				continue
			case err != nil:
				return err
			}
			sum.Reset()
			fmt.Fprintf(sum, "%s %d\x00", t, len(content))
			sum.Write(content)
			if err := p.keep(&fresh, sum, int64(at)); err != nil {
				return err
			}
		}
		if len(fresh) == 0 && len(waiting) > 0 {
			return malformed("a delta in %s without its base", p.name)
		}
		p.known = append(p.known, fresh...)
		slices.SortStableFunc(p.known, func(a, b place) int { return compareIDs(a.id, b.id) })
		deltas = waiting
	}
	return nil
}
