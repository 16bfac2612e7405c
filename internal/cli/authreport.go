// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// authReport is the one value from which an authorisation is printed. Its schema
// is schema/authorization-v1.json.
type authReport struct {
	Schema     string         `json:"schema"`
	Verdict    string         `json:"verdict"`
	Exit       int            `json:"exit"`
	Tool       string         `json:"tool"`
	Stage      policy.Stage   `json:"stage"`
	Repository string         `json:"repository"`
	Tag        string         `json:"tag,omitempty"`
	Commit     string         `json:"commit,omitempty"`
	Policy     *policySummary `json:"policy"`
	Caller     signerReport   `json:"caller"` // as a certificate would name it
	// Called is the reusable workflow of another repository or file that signs.
	Called   string       `json:"called_workflow,omitempty"`
	Actor    string       `json:"actor,omitempty"`
	Audience string       `json:"audience,omitempty"`
	Until    *time.Time   `json:"token_expires,omitempty"`
	Drift    []string     `json:"drift"`
	Releases []authResult `json:"releases"`
	Alarms   []string     `json:"alarms"`
}

// authResult is the answer for one thing.
type authResult struct {
	Artifact string            `json:"artifact,omitempty"` // "" where none was named
	Digests  map[string]string `json:"digests"`
	Verdict  string            `json:"verdict"`
	Reason   policy.Reason     `json:"reason"`
	Message  string            `json:"message"`
	Detail   string            `json:"detail,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Rule     string            `json:"rule,omitempty"`    // that allows
	Nearest  string            `json:"nearest,omitempty"` // that does not
	Fields   []fieldReport     `json:"fields"`
	Notes    []noteReport      `json:"notes,omitempty"`
	Bundle   string            `json:"bundle,omitempty"` // file of the signature, of sign-release alone
}

// fieldReport is one row of the decision table.
type fieldReport struct {
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

func newAuthorizationReport(z *gate.Authorization) *authReport {
	class := z.Class()
	id := z.Run.Identity()
	r := &authReport{
		Schema: schemaURL("authorization-v1"), Verdict: class.String(), Exit: class.Exit(), Tool: "repopolicy " + version(),
		Stage: z.Stage, Repository: z.Found.Repository.String(), Tag: z.Tag, Commit: z.Commit, Policy: policySummaryOf(z.Found), Caller: newSignerReport(id),
		Actor: z.Run.Facts().Actor, Audience: z.Audience, Drift: append([]string{}, z.Drift...), Releases: []authResult{}, Alarms: []string{},
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
		info := d.Reason.Info()
		x := authResult{Digests: map[string]string{}, Verdict: info.Class.String(), Reason: d.Reason, Message: info.Text, Detail: d.Detail, Rule: d.Rule, Fields: []fieldReport{}}
		if i < len(z.Subjects) {
			x.Artifact = z.Subjects[i].Arg
			for _, dg := range z.Subjects[i].Digests {
				x.Digests[dg.Alg] = dg.Hex
			}
		}
		if d.Outcome != policy.Permitted {
			if x.Hint = info.Hint; d.Reason == policy.RuleMismatch {
				x.Hint = "" // the table says what to change
			}
			if n, ok := d.Nearest(); ok {
				x.Nearest = n.Rule
			}
		}
		for _, c := range d.Compared {
			f := fieldReport{c.Field, c.Extension, c.Want, c.Got, c.State, ""}
			if c.State == "differs" {
				if f.Change = changes[c.Field]; strings.Contains(f.Change, "%s") {
					f.Change = fmt.Sprintf(f.Change, c.Want)
				}
				if c.Field == "tag" && c.Got == "" {
					f.Change = "run for a tag, or sign a release statement that names one (--statement with --tag, or --purl)"
				}
				if n, ok := d.Nearest(); ok {
					for _, m := range n.Mismatches {
						switch {
						case m.Field != c.Field || m.Hint == "":
						case m.Kind == "forbidden":
							f.Change = m.Hint
						case m.Field == "approvals":
							f.Change += "; " + m.Hint
						}
					}
				}
			}
			x.Fields = append(x.Fields, f)
		}
		for _, n := range d.Notes {
			x.Notes = append(x.Notes, noteReport(n))
		}
		r.Releases = append(r.Releases, x)
	}
	return r
}

// useReceipts compares the authorisation with the receipt of an earlier step, and
// writes its own. Only what is allowed gets one.
func (a *app) useReceipts(o *authorizeOptions, z *gate.Authorization) error {
	own := z.Receipt(a.Now())
	if o.after.set {
		data, err := o.readAfter()
		if err != nil {
			return err
		}
		before, err := oidc.ParseReceipt(data, schemaURL("receipt-v1"))
		if err == nil {
			err = before.Covers(own, a.Now())
		}
		if err != nil {
			return gate.Refusal(fmt.Errorf("--after %s: %w", o.after.value, err))
		}
	}
	if !o.receipt.set {
		return nil
	}
	return writeJSON(o.receipt.value, own)
}

func (o *authorizeOptions) readAfter() ([]byte, error) {
	data, err := file.Read(o.after.value, oidc.MaxReceiptBytes)
	if err != nil {
		return nil, policy.Faultf(policy.Usage, "--after: %s", err)
	}
	return data, nil
}

func (a *app) printAuthorization(o *authorizeOptions, z *gate.Authorization, r *authReport) error {
	if o.report.set {
		if err := writeJSON(o.report.value, r); err != nil {
			return err
		}
	}
	switch o.format.value {
	case "json":
		return a.out.json(r)
	case "github":
		a.authorizationGitHub(o, r)
	default:
		a.authorizationText(z, r)
	}
	return nil
}

// authorizationText prints the decision for people.
func (a *app) authorizationText(z *gate.Authorization, r *authReport) {
	p := r.Policy
	a.out.line("%s by the policy that %s bound, version %d, expires %s", r.total(), r.Repository, p.Version, p.Expires.Format(time.DateOnly))
	row := func(name, format string, args ...any) {
		if text := strings.TrimSpace(fmt.Sprintf(format, args...)); text != "" {
			a.out.line("  %-12s %s", name, text)
		}
	}
	row("policy", "%s, genesis %s, completeness %s", p.Digest, p.Genesis, p.Completeness)
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
		a.releaseText(&r.Releases[i], i > 0 && sameRows(&r.Releases[i-1], &r.Releases[i]))
	}
}

// sameRows reports whether two answers differ in the artifact alone, so that the
// table of the second says nothing new.
func sameRows(x, y *authResult) bool {
	return x.Verdict == "OK" && y.Verdict == "OK" && x.Rule == y.Rule
}

func (a *app) releaseText(x *authResult, brief bool) {
	name := x.Artifact
	if name == "" {
		name = "the run"
	}
	switch {
	case x.Bundle != "":
		a.out.line("%-5s %s: by rule %s, signed in %s", x.Verdict, name, x.Rule, x.Bundle)
	case x.Verdict == "OK":
		a.out.line("%-5s %s: by rule %s", x.Verdict, name, x.Rule)
	default:
		a.out.line("%-5s %s: %s [%s]", x.Verdict, name, x.Message, x.Reason)
		if x.Detail != "" {
			a.out.line("  %-12s %s", "because", x.Detail)
		}
		if x.Nearest != "" && x.Reason == policy.RuleMismatch {
			a.out.line("  %-12s %s", "nearest rule", x.Nearest)
		}
	}
	if brief {
		return
	}
	wide := [3]int{len("field"), len("wanted"), 0}
	for _, f := range x.Fields {
		wide[0], wide[1] = max(wide[0], len(f.name())), max(wide[1], min(len(escape(f.Want)), 60))
	}
	if len(x.Fields) > 0 {
		a.out.line("         %-*s  %-*s  %s", wide[0], "field", wide[1], "wanted", "got")
	}
	for _, f := range x.Fields {
		mark := map[string]string{"agrees": "  ok", "differs": "DENY", "open": "open"}[f.State]
		got := orMissing(f.Got)
		if f.State == "agrees" && f.Got == f.Want {
			got = "the same"
		}
		a.out.line("    %s %-*s  %-*s  %s", mark, wide[0], f.name(), wide[1], f.Want, got)
		if f.Change != "" {
			a.out.line("         %-*s  change: %s", wide[0], "", f.Change)
		}
	}
	for _, n := range x.Notes {
		a.out.line("  %-12s %s", "note", n.Text)
	}
	if x.Hint != "" {
		a.out.line("  %-12s %s", "hint", x.Hint)
	}
}

func (f *fieldReport) name() string {
	if f.Extension == "" {
		return f.Field
	}
	return f.Field + " (" + f.Extension + ")"
}

// total is the whole answer in one line.
func (r *authReport) total() string {
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

// authorizationGitHub prints annotations, the step's outputs and a summary.
func (a *app) authorizationGitHub(o *authorizeOptions, r *authReport) {
	var b strings.Builder
	fmt.Fprintf(&b, "### repopolicy: %s\n\nPolicy of %s, version %d, %s, genesis %s, completeness %s. Signer %s, tag %s.\n\n",
		r.total(), code(r.Repository), r.Policy.Version, code(r.Policy.Digest), code(r.Policy.Genesis), code(r.Policy.Completeness), code(r.Caller.Identity), code(r.Tag))
	b.WriteString("| verdict | artifact | reason | field | wanted | got |\n|---|---|---|---|---|---|\n")
	for i := range r.Releases {
		x := &r.Releases[i]
		if x.Verdict != "OK" {
			lines := []string{x.Artifact + ": " + x.Message, x.Detail}
			for _, f := range x.Fields {
				if f.State == "differs" {
					lines = append(lines, fmt.Sprintf("rule %s: %s is %s, the rule says %s", x.Nearest, f.Field, orMissing(f.Got), f.Want), f.Change)
				}
			}
			a.annotate("error", position{file: x.Artifact}, fmt.Sprintf("repopolicy: %s [%s]", x.Verdict, x.Reason), append(lines, x.Hint)...)
		}
		rows := 0
		for _, f := range x.Fields {
			if f.State == "agrees" || b.Len() > maxSummaryBytes {
				continue
			}
			rows++
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", x.Verdict, code(x.Artifact), x.Message, code(f.name()), code(f.Want), code(f.Got))
		}
		if rows == 0 && b.Len() <= maxSummaryBytes {
			fmt.Fprintf(&b, "| %s | %s | %s %s | - | - | - |\n", x.Verdict, code(x.Artifact), x.Message, code(x.Detail))
		}
	}
	for _, alarm := range r.Alarms {
		a.annotate("warning", position{}, "repopolicy: alarm", alarm)
	}
	level := "error"
	if r.Exit == 0 {
		level = "notice"
	}
	a.annotate(level, position{}, "repopolicy", r.total())
	outputs := append(verdictOutputs(r.Verdict, r.Exit), output{"authorized", strconv.FormatBool(r.Exit == 0 && r.Stage != policy.StagePreflight)},
		output{"policy-version", strconv.Itoa(r.Policy.Version)}, output{"policy-digest", r.Policy.Digest})
	if o.report.set {
		outputs = append(outputs, output{"report-path", o.report.value})
	}
	a.writeRunnerFiles(outputs, b.String())
}
