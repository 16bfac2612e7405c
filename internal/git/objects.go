// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/file"
)

// Object returns an object's type and content, which were checked against its
// id. The error wraps [ErrNotFound] if the repository does not have it. The content
// may be needed again and is not to be written to.
func (r *Repository) Object(id ID) (Type, []byte, error) {
	t, content, err := r.fromPacks(id)
	if errors.Is(err, ErrNotFound) {
		if t, content, err = r.loose(id); missing(err) {
			err = ErrNotFound
		}
	}
	return named(id, t, content, err)
}

// named returns what was read of an object if it has the id.
func named(id ID, t Type, content []byte, err error) (Type, []byte, error) {
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

// maxLooseHead is the length of the longest header of a loose object: a type, a
// size and what separates them.
const maxLooseHead = 32

// loose reads an object that is a file of its own.
// https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
func (r *Repository) loose(id ID) (Type, []byte, error) {
	f, err := r.open(path.Join("objects", string(id[:2]), string(id[2:])))
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	in := &r.inflater
	in.cursor.src, in.base, in.r, in.n = f, 0, 0, 0
	if err := in.begin(); err != nil {
		return "", nil, malformed("%s", err)
	}
	var head []byte
	for {
		var b [1]byte
		if _, err := io.ReadFull(in.z, b[:]); err != nil || len(head) == maxLooseHead {
			return "", nil, malformed("it does not begin with a type and a size")
		}
		if b[0] == 0 {
			break
		}
		head = append(head, b[0])
	}
	kind, digits, _ := strings.Cut(string(head), " ")
	t := Type(kind)
	size, err := strconv.ParseUint(digits, 10, 63)
	if limit := limitOf(t); limit == 0 || err != nil {
		return "", nil, malformed("it begins with %q", clip.Bytes(head))
	} else if size > uint64(limit) {
		return "", nil, &tooLarge{int64(size), limit}
	}
	if err := r.meter.hold(int64(size)); err != nil {
		return "", nil, err
	}
	defer r.meter.give(int64(size))
	content := make([]byte, size)
	if err = in.full(content); err == nil {
		err = in.end()
	}
	switch {
	case Fatal(err):
		return "", nil, err
	case err != nil:
		return "", nil, malformed("%s", err)
	}
	return t, content, nil
}

// fromPacks looks the object up in every pack.
func (r *Repository) fromPacks(id ID) (Type, []byte, error) {
	if err := r.listPacks(); err != nil {
		return "", nil, err
	}
	raw := id.raw()
	for _, p := range r.packs {
		if err := r.meter.work(entryWork); err != nil {
			return "", nil, err
		}
		if err := p.open(r); err != nil {
			return "", nil, err
		}
		off, ok, err := p.index.find(raw)
		if err != nil {
			return "", nil, err
		}
		if !ok {
			continue
		}
		t, content, err := p.read(off)
		if errors.Is(err, errNoBase) {
			err = malformed("%s: %s", p.stem, err)
		}
		return t, content, err
	}
	return "", nil, ErrNotFound
}

// listPacks finds the packs, once.
func (r *Repository) listPacks() error {
	if r.listed {
		return nil
	}
	err := r.eachEntry("objects/pack", func(e fs.DirEntry) error {
		stem, ok := strings.CutSuffix(e.Name(), ".idx")
		if !ok {
			return nil
		}
		if len(r.packs) == maxPacks {
			return malformed("more than %d packs", maxPacks)
		}
		r.packs = append(r.packs, &pack{stem: path.Join("objects/pack", stem)})
		return nil
	})
	if err != nil && !missing(err) {
		return err
	}
	r.listed = true
	return nil
}

// eachEntry calls do for every entry of a directory, a few at a time: there may be any
// number.
func (r *Repository) eachEntry(dir string, do func(fs.DirEntry) error) error {
	f, err := file.OpenDirIn(r.dir, dir)
	if errors.Is(err, file.ErrNotRegular) {
		return malformed("%s is not a directory", dir)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if err := r.meter.work(entryWork); err != nil {
				return err
			}
			if err := do(e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// pack is one pack with its index, opened when it is first needed.
type pack struct {
	stem  string
	index *packIndex
	data  *os.File
	file  *packFile
}

func (p *pack) open(r *Repository) error {
	if p.index != nil {
		return nil
	}
	idx, err := r.open(p.stem + ".idx")
	if err != nil {
		return err
	}
	index, err := newPackIndex(idx)
	if err != nil {
		idx.Close()
		return malformed("%s.idx: %s", p.stem, err)
	}
	if p.data, err = r.open(p.stem + ".pack"); err != nil {
		idx.Close()
		return err
	}
	p.index = index
	p.file = &packFile{name: p.stem, in: &r.inflater, find: index.find, held: r.cache}
	return nil
}

// read returns the object at a position. All packs of a repository share the
// inflater, as one object is read at a time and its deltas lie in one pack.
func (p *pack) read(off int64) (Type, []byte, error) {
	if in := p.file.in; in.src != p.data {
		in.src, in.base, in.r, in.n = p.data, 0, 0, 0
	}
	return p.file.read(off)
}

func (p *pack) close() {
	if p.index != nil {
		p.index.f.Close()
		p.data.Close()
	}
}
