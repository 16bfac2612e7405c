// SPDX-License-Identifier: Apache-2.0

package report

import (
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/fetch"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/policy"
)

// Summary is what a run judges by.
type Summary struct {
	Policy   *PolicySummary  `json:"policy"`            // null without one
	Unbound  *UnboundSummary `json:"unbound,omitempty"` // of --unbound, where no policy is bound
	Tag      string          `json:"tag,omitempty"`
	Cooldown string          `json:"cooldown,omitempty"`
	Identity string          `json:"certificate_identity,omitempty"`
	Issuer   string          `json:"certificate_oidc_issuer,omitempty"`
	TUF      string          `json:"tuf,omitempty"`    // root that has to list what is judged
	Target   string          `json:"target,omitempty"` // as which it has to
	Roots    []string        `json:"trusted_roots"`
	Demanded int             `json:"trusted_roots_demanded,omitempty"` // how many of them have to allow, if not one
	Offline  bool            `json:"offline"`
	AsOf     time.Time       `json:"as_of"`
	Unknown  []string        `json:"not_known,omitempty"` // what a verdict by --airgap cannot know

	Alarms []string `json:"-"`
}

type PolicySummary struct {
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

// UnboundSummary is how it is known that no policy is bound to a repository, which is judged
// all the same (SPEC 9.3).
type UnboundSummary struct {
	Repository   string     `json:"repository"`
	Genesis      string     `json:"genesis"` // "none"
	Completeness string     `json:"completeness"`
	KnownAsOf    *time.Time `json:"known_as_of,omitempty"`
	InputsOf     *time.Time `json:"inputs_as_of,omitempty"`
	Directory    string     `json:"directory,omitempty"`
	Locked       bool       `json:"locked,omitempty"` // a lock file demanded its numbers and workflows
}

// Weaker says how much less a verdict without a policy is worth.
func (u *UnboundSummary) Weaker() string {
	by := "a workflow of the repository itself"
	if u.Locked {
		by = "a workflow that the lock file names, of the repository with the number that it names"
	}
	return "no policy says who may release " + u.Repository + ": what is allowed was signed by " + by +
		", which whoever may push a tag there can run"
}

// Report is the one value from which text and JSON are printed, and whose class
// is the exit code. Its schema is schema/verdict-v1.json.
type Report struct {
	Schema    string     `json:"schema"`
	Verdict   string     `json:"verdict"`
	Exit      int        `json:"exit"`
	Tool      string     `json:"tool"`
	Criteria  *Summary   `json:"criteria"`
	Artifacts []Artifact `json:"artifacts"`
	NotJudged []Input    `json:"not_judged"`
	Alarms    []string   `json:"alarms"`
}

// Input is an input about which there is no verdict, as it denies nothing.
type Input struct {
	Input  string        `json:"input"`
	Fate   string        `json:"fate"`
	For    string        `json:"evidence_for,omitempty"`
	Reason policy.Reason `json:"reason,omitempty"`
	Detail string        `json:"detail,omitempty"`
}

type Artifact struct {
	Artifact string        `json:"artifact"`
	Fate     string        `json:"fate"`
	Digests  Digests       `json:"digests"`
	Verdict  string        `json:"verdict"`
	Reason   policy.Reason `json:"reason"`
	Message  string        `json:"message"`
	Detail   string        `json:"detail,omitempty"`
	Hint     string        `json:"hint,omitempty"`
	Next     string        `json:"next,omitempty"` // command to type
	Rule     string        `json:"rule,omitempty"`
	Tag      string        `json:"tag,omitempty"`
	JudgedBy []InForce     `json:"judged_by,omitempty"` // versions of the policy, each of which has to allow
	Evidence *Evidence     `json:"evidence,omitempty"`
	Nearest  *Rule         `json:"nearest,omitempty"`
	Rules    []Rule        `json:"rules,omitempty"` // explain only
	Notes    []Note        `json:"notes,omitempty"`
	Others   []Other       `json:"other_evidence,omitempty"`

	Permitted bool `json:"-"`

	next []string // words of Next
}

// InForce is a version of the policy by which was judged, and when it was in force.
type InForce struct {
	Version int        `json:"version"` // 0 for the time before version 1
	Newest  int        `json:"newest"`
	Digest  string     `json:"digest,omitempty"`
	From    *time.Time `json:"in_force_from,omitempty"`
	Until   *time.Time `json:"in_force_until,omitempty"`
}

type Evidence struct {
	Path      string     `json:"path"`
	Digest    string     `json:"digest,omitempty"` // of the file as it was read
	Form      string     `json:"form,omitempty"`   // in which it was published
	Item      int        `json:"item,omitempty"`   // which of several in the file, from 1
	Via       string     `json:"via,omitempty"`
	Name      string     `json:"signed_name,omitempty"` // that the signed content gives to the artifact
	Verified  bool       `json:"verified"`              // false: what follows is only claimed
	Checked   bool       `json:"checked"`               // whether it was tried to verify it
	Signer    *Signer    `json:"signer"`
	Predicate string     `json:"predicate_type,omitempty"`
	MediaType string     `json:"media_type,omitempty"`
	Root      string     `json:"trusted_root,omitempty"`
	Times     []Time     `json:"times,omitempty"`
	Log       []LogEntry `json:"log,omitempty"`
	Target    *Target    `json:"target,omitempty"` // that a trust root lists, in place of a signer
}

// Target is what a trust root lists: of evidence that is not verified, what it had to list.
type Target struct {
	Root    string     `json:"root"`
	Path    string     `json:"path"`
	Role    string     `json:"role,omitempty"`
	Version int64      `json:"version,omitempty"` // of the role's metadata
	Expires *time.Time `json:"expires,omitempty"`
}

type Signer struct {
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

type Time struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	URI    string    `json:"uri,omitempty"`
}

type LogEntry struct {
	LogID         string `json:"log_id"`
	Origin        string `json:"origin,omitempty"`
	Proven        bool   `json:"proven"`
	TreeIndex     *int64 `json:"tree_index,omitempty"`
	TreeSize      *int64 `json:"tree_size,omitempty"`
	PromisedIndex *int64 `json:"promised_index,omitempty"`
}

type Rule struct {
	Rule       string     `json:"rule"`
	Mismatches []Mismatch `json:"mismatches"`
}

type Mismatch struct {
	Code      string `json:"code"`
	Field     string `json:"field"`
	Extension string `json:"extension,omitempty"`
	Want      string `json:"want"`
	Got       string `json:"got,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

type Note struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type Other struct {
	Path    string        `json:"path"`
	Item    int           `json:"item,omitempty"`
	Reason  policy.Reason `json:"reason"`
	Message string        `json:"message"`
	Detail  string        `json:"detail,omitempty"`
}

// SummaryOf describes a policy for reports; nil for a signer alone.
func SummaryOf(p *repopolicy.Policy, k repopolicy.Knowledge) *PolicySummary {
	out := newSummary(p.Document(), p.Repository(), find.Known{
		Genesis: k.Genesis, Completeness: k.Completeness, Statement: k.Statement,
		AsOf: k.AsOf, InputsOf: k.InputsOf, Directory: k.Directory, WithoutV1: k.WithoutV1,
	})
	if out != nil {
		out.Path = k.Path
	}
	return out
}

func newSummary(doc *policy.Document, repository string, k find.Known) *PolicySummary {
	if doc == nil {
		return nil
	}
	c := doc.Content()
	out := &PolicySummary{
		Digest: doc.Digest().String(), Repository: repository, Version: c.Version, Expires: c.Expires,
		Genesis: string(k.Genesis), Completeness: string(k.Completeness), Statement: k.Statement,
		Directory: k.Directory, WithoutV1: k.WithoutV1,
	}
	out.KnownAsOf, out.InputsOf = moments(k.AsOf, k.InputsOf)
	return out
}

// moments returns when something was known, and of when the inputs are; nil where that is not
// known.
func moments(asOf, inputs time.Time) (known, of *time.Time) {
	if !asOf.IsZero() {
		at := asOf.UTC().Truncate(time.Second)
		known = &at
	}
	if !inputs.IsZero() {
		at := inputs.UTC()
		of = &at
	}
	return known, of
}

// UnboundSummaryOf describes for reports how it is known that a repository has no policy.
func UnboundSummaryOf(repository string, k repopolicy.Knowledge) *UnboundSummary {
	out := &UnboundSummary{
		Repository: repository, Genesis: string(k.Genesis), Completeness: string(k.Completeness), Directory: k.Directory,
	}
	out.KnownAsOf, out.InputsOf = moments(k.AsOf, k.InputsOf)
	return out
}

// Advice says what to do about a denial: in words, "" for what the reason itself says, and by a
// command to type, as words of a shell; nil for none.
type Advice func(*repopolicy.Result) (hint string, command []string)

// New returns the report of a run; full is for explain. Advise may be nil.
func New(s *Summary, class policy.Class, entries iter.Seq[repopolicy.Entry], full bool, advise Advice) *Report {
	s.AsOf = s.AsOf.UTC().Truncate(time.Second)
	r := &Report{
		Schema: SchemaURL("verdict-v1"), Verdict: class.String(), Exit: class.Exit(), Tool: "repopolicy " + Version(),
		Criteria: s, Artifacts: []Artifact{}, NotJudged: []Input{}, Alarms: append([]string{}, s.Alarms...),
	}
	n := 0
	for e := range entries {
		if e.Result != nil {
			n++
		}
	}
	r.Artifacts = slices.Grow(r.Artifacts, n) // not one by one: each is large
	var same sharedEvidence
	for e := range entries {
		if e.Result == nil {
			r.NotJudged = append(r.NotJudged, Input{e.Input, e.Fate, e.For, e.Reason, e.Detail})
			continue
		}
		x := same.artifact(e.Result, full)
		if advise != nil && !x.Permitted {
			x.advised(advise(e.Result))
		}
		x.Fate = e.Fate
		r.Artifacts = append(r.Artifacts, x)
	}
	return r
}

func (s *sharedEvidence) artifact(res *repopolicy.Result, full bool) Artifact {
	d := res.Decision
	a := Artifact{
		Artifact: res.Artifact, Digests: res.Digests, Verdict: res.Class().String(), Reason: d.Reason,
		Message: d.Reason.Text(), Detail: d.Detail, Rule: d.Rule, Tag: d.Tag, Permitted: res.Class() == policy.ClassOK,
	}
	for _, v := range d.Versions {
		a.JudgedBy = append(a.JudgedBy, newInForce(v))
	}
	if !a.Permitted {
		a.Hint = hint(d.Reason, res.Artifact)
		if n, ok := d.Nearest(); ok && len(n.Mismatches) > 0 {
			rr := newRule(n)
			a.Nearest = &rr
		}
	}
	if full {
		rules := slices.Clone(d.Rules)
		arrange.By(rules, policy.RuleResult.Compare)
		for _, x := range rules {
			a.Rules = append(a.Rules, newRule(x))
		}
		if d.Reason == policy.RuleMismatch {
			a.Hint = "" // it would name the command that is running
		}
	}
	for _, n := range d.Notes {
		a.Notes = append(a.Notes, Note(n))
	}
	if ev := res.Evidence; ev != nil {
		a.Evidence = s.evidence(ev)
	}
	for _, o := range res.Others {
		a.Others = append(a.Others, Other{
			o.Path, o.Item, o.Decision.Reason, o.Decision.Reason.Text(), o.Decision.Detail,
		})
	}
	return a
}

// hint returns what to do about a reason, for what was named in that way.
func hint(r policy.Reason, artifact string) string {
	isURL := fetch.IsURL(artifact)
	switch {
	case r == policy.NoEvidence && strings.HasPrefix(artifact, "pkg:npm/"):
		return "the registry has no provenance of this version: its maintainers publish with --provenance; " +
			"or judge the file by evidence from elsewhere, with -b"
	case r == policy.NoEvidence && fetch.IsImage(artifact):
		return "nothing that is attached to the image in its registry is evidence; name some with -b"
	case r == policy.NoEvidence && isURL:
		return "neither the release nor GitHub's attestations have evidence for it; name some with -b"
	case r == policy.TagUnknown && isURL:
		return "the URL asks for one release, and what is signed names no tag: download the file, and verify it with -R " +
			"and without --tag"
	}
	return r.Hint()
}

// advised takes advice in the place of what the reason says in general.
func (a *Artifact) advised(hint string, command []string) {
	if hint != "" || len(command) > 0 {
		a.Hint = hint
	}
	a.next, a.Next = command, strings.Join(command, " ")
}

func newInForce(v policy.InForce) InForce {
	out := InForce{Version: v.Number, Newest: v.Newest}
	out.From, _ = moments(v.From, time.Time{})
	out.Until, _ = moments(v.Until, time.Time{})
	if v.Number > 0 {
		out.Digest = v.Digest.String()
	}
	return out
}

func newRule(r policy.RuleResult) Rule {
	out := Rule{Rule: r.Rule, Mismatches: []Mismatch{}}
	for _, m := range r.Mismatches {
		out.Mismatches = append(out.Mismatches, Mismatch{m.Code(), m.Field, m.Extension, m.Want, m.Got, m.Hint})
	}
	return out
}

func (s *sharedEvidence) evidence(ev *repopolicy.Evidence) *Evidence {
	out := &Evidence{
		Path: ev.Path, Form: ev.Form, Item: ev.Item, Via: ev.Via, Name: ev.Name,
		Verified: ev.Verified, Checked: ev.Checked,
		Predicate: ev.Predicate, MediaType: ev.MediaType,
		Signer: s.signer(ev.Signer),
	}
	if ev.Sum != "" {
		out.Digest = "sha256:" + ev.Sum
	}
	out.Root = ev.Root
	s.times(out, ev)
	if t := ev.Target; t.Root != "" {
		out.Target = &Target{Root: t.Root, Path: t.Path, Role: t.Role, Version: ev.TargetVersion}
		if ev.Verified {
			at := ev.TargetExpires.UTC()
			out.Target.Expires = &at
		}
	}
	return out
}

func NewSigner(id policy.Identity) Signer {
	return Signer{
		Kind: id.Kind, Identity: id.Value, Issuer: id.Issuer, Subject: id.TokenSubject,
		Repository: id.SourceRepositoryURI, RepoID: id.SourceRepositoryID, OwnerID: id.SourceRepositoryOwnerID,
		Ref: id.Ref(), Commit: id.Commit(), Config: id.BuildConfigURI, Trigger: id.Trigger(), Runner: id.RunnerEnvironment,
		Environment: id.DeploymentEnvironment, Run: id.RunInvocationURI,
	}
}

func newLogEntry(e repopolicy.LogEntry) LogEntry {
	known := func(n int64) *int64 {
		if n < 0 {
			return nil
		}
		return &n
	}
	return LogEntry{e.LogID, e.Origin, e.Proven, known(e.TreeIndex), known(e.TreeSize), known(e.PromisedIndex)}
}

// SummaryOfFound describes a policy for reports; nil if there is none.
func SummaryOfFound(f *find.Found) *PolicySummary {
	versions := f.Versions()
	if len(versions) == 0 {
		return nil
	}
	return newSummary(versions[len(versions)-1].Document, f.Repository.String(), f.Known())
}

// mostHeld is about how many bytes of a report are held before they are written.
const mostHeld = 64 << 10

// write writes the report as [Printer.JSON] writes every document, artifact by artifact: that of a
// long list is larger than what a run may hold.
func (r *Report) write(w io.Writer) error {
	const none = "\n  \"artifacts\": []"
	frame := *r
	frame.Artifacts = []Artifact{}
	doc, err := document(&frame)
	before, after, ok := strings.Cut(doc, none)
	if err != nil {
		return err
	}
	if !ok || len(r.Artifacts) == 0 {
		_, err = io.WriteString(w, doc)
		return err
	}
	var b strings.Builder
	b.WriteString(before + strings.TrimSuffix(none, "]"))
	for i := range r.Artifacts {
		piece, err := indented(&r.Artifacts[i], "    ")
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n    " + strings.TrimSuffix(piece, "\n"))
		if b.Len() > mostHeld {
			if _, err := io.WriteString(w, b.String()); err != nil {
				return err
			}
			b.Reset()
		}
	}
	_, err = io.WriteString(w, b.String()+"\n  ]"+after)
	return err
}
