// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Standing is what an input has to say about an artifact as evidence, whether or
// not a log entry, a time or a rule is there for it.
type Standing int

// The standings, of which the higher one of several pieces counts.
const (
	// Foreign: it is no evidence about the artifact.
	Foreign Standing = iota
	// Unverifiable: it is of a form of evidence as a whole and names the artifact,
	// but whose key signed it is not known here.
	Unverifiable
	// Vouching: a signature in it is right over the artifact, by the certificate or
	// key that comes with it or by one of the policy's.
	Vouching
)

// vouches are the pieces of a file that is of one form of evidence as a whole:
// every byte was understood. Of each only what tells its standing is kept.
type vouches struct{ pieces []vouch }

// vouch is one piece of evidence.
type vouch struct {
	digests []policy.Digest // that it is about
	state   sigstore.Signed
	bundle  *sigstore.Bundle // to try the policy's keys with, if its own is not there
	bare    *forms.Bare      // a signature that names no digest
	beside  []string         // what the file of a bare signature may lie beside
}

// notFiles are predicates of our own that never speak about a released file.
const notFiles = "https://" + spelling.Name + "/policy/"

// where is the path or address of an artifact.
func (a *Artifact) where() string {
	if a.Path == "" && a.Place != nil {
		return a.Place.URL(a.Name)
	}
	return a.Path
}

// readVouches returns what a file of this machine vouches for. Vague says why one
// that is called like evidence is none.
func readVouches(b *budget.Budget, a *Artifact) (v *vouches, vague string) {
	h := &hold{budget: b}
	defer h.give()
	v, vague, _ = readAll(h, a)
	return v, vague
}

// readAll is [readVouches] that also returns the candidates, which h holds; nil if there are none.
func readAll(h *hold, a *Artifact) (v *vouches, vague string, found []*candidate) {
	data, info, err := file.ReadStat(a.Path, MaxEvidenceBytes)
	if errors.Is(err, file.ErrTooLarge) {
		return nil, fmt.Sprintf("evidence has at most %d bytes", MaxEvidenceBytes), nil
	}
	if err != nil {
		return nil, err.Error(), nil
	}
	a.content.first, a.content.seen = sha256Of(data), look(info)
	found = readForms(local(a.Path, data), h)
	v, vague = vouchesOf(data, found, a, h)
	return v, vague, found
}

// vouchesOf returns what a file vouches for that is of one form as a whole, by the candidates that are
// in it. If it cannot be held, nothing can be said about the file.
func vouchesOf(data []byte, cands []*candidate, a *Artifact, h *hold) (*vouches, string) {
	if !utf8.Valid(data) {
		return nil, "it is not text"
	}
	if f := cands[0].failure(); f != nil && f.Reason == policy.BudgetExceeded {
		a.Err = f
		return nil, ""
	}
	if why := forms.Loose(data); why != "" {
		return nil, why
	}
	out := &vouches{}
	for _, c := range cands {
		p, why := vouchOf(c)
		if why != "" {
			if c.Item > 0 {
				why = fmt.Sprintf("item %d: %s", c.Item, why)
			}
			return nil, why
		}
		out.pieces = append(out.pieces, p)
	}
	if err := h.budget.Take(out.size()); err != nil { // as long as the run lasts
		a.Err = exceeded(err)
		return nil, ""
	}
	return out, ""
}

// size returns about how much is kept.
func (v *vouches) size() int64 {
	n := int64(bytesPerVouch)
	for _, p := range v.pieces {
		if n += 200 * int64(1+len(p.digests)); p.bundle != nil {
			n += bytesPerPiece
		}
	}
	return n
}

func vouchOf(c *candidate) (vouch, string) {
	switch {
	case c.Bare != nil:
		return vouch{bare: c.Bare, beside: forms.Stems(c.path)}, ""
	case c.Err != nil:
		return vouch{}, c.failure().Detail
	case c.Inner != nil:
		return vouch{}, "it is about a Git object or an image"
	}
	b := c.Bundle
	out := vouch{state: b.Signed(nil)}
	if d, ok := b.Message(); ok {
		out.digests = []policy.Digest{d}
	} else {
		if strings.HasPrefix(b.Statement().PredicateType, notFiles) {
			return vouch{}, "it signs a policy"
		}
		for _, s := range b.Statement().Subjects {
			for _, d := range s.Digests {
				if hashes[d.Alg] != nil {
					out.digests = append(out.digests, d)
				}
			}
		}
	}
	switch out.state {
	case sigstore.SignedWrong:
		return vouch{}, "its own certificate or key did not make its signature"
	case sigstore.SignedUnknown:
		out.bundle = b
	}
	return out, ""
}

// standing returns what a piece says about an artifact with these digests, all of
// the same content.
func (v *vouch) standing(a *Artifact, digests []policy.Digest, keys []*sigstore.Key) Standing {
	if v.bare != nil {
		sum := digestIn(digests, "sha256")
		if slices.Contains(v.beside, a.where()) &&
			sigstore.BareSigned(v.bare.Certificate, v.bare.Signature, sum, keys) {
			return Vouching
		}
		return Foreign
	}
	isOf := func(d policy.Digest) bool { return a.parts[d] || slices.Contains(digests, d) }
	if !slices.ContainsFunc(v.digests, isOf) {
		return Foreign
	}
	if v.state == sigstore.SignedRight || v.bundle != nil && v.bundle.Signed(keys) == sigstore.SignedRight {
		return Vouching
	}
	return Unverifiable
}

// Vague says why an input that is called like evidence is none as a whole, "" for
// others.
func (in *Input) Vague() string { return in.vague }

// IsEvidence reports whether the input is of a form of evidence as a whole.
func (in *Input) IsEvidence() bool { return in.vouches != nil }

// Names reports whether the input names another one, which was read, as evidence.
func (in *Input) Names(other *Input) bool {
	sum := policy.Digest{Alg: "sha256", Hex: other.Artifact.content.first}
	return in != other && in.vouches != nil &&
		slices.ContainsFunc(in.vouches.pieces, func(p vouch) bool { return slices.Contains(p.digests, sum) })
}

// Judged are artifacts that were judged, by their digests and places: what evidence
// may be about.
type Judged struct {
	keys     []*sigstore.Key
	algs     []string
	byDigest map[policy.Digest][]*Artifact
	byPlace  map[string]*Artifact
	digests  map[*Artifact][]policy.Digest
}

// NewJudged returns an empty set for these inputs to be evidence of. Keys are those
// that a policy names.
func NewJudged(keys []*sigstore.Key, about []*Input) *Judged {
	j := &Judged{
		keys:     keys,
		byDigest: map[policy.Digest][]*Artifact{},
		byPlace:  map[string]*Artifact{},
		digests:  map[*Artifact][]policy.Digest{},
	}
	for _, in := range about {
		if in.vouches == nil {
			continue
		}
		for _, p := range in.vouches.pieces {
			for _, d := range p.digests {
				if !slices.Contains(j.algs, d.Alg) {
					j.algs = append(j.algs, d.Alg)
				}
			}
		}
	}
	return j
}

// Add adds an artifact. The error says that its content could not be read.
func (j *Judged) Add(ctx context.Context, a *Artifact) error {
	digests, err := a.Digest(ctx, j.algs...)
	if err != nil {
		return err
	}
	if j.digests[a] != nil {
		return nil
	}
	j.digests[a] = digests
	if w := a.where(); w != "" {
		j.byPlace[w] = a
	}
	for _, d := range digests {
		j.byDigest[d] = append(j.byDigest[d], a)
	}
	for d := range a.parts {
		if !slices.Contains(digests, d) {
			j.byDigest[d] = append(j.byDigest[d], a)
		}
	}
	return nil
}

// About returns what an input says as evidence, and about which of the artifacts.
func (j *Judged) About(in *Input) (best Standing, about *Artifact) {
	if in.vouches == nil {
		return Foreign, nil
	}
	for i := range in.vouches.pieces {
		p := &in.vouches.pieces[i]
		var as []*Artifact
		for _, d := range p.digests {
			as = append(as, j.byDigest[d]...)
		}
		for _, w := range p.beside {
			if a := j.byPlace[w]; a != nil {
				as = append(as, a)
			}
		}
		for _, a := range as {
			if a == in.Artifact {
				continue
			}
			if s := p.standing(a, j.digests[a], j.keys); s > best {
				if best, about = s, a; best == Vouching {
					return best, about
				}
			}
		}
	}
	return best, about
}
