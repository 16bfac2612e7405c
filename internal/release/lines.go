// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"path"
	"path/filepath"
	"slices"
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
	self := isSumsName(base(a)) && a.Listed == nil
	other := func(s sumsFile) bool {
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
		published := j.finder.sumsIn(ctx, p).files
		o.add(slices.DeleteFunc(slices.Clone(published), other), o.judgedInPlace)
	}
}

// givenSums returns the checksum files of that name among the files that the user gave.
func (j *Judge) givenSums(arg string) []sumsFile {
	var out []sumsFile
	for _, p := range j.finder.given() {
		if l := j.finder.givenList(p); l.self != nil && l.self.Arg == arg {
			out = append(out, sumsFile{self: l.self, order: l.order})
		}
	}
	return out
}

// otherLines collects lines about files that were not judged.
type otherLines struct {
	lines []Line
	// What was judged: clean paths, addresses in places, and plain names for lists that lie
	// nowhere near.
	paths, places, bases map[string]bool
	// Checksum files that add nothing more: their lines are inputs, or were read.
	done map[string]bool
}

func newOtherLines(results []*Result) *otherLines {
	o := &otherLines{
		paths: map[string]bool{}, places: map[string]bool{}, bases: map[string]bool{},
		done: map[string]bool{},
	}
	for _, r := range results {
		a := r.Artifact
		o.bases[base(a)] = true
		if a.Listed != nil {
			o.done[a.Listed.Sums.where()] = true
		}
		if a.Path != "" {
			o.paths[filepath.Clean(a.Path)] = true
		}
		if a.Place != nil {
			o.places[a.where()] = true
		}
	}
	return o
}

// add adds the lines of checksum files, of each once, but for those about files that were judged.
func (o *otherLines) add(files []sumsFile, judged func(self *Artifact, name string) bool) {
	for _, s := range files {
		if o.done[s.self.where()] {
			continue
		}
		o.done[s.self.where()] = true
		for _, name := range s.order {
			if !judged(s.self, name) {
				o.lines = append(o.lines, Line{s.self.Arg, name})
			}
		}
	}
}

func (o *otherLines) judgedByBase(_ *Artifact, name string) bool { return o.bases[path.Base(name)] }

func (o *otherLines) judgedHere(self *Artifact, name string) bool {
	return o.paths[filepath.Join(filepath.Dir(self.Path), filepath.FromSlash(name))]
}

func (o *otherLines) judgedInPlace(self *Artifact, name string) bool {
	return o.places[self.Place.URL(name)]
}
