// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"maps"
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

// translation is what one neutral policy became: one policy file for each
// repository, as a renamed repository would have one version for each name.
type translation struct {
	files  []*file
	cannot []inexpressible
}

type file struct {
	repository string
	text       string
	ids        policy.Ids
	trusted    *policy.Trusted
}

// inexpressible is a releaser that the language does not express.
type inexpressible struct {
	releaser releaser
	reason   string
}

// translate writes a neutral policy in the policy language. Where the neutral
// form has a pattern and the language is exact, every identity of the corpus
// that the pattern takes is listed, as a maintainer would list them.
func (c *corpus) translate(n *neutral) *translation {
	tr := &translation{}
	rules := map[string][]ruleText{} // by repository
	ids := map[string]policy.Ids{}
	for _, r := range n.Releasers {
		repo := map[string][]ruleText{}
		c.releaser(n, r, repo)
		if len(repo) == 0 {
			tr.cannot = append(tr.cannot, inexpressible{r, "no identity of the corpus matches it, and a rule names identities, not patterns"})
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(repo)) {
			d := newDocument(k)
			for _, rt := range repo[k] {
				d.rule(rt)
			}
			if _, err := policy.Parse([]byte(d.text())); err != nil {
				tr.cannot = append(tr.cannot, inexpressible{r, err.Error()})
				continue
			}
			rules[k] = append(rules[k], repo[k]...)
			if r.SourceRepositoryIdentifier != "" {
				ids[k] = policy.Ids{Repository: r.SourceRepositoryIdentifier}
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(rules)) {
		d := newDocument(k)
		for _, rt := range rules[k] {
			d.rule(rt)
		}
		f := &file{repository: k, text: d.text(), ids: ids[k]}
		doc, err := policy.Parse([]byte(f.text))
		if err != nil {
			tr.cannot = append(tr.cannot, inexpressible{reason: err.Error()})
			continue
		}
		f.trusted = doc.Pin(f.ids)
		tr.files = append(tr.files, f)
	}
	return tr
}

// releaser adds the rules of one releaser, by repository.
func (c *corpus) releaser(n *neutral, r releaser, out map[string][]ruleText) {
	base := ruleText{artifacts: c.artifactPatterns(n, r), setOnly: true}
	if r.Since != nil {
		base.since = *r.Since
	}
	if r.Until != nil {
		base.until = *r.Until
	}
	if r.SAN != "" && !strings.Contains(r.SAN, "/.github/workflows/") && !strings.Contains(r.SAN, "//.gitlab") {
		kind := policy.KindURI
		if !strings.Contains(r.SAN, "://") {
			kind = policy.KindEmail
		}
		base.identities = []policy.Identity{{Kind: kind, Value: r.SAN, Issuer: r.Issuer}}
		k := "https://example.com/acme/" + n.ID
		out[k] = append(out[k], base)
		return
	}
	// A workflow of the policy's own repository can be written as it stands.
	if w, ok := splitSAN(cmp.Or(r.SAN, r.SANGlob)); ok && !strings.Contains(w.repo+w.path, "*") && w.ref != "*" &&
		(r.SourceRepositoryURI == "" || r.SourceRepositoryURI == w.repo) {
		rt := base
		rt.workflow, rt.refs, rt.triggers = w.path, []string{w.ref}, r.Triggers
		if len(rt.triggers) == 0 {
			rt.triggers = nameable(w.path)
		}
		if r.SourceRefGlob != "" {
			rt.refs = []string{r.SourceRefGlob}
		}
		k := strings.ToLower(w.repo)
		out[k] = append(out[k], rt)
		return
	}
	for _, id := range c.identities() {
		if !r.matches(id) {
			continue
		}
		k, rt, ok := workflowRule(base, r, id)
		if ok && !slices.ContainsFunc(out[k], func(o ruleText) bool { return fmt.Sprint(o) == fmt.Sprint(rt) }) {
			out[k] = append(out[k], rt)
		}
	}
}

// workflowRule returns the rule for exactly the workflow of one certificate.
func workflowRule(base ruleText, r releaser, id policy.Identity) (repo string, rt ruleText, ok bool) {
	rt = base
	w, ok := splitSAN(id.Value)
	if !ok {
		return "", rt, false
	}
	repo = id.SourceRepositoryURI
	if repo == "" {
		repo = "https://github.com/" + id.WorkflowRepository
	}
	rt.workflow, rt.refs = w.path, []string{id.Ref()}
	if r.SourceRefGlob != "" {
		rt.refs = []string{r.SourceRefGlob}
	}
	if w.repo != repo || w.ref != id.Ref() {
		if w.repo != repo {
			rt.workflow = w.repo + "/" + w.path
		}
		if strings.HasPrefix(w.ref, "refs/") {
			rt.signerRef = w.ref
		} else {
			rt.signerDigest = id.BuildSignerDigest
		}
	}
	if caller, ok := splitSAN(id.BuildConfigURI); ok && (w.repo != repo || caller.path != w.path) {
		rt.caller = caller.path
	}
	if rt.triggers = r.Triggers; len(rt.triggers) == 0 {
		rt.triggers = nameable(w.path)
	}
	return strings.ToLower(repo), rt, true
}

// nameable returns the triggers that a rule may name, where the neutral policy
// says nothing about them.
func nameable(path string) []string {
	if strings.HasPrefix(path, ".github/") {
		return []string{"push", "release", "workflow_dispatch", "schedule"}
	}
	return []string{"push", "web", "schedule"}
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

// matches is the neutral form's own meaning.
func (r *releaser) matches(id policy.Identity) bool {
	return r.Issuer == id.Issuer &&
		(r.SAN == "" || r.SAN == id.Value) && (r.SANGlob == "" || glob(r.SANGlob, id.Value)) &&
		(r.SourceRepositoryURI == "" || r.SourceRepositoryURI == id.SourceRepositoryURI) &&
		(r.SourceRepositoryIdentifier == "" || r.SourceRepositoryIdentifier == id.SourceRepositoryID) &&
		(r.SourceRefGlob == "" || glob(r.SourceRefGlob, id.Ref())) &&
		(len(r.Triggers) == 0 || slices.Contains(r.Triggers, id.Trigger()))
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
