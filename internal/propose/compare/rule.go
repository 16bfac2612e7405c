// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

func ruleNames(rules []policy.Rule) []string {
	var out []string
	for i := range rules {
		out = append(out, rules[i].Name)
	}
	return out
}

func ruleOf(rules []policy.Rule, name string) *policy.Rule {
	return &rules[slices.IndexFunc(rules, func(r policy.Rule) bool { return r.Name == name })]
}

// describe says in a few words what a rule allows.
func describe(r *policy.Rule) string {
	var who []string
	switch {
	case r.Workflow != nil:
		who = []string{signer(r.Workflow)}
	case r.GitHubRelease:
		who = []string{"releases of GitHub"}
	case r.Target != nil:
		who = []string{"what the trust root " + r.Target.Root + " lists by its role " + r.Target.Role}
	default:
		who = append(append(principals(r.Identities), keys(r.Keys)...), rootKeys(r.RootKeys)...)
	}
	text := fmt.Sprintf("%s for %s of tags %s", strings.Join(who, ", "),
		strings.Join(patterns(r.Artifacts), ", "), strings.Join(patterns(r.Tags), ", "))
	if r.TagPrefix != "" {
		text += fmt.Sprintf(", with %q before versions", r.TagPrefix)
	}
	return text
}

func signer(w *policy.Workflow) string {
	if w.Signer.IsZero() {
		return w.Path
	}
	return w.Signer.String() + "/" + w.Path
}

func (c *comparison) rule(path string, before, after *policy.Rule) {
	at := func(key string) string { return path + "." + key }
	c.patterns(at("tags"), before.Tags, after.Tags)
	c.scalar(at("tag-prefix"), before.TagPrefix, after.TagPrefix, anyChange) // without it a version is the tag
	c.patterns(at("refs"), before.Refs, after.Refs)
	c.patterns(at("artifacts"), before.Artifacts, after.Artifacts)
	c.scalar(at("since"), moment(before.Since), moment(after.Since), earlierOrNew)
	until := laterOrNone
	if len(after.RootKeys) > 0 { // lets what a key signed before it count that its root withdrew
		until = func(before, to string) bool { return before == "" || laterOrNone(before, to) }
	}
	c.scalar(at("until"), moment(before.Until), moment(after.Until), until)
	c.workflow(at, before.Workflow, after.Workflow)
	c.set(at("identities"), principals(before.Identities), principals(after.Identities), whenSet)
	c.set(at("keys"), append(keys(before.Keys), rootKeys(before.RootKeys)...),
		append(keys(after.Keys), rootKeys(after.RootKeys)...), whenSet)
	c.target(at, before.Target, after.Target)
	c.scalar(at("github-release"), flag(before.GitHubRelease), flag(after.GitHubRelease), whenSet)
	c.scalar(at("set-only"), flag(before.SetOnly), flag(after.SetOnly), whenSet)
	c.scalar(at("unlogged"), flag(before.Unlogged), flag(after.Unlogged), whenSet)
	c.scalar(at("overlaps"), flag(before.Overlaps), flag(after.Overlaps), whenSet)
	a, b := before.Approvals, after.Approvals
	if a == nil {
		a = &policy.Approvals{}
	}
	if b == nil {
		b = &policy.Approvals{}
	}
	c.scalar(at("approvals.threshold"), count(a.Threshold), count(b.Threshold), fewer)
	c.scalar(at("approvals.from"), a.From, b.From, unlessSet)
	p, q := before.Preflight, after.Preflight
	if p == nil {
		p = &policy.Preflight{}
	}
	if q == nil {
		q = &policy.Preflight{}
	}
	// No actors at all are everybody: the first ones narrow, the last ones do not.
	l := whenSet
	switch {
	case len(p.Actors) == 0:
		l = never
	case len(q.Actors) == 0:
		l = anyChange
	}
	c.set(at("preflight.actors"), p.Actors, q.Actors, l)
	c.scalar(at("preflight.ref-protected"), flag(p.RefProtected), flag(q.RefProtected), unlessSet)
}

func (c *comparison) workflow(at func(string) string, before, after *policy.Workflow) {
	if before == nil && after == nil {
		return
	}
	if before == nil || after == nil { // another kind of rule
		x, y := "", ""
		if before != nil {
			x = signer(before)
		} else {
			y = signer(after)
		}
		c.scalar(at("workflow"), x, y, whenSet)
		return
	}
	c.scalar(at("workflow"), signer(before), signer(after), anyChange)
	c.scalar(at("caller"), before.Caller, after.Caller, anyChange)
	c.scalar(at("signer-ref"), before.SignerRef, after.SignerRef, unlessSet)
	c.scalar(at("signer-digest"), before.SignerDigest, after.SignerDigest, unlessSet)
	c.scalar(at("issuer"), before.Issuer, after.Issuer, anyChange)
	c.scalar(at("environment"), before.Environment, after.Environment, unlessSet)
	c.set(at("triggers"), before.Triggers, after.Triggers, whenSet)
	c.scalar(at("runner"), before.Runner, after.Runner, unlessAny)
}

// rootKeys says which targets of trust roots keys are taken from, and which keys they are for.
func rootKeys(ks []policy.Key) (out []string) {
	for _, k := range ks {
		text := "key " + k.From.String()
		if k.ID != "" {
			text += ", which is sha256:" + k.ID
		}
		if k.From.URL != "" {
			text += ", followed at " + k.From.URL
		}
		out = append(out, text)
	}
	return out
}

// target compares by what role and path of which root artifacts are listed.
func (c *comparison) target(at func(string) string, before, after *policy.RootTarget) {
	var x, y policy.RootTarget
	if before != nil {
		x = *before
	}
	if after != nil {
		y = *after
	}
	l := anyChange
	if after == nil {
		l = never
	}
	c.scalar(at("tuf.root"), x.Root, y.Root, l)
	c.scalar(at("tuf.url"), x.URL, y.URL, l)
	c.scalar(at("tuf.role"), x.Role, y.Role, l)
	c.scalar(at("tuf.path"), x.Path, y.Path, l)
}

func revoked(f *policy.File) (out []string) {
	for _, r := range f.Revoked {
		s := selected(r.Identity, r.Rule, r.Key, "", policy.Digest{})
		if !r.Since.IsZero() {
			s += " since " + moment(r.Since)
		}
		out = append(out, s)
	}
	return out
}

func yanked(f *policy.File) (out []string) {
	for _, y := range f.Yanked {
		out = append(out, selected(nil, "", "", y.Tag, y.Digest))
	}
	return out
}

func restored(f *policy.File) (out []string) {
	for _, r := range f.Restored {
		out = append(out, selected(r.Identity, r.Rule, r.Key, r.Tag, r.Digest))
	}
	return out
}

func adopted(f *policy.File) (out []string) {
	for _, a := range f.Adopted {
		for _, d := range a.Digests {
			out = append(out, "tag "+a.Tag+" "+d.String())
		}
	}
	return out
}

func selected(id *policy.Principal, rule, key, tag string, d policy.Digest) string {
	switch {
	case id != nil:
		return principal(*id)
	case rule != "":
		return "rule " + rule
	case key != "":
		return "key sha256:" + key
	case tag != "":
		return "tag " + tag
	}
	return d.String()
}
