// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
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

func mustParse(t testing.TB, text string) *Document {
	t.Helper()
	doc, err := Parse([]byte(decideHead + text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func mustPin(t testing.TB, text string, ids Ids) *Trusted {
	t.Helper()
	return mustParse(t, text).Pin(ids)
}

var signed = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func workflowIdentity(ref string) Identity {
	const repo = "https://github.com/Acme/widget"
	san := repo + "/.github/workflows/release.yml@" + ref
	return Identity{
		Kind: KindURI, Value: san, Issuer: githubIssuer, BuildSignerURI: san, BuildSignerDigest: strings.Repeat("1", 40),
		RunnerEnvironment:   "github-hosted",
		SourceRepositoryURI: repo, SourceRepositoryDigest: strings.Repeat("1", 40), SourceRepositoryRef: ref,
		SourceRepositoryID:      "1001",
		SourceRepositoryOwnerID: "2002", BuildConfigURI: san, BuildTrigger: "push", DeploymentEnvironment: "Release",
	}
}

func claim(id Identity) Claims {
	c := Claims{Signer: id}
	if tag := id.Tag(); tag != "" {
		c.Tags, c.TagSource = []string{tag}, "certificate"
	}
	return c
}

func ask() Request { return Request{Names: []string{"widget_1"}, Now: signed.AddDate(0, 1, 0)} }

var proven = Verification{Times: []time.Time{signed}, Logged: true, Proven: true}

// TestIds pins the repository's numbers, as a genesis will.
func TestIds(t *testing.T) {
	for name, c := range map[string]struct {
		ids  Ids
		want bool
	}{
		"case-86-repo-id":  {Ids{Repository: "1002"}, false},
		"case-87-owner-id": {Ids{Repository: "1001", Owner: "2003"}, false},
		"both":             {Ids{Repository: "1001", Owner: "2002"}, true},
		"unknown":          {Ids{}, true},
	} {
		d := mustPin(t, decideRule, c.ids).Decide(ask(), claim(workflowIdentity("refs/tags/v1")).Verified(proven))
		if (d.Permitted) != c.want {
			t.Errorf("%s: %+v", name, d)
		}
	}
	id := workflowIdentity("refs/tags/v1")
	id.SourceRepositoryURI = "https://github.com/acme/renamed"
	d := mustPin(t, decideRule, Ids{Repository: "1001"}).Decide(ask(), claim(id).Verified(proven))
	if d.Permitted {
		t.Error("case-88-repo-renamed: allowed")
	}
}

// TestForeignSigner takes a reusable workflow of another repository.
func TestForeignSigner(t *testing.T) {
	rule := func(pin string) string {
		return strings.Replace(
			decideRule, `".github/workflows/release.yml"`, `"https://github.com/acme/ci/.github/workflows/build.yml"`,
			1,
		) + "caller = \".github/workflows/release.yml\"\n" + pin + "\n"
	}
	base := func() Identity {
		id := workflowIdentity("refs/tags/v1")
		id.Value = "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v4"
		id.BuildSignerURI = id.Value
		return id
	}
	for _, c := range []struct {
		name, pin string
		change    func(*Identity)
		want      bool
	}{
		{"by ref", `signer-ref = "refs/tags/v4"`, nil, true},
		{"by digest", `signer-digest = "` + strings.Repeat("1", 40) + `"`, nil, true},
		{"called by commit", `signer-digest = "` + strings.Repeat("1", 40) + `"`, func(id *Identity) {
			id.Value = "https://github.com/acme/ci/.github/workflows/build.yml@" + strings.Repeat("1", 40)
			id.BuildSignerURI = id.Value
		}, true},
		{
			"case-73-rw-foreign-caller", `signer-ref = "refs/tags/v4"`,
			func(id *Identity) { id.SourceRepositoryURI = "https://github.com/evil/widget" }, false,
		},
		{"case-76-rw-ref-unpinned", `signer-ref = "refs/tags/v4"`, func(id *Identity) {
			id.Value = "https://github.com/acme/ci/.github/workflows/build.yml@refs/heads/main"
			id.BuildSignerURI = id.Value
		}, false},
		{"case-77-signer-digest", `signer-digest = "` + strings.Repeat("2", 40) + `"`, nil, false},
		{
			"digest missing", `signer-digest = "` + strings.Repeat("1", 40) + `"`,
			func(id *Identity) { id.BuildSignerDigest = "" }, false,
		},
		{"odd ref behind the pinned file", `signer-digest = "` + strings.Repeat("1", 40) + `"`, func(id *Identity) {
			id.Value = "https://github.com/acme/ci/.github/workflows/build.yml@x.yml@refs/heads/main"
			id.BuildSignerURI = id.Value
		}, false},
		{"another caller", `signer-ref = "refs/tags/v4"`, func(id *Identity) {
			id.BuildConfigURI = "https://github.com/acme/widget/.github/workflows/other.yml@refs/tags/v1"
		}, false},
	} {
		id := base()
		if c.change != nil {
			c.change(&id)
		}
		d := mustPin(t, rule(c.pin), Ids{}).Decide(ask(), claim(id).Verified(proven))
		if (d.Permitted) != c.want {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

// TestTime judges around every boundary.
func TestTime(t *testing.T) {
	at := func(ts ...time.Time) Verification { return Verification{Times: ts, Logged: true, Proven: true} }
	expires := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		rule string
		v    Verification
		now  time.Time
		want Reason
	}{
		{"signed at expiry", "", at(expires), expires, Allowed},
		{"case-260-expired-at-release", "", at(expires.Add(time.Second)), expires.AddDate(0, 1, 0), ExpiredAtRelease},
		{"in the days of grace", "", at(signed), expires.Add(grace), Allowed},
		{"stale", "", at(signed), expires.Add(grace + 1), PolicyStale},
		{"in the future", "", at(signed), signed.Add(-1), EvidenceInFuture},
		{"no time", "", Verification{Logged: true, Proven: true}, signed, EvidenceUntimed},
		{
			"revocation straddled", "[[revoked]]\nrule = \"binaries\"\ncompromised-since = 2026-06-01T12:00:00Z\n",
			at(signed.Add(-1), signed), signed.AddDate(0, 1, 0), RevokedSigner,
		},
		{
			"revocation after", "[[revoked]]\nrule = \"binaries\"\ncompromised-since = 2026-06-01T12:00:01Z\n",
			at(signed), signed.AddDate(0, 1, 0), Allowed,
		},
		{"revoked for ever", "[[revoked]]\nrule = \"binaries\"\n", at(signed), signed.AddDate(0, 1, 0), RevokedSigner},
		{
			"restored", "[[revoked]]\nrule = \"binaries\"\n[[restored]]\nrule = \"binaries\"\n", at(signed),
			signed.AddDate(0, 1, 0), Allowed,
		},
	} {
		req := ask()
		req.Now = c.now
		d := mustPin(t, decideRule+c.rule, Ids{}).Decide(req, claim(workflowIdentity("refs/tags/v1")).Verified(c.v))
		if d.Reason != c.want {
			t.Errorf("%s: %s %s", c.name, d.Reason, d.Detail)
		}
		if (d.Permitted) != (c.want == Allowed) {
			t.Errorf("%s: permitted %v with %s", c.name, d.Permitted, d.Reason)
		}
	}
}

// TestCooldown: what is too young, or of no known age, is denied, whoever signed it.
func TestCooldown(t *testing.T) {
	flags, err := FlagIdentity{
		Identity: workflowIdentity("refs/tags/v1").Value, Issuer: workflowIdentity("refs/tags/v1").Issuer,
	}.Trusted()
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		name  string
		by    *Trusted
		times []time.Time
		now   time.Time
		want  Reason
	}{
		{"at once", mustPin(t, decideRule, Ids{}), []time.Time{signed}, signed, ReleaseTooYoung},
		{"a moment too soon", mustPin(t, decideRule, Ids{}), []time.Time{signed}, signed.Add(3*day - 1), ReleaseTooYoung},
		{"in time", mustPin(t, decideRule, Ids{}), []time.Time{signed}, signed.Add(3 * day), Allowed},
		{
			"by the later of two times", mustPin(t, decideRule, Ids{}), []time.Time{signed, signed.Add(day)},
			signed.Add(3 * day), ReleaseTooYoung,
		},
		{"without a policy", flags, []time.Time{signed}, signed.Add(day), ReleaseTooYoung},
		{"without a policy, in time", flags, []time.Time{signed}, signed.Add(3 * day), Allowed},
	} {
		req := ask()
		req.Now, req.Cooldown = c.now, 3*day
		v := Verification{Times: c.times, Logged: true, Proven: true}
		d := c.by.Decide(req, claim(workflowIdentity("refs/tags/v1")).Verified(v))
		if d.Reason != c.want || (d.Permitted) != (c.want == Allowed) {
			t.Errorf("%s: %s %s", c.name, d.Reason, d.Detail)
		}
	}
	adopted := mustPin(
		t, decideRule+"[[adopted]]\ntag = \"v0\"\ndigests = [\"sha256:"+strings.Repeat("ab", 32)+"\"]\n", Ids{},
	)
	req := Request{Now: signed, Digests: []Digest{{"sha256", strings.Repeat("ab", 32)}}}
	if d, ok := adopted.DecideAdopted(req); !ok || !d.Permitted {
		t.Errorf("%s", d.Reason)
	}
	req.Cooldown = day
	if d, ok := adopted.DecideAdopted(req); !ok || d.Reason != ReleaseTooYoung || d.Permitted {
		t.Errorf("adopted: %s", d.Reason)
	}
}

// TestEveryFieldMatters removes and changes each field of good evidence: no
// change may turn a denial into a permission, and those that a rule compares
// must deny.
func TestEveryFieldMatters(t *testing.T) {
	p := mustPin(t, decideRule, Ids{Repository: "1001", Owner: "2002"})
	free := map[string]bool{
		"BuildSignerDigest": true, "SourceRepositoryDigest": true, "SourceRepositoryOwner": true,
		"BuildConfigDigest": true, "RunInvocationURI": true, "Visibility": true,
		"TokenSubject": true, "WorkflowTrigger": true, "WorkflowSHA": true,
		"WorkflowName": true, "WorkflowRepository": true, "WorkflowRef": true,
	}
	typ := reflect.TypeFor[Identity]()
	for i := range typ.NumField() {
		for _, to := range []string{"", "x"} {
			id := workflowIdentity("refs/tags/v1")
			f := reflect.ValueOf(&id).Elem().Field(i)
			f.SetString(f.String() + to)
			if to == "" {
				f.SetString("")
			}
			c := claim(id)
			c.Tags = []string{"v1"}
			d := p.Decide(ask(), c.Verified(proven))
			if name := typ.Field(i).Name; (d.Permitted) != free[name] {
				t.Errorf("%s + %q: %s", name, to, d.Reason)
			}
			pre, final := p.Precheck(ask(), c)
			if pre.Permitted || final == (d.Permitted) {
				t.Errorf("%s: precheck %v, decision %s", typ.Field(i).Name, final, d.Reason)
			}
		}
	}
}

// TestZero uses what nobody filled in: never OK.
func TestZero(t *testing.T) {
	good := claim(workflowIdentity("refs/tags/v1")).Verified(proven)
	p := mustPin(t, decideRule, Ids{})
	var d Decision
	var none *Trusted
	for name, got := range map[string]Decision{
		"nil policy": none.Decide(ask(), good), "zero policy": (&Trusted{}).Decide(ask(), good),
		"zero evidence": p.Decide(ask(), Evidence{}), "zero request": p.Decide(Request{}, good), "zero decision": d,
		"unverified": p.Decide(ask(), Evidence{claims: good.claims, verification: good.verification}),
	} {
		if got.Permitted || got.Reason.Class() == ClassOK {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, ok := none.DecideAdopted(ask()); ok {
		t.Error("adopted without a policy")
	}
	for _, f := range []FlagIdentity{
		{}, {Identity: "a"}, {Issuer: "b"}, {Identity: "a", Issuer: "b", KeyID: "c"},
		{Identity: "a", Issuer: "b", NoIssuer: true}, {NoIssuer: true},
	} {
		if p, err := f.Trusted(); err == nil || p != nil {
			t.Errorf("%+v is accepted", f)
		}
	}
	if (Pattern{}).Match("") || (PatternSet{}).Match("x") || (PatternSet{any: true}).Match("") {
		t.Error("a zero pattern matches")
	}
}

// TestConcurrent is case 396: one policy, many goroutines.
func TestConcurrent(t *testing.T) {
	p := mustPin(t, decideRule, Ids{})
	ev := claim(workflowIdentity("refs/tags/v1")).Verified(proven)
	first := p.Decide(ask(), ev)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if d := p.Decide(ask(), ev); !reflect.DeepEqual(d, first) {
				t.Error("another decision")
			}
		})
	}
	wg.Wait()
}

func TestLint(t *testing.T) {
	doc, err := Parse(
		[]byte(
			decideHead + strings.ReplaceAll(decideRule, "environment = \"release\"\n", "") + strings.Replace(
				decideRule, "binaries", "other", 1,
			),
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	got := map[Reason]bool{}
	for _, p := range doc.Lint(time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)) {
		got[p.Reason] = true
		if p.Pos == (Pos{}) {
			t.Errorf("%s has no place", p)
		}
	}
	for _, want := range []Reason{"lint-expired", "lint-no-environment", "lint-overlap"} {
		if !got[want] {
			t.Errorf("no %s", want)
		}
	}
}
