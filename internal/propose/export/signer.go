// SPDX-License-Identifier: Apache-2.0

package export

import (
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

// What stands for a version in expressions, as the policy language reads it: SPEC 5.2.
const semver = `v?(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?`

// refExpression is a regular expression, without anchors, for the refs of a rule's runs. It is put
// together of patterns, in which nothing but * is more than itself.
func (e *exporter) refExpression() string {
	r := e.rule
	if ref := e.ref(); ref != "" {
		return expression(ref)
	}
	var out []string
	for _, p := range r.Refs.Patterns() {
		out = append(out, expression(p.String()))
	}
	switch {
	case len(out) > 0:
	case r.Refs.Any():
		return "refs/(?:heads|tags)/.+"
	case r.Tags.Any():
		return "refs/tags/.+"
	case r.Tags.Semver():
		return "refs/tags/" + semver
	default:
		for _, p := range r.Tags.Patterns() {
			out = append(out, expression("refs/tags/"+p.String()))
		}
	}
	return "(?:" + strings.Join(out, "|") + ")"
}

// signerExpression is a regular expression for the whole name of a rule's workflow in a
// certificate. Forges do not tell names of repositories apart by the case of letters.
func (e *exporter) signerExpression(w *policy.Workflow) string {
	repo, slash := e.file.Repository, "/"
	if !w.Signer.IsZero() {
		repo = w.Signer
	}
	if !w.IsGitHub() {
		slash = "//"
	}
	ref := e.refExpression()
	switch {
	case w.SignerRef != "":
		ref = expression(w.SignerRef)
	case w.SignerDigest != "":
		ref = ".+"
	}
	return "^(?i:" + expression(repo.String()) + ")" + expression(slash+w.Path) + "@" + ref + "$"
}

// ofOthers reports whether the workflow that signs is of another repository, so that its name
// does not say who called it.
func ofOthers(w *policy.Workflow) bool { return !w.Signer.IsZero() }

// allowsTag refuses the tag of --tag if the rule does not allow it.
func (e *exporter) allowsTag() {
	r := e.rule
	own := r.Workflow != nil && len(r.Refs.Patterns()) == 0 && !r.Refs.Any()
	if own && e.Tag != "" && !r.Tags.Match(e.Tag) {
		e.refuse(e.at+".tags", "", "the rule does not allow the tag %s", e.Tag)
	}
	if r.Workflow != nil && !own && !r.Tags.Any() {
		e.no("tags", "the tag of a release from a branch")
	}
}
