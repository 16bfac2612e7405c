// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/sums"
)

// Files that the user gave, or that were carried, are evidence for every artifact, or
// checksum files. What a checksum file is, its content says: it may have any name. It
// vouches for nothing by itself, but what it lists is judged by the evidence for it.

// given returns the files that were given.
func (f *finder) given() []string {
	if len(f.explicit) > 0 {
		return f.explicit
	}
	return f.carried
}

// isGiven reports whether evidence is out of a file that was given.
func (f *finder) isGiven(c *candidate) bool {
	return len(f.explicit) > 0 || slices.Contains(f.carried, c.path)
}

// withGiven adds what the given files hold: first the checksum files that cannot be
// read, so that they are named whatever the evidence says, then the evidence.
func (f *finder) withGiven(ctx context.Context, out []*candidate) []*candidate {
	var evidence []*candidate
	for _, p := range f.given() {
		switch l := f.givenList(p); {
		case isPlaceProof(p):
		case l != nil && l.err != nil:
			c := f.once(p, func() []*candidate {
				return []*candidate{failed(p, "checksum file", l.err)}
			})
			out = append(out, c...)
		case l == nil:
			evidence = append(evidence, f.load(ctx, p)...)
		}
	}
	for _, c := range evidence {
		if !slices.Contains(out, c) { // found beside a checksum file that was given with it
			out = append(out, c)
		}
	}
	return out
}

// givenList reads a given file once as a checksum file, nil if it is none.
func (f *finder) givenList(name string) *sumsFile {
	f.mu.Lock()
	l := f.lists[name]
	if l == nil {
		l = &lazy[*sumsFile]{}
		f.lists[name] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = readGivenList(name) })
	return l.v
}

func readGivenList(at string) *sumsFile {
	data, err := file.Read(at, sums.MaxBytes)
	if err != nil {
		return nil // as evidence it is not read either, which is said then
	}
	return parseGivenList(at, data)
}

func parseGivenList(at string, data []byte) *sumsFile {
	name := filepath.Base(at)
	s := parseSums(&Artifact{Arg: at, Name: name, Path: at}, data)
	if s.err == nil || !sums.IsJSON(data) && (hasSumsLine(data) || sums.Named(name)) {
		return s
	}
	return nil
}

// hasSumsLine reports whether a file has a line of a checksum file.
func hasSumsLine(data []byte) bool {
	for line := range strings.Lines(string(data)) {
		if sums.IsLine(strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), "\r\n")) {
			return true
		}
	}
	return false
}

// givenListings returns what the given checksum files say about an artifact.
func (f *finder) givenListings(a *Artifact) []*Listing {
	name := base(a)
	if name == "" {
		return nil
	}
	var out []*Listing
	for _, p := range f.given() {
		if l := f.givenList(p); l != nil {
			out = append(out, l.listings(name)...)
		}
	}
	return out
}

// signedNames returns the names of the files that given evidence lies beside by its name:
// one of them may be a checksum file that is not called so.
func (f *finder) signedNames() []string {
	var out []string
	for _, p := range f.given() {
		name := filepath.Base(p)
		for _, suffix := range forms.Suffixes {
			if stem, ok := strings.CutSuffix(name, suffix); ok && stem != "" {
				out = append(out, stem)
			}
		}
	}
	return out
}

// isSignedBy reports whether evidence is about the bytes that the entry was read from.
func (l *Listing) isSignedBy(c *candidate) bool {
	if c.Err != nil {
		return false
	}
	m, err := match(c, l.Sums, l.signed)
	return len(m) > 0 || err != nil
}
