// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// candidate is a piece of evidence with where it was found.
type candidate struct {
	path string
	sum  string // hex SHA-256 of the file; "" if it is none
	form string // how the form of the file is called; "" if it could not be read
	// among says that it stands among others, most of which are about something else.
	among bool
	forms.Piece
}

// failure is why a candidate is none; nil if it is one.
func (c *candidate) failure() *Failure {
	if c.Err == nil {
		return nil
	}
	return failure(c.Err, policy.BundleInvalid)
}

// finder finds and reads evidence. A file that may serve many artifacts is read
// and parsed once; one that serves a single artifact is not kept.
type finder struct {
	hold     *hold    // of what is kept for the run
	explicit []string // given by the user; replaces looking beside the artifact
	carried  []string // stands beside what lies there
	named    []*Input // what was read before

	mu      sync.Mutex
	bundles map[string]*lazy[[]*candidate]
	sums    map[string]*lazy[[]*sumsFile]
	dirs    map[string]*lazy[*listing]
	shelves map[Place]*lazy[*shelf]

	published map[string]*lazy[placeSums] // by URL
	approved  map[string]*lazy[approvalSlot]
	lists     map[string]*lazy[*sumsFile]
	dated     map[proofsIn]*lazy[[]policy.Moment]
	pool      []*candidate // statements that sources gave
}

type lazy[T any] struct {
	once sync.Once
	v    T
}

func newFinder(b *budget.Budget, explicit, carried []string) *finder {
	return &finder{
		hold:     &hold{budget: b},
		explicit: explicit, carried: carried, lists: map[string]*lazy[*sumsFile]{}, bundles: map[string]*lazy[[]*candidate]{},
		sums: map[string]*lazy[[]*sumsFile]{}, dirs: map[string]*lazy[*listing]{}, shelves: map[Place]*lazy[*shelf]{},
		published: map[string]*lazy[placeSums]{}, approved: map[string]*lazy[approvalSlot]{},
		dated: map[proofsIn]*lazy[[]policy.Moment]{},
	}
}

// find returns the candidates for an artifact: the files that the user named,
// or what came with the artifact and lies beside it. Shared says that the
// artifact, a checksum file, stands for many others.
// What is kept for no other artifact is in h.
func (f *finder) find(ctx context.Context, a *Artifact, h *hold, shared bool) []*candidate {
	var out []*candidate
	load := func(path string) []*candidate { return readEvidence(path, h) }
	if shared {
		load = func(path string) []*candidate { return f.load(ctx, path) }
	}
	if len(f.explicit) > 0 {
		return f.withGiven(ctx, nil)
	}
	out = append(out, a.found...)
	path := a.Path
	if path != "" {
		dir, base := filepath.Split(path)
		here := f.list(filepath.Clean(dir))
		for _, name := range slices.Compact([]string{base, a.base(base)}) {
			for _, suffix := range forms.Suffixes {
				if here.has(name + suffix) {
					out = append(out, load(dir+name+suffix)...)
				}
			}
		}
	}
	for _, p := range f.shared(ctx, a, path) {
		out = append(out, f.load(ctx, p)...)
	}
	return f.withGiven(ctx, out)
}

// shared returns the files with evidence for many artifacts, or named by an
// artifact's digest, in the directory of path; of the working directory if the
// artifact is but a digest.
func (f *finder) shared(ctx context.Context, a *Artifact, path string) []string {
	dir := "."
	switch {
	case path != "":
		dir = filepath.Dir(path)
	case a.found != nil || len(a.Digests) == 0:
		return nil
	}
	here := f.list(dir)
	var out []string
	if path != "" {
		out = append(out, here.gathered...)
	}
	if len(here.downloads) == 0 {
		return out
	}
	digests := a.Digests
	if a.Path != "" {
		digests, _ = a.Digest(ctx) // what cannot be read is denied when it is judged
	}
	for _, d := range digests {
		if p := here.downloads[d.Hex]; d.Alg == "sha256" && p != "" {
			out = append(out, p)
		}
	}
	return out
}

// listing is what a directory holds, as far as evidence is concerned.
type listing struct {
	dir       string
	names     map[string]bool // nil if the directory cannot be listed
	gathered  []string
	downloads map[string]string // SHA-256 -> path
	approvals []string          // sorted
	places    []string          // place proofs, sorted
}

// has reports whether the directory holds a file of that name.
func (l *listing) has(name string) bool {
	if l.names != nil {
		return l.names[name]
	}
	_, err := os.Lstat(filepath.Join(l.dir, name))
	return err == nil
}

// list lists a directory once.
func (f *finder) list(dir string) *listing {
	f.mu.Lock()
	l := f.dirs[dir]
	if l == nil {
		l = &lazy[*listing]{}
		f.dirs[dir] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = readListing(dir) })
	return l.v
}

// maxGathered is how many files with evidence for many artifacts are read of a directory or release.
const maxGathered = 100

func readListing(dir string) *listing {
	out := &listing{dir: dir, downloads: map[string]string{}}
	d, err := os.Open(dir)
	if err != nil {
		return out
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return out
	}
	out.names = make(map[string]bool, len(names))
	for _, name := range names {
		out.names[name] = true
		if forms.IsGathered(name) {
			out.gathered = append(out.gathered, filepath.Join(dir, name))
		}
		if hex, ok := forms.IsDownload(name); ok {
			out.downloads[hex] = filepath.Join(dir, name)
		}
		if strings.HasSuffix(name, ApprovalSuffix) {
			out.approvals = append(out.approvals, filepath.Join(dir, name))
		}
		if isPlaceProof(name) {
			out.places = append(out.places, filepath.Join(dir, name))
		}
	}
	slices.Sort(out.gathered)
	out.gathered = out.gathered[:min(len(out.gathered), maxGathered)]
	slices.Sort(out.approvals)
	slices.Sort(out.places)
	return out
}

// dirOf returns the directory in which evidence for an artifact lies: its own, or
// the working directory if the artifact is but a digest.
func dirOf(a *Artifact) string {
	if a.Path != "" {
		return filepath.Dir(a.Path)
	}
	return "."
}

// load reads a file once. A directory is one if it is an OCI layout.
func (f *finder) load(ctx context.Context, path string) []*candidate {
	return f.once(path, func() []*candidate {
		if oci.IsLayout(path) {
			return readLayout(ctx, f.hold, path)
		}
		for _, in := range f.named {
			if in.Artifact.Path != path {
				continue
			}
			if e := in.early.Swap(nil); e != nil {
				f.hold.taken.Add(e.hold.taken.Swap(0))
				return e.found
			}
		}
		return readEvidence(path, f.hold)
	})
}

// once reads what may serve many artifacts once.
func (f *finder) once(path string, read func() []*candidate) []*candidate {
	f.mu.Lock()
	l := f.bundles[path]
	if l == nil {
		l = &lazy[[]*candidate]{}
		f.bundles[path] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = read() })
	return l.v
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

// listings returns what the checksum files say about a file that were given, and those
// beside it, whatever is given as evidence for them.
func (f *finder) listings(a *Artifact) []*Listing {
	if a.Listed != nil {
		return []*Listing{a.Listed}
	}
	out := f.givenListings(a)
	if a.Path == "" {
		return out
	}
	for _, s := range f.sumsBeside(filepath.Dir(a.Path)) {
		out = append(out, s.listings(a.base(filepath.Base(a.Path)))...)
	}
	return out
}

// sumsBeside returns the checksum files of a directory, which are read once.
func (f *finder) sumsBeside(dir string) []*sumsFile {
	f.mu.Lock()
	l := f.sums[dir]
	if l == nil {
		l = &lazy[[]*sumsFile]{}
		f.sums[dir] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = f.readSumsIn(dir) })
	return l.v
}

// readSumsIn reads the checksum files of a directory: what is called like one, lies beside
// evidence for it, or lies beside evidence that was given, and is one. One that cannot be read
// lists nothing: it is no evidence for anything.
func (f *finder) readSumsIn(dir string) []*sumsFile {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	here, more := f.list(dir), f.signedNames()
	var out []*sumsFile
	for _, e := range entries {
		name := e.Name()
		may := sums.Called(name) || slices.Contains(more, name) || !forms.MayBe(name) && here.hasEvidence(name)
		if !e.Type().IsRegular() || !may {
			continue
		}
		s, err := sumsOf(filepath.Join(dir, name))
		if err != nil || s == nil {
			continue
		}
		if full := f.hold.take(bytesPerByte * int64(s.size)); full != nil { // it lists nothing then
			s.list, s.err = &sums.List{}, full
		}
		out = append(out, s)
	}
	return out
}

// hasEvidence reports whether something lies in the directory that is called like evidence
// for a file.
func (l *listing) hasEvidence(name string) bool {
	return slices.ContainsFunc(forms.Suffixes, func(suffix string) bool { return l.names[name+suffix] })
}
