// SPDX-License-Identifier: Apache-2.0

package git

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// Object returns an object's type and content, which were checked against its
// id. The error wraps [ErrNotFound] if the repository does not have it.
func (r *Repository) Object(id ID) (Type, []byte, error) {
	t, content, err := r.loose(id)
	if missing(err) {
		t, content, err = r.fromPacks(id)
	}
	if err != nil {
		return "", nil, fmt.Errorf("object %s: %w", id, err)
	}
	got, err := Hash(t, content)
	if err != nil {
		return "", nil, fmt.Errorf("object %s: %w", id, malformed("%s", err))
	}
	if got != id {
		return "", nil, fmt.Errorf("object %s: %w", id, malformed("its content has the id %s", got))
	}
	return t, content, nil
}

func (r *Repository) loose(id ID) (Type, []byte, error) {
	f, err := r.open(path.Join("objects", string(id[:2]), string(id[2:])))
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	or, err := objfile.NewReader(f)
	if err != nil {
		return "", nil, malformed("%s", err)
	}
	defer or.Close()
	t, size, err := or.Header()
	if err != nil {
		return "", nil, malformed("%s", err)
	}
	if size > MaxObjectBytes {
		return "", nil, malformed("%d bytes, at most %d are read", size, MaxObjectBytes)
	}
	content, err := io.ReadAll(io.LimitReader(or, size+1))
	if err != nil || int64(len(content)) != size {
		return "", nil, malformed("it is not as long as it says (%v)", err)
	}
	return Type(t.String()), content, nil
}

// fromPacks looks the object up in every pack.
func (r *Repository) fromPacks(id ID) (Type, []byte, error) {
	if err := r.listPacks(); err != nil {
		return "", nil, err
	}
	h := plumbing.NewHash(string(id))
	for _, p := range r.packs {
		if err := p.open(r); err != nil {
			return "", nil, err
		}
		off, err := p.index.FindOffset(h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			continue
		} else if err != nil {
			return "", nil, err
		}
		return p.read(off)
	}
	return "", nil, ErrNotFound
}

func (r *Repository) listPacks() error {
	if r.listed {
		return nil
	}
	entries, err := fs.ReadDir(r.dir.FS(), "objects/pack")
	if err != nil && !missing(err) {
		return err
	}
	for _, e := range entries {
		if stem, ok := strings.CutSuffix(e.Name(), ".idx"); ok {
			if len(r.packs) == maxPacks {
				return malformed("more than %d packs", maxPacks)
			}
			r.packs = append(r.packs, &pack{stem: path.Join("objects/pack", stem)})
		}
	}
	r.listed = true
	return nil
}

// pack is one pack with its index, opened when it is first needed.
type pack struct {
	stem  string
	index *lazyIndex
	data  *os.File
	files *packfile.Packfile
}

func (p *pack) open(r *Repository) error {
	if p.index != nil {
		return nil
	}
	idx, err := r.open(p.stem + ".idx")
	if err != nil {
		return err
	}
	index, err := newLazyIndex(idx)
	if err != nil {
		idx.Close()
		return malformed("%s.idx: %s", p.stem, err)
	}
	if p.data, err = r.open(p.stem + ".pack"); err != nil {
		idx.Close()
		return err
	}
	p.index = index
	p.files = packfile.NewPackfileWithCache(index, nil, osFile{p.data}, cache.NewObjectLRU(4*MaxObjectBytes), 0)
	return nil
}

func (p *pack) close() {
	if p.index != nil {
		p.index.f.Close()
		p.data.Close()
	}
}

// read returns the object at an offset, once the sizes of everything that it is
// made of were found to be within bounds.
func (p *pack) read(off int64) (t Type, content []byte, err error) {
	defer func() { // the library indexes hostile bytes in places
		if v := recover(); v != nil {
			err = malformed("%s: %v", p.stem, v)
		}
	}()
	if err := p.checkSizes(off); err != nil {
		return "", nil, err
	}
	obj, err := p.files.GetByOffset(off)
	if err != nil {
		return "", nil, malformed("%s: %s", p.stem, err)
	}
	if obj.Size() > MaxObjectBytes {
		return "", nil, malformed("%d bytes, at most %d are read", obj.Size(), MaxObjectBytes)
	}
	rd, err := obj.Reader()
	if err != nil {
		return "", nil, malformed("%s: %s", p.stem, err)
	}
	defer rd.Close()
	content, err = io.ReadAll(io.LimitReader(rd, MaxObjectBytes+1))
	if err != nil {
		return "", nil, malformed("%s: %s", p.stem, err)
	}
	return Type(obj.Type().String()), content, nil
}

// checkSizes follows the chain of deltas from an object to its base. What each
// delta makes is bounded by its own header, which is read here too.
func (p *pack) checkSizes(off int64) error {
	for range maxDeltas {
		h, err := p.files.Scanner().SeekObjectHeader(off)
		if err != nil {
			return malformed("%s: %s", p.stem, err)
		}
		if h.Length > MaxObjectBytes {
			return malformed("%d bytes in %s, at most %d are read", h.Length, p.stem, MaxObjectBytes)
		}
		switch h.Type {
		case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
			return nil
		case plumbing.OFSDeltaObject:
			if h.OffsetReference >= off || h.OffsetReference < 0 {
				return malformed("a delta in %s whose base follows it", p.stem)
			}
		case plumbing.REFDeltaObject:
		default:
			return malformed("an object of type %d in %s", h.Type, p.stem)
		}
		if err := p.checkTarget(); err != nil {
			return err
		}
		if h.Type == plumbing.OFSDeltaObject {
			off = h.OffsetReference
			continue
		}
		if off, err = p.index.FindOffset(h.Reference); err != nil {
			return malformed("a delta in %s without its base", p.stem)
		}
	}
	return malformed("a chain of more than %d deltas in %s", maxDeltas, p.stem)
}

// checkTarget reads the delta that the scanner stands before, and the two sizes
// at its beginning.
func (p *pack) checkTarget() error {
	var delta limited
	if _, _, err := p.files.Scanner().NextObject(&delta); err != nil {
		return malformed("%s: %s", p.stem, err)
	}
	_, n := binary.Uvarint(delta.b[:delta.n])
	if n <= 0 {
		return malformed("a delta in %s without sizes", p.stem)
	}
	target, m := binary.Uvarint(delta.b[n:delta.n])
	if m <= 0 || target > MaxObjectBytes {
		return malformed("a delta in %s that makes %d bytes, at most %d are read", p.stem, target, MaxObjectBytes)
	}
	return nil
}

// limited keeps the first bytes that are written to it.
type limited struct {
	b [20]byte
	n int
}

func (l *limited) Write(p []byte) (int, error) {
	l.n += copy(l.b[l.n:], p)
	return len(p), nil
}

// lazyIndex is a pack's index, version 2, that is searched on disk: reading all
// of a large one takes longer than everything else.
// https://git-scm.com/docs/pack-format#_pack_idx_files_have_the_following_format
type lazyIndex struct {
	f      *os.File
	fanout [256]uint32
	count  int64
	large  int64 // number of 8-byte offsets
}

const idxHead = 8 + 256*4

func newLazyIndex(f *os.File) (*lazyIndex, error) {
	var head [idxHead]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if string(head[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return nil, errors.New("not an index of version 2")
	}
	x := &lazyIndex{f: f}
	var last uint32
	for i := range x.fanout {
		x.fanout[i] = binary.BigEndian.Uint32(head[8+4*i:])
		if x.fanout[i] < last {
			return nil, errors.New("its table is not in order")
		}
		last = x.fanout[i]
	}
	x.count = int64(last)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	rest := info.Size() - idxHead - x.count*(20+4+4) - 40
	if rest < 0 || rest%8 != 0 {
		return nil, errors.New("it is not as long as it says")
	}
	x.large = rest / 8
	return x, nil
}

func (x *lazyIndex) name(i int64) ([]byte, error) {
	var b [20]byte
	_, err := x.f.ReadAt(b[:], idxHead+20*i)
	return b[:], err
}

// FindOffset returns where in the pack an object is.
func (x *lazyIndex) FindOffset(h plumbing.Hash) (int64, error) {
	lo, hi := int64(0), int64(x.fanout[h[0]])
	if h[0] > 0 {
		lo = int64(x.fanout[h[0]-1])
	}
	var failed error
	want := hex.EncodeToString(h[:])
	i := lo + int64(sort.Search(int(hi-lo), func(n int) bool {
		name, err := x.name(lo + int64(n))
		if err != nil {
			failed = err
		}
		return hex.EncodeToString(name) >= want
	}))
	if failed != nil {
		return 0, failed
	}
	if i == hi {
		return 0, plumbing.ErrObjectNotFound
	}
	if name, err := x.name(i); err != nil {
		return 0, err
	} else if hex.EncodeToString(name) != want {
		return 0, plumbing.ErrObjectNotFound
	}
	var b [8]byte
	if _, err := x.f.ReadAt(b[:4], idxHead+x.count*24+4*i); err != nil {
		return 0, err
	}
	off := int64(binary.BigEndian.Uint32(b[:4]))
	if off&(1<<31) == 0 {
		return off, nil
	}
	off &^= 1 << 31
	if off >= x.large {
		return 0, malformed("an offset beyond the table")
	}
	if _, err := x.f.ReadAt(b[:], idxHead+x.count*28+8*off); err != nil {
		return 0, err
	}
	if off = int64(binary.BigEndian.Uint64(b[:])); off < 0 {
		return 0, malformed("a negative offset")
	}
	return off, nil
}

// FindHash returns a name for what is at an offset. The library only uses it as
// a key of its cache.
func (x *lazyIndex) FindHash(off int64) (plumbing.Hash, error) {
	var h plumbing.Hash
	binary.BigEndian.PutUint64(h[:], uint64(off))
	return h, nil
}

// Contains reports whether the pack has the object.
func (x *lazyIndex) Contains(h plumbing.Hash) (bool, error) {
	_, err := x.FindOffset(h)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Count returns the number of objects.
func (x *lazyIndex) Count() (int64, error) { return x.count, nil }

// FindCRC32, Entries and EntriesByOffset are part of the library's interface and
// not needed to read an object.
func (x *lazyIndex) FindCRC32(plumbing.Hash) (uint32, error) { return 0, errors.ErrUnsupported }

// Entries is not needed; see FindCRC32.
func (x *lazyIndex) Entries() (idxfile.EntryIter, error) { return nil, errors.ErrUnsupported }

// EntriesByOffset is not needed; see FindCRC32.
func (x *lazyIndex) EntriesByOffset() (idxfile.EntryIter, error) { return nil, errors.ErrUnsupported }

var _ idxfile.Index = (*lazyIndex)(nil)

// osFile is a file as the library wants it.
type osFile struct{ *os.File }

// Lock is part of the library's interface; nothing is written here.
func (osFile) Lock() error { return nil }

// Unlock is part of the library's interface; see Lock.
func (osFile) Unlock() error { return nil }
