// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
)

// TargetsDir is where a web server has the targets of a repository.
const TargetsDir = "targets"

// maxPath is the longest path of a target.
const maxPath = 512

// WriteTree writes a repository as a web server serves it, metadata at the top and
// targets below it, in an order in which clients can read it at any time; the
// timestamp, which makes the rest current, comes last. What is there already stays.
func (f *Files) WriteTree(dir string) error {
	for _, path := range slices.Sorted(maps.Keys(f.Targets)) {
		if !ValidPath(path) {
			return fmt.Errorf("%q is no path of a target", path)
		}
		if err := f.Targets[path].Update(dir, TargetsDir+"/"+path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, name := range f.Ordered() {
		if err := file.Update(dir, url.PathEscape(name), f.Metadata[name]); err != nil {
			return err
		}
	}
	return nil
}

// Ordered returns the names of the metadata: each file comes after those that it names, and
// a root, by which what is current might not be signed, just before the timestamp.
func (f *Files) Ordered() []string {
	return slices.SortedFunc(maps.Keys(f.Metadata), func(a, b string) int {
		return cmp.Or(rank(a)-rank(b), len(a)-len(b), strings.Compare(a, b))
	})
}

func rank(name string) int {
	switch {
	case name == "timestamp.json":
		return 3
	case strings.HasSuffix(name, ".root.json"):
		return 2
	case strings.HasSuffix(name, ".snapshot.json"):
		return 1
	}
	return 0
}

// ValidPath reports whether a target can have this path.
func ValidPath(path string) bool {
	return fs.ValidPath(path) && path != "." && len(path) <= maxPath &&
		!strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' })
}
