// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

// Ref returns what a ref such as "refs/tags/v1" names. The error wraps
// [ErrNotFound] if there is no such ref. Symbolic refs are not followed: they
// are malformed here.
func (r *Repository) Ref(name string) (ID, error) {
	if !policy.ValidRef(name) {
		return "", fmt.Errorf("%q cannot be a ref", clip(name))
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
	packed, err := r.packed()
	if err != nil {
		return "", err
	}
	if id, ok := packed[name]; ok {
		return id, nil
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotFound)
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

func missing(err error) bool { return errors.Is(err, os.ErrNotExist) }

func (r *Repository) isDir(name string) bool {
	info, err := r.dir.Lstat(name)
	return err == nil && info.IsDir()
}

// packed returns the refs of packed-refs. Names that cannot be refs are left
// out: nobody can ask for them.
func (r *Repository) packed() (map[string]ID, error) {
	data, err := r.read("packed-refs", maxPackedRefs)
	if missing(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	out := map[string]ID{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' || line[0] == '^' { // what a tag leads to is read from the tag
			continue
		}
		hash, name, ok := strings.Cut(line, " ")
		id, err := ParseID(hash)
		if !ok || err != nil {
			return nil, malformed("packed-refs: the line %q", clip(line))
		}
		if policy.ValidRef(name) {
			if old, twice := out[name]; twice && old != id {
				return nil, malformed("packed-refs: %s stands twice", name)
			}
			out[name] = id
		}
	}
	return out, nil
}

// Tips returns what the branches, remote branches and tags name.
func (r *Repository) Tips() ([]ID, error) {
	packed, err := r.packed()
	if err != nil {
		return nil, err
	}
	names, err := r.looseRefs("refs/heads", "refs/remotes", "refs/tags")
	if err != nil {
		return nil, err
	}
	for name := range packed {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/remotes/") || strings.HasPrefix(name, "refs/tags/") {
			names[name] = true
		}
	}
	var out []ID
	for name := range names {
		id, err := r.Ref(name)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// Tags returns the names of the tags, sorted.
func (r *Repository) Tags() ([]string, error) {
	packed, err := r.packed()
	if err != nil {
		return nil, err
	}
	names, err := r.looseRefs("refs/tags")
	if err != nil {
		return nil, err
	}
	for name := range packed {
		names[name] = true
	}
	var out []string
	for name := range names {
		if tag, ok := strings.CutPrefix(name, "refs/tags/"); ok {
			out = append(out, tag)
		}
	}
	slices.Sort(out)
	return out, nil
}

// looseRefs returns the names of the refs that are files below some directories,
// without symbolic ones: what those name is there too.
func (r *Repository) looseRefs(dirs ...string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, dir := range dirs {
		err := fs.WalkDir(r.dir.FS(), dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case missing(err):
				return nil
			case err != nil:
				return err
			case !d.Type().IsRegular() || !policy.ValidRef(path.Clean(name)):
				return nil
			}
			data, err := r.read(name, maxLooseRef)
			if err == nil && !strings.HasPrefix(string(data), "ref: ") {
				out[name] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
