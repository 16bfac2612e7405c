// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// cutLayout splits "DIR@sha256:HEX", one image of a layout.
func cutLayout(arg string) (dir string, d policy.Digest, ok bool) {
	dir, text, ok := strings.Cut(arg, "@sha")
	if !ok || !oci.IsLayout(dir) {
		return "", policy.Digest{}, false
	}
	d, err := policy.ParseDigest("sha" + text)
	return dir, d, err == nil
}

// chosen returns the image of a layout with that digest: one of index.json, or one that an index
// leads to, such as that of a platform. For a zero digest it returns those of index.json.
func (l *layout) chosen(only policy.Digest) []part {
	var out []part
	seen := map[policy.Digest]bool{}
	for _, d := range l.top {
		if !seen[d.Digest] && (only == policy.Digest{} || only == d.Digest) {
			out = append(out, part{Descriptor: d})
		}
		seen[d.Digest] = true
	}
	if p, ok := l.below[only]; ok && len(out) == 0 {
		out = append(out, p)
	}
	return out
}

// expandLayout returns the images of a layout, or the one with the digest. Of a
// whole layout every file is accounted for: what consists of nothing but evidence
// may be that, blobs that nothing in index.json leads to are harmless, and any
// other file is no part of a layout.
func expandLayout(ctx context.Context, arg, dir string, only policy.Digest) []*Input {
	l, err := openLayout(ctx, &hold{budget: budget.Of(ctx)}, dir)
	if err != nil {
		return badInput(arg, policy.LayoutInvalid, err)
	}
	defer l.Close()
	resume := budget.Pause(ctx) // blobs are content
	defer resume()
	var out []*Input
	for _, p := range l.chosen(only) {
		d := p.Descriptor
		in := input(&Artifact{
			Arg: dir + "@" + d.Digest.String(), Digests: []policy.Digest{d.Digest}, found: l.evidence, partOf: p.of,
		})
		checked := map[policy.Digest]bool{}
		if err := l.checkAll(d, checked); err != nil {
			in.Artifact.Err = failf(policy.ArtifactMismatch, "%s", err)
		}
		if in.Artifact.parts = checked; only == (policy.Digest{}) {
			in.vouches, in.vague = l.vouches(d)
		}
		out = append(out, in)
	}
	if len(out) == 0 {
		out = badInput(arg, policy.NoArtifacts, errors.New("the layout holds no such image"))
	}
	if only != (policy.Digest{}) {
		return out
	}
	return append(out, l.rest()...)
}

// vouches returns what a manifest vouches for that consists of nothing but evidence,
// all of which was understood.
func (l *layout) vouches(d oci.Descriptor) (*vouches, string) {
	pieces := l.proofs[d.Digest]
	if pieces == nil {
		return nil, ""
	}
	out := &vouches{}
	for _, c := range pieces {
		p, why := imageVouch(c)
		if why != "" {
			return nil, why
		}
		out.pieces = append(out.pieces, p)
	}
	return out, ""
}

// imageVouch is vouchOf for a piece of evidence about an image, which may be over a
// payload that names the image in its turn.
func imageVouch(c *candidate) (vouch, string) {
	in := c.Inner
	if in == nil {
		return vouchOf(c)
	}
	plain := *c
	plain.Inner = nil
	out, why := vouchOf(&plain)
	if m, ok := c.Bundle.Message(); why == "" && (!ok || m != in.Signed) {
		return vouch{}, "its signature is over another payload"
	}
	out.digests = in.Subject.Digests
	return out, why
}

// rest returns the files of a layout that belong to no image.
func (l *layout) rest() []*Input {
	var out []*Input
	err := fs.WalkDir(l.Root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		full := filepath.Join(l.dir, filepath.FromSlash(name))
		switch {
		case err != nil:
			out = append(out, badInput(full, policy.ArtifactRead, err)...)
		case len(out) > MaxArtifacts:
			return fs.SkipAll
		case d.IsDir() || name == "oci-layout" || name == "index.json" || l.reached[name]:
		case d.Type().IsRegular() && l.isBlob(name):
			why := "a blob to which nothing in index.json leads"
			if to, ok := l.linked[name]; ok {
				why += ", of what is attached to " + to.String()
			}
			out = append(out, harmless(full, policy.PassedOver, "%s", why))
		default:
			out = append(out, passed(full, "it is no part of the OCI layout %s", l.dir))
		}
		return nil
	})
	if err != nil {
		out = append(out, badInput(l.dir, policy.ArtifactRead, err)...)
	}
	return out
}

// isBlob reports whether a file is a blob: its path is that of its digest.
func (l *layout) isBlob(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "blobs" || hashes[parts[1]] == nil {
		return false
	}
	d, err := policy.ParseDigest(parts[1] + ":" + parts[2])
	if err != nil {
		return false
	}
	f, err := file.OpenIn(l.Root, name)
	if err != nil {
		return false
	}
	defer f.Close()
	h := hashes[d.Alg]()
	if _, err := io.Copy(h, ctxReader{l.ctx, f}); err != nil {
		return false
	}
	return fmt.Sprintf("%x", h.Sum(nil)) == d.Hex
}

// signedElsewhere says that the evidence which came with an image is about images that it consists
// of, or about the index that leads to it; "" if it is about neither.
func (a *Artifact) signedElsewhere() string {
	var of []string
	for _, c := range a.found {
		for _, d := range c.about() {
			if a.parts[d] && !slices.Contains(a.Digests, d) && !slices.Contains(of, d.String()) {
				of = append(of, d.String())
			}
			if d == a.partOf {
				return fmt.Sprintf("it is part of %s, which the evidence is about: name that one", d)
			}
		}
	}
	if len(of) == 0 {
		return ""
	}
	dir, _, _ := strings.Cut(a.Arg, "@")
	return fmt.Sprintf("the evidence is about %d of the images that it leads to, not about the index: name them, as %s@%s",
		len(of), dir, of[0])
}

// about returns the digests that a candidate says it is about.
func (c *candidate) about() (out []policy.Digest) {
	switch {
	case c.Err != nil || c.Bundle == nil:
	case c.Inner != nil:
		out = c.Inner.Subject.Digests
	case c.Bundle.Statement() != nil:
		for _, s := range c.Bundle.Statement().Subjects {
			out = append(out, s.Digests...)
		}
	default:
		if d, ok := c.Bundle.Message(); ok {
			out = []policy.Digest{d}
		}
	}
	return out
}
