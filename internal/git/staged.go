// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/repopolicy/repopolicy/internal/file"
)

// Limits of an index.
const (
	maxIndexBytes   = 256 << 20
	maxIndexEntries = 2_000_000 // and directories
	maxTreeDepth    = 256
)

// Staged returns the sorted names in which the index of the work tree differs
// from a commit: what `git diff --cached` would show. It compares names, modes
// and hashes and reads no file of the work tree. A work tree without an index has
// none. Both are read side by side, in the order that they share.
func (r *Repository) Staged(commit ID) ([]string, error) {
	f, err := file.Open(filepath.Join(r.own, "index"))
	switch {
	case missing(err):
		return nil, nil
	case errors.Is(err, file.ErrNotRegular):
		return nil, malformed("%s", err)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	idx, err := newStagedIndex(r.meter, f)
	if err != nil {
		return nil, err
	}
	if err := idx.next(); err != nil {
		return nil, err
	}
	root, err := treeOf(r, commit, "")
	if err != nil {
		return nil, err
	}
	d := &difference{r: r, idx: idx}
	if err := d.tree(root, nil, 0); err != nil {
		return nil, err
	}
	for idx.entry != nil {
		if err := d.staged(); err != nil {
			return nil, err
		}
	}
	return slices.Compact(d.out), nil
}

// difference collects the names that are not the same in a commit and an index.
type difference struct {
	r    *Repository
	idx  *stagedIndex
	seen int
	out  []string
}

func (d *difference) add(name []byte) error {
	if err := d.r.meter.hold(int64(len(name)) + refOverhead); err != nil {
		return err
	}
	d.out = append(d.out, string(name))
	return nil
}

// staged adds the next entry of the index, and passes it.
func (d *difference) staged() error {
	if err := d.add(d.idx.entry.name); err != nil {
		return err
	}
	return d.idx.next()
}

// tree compares the files of a tree and of those in it.
func (d *difference) tree(id ID, prefix []byte, depth int) error {
	if depth > maxTreeDepth {
		return malformed("trees in more than %d others", maxTreeDepth)
	}
	t, content, err := d.r.Object(id)
	if err != nil {
		return err
	}
	if t != Tree {
		return malformed("%s is a %s, not a tree", id, t)
	}
	if err := d.r.meter.hold(int64(len(content))); err != nil {
		return err
	}
	defer d.r.meter.give(int64(len(content)))
	return eachEntry(content, func(e rawEntry) error {
		if d.seen++; d.seen > maxIndexEntries {
			return malformed("a commit with more than %d files", maxIndexEntries)
		}
		if err := d.r.meter.work(entryWork); err != nil {
			return err
		}
		if len(prefix)+len(e.name) > maxIndexName {
			return malformed("a name of more than %d bytes in a tree", maxIndexName)
		}
		name := append(prefix[:len(prefix):len(prefix)], e.name...)
		if string(e.mode) == modeDir {
			return d.tree(e.entry().ID, append(name, '/'), depth+1)
		}
		return d.file(name, e)
	})
}

// file compares one file.
func (d *difference) file(name []byte, committed rawEntry) error {
	mode := string(committed.mode)
	if mode == "100664" { // of old trees; the index has no such mode
		mode = modeFile
	}
	same := false
	for e := d.idx.entry; e != nil && bytes.Compare(e.name, name) <= 0; e = d.idx.entry {
		if bytes.Equal(e.name, name) && e.stage == 0 && !e.later && e.id == oid(committed.id) &&
			strconv.FormatUint(uint64(e.mode), 8) == mode {
			same = true
			if err := d.idx.next(); err != nil {
				return err
			}
			continue
		}
		if bytes.Equal(e.name, name) {
			same = true // it is added once
		}
		if err := d.staged(); err != nil {
			return err
		}
	}
	if same {
		return nil
	}
	return d.add(name)
}
