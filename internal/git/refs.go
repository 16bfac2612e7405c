// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// Limits of refs.
const (
	maxPackedRefs = 256 << 20
	maxLooseRef   = 4 << 10
	maxRefLine    = 64 << 10
	maxRefDepth   = 64 // directories within each other

	refOverhead = 96 // of the memory that one name takes, beside itself
)

// Ref returns what a ref such as "refs/tags/v1" names. The error wraps
// [ErrNotFound] if there is no such ref. Symbolic refs are not followed: they
// are malformed here.
func (r *Repository) Ref(name string) (ID, error) {
	if !spelling.ValidRef(name) {
		return "", fmt.Errorf("%q cannot be a ref", clip.Text(name))
	}
	data, err := r.read(name, maxLooseRef)
	switch {
	case err == nil:
		id, err := ParseID(strings.TrimSuffix(string(data), "\n"))
		if err != nil {
			return "", malformed("%s: %s", name, err)
		}
		return id, nil
	case !missing(err) && !r.isDir(name):
		return "", err
	}
	var found ID
	err = r.packed(func(hash, packed []byte) error {
		if string(packed) != name {
			return nil
		}
		if found != "" && string(found) != string(hash) {
			return malformed("packed-refs: %s stands twice", name)
		}
		found = ID(hash)
		return nil
	})
	if err != nil {
		return "", err
	}
	if found == "" {
		return "", fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	return found, nil
}

// Head returns the commit that is checked out, or that HEAD of a bare repository
// names.
func (r *Repository) Head() (ID, error) {
	data, err := r.worktree("HEAD")
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(data), "\n")
	if ref, ok := strings.CutPrefix(text, "ref: "); ok {
		return r.Ref(ref)
	}
	id, err := ParseID(text)
	if err != nil {
		return "", malformed("HEAD: %s", err)
	}
	return id, nil
}

// Branch returns the branch that is checked out, such as "main"; "" for a commit.
func (r *Repository) Branch() (string, error) {
	data, err := r.worktree("HEAD")
	if err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(strings.TrimSuffix(string(data), "\n"), "ref: refs/heads/")
	if !ok {
		return "", nil
	}
	return name, nil
}

func missing(err error) bool { return errors.Is(err, os.ErrNotExist) }

func (r *Repository) isDir(name string) bool {
	info, err := r.dir.Lstat(name)
	return err == nil && info.IsDir()
}

// packed calls do for every line of packed-refs that names a ref, with the digits of
// an id; neither is kept, as there may be millions.
func (r *Repository) packed(do func(hash, name []byte) error) error {
	f, err := r.open("packed-refs")
	if missing(err) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	rd := bufio.NewReaderSize(f, maxRefLine)
	for total, last := 0, false; !last; {
		line, err := rd.ReadSlice('\n')
		last = err != nil
		if errors.Is(err, bufio.ErrBufferFull) {
			return malformed("packed-refs: a line of more than %d bytes", maxRefLine)
		}
		if total += len(line); total > maxPackedRefs {
			return malformed("packed-refs has more than %d bytes", maxPackedRefs)
		}
		if err := r.meter.work(int64(len(line))); err != nil {
			return err
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 || line[0] == '#' || line[0] == '^' { // what a tag leads to is read from the tag
			continue
		}
		hash, name, ok := bytes.Cut(line, []byte(" "))
		if !ok || !isID(hash) {
			return malformed("packed-refs: the line %q", clip.Bytes(line))
		}
		if err := do(hash, name); err != nil {
			return err
		}
	}
	return nil
}

// tipDirs are where the refs are whose history counts.
var tipDirs = []string{"refs/heads", "refs/remotes", "refs/tags"}

// tips adds what the branches, remote branches and tags name to a set.
func (r *Repository) tips(into *idSet) error {
	loose, err := r.looseRefs(tipDirs...)
	if err != nil {
		return err
	}
	defer loose.free()
	for name := range loose.names {
		id, err := r.Ref(name)
		if err != nil {
			return err
		}
		if err := into.add(id.raw()); err != nil {
			return err
		}
	}
	return r.packed(func(hash, name []byte) error {
		if !slices.ContainsFunc(tipDirs, func(dir string) bool { return bytes.HasPrefix(name, []byte(dir+"/")) }) ||
			loose.names[string(name)] {
			return nil // what a file says counts before what is packed
		}
		if !spelling.ValidRef(string(name)) { // nobody can ask for it
			return nil
		}
		return into.add(ID(hash).raw())
	})
}

// Tags returns the names of the tags, sorted.
func (r *Repository) Tags() ([]string, error) {
	loose, err := r.looseRefs("refs/tags")
	if err != nil {
		return nil, err
	}
	err = r.packed(func(_, name []byte) error {
		if !bytes.HasPrefix(name, []byte("refs/tags/")) || !spelling.ValidRef(string(name)) {
			return nil
		}
		return loose.add(string(name))
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for name := range loose.names {
		out = append(out, strings.TrimPrefix(name, "refs/tags/"))
	}
	slices.Sort(out)
	return out, nil
}

// refNames are names of refs, which are counted.
type refNames struct {
	m     *meter
	names map[string]bool
	held  int64
}

func (n *refNames) add(name string) error {
	if n.names[name] {
		return nil
	}
	size := int64(len(name)) + refOverhead
	if err := n.m.hold(size); err != nil {
		return err
	}
	n.held += size
	n.names[name] = true
	return nil
}

func (n *refNames) free() { n.m.give(n.held) }

// looseRefs returns the names of the refs that are files below some directories,
// without symbolic ones: what those name is there too.
func (r *Repository) looseRefs(dirs ...string) (*refNames, error) {
	out := &refNames{r.meter, map[string]bool{}, 0}
	for _, dir := range dirs {
		if err := r.walkRefs(dir, 0, out); err != nil && !missing(err) {
			out.free()
			return nil, err
		}
	}
	return out, nil
}

func (r *Repository) walkRefs(dir string, depth int, into *refNames) error {
	if depth == maxRefDepth {
		return malformed("refs in more than %d directories within each other", maxRefDepth)
	}
	if !r.isDir(dir) {
		return nil
	}
	return r.eachEntry(dir, func(e fs.DirEntry) error {
		name := dir + "/" + e.Name()
		switch {
		case e.IsDir():
			return r.walkRefs(name, depth+1, into)
		case !e.Type().IsRegular() || !spelling.ValidRef(name):
			return nil
		}
		data, err := r.read(name, maxLooseRef)
		switch {
		case missing(err): // it was deleted, or packed, meanwhile
			return nil
		case err != nil:
			return err
		case strings.HasPrefix(string(data), "ref: "):
			return nil
		}
		return into.add(name)
	})
}
