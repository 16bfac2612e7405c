// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// policyController writes the rule as a ClusterImagePolicy of Sigstore's
// policy-controller. Any one authority is enough, and identities are compared
// whole. https://docs.sigstore.dev/policy-controller/overview/
//
// The tester of v0.13.1 judged images of a registry by such a policy with a root of its own: what
// is said below not to be checked is all that it let pass.
func (e *exporter) policyController() {
	type identity struct {
		Issuer        string `yaml:"issuer"`
		Subject       string `yaml:"subject,omitempty"`
		SubjectRegExp string `yaml:"subjectRegExp,omitempty"`
	}
	type keyless struct {
		URL        string     `yaml:"url"`
		Identities []identity `yaml:"identities"`
	}
	type key struct {
		Data string `yaml:"data"`
	}
	type url struct {
		URL string `yaml:"url"`
	}
	type authority struct {
		Name    string   `yaml:"name"`
		Keyless *keyless `yaml:"keyless,omitempty"`
		Key     *key     `yaml:"key,omitempty"`
		CTLog   url      `yaml:"ctlog"`
	}
	type glob struct {
		Glob string `yaml:"glob"`
	}
	ids, keys := e.people()
	var globs []glob
	for _, image := range e.images("index.docker.io") {
		globs = append(globs, glob{image}, glob{image + ":*"}, glob{image + "@*"})
	}
	var authorities []authority
	for i, p := range ids {
		authorities = append(authorities, authority{Name: fmt.Sprintf("identity-%d", i+1), CTLog: url{rekorURL},
			Keyless: &keyless{fulcioURL, []identity{{Issuer: p.Issuer, Subject: p.Value}}}})
	}
	if w := e.rule.Workflow; w != nil && !e.Strict {
		e.allowsTag()
		e.no("triggers", "the event that started the run (.20)")
		if ofOthers(w) {
			e.leave(e.at+".workflow", "`--to kyverno` can express it",
				"%s cannot tell who called %s, a workflow that others call, too", e.target, w.Path)
		}
		authorities = append(authorities, authority{Name: "workflow", CTLog: url{rekorURL},
			Keyless: &keyless{fulcioURL, []identity{{Issuer: w.Issuer, SubjectRegExp: e.signerExpression(w)}}}})
	}
	for i, k := range keys {
		authorities = append(
			authorities,
			authority{Name: fmt.Sprintf("key-%d", i+1), CTLog: url{rekorURL}, Key: &key{pemText(k)}},
		)
	}
	e.yaml("policy.sigstore.dev/v1beta1", "ClusterImagePolicy", struct {
		Mode        string      `yaml:"mode"`
		Images      []glob      `yaml:"images"`
		Authorities []authority `yaml:"authorities"`
	}{"enforce", globs, authorities})
}

// kyverno writes the rule as a ClusterPolicy with one verifyImages rule. Without
// the count, Kyverno would demand every entry; '*' and '?' in a subject or issuer
// are wildcards to it. https://kyverno.io/docs/policy-types/cluster-policy/verify-images/
//
// `kyverno apply` of v1.19.1 judged the same images, and refused runs of other events, too.
func (e *exporter) kyverno() {
	type url struct {
		URL string `yaml:"url"`
	}
	type keyless struct {
		Subject       string            `yaml:"subject,omitempty"`
		SubjectRegExp string            `yaml:"subjectRegExp,omitempty"`
		Issuer        string            `yaml:"issuer"`
		Extensions    map[string]string `yaml:"additionalExtensions,omitempty"`
		Rekor         url               `yaml:"rekor"`
	}
	type static struct {
		PublicKeys string `yaml:"publicKeys"`
		Rekor      url    `yaml:"rekor"`
	}
	type entry struct {
		Keyless *keyless `yaml:"keyless,omitempty"`
		Keys    *static  `yaml:"keys,omitempty"`
	}
	type attestors struct {
		Count   int     `yaml:"count"`
		Entries []entry `yaml:"entries"`
	}
	type verify struct {
		Images       []string    `yaml:"imageReferences"`
		Action       string      `yaml:"failureAction"`
		Required     bool        `yaml:"required"`
		MutateDigest bool        `yaml:"mutateDigest"`
		VerifyDigest bool        `yaml:"verifyDigest"`
		Attestors    []attestors `yaml:"attestors"`
	}
	type rule struct {
		Name   string         `yaml:"name"`
		Match  map[string]any `yaml:"match"`
		Verify []verify       `yaml:"verifyImages"`
	}
	ids, keys := e.people()
	var references []string
	for _, image := range e.images("docker.io") {
		references = append(references, image+":*", image+"@*")
	}
	var entries []entry
	for i, p := range ids {
		if strings.ContainsAny(p.Value+p.Issuer, "*?") {
			e.no(fmt.Sprintf("identities[%d]", i), "an identity with * or ?, which are wildcards to it")
		}
		entries = append(entries, entry{Keyless: &keyless{Subject: p.Value, Issuer: p.Issuer, Rekor: url{rekorURL}}})
	}
	for _, ext := range e.extensions() {
		w := e.rule.Workflow
		entries = append(entries, entry{Keyless: &keyless{
			SubjectRegExp: e.signerExpression(w), Issuer: w.Issuer, Extensions: ext, Rekor: url{rekorURL},
		}})
	}
	for _, k := range keys {
		entries = append(entries, entry{Keys: &static{pemText(k), url{rekorURL}}})
	}
	e.yaml("kyverno.io/v1", "ClusterPolicy", struct {
		Background bool   `yaml:"background"`
		Timeout    int    `yaml:"webhookTimeoutSeconds"`
		Rules      []rule `yaml:"rules"`
	}{false, 30, []rule{{
		Name:   e.name(),
		Match:  map[string]any{"any": []any{map[string]any{"resources": map[string]any{"kinds": []string{"Pod"}}}}},
		Verify: []verify{{references, "Enforce", true, true, true, []attestors{{1, entries}}}},
	}}})
}

// extensions returns for each event of a workflow the extensions by which a controller tells who
// started its run; a pipeline of GitLab has none of them.
func (e *exporter) extensions() (out []map[string]string) {
	w := e.rule.Workflow
	if w == nil || e.Strict {
		return nil
	}
	e.allowsTag()
	if !w.IsGitHub() {
		e.no("triggers", "the event that started the run (.20)")
		return []map[string]string{nil}
	}
	for _, t := range w.Triggers {
		ext := map[string]string{"githubWorkflowTrigger": t}
		if ofOthers(w) {
			ext["githubWorkflowRepository"] = e.file.Repository.Path()
		}
		out = append(out, ext)
	}
	return out
}

const (
	fulcioURL = "https://fulcio.sigstore.dev"
	rekorURL  = "https://rekor.sigstore.dev"
)

// images returns the artifacts of the rule as names of images, with the name of
// Docker Hub that the target uses, and refuses what is none: an admission
// controller looks at nothing else, and at an image that no name covers not at
// all.
func (e *exporter) images(hub string) []string {
	if e.rule.Artifacts.Any() {
		e.leave(e.at+".artifacts", "", "%s cannot express artifacts of any name: it judges images, so list them like "+
			`"ghcr.io/acme/widget"`, e.target)
	}
	var out []string
	for i, p := range e.rule.Artifacts.Patterns() {
		host, path, _ := strings.Cut(p.String(), "/")
		if path == "" || !strings.Contains(host, ".") || strings.Contains(host, "*") || !imageBytes(p.String()) {
			e.no(fmt.Sprintf("artifacts[%d]", i), `%q, which is no image such as "ghcr.io/acme/widget"`, p)
			continue
		}
		if host == "docker.io" || host == "index.docker.io" {
			host = hub
		}
		out = append(out, host+"/"+path)
	}
	if len(out) == 0 && !e.Strict && !e.skip {
		e.leave(e.at+".artifacts", "", "the rule names no image, and %s judges nothing else", e.target)
	}
	return out
}

// imageBytes reports whether s has only what the name of a repository in a
// registry may have, and '*'.
func imageBytes(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && strings.IndexByte("-._/*", c) < 0 {
			return false
		}
	}
	return true
}

// name returns a name for Kubernetes (RFC 1123) that is the rule's own.
func (e *exporter) name() string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(e.rule.Name))
	index := strings.TrimSuffix(strings.TrimPrefix(e.at, "release["), "]")
	return strings.TrimRight("repopolicy-"+index+"-"+clean[:min(len(clean), 40)], "-")
}

// yaml writes one object. Its scalars are quoted by the library where they need
// to be. A separator stands between objects only: policy-controller's own tester
// takes a document of comments alone for a policy without a kind.
func (e *exporter) yaml(version, kind string, spec any) {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(struct {
		Version  string            `yaml:"apiVersion"`
		Kind     string            `yaml:"kind"`
		Metadata map[string]string `yaml:"metadata"`
		Spec     any               `yaml:"spec"`
	}{version, kind, map[string]string{"name": e.name()}, spec})
	if err != nil {
		e.refuse(e.at, "", "%s", err)
		return
	}
	if e.wrote {
		e.out.WriteString("---\n")
	}
	fmt.Fprintf(&e.out, "# rule %s\n%s", e.rule.Name, b.String())
}
