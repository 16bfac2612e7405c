// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/internal/sums"
	"github.com/repopolicy/repopolicy/policy"
)

// Input is one thing that was named on a command line or found by what was: a
// file, a line of a checksum file, an image of a layout, a file of a release.
// Whether it is judged, or is evidence for what is judged, is for the account of
// the run to say.
type Input struct {
	// Artifact is what is judged, unless the input is evidence or passed over.
	Artifact *Artifact
	// Passed says why the input is passed over; nil if it is not.
	Passed *Failure
	// Harmless is set beside Passed for what denies nothing.
	Harmless bool

	vouches *vouches // what the file vouches for; nil if it is of no form of evidence
	vague   string   // why a file that is called like evidence is none

	early atomic.Pointer[early]
}

// early is what was found in a file before a judge asks for it. One judge alone takes it: what
// it verifies by its roots is kept in it.
type early struct {
	hold  *hold
	found []*candidate
}

// Options say what arguments stand for.
type Options struct {
	Repo          string // directory of the Git repository with tags and commits; "" for the working directory
	IgnoreMissing bool   // of a checksum file, leave out what is not there
}

// input is the only place that makes an input of an artifact.
func input(a *Artifact) *Input { return &Input{Artifact: a} }

func badInput(arg string, r policy.Reason, err error) []*Input {
	return []*Input{input(&Artifact{Arg: arg, Err: failf(r, "%s", err)})}
}

// passed is an input that is not judged and therefore denies.
func passed(arg, format string, args ...any) *Input {
	why := failf(policy.PassedOver, format, args...)
	return &Input{Artifact: &Artifact{Arg: arg, Err: why}, Passed: why}
}

// harmless is an input that is not judged and denies nothing.
func harmless(arg string, r policy.Reason, format string, args ...any) *Input {
	why := failf(r, format, args...)
	return &Input{Artifact: &Artifact{Arg: arg, Err: why}, Passed: why, Harmless: true}
}

// Expand turns arguments into inputs. A directory stands for every file in and
// below it, wherever it leads if it is a link itself, but no link in it; an OCI layout for its
// images and every other file in it, "LAYOUT@DIGEST" for one of its images, a checksum file for
// itself and each of its lines, and "refs/tags/NAME" for a tag of the Git repository. With
// [Options.Repo], a commit must be in its history. An argument that cannot be read becomes an
// artifact with Err: no argument stands for nothing.
func Expand(ctx context.Context, args []string, o Options) []*Input {
	var out []*Input
	for _, arg := range args {
		out = append(out, expand(ctx, arg, o)...)
		if len(out) > MaxArtifacts {
			return badInput(arg, policy.ArtifactRead, fmt.Errorf("more than %d artifacts", MaxArtifacts))
		}
	}
	return out
}

func expand(ctx context.Context, arg string, o Options) []*Input {
	if d, ok, err := ParseDigestArg(arg); ok {
		if err != nil {
			return badInput(arg, policy.ArtifactRead, err)
		}
		if d.Alg == "gitCommit" && o.Repo != "" {
			return []*Input{input(expandCommit(ctx, arg, o.Repo, d))}
		}
		return []*Input{input(&Artifact{Arg: arg, Digests: []policy.Digest{d}})}
	}
	if strings.HasPrefix(arg, tagRef) {
		repo := o.Repo
		if repo == "" {
			repo = "."
		}
		return []*Input{input(expandTag(ctx, arg, repo))}
	}
	if dir, d, ok := cutLayout(arg); ok {
		return expandLayout(ctx, arg, dir, d)
	}
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return badInput(arg, policy.ArtifactMissing, err)
	case err != nil:
		return badInput(arg, policy.ArtifactRead, err)
	case oci.IsLayout(arg):
		return expandLayout(ctx, arg, arg, policy.Digest{})
	case info.IsDir():
		return expandDir(ctx, arg)
	case !info.Mode().IsRegular():
		return badInput(arg, policy.ArtifactRead, fmt.Errorf("%s is not a regular file", arg))
	}
	s, err := sumsOf(arg)
	switch {
	case err != nil:
		return badInput(arg, policy.SumsInvalid, err)
	case s != nil:
		return expandSums(ctx, s, o.IgnoreMissing)
	}
	return []*Input{fileInput(ctx, arg)}
}

// fileInput returns a file, which may be evidence for another input.
func fileInput(ctx context.Context, path string) *Input {
	in := input(&Artifact{Arg: path, Name: filepath.Base(path), Path: path})
	in.look(budget.Of(ctx))
	return in
}

// look finds out what a file of this machine vouches for, if it is called like
// evidence or could be some without being called so.
func (in *Input) look(b *budget.Budget) {
	a := in.Artifact
	switch {
	case a.Path == "" || a.Err != nil:
	case forms.MayBe(a.Name):
		in.vouches, in.vague = readVouches(b, a)
	case filepath.Ext(a.Name) == ".json":
		if in.vouches, _ = readVouches(b, a); in.vouches == nil {
			a.Err = nil // it is a file like any other
		}
	}
}

// NamedEvidence returns a file or layout that the user named as evidence.
func NamedEvidence(ctx context.Context, path string) *Input {
	in := input(&Artifact{Arg: path, Name: filepath.Base(path), Path: path})
	if oci.IsLayout(path) {
		in.vague = "the evidence in an OCI layout"
		return in
	}
	e := &early{hold: &hold{budget: budget.Of(ctx)}}
	if in.vouches, in.vague, e.found = readAll(e.hold, in.Artifact); in.vouches == nil {
		e.hold.give() // it may be larger than what is held of it
		return in
	}
	in.early.Store(e)
	return in
}

func expandDir(ctx context.Context, dir string) []*Input {
	// The directory itself may be a link: whoever named it means where that leads.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return badInput(dir, policy.ArtifactRead, err)
	}
	defer root.Close()
	var out []*Input
	err = fs.WalkDir(root.FS(), ".", func(name string, d os.DirEntry, err error) error {
		path := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			out = append(out, badInput(path, policy.ArtifactRead, err)...)
		case len(out) > MaxArtifacts:
			return fs.SkipAll
		case d.IsDir():
		case !d.Type().IsRegular():
			// Whatever a link points to is not what the directory holds.
			out = append(out, badInput(path, policy.ArtifactRead, fmt.Errorf("%s is not a regular file", path))...)
		default:
			out = append(out, input(&Artifact{Arg: path, Name: d.Name(), Path: path}))
		}
		return nil
	})
	side(workers(), len(out), func(i int) { out[i].look(budget.Of(ctx)) })
	switch {
	case err != nil:
		out = append(out, badInput(dir, policy.ArtifactRead, err)...)
	case len(out) == 0:
		out = badInput(dir, policy.NoArtifacts, errors.New("the directory holds none"))
	}
	return out
}

// workers is how many artifacts are looked at at a time: what each holds while it is
// parsed counts against one budget, however many cores a machine has.
func workers() int { return min(runtime.GOMAXPROCS(0), 4) }

// side calls f for 0 to n-1, some at a time. A panic of one is one of the caller's,
// who knows how a run ends then.
func side(workers, n int, f func(int)) {
	var next atomic.Int64
	var failed atomic.Value
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					failed.CompareAndSwap(nil, fmt.Sprint(p))
				}
			}()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
	if p := failed.Load(); p != nil {
		panic(p)
	}
}

// expandSums returns the checksum file and each of the files that it names, which lie in the
// list's directory or are not there.
func expandSums(ctx context.Context, s *sumsFile, ignoreMissing bool) []*Input {
	if s.err != nil {
		s.self.Err = s.err
		return []*Input{input(s.self)}
	}
	out := []*Input{input(s.self)}
	there := 0
	for i := range s.list.Entries {
		in, missing := s.expand(ctx, &s.list.Entries[i])
		switch {
		case missing && ignoreMissing:
			in = harmless(in.Artifact.Arg, policy.ArtifactMissing, "%s lists it", s.self.Arg)
		case !missing:
			there++
		}
		out = append(out, in)
	}
	if ignoreMissing && there == 0 {
		out = append(out, badInput(
			s.self.Arg, policy.ArtifactMissing, errors.New("of what it lists nothing is there"),
		)...)
	}
	return out
}

// expand returns what an entry names: the file, or one of its name beside the list with the
// same digests. Missing says that neither is there.
func (s *sumsFile) expand(ctx context.Context, e *sums.Entry) (in *Input, missing bool) {
	local := filepath.FromSlash(e.Name)
	p := filepath.Join(filepath.Dir(s.self.Path), local)
	if e.Weak != "" {
		return passed(p, "line %d of %s has %s, which confirms nothing", e.Line, s.self.Arg, e.Weak), false
	}
	a := &Artifact{Arg: p, Name: e.Name, Listed: s.listing(e, false)}
	if !filepath.IsLocal(local) {
		a.Err = failf(policy.ArtifactRead, "%s is no path beside the list", clip.Text(e.Name))
		return input(a), false
	}
	switch info, err := os.Lstat(p); {
	case errors.Is(err, fs.ErrNotExist):
		return s.flat(ctx, a)
	case err != nil:
		a.Err = failf(policy.ArtifactRead, "%s", err)
	case !info.Mode().IsRegular():
		a.Err = failf(policy.ArtifactRead, "%s is not a regular file", p)
	default:
		a.Path = p
	}
	return input(a), false
}

// flat looks for what an entry names in another directory, and that is not there, as a file
// beside the list, as forges publish it. Only its digests tell that it is the one.
func (s *sumsFile) flat(ctx context.Context, a *Artifact) (in *Input, missing bool) {
	a.Err = failf(policy.ArtifactMissing, "%s lists it as %s", s.self.Arg, a.Name)
	base := path.Base(a.Name)
	p := filepath.Join(filepath.Dir(s.self.Path), base)
	if exact, _ := s.list.Find(base); base == a.Name || exact != nil {
		return input(a), true
	}
	if info, err := os.Lstat(p); err != nil || !info.Mode().IsRegular() {
		return input(a), true
	}
	there := &Artifact{Arg: p, Name: base, Path: p, Listed: a.Listed}
	digests, err := there.Digest(ctx, a.Listed.algorithms()...)
	if err != nil {
		there.Err = failure(err, policy.ArtifactRead)
		return input(there), false
	}
	if !a.Listed.isOf(digests) {
		a.Err.Detail += fmt.Sprintf("; %s beside the list is another file", p)
		return input(a), false
	}
	there.Listed.elsewhere = true
	return input(there), false
}
