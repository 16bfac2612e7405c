// SPDX-License-Identifier: Apache-2.0

// Package worktree finds, reads and writes the files of a repository that is checked out.
package worktree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
)

// Tree is the directory of a repository's files. Nothing outside of it is
// Read or written, wherever links in it lead.
type Tree struct {
	dir  string
	root *os.Root
}

// Find returns the directory that holds .git: dir or one above it.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(abs); err != nil {
		return "", err
	}
	for at := abs; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			if at == abs {
				return dir, nil // as the user wrote it
			}
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", os.ErrNotExist
		}
	}
}

// Open opens the tree in a directory.
func Open(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	return &Tree{dir, root}, err
}

// Close ends the use of the tree.
func (w *Tree) Close() error { return w.root.Close() }

// Exists reports whether something has this name.
func (w *Tree) Exists(name string) bool {
	_, err := w.root.Lstat(name)
	return err == nil
}

// Read returns a regular file of at most limit bytes, nil if there is none. A link is
// an error: Git and the forges follow none in the place of these files either.
func (w *Tree) Read(name string, limit int64) ([]byte, error) {
	data, err := file.ReadIn(w.root, name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Names returns the sorted names in a directory; none if it cannot be read or is a link.
func (w *Tree) Names(dir string) []string {
	f, err := file.OpenDirIn(w.root, dir) // which does not wait for a pipe
	if err != nil {
		return nil
	}
	defer f.Close()
	out, _ := f.Readdirnames(-1)
	slices.Sort(out)
	return out
}

// Check refuses the name of a file that could not be written.
func (w *Tree) Check(name string) error { return file.CheckIn(w.dir, name) }

// Create writes a file that is not there yet. It appears with all of its content
// or not at all, and never in the place of another or through a link.
func (w *Tree) Create(name string, data []byte) error {
	return file.CreateIn(w.dir, name, data, 0o644)
}

// Replace puts a file in the place of another in one step.
func (w *Tree) Replace(name string, data []byte) error {
	return file.WriteIn(w.dir, name, data, 0o644)
}

// skipped are directories in which no release of the project lies.
var skipped = map[string]bool{
	".git": true, ".repopolicy": true, "node_modules": true, "vendor": true, "testdata": true, "test": true, "tests": true,
}

// Bundles returns the Sigstore bundles in the tree, within limits: a tree can be
// of any size, and what is missed is a suggestion less.
func (w *Tree) Bundles() map[string][]byte {
	const maxEntries, maxBundles, maxBundle = 200_000, 1000, 1 << 20
	out := map[string][]byte{}
	entries := 0
	_ = fs.WalkDir(w.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if entries++; entries > maxEntries || len(out) >= maxBundles {
			return fs.SkipAll
		}
		switch {
		case err != nil:
			return nil
		case d.IsDir() && skipped[d.Name()]:
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(name, ".sigstore.json"):
			if data, err := w.Read(name, maxBundle); err == nil && data != nil {
				out[name] = data
			}
		}
		return nil
	})
	return out
}
