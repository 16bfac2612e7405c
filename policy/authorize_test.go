// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// oneVersion returns a bound policy of one version, with alice's signature, as it
// is known at signed.
func oneVersion(t testing.TB, text string) *Chain {
	t.Helper()
	repo, err := ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	s := statementOf(t, decideHead+text, "")
	start := signed.Add(-240 * time.Hour)
	entry := func(k int64) Entry {
		at := start.Add(time.Duration(k) * time.Hour)
		return Entry{Log: "v2", Index: k, NotBefore: at, NotAfter: at.Add(10 * time.Minute)}
	}
	c := Evaluate(History{
		Repository: repo, Now: signed, View: View{Completeness: CompleteScanned, AsOf: signed}, Logs: []Log{{"v2", 2, start, time.Time{}}}, Statements: []Statement{s},
		Signatures: []Signature{NewSignature(SignatureFacts{s.digest, Identity{Kind: KindEmail, Value: "alice@example.com", Issuer: "https://accounts.google.com"}, entry(1)})},
		Leaves:     []Leaf{NewLeaf(LeafFacts{Payload: s.digest, Body: Sum([]byte("x")), Binding: Binding{Repository: repo, RepositoryID: "1001", OwnerID: "2002"}, Entry: entry(2)})},
	})
	if r := c.Reason(); r != "" {
		t.Fatal(r, c.Problems())
	}
	return c
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
		text   string
		id     Identity
		facts  RunFacts
		stage  Stage
		req    func(*Request)
		demand Demand
		want   Reason
		codes  []string // of the nearest rule's mismatches
		open   []string // fields left open
		note   string
	}{
		"may sign":                       {text: strictRule, id: tag(nil), facts: facts, stage: StageSign, want: Allowed},
		"may publish":                    {text: strictRule, id: tag(nil), facts: facts, stage: StagePublish, want: Allowed},
		"actor not listed":               {text: strictRule, id: tag(nil), facts: RunFacts{"mallory", "true"}, stage: StageSign, want: RuleMismatch, codes: []string{"actor-differs"}},
		"actor in another case":          {text: strictRule, id: tag(nil), facts: RunFacts{"Alice", "true"}, stage: StageSign, want: RuleMismatch, codes: []string{"actor-differs"}},
		"no actor":                       {text: strictRule, id: tag(nil), facts: RunFacts{"", "true"}, stage: StageSign, want: RuleMismatch, codes: []string{"actor-missing"}},
		"ref not protected":              {text: strictRule, id: tag(nil), facts: RunFacts{"alice", "false"}, stage: StageSign, want: RuleMismatch, codes: []string{"ref-protected-differs"}},
		"protection not known":           {text: strictRule, id: tag(nil), facts: RunFacts{"alice", ""}, stage: StagePreflight, want: RuleMismatch, codes: []string{"ref-protected-missing"}},
		"facts not compared without":     {text: decideRule, id: tag(nil), stage: StageSign, want: Allowed},
		"no environment":                 {text: decideRule, id: tag(func(id *Identity) { id.DeploymentEnvironment = "" }), stage: StageSign, want: RuleMismatch, codes: []string{"environment-missing"}},
		"no environment yet":             {text: decideRule, id: tag(func(id *Identity) { id.DeploymentEnvironment = "" }), stage: StagePreflight, want: Allowed, open: []string{"environment"}},
		"another runner yet":             {text: decideRule, id: tag(func(id *Identity) { id.RunnerEnvironment = "self-hosted" }), stage: StagePreflight, want: Allowed, open: []string{"runner"}},
		"no artifact":                    {text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Names = nil }, want: RuleMismatch, codes: []string{"artifact-missing"}},
		"no artifact yet":                {text: decideRule, id: tag(nil), stage: StagePreflight, req: func(r *Request) { r.Names = nil }, want: Allowed, open: []string{"artifact"}},
		"artifact not listed":            {text: decideRule, id: tag(nil), stage: StagePreflight, req: func(r *Request) { r.Names = []string{"gadget"} }, want: RuleMismatch, codes: []string{"artifact-differs"}},
		"a pull request":                 {text: decideRule, id: tag(func(id *Identity) { id.BuildTrigger = "pull_request_target" }), stage: StagePreflight, want: RuleMismatch, codes: []string{"trigger-forbidden"}},
		"a branch":                       {text: decideRule, id: workflowIdentity("refs/heads/main"), stage: StageSign, want: RuleMismatch, codes: []string{"ref-differs", "tag-missing"}},
		"another repository":             {text: decideRule, id: tag(func(id *Identity) { id.SourceRepositoryURI = "https://github.com/acme/fork" }), stage: StageSign, want: RuleMismatch, codes: []string{"repository-differs"}},
		"a repository made anew":         {text: decideRule, id: tag(func(id *Identity) { id.SourceRepositoryID = "1002" }), stage: StageSign, want: RuleMismatch, codes: []string{"repository-id-differs"}},
		"another tag":                    {text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Tag = "v2" }, want: TagMismatch},
		"another commit":                 {text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Commit = strings.Repeat("2", 40) }, want: RuleMismatch, codes: []string{"commit-differs"}},
		"expired this second":            {text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, want: PolicyExpired},
		"its last second":                {text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Now = time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC) }, want: Allowed},
		"expired in preflight":           {text: decideRule, id: tag(nil), stage: StagePreflight, req: func(r *Request) { r.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, want: PolicyExpired},
		"rule retired":                   {text: decideRule + "until = 2026-06-01T12:00:00Z\n", id: tag(nil), stage: StageSign, want: RuleMismatch, codes: []string{"time-differs"}},
		"rule revoked":                   {text: decideRule + "[[revoked]]\nrule = \"binaries\"\n", id: tag(nil), stage: StageSign, want: RevokedSigner},
		"rule revoked from tomorrow":     {text: decideRule + "[[revoked]]\nrule = \"binaries\"\ncompromised-since = 2026-06-02T00:00:00Z\n", id: tag(nil), stage: StageSign, want: Allowed},
		"tag yanked":                     {text: decideRule + "[[yanked]]\ntag = \"v1\"\n", id: tag(nil), stage: StageSign, want: YankedRelease},
		"a digest yanked, none known":    {text: decideRule + "[[yanked]]\ndigest = \"sha512:" + strings.Repeat("0", 128) + "\"\n", id: tag(nil), stage: StageSign, want: Allowed},
		"a digest yanked, another known": {text: decideRule + "[[yanked]]\ndigest = \"sha512:" + strings.Repeat("0", 128) + "\"\n", id: tag(nil), stage: StageSign, req: func(r *Request) { r.Digests = []Digest{{"sha256", strings.Repeat("0", 64)}} }, want: YankUnknown},
		"approvals later":                {text: decideRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", id: tag(nil), stage: StageSign, want: Allowed, note: "approvals-later"},
		"approvals now":                  {text: decideRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", id: tag(nil), stage: StagePublish, want: RuleMismatch, codes: []string{"approvals-missing"}},
		"approvals yet":                  {text: decideRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n", id: tag(nil), stage: StagePreflight, want: Allowed, open: []string{"approvals"}, note: "approvals-later"},
		"no rules":                       {id: tag(nil), stage: StageSign, want: NoRules},
		"shared builder":                 {text: foreign, id: tag(called("acme/ci", "refs/tags/v4")), stage: StageSign, want: Allowed},
		"shared builder, moved":          {text: foreign, id: tag(called("acme/ci", "refs/heads/main")), stage: StageSign, want: RuleMismatch, codes: []string{"signer-workflow-differs"}},
		"shared builder not entered":     {text: foreign, id: tag(nil), stage: StageSign, want: RuleMismatch, codes: []string{"signer-workflow-differs"}},
		"shared builder not entered yet": {text: foreign, id: tag(nil), stage: StagePreflight, want: Allowed, open: []string{"signer-workflow"}},
		"another builder, early":         {text: foreign, id: tag(called("mallory/ci", "refs/tags/v4")), stage: StagePreflight, want: RuleMismatch, codes: []string{"signer-workflow-differs"}},
		"foreign caller": {text: foreign, id: tag(func(id *Identity) {
			called("acme/ci", "refs/tags/v4")(id)
			id.SourceRepositoryURI, id.BuildConfigURI = "https://github.com/mallory/widget", "https://github.com/mallory/widget/.github/workflows/release.yml@refs/tags/v1"
		}), stage: StageSign, want: RuleMismatch, codes: []string{"caller-differs", "repository-differs"}},
		"another file of the caller": {text: foreign, id: tag(func(id *Identity) {
			called("acme/ci", "refs/tags/v4")(id)
			id.BuildConfigURI = strings.Replace(id.BuildConfigURI, "release.yml", "evil.yml", 1)
		}), stage: StageSign, want: RuleMismatch, codes: []string{"caller-differs"}},
		"less is known than demanded":      {text: decideRule, id: tag(nil), stage: StageSign, demand: Demand{Completeness: CompleteProven}, want: BelowRequired},
		"known from too long ago":          {text: decideRule, id: tag(nil), stage: StageSign, demand: Demand{MaxAge: time.Hour}, req: func(r *Request) { r.Now = signed.Add(2 * time.Hour) }, want: ViewStale},
		"no stage":                         {text: decideRule, id: tag(nil), want: Internal},
		"no moment":                        {text: decideRule, id: tag(nil), stage: StageSign, req: func(r *Request) { r.Now = time.Time{} }, want: Internal},
		"an identity that nobody verified": {text: decideRule, id: Identity{}, stage: StageSign, want: RuleMismatch},
	} {
		p := oneVersion(t, c.text).Trusted(c.demand)
		req := Request{Names: []string{"widget_1"}, Now: signed}
		if c.req != nil {
			c.req(&req)
		}
		d := Authorize(p, NewRun(c.id, c.facts), c.stage, req, claim(c.id).Tags, "certificate")
		if d.Reason != c.want || (d.Outcome == Permitted) != (c.want == Allowed) {
			t.Errorf("%s: %s (%s), want %s", name, d.Reason, d.Detail, c.want)
			continue
		}
		n, _ := d.Nearest()
		var codes, open []string
		for _, m := range n.Mismatches {
			codes = append(codes, m.Code())
			if !slices.ContainsFunc(d.Compared, func(c Comparison) bool { return c.Field == m.Field && c.State == "differs" }) {
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
		if d.Outcome == Permitted && slices.ContainsFunc(d.Compared, func(c Comparison) bool { return c.State == "differs" }) {
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
	bound := oneVersion(t, decideRule).Trusted(Demand{})
	for name, d := range map[string]Decision{
		"nil":        Authorize(nil, NewRun(id, RunFacts{}), StageSign, req, []string{"v1"}, ""),
		"zero":       Authorize(&Trusted{}, NewRun(id, RunFacts{}), StageSign, req, []string{"v1"}, ""),
		"a file":     Authorize(mustPin(t, decideRule, Ids{}), NewRun(id, RunFacts{}), StageSign, req, []string{"v1"}, ""),
		"flags":      Authorize(&Trusted{flags: &flagIdentity{}}, NewRun(id, RunFacts{}), StageSign, req, []string{"v1"}, ""),
		"no chain":   Authorize((*Chain)(nil).Trusted(Demand{}), NewRun(id, RunFacts{}), StageSign, req, []string{"v1"}, ""),
		"unverified": Authorize(bound, Run{identity: id}, StageSign, req, []string{"v1"}, ""),
		"zero run":   Authorize(bound, Run{}, StageSign, req, []string{"v1"}, ""),
	} {
		if d.Outcome == Permitted || d.Reason == "" || d.Reason.Class() == ClassOK {
			t.Errorf("%s: %s", name, d.Reason)
		}
	}
}

// TestAuthorizeAgrees: whatever is changed in an identity, a run may sign if and
// only if its evidence, logged now, will be allowed.
func TestAuthorizeAgrees(t *testing.T) {
	p := oneVersion(t, decideRule).Trusted(Demand{Strict: true})
	typ := reflect.TypeFor[Identity]()
	allowed := 0
	for _, ref := range []string{"refs/tags/v1", "refs/tags/x", "refs/heads/main"} {
		for i := range typ.NumField() {
			for _, to := range []string{"", "x"} {
				id := workflowIdentity(ref)
				f := reflect.ValueOf(&id).Elem().Field(i)
				f.SetString(f.String() + to)
				if to == "" {
					f.SetString("")
				}
				req := Request{Names: []string{"widget_1"}, Now: signed}
				c := claim(id)
				a := Authorize(p, NewRun(id, RunFacts{}), StageSign, req, c.Tags, c.TagSource)
				e := Entry{Log: "v2", Index: 100, NotBefore: signed, NotAfter: signed.Add(10 * time.Minute)}
				d := Decide(p, req, NewEvidence(c, Verification{Times: []time.Time{signed}, Logged: true, Proven: true, Entries: []Entry{e}, NotBefore: signed}))
				if (a.Outcome == Permitted) != (d.Outcome == Permitted) || a.Reason != d.Reason {
					t.Errorf("%s, %s + %q: authorised as %s, judged as %s", ref, typ.Field(i).Name, to, a.Reason, d.Reason)
				}
				if a.Outcome == Permitted {
					allowed++
				}
			}
		}
	}
	if allowed == 0 {
		t.Error("nothing is allowed")
	}
}

// TestRunAs: a certificate that says anything else than the token is another's.
func TestRunAs(t *testing.T) {
	id := workflowIdentity("refs/tags/v1")
	run := NewRun(id, facts)
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
		return Identity{Kind: KindEmail, Value: name + "@example.com", Issuer: "https://accounts.google.com", TokenSubject: "1"}
	}
	p := oneVersion(t, rules).Trusted(Demand{})
	for _, c := range []struct {
		version  int
		who, tag string
		may      bool
		why      string
	}{
		{1, "alice", "v1", true, "a maintainer"}, {1, "alice", "w1", false, "no releaser of this tag"}, {1, "carol", "w1", true, "a releaser"},
		{1, "carol", "v1", false, "no maintainer"}, {1, "mallory", "v1", false, "nobody"}, {1, "alice", "x1", false, "no rule for this tag"},
		{0, "alice", "v1", false, "no version 0"}, {2, "alice", "v1", false, "no version 2"},
	} {
		if got := p.MayApprove(c.version, who(c.who), c.tag); got != c.may {
			t.Errorf("version %d, %s, %s: %v (%s)", c.version, c.who, c.tag, got, c.why)
		}
	}
	for name, none := range map[string]*Trusted{"nil": nil, "a file": mustPin(t, rules, Ids{}), "no chain": (*Chain)(nil).Trusted(Demand{}), "no rule wants any": oneVersion(t, decideRule).Trusted(Demand{})} {
		if none.MayApprove(1, who("alice"), "v1") {
			t.Errorf("%s: somebody may approve", name)
		}
	}
	c := oneVersion(t, rules)
	other := who("alice")
	c.walk.subjects[signerOf(&other)] = "2"
	if c.Trusted(Demand{}).MayApprove(1, other, "v1") {
		t.Error("another account of the name")
	}
}

// BenchmarkAuthorize judges one run by a bound policy.
func BenchmarkAuthorize(b *testing.B) {
	p := oneVersion(b, strictRule).Trusted(Demand{})
	run := NewRun(workflowIdentity("refs/tags/v1"), facts)
	req := Request{Names: []string{"widget_1"}, Now: signed}
	for b.Loop() {
		if d := Authorize(p, run, StageSign, req, []string{"v1"}, "certificate"); d.Outcome != Permitted {
			b.Fatal(d.Reason)
		}
	}
}
