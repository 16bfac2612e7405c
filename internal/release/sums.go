// SPDX-License-Identifier: Apache-2.0

package release

import (
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// Listing is an entry of a checksum file, all of whose digests the artifact must have.
type Listing struct {
	Sums    *Artifact // the checksum file itself
	Name    string    // as it stands in the line
	Digests []policy.Digest
	// elsewhere is set if the line names a file in another directory, so that only its
	// digests tell that it is about the artifact.
	elsewhere bool
	// signed are the digests of the very bytes that the entry was read from:
	// what evidence for the checksum file must be about.
	signed []policy.Digest
}

// isOf reports whether digests of an artifact are those of the entry.
func (l *Listing) isOf(digests []policy.Digest) bool {
	return len(l.Digests) > 0 &&
		!slices.ContainsFunc(l.Digests, func(d policy.Digest) bool { return !slices.Contains(digests, d) })
}

// mismatch is the failure of an artifact that has not the digests of the entry.
func (l *Listing) mismatch() *Failure {
	return failf(policy.SumsMismatch, "%s lists %s", l.Sums.Arg, l.Digests[0])
}

// algorithms returns those of the entry's digests.
func (l *Listing) algorithms() []string {
	var out []string
	for _, d := range l.Digests {
		out = append(out, d.Alg)
	}
	return out
}

// sumsFile is a checksum file that was found.
type sumsFile struct {
	self   *Artifact
	list   *sums.List // empty if it is malformed
	signed []policy.Digest
	size   int      // in bytes
	err    *Failure // why it lists nothing: it is malformed, or what it needs is not there
}

// parseSums reads a checksum file.
func parseSums(self *Artifact, data []byte) *sumsFile {
	out := &sumsFile{self: self, list: &sums.List{}, signed: digestBytes(data), size: len(data)}
	l, err := sums.Parse(self.Name, data)
	if err != nil {
		out.err = failf(policy.SumsInvalid, "%s", err)
		return out
	}
	out.list = l
	return out
}

// listing returns what an entry says.
func (s *sumsFile) listing(e *sums.Entry, elsewhere bool) *Listing {
	return &Listing{Sums: s.self, Name: e.Name, Digests: e.Digests, elsewhere: elsewhere, signed: s.signed}
}

// listings returns what a checksum file says about a file of that name: what it lists under
// the name, or else under that name in some directory.
func (s *sumsFile) listings(name string) []*Listing {
	exact, others := s.list.Find(name)
	var out []*Listing
	if exact != nil {
		others = []*sums.Entry{exact}
	}
	for _, e := range others {
		if e.Weak == "" {
			out = append(out, s.listing(e, exact == nil))
		}
	}
	return out
}

// sumsHead is how much of a file is looked at to see whether it may be a checksum file.
const sumsHead = 4 << 10

// looksLikeSums reports whether the content of a file of this machine begins like that of a
// checksum file.
func looksLikeSums(path string) bool {
	f, err := file.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, sumsHead))
	return err == nil && sums.Looks(head)
}

// IsSums reports whether an argument is a checksum file, whose lines are inputs.
func IsSums(arg string) bool {
	info, err := os.Stat(arg)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	s, err := sumsOf(arg)
	return s != nil || err != nil
}

// sumsOf reads a file of this machine as a checksum file, nil if it is none: it must be called
// like one and look like one, or be one as a whole, or have a name that nothing else has.
// The error says that it is one and cannot be read.
func sumsOf(path string) (*sumsFile, error) {
	base := filepath.Base(path)
	if !sums.Named(base) && !looksLikeSums(path) {
		return nil, nil
	}
	s, err := readSums(path)
	if (err != nil || s.err != nil) && !sums.Named(base) && !sums.Called(base) {
		return nil, nil // a file like any other
	}
	return s, err
}

// readSums reads a checksum file, the bytes of which are the only ones that are read of it.
func readSums(path string) (*sumsFile, error) {
	self := &Artifact{Arg: path, Name: filepath.Base(path), Path: path}
	data, info, err := file.ReadStat(path, sums.MaxBytes)
	if err != nil {
		return nil, err
	}
	out := parseSums(self, data)
	self.content.digests, self.content.seen = slices.Clone(out.signed), look(info)
	return out, nil
}

// elsewhereNote says that a line about another path was taken for the artifact.
func (l *Listing) elsewhereNote() policy.Note {
	return policy.Note{Code: "listed-elsewhere", Text: clip.Text(l.Sums.Arg) + " lists it as " + clip.Text(l.Name) +
		": matched by its digest"}
}
