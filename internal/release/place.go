// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxPublishedBytes is the largest file with evidence that is read from a
// [Place] or a [Source].
const MaxPublishedBytes = 8 << 20

// placeRequests is how many files of a place are asked for at a time.
const placeRequests = 4

// Place is a folder of published files, such as a release of a forge. Whoever
// serves it may be hostile: what it lists is a hint where to look, and what it
// returns is judged like every file. Its methods may be called from several
// goroutines.
type Place interface {
	// URL returns the address of a file, that of the place for "".
	URL(name string) string
	// List returns the names of the files, each a plain name of its own. The
	// error for a place that is said not to be there wraps fs.ErrNotExist.
	List(ctx context.Context) ([]string, error)
	// Read returns a file of at most limit bytes. The error for a file that the
	// place says it does not have wraps fs.ErrNotExist.
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
	// Open returns the content of a file as it arrives. Each call may return
	// something else.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// Source is asked for evidence about an artifact that nothing else allowed, such
// as an attestation API or a package registry. No documents and no error say
// that it has none. What it returns with an error still counts.
type Source func(ctx context.Context, w Wanted) ([]Document, error)

// Wanted is the artifact that a [Source] is asked about.
type Wanted struct {
	Name string // plain name; "" if unknown
	// Digests returns what is known, and SHA-256 in any case: an artifact of a
	// place is downloaded for it.
	Digests func() ([]policy.Digest, error)
}

// Document is a file with evidence and where it is from.
type Document struct {
	URL  string
	Data []byte
}

// unreachable is a candidate that could not be had: without it, that there is no
// evidence cannot be said.
func unreachable(where string, err error) []*candidate {
	return []*candidate{failed(where, "", failf(policy.EvidenceUnreachable, "%s", err))}
}

// shelf is what a place holds, as far as evidence is concerned.
type shelf struct {
	place Place
	names map[string]bool
	all   []string // in the place's order
	err   error
	// byDigest is set if a file is named by the digest of what it is about.
	byDigest bool
}

// shelf lists a place once.
func (f *finder) shelf(ctx context.Context, p Place) *shelf {
	f.mu.Lock()
	l := f.shelves[p]
	if l == nil {
		l = &lazy[*shelf]{}
		f.shelves[p] = l
	}
	f.mu.Unlock()
	l.once.Do(func() { l.v = newShelf(ctx, p) })
	return l.v
}

func newShelf(ctx context.Context, p Place) *shelf {
	s := &shelf{place: p, names: map[string]bool{}}
	s.all, s.err = p.List(ctx)
	for _, name := range s.all {
		s.names[name] = true
		_, download := forms.IsDownload(name)
		s.byDigest = s.byDigest || download
	}
	return s
}

// read returns the candidates in a file of the place, nil if there is none.
func (s *shelf) read(ctx context.Context, h *hold, name string) []*candidate {
	data, err := s.place.Read(ctx, name, MaxPublishedBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unreachable(s.place.URL(name), err)
	}
	return readForms(s.source(ctx, name, data), h)
}

// source is a file of the place that was read.
func (s *shelf) source(ctx context.Context, name string, data []byte) forms.Source {
	beside := func(suffix string, others ...string) ([]byte, error) {
		for _, o := range others {
			if other := strings.TrimSuffix(name, suffix) + o; s.names[other] {
				return s.place.Read(ctx, other, MaxPublishedBytes)
			}
		}
		return nil, fs.ErrNotExist
	}
	return forms.Source{Path: s.place.URL(name), Data: data, Beside: beside, Remote: true}
}

// guess returns the evidence under the one name under which most is published,
// which takes no listing.
func (f *finder) guess(ctx context.Context, p Place, h *hold, name string) []*candidate {
	return (&shelf{place: p}).read(ctx, h, name+forms.Suffixes[0])
}

// publishedFor returns the evidence for a file of that name in a place: under its
// name with one of the suffixes, for many files, or under one of its digests.
func (f *finder) publishedFor(
	ctx context.Context, p Place, h *hold, name string, suffixes []string, digests []policy.Digest,
) []*candidate {
	s := f.shelf(ctx, p)
	if s.err != nil && !errors.Is(s.err, fs.ErrNotExist) {
		return unreachable(p.URL(""), s.err)
	}
	var out []*candidate
	for _, suffix := range suffixes {
		if s.names[name+suffix] {
			out = append(out, s.read(ctx, h, name+suffix)...)
		}
	}
	many := 0
	for _, n := range s.all {
		hex, ok := forms.IsDownload(n)
		mine := ok && slices.Contains(digests, policy.Digest{Alg: "sha256", Hex: hex})
		if forms.IsGathered(n) {
			many++
		}
		if mine || forms.IsGathered(n) && many <= maxGathered {
			out = append(out, f.once(p.URL(n), func() []*candidate { return s.read(ctx, f.hold, n) })...)
		}
	}
	return out
}

// sumsIn returns the checksum files of a place that may list a file of that name, or that are called
// so: those of one file that is there are read for that file alone. Each is read once. What could not
// be read is among the candidates; what is none lists nothing.
func (f *finder) sumsIn(ctx context.Context, p Place, name string) placeSums {
	s, more := f.shelf(ctx, p), f.signedNames()
	var out placeSums
	for _, n := range s.all {
		may := sums.Called(n) || slices.Contains(more, n) || s.isSigned(n)
		if stem := sums.StemOf(n); !may || s.names[stem] && stem != name && n != name {
			continue
		}
		url := p.URL(n)
		f.mu.Lock()
		l := f.published[url]
		if l == nil {
			l = &lazy[placeSums]{}
			f.published[url] = l
		}
		f.mu.Unlock()
		l.once.Do(func() { l.v = f.readPlaceSums(ctx, p, n) })
		out.files = append(out.files, l.v.files...)
		out.missing = append(out.missing, l.v.missing...)
	}
	return out
}

// readPlaceSums reads a checksum file of a place.
func (f *finder) readPlaceSums(ctx context.Context, p Place, n string) placeSums {
	data, err := p.Read(ctx, n, sums.MaxBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return placeSums{}
	case err != nil:
		return placeSums{missing: unreachable(p.URL(n), err)}
	case !sums.Named(n) && !sums.Looks(data):
		return placeSums{}
	}
	if full := f.hold.take(bytesPerByte * int64(len(data))); full != nil {
		return placeSums{missing: []*candidate{failed(p.URL(n), "checksum file", full)}}
	}
	return placeSums{files: []*sumsFile{parseSums(&Artifact{Arg: p.URL(n), Name: n, Place: p}, data)}}
}

// placeSums are checksum files of a place.
type placeSums struct {
	files   []*sumsFile
	missing []*candidate
}

// listedIn returns the attempts with evidence for a checksum file of a place that
// lists the artifact under that name.
func (j *Judge) listedIn(ctx context.Context, res *Result, p Place, name string) []attempt {
	a := res.Artifact
	sums := j.finder.sumsIn(ctx, p, name)
	out := about(a, sums.missing)
	if s := j.finder.shelf(ctx, p); len(j.Bundles) > 0 && s.err != nil && !errors.Is(s.err, fs.ErrNotExist) {
		out = append(out, about(a, unreachable(p.URL(""), s.err))...) // otherwise said already
	}
	for _, x := range sums.files {
		listings := x.listings(name)
		if len(listings) == 0 || x.self.Name == name {
			continue
		}
		var cs []*candidate
		if len(j.Bundles) > 0 {
			cs = j.finder.find(ctx, x.self, nil, true)
		} else {
			cs = j.finder.publishedFor(ctx, p, res.hold, x.self.Name, forms.Suffixes, x.signed)
		}
		for _, l := range listings {
			for _, c := range cs {
				if len(j.Bundles) == 0 || l.isSignedBy(c) {
					out = append(out, attempt{c: c, target: x.self, via: l})
				}
			}
		}
	}
	return out
}

// isSigned reports whether a text file of the place has evidence beside it: it may be a
// checksum file under any name.
func (s *shelf) isSigned(name string) bool {
	return path.Ext(name) == ".txt" &&
		slices.ContainsFunc(forms.Suffixes, func(suffix string) bool { return s.names[name+suffix] })
}

// ExpandPlace returns the files of a place.
func ExpandPlace(ctx context.Context, p Place) []*Input {
	s := newShelf(ctx, p)
	if s.err != nil {
		f := failure(s.err, policy.ReleaseUnreachable)
		return badInput(p.URL(""), f.Reason, f)
	}
	if len(s.all) == 0 {
		return badInput(p.URL(""), policy.NoArtifacts, errors.New("the release has no files"))
	}
	if len(s.all) > MaxArtifacts {
		return badInput(p.URL(""), policy.ReleaseUnreachable, fmt.Errorf("more than %d files", MaxArtifacts))
	}
	var out []*Input
	for _, name := range s.all {
		out = append(out, input(&Artifact{Arg: p.URL(name), Name: name, Place: p, listed: true}))
	}
	side(placeRequests, len(out), func(i int) {
		if in := out[i]; forms.MayBe(in.Artifact.Name) {
			in.vouches, in.vague = s.vouches(ctx, in.Artifact.Name, in.Artifact)
		}
	})
	return out
}

// vouches is [readVouches] for a file of a place. A file that lies beside another
// one, or that is called like nothing but evidence, must be had: what it is cannot
// be said else.
func (s *shelf) vouches(ctx context.Context, name string, a *Artifact) (*vouches, string) {
	data, err := s.place.Read(ctx, name, MaxPublishedBytes)
	if err != nil {
		if s.named(name) {
			a.Err = failf(policy.ReleaseUnreachable, "%s", err)
		}
		return nil, ""
	}
	h := &hold{budget: budget.Of(ctx)}
	defer h.give()
	v, vague := vouchesOf(data, readForms(s.source(ctx, name, data), h), a, h)
	a.content.first = sha256Of(data)
	return v, vague
}

// named reports whether a name says of which file it is evidence, or that it is some.
func (s *shelf) named(name string) bool {
	_, download := forms.IsDownload(name)
	return download || forms.IsReserved(name) || forms.IsGathered(name) ||
		slices.ContainsFunc(forms.Stems(name), func(stem string) bool { return s.names[stem] })
}

// rounds returns the ways to evidence for an artifact in the order in which they
// are tried: what is at hand, then what its release holds, then whoever else may
// know.
func (j *Judge) rounds(a *Artifact) []round {
	out := []round{j.direct, j.listed}
	if len(j.Bundles) > 0 && a.Place != nil && base(a) != "" {
		return append(out, func(ctx context.Context, res *Result) []attempt {
			return j.listedIn(ctx, res, a.Place, base(a))
		})
	}
	if len(j.Bundles) > 0 || a.Tag != "" || a.Commit != "" {
		return out
	}
	if p, name := j.placeOf(a), base(a); p != nil && name != "" && a.found == nil {
		out = append(out, j.publishedRounds(a, p, name)...)
	}
	if len(j.Sources) > 0 {
		out = append(out, j.pooled)
	}
	for _, s := range j.Sources {
		out = append(out, func(ctx context.Context, res *Result) []attempt { return j.ask(ctx, res, s) })
	}
	return out
}

// placeOf returns where evidence for an artifact may be published, nil for nowhere.
func (j *Judge) placeOf(a *Artifact) Place {
	if a.Place != nil {
		return a.Place
	}
	return j.Release
}

// publishedRounds returns the ways to evidence in a place for an artifact that is called so
// there: under the one name that takes no listing, under the others, and for a checksum file.
func (j *Judge) publishedRounds(a *Artifact, p Place, name string) []round {
	var out []round
	suffixes := forms.Suffixes
	if !a.listed {
		suffixes = forms.Suffixes[1:]
		out = append(out, func(ctx context.Context, res *Result) []attempt {
			if res.ahead != nil {
				return about(a, res.ahead.wait())
			}
			return about(a, j.finder.guess(ctx, p, res.hold, name))
		})
	}
	return append(out, func(ctx context.Context, res *Result) []attempt {
		if j.finder.shelf(ctx, p).byDigest {
			if err := j.digest(ctx, res, []string{"sha256"}); err != nil {
				return about(a, unread(a, err))
			}
		}
		return about(a, j.finder.publishedFor(ctx, p, res.hold, name, suffixes, res.Digests))
	}, func(ctx context.Context, res *Result) []attempt { return j.listedIn(ctx, res, p, name) })
}

// unread is a candidate that cannot be looked for, as the artifact cannot be read.
func unread(a *Artifact, err error) []*candidate {
	return []*candidate{failed(a.Arg, "", failure(err, policy.ArtifactRead))}
}

// pooled returns the attempts with what sources gave for other artifacts and that
// is about this one too: one statement often names a whole release, and sources
// limit how often they are asked.
func (j *Judge) pooled(ctx context.Context, res *Result) []attempt {
	f := j.finder
	f.mu.Lock()
	pool := f.pool
	f.mu.Unlock()
	if len(pool) == 0 {
		return nil
	}
	if err := j.digest(ctx, res, []string{"sha256"}); err != nil {
		return about(res.Artifact, unread(res.Artifact, err))
	}
	var out []*candidate
	for _, c := range pool {
		names := func(d policy.Digest) bool { return len(c.Bundle.Statement().Find(d)) > 0 }
		if slices.ContainsFunc(res.Digests, names) {
			out = append(out, c)
		}
	}
	return about(res.Artifact, out)
}

// ask asks a source.
func (j *Judge) ask(ctx context.Context, res *Result, s Source) []attempt {
	a := res.Artifact
	docs, err := s(ctx, Wanted{Name: base(a), Digests: func() ([]policy.Digest, error) {
		if err := j.digest(ctx, res, []string{"sha256"}); err != nil {
			return nil, failure(err, policy.ArtifactRead)
		}
		return res.Digests, nil
	}})
	var out []*candidate
	for _, d := range docs {
		out = append(out, readForms(forms.Source{Path: d.URL, Data: d.Data, Remote: true}, j.finder.hold)...)
	}
	j.finder.mu.Lock()
	for _, c := range out {
		if c.Bundle != nil && c.Bundle.Statement() != nil && len(j.finder.pool) < forms.MaxPieces {
			j.finder.pool = append(j.finder.pool, c)
		}
	}
	j.finder.mu.Unlock()
	if err != nil {
		out = append(out, failed(a.Arg, "", failure(err, policy.EvidenceUnreachable)))
	}
	return about(a, out)
}

// about returns attempts with candidates for the artifact itself.
func about(a *Artifact, cs []*candidate) []attempt {
	out := make([]attempt, len(cs))
	for i, c := range cs {
		out[i] = attempt{c: c, target: a}
	}
	return out
}
