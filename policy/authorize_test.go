// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// bound returns a policy as a chain of one version makes it.
func bound(t testing.TB, text string) *Trusted {
	t.Helper()
	return mustParse(t, text).Bound(Ids{"1001", "2002"}, GenesisFirst, nil)
}

const strictRule = decideRule + `
  [release.preflight]
  actors = ["alice", "bob"]
  ref-protected = true
`

var facts = RunFacts{Actor: "alice", RefProtected: "true"}

// TestAuthorizeBranches: a run that may release, and each reason why another may
// not.
func TestAuthorizeBranches(t *testing.T) {
	tag := func(change func(*Identity)) Identity {
		id := workflowIdentity("refs/tags/v1")
		if change != nil {
			change(&id)
		}
		return id
	}
	foreign := `[[release]]
name = "shared"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = "https://github.com/acme/ci/.github/workflows/build.yml"
caller = ".github/workflows/release.yml"
signer-ref = "refs/tags/v4"
environment = "release"
`
	called := func(repo, ref string) func(*Identity) {
		return func(id *Identity) {
			id.Value = "https://github.com/" + repo + "/.github/workflows/build.yml@" + ref
			id.BuildSignerURI = id.Value
		}
	}
	for name, c := range map[string]struct {
		text  string
		id    Identity
		facts RunFacts
		stage Stage
		req   func(*Request)
		want  Reason
		codes []string // of the nearest rule's mismatches
		open  []string // fields left open
		note  string
	}{
		"may sign":    {text: strictRule, id: tag(nil), facts: facts, stage: StageSign, want: Allowed},
		"may publish": {text: strictRule, id: tag(nil), facts: facts, stage: StagePublish, want: Allowed},
		"actor not listed": {
			text: strictRule, id: tag(nil), facts: RunFacts{"mallory", "true"}, stage: StageSign, want: RuleMismatch,
			codes: []string{"actor-differs"},
		},
		"actor in another case": {
			text: strictRule, id: tag(nil), facts: RunFacts{"Alice", "true"}, stage: StageSign, want: RuleMismatch,
			codes: []string{"actor-differs"},
		},
		"no actor": {
			text: strictRule, id: tag(nil), facts: RunFacts{"", "true"}, stage: StageSign, want: RuleMismatch,
			codes: []string{"actor-missing"},
		},
		"ref not protected": {
			text: strictRule, id: tag(nil), facts: RunFacts{"alice", "false"}, stage: StageSign, want: RuleMismatch,
			codes: []string{"ref-protected-differs"},
		},
		"protection not known": {
			text: strictRule, id: tag(nil), facts: RunFacts{"alice", ""}, stage: StagePreflight, want: RuleMismatch,
			codes: []string{"ref-protected-missing"},
		},
		"facts not compared without": {text: decideRule, id: tag(nil), stage: StageSign, want: Allowed},
		"no environment": {
			text: decideRule, id: tag(func(id *Identity) { id.DeploymentEnvironment = "" }), stage: StageSign,
			want: RuleMismatch, codes: []string{"environment-missing"},
		},
		"no environment yet": {
			text: decideRule, id: tag(func(id *Identity) { id.DeploymentEnvironment = "" }), stage: StagePreflight,
			want: Allowed, open: []string{"environment"},
		},
		"another runner yet": {
			text: decideRule, id: tag(func(id *Identity) { id.RunnerEnvironment = "self-hosted" }),
			stage: StagePreflight, want: Allowed, open: []string{"runner"},
		},
		"no artifact": {
			text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Names = nil },
			want: RuleMismatch, codes: []string{"artifact-missing"},
		},
		"no artifact yet": {
			text: decideRule, id: tag(nil), stage: StagePreflight, req: func(r *Request) { r.Names = nil },
			want: Allowed, open: []string{"artifact"},
		},
		"artifact not listed": {
			text: decideRule, id: tag(nil), stage: StagePreflight,
			req: func(r *Request) { r.Names = []string{"gadget"} }, want: RuleMismatch,
			codes: []string{"artifact-differs"},
		},
		"a pull request": {
			text: decideRule, id: tag(func(id *Identity) { id.BuildTrigger = "pull_request_target" }),
			stage: StagePreflight, want: RuleMismatch, codes: []string{"trigger-forbidden"},
		},
		"a branch": {
			text: decideRule, id: workflowIdentity("refs/heads/main"), stage: StageSign, want: RuleMismatch,
			codes: []string{"ref-differs", "tag-missing"},
		},
		"another repository": {
			text: decideRule, id: tag(func(id *Identity) { id.SourceRepositoryURI = "https://github.com/acme/fork" }),
			stage: StageSign, want: RuleMismatch, codes: []string{"repository-differs"},
		},
		"a repository made anew": {
			text: decideRule, id: tag(func(id *Identity) { id.SourceRepositoryID = "1002" }), stage: StageSign,
			want: RuleMismatch, codes: []string{"repository-id-differs"},
		},
		"another tag": {
			text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Tag = "v2" },
			want: TagMismatch,
		},
		"another commit": {
			text: decideRule, id: tag(nil), stage: StageSign,
			req: func(r *Request) { r.Commit = strings.Repeat("2", 40) }, want: RuleMismatch,
			codes: []string{"commit-differs"},
		},
		"expired this second": {
			text: decideRule, id: tag(nil), stage: StageSign,
			req: func(r *Request) { r.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, want: PolicyExpired,
		},
		"its last second": {
			text: decideRule, id: tag(nil), stage: StageSign,
			req: func(r *Request) { r.Now = time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC) }, want: Allowed,
		},
		"expired in preflight": {
			text: decideRule, id: tag(nil), stage: StagePreflight,
			req: func(r *Request) { r.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, want: PolicyExpired,
		},
		"rule retired": {
			text: decideRule + "until = 2026-06-01T12:00:00Z\n", id: tag(nil), stage: StageSign, want: RuleMismatch,
			codes: []string{"time-differs"},
		},
		"rule revoked": {
			text: decideRule + "[[revoked]]\nrule = \"binaries\"\n", id: tag(nil), stage: StageSign,
			want: RevokedSigner,
		},
		"rule revoked from tomorrow": {
			text: decideRule + "[[revoked]]\nrule = \"binaries\"\ncompromised-since = 2026-06-02T00:00:00Z\n",
			id:   tag(nil), stage: StageSign, want: Allowed,
		},
		"tag yanked": {
			text: decideRule + "[[yanked]]\ntag = \"v1\"\n", id: tag(nil), stage: StageSign, want: YankedRelease,
		},
		"a digest yanked, none known": {
			text: decideRule + "[[yanked]]\ndigest = \"sha512:" + strings.Repeat("0", 128) + "\"\n", id: tag(nil),
			stage: StageSign, want: Allowed,
		},
		"a digest yanked, another known": {
			text: decideRule + "[[yanked]]\ndigest = \"sha512:" + strings.Repeat("0", 128) + "\"\n", id: tag(nil),
			stage: StageSign, req: func(r *Request) { r.Digests = []Digest{{"sha256", strings.Repeat("0", 64)}} },
			want: YankUnknown,
		},
		"approvals later": {
			text: decideRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", id: tag(nil),
			stage: StageSign, want: Allowed, note: "approvals-later",
		},
		"approvals now": {
			text: decideRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", id: tag(nil),
			stage: StagePublish, want: RuleMismatch, codes: []string{"approvals-missing"},
		},
		"approvals yet": {
			text: decideRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", id: tag(nil),
			stage: StagePreflight, want: Allowed, open: []string{"approvals"}, note: "approvals-later",
		},
		"no rules": {id: tag(nil), stage: StageSign, want: NoRules},
		"shared builder": {
			text: foreign, id: tag(called("acme/ci", "refs/tags/v4")), stage: StageSign, want: Allowed,
		},
		"shared builder, moved": {
			text: foreign, id: tag(called("acme/ci", "refs/heads/main")), stage: StageSign, want: RuleMismatch,
			codes: []string{"signer-workflow-differs"},
		},
		"shared builder not entered": {
			text: foreign, id: tag(nil), stage: StageSign, want: RuleMismatch,
			codes: []string{"signer-workflow-differs"},
		},
		"shared builder not entered yet": {
			text: foreign, id: tag(nil), stage: StagePreflight, want: Allowed, open: []string{"signer-workflow"},
		},
		"another builder, early": {
			text: foreign, id: tag(called("mallory/ci", "refs/tags/v4")), stage: StagePreflight, want: RuleMismatch,
			codes: []string{"signer-workflow-differs"},
		},
		"foreign caller": {text: foreign, id: tag(func(id *Identity) {
			called("acme/ci", "refs/tags/v4")(id)
			id.SourceRepositoryURI = "https://github.com/mallory/widget"
			id.BuildConfigURI = id.SourceRepositoryURI + "/.github/workflows/release.yml@refs/tags/v1"
		}), stage: StageSign, want: RuleMismatch, codes: []string{"caller-differs", "repository-differs"}},
		"another file of the caller": {text: foreign, id: tag(func(id *Identity) {
			called("acme/ci", "refs/tags/v4")(id)
			id.BuildConfigURI = strings.Replace(id.BuildConfigURI, "release.yml", "evil.yml", 1)
		}), stage: StageSign, want: RuleMismatch, codes: []string{"caller-differs"}},
		"no stage": {text: decideRule, id: tag(nil), want: Internal},
		"no moment": {
			text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Now = time.Time{} },
			want: Internal,
		},
		"an identity that nobody verified": {text: decideRule, id: Identity{}, stage: StageSign, want: RuleMismatch},
	} {
		p := bound(t, c.text)
		req := Request{Names: []string{"widget_1"}, Now: signed}
		if c.req != nil {
			c.req(&req)
		}
		d := p.Authorize(c.facts.Verified(c.id), c.stage, req, claim(c.id).Tags, "certificate")
		if d.Reason != c.want || (d.Permitted) != (c.want == Allowed) {
			t.Errorf("%s: %s (%s), want %s", name, d.Reason, d.Detail, c.want)
			continue
		}
		n, _ := d.Nearest()
		var codes, open []string
		for _, m := range n.Mismatches {
			codes = append(codes, m.Code())
			if !slices.ContainsFunc(
				d.Compared, func(c Comparison) bool { return c.Field == m.Field && c.State == "differs" },
			) {
				t.Errorf("%s: %s has no row", name, m.Code())
			}
		}
		for _, m := range n.Open {
			open = append(open, m.Field)
		}
		slices.Sort(codes)
		if c.codes != nil && !slices.Equal(codes, c.codes) || !slices.Equal(open, c.open) {
			t.Errorf("%s: %q, open %q", name, codes, open)
		}
		if d.Permitted && slices.ContainsFunc(d.Compared, func(c Comparison) bool { return c.State == "differs" }) {
			t.Errorf("%s: allowed with a row that differs", name)
		}
		if c.note != "" && !slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Code == c.note }) {
			t.Errorf("%s: no note %s", name, c.note)
		}
	}
}

// TestAuthorizeNobody: nothing is authorised by a policy that was not bound, or
// for somebody whom nobody verified.
func TestAuthorizeNobody(t *testing.T) {
	id := workflowIdentity("refs/tags/v1")
	req := Request{Names: []string{"widget_1"}, Now: signed}
	p, run := bound(t, decideRule), RunFacts{}.Verified(id)
	var none *Trusted
	for name, d := range map[string]Decision{
		"nil":        none.Authorize(run, StageSign, req, []string{"v1"}, ""),
		"zero":       (&Trusted{}).Authorize(run, StageSign, req, []string{"v1"}, ""),
		"a file":     mustPin(t, decideRule, Ids{}).Authorize(run, StageSign, req, []string{"v1"}, ""),
		"flags":      (&Trusted{flags: &FlagIdentity{}}).Authorize(run, StageSign, req, []string{"v1"}, ""),
		"unverified": p.Authorize(Run{identity: id}, StageSign, req, []string{"v1"}, ""),
		"zero run":   p.Authorize(Run{}, StageSign, req, []string{"v1"}, ""),
	} {
		if d.Permitted || d.Reason == "" || d.Reason.Class() == ClassOK {
			t.Errorf("%s: %s", name, d.Reason)
		}
	}
}

// TestRunAs: a certificate that says anything else than the token is another's.
func TestRunAs(t *testing.T) {
	id := workflowIdentity("refs/tags/v1")
	run := facts.Verified(id)
	if got, ok := run.As(id); !ok || got.identity != id || got.facts != facts {
		t.Errorf("its own: %+v", got)
	}
	typ := reflect.TypeFor[Identity]()
	for i := range typ.NumField() {
		other, less := id, id
		f := reflect.ValueOf(&other).Elem().Field(i)
		f.SetString(f.String() + "x")
		if _, ok := run.As(other); ok {
			t.Errorf("another %s", typ.Field(i).Name)
		}
		reflect.ValueOf(&less).Elem().Field(i).SetString("")
		if got, ok := run.As(less); ok != (i > 2) || ok && got.identity != less {
			t.Errorf("no %s: %v", typ.Field(i).Name, ok)
		}
	}
	if _, ok := (Run{identity: id}).As(id); ok {
		t.Error("a run that nobody verified")
	}
}

// TestMayApprove: whose approval some rule would count, before it is made.
func TestMayApprove(t *testing.T) {
	const rules = decideRule + `[release.approvals]
threshold = 1
from = "maintainers"

[[release]]
name = "people"
tags = ["w*"]
artifacts = ["widget_*"]
identities = [{ email = "carol@example.com", issuer = "https://accounts.google.com" }]
[release.approvals]
threshold = 1
from = "releasers"
`
	who := func(name string) Identity {
		return Identity{
			Kind: KindEmail, Value: name + "@example.com", Issuer: "https://accounts.google.com", TokenSubject: "1",
		}
	}
	p, newer := bound(t, rules), bound(t, strings.Replace(rules, "carol", "dave", 1))
	old := newer.Earlier(mustParse(t, rules), Ids{"1001", "2002"})
	for _, c := range []struct {
		by       *Trusted
		who, tag string
		may      bool
		why      string
	}{
		{p, "alice", "v1", true, "a maintainer"}, {p, "alice", "w1", false, "no releaser of this tag"},
		{p, "carol", "w1", true, "a releaser"}, {p, "carol", "v1", false, "no maintainer"}, {
			p, "mallory", "v1", false, "nobody",
		},
		{p, "alice", "x1", false, "no rule for this tag"}, {old, "alice", "v1", true, "a maintainer then and now"},
		{old, "carol", "w1", false, "a releaser no more"}, {newer, "dave", "w1", true, "a releaser of today"},
		{old, "dave", "w1", false, "no releaser then"}, {mustPin(t, rules, Ids{}), "alice", "v1", false, "of a file"},
		{nil, "alice", "v1", false, "of nothing"}, {bound(t, decideRule), "alice", "v1", false, "no rule wants any"},
	} {
		if got := c.by.MayApprove(who(c.who), c.tag); got != c.may {
			t.Errorf("%s, %s: %v (%s)", c.who, c.tag, got, c.why)
		}
	}
}

// TestApprovals: an approval counts for a version of a chain only where a chain placed it,
// and that signer was in force at one of its places whichever version was.
func TestApprovals(t *testing.T) {
	const rule = `[[release]]
name = "binaries"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = ".github/workflows/release.yml"
environment = "release"
[release.approvals]
threshold = 1
from = "maintainers"
`
	alice := Identity{Kind: KindEmail, Value: "alice@example.com", Issuer: "https://accounts.google.com"}
	run := workflowIdentity("refs/tags/v1")
	digest := Digest{"sha256", strings.Repeat("0", 64)}
	p := bound(t, rule)
	with := mustParse(t, rule).Content()
	stranger := *with
	stranger.Maintainers.Members = nil
	approval := func(change func(*Approval)) Approval {
		a := ApprovalFacts{with.Repository, "v1", run.Commit(), p.Digest(), []Digest{digest}}.Verified(alice, proven)
		if change != nil {
			change(&a)
		}
		return a
	}
	placedAs := func(x placed) func(*Approval) { return func(a *Approval) { a.placed = x } }
	for _, c := range []struct {
		name   string
		by     *Trusted
		change func(*Approval)
		want   bool
	}{
		{"of a file", mustPin(t, rule, Ids{}), nil, true},
		{"of a file, not verified", mustPin(t, rule, Ids{}), func(a *Approval) { a.verified = false }, false},
		{"not placed", p, nil, false},
		{"at no place", p, placedAs(placed{named: true}), false},
		{"at a place without a version", p, placedAs(placed{named: true, inForce: [][]*File{{}}}), false},
		{"before version 1", p, placedAs(placed{named: true, inForce: [][]*File{{nil}}}), false},
		{"perhaps before version 1", p, placedAs(placed{named: true, inForce: [][]*File{{nil, with}}}), false},
		{"in force", p, placedAs(placed{named: true, inForce: [][]*File{{with}}}), true},
		{"perhaps not yet", p, placedAs(placed{named: true, inForce: [][]*File{{&stranger, with}}}), false},
		{"one of two places", p, placedAs(placed{named: true, inForce: [][]*File{{&stranger}, {with}}}), true},
		{"by another account", p, placedAs(placed{named: true, another: true, inForce: [][]*File{{with}}}), false},
		{"not verified", p, func(a *Approval) {
			placedAs(placed{named: true, inForce: [][]*File{{with}}})(a)
			a.verified = false
		}, false},
		{"for another version", p, func(a *Approval) {
			placedAs(placed{named: true, inForce: [][]*File{{with}}})(a)
			a.facts.Policy.Hex = strings.Repeat("1", 64)
		}, false},
	} {
		req := ask()
		req.Digests, req.Approvals = []Digest{digest}, []Approval{approval(c.change)}
		d := c.by.Decide(req, claim(run).Verified(proven))
		if (d.Permitted) != c.want {
			t.Errorf("%s: %s %v", c.name, d.Reason, d.Rules)
		}
	}
	// Before publishing, one for an older version will do, and for no other policy.
	for name, named := range map[string]bool{"an older version": true, "another policy": false} {
		a := approval(placedAs(placed{named: named, inForce: [][]*File{{with}}}))
		a.facts.Policy.Hex = strings.Repeat("1", 64)
		req := Request{Names: []string{"widget_1"}, Digests: []Digest{digest}, Approvals: []Approval{a}, Now: signed}
		d := p.Authorize(RunFacts{}.Verified(run), StagePublish, req, []string{"v1"}, "certificate")
		if (d.Permitted) != named {
			t.Errorf("%s: %s %v", name, d.Reason, d.Rules)
		}
	}
}

// TestVersions: an earlier version judges by its own rules, and by the withdrawals and the
// expiry of the newest one.
func TestVersions(t *testing.T) {
	until := func(text, day string) *Document {
		doc, err := Parse([]byte(strings.Replace(decideHead, "2027-01-01", day, 1) + text))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	const revoked, restored = "[[revoked]]\nrule = \"binaries\"\n", "[[restored]]\nrule = \"binaries\"\n"
	ids := Ids{"1001", "2002"}
	first, last := until(decideRule, "2027-01-01"), until("", "2027-06-01")
	ev := claim(workflowIdentity("refs/tags/v1")).Verified(proven)
	late := ask()
	late.Now = time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		by   *Trusted
		req  Request
		want Reason
	}{
		"the newest": {last.Bound(ids, GenesisFirst, []*Document{first}), ask(), NoRules},
		"an earlier": {
			last.Bound(ids, GenesisFirst, []*Document{first}).Earlier(first, ids), ask(), Allowed,
		},
		"by the newest's expiry": {
			last.Bound(ids, GenesisFirst, []*Document{first}).Earlier(first, ids), late, Allowed,
		},
		"strictly":     {first.Bound(ids, GenesisFirst, nil).Strict(), late, PolicyExpired},
		"not strictly": {first.Bound(ids, GenesisFirst, nil), ask(), Allowed},
		"numbers of its own": {
			last.Bound(ids, GenesisFirst, nil).Earlier(first, Ids{"1", "2"}), ask(), RuleMismatch,
		},
		"revoked since": {
			until(revoked, "2027-06-01").Bound(ids, GenesisFirst, nil).Earlier(first, ids), ask(), RevokedSigner,
		},
		"revoked before": {
			last.Bound(ids, GenesisFirst, []*Document{until(decideRule+revoked, "2027-01-01")}).Earlier(first, ids),
			ask(), RevokedSigner,
		},
		"revoked, restored since": {until(restored, "2027-06-01").Bound(ids, GenesisFirst, []*Document{
			until(decideRule+revoked, "2027-01-01"),
		}).Earlier(first, ids), ask(), Allowed},
	} {
		if d := c.by.Decide(c.req, ev); d.Reason != c.want || (d.Permitted) != (c.want == Allowed) {
			t.Errorf("%s: %s %s", name, d.Reason, d.Detail)
		}
	}
	if p := first.Bound(ids, GenesisFirst, nil).BeforeFirst(); p != nil {
		t.Error("a version whose rules say no since reaches back")
	}
	reaching := until(
		strings.Replace(decideRule, "binaries", "other", 1)+decideRule+"since = 2026-01-01T00:00:00Z\n", "2027-01-01",
	)
	p := reaching.Bound(ids, GenesisFirst, nil).BeforeFirst()
	if d := p.Decide(ask(), ev); !d.Permitted || d.Rule != "binaries" || len(d.Rules) != 1 {
		t.Errorf("%s %v", d.Reason, d.Rules)
	}
	if len(reaching.Content().Rules) != 2 {
		t.Error("the version itself was changed")
	}
}
