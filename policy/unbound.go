// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"strings"
	"time"
)

// unboundRule is how the one rule of a repository without a policy is called, and the code of
// the note on what it allows.
const unboundRule = "unbound"

// Unbound returns what a release of a repository without a policy is judged by, where the user
// asks for it (SPEC 9.3): one rule, that a workflow of the repository itself signed, for exactly
// the tag that is demanded. Ids are the numbers that the repository must have; zero for any. By
// are the workflows that may have signed, each by its Path and Caller as [Locator.WorkflowOf]
// returns them; none for every one of the repository itself. That nothing is bound is for the caller
// to know. It is nil, which allows nothing, for a repository on another host than github.com and
// gitlab.com, and for a workflow that is no file of the repository itself.
func (l Locator) Unbound(ids Ids, by ...Workflow) *Trusted {
	if newUnboundRule(l) == nil {
		return nil
	}
	t := &Trusted{ids: ids, genesis: "none", unbound: l}
	for _, w := range by {
		r := newUnboundRule(l)
		if !r.Workflow.isFile(w.Path) || !r.Workflow.isFile(w.Caller) {
			return nil
		}
		r.Workflow.Path, r.Workflow.Caller = w.Path, w.Caller
		t.pinned = append(t.pinned, *r)
	}
	return t
}

// WorkflowOf returns which files of the repository itself an identity names as the workflow that
// signed and as the one that started it, in Path and Caller: "" for what is no such file, which the
// second result reports.
func (l Locator) WorkflowOf(id Identity) (Workflow, bool) {
	r := newUnboundRule(l)
	if r == nil {
		return Workflow{}, false
	}
	path, own := r.Workflow.fileOf(l, id.Value, id.Ref())
	caller, called := r.Workflow.fileOf(l, id.BuildConfigURI, id.Ref())
	return Workflow{Path: path, Caller: caller}, own && called
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

// decideUnbound judges by the policy file that says of the workflows that are pinned, or else of
// the evidence's own, what SPEC 9.3 demands of every one.
func (t *Trusted) decideUnbound(req Request, c *Claims, v *Verification) Decision {
	if req.Tag == "" {
		return Decision{
			Reason: UnboundDenied, Detail: "no tag is demanded: name the release with --tag, or by its URL",
		}
	}
	id, rules := &c.Signer, t.pinned
	if rules == nil {
		r := newUnboundRule(t.unbound)
		named, _ := t.unbound.WorkflowOf(*id)
		r.Workflow.Path = cmp.Or(named.Path, r.Workflow.Path)
		r.Workflow.Caller = cmp.Or(named.Caller, r.Workflow.Caller)
		rules = []Rule{*r}
	}
	by := &Trusted{
		file: &File{
			Repository: t.unbound, Version: 1, Rules: rules,
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
	slash := "/"
	if w.Issuer == gitlabIssuer {
		slash = "//"
	}
	if path, ok = strings.CutPrefix(path, slash); !ok || !w.isFile(path) {
		return "", false
	}
	return path, true
}

// isFile reports whether a path is that of a workflow of the repository itself.
func (w *Workflow) isFile(path string) bool {
	if w.Issuer == gitlabIssuer {
		return isConfigPath(path) && !isGitHubWorkflow(path)
	}
	return isGitHubWorkflow(path)
}
