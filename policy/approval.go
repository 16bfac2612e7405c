// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// ApprovalFacts are what an approval says: that exactly these digests are to be
// released, as this tag of this commit, under this version of the policy.
type ApprovalFacts struct {
	Repository Locator
	Tag        string
	Commit     string   // id of a Git commit
	Policy     Digest   // SHA-256 of the text of the version
	Digests    []Digest // of what is approved
}

// Approval is an approval whose signature, certificate, log entry and time were
// verified. The zero value approves nothing.
type Approval struct {
	facts        ApprovalFacts
	signer       Identity
	verification Verification
	verified     bool
	placed       placed // by a chain of versions
}

// Verified declares that the signature over an approval was verified. It is to
// be called where that happens and nowhere else.
func (f ApprovalFacts) Verified(signer Identity, v Verification) Approval {
	return Approval{facts: f, signer: signer, verification: v, verified: true}
}

// Signer returns who approved.
func (a Approval) Signer() Identity { return a.signer }

// Facts returns what the approval says.
func (a Approval) Facts() ApprovalFacts { return a.facts }

// Verification returns what was established about it.
func (a Approval) Verification() Verification { return a.verification }

// placed is what a chain of versions knows about an approval (SPEC 14.2). The zero value
// counts for nothing.
type placed struct {
	named   bool // what it is for is a version of the chain
	another bool
	inForce [][]*File
}

// Place returns the approval as one for a version of a chain. Another says that its signer is
// another account of that name than the chain knows; inForce are, for each place where it was
// logged, the versions that can have been in force there, where nil stands for the time before
// version 1. Without that, no version of a chain counts it.
func (a Approval) Place(another bool, inForce [][]*File) Approval {
	a.placed = placed{true, another, inForce}
	return a
}

// always reports whether every version that can have been in force where the approval was
// logged is one that f takes; of several places one is enough.
func (p *placed) always(f func(*File) bool) bool {
	return slices.ContainsFunc(p.inForce, func(at []*File) bool {
		return len(at) > 0 && !slices.ContainsFunc(at, func(x *File) bool { return x == nil || !f(x) })
	})
}

// approved returns the distinct principals whose approvals count for a release by
// the rule, sorted, and why others do not (SPEC 14.2).
func (t *Trusted) approved(r *Rule, req Request, c *Claims) (names, others []string) {
	for _, a := range req.Approvals[:min(len(req.Approvals), spelling.MaxApprovals)] {
		name, why := t.counts(&a, r, req, c)
		switch {
		case why != "":
			others = append(others, a.signer.describe()+": "+why)
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Sort(others)
	return names, slices.Compact(others)
}

// counts returns the principal as which the signer of an approval counts, or why
// it does not.
func (t *Trusted) counts(a *Approval, r *Rule, req Request, c *Claims) (name, why string) {
	v := &a.verification
	switch {
	case !a.verified || len(v.Times) == 0:
		return "", "it was not verified"
	case !v.Logged || !v.Proven:
		return "", "it is not proven to be in a log"
	case a.facts.Repository != t.file.Repository:
		return "", "it is for " + a.facts.Repository.String()
	case !t.names(a, req.asking):
		return "", "it is for another version of the policy"
	case len(c.Tags) > 0 && !slices.Contains(c.Tags, a.facts.Tag):
		return "", "it is for the tag " + a.facts.Tag
	case req.Commit != "" && a.facts.Commit != req.Commit,
		(r.Workflow != nil || c.Signer.Commit() != "") && a.facts.Commit != c.Signer.Commit():
		return "", "it is for the commit " + a.facts.Commit
	case !slices.ContainsFunc(a.facts.Digests, func(d Digest) bool { return slices.Contains(req.Digests, d) }):
		return "", "it is for other files"
	}
	_, upper := v.Bounds()
	switch {
	case upper.After(req.Now.Add(req.Skew)):
		return "", "it is younger than the moment of judging"
	case upper.After(t.file.Expires):
		return "", "it was made after the policy had expired"
	case t.head != nil && a.placed.another:
		return "", "it is by another account of that name than the chain's"
	}
	if name = t.approver(t.file, r.Approvals.From, &a.signer, v, c.Tags); name == "" {
		return "", "it is by none of the " + r.Approvals.From
	}
	if name == t.principal(t.file, &c.Signer) { // the signer of the release
		return "", "nobody approves what they release themselves"
	}
	could := func(f *File) bool { return t.approver(f, r.Approvals.From, &a.signer, v, c.Tags) != "" }
	if t.head != nil && !a.placed.always(could) {
		return "", "it was logged when its signer was none of the " + r.Approvals.From
	}
	return name, ""
}

// names reports whether an approval is for this version. Before publishing, in a
// run that the newest version authorises, it may be for an older one, by which
// the release was signed: whether it was, the verdict on the files says.
func (t *Trusted) names(a *Approval, now *asking) bool {
	if a.facts.Policy == t.digest {
		return t.digest != Digest{}
	}
	return now != nil && t.head != nil && a.placed.named
}

// approver returns the principal as which a signer approves under a version, ""
// if as nobody. Without v, its time is taken to be right.
func (t *Trusted) approver(f *File, from string, id *Identity, v *Verification, tags []string) string {
	as := func(r *Rule) bool { return t.revoked(r, &Claims{Signer: *id}, v) == "" }
	if from == "maintainers" {
		if f.Maintainers.Names(*id) && as(&Rule{}) {
			return t.principal(f, id)
		}
		return ""
	}
	for i := range f.Rules {
		r := &f.Rules[i]
		switch {
		case r.Workflow != nil || r.GitHubRelease || !r.Tags.any && !slices.ContainsFunc(tags, r.Tags.Match):
		case v != nil && len(r.matchTime(v)) > 0:
		case len(matchPeople(r, id)) == 0 && as(r):
			return t.principal(f, id)
		}
	}
	return ""
}

// principal returns who an identity is: the member that has it, else itself, and
// "" for a workflow, which is nobody.
func (t *Trusted) principal(f *File, id *Identity) string {
	for i := range f.Maintainers.Members {
		if m := &f.Maintainers.Members[i]; m.Is(id) {
			return m.Name
		}
	}
	if id.BuildSignerURI != "" || id.WorkflowRepository != "" {
		return ""
	}
	return id.describe()
}

// approvalsMismatch returns the mismatch of too few approvals, or nil.
func (t *Trusted) approvalsMismatch(r *Rule, req Request, c *Claims) *Mismatch {
	if r.Approvals == nil {
		return nil
	}
	names, others := t.approved(r, req, c)
	if len(names) >= r.Approvals.Threshold {
		return nil
	}
	m := &Mismatch{
		Field: "approvals", Kind: "missing",
		Want: fmt.Sprintf("%d of the %s", r.Approvals.Threshold, r.Approvals.From), Got: fmt.Sprint(len(names)),
	}
	if len(names) > 0 {
		m.Got += " (" + strings.Join(names, ", ") + ")"
	}
	if len(others) > 0 {
		m.Hint = "not counted: " + strings.Join(others[:min(len(others), 5)], "; ")
	}
	return m
}

// MayApprove reports whether an approval by an identity, for a tag, would be counted by some
// rule of a version of a chain, and by that rule if the newest version had it.
func (t *Trusted) MayApprove(id Identity, tag string) bool {
	if t == nil || t.head == nil {
		return false
	}
	may := func(f *File, r *Rule) bool { return t.approver(f, r.Approvals.From, &id, nil, []string{tag}) != "" }
	return slices.ContainsFunc(t.file.Rules, func(r Rule) bool {
		return r.Approvals != nil && r.Tags.Match(tag) && may(t.file, &r) && may(t.head, &r)
	})
}
