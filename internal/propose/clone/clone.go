// SPDX-License-Identifier: Apache-2.0

// Package clone reads the files of a clone that say how a project releases, within limits: a
// clone can be of any size, and a file that is missed is a suggestion less.
package clone

import (
	"path"
	"strings"
)

const (
	maxFile    = 1 << 20 // of a file that is read
	maxEntries = 50_000  // names of a clone that are looked at
	maxDepth   = 5       // directories below each other
	maxFound   = 500     // files of one kind
)

// Files are the files of a clone; nothing outside of it is read. Read returns nil if there is
// no regular file of the name, Names nothing if there is no directory.
type Files interface {
	Read(name string, limit int64) ([]byte, error)
	Names(dir string) []string
}

// Clone reads each file once.
type Clone struct {
	files  Files
	read   map[string][]byte
	listed []string // all names of files, shallow ones first; nil until they are asked for
}

// New returns a reader of files.
func New(files Files) *Clone { return &Clone{files: files, read: map[string][]byte{}} }

// Read returns a file; nil if it cannot be read or lies outside.
func (c *Clone) Read(name string) []byte {
	name = path.Clean(strings.TrimPrefix(name, "./"))
	if name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.HasPrefix(name, "/") {
		return nil
	}
	if data, ok := c.read[name]; ok {
		return data
	}
	data, err := c.files.Read(name, maxFile)
	if err != nil {
		data = nil
	}
	c.read[name] = data
	return data
}

// First returns the first of some files that is there, with its name.
func (c *Clone) First(names ...string) (name string, data []byte) {
	for _, name := range names {
		if data := c.Read(name); data != nil {
			return name, data
		}
	}
	return "", nil
}

// Names returns the names in a directory.
func (c *Clone) Names(dir string) []string { return c.files.Names(dir) }

// skipped are directories in which nothing of a release is described.
var skipped = map[string]bool{
	"node_modules": true, "vendor": true, "testdata": true, "test": true, "tests": true, "__tests__": true, "e2e": true,
	"example": true, "examples": true, "fixtures": true, "third_party": true, "docs": true, "doc": true, "site": true,
	"target": true, "playground": true, "benchmarks": true, "benchmark": true,
}

// Find returns the names of the files whose base name matches, shallow ones first.
func (c *Clone) Find(matches func(base string) bool) (out []string) {
	if c.listed == nil {
		c.list()
	}
	for _, name := range c.listed {
		if matches(path.Base(name)) && len(out) < maxFound {
			out = append(out, name)
		}
	}
	return out
}

// list walks the clone breadth first. What has no names below it counts as a file.
func (c *Clone) list() {
	c.listed = []string{}
	level, seen := []string{"."}, 0
	for range maxDepth {
		var next []string
		for _, dir := range level {
			for _, base := range c.files.Names(dir) {
				if seen++; seen > maxEntries {
					return
				}
				c.listed = append(c.listed, path.Join(dir, base))
				if !skipped[base] && (!strings.HasPrefix(base, ".") || base == ".github") {
					next = append(next, path.Join(dir, base))
				}
			}
		}
		level = next
	}
}
