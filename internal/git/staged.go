// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/format/index"
)

// Limits of an index.
const (
	maxIndexBytes   = 256 << 20
	maxIndexEntries = 1_000_000
	maxTreeDepth    = 256
)

// Staged returns the sorted names in which the index of the work tree differs
// from a commit: what `git diff --cached` would show. It compares names, modes
// and hashes and reads no file of the work tree. A work tree without an index has
// none.
func (r *Repository) Staged(commit ID) ([]string, error) {
	f, err := os.Open(filepath.Join(r.own, "index"))
	if missing(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIndexBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxIndexBytes {
		return nil, malformed("the index has more than %d bytes", maxIndexBytes)
	}
	var idx index.Index
	if err := index.NewDecoder(bytes.NewReader(data)).Decode(&idx); err != nil {
		return nil, fmt.Errorf("%w: the index: %s", ErrUnsupported, err)
	}
	root, err := treeOf(r, commit, "")
	if err != nil {
		return nil, err
	}
	committed := map[string]Entry{}
	if err := r.flatten(root, "", 0, committed); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range idx.Entries {
		c, ok := committed[e.Name]
		if !ok || e.Stage != 0 || e.IntentToAdd || string(c.ID) != e.Hash.String() || c.Mode != fmt.Sprintf("%o", uint32(e.Mode)) {
			out = append(out, e.Name)
		}
		delete(committed, e.Name)
	}
	for name := range committed {
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// flatten collects the files of a tree by their whole names.
func (r *Repository) flatten(tree ID, prefix string, depth int, into map[string]Entry) error {
	if depth > maxTreeDepth || len(into) > maxIndexEntries {
		return malformed("a tree that is too deep or has too many files")
	}
	entries, err := entriesOf(r, tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Mode == modeDir {
			if err := r.flatten(e.ID, prefix+e.Name+"/", depth+1, into); err != nil {
				return err
			}
			continue
		}
		if e.Mode == "100664" { // of old trees; the index has no such mode
			e.Mode = "100644"
		}
		into[prefix+e.Name] = e
	}
	return nil
}
