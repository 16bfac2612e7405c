// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// PlaceSuffix is what the names of files with a place proof end in (SPEC 8.4). Whoever made
// one, log and authority vouch for what it says, so that it may lie anywhere.
const PlaceSuffix = ".place.json"

// Limits of the place proofs of one folder. What is beyond them is not looked at.
const (
	maxPlaceProofs = 64
	maxPlaceBytes  = 64 << 10
)

// proofsIn is where the evidence for an artifact lies, and with it place proofs.
type proofsIn struct {
	dir   string // "" for a place, or for what was given
	place Place
	root  *sigstore.Root
}

// moments returns what place proofs in the folder of an artifact, or in its release, show
// under a root. None is looked for before the order of logs matters, and none that cannot be
// had or does not verify stops anything.
func (j *Judge) moments(ctx context.Context, a *Artifact, r *sigstore.Root) []policy.Moment {
	if j.PlaceProof == nil {
		return nil
	}
	out := slices.Concat(j.momentsIn(ctx, proofsIn{root: r}), j.momentsIn(ctx, proofsIn{dir: dirOf(a), root: r}))
	p := a.Place
	if p == nil {
		p = j.Release
	}
	if p != nil {
		out = append(out, j.momentsIn(ctx, proofsIn{place: p, root: r})...)
	}
	return out
}

// momentsIn reads and verifies the place proofs of a folder once.
func (j *Judge) momentsIn(ctx context.Context, in proofsIn) []policy.Moment {
	f := j.finder
	f.mu.Lock()
	l := f.dated[in]
	if l == nil {
		l = &lazy[[]policy.Moment]{}
		f.dated[in] = l
	}
	f.mu.Unlock()
	l.once.Do(func() {
		for _, name := range j.placeProofs(ctx, in) {
			data, err := in.read(ctx, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			var m policy.Moment
			if err == nil {
				m, err = j.PlaceProof(in.root, data)
			}
			if err == nil {
				l.v = append(l.v, m)
			} else if j.Ignored != nil {
				j.Ignored(name, err)
			}
		}
	})
	return l.v
}

// placeProofs returns the names, or paths, of files that are called like place proofs.
func (j *Judge) placeProofs(ctx context.Context, in proofsIn) []string {
	var all []string
	switch {
	case in.place != nil:
		all = j.finder.shelf(ctx, in.place).all
	case in.dir != "":
		all = j.finder.list(in.dir).places
	default:
		all = j.finder.given()
	}
	out := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !isPlaceProof(name) })
	return out[:min(len(out), maxPlaceProofs)]
}

func (in proofsIn) read(ctx context.Context, name string) ([]byte, error) {
	if in.place != nil {
		return in.place.Read(ctx, name, maxPlaceBytes)
	}
	return file.ReadNoFollow(name, maxPlaceBytes)
}

func isPlaceProof(name string) bool {
	return strings.HasSuffix(name, PlaceSuffix) && name != PlaceSuffix
}

// IsPlaceProof reports whether the input is called like a place proof and nothing else speaks
// about it.
func (in *Input) IsPlaceProof() bool {
	a := in.Artifact
	return isPlaceProof(a.Name) && a.Err == nil && a.Listed == nil && in.Passed == nil && in.vouches == nil
}

// Dates reports whether the input is a place proof that verifies under one of the roots.
func (j *Judge) Dates(ctx context.Context, in *Input) bool {
	if j.PlaceProof == nil || !in.IsPlaceProof() || j.loadRoots(ctx) != nil {
		return false
	}
	data, err := in.Artifact.Content(ctx, maxPlaceBytes)
	return err == nil && slices.ContainsFunc(j.roots, func(r *sigstore.Root) bool {
		_, err := j.PlaceProof(r, data)
		return err == nil
	})
}

// Content returns the content of a small file, which must be what was read of it before.
func (a *Artifact) Content(ctx context.Context, limit int64) ([]byte, error) {
	var data []byte
	var err error
	var at *seen
	if a.Path != "" {
		var info os.FileInfo
		if data, info, err = file.ReadStat(a.Path, limit); err == nil {
			at = look(info)
		}
	} else if a.Place != nil {
		data, err = a.Place.Read(ctx, a.Name, limit)
	} else {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	c, sum := &a.content, sha256Of(data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if judged := digestIn(c.digests, "sha256"); c.first != "" && c.first != sum || judged != "" && judged != sum {
		return nil, failf(policy.ArtifactChanged, "%s was written to", a.Arg)
	}
	if c.first = sum; c.seen == nil {
		c.seen = at
	}
	return data, nil
}

// DatedBy returns the artifact beside which a place proof lies: the one that its name names.
func (j *Judged) DatedBy(in *Input) *Artifact {
	if !isPlaceProof(in.Artifact.Name) {
		return nil
	}
	return j.byPlace[strings.TrimSuffix(in.Artifact.where(), PlaceSuffix)]
}
