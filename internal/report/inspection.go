// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/policy"
)

// Inspection is what evidence there is, without a verdict. Its schema is schema/inspection-v1.json.
type Inspection struct {
	Schema  string      `json:"schema"`
	Verdict string      `json:"verdict"` // always NoVerdict
	Exit    int         `json:"exit"`
	Tool    string      `json:"tool"`
	Inputs  []Inspected `json:"inputs"`
}

// NoVerdict is what stands in the place of a verdict where nothing is judged.
const NoVerdict = "NONE"

// Inspected is one input with its evidence.
type Inspected struct {
	Input    string            `json:"input"`
	Digests  map[string]string `json:"digests"` // of its content; none of evidence that was named itself
	Evidence []Piece           `json:"evidence"`
	Reason   policy.Reason     `json:"reason,omitempty"` // why there is nothing to show, or may be more
	Message  string            `json:"message,omitempty"`
	Detail   string            `json:"detail,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Notes    []Note            `json:"notes,omitempty"`
}

// Piece is one piece of evidence.
type Piece struct {
	Path     string        `json:"path"`
	Digest   string        `json:"digest,omitempty"`
	Form     string        `json:"form,omitempty"`
	Item     int           `json:"item,omitempty"`
	Via      string        `json:"via,omitempty"`
	About    *bool         `json:"about_input,omitempty"` // what is signed is the input; absent where there is none
	Verified bool          `json:"verified"`
	Root     string        `json:"trusted_root,omitempty"`
	Reason   policy.Reason `json:"reason,omitempty"` // why it is not verified
	Message  string        `json:"message,omitempty"`
	Detail   string        `json:"detail,omitempty"`
	Facts    []Fact        `json:"facts"`
}

// Fact is one thing that a piece of evidence says, and what that rests on.
type Fact struct {
	State     State  `json:"state"`
	Field     string `json:"field"`
	Extension string `json:"extension,omitempty"` // of the certificate, below 1.3.6.1.4.1.57264.1
	Value     string `json:"value"`
}

// State is what a fact rests on.
type State string

// The states.
const (
	Verified State = "verified" // shown by a signature, certificate, log or time stamp under a trusted root
	Signed   State = "signed"   // the word of a signer that is verified
	Claimed  State = "claimed"  // the evidence's own word, which nothing vouches for
	Missing  State = "missing"  // not there
)

// NewInspection describes what evidence there is.
func NewInspection(results []*repopolicy.Result) *Inspection {
	out := &Inspection{
		Schema: SchemaURL("inspection-v1"), Verdict: NoVerdict, Tool: "repopolicy " + Version(), Inputs: []Inspected{},
	}
	for _, r := range results {
		out.Inputs = append(out.Inputs, newInspected(r))
	}
	out.Exit = out.Class().Exit()
	return out
}

// Class returns what the exit code says: OK if everything that was found could be shown, which says nothing of
// who may release.
func (i *Inspection) Class() policy.Class {
	var worst []policy.Class
	add := func(r policy.Reason) {
		if r != "" {
			worst = append(worst, r.Class())
		}
	}
	for _, in := range i.Inputs {
		add(in.Reason)
		for _, p := range in.Evidence {
			// Evidence may be wrong or malformed, and is shown so. The rest was in the way of looking.
			if c := p.Reason.Class(); c != policy.ClassDeny && c != policy.ClassInvalid || p.Reason == policy.TrustRootInvalid {
				add(p.Reason)
			}
		}
	}
	if len(worst) == 0 && len(i.Inputs) > 0 {
		return policy.ClassOK
	}
	return policy.Worst(worst...)
}

func newInspected(r *repopolicy.Result) Inspected {
	out := Inspected{Input: r.Artifact, Digests: map[string]string{}, Evidence: []Piece{}}
	for _, d := range r.Digests {
		out.Digests[d.Alg] = d.Hex
	}
	if d := r.Decision; d.Reason != "" {
		out.Reason, out.Message, out.Detail, out.Hint = d.Reason, d.Reason.Text(), d.Detail, hint(d.Reason, r.Artifact)
	}
	for _, n := range r.Decision.Notes {
		out.Notes = append(out.Notes, Note(n))
	}
	for _, ev := range r.Others {
		out.Evidence = append(out.Evidence, newPiece(r, ev))
	}
	return out
}

func newPiece(r *repopolicy.Result, ev *repopolicy.Evidence) Piece {
	out := Piece{
		Path: ev.Path, Form: ev.Form, Item: ev.Item, Via: ev.Via, Verified: ev.Verified, Root: ev.Root, Facts: facts(ev),
	}
	if ev.Sum != "" {
		out.Digest = "sha256:" + ev.Sum
	}
	if len(r.Digests) > 0 && len(ev.Subjects) > 0 {
		out.About = &ev.About
	}
	if reason := ev.Decision.Reason; reason != "" {
		out.Reason, out.Message, out.Detail = reason, reason.Text(), ev.Decision.Detail
		if reason == policy.KeyUntrusted { // its text is about a policy, and there is none
			out.Message = "it is signed by a bare key"
		}
	}
	return out
}

// facts returns what a piece of evidence says. There is no other place that says of any of it that it is verified.
func facts(ev *repopolicy.Evidence) []Fact {
	out := []Fact{}
	shown, word := Claimed, Claimed
	if ev.Verified {
		shown, word = Verified, Signed
	}
	add := func(s State, field, value string) {
		if value != "" {
			out = append(out, Fact{State: s, Field: field, Value: value})
		}
	}
	switch {
	case ev.About && ev.Via != "":
		add(shown, "artifact", "is listed by what is signed, "+ev.Via)
	case ev.About && ev.Name != "":
		add(shown, "artifact", "is what is signed, as "+ev.Name)
	case ev.About:
		add(shown, "artifact", "is what is signed")
	}
	if id := ev.Signer; id.Kind == policy.KindKey {
		if ev.Verified {
			add(Verified, "signer key", "sha256:"+id.Value)
		}
		add(Claimed, "key hint", ev.KeyHint)
	} else if id.Kind != "" {
		add(shown, "signer "+string(id.Kind), id.Value)
		add(shown, "issuer", id.Issuer)
		for _, x := range extensions(&id) {
			x.State = shown
			out = append(out, x)
		}
	}
	if !ev.NotBefore.IsZero() {
		add(shown, "certificate", "valid from "+stamp(ev.NotBefore)+" to "+stamp(ev.NotAfter))
	}
	logged(ev, shown, add)
	add(word, "predicate", ev.Predicate)
	subjects(ev, word, add)
	return out
}

// logged says when something was signed and which log has it.
func logged(ev *repopolicy.Evidence, shown State, add func(State, string, string)) {
	for _, t := range ev.Times {
		by := map[string]string{"tsa": "time stamp authority", "log": "log"}[t.Source]
		add(shown, "time", strings.TrimSpace(stamp(t.Time)+", by the "+by+" "+t.URI))
	}
	for _, l := range ev.Log {
		add(shown, "log", logText(l))
	}
	for _, c := range ev.Claimed {
		text := fmt.Sprintf("log %s, entry %d", c.LogID, c.Index)
		if !c.Time.IsZero() {
			text += " of " + stamp(c.Time)
		}
		add(Claimed, "log", text)
	}
	if len(ev.Log) == 0 && len(ev.Subjects) > 0 {
		add(Missing, "log", "no entry of a log is verified")
	}
}

// mostSubjects is how many subjects of a statement are shown.
const mostSubjects = 50

func subjects(ev *repopolicy.Evidence, word State, add func(State, string, string)) {
	for i, s := range ev.Subjects {
		if i == mostSubjects {
			add(word, "subjects", fmt.Sprintf("%d more", len(ev.Subjects)-i))
			return
		}
		var digests []string
		for _, d := range s.Digests {
			digests = append(digests, d.String())
		}
		add(word, "subject", strings.TrimSpace(strings.Join(digests, " ")+" "+s.Name))
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func logText(l repopolicy.LogEntry) string {
	switch {
	case l.Proven:
		return fmt.Sprintf("%s, entry %d of %d, proven", l.Origin, l.TreeIndex, l.TreeSize)
	case l.PromisedIndex >= 0:
		return fmt.Sprintf("log %s, entry %d, promised at %s", l.LogID, l.PromisedIndex, stamp(l.Time))
	case l.TreeSize >= 0:
		return fmt.Sprintf("log %s had %d entries", l.LogID, l.TreeSize)
	}
	return fmt.Sprintf("log %s", l.LogID)
}

// extensions returns the fields of a certificate of Fulcio that are there.
// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
func extensions(id *policy.Identity) []Fact {
	all := []Fact{
		{"", "build signer", ".9", id.BuildSignerURI},
		{"", "build signer digest", ".10", id.BuildSignerDigest},
		{"", "runner", ".11", id.RunnerEnvironment},
		{"", "repository", ".12", id.SourceRepositoryURI},
		{"", "commit", ".13", id.SourceRepositoryDigest},
		{"", "ref", ".14", id.SourceRepositoryRef},
		{"", "repository number", ".15", id.SourceRepositoryID},
		{"", "owner", ".16", id.SourceRepositoryOwner},
		{"", "owner number", ".17", id.SourceRepositoryOwnerID},
		{"", "build config", ".18", id.BuildConfigURI},
		{"", "build config digest", ".19", id.BuildConfigDigest},
		{"", "trigger", ".20", id.BuildTrigger},
		{"", "run", ".21", id.RunInvocationURI},
		{"", "visibility", ".22", id.Visibility},
		{"", "environment", ".23", id.DeploymentEnvironment},
		{"", "token subject", ".24", id.TokenSubject},
		{"", "workflow trigger", ".2", id.WorkflowTrigger},
		{"", "workflow commit", ".3", id.WorkflowSHA},
		{"", "workflow name", ".4", id.WorkflowName},
		{"", "workflow repository", ".5", id.WorkflowRepository},
		{"", "workflow ref", ".6", id.WorkflowRef},
	}
	return slices.DeleteFunc(all, func(f Fact) bool { return f.Value == "" })
}

// Inspection prints what evidence there is for people.
func (p *Printer) Inspection(i *Inspection) {
	for _, in := range i.Inputs {
		p.inspected(&in)
	}
	p.Line("no verdict: this shows who signed, and not whether they may; `repopolicy verify` judges")
}

func (p *Printer) inspected(in *Inspected) {
	p.Line("%s", in.Input)
	for _, alg := range []string{"sha256", "sha384", "sha512", "gitCommit", "gitTag"} {
		if hex := in.Digests[alg]; hex != "" {
			p.Line("  %s:%s", alg, hex)
		}
	}
	for _, e := range in.Evidence {
		p.piece(&e)
	}
	if in.Reason != "" {
		p.Line("  %s [%s]", strings.TrimSuffix(in.Message+": "+in.Detail, ": "), in.Reason)
		if in.Hint != "" {
			p.Line("  hint: %s", in.Hint)
		}
	}
	for _, n := range in.Notes {
		p.Line("  note: %s", n.Text)
	}
}

func (p *Printer) piece(e *Piece) {
	text := itemOf(e.Path, e.Item)
	if e.Form != "" {
		text += " (" + e.Form + ")"
	}
	if e.Via != "" {
		text += ", which is about " + e.Via
	}
	if e.About != nil && !*e.About {
		text += ", which is about something else"
	}
	isLogged := func(f Fact) bool { return f.State == Verified && f.Field == "log" }
	switch {
	case !e.Verified:
		p.Line("  evidence %s, not verified: %s [%s]", text, strings.TrimSuffix(e.Message+": "+e.Detail, ": "), e.Reason)
	case slices.ContainsFunc(e.Facts, isLogged):
		p.Line("  evidence %s, verified under %s", text, e.Root)
	default:
		p.Line("  evidence %s, verified under %s but for a log", text, e.Root)
	}
	for _, f := range e.Facts {
		field := f.Field
		if f.Extension != "" {
			field += " (" + f.Extension + ")"
		}
		p.Line("    %-8s  %-26s %s", f.State, field, f.Value)
	}
}
