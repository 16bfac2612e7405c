// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
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
	written := map[[sha256.Size]byte]string{} // by content
	for _, target := range slices.Sorted(maps.Keys(f.Targets)) {
		if !ValidPath(target) {
			return fmt.Errorf("%q is no path of a target", target)
		}
		c := f.Targets[target]
		name := TargetsDir + "/" + target
		var err error
		if first, ok := written[c.SHA256]; ok {
			err = c.Link(dir, first, name)
		} else {
			err = c.Update(dir, name)
			written[c.SHA256] = name
		}
		if err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
	}
	for _, name := range f.Ordered() {
		if err := file.Update(dir, url.PathEscape(name), f.Metadata[name]); err != nil {
			return err
		}
	}
	return nil
}

// Distinct returns how many targets there are, each of which may have a name for each of its hashes.
func (f *Files) Distinct() int {
	seen := map[string]bool{}
	for name := range f.Targets {
		dir, base := path.Split(name)
		if _, plain, ok := strings.Cut(base, "."); ok {
			base = plain
		}
		sum := f.Targets[name].SHA256
		seen[dir+base+string(sum[:])] = true
	}
	return len(seen)
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
