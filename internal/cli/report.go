// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/policy"
)

// summary is what a run judges by.
type summary struct {
	Policy   *policySummary `json:"policy"` // null without --policy
	Tag      string         `json:"tag,omitempty"`
	Cooldown string         `json:"cooldown,omitempty"`
	Identity string         `json:"certificate_identity,omitempty"`
	Issuer   string         `json:"certificate_oidc_issuer,omitempty"`
	Roots    []string       `json:"trusted_roots"`
	Demanded int            `json:"trusted_roots_demanded,omitempty"` // how many of them have to allow, if not one
	Offline  bool           `json:"offline"`
	AsOf     time.Time      `json:"as_of"`
	Unknown  []string       `json:"not_known,omitempty"` // what a verdict by --airgap cannot know

	alarms []string
}

type policySummary struct {
	Path         string    `json:"path,omitempty"` // of --policy
	Digest       string    `json:"digest"`
	Repository   string    `json:"repository"`
	Version      int       `json:"version"`
	Expires      time.Time `json:"expires"`
	Genesis      string    `json:"genesis"`
	Completeness string    `json:"completeness"`
	// Of a policy that was found for a repository:
	Statement string     `json:"statement,omitempty"`    // digest of the version's statement
	KnownAsOf *time.Time `json:"known_as_of,omitempty"`  // when it was known to be complete
	InputsOf  *time.Time `json:"inputs_as_of,omitempty"` // when the newest of what a directory read of a log was made
	Directory string     `json:"directory,omitempty"`    // URL of the one that says so
	WithoutV1 []int      `json:"without_v1,omitempty"`   // versions that were bound in Rekor v2 alone
}

// report is the one value from which text and JSON are printed, and whose class
// is the exit code. Its schema is schema/verdict-v1.json.
type report struct {
	Schema    string           `json:"schema"`
	Verdict   string           `json:"verdict"`
	Exit      int              `json:"exit"`
	Tool      string           `json:"tool"`
	Criteria  *summary         `json:"criteria"`
	Artifacts []artifactReport `json:"artifacts"`
	NotJudged []inputReport    `json:"not_judged"`
	Alarms    []string         `json:"alarms"`
}

// inputReport is an input about which there is no verdict, as it denies nothing.
type inputReport struct {
	Input  string          `json:"input"`
	Fate   repopolicy.Fate `json:"fate"`
	For    string          `json:"evidence_for,omitempty"`
	Reason policy.Reason   `json:"reason,omitempty"`
	Detail string          `json:"detail,omitempty"`
}

type artifactReport struct {
	Artifact string            `json:"artifact"`
	Fate     repopolicy.Fate   `json:"fate"`
	Digests  map[string]string `json:"digests"`
	Verdict  string            `json:"verdict"`
	Reason   policy.Reason     `json:"reason"`
	Message  string            `json:"message"`
	Detail   string            `json:"detail,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Rule     string            `json:"rule,omitempty"`
	Tag      string            `json:"tag,omitempty"`
	Evidence *evidenceReport   `json:"evidence,omitempty"`
	Nearest  *ruleReport       `json:"nearest,omitempty"`
	Rules    []ruleReport      `json:"rules,omitempty"` // explain only
	Notes    []noteReport      `json:"notes,omitempty"`
	Others   []otherReport     `json:"other_evidence,omitempty"`

	permitted bool
}

type evidenceReport struct {
	Path      string        `json:"path"`
	Digest    string        `json:"digest,omitempty"` // of the file as it was read
	Form      string        `json:"form,omitempty"`   // in which it was published
	Item      int           `json:"item,omitempty"`   // which of several in the file, from 1
	Via       string        `json:"via,omitempty"`
	Name      string        `json:"signed_name,omitempty"` // that the signed content gives to the artifact
	Verified  bool          `json:"verified"`              // false: what follows is only claimed
	Signer    signerReport  `json:"signer"`
	Predicate string        `json:"predicate_type,omitempty"`
	MediaType string        `json:"media_type,omitempty"`
	Root      string        `json:"trusted_root,omitempty"`
	Times     []timeReport  `json:"times,omitempty"`
	Log       []entryReport `json:"log,omitempty"`
}

type signerReport struct {
	Kind        policy.Kind `json:"kind,omitempty"`
	Identity    string      `json:"identity,omitempty"`
	Issuer      string      `json:"issuer,omitempty"`
	Subject     string      `json:"token_subject,omitempty"`
	Repository  string      `json:"source_repository,omitempty"`
	RepoID      string      `json:"source_repository_id,omitempty"`
	OwnerID     string      `json:"source_repository_owner_id,omitempty"`
	Ref         string      `json:"source_ref,omitempty"`
	Commit      string      `json:"source_commit,omitempty"`
	Config      string      `json:"build_config,omitempty"`
	Trigger     string      `json:"trigger,omitempty"`
	Runner      string      `json:"runner,omitempty"`
	Environment string      `json:"environment,omitempty"`
	Run         string      `json:"run,omitempty"`
}

type timeReport struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	URI    string    `json:"uri,omitempty"`
}

type entryReport struct {
	LogID         string `json:"log_id"`
	Origin        string `json:"origin,omitempty"`
	Proven        bool   `json:"proven"`
	TreeIndex     *int64 `json:"tree_index,omitempty"`
	TreeSize      *int64 `json:"tree_size,omitempty"`
	PromisedIndex *int64 `json:"promised_index,omitempty"`
}

type ruleReport struct {
	Rule       string           `json:"rule"`
	Mismatches []mismatchReport `json:"mismatches"`
}

type mismatchReport struct {
	Code      string `json:"code"`
	Field     string `json:"field"`
	Extension string `json:"extension,omitempty"`
	Want      string `json:"want"`
	Got       string `json:"got,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

type noteReport struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type otherReport struct {
	Path    string        `json:"path"`
	Item    int           `json:"item,omitempty"`
	Reason  policy.Reason `json:"reason"`
	Message string        `json:"message"`
	Detail  string        `json:"detail,omitempty"`
}

// summaryOfPolicy describes a policy for reports; nil for a signer alone.
func summaryOfPolicy(p *repopolicy.Policy, k repopolicy.Knowledge) *policySummary {
	doc := p.Document()
	if doc == nil {
		return nil
	}
	c := doc.Content()
	out := &policySummary{
		Path: k.Path, Digest: doc.Digest().String(), Repository: p.Repository(), Version: c.Version, Expires: c.Expires,
		Genesis: string(k.Genesis), Completeness: string(k.Completeness), Statement: k.Statement, Directory: k.Directory, WithoutV1: k.WithoutV1,
	}
	if !k.AsOf.IsZero() {
		at := k.AsOf.UTC().Truncate(time.Second)
		out.KnownAsOf = &at
	}
	if !k.InputsOf.IsZero() {
		at := k.InputsOf.UTC()
		out.InputsOf = &at
	}
	return out
}

func newReport(s *summary, class policy.Class, entries []repopolicy.Entry, full bool) *report {
	s.AsOf = s.AsOf.UTC().Truncate(time.Second)
	r := &report{
		Schema: schemaURL("verdict-v1"), Verdict: class.String(), Exit: class.Exit(), Tool: "repopolicy " + version(),
		Criteria: s, Artifacts: []artifactReport{}, NotJudged: []inputReport{}, Alarms: append([]string{}, s.alarms...),
	}
	for _, e := range entries {
		if e.Result == nil {
			r.NotJudged = append(r.NotJudged, inputReport{e.Input, e.Fate, e.For, e.Reason, e.Detail})
			continue
		}
		x := newArtifactReport(e.Result, full)
		x.Fate = e.Fate
		r.Artifacts = append(r.Artifacts, x)
	}
	return r
}

func newArtifactReport(res *repopolicy.Result, full bool) artifactReport {
	d := res.Decision
	info := d.Reason.Info()
	a := artifactReport{
		Artifact: res.Artifact, Digests: map[string]string{}, Verdict: res.Class().String(), Reason: d.Reason,
		Message: info.Text, Detail: d.Detail, Rule: d.Rule, Tag: d.Tag, permitted: res.Class() == policy.ClassOK,
	}
	for _, dg := range res.Digests {
		a.Digests[dg.Alg] = dg.Hex
	}
	if !a.permitted {
		a.Hint = info.Hint
		if n, ok := d.Nearest(); ok && len(n.Mismatches) > 0 {
			rr := newRuleReport(n)
			a.Nearest = &rr
		}
	}
	if full {
		rules := slices.Clone(d.Rules)
		slices.SortStableFunc(rules, policy.RuleResult.Compare)
		for _, x := range rules {
			a.Rules = append(a.Rules, newRuleReport(x))
		}
		if d.Reason == policy.RuleMismatch {
			a.Hint = "" // it would name the command that is running
		}
	}
	for _, n := range d.Notes {
		a.Notes = append(a.Notes, noteReport(n))
	}
	if ev := res.Evidence; ev != nil {
		a.Evidence = newEvidenceReport(ev)
	}
	for _, o := range res.Others {
		a.Others = append(a.Others, otherReport{o.Path, o.Item, o.Decision.Reason, o.Decision.Reason.Info().Text, o.Decision.Detail})
	}
	return a
}

func newRuleReport(r policy.RuleResult) ruleReport {
	out := ruleReport{Rule: r.Rule, Mismatches: []mismatchReport{}}
	for _, m := range r.Mismatches {
		out.Mismatches = append(out.Mismatches, mismatchReport{m.Code(), m.Field, m.Extension, m.Want, m.Got, m.Hint})
	}
	return out
}

func newEvidenceReport(ev *repopolicy.Evidence) *evidenceReport {
	id := ev.Signer
	out := &evidenceReport{
		Path: ev.Path, Form: ev.Form, Item: ev.Item, Via: ev.Via, Name: ev.Name, Verified: ev.Verified, Predicate: ev.Predicate, MediaType: ev.MediaType,
		Signer: newSignerReport(id),
	}
	if ev.Sum != "" {
		out.Digest = "sha256:" + ev.Sum
	}
	out.Root = ev.Root
	for _, t := range ev.Times {
		out.Times = append(out.Times, timeReport(t))
	}
	for _, e := range ev.Log {
		out.Log = append(out.Log, newEntryReport(e))
	}
	return out
}

func newSignerReport(id policy.Identity) signerReport {
	return signerReport{
		Kind: id.Kind, Identity: id.Value, Issuer: id.Issuer, Subject: id.TokenSubject,
		Repository: id.SourceRepositoryURI, RepoID: id.SourceRepositoryID, OwnerID: id.SourceRepositoryOwnerID,
		Ref: id.Ref(), Commit: id.Commit(), Config: id.BuildConfigURI, Trigger: id.Trigger(), Runner: id.RunnerEnvironment,
		Environment: id.DeploymentEnvironment, Run: id.RunInvocationURI,
	}
}

func newEntryReport(e repopolicy.LogEntry) entryReport {
	known := func(n int64) *int64 {
		if n < 0 {
			return nil
		}
		return &n
	}
	return entryReport{e.LogID, e.Origin, e.Proven, known(e.TreeIndex), known(e.TreeSize), known(e.PromisedIndex)}
}

// briefAfter is the number of artifacts beyond which allowed ones get one line
// each.
const briefAfter = 5

// printReport prints the report for people.
func (a *app) printReport(r *report) {
	allowed := 0
	for i := range r.Artifacts {
		x := &r.Artifacts[i]
		if x.permitted {
			allowed++
		}
		a.printArtifact(x, len(r.Artifacts) > briefAfter)
	}
	a.printNotJudged(r.NotJudged)
	a.out.line("%s: %d of %d %s allowed", r.Verdict, allowed, len(r.Artifacts), plural(len(r.Artifacts), "artifact"))
}

// isEvidence is how what vouches for something that was judged is counted.
const isEvidence = "evidence for what was judged"

// printNotJudged says what else there was: how much of each kind, and each by name
// where they are few.
func (a *app) printNotJudged(inputs []inputReport) {
	kind := func(x inputReport) string {
		switch {
		case x.Fate == repopolicy.FateEvidence:
			return isEvidence
		case x.Fate == repopolicy.FateUnverifiable:
			return "evidence that cannot be verified here"
		case x.Reason == policy.ArtifactMissing:
			return "listed and not there"
		}
		return "passed over"
	}
	counts, order := map[string]int{}, []string{}
	for _, x := range inputs {
		if k := kind(x); counts[k] == 0 {
			order = append(order, k)
		}
		counts[kind(x)]++
	}
	for _, k := range order {
		a.out.line("not judged: %d, %s", counts[k], k)
		if k == isEvidence || counts[k] > briefAfter {
			continue
		}
		for _, x := range inputs {
			if kind(x) == k {
				a.out.line("  %s: %s", x.Input, x.Detail)
			}
		}
	}
}

func (a *app) printArtifact(x *artifactReport, brief bool) {
	field := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			a.out.line("  %-12s %s", name, text)
		}
	}
	if x.permitted {
		rule := ""
		if x.Rule != "" {
			rule = " by rule " + x.Rule
		}
		a.out.line("%-5s %s: %s%s", x.Verdict, x.Artifact, x.Reason, rule)
		if brief && x.Rules == nil {
			return
		}
	} else {
		a.out.line("%-5s %s: %s [%s]", x.Verdict, x.Artifact, x.Message, x.Reason)
		field("because", "%s", x.Detail)
	}
	if ev := x.Evidence; ev != nil {
		a.printEvidence(ev, field)
	}
	field("tag", "%s", x.Tag)
	if x.Nearest != nil && x.Rules == nil {
		a.printRule("nearest rule", *x.Nearest)
	}
	for _, r := range x.Rules {
		a.printRule("rule", r)
	}
	for _, n := range x.Notes {
		field("note", "%s", n.Text)
	}
	for _, o := range x.Others {
		text := o.Message
		if o.Detail != "" {
			text += ": " + o.Detail
		}
		field("also seen", "%s: %s [%s]", itemOf(o.Path, o.Item), text, o.Reason)
	}
	if !x.permitted {
		field("hint", "%s", x.Hint)
	}
}

// itemOf names one of several pieces of evidence in a file.
func itemOf(path string, item int) string {
	if item == 0 {
		return path
	}
	return fmt.Sprintf("%s, item %d", path, item)
}

func (a *app) printEvidence(ev *evidenceReport, field func(string, string, ...any)) {
	path := itemOf(ev.Path, ev.Item)
	if ev.Form != "" {
		path += " (" + ev.Form + ")"
	}
	if ev.Via != "" {
		path += ", which signs " + ev.Via
	}
	field("evidence", "%s", path)
	field("signed as", "%s", ev.Name)
	who := "signed by"
	if !ev.Verified {
		who = "claims"
	}
	s := ev.Signer
	if s.Kind == policy.KindKey {
		if s.Identity != "" {
			field(who, "key sha256:%s", s.Identity)
		}
	} else {
		field(who, "%s", s.Identity)
		field("issuer", "%s", s.Issuer)
	}
	if s.Repository != "" {
		field("source", "%s", strings.TrimSpace(s.Repository+" "+s.Ref+" "+s.Commit))
	} else if s.Ref != "" {
		field("source", "%s", strings.TrimSpace(s.Ref+" "+s.Commit))
	}
	var how []string
	for _, kv := range [][2]string{{"trigger", s.Trigger}, {"runner", s.Runner}, {"environment", s.Environment}} {
		if kv[1] != "" {
			how = append(how, kv[0]+" "+kv[1])
		}
	}
	field("run", "%s", strings.Join(how, ", "))
	for _, t := range ev.Times {
		field("time", "%s", strings.TrimSpace(t.Time.Format(time.RFC3339)+" "+t.URI))
	}
	for _, e := range ev.Log {
		switch {
		case e.Proven:
			field("log", "%s, entry %d of %d", e.Origin, *e.TreeIndex, *e.TreeSize)
		case e.PromisedIndex != nil:
			field("log", "%s, promised entry %d", e.LogID, *e.PromisedIndex)
		}
	}
	if !ev.Verified {
		field("", "%s", "the evidence's own words: no signature vouches for them")
	}
}

func (a *app) printRule(title string, r ruleReport) {
	a.out.line("  %-12s %s", title, r.Rule)
	if len(r.Mismatches) == 0 {
		a.out.line("    matches")
	}
	for _, m := range r.Mismatches {
		ext := ""
		if m.Extension != "" {
			ext = " (" + m.Extension + ")"
		}
		got := m.Got
		if got == "" {
			got = "missing"
		}
		a.out.line("    %s%s is %s", m.Field, ext, got)
		a.out.line("      the rule says %s", m.Want)
		if m.Hint != "" {
			a.out.line("      hint: %s", m.Hint)
		}
	}
}
