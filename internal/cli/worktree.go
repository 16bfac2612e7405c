// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
)

// worktree is the directory of a repository's files. Nothing outside of it is
// read or written, wherever links in it lead.
type worktree struct {
	dir  string
	root *os.Root
}

// findWorktree returns the directory that holds .git: dir or one above it.
func findWorktree(dir string) (string, error) {
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

func openWorktree(dir string) (*worktree, error) {
	root, err := os.OpenRoot(dir)
	return &worktree{dir, root}, err
}

func (w *worktree) exists(name string) bool {
	_, err := w.root.Lstat(name)
	return err == nil
}

// read returns a regular file of at most limit bytes, nil if there is none. A link is
// an error: Git and the forges follow none in the place of these files either.
func (w *worktree) read(name string, limit int64) ([]byte, error) {
	data, err := file.ReadIn(w.root, name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// create writes a file that is not there yet. It appears with all of its content
// or not at all, and never in the place of another or through a link.
func (w *worktree) create(name string, data []byte) error {
	return file.CreateIn(w.dir, name, data, 0o644)
}

// replace puts a file in the place of another in one step.
func (w *worktree) replace(name string, data []byte) error {
	return file.WriteIn(w.dir, name, data, 0o644)
}

// skipped are directories in which no release of the project lies.
var skipped = map[string]bool{".git": true, ".repopolicy": true, "node_modules": true, "vendor": true, "testdata": true, "test": true, "tests": true}

// bundles returns the Sigstore bundles in the tree, within limits: a tree can be
// of any size, and what is missed is a suggestion less.
func (w *worktree) bundles() map[string][]byte {
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
			if data, err := w.read(name, maxBundle); err == nil && data != nil {
				out[name] = data
			}
		}
		return nil
	})
	return out
}
