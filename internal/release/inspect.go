// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// maxInspected is how many pieces of evidence are shown for one input.
const maxInspected = 100

// Inspection is what evidence there is for an input. It is no verdict: whoever signed is shown,
// and nothing is said of whether they may.
type Inspection struct {
	Artifact *Artifact
	Digests  []policy.Digest // of the content, as far as it was read
	Pieces   []*Inspected
	More     int      // pieces that are not shown
	Why      *Failure // why there is nothing to show, or may be more; nil if all is shown
}

// Inspected is one piece of evidence. Unless it is Verified, its Decision says why it is not.
type Inspected struct {
	*Evidence
	// About says that what is signed is the input, by its digest, or a checksum file that lists it.
	About    bool
	Subjects []sigstore.Subject      // that are signed, as the evidence says
	KeyHint  string                  // by which it names its key
	Claimed  []sigstore.ClaimedEntry // log entries that it says it has and that were not verified
	Moment   *policy.Moment          // that a place proof shows; nil for other evidence
}

// withoutRules is what evidence is verified for where nothing is judged. It allows nothing, and wants to
// see what is in no log, too.
type withoutRules struct{ *policy.Trusted }

// AcceptsUnlogged lets a time stamp do in place of a log entry.
func (withoutRules) AcceptsUnlogged() bool { return true }

// Inspect returns what evidence there is for each input, and of files that are evidence themselves,
// what is in them if nothing else showed it. Fill in the judge's fields but for Policy, then call it once.
func (j *Judge) Inspect(ctx context.Context, inputs []*Input) []*Inspection {
	j.Policy = withoutRules{}
	j.finder = newFinder(budget.Of(ctx), j.Bundles, j.Carried)
	out := make([]*Inspection, len(inputs))
	each := func(which func(*Input) bool, inspect func(*Input) *Inspection) {
		var todo []int
		for i, in := range inputs {
			if out[i] == nil && which(in) {
				todo = append(todo, i)
			}
		}
		side(workers(), len(todo), func(i int) { out[todo[i]] = j.kept(inspect(inputs[todo[i]])) })
	}
	isEvidence := func(in *Input) bool { return in.IsEvidence() || in.IsPlaceProof() }
	each(func(in *Input) bool { return !isEvidence(in) && !in.Harmless },
		func(in *Input) *Inspection { return j.inspect(ctx, in) })
	shown := map[string]bool{}
	for _, o := range out {
		if o != nil {
			for _, p := range o.Pieces {
				shown[p.Path] = true
			}
		}
	}
	each(func(in *Input) bool { return isEvidence(in) && !shown[in.Artifact.where()] },
		func(in *Input) *Inspection { return j.inspectItself(ctx, in) })
	return slices.DeleteFunc(out, func(o *Inspection) bool { return o == nil })
}

// kept counts what is kept of an inspection until it is printed.
func (j *Judge) kept(o *Inspection) *Inspection {
	n := int64(bytesPerResult)
	for _, p := range o.Pieces {
		n += bytesPerEvidence
		for _, s := range p.Subjects {
			n += int64(len(s.Name)) + 100*int64(1+len(s.Digests))
		}
	}
	if f := j.finder.hold.take(n); f != nil {
		return &Inspection{Artifact: o.Artifact, Why: f}
	}
	return o
}

// inspect finds evidence for an input wherever verify would, and does not stop at the first that will do.
func (j *Judge) inspect(ctx context.Context, in *Input) *Inspection {
	a := in.Artifact
	out := &Inspection{Artifact: a}
	res := &Result{Artifact: a, hold: &hold{budget: j.finder.hold.budget}}
	defer res.hold.give()
	if out.Why = j.refuse(ctx, a); out.Why != nil {
		return out
	}
	if a.Path == "" {
		res.Digests = a.Digests
	}
	rounds := append(j.rounds(a), j.besides)
	for _, attempts := range rounds {
		found := attempts(ctx, res)
		if err := j.hash(ctx, res, found); err != nil {
			out.Why = failure(err, policy.ArtifactRead)
			return out
		}
		for _, at := range found {
			out.add(at, func() *Inspected { return j.look(ctx, at, res.Digests) })
		}
		if ctx.Err() != nil {
			out.Why = interrupted(ctx)
			return out
		}
	}
	if err := j.digest(ctx, res, nil); err != nil {
		out.Why = failure(err, policy.ArtifactRead)
		return out
	}
	out.Digests = res.Digests
	switch {
	case len(out.Pieces) > 0:
	case in.vague != "" && forms.MayBe(a.Name): // it may be evidence of which not all was understood
		return j.inspectItself(ctx, in)
	default:
		out.Why = failf(policy.NoEvidence, "%s", j.whyNothing(ctx, a, res.Digests))
	}
	return out
}

// besides returns the approvals and place proofs that lie with an artifact, in its folder or release.
func (j *Judge) besides(ctx context.Context, res *Result) []attempt {
	a := res.Artifact
	var out []*candidate
	if a.Path != "" {
		for _, path := range j.finder.approvalFiles(a) {
			out = append(out, j.finder.load(ctx, path)...)
		}
	}
	p := j.placeOf(a)
	if p == nil {
		return about(a, amongOthers(out))
	}
	n := 0
	s := j.finder.shelf(ctx, p)
	for _, name := range s.all {
		if strings.HasSuffix(name, ApprovalSuffix) && n < spelling.MaxApprovals {
			n++
			out = append(out, j.finder.once(p.URL(name), func() []*candidate { return s.read(ctx, j.finder.hold, name) })...)
		}
	}
	return about(a, amongOthers(out))
}

// amongOthers returns candidates of which most are about another release.
func amongOthers(cs []*candidate) []*candidate {
	out := make([]*candidate, len(cs))
	for i, c := range cs {
		one := *c
		one.among = true
		out[i] = &one
	}
	return out
}

// add looks at a piece and takes it, unless it was taken already, or stands in a collection and is about
// something else.
func (o *Inspection) add(at attempt, look func() *Inspected) {
	as := newEvidence(at)
	same := func(p *Inspected) bool { return p.Path == as.Path && p.Item == as.Item && p.Via == as.Via }
	switch {
	case slices.ContainsFunc(o.Pieces, same):
	case len(o.Pieces) == maxInspected:
		o.More++
	default:
		if p := look(); p != nil {
			o.Pieces = append(o.Pieces, p)
		}
	}
}

// inspectItself shows what is in a file that is evidence.
func (j *Judge) inspectItself(ctx context.Context, in *Input) *Inspection {
	a := in.Artifact
	out := &Inspection{Artifact: a}
	if out.Why = j.refuse(ctx, a); out.Why != nil {
		return out
	}
	if in.IsPlaceProof() {
		j.inspectPlace(ctx, out)
		return out
	}
	var found []*candidate
	if a.Path != "" {
		found = readEvidence(a.Path, j.finder.hold)
	} else {
		found = j.finder.shelf(ctx, a.Place).read(ctx, j.finder.hold, a.Name)
	}
	for _, c := range found {
		at := attempt{c: c, target: a}
		out.add(at, func() *Inspected {
			p, b := claimed(at, nil)
			if b == nil {
				return p
			}
			return j.prove(ctx, p, b)
		})
	}
	switch {
	case len(out.Pieces) == 0:
		out.Why = failf(policy.EvidenceUnreachable, "it is not there any more")
	case !slices.ContainsFunc(out.Pieces, func(p *Inspected) bool { return p.stage != stageParse }):
		out.Why = &Failure{out.Pieces[0].Decision.Reason, out.Pieces[0].Decision.Detail}
	}
	return out
}

// inspectPlace shows what a place proof shows, under the first root that takes it.
func (j *Judge) inspectPlace(ctx context.Context, out *Inspection) {
	a := out.Artifact
	p := &Inspected{Evidence: &Evidence{Path: a.where(), Form: "place proof"}}
	out.Pieces = []*Inspected{p}
	data, err := a.Content(ctx, maxPlaceBytes)
	if err != nil {
		p.fail(stageParse, failure(err, policy.ArtifactRead))
	} else if p.Sum = sha256Of(data); j.loadRoots(ctx) != nil {
		p.fail(stageVerify, failure(j.err, policy.TrustRootMissing))
	}
	if p.Decision.Reason != "" {
		out.Why = &Failure{p.Decision.Reason, p.Decision.Detail}
		return
	}
	for _, r := range j.roots {
		m, err := j.PlaceProof(r, data)
		if err == nil {
			p.Moment, p.Decision = &m, policy.Decision{}
			p.Verified = &sigstore.Verified{Root: r.Name()}
			return
		}
		if p.Decision.Reason == "" {
			p.fail(stageVerify, failure(err, policy.BundleInvalid)) // which what cannot be parsed is
		}
	}
	if p.Decision.Reason == policy.BundleInvalid {
		out.Why = &Failure{p.Decision.Reason, p.Decision.Detail}
	}
}

// look looks at one piece of evidence for something with these digests; nil if it is one of many and
// about something else.
func (j *Judge) look(ctx context.Context, at attempt, digests []policy.Digest) *Inspected {
	p, b := claimed(at, digests)
	switch {
	case b == nil:
		return p
	case p.among && !p.About:
		return nil
	}
	return j.prove(ctx, p, b)
}

// claimed returns what a piece of evidence claims. There is no bundle to verify if it is malformed.
func claimed(at attempt, digests []policy.Digest) (*Inspected, *sigstore.Bundle) {
	p := &Inspected{Evidence: newEvidence(at)}
	c := at.c.over(digests)
	switch {
	case c.Err != nil:
		p.fail(stageParse, c.failure())
		return p, nil
	case c.Bundle == nil:
		p.fail(stageParse, failf(policy.SignatureInvalid, "it names no digest: inspect the file that it is for"))
		return p, nil
	}
	p.describe(c.Bundle)
	p.KeyHint = c.Bundle.KeyHint()
	p.about(c, at, digests)
	return p, c.Bundle
}

// prove verifies what a piece of evidence claims, over the digest that it names itself.
func (j *Judge) prove(ctx context.Context, p *Inspected, b *sigstore.Bundle) *Inspected {
	over, ok := b.Message()
	if !ok {
		over = b.Statement().Subjects[0].Digests[0]
	}
	why := failf(policy.KeyUntrusted, "name it with --public-key")
	for _, key := range j.keys(b) {
		v, _, err := j.verify(ctx, b, over, key)
		if err != nil {
			why = failure(err, policy.SignatureInvalid)
			continue
		}
		if p.Verified, why = v, nil; key != nil {
			p.Signer.Value = key.ID()
		}
		break
	}
	if p.stage = stageVerify; why != nil {
		p.fail(stageVerify, why)
	}
	p.Claimed = b.Claimed(p.Verified)
	return p
}

// about finds out what is signed, and whether that is what evidence is looked for.
func (p *Inspected) about(c *candidate, at attempt, digests []policy.Digest) {
	message, isMessage := c.Bundle.Message()
	switch {
	case c.Inner != nil && isMessage && message == c.Inner.Signed:
		p.Subjects = []sigstore.Subject{c.Inner.Subject}
	case isMessage:
		p.Subjects = []sigstore.Subject{{Digests: []policy.Digest{message}}}
	default:
		p.Subjects = c.Bundle.Statement().Subjects
	}
	want := digests
	if at.via != nil {
		if !at.via.isOf(digests) {
			return
		}
		want = at.via.signed
	}
	for _, s := range p.Subjects {
		if slices.ContainsFunc(s.Digests, func(d policy.Digest) bool { return slices.Contains(want, d) }) {
			p.About = true
			if p.Name = s.Name; at.via == nil && at.target.calls(s.Name) {
				return
			}
		}
	}
}
