// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// TestWrittenPolicies parses every policy that a neutral one became.
func TestWrittenPolicies(t *testing.T) {
	files, err := filepath.Glob("testdata/policies/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies: %v", err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := policy.Parse(src)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if len(doc.Content().Rules) == 0 {
			t.Errorf("%s: no rule", f)
		}
		for _, p := range doc.Lint(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
			if p.Pos.Line == 0 || !strings.HasPrefix(string(p.Reason), "lint-") {
				t.Errorf("%s: advice without a place: %+v", f, p)
			}
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab/c", true}, {"*c", "ab/c", true}, {"a*b*c", "a1b2c", true},
		{"a*b*c", "a1c2b", false}, {"a*a", "a", false}, {"", "", true}, {"*", "", true},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

// TestTranslate writes a reusable workflow of another repository, which the
// neutral form takes by a pattern and the language only by name.
func TestTranslate(t *testing.T) {
	tc := &testCase{ID: "x"}
	tc.Certificate = &struct {
		SAN               string
		SANType           string
		OIDCIssuer        *string
		FulcioExtensions  map[string]struct{ Value string }
		NotBefore         string
		SubjectIdentifier string
	}{SAN: "https://github.com/acme/ci/.github/workflows/build.yml@refs/tags/v4", SANType: "uri"}
	tc.Certificate.FulcioExtensions = map[string]struct{ Value string }{}
	for n, v := range map[string]string{
		"8": "https://token.actions.githubusercontent.com", "9": tc.Certificate.SAN, "12": "https://github.com/acme/widget",
		"14": "refs/tags/v1", "18": "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1", "20": "push",
		"11": "github-hosted",
	} {
		tc.Certificate.FulcioExtensions["1.3.6.1.4.1.57264.1."+n] = struct{ Value string }{v}
	}
	c := &corpus{cases: []*testCase{tc}}
	n := &neutral{ID: "n", Releasers: []releaser{
		{
			Issuer:              "https://token.actions.githubusercontent.com",
			SANGlob:             "https://github.com/acme/ci/.github/workflows/*.yml@*",
			SourceRepositoryURI: "https://github.com/acme/widget",
		},
		{Issuer: "not-a-url", SAN: "alice@example.com"},
	}}
	tr := c.translate(n)
	if len(tr.files) != 1 || len(tr.cannot) != 1 {
		t.Fatalf("%d files, %d refusals", len(tr.files), len(tr.cannot))
	}
	for _, want := range []string{
		`caller    = ".github/workflows/release.yml"`, `signer-ref = "refs/tags/v4"`,
		`workflow  = "https://github.com/acme/ci/.github/workflows/build.yml"`,
	} {
		if !strings.Contains(tr.files[0].text, want) {
			t.Errorf("no %s in\n%s", want, tr.files[0].text)
		}
	}
	id, _ := tc.identity()
	if ok, why := c.identityVerdict(tr, tc); !ok {
		t.Errorf("refused: %s", why)
	}
	id.SourceRepositoryURI = "https://github.com/acme/other"
	tc.Certificate.FulcioExtensions["1.3.6.1.4.1.57264.1.12"] = struct{ Value string }{id.SourceRepositoryURI}
	if ok, _ := c.identityVerdict(tr, tc); ok {
		t.Error("another repository is accepted")
	}
}

// TestTranslateLeavesOut lists what the language does not express, and whose
// verdict that concerns.
func TestTranslateLeavesOut(t *testing.T) {
	const gha = "https://token.actions.githubusercontent.com"
	san := "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1"
	c := &corpus{}
	for _, r := range []struct {
		name   string
		r      releaser
		files  int
		cannot int
	}{
		{"pattern of the ref", releaser{Issuer: gha, SANGlob: strings.TrimSuffix(san, "1") + "*"}, 1, 0},
		{
			"a trigger that can never release", releaser{Issuer: gha, SAN: san, Triggers: []string{"push", "pull_request"}}, 1,
			1,
		},
		{"only such triggers", releaser{Issuer: gha, SAN: san, Triggers: []string{"pull_request"}}, 0, 2},
		{"a pattern of people", releaser{Issuer: "https://accounts.google.com", SANGlob: "*@example.com"}, 0, 1},
		{
			"a person's trigger",
			releaser{Issuer: "https://accounts.google.com", SAN: "a@example.com", Triggers: []string{"push"}}, 0, 1,
		},
		{"a person", releaser{Issuer: "https://accounts.google.com", SAN: "a@example.com"}, 1, 0},
		{"an unknown version", releaser{Issuer: "https://accounts.google.com", SAN: "a@example.com", Versions: "1.*"}, 0, 1},
	} {
		tr := c.translate(&neutral{ID: "n", Releasers: []releaser{r.r}})
		if len(tr.files) != r.files || len(tr.cannot) != r.cannot {
			t.Errorf("%s: %d files, %d left out: %+v", r.name, len(tr.files), len(tr.cannot), tr.cannot)
		}
	}

	tr := c.translate(
		&neutral{ID: "n", Releasers: []releaser{{Issuer: gha, SAN: san, Triggers: []string{"push", "pull_request"}}}},
	)
	id := policy.Identity{Kind: policy.KindURI, Value: san, Issuer: gha, BuildTrigger: "pull_request"}
	if tr.excuse(id) == "" {
		t.Error("the trigger that cannot be named concerns nobody")
	}
	id.BuildTrigger = "push"
	if why := tr.excuse(id); why != "" {
		t.Errorf("another trigger is excused, too: %s", why)
	}
}
