// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// candidate is a file that may hold evidence. Either bundle or err is set.
type candidate struct {
	path   string
	bundle *sigstore.Bundle
	err    *Failure
}

// finder finds and reads evidence. A file that may serve many artifacts is read
// and parsed once; one that serves a single artifact is not kept.
type finder struct {
	explicit []string // given by the user; replaces looking beside the artifact

	mu      sync.Mutex
	bundles map[string]*lazy[*candidate]
	sums    map[string]*lazy[[]sumsFile]
}

type lazy[T any] struct {
	once sync.Once
	v    T
}

// sumsFile is a checksum file that was found in a directory.
type sumsFile struct {
	self   *Artifact
	names  map[string]policy.Digest
	signed []policy.Digest
}

func newFinder(explicit []string) *finder {
	return &finder{explicit: explicit, bundles: map[string]*lazy[*candidate]{}, sums: map[string]*lazy[[]sumsFile]{}}
}

// find returns the candidates for an artifact: the files that the user named,
// or those beside it. Shared says that the artifact, a checksum file, stands for
// many others.
func (f *finder) find(a *Artifact, shared bool) []*candidate {
	var out []*candidate
	load := readCandidate
	if shared {
		load = f.load
	}
	if len(f.explicit) > 0 {
		for _, p := range f.explicit {
			out = append(out, f.load(p))
		}
		return out
	}
	path := a.Path
	if path == "" && a.Listed != nil {
		path = a.Arg // not here, but its evidence may be
	}
	if path == "" {
		return nil
	}
	for _, suffix := range evidenceSuffixes {
		if _, err := os.Lstat(path + suffix); err == nil {
			out = append(out, load(path+suffix))
		} else if !errors.Is(err, os.ErrNotExist) {
			out = append(out, &candidate{path: path + suffix, err: failf(policy.BundleInvalid, "%s", err)})
		}
	}
	return out
}

// load reads a file once.
func (f *finder) load(path string) *candidate {
	f.mu.Lock()
	l := f.bundles[path]
	if l == nil {
		l = &lazy[*candidate]{}
		f.bundles[path] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = readCandidate(path) })
	return l.v
}

func readCandidate(path string) *candidate {
	c := &candidate{path: path}
	data, err := file.Read(path, sigstore.MaxBundleBytes)
	if err != nil {
		c.err = failf(policy.BundleInvalid, "%s", err)
		return c
	}
	b, err := sigstore.ParseBundle(data)
	if err != nil {
		c.err = failure(err, policy.BundleInvalid)
		return c
	}
	c.bundle = b
	return c
}

// failure returns err as a Failure, with its own reason if it has one.
func failure(err error, fallback policy.Reason) *Failure {
	var se *sigstore.Error
	if errors.As(err, &se) {
		return &Failure{se.Reason, se.Error()}
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{fallback, err.Error()}
}

// listings returns what the checksum files beside a file say about it.
func (f *finder) listings(a *Artifact) []*Listing {
	if a.Listed != nil {
		return []*Listing{a.Listed}
	}
	if a.Path == "" || len(f.explicit) > 0 {
		return nil
	}
	dir := filepath.Dir(a.Path)
	f.mu.Lock()
	l := f.sums[dir]
	if l == nil {
		l = &lazy[[]sumsFile]{}
		f.sums[dir] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = readSumsIn(dir) })
	var out []*Listing
	for _, s := range l.v {
		if d, ok := s.names[filepath.Base(a.Path)]; ok {
			out = append(out, &Listing{s.self, d, s.signed})
		}
	}
	return out
}

// readSumsIn reads the checksum files of a directory. One that cannot be read
// lists nothing: it is no evidence for anything.
func readSumsIn(dir string) []sumsFile {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []sumsFile
	for _, e := range entries {
		if !e.Type().IsRegular() || !isSumsName(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		sums, signed, err := readSums(path)
		if err != nil {
			continue
		}
		s := sumsFile{self: &Artifact{Arg: path, Name: e.Name(), Path: path}, names: map[string]policy.Digest{}, signed: signed}
		for _, x := range sums {
			s.names[x.name] = x.digest
		}
		out = append(out, s)
	}
	return out
}
