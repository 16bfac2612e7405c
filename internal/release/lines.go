// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"path"
	"path/filepath"
	"slices"

	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// Line is a line of a checksum file about a file that was not judged.
type Line struct {
	Sums string // the checksum file, as it is called in output
	Name string // as it stands in the line
}

// Lines returns the lines about other files in the checksum files that served as
// evidence for a result, and in those that were judged without their lines being
// inputs of their own: files of a directory or of a release. A checksum file that
// cannot be read has none.
func (j *Judge) Lines(ctx context.Context, results []*Result) []Line {
	if j.finder == nil {
		return nil
	}
	o := newOtherLines(results)
	for _, r := range results {
		j.linesFor(ctx, r, o)
	}
	return slices.Clip(o.lines)
}

// linesFor adds the lines of the checksum file that served as evidence for a result, or that
// the result is about.
func (j *Judge) linesFor(ctx context.Context, r *Result, o *otherLines) {
	a := r.Artifact
	via := "" // the checksum file that served as evidence
	if r.Evidence != nil {
		via = r.Evidence.Via
	}
	if l := a.Listed; l != nil && l.Sums.Arg == via { // its lines are inputs
		return
	}
	self := a.Listed == nil && !o.done[a.where()] && j.isSums(a)
	other := func(s *sumsFile) bool {
		return (via == "" || s.self.Arg != via) && (!self || s.self.where() != a.where())
	}
	if via == "" && !self {
		return
	}
	if via != "" {
		o.add(j.givenSums(via), o.judgedByBase)
	}
	if a.Path != "" {
		beside := j.finder.sumsBeside(filepath.Dir(a.Path))
		o.add(slices.DeleteFunc(slices.Clone(beside), other), o.judgedHere)
	}
	if p := j.placeOf(a); p != nil && (a.Place != nil || via != "") {
		published := j.finder.sumsIn(ctx, p, base(a)).files
		o.add(slices.DeleteFunc(slices.Clone(published), other), o.judgedInPlace)
	}
}

// isSums reports whether an artifact is a checksum file.
func (j *Judge) isSums(a *Artifact) bool {
	if a.Path == "" {
		return sums.Called(base(a))
	}
	return slices.ContainsFunc(j.finder.sumsBeside(filepath.Dir(a.Path)), func(s *sumsFile) bool {
		return s.self.Path == filepath.Clean(a.Path)
	})
}

// givenSums returns the checksum files of that name among the files that the user gave.
func (j *Judge) givenSums(arg string) []*sumsFile {
	var out []*sumsFile
	for _, p := range j.finder.given() {
		if l := j.finder.givenList(p); l != nil && l.self.Arg == arg {
			out = append(out, l)
		}
	}
	return out
}

// otherLines collects lines about files that were not judged.
type otherLines struct {
	lines []Line
	// What was judged, with its digests: clean paths, addresses in places, and plain names for
	// lists that lie nowhere near.
	paths, places map[string][]policy.Digest
	bases         map[string]bool
	// Checksum files that add nothing more: their lines are inputs, or were read.
	done map[string]bool
}

func newOtherLines(results []*Result) *otherLines {
	o := &otherLines{
		paths: map[string][]policy.Digest{}, places: map[string][]policy.Digest{}, bases: map[string]bool{},
		done: map[string]bool{},
	}
	for _, r := range results {
		a := r.Artifact
		o.bases[base(a)] = true
		if a.Listed != nil {
			o.done[a.Listed.Sums.where()] = true
		}
		if a.Path != "" {
			o.paths[filepath.Clean(a.Path)] = r.Digests
		}
		if a.Place != nil {
			o.places[a.where()] = r.Digests
		}
	}
	return o
}

// add adds the lines of checksum files, of each once, but for those about files that were judged.
func (o *otherLines) add(files []*sumsFile, judged func(self *Artifact, e *sums.Entry) bool) {
	for _, s := range files {
		if o.done[s.self.where()] {
			continue
		}
		o.done[s.self.where()] = true
		for i := range s.list.Entries {
			if e := &s.list.Entries[i]; !judged(s.self, e) {
				o.lines = append(o.lines, Line{s.self.Arg, e.Name})
			}
		}
	}
}

func (o *otherLines) judgedByBase(_ *Artifact, e *sums.Entry) bool { return o.bases[path.Base(e.Name)] }

func (o *otherLines) judgedHere(self *Artifact, e *sums.Entry) bool {
	dir := filepath.Dir(self.Path)
	return judgedAs(o.paths, filepath.Join(dir, filepath.FromSlash(e.Name)), filepath.Join(dir, path.Base(e.Name)), e)
}

func (o *otherLines) judgedInPlace(self *Artifact, e *sums.Entry) bool {
	return judgedAs(o.places, self.Place.URL(e.Name), self.Place.URL(path.Base(e.Name)), e)
}

// judgedAs reports whether what was judged includes what an entry names, or a file of its name
// beside the list with its digests.
func judgedAs(judged map[string][]policy.Digest, exact, flat string, e *sums.Entry) bool {
	if _, ok := judged[exact]; ok {
		return true
	}
	same := false
	for _, d := range e.Digests {
		switch digestIn(judged[flat], d.Alg) {
		case "":
		case d.Hex:
			same = true
		default:
			return false
		}
	}
	return same
}
