// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Comparison is one field that a rule compares, as a row for people: what it
// wants, what the run says, and whether that will do.
type Comparison struct {
	Field     string
	Extension string // of the certificate; "" if it is not about one
	Want, Got string
	State     string // "agrees", "differs", or "open": only the job that signs will show it
}

// compared returns every field that the rule compares with the run. Whether two
// values agree is never judged here: it is the absence of a mismatch.
func (t *Trusted) compared(r *Rule, res *RuleResult, req Request, c *Claims) []Comparison {
	var out []Comparison
	id := &c.Signer
	tags, _ := r.judged(req, c)
	add := func(field, ext, want, got string) {
		row := Comparison{Field: field, Extension: ext, Want: want, Got: got, State: "agrees"}
		same := func(m Mismatch) bool {
			return m.Field == field && (field != "artifact" || m.Got == got) &&
				(m.Extension == ext || m.Extension == "" || ext == "")
		}
		switch {
		case slices.ContainsFunc(res.Mismatches, same):
			row.State = "differs"
		case slices.ContainsFunc(res.Open, same):
			row.State = "open"
		}
		out = append(out, row)
	}
	if w := r.Workflow; w != nil {
		add("issuer", ".8", w.Issuer, id.Issuer)
		add("repository", ".12", t.file.Repository.String(), id.SourceRepositoryURI)
		if t.ids.Repository != "" {
			add("repository-id", ".15", t.ids.Repository, id.SourceRepositoryID)
		}
		if t.ids.Owner != "" {
			add("owner-id", ".17", t.ids.Owner, id.SourceRepositoryOwnerID)
		}
		add("signer-workflow", "SAN", w.signerText(t.file.Repository, id.Ref()), id.Value)
		if w.SignerDigest != "" {
			add("signer-digest", ".10", w.SignerDigest, id.BuildSignerDigest)
		}
		add("caller", ".18", t.file.Repository.String()+w.slash(w.Caller)+"@"+id.Ref(), id.BuildConfigURI)
		add("ref", ".14", w.refText(r, tags), id.Ref())
		if req.Commit != "" {
			add("commit", ".13", req.Commit, id.Commit())
		}
		add("trigger", ".20", strings.Join(w.Triggers, ", "), id.Trigger())
		if w.Runner != "any" {
			add("runner", ".11", w.Runner, id.RunnerEnvironment)
		}
		if w.Environment != "" {
			add("environment", ".23", w.Environment, id.DeploymentEnvironment)
		}
	} else {
		add(r.signerRow(id, res.Mismatches))
	}
	if !r.Tags.any {
		add("tag", "", r.Tags.String(), first(tags))
	}
	if !r.Artifacts.any {
		for _, name := range req.Names {
			add("artifact", "", r.Artifacts.String(), name)
		}
		if len(req.Names) == 0 {
			add("artifact", "", r.Artifacts.String(), "")
		}
	}
	if p := r.Preflight; p != nil && req.asking != nil {
		if len(p.Actors) > 0 {
			add("actor", "", strings.Join(p.Actors, ", "), req.asking.run.facts.Actor)
		}
		if p.RefProtected {
			add("ref-protected", "", "true", req.asking.run.facts.RefProtected)
		}
	}
	if a := r.Approvals; a != nil && req.asking != nil && req.asking.stage == StagePublish {
		names, _ := t.approved(r, req, c)
		add("approvals", "", fmt.Sprintf("%d of the %s", a.Threshold, a.From),
			strings.TrimSpace(fmt.Sprint(len(names), " ", strings.Join(names, ", "))))
	}
	// What is compared and has no row of its own is still shown where it differs.
	for _, m := range res.Mismatches {
		if !slices.ContainsFunc(out, func(c Comparison) bool { return c.State == "differs" && c.Field == m.Field }) {
			out = append(out, Comparison{m.Field, m.Extension, m.Want, m.Got, "differs"})
		}
	}
	return out
}

// signerRow returns the row of who signed, where a rule names no workflow. What a trust root says of
// a key is what differs in the key.
func (r *Rule) signerRow(id *Identity, ms []Mismatch) (field, ext, want, got string) {
	field, want, got = "identity", r.people(), id.describe()
	switch {
	case r.Target != nil:
		field = "target"
	case id.Kind == KindKey:
		field = "key"
	}
	if i := slices.IndexFunc(ms, func(m Mismatch) bool { return m.Field == field }); i >= 0 && field == "key" {
		want, got = ms[i].Want, ms[i].Got
	}
	return field, "", want, got
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
