// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"strings"
)

// store is where objects come from.
type store interface {
	// Object returns an object's type and content; see [Repository.Object].
	Object(ID) (Type, []byte, error)
	// blob returns the content of a file, and counts it as kept.
	blob(ID) ([]byte, error)
	// counts counts what is kept of them.
	counts() *meter
}

// entryOverhead is what is counted of an entry of a tree that is kept, beside its name.
const entryOverhead = 256

// Modes of tree entries.
const (
	modeFile = "100644"
	modeDir  = "40000"
)

// File is a file of a commit's tree.
type File struct {
	Name string // within the tree
	Data []byte
}

// File returns the content of a file of a commit's tree. What is not a plain,
// non-executable file in plain directories is malformed: a link or a submodule
// leads elsewhere.
func (r *Repository) File(commit ID, name string) ([]byte, error) { return fileOf(r, commit, name) }

// Dir returns the plain files of a directory of a commit's tree whose names
// match says are wanted. What is missing is no error, nor is what is not a plain
// file: anyone who can write there can leave anything.
func (r *Repository) Dir(commit ID, dir string, match func(name string) bool) ([]File, error) {
	return dirOf(r, commit, dir, match)
}

func fileOf(s store, commit ID, name string) ([]byte, error) {
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	tree, err := treeOf(s, commit, dir)
	if err != nil {
		return nil, err
	}
	e, err := entryOf(s, tree, base)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if e.Mode != modeFile {
		return nil, malformed("%s has the mode %s in the tree; a plain file is needed", name, e.Mode)
	}
	return s.blob(e.ID)
}

func dirOf(s store, commit ID, dir string, match func(string) bool) ([]File, error) {
	wanted, err := wantedOf(s, commit, dir, match)
	if err != nil {
		return nil, err
	}
	var out []File
	for _, e := range wanted {
		data, err := s.blob(e.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, File{dir + "/" + e.Name, data})
	}
	return out, nil
}

// wantedOf returns the entries of the plain files of a directory.
func wantedOf(s store, commit ID, dir string, match func(string) bool) ([]Entry, error) {
	tree, err := treeOf(s, commit, dir)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return entriesOf(s, tree, func(e rawEntry) bool { return string(e.mode) == modeFile && match(dir+"/"+string(e.name)) })
}

// treeOf returns the tree of a directory of a commit; dir is "" for the root.
func treeOf(s store, commit ID, dir string) (ID, error) {
	t, content, err := s.Object(commit)
	if err != nil {
		return "", err
	}
	if t != Commit {
		return "", malformed("%s is a %s, not a commit", commit, t)
	}
	c, err := ParseCommit(content)
	if err != nil {
		return "", err
	}
	id := c.Tree
	if dir == "" {
		return id, nil
	}
	for seg := range strings.SplitSeq(dir, "/") {
		e, err := entryOf(s, id, seg)
		if err != nil {
			return "", fmt.Errorf("%s: %w", dir, err)
		}
		if e.Mode != modeDir {
			return "", malformed("%s has the mode %s in the tree; a plain directory is needed", seg, e.Mode)
		}
		id = e.ID
	}
	return id, nil
}

// entriesOf returns those entries of a tree that are wanted, and counts them as kept.
func entriesOf(s store, tree ID, want func(rawEntry) bool) ([]Entry, error) {
	var out []Entry
	err := walkTree(s, tree, func(e rawEntry) error {
		if !want(e) {
			return nil
		}
		if err := s.counts().hold(int64(len(e.name)) + entryOverhead); err != nil {
			return err
		}
		out = append(out, e.entry())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// walkTree calls do for every entry of a tree.
func walkTree(s store, tree ID, do func(rawEntry) error) error {
	t, content, err := s.Object(tree)
	if err != nil {
		return err
	}
	if t != Tree {
		return malformed("%s is a %s, not a tree", tree, t)
	}
	return eachEntry(content, do)
}

func entryOf(s store, tree ID, name string) (Entry, error) {
	var found *Entry
	err := walkTree(s, tree, func(e rawEntry) error {
		if string(e.name) == name {
			found = new(e.entry())
		}
		return nil
	})
	if err != nil {
		return Entry{}, err
	}
	if found == nil {
		return Entry{}, ErrNotFound
	}
	return *found, nil
}

// blobOf returns the content of a file, and counts it as kept.
func blobOf(s store, id ID) ([]byte, error) {
	t, content, err := s.Object(id)
	if err != nil {
		return nil, err
	}
	if t != Blob {
		return nil, malformed("%s is a %s, not a blob", id, t)
	}
	if err := s.counts().hold(int64(len(content))); err != nil {
		return nil, err
	}
	return content, nil
}
