// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/policy"
)

// Authorization is the one value from which an authorisation is printed. Its schema
// is schema/authorization-v1.json.
type Authorization struct {
	Schema     string         `json:"schema"`
	Verdict    string         `json:"verdict"`
	Exit       int            `json:"exit"`
	Tool       string         `json:"tool"`
	Stage      policy.Stage   `json:"stage"`
	Repository string         `json:"repository"`
	Tag        string         `json:"tag,omitempty"`
	Commit     string         `json:"commit,omitempty"`
	Policy     *PolicySummary `json:"policy"`
	Root       string         `json:"trusted_root"` // under which the policy was found
	Caller     Signer         `json:"caller"`       // as a certificate would name it
	// Called is the reusable workflow of another repository or file that signs.
	Called   string     `json:"called_workflow,omitempty"`
	Actor    string     `json:"actor,omitempty"`
	Audience string     `json:"audience,omitempty"`
	Until    *time.Time `json:"token_expires,omitempty"`
	Drift    []string   `json:"drift"`
	Releases []Release  `json:"releases"`
	Alarms   []string   `json:"alarms"`
}

// Release is the answer for one thing.
type Release struct {
	Artifact string            `json:"artifact,omitempty"` // "" where none was named
	Digests  map[string]string `json:"digests"`
	Verdict  string            `json:"verdict"`
	Reason   policy.Reason     `json:"reason"`
	Message  string            `json:"message"`
	Detail   string            `json:"detail,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Rule     string            `json:"rule,omitempty"`    // that allows
	Nearest  string            `json:"nearest,omitempty"` // that does not
	Fields   []Field           `json:"fields"`
	Notes    []Note            `json:"notes,omitempty"`
	Bundle   string            `json:"bundle,omitempty"` // file of the signature, of sign-release alone
}

// Field is one row of the decision table.
type Field struct {
	Field     string `json:"field"`
	Extension string `json:"extension,omitempty"`
	Want      string `json:"want"`
	Got       string `json:"got,omitempty"`
	State     string `json:"state"` // agrees, differs, open
	Change    string `json:"change,omitempty"`
}

// changes says what to do about a field that differs, by field.
var changes = map[string]string{
	"artifact":        "release it under a name that the rule lists, or change `artifacts` in a new version of the policy",
	"tag":             "run for a tag that the rule lists, or change `tags` in a new version of the policy",
	"environment":     "say `environment: %s` in the job that signs",
	"trigger":         "start the workflow by one of these events",
	"ref":             "start the run for the tag: push the tag, or dispatch the workflow with the tag as its ref",
	"runner":          "use a runner of that kind for the job that signs",
	"caller":          "start the run in that workflow file",
	"signer-workflow": "sign in that workflow file at that ref",
	"signer-digest":   "call the reusable workflow at that commit",
	"repository":      "run in that repository: a fork cannot release",
	"commit":          "run for that commit",
	"actor":           "let one of them start the run",
	"ref-protected":   "protect the branch or tag on the forge",
	"approvals":       "they run `repopolicy approve`, and put the files beside the assets",
	"identity":        "sign in as one of them, or name this identity in a new version of the policy",
	"issuer":          "sign in there",
}

func NewAuthorization(z *gate.Authorization) *Authorization {
	class := z.Class()
	id := z.Run.Identity()
	r := &Authorization{
		Schema: SchemaURL("authorization-v1"), Verdict: class.String(), Exit: class.Exit(),
		Tool: "repopolicy " + Version(), Stage: z.Stage,
		Repository: z.Found.Repository.String(), Tag: z.Tag, Commit: z.Commit, Policy: SummaryOfFound(z.Found),
		Root:   z.Found.Root.Name(),
		Caller: NewSigner(id), Actor: z.Run.Facts().Actor, Audience: z.Audience,
		Drift: append([]string{}, z.Drift...), Releases: []Release{}, Alarms: []string{},
	}
	if id.BuildSignerURI != "" && id.BuildSignerURI != id.BuildConfigURI {
		r.Called = id.BuildSignerURI
	}
	if z.Verified != nil {
		end := z.Verified.End()
		r.Until = &end
	}
	for _, al := range z.Found.Resolution.Chain.Alarms() {
		r.Alarms = append(r.Alarms, al.Code+": "+al.Text)
	}
	for i, d := range z.Decisions {
		x := newRelease(d)
		if i < len(z.Subjects) {
			x.Artifact = z.Subjects[i].Arg
			for _, dg := range z.Subjects[i].Digests {
				x.Digests[dg.Alg] = dg.Hex
			}
		}
		r.Releases = append(r.Releases, x)
	}
	return r
}

// newRelease returns the answer of one decision.
func newRelease(d policy.Decision) Release {
	x := Release{
		Digests: map[string]string{}, Verdict: d.Reason.Class().String(), Reason: d.Reason, Message: d.Reason.Text(),
		Detail: d.Detail, Rule: d.Rule, Fields: []Field{},
	}
	nearest, _ := d.Nearest()
	if !d.Permitted {
		if d.Reason != policy.RuleMismatch { // there, the table says what to change
			x.Hint = d.Reason.Hint()
		}
		x.Nearest = nearest.Rule
	}
	for _, c := range d.Compared {
		f := Field{c.Field, c.Extension, c.Want, c.Got, c.State, ""}
		if c.State == "differs" {
			f.Change = change(c, nearest.Mismatches)
		}
		x.Fields = append(x.Fields, f)
	}
	for _, n := range d.Notes {
		x.Notes = append(x.Notes, Note(n))
	}
	return x
}

// change says what to do about a field that differs.
func change(c policy.Comparison, mismatches []policy.Mismatch) string {
	out := changes[c.Field]
	if strings.Contains(out, "%s") {
		out = fmt.Sprintf(out, c.Want)
	}
	if c.Field == "tag" && c.Got == "" {
		out = "run for a tag, or sign a release statement that names one (--statement with --tag, or --purl)"
	}
	for _, m := range mismatches {
		switch {
		case m.Field != c.Field || m.Hint == "":
		case m.Kind == "forbidden":
			out = m.Hint
		case m.Field == "approvals":
			out += "; " + m.Hint
		}
	}
	return out
}

// Authorization prints the decision for people.
func (p *Printer) Authorization(r *Authorization) {
	about := r.Policy
	p.Line("%s by the policy that %s bound, version %d, expires %s", r.Total(), r.Repository, about.Version,
		about.Expires.Format(time.DateOnly))
	row := func(name, format string, args ...any) {
		if text := strings.TrimSpace(fmt.Sprintf(format, args...)); text != "" {
			p.Line("  %-12s %s", name, text)
		}
	}
	row("policy", "%s, genesis %s, completeness %s", about.Digest, about.Genesis, about.Completeness)
	row("caller", "%s", r.Caller.Config)
	row("signer", "%s", r.Caller.Identity)
	if r.Called != "" {
		row("reusable", "the job is one of the called workflow %s", r.Called)
	}
	row("issuer", "%s", r.Caller.Issuer)
	row("tag", "%s", r.Tag)
	row("commit", "%s", r.Commit)
	row("run", "%s", r.Caller.Run)
	row("actor", "%s", r.Actor)
	for _, d := range r.Drift {
		row("drift", "%s", d)
	}
	for i := range r.Releases {
		p.release(&r.Releases[i], i > 0 && sameRows(&r.Releases[i-1], &r.Releases[i]))
	}
}

// sameRows reports whether two answers differ in the artifact alone, so that the
// table of the second says nothing new.
func sameRows(x, y *Release) bool {
	return x.Verdict == "OK" && y.Verdict == "OK" && x.Rule == y.Rule
}

func (p *Printer) release(x *Release, brief bool) {
	name := x.Artifact
	if name == "" {
		name = "the run"
	}
	switch {
	case x.Bundle != "":
		p.Line("%-5s %s: by rule %s, signed in %s", x.Verdict, name, x.Rule, x.Bundle)
	case x.Verdict == "OK":
		p.Line("%-5s %s: by rule %s", x.Verdict, name, x.Rule)
	default:
		p.Line("%-5s %s: %s [%s]", x.Verdict, name, x.Message, x.Reason)
		if x.Detail != "" {
			p.Line("  %-12s %s", "because", x.Detail)
		}
		if x.Nearest != "" && x.Reason == policy.RuleMismatch {
			p.Line("  %-12s %s", "nearest rule", x.Nearest)
		}
	}
	if !brief {
		p.fields(x.Fields)
		for _, n := range x.Notes {
			p.Line("  %-12s %s", "note", n.Text)
		}
		if x.Hint != "" {
			p.Line("  %-12s %s", "hint", x.Hint)
		}
	}
}

// fields prints the decision table.
func (p *Printer) fields(fields []Field) {
	if len(fields) == 0 {
		return
	}
	wide := [2]int{len("field"), len("wanted")}
	for _, f := range fields {
		wide[0], wide[1] = max(wide[0], len(f.name())), max(wide[1], min(len(Escape(f.Want)), 60))
	}
	p.Line("         %-*s  %-*s  %s", wide[0], "field", wide[1], "wanted", "got")
	for _, f := range fields {
		mark := map[string]string{"agrees": "  ok", "differs": "DENY", "open": "open"}[f.State]
		got := OrMissing(f.Got)
		if f.State == "agrees" && f.Got == f.Want {
			got = "the same"
		}
		p.Line("    %s %-*s  %-*s  %s", mark, wide[0], f.name(), wide[1], f.Want, got)
		if f.Change != "" {
			p.Line("         %-*s  change: %s", wide[0], "", f.Change)
		}
	}
}

func (f *Field) name() string {
	if f.Extension == "" {
		return f.Field
	}
	return f.Field + " (" + f.Extension + ")"
}

// Total is the whole answer in one line.
func (r *Authorization) Total() string {
	switch {
	case r.Verdict == "OK" && r.Stage == policy.StagePreflight:
		return "OK: nothing stands in the way so far"
	case r.Verdict == "OK":
		return "OK: may " + string(r.Stage)
	}
	if r.Stage == policy.StagePublish {
		return r.Verdict + ": may not publish"
	}
	return r.Verdict + ": may not sign"
}

// Authorization prints annotations, the step's outputs and a summary.
func (a GitHub) Authorization(r *Authorization, more ...Output) {
	var b strings.Builder
	fmt.Fprintf(&b,
		"### repopolicy: %s\n\nPolicy of %s, version %d, %s, genesis %s, completeness %s. Signer %s, tag %s.\n\n",
		r.Total(), Code(r.Repository), r.Policy.Version, Code(r.Policy.Digest), Code(r.Policy.Genesis),
		Code(r.Policy.Completeness), Code(r.Caller.Identity), Code(r.Tag))
	b.WriteString("| verdict | artifact | reason | field | wanted | got |\n|---|---|---|---|---|---|\n")
	for i := range r.Releases {
		x := &r.Releases[i]
		if x.Verdict != "OK" {
			lines := []string{x.Artifact + ": " + x.Message, x.Detail}
			for _, f := range x.Fields {
				if f.State == "differs" {
					lines = append(lines,
						fmt.Sprintf("rule %s: %s is %s, the rule says %s", x.Nearest, f.Field, OrMissing(f.Got), f.Want), f.Change)
				}
			}
			a.annotate("error", Position{file: x.Artifact}, fmt.Sprintf("repopolicy: %s [%s]", x.Verdict, x.Reason),
				append(lines, x.Hint)...)
		}
		rows := 0
		for _, f := range x.Fields {
			if f.State == "agrees" || b.Len() > MaxSummaryBytes {
				continue
			}
			rows++
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", x.Verdict, Code(x.Artifact), x.Message, Code(f.name()),
				Code(f.Want), Code(f.Got))
		}
		if rows == 0 && b.Len() <= MaxSummaryBytes {
			fmt.Fprintf(&b, "| %s | %s | %s %s | - | - | - |\n", x.Verdict, Code(x.Artifact), x.Message, Code(x.Detail))
		}
	}
	for _, alarm := range r.Alarms {
		a.annotate("warning", Position{}, "repopolicy: alarm", alarm)
	}
	level := "error"
	if r.Exit == 0 {
		level = "notice"
	}
	a.annotate(level, Position{}, "repopolicy", r.Total())
	outputs := append(VerdictOutputs(r.Verdict, r.Exit),
		Output{"authorized", strconv.FormatBool(r.Exit == 0 && r.Stage != policy.StagePreflight)},
		Output{"policy-version", strconv.Itoa(r.Policy.Version)}, Output{"policy-digest", r.Policy.Digest})
	a.Outputs(append(outputs, more...), b.String())
}
