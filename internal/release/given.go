// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/policy"
)

// Files that the user gave, or that were carried, are evidence for every artifact, or
// checksum files. What a checksum file is, its content says: it may have any name. It
// vouches for nothing by itself, but what it lists is judged by the evidence for it.

// givenList is a given file that may be a checksum file.
type givenList struct {
	self   *Artifact // nil if it is none
	byBase map[string][]sum
	order  []string // of the names
	signed []policy.Digest
	err    *Failure // it is one, and malformed
}

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
		case l.err != nil:
			c := f.once(p, func() []*candidate {
				return []*candidate{failed(p, "checksum file", l.err)}
			})
			out = append(out, c...)
		case l.self == nil:
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

// givenList reads a given file once as a checksum file.
func (f *finder) givenList(name string) givenList {
	f.mu.Lock()
	l := f.lists[name]
	if l == nil {
		l = &lazy[givenList]{}
		f.lists[name] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = readGivenList(name) })
	return l.v
}

func readGivenList(at string) givenList {
	data, err := file.Read(at, MaxSumsBytes)
	if err != nil {
		return givenList{} // as evidence it is not read either, which is said then
	}
	return parseGivenList(at, data)
}

func parseGivenList(at string, data []byte) givenList {
	name := filepath.Base(at)
	switch sums, err := parseSums(data); {
	case err == nil:
		l := givenList{self: &Artifact{Arg: at, Name: name, Path: at}, byBase: map[string][]sum{}, signed: digestBytes(data)}
		for _, s := range sums {
			l.byBase[path.Base(s.name)] = append(l.byBase[path.Base(s.name)], s)
			l.order = append(l.order, s.name)
		}
		return l
	case isSumsText(data) || isSumsName(name) && !isJSON(data):
		return givenList{err: failf(policy.SumsInvalid, "%s", err)}
	}
	return givenList{}
}

// isSumsText reports whether a file has a line of a checksum file.
func isSumsText(data []byte) bool {
	if isJSON(data) {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if _, err := parseSum(strings.TrimRight(line, "\r\n")); err == nil {
			return true
		}
	}
	return false
}

func isJSON(data []byte) bool {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	return bytes.HasPrefix(trimmed, []byte("{")) || bytes.HasPrefix(trimmed, []byte("["))
}

// givenListings returns what the given checksum files say about an artifact: what they
// list under its name, or else under that name in some directory.
func (f *finder) givenListings(a *Artifact) []*Listing {
	name := base(a)
	if name == "" {
		return nil
	}
	var out []*Listing
	for _, p := range f.given() {
		l := f.givenList(p)
		sums := l.byBase[name]
		if i := slices.IndexFunc(sums, func(s sum) bool { return s.name == name }); i >= 0 {
			sums = sums[i : i+1]
		}
		for _, s := range sums {
			out = append(out, &Listing{l.self, s.name, s.digest, l.signed})
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
