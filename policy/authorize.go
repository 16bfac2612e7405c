// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// Run is who asks to release, before anything is signed: the identity that
// Fulcio would certify for an ID token whose signature, issuer, audience and
// times were verified. The zero value is nobody.
type Run struct {
	identity Identity
	facts    RunFacts
	verified bool
}

// RunFacts is what a token says beyond what a certificate keeps. Only
// [release.preflight] compares it.
type RunFacts struct {
	Actor        string // who started the run; "" if the token does not say
	RefProtected string // "true", "false", or "" if the token does not say
}

// Verified declares that a token for this identity was verified. It is to be called
// where that happens and nowhere else.
func (f RunFacts) Verified(id Identity) Run { return Run{id, f, true} }

// Identity returns the identity that a certificate would name.
func (r Run) Identity() Identity { return r.identity }

// Facts returns what else the token says.
func (r Run) Facts() RunFacts { return r.facts }

// As returns the run with the identity that its certificate really names, and
// false if that is another than the token's. What a certificate lacks, of an
// instance that does not write all extensions yet, is no contradiction; a rule
// that wants it will miss it.
func (r Run) As(id Identity) (Run, bool) {
	if !r.verified || id.Kind != r.identity.Kind || id.Value != r.identity.Value || id.Issuer != r.identity.Issuer {
		return Run{}, false
	}
	want := r.identity.fields()
	for i, got := range id.fields() {
		if *got != "" && *got != *want[i] {
			return Run{}, false
		}
	}
	return r.facts.Verified(id), true
}

// Stage is where in a release an authorisation is asked for. The zero value is
// no stage.
type Stage string

// The stages.
const (
	// StagePreflight is earlier in the run, in another job than the one that
	// signs: what only that job's token will show is left open.
	StagePreflight Stage = "preflight"
	// StageSign is before the first signature. Approvals are of digests that were
	// signed, so that none is demanded yet.
	StageSign Stage = "sign"
	// StagePublish is after the last approval.
	StagePublish Stage = "publish"
)

// asking is what [Trusted.Authorize] adds to a request.
type asking struct {
	run   *Run
	stage Stage
}

// Unfit returns the denial of a question that makes no sense: of a run that nobody verified,
// for no stage, or at no moment. It is false for one that can be answered.
func (r Run) Unfit(stage Stage, req Request) (Decision, bool) {
	no := func(detail string) (Decision, bool) { return Decision{Reason: Internal, Detail: detail}, true }
	switch {
	case !r.verified:
		return no("the token was not verified")
	case stage != StagePreflight && stage != StageSign && stage != StagePublish:
		return no("no such stage")
	case req.Now.IsZero():
		return no("the moment of judging is not known")
	}
	return Decision{}, false
}

// Authorize judges whether a run may release what the request names, by one version of a
// bound policy and by the rules that will judge the evidence: as if the run had signed and
// logged at this moment (SPEC 13). Tags and tagSource are what the evidence would name as
// its tag, as in [Claims]. The policy is expired from its first expired second on.
func (t *Trusted) Authorize(run Run, stage Stage, req Request, tags []string, tagSource string) Decision {
	if d, unfit := run.Unfit(stage, req); unfit {
		return d
	}
	if t == nil || t.head == nil {
		return Decision{Reason: Internal, Detail: "only a policy that the repository bound authorises"}
	}
	if !t.file.Tombstone && !req.Now.Before(t.file.Expires) {
		return Decision{Reason: PolicyExpired, Detail: "it expired " + spelling.Stamp(t.file.Expires)}
	}
	req.asking = &asking{&run, stage}
	now := Verification{Times: []time.Time{req.Now}, Logged: true, Proven: true}
	c := &Claims{Signer: run.identity, Tags: tags, TagSource: tagSource}
	d := t.Strict().decide(req, c, &now)
	about := d.Rule
	if n, ok := d.Nearest(); ok && about == "" {
		about = n.Rule
	}
	if r := t.rule(about); r != nil {
		i := slices.IndexFunc(d.Rules, func(res RuleResult) bool { return res.Rule == about })
		d.Compared = t.compared(r, &d.Rules[i], req, c)
	}
	if !d.Permitted {
		return d
	}
	if a := t.rule(d.Rule).Approvals; a != nil && stage != StagePublish {
		d.Notes = append(d.Notes, Note{"approvals-later", fmt.Sprintf(
			"before it is published, %d of the %s approve exactly these digests", a.Threshold, a.From)})
	}
	return d
}

// rule returns the rule of that name; nil if there is none.
func (t *Trusted) rule(name string) *Rule {
	i := slices.IndexFunc(t.file.Rules, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &t.file.Rules[i]
}

// ask adds what only the token says, and takes out what the stage leaves open.
func (res *RuleResult) ask(a *asking, r *Rule) {
	if r.Preflight != nil {
		res.Mismatches = append(res.Mismatches, r.Preflight.mismatches(a.run.facts)...)
	}
	res.Mismatches = slices.DeleteFunc(res.Mismatches, func(m Mismatch) bool {
		switch {
		case a.stage == StageSign && m.Field == "approvals":
			return true
		case a.stage == StagePreflight && m.open(r, &a.run.identity):
			res.Open = append(res.Open, m)
			return true
		}
		return false
	})
}

// mismatches compares what only the token says (SPEC 13.3).
func (p *Preflight) mismatches(f RunFacts) []Mismatch {
	var ms []Mismatch
	if len(p.Actors) > 0 && !slices.Contains(p.Actors, f.Actor) {
		ms = append(ms, extension("actor", "", strings.Join(p.Actors, ", "), f.Actor))
	}
	if p.RefProtected && f.RefProtected != "true" {
		ms = append(ms, extension("ref-protected", "", "true", f.RefProtected))
	}
	return ms
}

// open reports whether the job that signs can still make good for the mismatch,
// so that it says nothing earlier in the run: environment and runner are those of
// a job, a reusable workflow is entered by the job that calls it, and files and
// approvals come later.
func (m Mismatch) open(r *Rule, id *Identity) bool {
	switch m.Field {
	case "environment", "runner", "approvals":
		return true
	case "artifact":
		return m.Kind == "missing"
	case "signer-workflow", "signer-digest":
		// The token is of the workflow that started, not of one that it called.
		return r.Workflow != nil && !r.Workflow.Signer.IsZero() && id.Value == id.BuildConfigURI
	}
	return false
}
