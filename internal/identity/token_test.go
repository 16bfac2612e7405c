// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
)

// githubClaims are those of a release of acme/widget.
func githubClaims(change map[string]any) map[string]any {
	m := map[string]any{
		"iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/widget:environment:release",
		"aud": "repopolicy",
		"iat": tokenTime.Unix(), "nbf": tokenTime.Add(-5 * time.Minute).Unix(), "exp": tokenTime.Add(5 * time.Minute).Unix(),
		"jti":        "x",
		"repository": "acme/widget", "repository_id": "1001", "repository_visibility": "public", "repository_owner": "acme",
		"repository_owner_id": "2002",
		"ref":                 "refs/tags/v1", "ref_type": "tag", "ref_protected": "true", "sha": strings.Repeat("a", 40),
		"workflow":     "release",
		"workflow_ref": "acme/widget/.github/workflows/release.yml@refs/tags/v1", "workflow_sha": strings.Repeat("a", 40),
		"job_workflow_ref": "acme/widget/.github/workflows/release.yml@refs/tags/v1",
		"job_workflow_sha": strings.Repeat("a", 40),
		"event_name":       "push", "runner_environment": "github-hosted", "run_id": "7", "run_attempt": "2",
		"actor": "alice", "environment": "release",
	}
	maps.Copy(m, change)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func encode(t testing.TB, header, claims any) string {
	t.Helper()
	part := func(v any) string {
		if s, ok := v.(string); ok {
			return base64.RawURLEncoding.EncodeToString([]byte(s))
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	return part(header) + "." + part(claims) + ".c2ln"
}

var rs256 = map[string]any{"alg": "RS256", "kid": "k", "typ": "JWT"}

// TestToken: every token that is not taken, and why.
func TestToken(t *testing.T) {
	claim := func(name string, v any) string { return encode(t, rs256, githubClaims(map[string]any{name: v})) }
	header := func(name string, v any) string {
		h := maps.Clone(rs256)
		h[name] = v
		return encode(t, h, githubClaims(nil))
	}
	good := claim("jti", "y")
	at := func(d time.Duration) int64 { return tokenTime.Add(d).Unix() }
	body := func(d string) string { return encode(t, rs256, d) }
	raw, err := json.Marshal(githubClaims(map[string]any{"nbf": nil}))
	if err != nil {
		t.Fatal(err)
	}
	plain := string(raw)
	nested := func(n int) any {
		var v any = "x"
		for range n - 1 {
			v = map[string]any{"y": v}
		}
		return v
	}
	for name, c := range map[string]struct {
		token  string
		reason policy.Reason // "" if it is taken
	}{
		"good":                   {good, ""},
		"a list of one audience": {claim("aud", []string{"repopolicy"}), ""},
		"no nbf":                 {claim("nbf", nil), ""},
		"ten minutes":            {claim("exp", at(10*time.Minute)), ""},
		"ES256":                  {header("alg", "ES256"), ""},
		"none":                   {header("alg", "none"), policy.TokenInvalid},
		"None":                   {header("alg", "NoNe"), policy.TokenInvalid},
		"HS256":                  {header("alg", "HS256"), policy.TokenInvalid},
		"no alg":                 {header("alg", nil), policy.TokenInvalid},
		"alg is a list":          {header("alg", []string{"RS256"}), policy.TokenInvalid},
		"own key":                {header("jwk", map[string]any{"kty": "RSA"}), policy.TokenInvalid},
		"address of a key":       {header("jku", "https://example.com/keys"), policy.TokenInvalid},
		"certificates":           {header("x5c", []string{"MII"}), policy.TokenInvalid},
		"critical extension":     {header("crit", []string{"b64"}), policy.TokenInvalid},
		"compressed":             {header("zip", "DEF"), policy.TokenInvalid},
		"encrypted":              {good + ".x.y", policy.TokenInvalid},
		"unsigned":               {strings.TrimSuffix(good, "c2ln"), policy.TokenInvalid},
		"a million dots":         {strings.Repeat(".", 1_000_000), policy.TokenInvalid},
		"10 MiB":                 {good + strings.Repeat("A", 10<<20), policy.TokenInvalid},
		"padded":                 {strings.Replace(good, ".", "=.", 1), policy.TokenInvalid},
		"a line feed in it":      {strings.Replace(good, ".", "\n.", 1), policy.TokenInvalid},
		"claims twice":           {body(`{"iss":"a","iss":"b"}`), policy.TokenInvalid},
		"claims twice, deep":     {body(`{"a":[{"b":{"c":1,"c":2}}]}`), policy.TokenInvalid},
		"claims twice by escape": {body(`{"iss":"a","\u0069ss":"b"}`), policy.TokenInvalid},
		"deep": {
			body(`{"a":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`), policy.TokenInvalid,
		},
		"claims are a list":  {body(`[]`), policy.TokenInvalid},
		"two objects":        {body(`{}{}`), policy.TokenInvalid},
		"bad UTF-8":          {body(strings.Replace(plain, "acme/widget", "acme/wid\xffget", 1)), policy.TokenInvalid},
		"replaced UTF-8":     {claim("actor", "a\ufffd"), policy.TokenInvalid},
		"as deep as is read": {claim("x", nested(maxClaimDepth)), ""},
		"one deeper":         {claim("x", nested(maxClaimDepth+1)), policy.TokenInvalid},
		"one deeper in lists": {
			claim("x", strings.Split(strings.Repeat("a ", maxClaims*maxClaimDepth), " ")), policy.TokenInvalid,
		},
		"something follows": {body(plain + " 1"), policy.TokenInvalid},
		"a long subject":    {claim("sub", strings.Repeat("s", maxClaimBytes)), ""},
		"a longer subject":  {claim("sub", strings.Repeat("s", maxClaimBytes+1)), policy.TokenInvalid},
		"iat is text":       {claim("iat", "0"), policy.TokenInvalid},
		"nbf is text":       {claim("nbf", "0"), policy.TokenInvalid},
		"nbf is null": {
			body(strings.Replace(plain, `"jti":"x"`, `"jti":"x","nbf":null`, 1)), policy.TokenInvalid,
		},
		"no issuer":            {claim("iss", nil), policy.TokenInvalid},
		"issuer is a number":   {claim("iss", 1), policy.TokenInvalid},
		"no subject":           {claim("sub", nil), policy.TokenInvalid},
		"empty subject":        {claim("sub", ""), policy.TokenInvalid},
		"no audience":          {claim("aud", nil), policy.TokenInvalid},
		"audience is a number": {claim("aud", 1), policy.TokenInvalid},
		"no exp":               {claim("exp", nil), policy.TokenInvalid},
		"exp is text":          {claim("exp", "2099"), policy.TokenInvalid},
		"exp beyond all time":  {claim("exp", 1e300), policy.TokenInvalid},
		"negative exp":         {claim("exp", -1), policy.TokenInvalid},
		"no iat":               {claim("iat", nil), policy.TokenInvalid},
		"Sigstore's audience":  {claim("aud", "sigstore"), policy.TokenRefused},
		"another case":         {claim("aud", "RepoPolicy"), policy.TokenRefused},
		"two audiences":        {claim("aud", []string{"repopolicy", "sigstore"}), policy.TokenRefused},
		"the audience twice":   {claim("aud", []string{"repopolicy", "repopolicy"}), policy.TokenRefused},
		"no audiences":         {claim("aud", []string{}), policy.TokenRefused},
		"expired": {
			encode(t, rs256, githubClaims(map[string]any{"iat": at(-8 * time.Minute), "exp": at(-time.Minute)})),
			policy.TokenRefused,
		},
		"expired within the skew": {
			encode(t, rs256, githubClaims(map[string]any{"iat": at(-8 * time.Minute), "exp": at(-time.Minute + time.Second)})),
			"",
		},
		"not yet": {claim("nbf", at(2*time.Minute)), policy.TokenRefused},
		"issued in the future": {
			encode(t, rs256, githubClaims(map[string]any{"iat": at(2 * time.Minute), "exp": at(4 * time.Minute)})),
			policy.TokenRefused,
		},
		"eleven minutes": {claim("exp", at(11*time.Minute)), policy.TokenRefused},
		"a year":         {claim("exp", at(365*24*time.Hour)), policy.TokenRefused},
		"expires when issued": {
			encode(t, rs256, githubClaims(map[string]any{"iat": at(0), "exp": at(0)})), policy.TokenRefused,
		},
	} {
		u, err := ParseToken(c.token)
		if err == nil {
			issuer, ok := TrustedIssuers(nil, "").Find(u.Issuer)
			if !ok {
				t.Errorf("%s: %q is not listed", name, u.Issuer)
			}
			err = u.Check(issuer, oidc.Audience, tokenTime)
		}
		var r *Refusal
		errors.As(err, &r)
		switch {
		case c.reason == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.reason != "" && (r == nil || r.Reason != c.reason):
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		case err != nil && len(err.Error()) > 500:
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
	}
}

// TestLongLived: GitLab's tokens live as long as the job; they are taken for as
// long as others.
func TestLongLived(t *testing.T) {
	issuer, _ := TrustedIssuers(nil, "").Find("https://gitlab.com")
	for age, ok := range map[time.Duration]bool{0: true, 10 * time.Minute: true, 12 * time.Minute: false} {
		u := &Unverified{Audience: []string{oidc.Audience}, IssuedAt: tokenTime.Add(-age), Expires: tokenTime.Add(time.Hour)}
		if err := u.Check(issuer, oidc.Audience, tokenTime); (err == nil) != ok {
			t.Errorf("%s old: %v", age, err)
		}
		if got := u.End(); got != u.IssuedAt.Add(MaxLifetime) {
			t.Errorf("it ends at %s", got)
		}
	}
}

// TestIssuers: only what is listed, exactly; nothing that a token names alone.
func TestIssuers(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "issuers.toml"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	list := TrustedIssuers(doc.Content(), "http://127.0.0.1:5556")
	for issuer, kind := range map[string]IssuerKind{
		"https://token.actions.githubusercontent.com":           KindGitHub,
		"https://gitlab.com":                                    KindGitLab,
		"https://agent.buildkite.com":                           KindBuildkite,
		"https://oidc.circleci.com/org/0e1a2b3c-aaaa-bbbb-cccc": KindCircleCI,
		"https://accounts.google.com":                           KindEmail,
		"https://gitlab.example.org":                            KindGitLab,
		"https://spire.example.org":                             KindURI,
		"http://127.0.0.1:5556":                                 KindEmail,
		"https://idp.example.org":                               KindEmail,
		"":                                                      "",
		"https://example.com":                                   "",
		"https://token.actions.githubusercontent.com/":          "",
		"https://token.actions.githubusercontent.com/acme":      "",
		"https://token.actions.githubusercontent.com.evil.org":  "",
		"http://token.actions.githubusercontent.com":            "",
		"https://TOKEN.actions.githubusercontent.com":           "",
		"https://oidc.circleci.com/org/":                        "",
		"https://oidc.circleci.com/org/*":                       "",
		"https://oidc.circleci.com/org/a/b":                     "",
		"https://oidc.circleci.com/org/..":                      "",
		"https://oidc.circleci.com/org/x?y":                     "",
	} {
		got, ok := list.Find(issuer)
		if got.Kind != kind || ok != (kind != "") {
			t.Errorf("%q: %q %v, want %q", issuer, got.Kind, ok, kind)
		}
		if ok && got.URL != issuer {
			t.Errorf("%q became %q", issuer, got.URL)
		}
	}
	if _, ok := TrustedIssuers(nil, "").Find("https://gitlab.example.org"); ok {
		t.Error("an issuer that nobody named")
	}
	if i, _ := list.Find("https://gitlab.example.org"); i.Host != "https://gitlab.example.org" || !i.LongLived {
		t.Errorf("%+v", i)
	}
	if i, _ := list.Find("https://forgejo.example.org"); i.Kind != KindGitHub || i.LongLived {
		t.Errorf("%+v", i)
	}
	for issuer, origin := range map[string]string{
		"https://accounts.google.com":      "https://www.googleapis.com",
		"https://oidc.circleci.com/org/0a": "https://oidc.circleci.com", "http://127.0.0.1:5556": "http://127.0.0.1:5556",
	} {
		if i, _ := list.Find(issuer); i.KeysOrigin() != origin {
			t.Errorf("the keys of %s lie on %q", issuer, i.KeysOrigin())
		}
	}
}

// TestRun: the identity of each kind of token is the one that Fulcio's templates
// make.
func TestRun(t *testing.T) {
	sha := strings.Repeat("a", 40)
	claims := func(iss string, m map[string]any) *Unverified {
		base := map[string]any{
			"iss": iss, "sub": "subject", "aud": "repopolicy", "iat": tokenTime.Unix(), "exp": tokenTime.Add(time.Minute).Unix(),
		}
		maps.Copy(base, m)
		maps.DeleteFunc(base, func(_ string, v any) bool { return v == nil })
		u, err := ParseToken(encode(t, rs256, base))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	list := append(TrustedIssuers(nil, ""), Issuer{URL: "https://spire.example.org", Kind: KindURI})
	gitlab := map[string]any{
		"project_path": "acme/widget", "project_id": "1", "namespace_path": "acme", "namespace_id": "2", "ref": "v1",
		"ref_type": "tag", "sha": sha,
		"ci_config_ref_uri": "gitlab.com/acme/widget//.gitlab-ci.yml@refs/tags/v1", "ci_config_sha": sha,
		"pipeline_source": "push", "job_id": "9",
		"runner_environment": "gitlab-hosted", "project_visibility": "public", "environment": "release",
		"user_login": "alice", "ref_protected": "true",
	}
	circle := map[string]any{
		"oidc.circleci.com/project-id": "p", "oidc.circleci.com/pipeline-definition-id": "d",
		"oidc.circleci.com/pipeline-id": "l", "oidc.circleci.com/workflow-id": "w",
		"oidc.circleci.com/job-id": "j", "oidc.circleci.com/ssh-rerun": false, "oidc.circleci.com/vcs-ref": "refs/tags/v1",
		"oidc.circleci.com/vcs-origin": "github.com/acme/widget",
	}
	buildkite := map[string]any{
		"organization_slug": "acme", "pipeline_slug": "release", "build_number": 12, "job_id": "j", "build_commit": sha,
		"build_source": "webhook", "runner_environment": "self-hosted",
	}
	person := map[string]any{
		"email": "alice@example.com", "email_verified": true,
		"federated_claims": map[string]any{"connector_id": "https://github.com/login/oauth"},
	}
	with := func(m map[string]any, name string, v any) map[string]any {
		m = maps.Clone(m)
		m[name] = v
		return m
	}
	const dex = "https://oauth2.sigstore.dev/auth"
	gitlabURI := "https://gitlab.com/acme/widget//.gitlab-ci.yml@refs/tags/v1"
	for name, c := range map[string]struct {
		token *Unverified
		want  Identity
		facts policy.RunFacts
		fails bool
	}{
		"github": {token: claims("https://token.actions.githubusercontent.com",
			githubClaims(map[string]any{"sub": "subject"})), want: Identity{
			Kind: policy.KindURI, Value: "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1",
			Issuer:         "https://token.actions.githubusercontent.com",
			BuildSignerURI: "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1", BuildSignerDigest: sha,
			RunnerEnvironment:   "github-hosted",
			SourceRepositoryURI: "https://github.com/acme/widget", SourceRepositoryDigest: sha,
			SourceRepositoryRef: "refs/tags/v1", SourceRepositoryID: "1001",
			SourceRepositoryOwner: "https://github.com/acme", SourceRepositoryOwnerID: "2002",
			BuildConfigURI:    "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1",
			BuildConfigDigest: sha, BuildTrigger: "push",
			RunInvocationURI: "https://github.com/acme/widget/actions/runs/7/attempts/2", Visibility: "public",
			DeploymentEnvironment: "release", TokenSubject: "subject",
			WorkflowTrigger: "push", WorkflowSHA: sha, WorkflowName: "release", WorkflowRepository: "acme/widget",
			WorkflowRef: "refs/tags/v1",
		}, facts: policy.RunFacts{Actor: "alice", RefProtected: "true"}},
		"gitlab": {token: claims("https://gitlab.com", gitlab), want: Identity{
			Kind: policy.KindURI, Value: gitlabURI, Issuer: "https://gitlab.com", BuildSignerURI: gitlabURI,
			BuildSignerDigest: sha, RunnerEnvironment: "gitlab-hosted",
			SourceRepositoryURI: "https://gitlab.com/acme/widget", SourceRepositoryDigest: sha,
			SourceRepositoryRef: "refs/tags/v1", SourceRepositoryID: "1",
			SourceRepositoryOwner: "https://gitlab.com/acme", SourceRepositoryOwnerID: "2", BuildConfigURI: gitlabURI,
			BuildConfigDigest: sha, BuildTrigger: "push",
			RunInvocationURI: "https://gitlab.com/acme/widget/-/jobs/9", Visibility: "public", DeploymentEnvironment: "release",
			TokenSubject: "subject",
		}, facts: policy.RunFacts{Actor: "alice", RefProtected: "true"}},
		"buildkite": {token: claims("https://agent.buildkite.com", buildkite), want: Identity{
			Kind: policy.KindURI, Value: "https://buildkite.com/acme/release", Issuer: "https://agent.buildkite.com",
			RunInvocationURI:  "https://buildkite.com/acme/release/builds/12#j",
			RunnerEnvironment: "self-hosted", SourceRepositoryDigest: sha, BuildTrigger: "webhook", TokenSubject: "subject",
		}},
		"circleci": {token: claims("https://oidc.circleci.com/org/0a", circle), want: Identity{
			Kind: policy.KindURI, Value: "https://circleci.com/api/v2/projects/p/pipeline-definitions/d",
			Issuer:           "https://oidc.circleci.com/org/0a",
			BuildSignerURI:   "https://circleci.com/api/v2/projects/p/pipeline-definitions/d",
			BuildConfigURI:   "https://circleci.com/api/v2/pipeline/l/config",
			RunInvocationURI: "https://app.circleci.com//workflow/w/job/j", RunnerEnvironment: `""`,
			SourceRepositoryRef: "refs/tags/v1", SourceRepositoryURI: "github.com/acme/widget", TokenSubject: "subject",
		}},
		"person": {
			token: claims(dex, person),
			want: Identity{
				Kind: policy.KindEmail, Value: "alice@example.com", Issuer: "https://github.com/login/oauth",
				TokenSubject: "subject",
			},
		},
		"service": {
			token: claims("https://accounts.google.com", person),
			want: Identity{
				Kind: policy.KindEmail, Value: "alice@example.com", Issuer: "https://accounts.google.com", TokenSubject: "subject",
			},
		},
		"spiffe": {
			token: claims("https://spire.example.org", map[string]any{"sub": "spiffe://example.org/ci"}),
			want: Identity{
				Kind: policy.KindURI, Value: "spiffe://example.org/ci", Issuer: "https://spire.example.org",
				TokenSubject: "spiffe://example.org/ci",
			},
		},
		// A certificate's name goes through a URL.
		"escaped": {token: claims("https://agent.buildkite.com", with(buildkite, "pipeline_slug", "a b")), want: Identity{
			Kind: policy.KindURI, Value: "https://buildkite.com/acme/a%20b", Issuer: "https://agent.buildkite.com",
			RunInvocationURI:  "https://buildkite.com/acme/a b/builds/12#j",
			RunnerEnvironment: "self-hosted", SourceRepositoryDigest: sha, BuildTrigger: "webhook", TokenSubject: "subject",
		}},
		"github without a workflow": {
			token: claims("https://token.actions.githubusercontent.com", githubClaims(map[string]any{"job_workflow_ref": nil})),
			fails: true,
		},
		"github without a trigger": {
			token: claims("https://token.actions.githubusercontent.com", githubClaims(map[string]any{"event_name": nil})),
			fails: true,
		},
		"a list for a name": {
			token: claims("https://token.actions.githubusercontent.com",
				githubClaims(map[string]any{"repository": []string{"acme/widget"}})), fails: true,
		},
		"a fraction for a number": {
			token: claims("https://agent.buildkite.com", with(buildkite, "build_number", 1.5)), fails: true,
		},
		"a control character": {
			token: claims("https://token.actions.githubusercontent.com", githubClaims(map[string]any{"ref": "refs/tags/v1\n"})),
			fails: true,
		},
		"gitlab without a ref":     {token: claims("https://gitlab.com", with(gitlab, "ref", nil)), fails: true},
		"not verified":             {token: claims(dex, with(person, "email_verified", false)), fails: true},
		"verified in words":        {token: claims(dex, with(person, "email_verified", "false")), fails: true},
		"verification missing":     {token: claims(dex, with(person, "email_verified", nil)), fails: true},
		"nobody vouches":           {token: claims(dex, with(person, "federated_claims", nil)), fails: true},
		"no address":               {token: claims(dex, with(person, "email", "alice")), fails: true},
		"a subject that is no URI": {token: claims("https://spire.example.org", map[string]any{"sub": "ci"}), fails: true},
		"rerun by ssh": {token: claims("https://oidc.circleci.com/org/0a", with(circle, "oidc.circleci.com/ssh-rerun", true)),
			want: Identity{
				Kind: policy.KindURI, Value: "https://circleci.com/api/v2/projects/p/pipeline-definitions/d",
				Issuer:           "https://oidc.circleci.com/org/0a",
				BuildSignerURI:   "https://circleci.com/api/v2/projects/p/pipeline-definitions/d",
				BuildConfigURI:   "https://circleci.com/api/v2/pipeline/l/config",
				RunInvocationURI: "https://app.circleci.com//workflow/w/job/j", RunnerEnvironment: "ssh-rerun",
				SourceRepositoryRef: "refs/tags/v1", SourceRepositoryURI: "github.com/acme/widget", TokenSubject: "subject",
			}},
		"gitlab, a branch": {token: claims("https://gitlab.com", with(gitlab, "ref_type", "branch")), want: Identity{
			Kind: policy.KindURI, Value: gitlabURI, Issuer: "https://gitlab.com", BuildSignerURI: gitlabURI,
			BuildSignerDigest: sha, RunnerEnvironment: "gitlab-hosted",
			SourceRepositoryURI: "https://gitlab.com/acme/widget", SourceRepositoryDigest: sha,
			SourceRepositoryRef: "refs/heads/v1", SourceRepositoryID: "1",
			SourceRepositoryOwner: "https://gitlab.com/acme", SourceRepositoryOwnerID: "2", BuildConfigURI: gitlabURI,
			BuildConfigDigest: sha, BuildTrigger: "push",
			RunInvocationURI: "https://gitlab.com/acme/widget/-/jobs/9", Visibility: "public", DeploymentEnvironment: "release",
			TokenSubject: "subject",
		}, facts: policy.RunFacts{Actor: "alice", RefProtected: "true"}},
		"spiffe without a domain": {
			token: claims("https://spire.example.org", map[string]any{"sub": "spiffe:///ci"}), fails: true,
		},
		"only a domain": {token: claims(dex, with(person, "email", "@example.com")), fails: true},
		"only a name":   {token: claims(dex, with(person, "email", "alice@")), fails: true},
		"an empty voucher": {
			token: claims(dex, with(person, "federated_claims", map[string]any{"connector_id": ""})), fails: true,
		},
		"a voucher that is a number": {
			token: claims(dex, with(person, "federated_claims", map[string]any{"connector_id": 1})), fails: true,
		},
		"a name that is no URL": {
			token: claims("https://agent.buildkite.com", with(buildkite, "pipeline_slug", "%zz")), fails: true,
		},
		"a deleted character": {
			token: claims("https://agent.buildkite.com", with(buildkite, "pipeline_slug", "a\u007f")), fails: true,
		},
		"a negative number": {
			token: claims("https://agent.buildkite.com", with(buildkite, "build_number", -1)), fails: true,
		},
		"a number beyond exactness": {
			token: claims("https://agent.buildkite.com", with(buildkite, "build_number", json.Number("9007199254740992"))),
			fails: true,
		},
		"circleci without a project": {
			token: claims("https://oidc.circleci.com/org/0a", with(circle, "oidc.circleci.com/project-id", nil)), fails: true,
		},
	} {
		issuer, ok := list.Find(c.token.Issuer)
		if !ok {
			t.Fatal(c.token.Issuer)
		}
		id, facts, err := c.token.Run(issuer)
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(c.want, id); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(c.facts, facts); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestAgree: each variable of the environment that a token must agree with.
func TestAgree(t *testing.T) {
	u, err := ParseToken(encode(t, rs256, githubClaims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	issuer, _ := TrustedIssuers(nil, "").Find(u.Issuer)
	good := map[string]string{
		"GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_SHA": strings.Repeat("a", 40), "GITHUB_REF": "refs/tags/v1",
		"GITHUB_REPOSITORY": "acme/widget", "GITHUB_EVENT_NAME": "push",
	}
	check := func(m map[string]string) error {
		return u.Agree(issuer, func(name string) string { return m[name] })
	}
	if err := check(good); err != nil {
		t.Error(err)
	}
	for name := range good {
		for _, v := range []string{"", "x", good[name] + " ", strings.ToUpper(good[name]) + "0"} {
			m := maps.Clone(good)
			m[name] = v
			var r *Refusal
			if err := check(m); !errors.As(err, &r) || r.Reason != policy.TokenMismatch {
				t.Errorf("%s = %q: %v", name, v, err)
			}
		}
	}
	if err := u.Agree(issuer, nil); err == nil {
		t.Error("no environment agrees")
	}
	if id, attempt, err := u.RunID(issuer); id != "7" || attempt != "2" || err != nil {
		t.Errorf("run %q %q %v", id, attempt, err)
	}
	gitlab, _ := TrustedIssuers(nil, "").Find("https://gitlab.com")
	u.values["pipeline_id"] = json.Number("9")
	if id, attempt, err := u.RunID(gitlab); id != "9" || attempt != "" || err != nil {
		t.Errorf("pipeline %q %q %v", id, attempt, err)
	}
	buildkite, _ := TrustedIssuers(nil, "").Find("https://agent.buildkite.com")
	runs := map[string]bool{}
	for _, pipeline := range []string{"release", "other"} {
		b := &Unverified{
			values: map[string]any{
				"organization_slug": "acme", "pipeline_slug": pipeline, "build_number": json.Number("7"), "job_id": "j",
				"runner_environment": "x", "build_commit": "c", "build_source": "webhook",
			},
		}
		id, attempt, err := b.RunID(buildkite)
		if err != nil || attempt != "" || runs[id] {
			t.Errorf("build %q %q %v", id, attempt, err)
		}
		runs[id] = true
	}
	u.values["run_id"] = []any{}
	if _, _, err := u.RunID(issuer); err == nil {
		t.Error("a run whose number is a list")
	}
	if err := check(good); err == nil {
		t.Error("a list agrees with a number")
	}
	if _, _, err := u.RunID(Issuer{Kind: KindEmail}); err == nil {
		t.Error("a person's run")
	}
}

// FuzzToken: what is parsed has no key twice and says what encoding/json says,
// and what is taken is for us alone and for now.
func FuzzToken(f *testing.F) {
	for _, bad := range []string{
		"", "ghs_0123456789", "a.b", "a.b.c.d.e", "....", "e30=.e30=.x", "a.%%%.c", "e30.W10.x", "e30.e30.x",
	} {
		f.Add(bad)
	}
	f.Add(encode(f, rs256, githubClaims(nil)))
	f.Add(encode(f, rs256, `{"iss":"a","iss":"b","sub":"c","aud":"repopolicy","exp":2,"iat":1}`))
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseToken(raw)
		if err != nil {
			return
		}
		body, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil || m["iss"] != u.Issuer || m["sub"] != u.Subject {
			t.Fatalf("%v: %q and %q of %s", err, u.Issuer, u.Subject, body)
		}
		for _, i := range builtIn {
			if u.Check(i, oidc.Audience, tokenTime) == nil &&
				(len(u.Audience) != 1 || u.Audience[0] != oidc.Audience || tokenTime.Sub(u.IssuedAt) > MaxLifetime+maxClockSkew ||
					!tokenTime.Before(u.Expires.Add(maxClockSkew))) {
				t.Fatalf("taken: %s", body)
			}
			id, _, err := u.Run(i)
			if (err == nil) != (id.Kind != "") {
				t.Fatalf("%v beside %+v", err, id)
			}
		}
	})
}

var tokenTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
