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
	named := map[string]bool{} // checksum files whose lines are inputs
	paths, places := map[string]bool{}, map[string]bool{}
	for _, r := range results {
		if l := r.Artifact.Listed; l != nil {
			named[l.Sums.where()] = true
		}
		if r.Artifact.Path != "" {
			paths[filepath.Clean(r.Artifact.Path)] = true
		}
		if r.Artifact.Place != nil {
			places[r.Artifact.where()] = true
		}
	}
	bases := map[string]bool{} // of what was judged, for lists that lie nowhere near
	for _, r := range results {
		bases[base(r.Artifact)] = true
	}
	var out []Line
	seen := map[string]bool{}
	add := func(s sumsFile, is func(*Artifact, string) bool) {
		if seen[s.self.where()] || named[s.self.where()] {
			return
		}
		seen[s.self.where()] = true
		for _, name := range s.order {
			if !is(s.self, name) {
				out = append(out, Line{s.self.Arg, name})
			}
		}
	}
	here := func(self *Artifact, name string) bool {
		return paths[filepath.Join(filepath.Dir(self.Path), filepath.FromSlash(name))]
	}
	there := func(self *Artifact, name string) bool { return places[self.Place.URL(name)] }
	for _, r := range results {
		a := r.Artifact
		via := r.Evidence != nil && r.Evidence.Via != ""
		self := isSumsName(base(a)) && a.Listed == nil
		if !via && !self {
			continue
		}
		for _, p := range j.finder.given() {
			if l := j.finder.givenList(p); via && l.self != nil && l.self.Arg == r.Evidence.Via {
				add(sumsFile{self: l.self, order: l.order}, func(_ *Artifact, name string) bool { return bases[path.Base(name)] })
			}
		}
		wanted := func(s sumsFile) bool {
			return via && s.self.Arg == r.Evidence.Via || self && s.self.where() == a.where()
		}
		if a.Path != "" {
			for _, s := range j.finder.sumsBeside(filepath.Dir(a.Path)) {
				if wanted(s) {
					add(s, here)
				}
			}
		}
		p := a.Place
		if p == nil {
			p = j.Release
		}
		if p == nil || a.Place == nil && !via {
			continue
		}
		for _, s := range j.finder.sumsIn(ctx, p).files {
			if wanted(s) {
				add(s, there)
			}
		}
	}
	return slices.Clip(out)
}
