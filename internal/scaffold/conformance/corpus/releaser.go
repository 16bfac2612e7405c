// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// neutral is a policy of policies.json. A releaser matches when every field
// that is present matches; in a glob, '*' matches any characters.
type neutral struct {
	ID    string
	Title string
	Scope struct {
		Ecosystem []string
		Series    []string
	}
	Releasers    []releaser
	Expectations []struct {
		Case            string
		IdentityVerdict string
		Overall         string
	}
}

type releaser struct {
	Issuer                     string
	SAN                        string
	SANGlob                    string
	SourceRepositoryURI        string
	SourceRepositoryIdentifier string
	SourceRefGlob              string
	Triggers                   []string
	Since, Until               *time.Time
	Versions                   string
}

func (r releaser) String() string { return cmp.Or(r.SAN, r.SANGlob) + " by " + r.Issuer }

// matches is the neutral form's own meaning.
func (r releaser) matches(id policy.Identity) bool {
	return r.Issuer == id.Issuer &&
		(r.SAN == "" || r.SAN == id.Value) && (r.SANGlob == "" || glob(r.SANGlob, id.Value)) &&
		(r.SourceRepositoryURI == "" || r.SourceRepositoryURI == id.SourceRepositoryURI) &&
		(r.SourceRepositoryIdentifier == "" || r.SourceRepositoryIdentifier == id.SourceRepositoryID) &&
		(r.SourceRefGlob == "" || glob(r.SourceRefGlob, id.Ref())) &&
		(len(r.Triggers) == 0 || slices.Contains(r.Triggers, id.Trigger()))
}

// laxer returns why a rule for the releaser takes an identity that the neutral
// form does not, "" if it should not.
func (r releaser) laxer(id policy.Identity) string {
	w, ok := splitSAN(id.Value)
	if !ok {
		return ""
	}
	if id.SourceRepositoryURI == "" && id.WorkflowRepository != "" {
		other := id
		other.SourceRepositoryURI, other.SourceRepositoryID = host(
			w.repo,
		)+id.WorkflowRepository, r.SourceRepositoryIdentifier
		if r.matches(other) {
			return "for a certificate from before April 2023, without .12 and .15, a pinned policy compares .5"
		}
	}
	if id.BuildSignerDigest != "" {
		other := id
		other.Value = strings.TrimSuffix(id.Value, w.ref) + id.BuildSignerDigest
		if r.matches(other) {
			return "signer-digest takes the workflow at that commit, whatever ref the caller named it by"
		}
	}
	return ""
}

// workflow reports whether the releaser's name is that of a CI workflow.
func (r releaser) workflow() bool {
	_, ok := splitSAN(cmp.Or(r.SAN, r.SANGlob))
	return ok
}

func isWorkflow(id policy.Identity) bool {
	_, ok := splitSAN(id.Value)
	return ok && id.Kind == policy.KindURI
}

var errNobody = errors.New("no identity of the corpus matches it, and a rule names identities, not patterns")

// people returns the rule for persons and machines that are no workflow.
func (r releaser) people(base ruleText, n *neutral, matched []policy.Identity) (placedRule, error) {
	if len(matched) == 0 && r.SAN == "" {
		return placedRule{}, errNobody
	}
	if r.SourceRepositoryURI+r.SourceRepositoryIdentifier+r.SourceRefGlob != "" || len(r.Triggers) > 0 {
		return placedRule{}, errors.New("a rule for people compares no repository, ref or trigger")
	}
	for _, id := range matched {
		name := policy.Identity{Kind: id.Kind, Value: id.Value, Issuer: id.Issuer}
		if !slices.Contains(base.identities, name) {
			base.identities = append(base.identities, name)
		}
	}
	if len(base.identities) == 0 && r.SAN != "" { // a certificate would show the kind
		kind := policy.KindUsername
		switch {
		case strings.Contains(r.SAN, "://"):
			kind = policy.KindURI
		case strings.Contains(r.SAN, "@"):
			kind = policy.KindEmail
		}
		base.identities = []policy.Identity{{Kind: kind, Value: r.SAN, Issuer: r.Issuer}}
	}
	return placedRule{place{repository: "https://example.com/acme/" + n.ID}, base}, nil
}

// literal returns the rule for a workflow of the policy's own repository, which
// can be written as it stands, pattern of the ref included.
func (r releaser) literal(base ruleText, matched []policy.Identity) (placedRule, bool) {
	w, ok := splitSAN(cmp.Or(r.SAN, r.SANGlob))
	if !ok || strings.Contains(w.repo+w.path, "*") || !strings.HasPrefix(w.ref, "refs/") ||
		r.SourceRefGlob != "" && r.SourceRefGlob != w.ref {
		return placedRule{}, false
	}
	repo, err := policy.ParseLocator(w.repo)
	if err != nil {
		return placedRule{}, false
	}
	if r.SourceRepositoryURI != "" {
		if source, err := policy.ParseLocator(r.SourceRepositoryURI); err != nil || source != repo {
			return placedRule{}, false
		}
	}
	base.workflow, base.refs = w.path, []string{w.ref}
	base.triggers, base.issuer = r.triggersOr(w.path), issuerOf(repo, r.Issuer)
	for _, id := range matched {
		if runnerOf(id) != "" {
			base.runner = "any"
		}
	}
	return placedRule{place{repo.String(), r.SourceRepositoryIdentifier}, base}, true
}

// workflowRule returns the rule for exactly the workflow of one certificate.
func workflowRule(base ruleText, r releaser, id policy.Identity) (placedRule, error) {
	w, ok := splitSAN(id.Value)
	if !ok {
		return placedRule{}, errors.New("it is no workflow, but the others that the releaser takes are")
	}
	source := id.SourceRepositoryURI
	if source == "" && id.WorkflowRepository != "" {
		source = host(w.repo) + id.WorkflowRepository
	}
	repo, err := policy.ParseLocator(source)
	if err != nil {
		return placedRule{}, fmt.Errorf("source repository: %w", err)
	}
	base.workflow, base.refs = w.path, []string{id.Ref()}
	base.issuer, base.runner = issuerOf(repo, r.Issuer), runnerOf(id)
	if w.repo != source || w.ref != id.Ref() {
		if w.repo != source {
			base.workflow = w.repo + "/" + w.path
		}
		if strings.HasPrefix(w.ref, "refs/") {
			base.signerRef = w.ref
		} else {
			base.signerDigest = id.BuildSignerDigest
		}
		if r.SourceRefGlob != "" {
			if p, err := policy.ParsePattern(r.SourceRefGlob); err == nil && p.Match(id.Ref()) {
				base.refs = []string{r.SourceRefGlob}
			}
		}
	}
	caller, called := splitSAN(id.BuildConfigURI)
	switch {
	case called && (w.repo != source || caller.path != w.path):
		base.caller = caller.path
	case !called && w.repo != source:
		// A certificate from before April 2023 does not say who called; the
		// maintainer would know, and it is not compared.
		base.caller = ".github/workflows/release.yml"
	}
	base.triggers = r.triggersOr(w.path)
	return placedRule{place{repo.String(), r.SourceRepositoryIdentifier}, base}, nil
}

// issuerOf returns the issuer if a rule for the repository must name it.
func issuerOf(repo policy.Locator, issuer string) string {
	usual := map[string]string{
		"github.com": "https://token.actions.githubusercontent.com", "gitlab.com": "https://gitlab.com",
	}
	if usual[repo.Host()] == issuer {
		return ""
	}
	return issuer
}

// runnerOf returns the runner of a certificate if a rule must name it.
func runnerOf(id policy.Identity) string {
	if id.RunnerEnvironment == "github-hosted" || id.RunnerEnvironment == "gitlab-hosted" {
		return ""
	}
	return id.RunnerEnvironment
}

func host(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	name, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + name + "/"
}

// triggersOr returns the releaser's triggers, or every trigger that a rule may
// name where the neutral policy says nothing about them.
func (r releaser) triggersOr(path string) []string {
	if len(r.Triggers) > 0 {
		return r.Triggers
	}
	if strings.HasPrefix(path, ".github/") {
		return []string{"push", "release", "workflow_dispatch", "schedule", "create", "deployment"}
	}
	return []string{"push", "web", "schedule", "api", "trigger"}
}

type signerName struct{ repo, path, ref string }

// splitSAN splits the name of a workflow certificate.
func splitSAN(san string) (signerName, bool) {
	head, ref, ok := strings.Cut(san, "@")
	if !ok {
		return signerName{}, false
	}
	if i := strings.Index(head, "/.github/workflows/"); i >= 0 {
		return signerName{head[:i], head[i+1:], ref}, true
	}
	if rest, ok := strings.CutPrefix(head, "https://"); ok {
		if i := strings.Index(rest, "//"); i >= 0 {
			return signerName{"https://" + rest[:i], rest[i+2:], ref}, true
		}
	}
	return signerName{}, false
}

// identities returns the distinct identities of the corpus's certificates.
func (c *corpus) identities() []policy.Identity {
	var out []policy.Identity
	for _, tc := range c.cases {
		if id, ok := tc.identity(); ok && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// glob matches with '*' for any characters.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// artifactPatterns turns a range of versions into patterns over the names that
// the series' artifacts have.
func (c *corpus) artifactPatterns(n *neutral, r releaser) []string {
	if r.Versions == "" {
		return nil
	}
	var out []string
	version := strings.TrimSuffix(r.Versions, "*")
	for _, tc := range c.cases {
		if tc.Artifact == nil || !slices.Contains(n.Scope.Series, tc.Series) {
			continue
		}
		if head, _, ok := strings.Cut(tc.Artifact.Name, version); ok {
			if p := head + r.Versions; !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}
