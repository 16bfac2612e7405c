// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// Listed is what a trust root says of a target: the role that the search for it ends at, that
// role's metadata, and the length and digests of the file, all of them.
type Listed struct {
	Role    string
	Version int64
	Expires time.Time
	Length  int64
	Digests []policy.Digest // in sha256, sha512 or both
	At      time.Time       // when the run began; it had not expired when it was asked for later
}

// formTarget is how the word of a trust root is called among the forms of evidence.
const formTarget = "target of a trust root"

// targets returns what trust roots may say of an artifact (SPEC 5.13), and why a rule cannot be
// asked. Only a file has a length to be compared.
func (j *Judge) targets(a *Artifact) (out []policy.Claims, why string) {
	tag := j.Tag
	if a.Tag != "" {
		tag = a.Tag
	}
	out, why = j.by().Targets(base(a), tag)
	switch {
	case len(out) == 0 && why == "":
	case a.Path == "" && a.Place == nil || a.Subject != "":
		return nil, "a trust root lists files, by name and length, and this is none"
	case strings.HasPrefix(a.Name, "pkg:"):
		return nil, "a trust root lists files, and no package URLs"
	case j.Listed == nil && len(out) > 0:
		return nil, "no trust root can be asked here"
	}
	return out, why
}

// listedBy lets trust roots say whether they list the artifact, and keeps what came of it. The
// failure is that of the artifact.
func (j *Judge) listedBy(ctx context.Context, res *Result, targets []policy.Claims, why string) *Failure {
	res.unlisted = why
	for _, c := range targets {
		ev, f := j.oneTarget(ctx, res, c)
		if f != nil {
			return f
		}
		if res.keep(ev); res.Evidence.stage >= stagePermitted {
			break
		}
	}
	return nil
}

// oneTarget judges the artifact by the word of a trust root about one target. What needs no root
// to be asked is looked at first.
func (j *Judge) oneTarget(ctx context.Context, res *Result, c policy.Claims) (*Evidence, *Failure) {
	a, want := res.Artifact, *c.Target
	ev := &Evidence{Path: "tuf:" + want.Root + "/" + want.Path, Form: formTarget, Target: &c, Name: want.Path}
	if err := j.hash(ctx, res, nil); err != nil {
		return nil, failure(err, policy.ArtifactRead)
	}
	if a.Listed != nil && !a.Listed.isOf(res.Digests) {
		return nil, a.Listed.mismatch()
	}
	req := j.request(a, []string{base(a)}, res.Digests)
	if d, final := j.by().Precheck(req, c); final {
		ev.stage, ev.Decision = stageClaims, j.brief(d)
		return ev, nil
	}
	l, err := j.Listed(ctx, want)
	switch {
	case err != nil:
		ev.open = true
		return ev.fail(stageClaims, failure(err, policy.TrustRootMissing)), nil
	case l == nil:
		return ev.fail(stageParse, failf(policy.TargetUnlisted, "%s has no target %s", want.Root, want.Path)), nil
	}
	if f := j.compare(ctx, res, l); f != nil {
		return ev.fail(stageArtifact, f), nil
	}
	named := want
	named.Role, c.Target, c.TargetVersion, c.TargetExpires = l.Role, &named, l.Version, l.Expires
	ev.Target, ev.ByRoot = &c, true
	return j.decideListed(ctx, ev, res, c, l.At), nil
}

// compare compares the artifact with what a root lists: the length, and every digest.
func (j *Judge) compare(ctx context.Context, res *Result, l *Listed) *Failure {
	var algs []string
	for _, d := range l.Digests {
		algs = append(algs, d.Alg)
	}
	if err := j.digest(ctx, res, algs); err != nil {
		return failure(err, policy.ArtifactRead)
	}
	switch n := res.Artifact.length(); {
	case len(l.Digests) == 0:
		return failf(policy.ArtifactMismatch, "the root lists it without a digest")
	case n != l.Length:
		return failf(policy.ArtifactMismatch, "the root lists it with %d bytes, it has %d", l.Length, n)
	}
	for _, d := range l.Digests {
		if !slices.Contains(res.Digests, d) {
			return failf(policy.ArtifactMismatch, "the root lists it with %s", d)
		}
	}
	return nil
}

// decideListed asks the policy about what a root lists, as of when it was asked.
func (j *Judge) decideListed(ctx context.Context, ev *Evidence, res *Result, c policy.Claims, at time.Time) *Evidence {
	a := res.Artifact
	req := j.request(a, []string{base(a)}, res.Digests)
	approvals, notes, unseen := j.approvals(ctx, a)
	req.Approvals = approvals
	ev.Decision = j.brief(j.by().Decide(req, c.Verified(policy.Verification{Times: []time.Time{at}})))
	switch {
	case ev.Decision.Permitted:
		ev.stage = stagePermitted
		ev.Decision.Notes = append(ev.Decision.Notes, notes...)
		if l := a.Listed; l != nil && l.elsewhere {
			ev.Decision.Notes = append(ev.Decision.Notes, l.elsewhereNote())
		}
	case ev.Decision.Reason == policy.PolicyStale:
		ev.stage = stageStale
	default:
		ev.stage = stageDecide
		if unseen != nil && lacksApprovals(ev.Decision) { // there may be more
			ev.Decision = unseen.decision()
		}
	}
	return ev
}
