// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/gate"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/token"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/oidc"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/rekorbind"
)

var authTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const authPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name = "binaries"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = ".github/workflows/release.yml"
environment = "release"
`

// authFound is a repository whose policy is bound, as it is known at authTime.
func authFound(t testing.TB) *find.Found {
	t.Helper()
	payload, err := rekorbind.Encode([]byte(authPolicy), "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := rekorbind.ParseStatement(payload)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(k int64) policy.Entry {
		at := authTime.Add(time.Duration(k-100) * time.Hour)
		return policy.Entry{Log: "v2", Index: k, NotBefore: at, NotAfter: at.Add(10 * time.Minute)}
	}
	repo := s.Repository()
	resolved := chain.Evaluate(chain.History{
		Repository: repo, Now: authTime, View: chain.View{Completeness: chain.CompleteScanned, AsOf: authTime},
		Logs:       []policy.Log{{ID: "v2", Generation: 2, Start: authTime.AddDate(-1, 0, 0)}},
		Statements: []chain.Statement{s},
		Signatures: []chain.Signature{
			chain.SignatureFacts{
				Statement: s.Digest(),
				Signer: policy.Identity{
					Kind: policy.KindEmail, Value: "alice@example.com", Issuer: "https://accounts.google.com",
				},
				Entry: entry(1),
			}.Verified(),
		},
		Leaves: []chain.Leaf{
			chain.LeafFacts{
				Payload: s.Digest(), Body: strings.Repeat("0", 64),
				Binding: chain.Binding{Repository: repo, RepositoryID: "1", OwnerID: "2"}, Entry: entry(2),
			}.Verified(),
		},
	})
	if r := resolved.Reason(); r != "" {
		t.Fatal(r, resolved.Problems())
	}
	root, err := sigstore.ParseRoot("acme, introduced by foundation", sigstoretest.New(t).Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	return &find.Found{
		Repository: repo, Resolution: &bindings.Resolution{Chain: resolved}, Root: trust.Root{Root: root},
	}
}

// authorizations are one that is allowed and some that are not.
func authorizations(t testing.TB) map[string]*gate.Authorization {
	t.Helper()
	f := authFound(t)
	out := map[string]*gate.Authorization{}
	for name, change := range map[string]func(*policy.Identity, *gate.Authorization){
		"allowed":        func(*policy.Identity, *gate.Authorization) {},
		"no environment": func(id *policy.Identity, _ *gate.Authorization) { id.DeploymentEnvironment = "" },
		"preflight": func(id *policy.Identity, z *gate.Authorization) {
			id.DeploymentEnvironment, z.Stage = "", policy.StagePreflight
		},
		"pull request": func(id *policy.Identity, _ *gate.Authorization) { id.BuildTrigger = "pull_request" },
		"hostile": func(id *policy.Identity, _ *gate.Authorization) {
			id.BuildTrigger, id.DeploymentEnvironment = "::stop-commands::x\n", "`|\x1b[31m\u202e"
		},
		"a key": func(id *policy.Identity, _ *gate.Authorization) {
			*id = policy.Identity{Kind: policy.KindKey, Value: strings.Repeat("a", 64)}
		},
		"called": func(id *policy.Identity, _ *gate.Authorization) {
			id.BuildSignerURI = "https://github.com/acme/ci/x.yml@refs/tags/v1"
		},
		"no artifacts": func(_ *policy.Identity, z *gate.Authorization) { z.Subjects = nil },
	} {
		san := "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1"
		id := policy.Identity{
			Kind: policy.KindURI, Value: san, Issuer: "https://token.actions.githubusercontent.com", BuildSignerURI: san,
			RunnerEnvironment:   "github-hosted",
			SourceRepositoryURI: "https://github.com/acme/widget", SourceRepositoryDigest: strings.Repeat("1", 40),
			SourceRepositoryRef: "refs/tags/v1", SourceRepositoryID: "1",
			SourceRepositoryOwnerID: "2", BuildConfigURI: san, BuildTrigger: "push", DeploymentEnvironment: "release",
			RunInvocationURI: "https://github.com/acme/widget/actions/runs/7/attempts/1",
		}
		digest := policy.Digest{Alg: "sha256", Hex: strings.Repeat("d", 64)}
		z := &gate.Authorization{
			Stage:   policy.StageSign,
			Found:   f,
			Version: f.Head(),
			Tag:     "v1",
			Subjects: []gate.Subject{
				{Arg: "dist/widget_1", Name: "widget_1", Digests: []policy.Digest{digest}},
				{Arg: "widget_2", Name: "widget_2"},
			},
		}
		change(&id, z)
		z.Run = policy.RunFacts{Actor: "alice"}.Verified(id)
		if id.Kind != policy.KindKey {
			z.Verified = &token.Verified{
				Unverified: &identity.Unverified{IssuedAt: authTime, Expires: authTime.Add(5 * time.Minute)},
			}
			z.Audience = oidc.Audience
		}
		z.Commit = id.Commit()
		z.Request = policy.Request{Tag: z.Tag, Commit: z.Commit, Now: authTime}
		subjects := z.Subjects
		if subjects == nil {
			subjects = []gate.Subject{{}}
		}
		for _, s := range subjects {
			z.Decisions = append(z.Decisions, z.Decide(id, s))
		}
		out[name] = z
	}
	return out
}

// TestAuthorizationForms: the forms of one decision agree with each other and with
// their schemas, whatever the run calls itself.
func TestAuthorizationForms(t *testing.T) {
	compile := func(name string) *jsonschema.Schema {
		s, err := jsonschema.NewCompiler().Compile("../../schema/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	validate := func(s *jsonschema.Schema, data []byte) error {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return err
		}
		return s.Validate(doc)
	}
	decision, receipt := compile("authorization-v1"), compile("receipt-v1")
	allowed := map[string]bool{"allowed": true, "preflight": true}
	for name, z := range authorizations(t) {
		r := report.NewAuthorization(z)
		if ok := r.Exit == 0; ok != allowed[name] || (r.Verdict == "OK") != ok || (z.Class() == policy.ClassOK) != ok {
			t.Errorf("%s: %s, exit %d", name, r.Verdict, r.Exit)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(decision, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r.Root != "acme, introduced by foundation" {
			t.Errorf("%s: under %q", name, r.Root)
		}
		out := filepath.Join(t.TempDir(), "output")
		summary := filepath.Join(t.TempDir(), "summary")
		var text, github bytes.Buffer
		a := &app{
			&command.Run{
				Env: command.Env{
					Getenv: func(v string) string { return map[string]string{report.EnvOutput: out, report.EnvSummary: summary}[v] },
				},
				Out: report.NewPrinter(&text),
			},
		}
		a.Out.Authorization(r)
		a.Out = report.NewPrinter(&github)
		a.github().Authorization(r, report.Output{Name: "report-path", Value: "report.json"})
		for what, b := range map[string]*bytes.Buffer{"text": &text, "github": &github} {
			for line := range strings.Lines(b.String()) {
				if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return c < ' ' || c >= 0x7f }) ||
					what == "text" && strings.HasPrefix(strings.TrimSpace(line), "::") {
					t.Errorf("%s, %s: %q", name, what, line)
				}
			}
		}
		if !strings.HasPrefix(text.String(), r.Verdict+": ") || !strings.Contains(github.String(), r.Total()) {
			t.Errorf("%s: %s\n%s", name, text.String(), github.String())
		}
		written, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		outputs, err := readOutputs(string(written))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"verdict": r.Verdict, "exit-code": fmt.Sprint(r.Exit),
			"authorized": fmt.Sprint(name == "allowed"), "policy-version": "1", "policy-digest": r.Policy.Digest,
			"report-path": "report.json",
		}
		for k, v := range want {
			if outputs[k] != v {
				t.Errorf("%s: output %s is %q, want %q", name, k, outputs[k], v)
			}
		}
		if len(outputs) != len(want) {
			t.Errorf("%s: outputs %v", name, outputs)
		}
		if md, err := os.ReadFile(summary); err != nil || !bytes.Contains(md, []byte(r.Total())) ||
			bytes.Contains(md, []byte("\x1b")) {
			t.Errorf("%s: %v %s", name, err, md)
		}
		if z.Stage != policy.StageSign || !allowed[name] {
			continue
		}
		own := z.Receipt(authTime)
		if data, err = json.Marshal(own); err != nil {
			t.Fatal(err)
		}
		if err := validate(receipt, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		parsed, err := identity.ParseReceipt(data, report.SchemaURL("receipt-v1"))
		if err != nil || parsed.Covers(own, authTime) != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRepositoryPURL: how a release statement names the tag of a repository.
func TestRepositoryPURL(t *testing.T) {
	for repo, want := range map[string]string{
		"https://github.com/acme/widget":       "pkg:github/acme/widget@v1.0.0",
		"https://gitlab.com/acme/tools/widget": "pkg:gitlab/acme/tools/widget@v1.0.0",
		"https://git.example.org/widget": "pkg:generic/widget@v1.0.0?vcs_url=git%2Bhttps:%2F%2F" +
			"git.example.org%2Fwidget",
		"https://git.example.org/a/b/c/d/Widget1": "pkg:generic/Widget1@v1.0.0?vcs_url=git%2Bhttps:%2F%2F" +
			"git.example.org%2Fa%2Fb%2Fc%2Fd%2FWidget1",
	} {
		l, err := policy.ParseLocator(repo)
		if err != nil {
			t.Fatal(err)
		}
		if got := repositoryPURL(l, "v1.0.0"); got != want {
			t.Errorf("%s: %s, want %s", repo, got, want)
		}
	}
}
