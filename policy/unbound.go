// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"time"
)

// unboundRule is how the one rule of a repository without a policy is called, and the code of
// the note on what it allows.
const unboundRule = "unbound"

// Unbound returns what a release of a repository without a policy is judged by, where the user
// asks for it (SPEC 9.3): one rule, that a workflow of the repository itself signed, for exactly
// the tag that is demanded. Ids are the numbers that the repository must have; zero for any. That
// nothing is bound is for the caller to know. It is nil, which allows nothing, for a repository
// on another host than github.com and gitlab.com.
func (l Locator) Unbound(ids Ids) *Trusted {
	if newUnboundRule(l) == nil {
		return nil
	}
	return &Trusted{ids: ids, genesis: "none", unbound: l}
}

// newUnboundRule returns the rule with any names for the files of the workflows; nil for a host
// whose CI is not known.
func newUnboundRule(l Locator) *Rule {
	w := &Workflow{}
	if !w.setForge(l.Host()) {
		return nil
	}
	gitlab := w.Issuer == gitlabIssuer
	w.setDefaults(gitlab, true)
	if w.Path = ".github/workflows/FILE.yml"; gitlab {
		w.Path = "FILE.yml"
	}
	w.Caller = w.Path
	return &Rule{Name: unboundRule, Tags: PatternSet{any: true}, Artifacts: PatternSet{any: true}, Workflow: w}
}

// decideUnbound judges by the policy file that says of the evidence's own workflow what SPEC
// 9.3 demands of every one.
func (t *Trusted) decideUnbound(req Request, c *Claims, v *Verification) Decision {
	if req.Tag == "" {
		return Decision{
			Reason: UnboundDenied, Detail: "no tag is demanded: name the release with --tag, or by its URL",
		}
	}
	r, id := newUnboundRule(t.unbound), &c.Signer
	if path, ok := r.Workflow.fileOf(t.unbound, id.Value, id.Ref()); ok {
		r.Workflow.Path = path
	}
	if path, ok := r.Workflow.fileOf(t.unbound, id.BuildConfigURI, id.Ref()); ok {
		r.Workflow.Caller = path
	}
	by := &Trusted{
		file: &File{
			Repository: t.unbound, Version: 1, Rules: []Rule{*r},
			Expires: time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC), // nobody renews it
		},
		ids: t.ids, genesis: t.genesis,
	}
	d := by.decide(req, c, v)
	switch {
	case d.Reason == RuleMismatch:
		d.Reason = UnboundDenied
	case !d.Permitted:
	case !isNumber(id.SourceRepositoryID) || !isNumber(id.SourceRepositoryOwnerID):
		return Decision{
			Reason: UnboundDenied, Detail: "the certificate does not say the numbers of repository and owner",
			Tag: d.Tag, Rules: d.Rules,
		}
	default:
		d.Reason, d.Rule = AllowedUnbound, ""
		d.Notes = append(d.Notes, Note{
			unboundRule, "no policy is bound: a workflow of the repository itself signed this; by the certificate the " +
				"repository's number is " + id.SourceRepositoryID + ", its owner's " + id.SourceRepositoryOwnerID,
		})
	}
	return d
}

// fileOf returns the path of the workflow that a certificate names by uri, run for ref, if it is
// a file of the repository.
func (w *Workflow) fileOf(repo Locator, uri, ref string) (string, bool) {
	if !repo.hasPrefix(uri) {
		return "", false
	}
	path, ok := strings.CutSuffix(uri[len(repo.text):], "@"+ref)
	if !ok || ref == "" {
		return "", false
	}
	if w.Issuer == gitlabIssuer {
		path, ok = strings.CutPrefix(path, "//")
		return path, ok && isConfigPath(path) && !isGitHubWorkflow(path)
	}
	path, ok = strings.CutPrefix(path, "/")
	return path, ok && isGitHubWorkflow(path)
}
