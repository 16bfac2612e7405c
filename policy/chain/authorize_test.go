// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

const decideHead = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

const decideRule = `[[release]]
name = "binaries"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = ".github/workflows/release.yml"
environment = "release"
`

var signed = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func workflowIdentity(ref string) policy.Identity {
	const repo = "https://github.com/Acme/widget"
	san, commit := repo+"/.github/workflows/release.yml@"+ref, strings.Repeat("1", 40)
	return policy.Identity{
		Kind: policy.KindURI, Value: san, Issuer: "https://token.actions.githubusercontent.com",
		BuildSignerURI: san, BuildSignerDigest: commit, RunnerEnvironment: "github-hosted",
		SourceRepositoryURI: repo, SourceRepositoryDigest: commit, SourceRepositoryRef: ref, SourceRepositoryID: "1001",
		SourceRepositoryOwnerID: "2002", BuildConfigURI: san, BuildTrigger: "push", DeploymentEnvironment: "Release",
	}
}

func claim(id policy.Identity) policy.Claims {
	c := policy.Claims{Signer: id}
	if tag := id.Tag(); tag != "" {
		c.Tags, c.TagSource = []string{tag}, "certificate"
	}
	return c
}

// oneVersion returns a bound policy of one version, with alice's signature, as it
// is known at signed.
func oneVersion(t testing.TB, text string) *Chain {
	t.Helper()
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	s := statementOf(t, decideHead+text, "")
	start := signed.Add(-240 * time.Hour)
	entry := func(k int64) policy.Entry {
		at := start.Add(time.Duration(k) * time.Hour)
		return policy.Entry{Log: "v2", Index: k, NotBefore: at, NotAfter: at.Add(10 * time.Minute)}
	}
	alice := person("alice@example.com")
	c := Evaluate(History{
		Repository: repo, Now: signed, View: View{Completeness: CompleteScanned, AsOf: signed},
		Logs:       []policy.Log{{ID: "v2", Generation: 2, Start: start}},
		Statements: []Statement{s},
		Signatures: []Signature{SignatureFacts{Statement: s.digest, Signer: alice, Entry: entry(1)}.Verified()},
		Leaves: []Leaf{LeafFacts{
			Payload: s.digest, Body: spelling.Sum([]byte("x")),
			Binding: Binding{Repository: repo, RepositoryID: "1001", OwnerID: "2002"}, Entry: entry(2),
		}.Verified()},
	})
	if r := c.Reason(); r != "" {
		t.Fatal(r, c.Problems())
	}
	return c
}

// TestAuthorizeChain: what the chain says comes before what its newest version says.
func TestAuthorizeChain(t *testing.T) {
	const approvals = "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n"
	alice := person("alice@example.com")
	late := func(r *policy.Request) { r.Now = signed.Add(2 * time.Hour) }
	expired := func(r *policy.Request) { r.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		text   string
		stage  policy.Stage
		demand Demand
		req    func(*policy.Request)
		logged int64 // index of an approval; 0 for none
		want   policy.Reason
	}{
		"may sign": {text: decideRule, stage: policy.StageSign, want: policy.Allowed},
		"less is known than demanded": {
			text: decideRule, stage: policy.StageSign, demand: Demand{Completeness: CompleteProven},
			want: policy.BelowRequired,
		},
		"known from too long ago": {
			text: decideRule, stage: policy.StageSign, demand: Demand{MaxAge: time.Hour}, req: late,
			want: policy.ViewStale,
		},
		"no stage": {
			text: decideRule, demand: Demand{Completeness: CompleteProven}, want: policy.Internal,
		},
		"no rule":             {text: "", stage: policy.StageSign, want: policy.NoRules},
		"expired this second": {text: decideRule, stage: policy.StageSign, req: expired, want: policy.PolicyExpired},
		"not approved":        {text: decideRule + approvals, stage: policy.StagePublish, want: policy.RuleMismatch},
		"approved": {
			text: decideRule + approvals, stage: policy.StagePublish, logged: 5, want: policy.Allowed,
		},
		"approved too early": {
			text: decideRule + approvals, stage: policy.StagePublish, logged: 1, want: policy.RuleMismatch,
		},
		"approved, nobody wants": {text: decideRule, stage: policy.StagePublish, logged: 1, want: policy.Allowed},
	} {
		id := workflowIdentity("refs/tags/v1")
		chain := oneVersion(t, c.text)
		req := policy.Request{Names: []string{"widget_1"}, Now: signed, Digests: []policy.Digest{
			{Alg: "sha256", Hex: strings.Repeat("0", 64)},
		}}
		if c.req != nil {
			c.req(&req)
		}
		if c.logged != 0 {
			f := policy.ApprovalFacts{
				Repository: chain.Repository(), Tag: "v1", Commit: id.Commit(),
				Policy: chain.Versions()[0].Document.Digest(), Digests: req.Digests,
			}
			v := policy.Verification{Times: []time.Time{signed}, Logged: true, Proven: true, Entries: []policy.Entry{
				{Log: "v2", Index: c.logged, NotBefore: signed.Add(-240 * time.Hour)},
			}}
			req.Approvals = []policy.Approval{f.Verified(alice, v)}
		}
		d := chain.Trusted(c.demand).Authorize(
			policy.RunFacts{}.Verified(id), c.stage, req, []string{"v1"}, "certificate",
		)
		if d.Reason != c.want || (d.Permitted) != (c.want == policy.Allowed) {
			t.Errorf("%s: %s (%s) %v, want %s", name, d.Reason, d.Detail, d.Rules, c.want)
		}
		if (len(d.Rules) > 0 || c.want == policy.PolicyExpired) && !slices.Equal(d.Numbers(), []int{1}) {
			t.Errorf("%s: by versions %v", name, d.Versions)
		}
	}
}

// TestAuthorizeNobody: nothing is authorised by a chain that nobody made, or for somebody
// whom nobody verified.
func TestAuthorizeNobody(t *testing.T) {
	run := policy.RunFacts{}.Verified(workflowIdentity("refs/tags/v1"))
	req := policy.Request{Names: []string{"widget_1"}, Now: signed}
	var none *Trusted
	for name, d := range map[string]policy.Decision{
		"nil":      none.Authorize(run, policy.StageSign, req, []string{"v1"}, ""),
		"zero":     (&Trusted{}).Authorize(run, policy.StageSign, req, []string{"v1"}, ""),
		"no chain": (*Chain)(nil).Trusted(Demand{}).Authorize(run, policy.StageSign, req, []string{"v1"}, ""),
		"unverified": oneVersion(t, decideRule).Trusted(Demand{}).Authorize(
			policy.Run{}, policy.StageSign, req, []string{"v1"}, "",
		),
	} {
		if d.Permitted || d.Reason == "" || d.Reason.Class() == policy.ClassOK {
			t.Errorf("%s: %s", name, d.Reason)
		}
	}
}

// TestAuthorizeAgrees: whatever is changed in an identity, a run may sign if and
// only if its evidence, logged now, will be allowed.
func TestAuthorizeAgrees(t *testing.T) {
	p := oneVersion(t, decideRule).Trusted(Demand{Strict: true})
	typ := reflect.TypeFor[policy.Identity]()
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
				req := policy.Request{Names: []string{"widget_1"}, Now: signed}
				c := claim(id)
				a := p.Authorize(policy.RunFacts{}.Verified(id), policy.StageSign, req, c.Tags, c.TagSource)
				e := policy.Entry{Log: "v2", Index: 100, NotBefore: signed, NotAfter: signed.Add(10 * time.Minute)}
				v := policy.Verification{Logged: true, Proven: true, Entries: []policy.Entry{e}, NotBefore: signed}
				v.Times = []time.Time{signed}
				d := p.Decide(req, c.Verified(v))
				if (a.Permitted) != (d.Permitted) || a.Reason != d.Reason {
					t.Errorf(
						"%s, %s + %q: authorised as %s, judged as %s", ref, typ.Field(i).Name, to, a.Reason, d.Reason,
					)
				}
				if a.Permitted {
					allowed++
				}
			}
		}
	}
	if allowed == 0 {
		t.Error("nothing is allowed")
	}
}

// TestMayApprove: whose approval some rule of a version would count, before it is made.
func TestMayApprove(t *testing.T) {
	const rules = decideRule + "[release.approvals]\nthreshold = 1\nfrom = \"maintainers\"\n"
	who := func(name string) policy.Identity {
		id := person(name + "@example.com")
		id.TokenSubject = "1"
		return id
	}
	p := oneVersion(t, rules).Trusted(Demand{})
	for _, c := range []struct {
		version int
		who     string
		may     bool
		why     string
	}{
		{1, "alice", true, "a maintainer"}, {1, "mallory", false, "nobody"},
		{0, "alice", false, "no version 0"}, {2, "alice", false, "no version 2"},
	} {
		if got := p.MayApprove(c.version, who(c.who), "v1"); got != c.may {
			t.Errorf("version %d, %s: %v (%s)", c.version, c.who, got, c.why)
		}
	}
	for name, none := range map[string]*Trusted{
		"nil": nil, "zero": {}, "no chain": (*Chain)(nil).Trusted(Demand{}),
		"no rule wants any": oneVersion(t, decideRule).Trusted(Demand{}),
	} {
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
	const preflight = "[release.preflight]\nactors = [\"alice\", \"bob\"]\nref-protected = true\n"
	p := oneVersion(b, decideRule+preflight).Trusted(Demand{})
	run := policy.RunFacts{Actor: "alice", RefProtected: "true"}.Verified(workflowIdentity("refs/tags/v1"))
	req := policy.Request{Names: []string{"widget_1"}, Now: signed}
	for b.Loop() {
		d := p.Authorize(run, policy.StageSign, req, []string{"v1"}, "certificate")
		if !d.Permitted {
			b.Fatal(d.Reason)
		}
	}
}
