// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// acme is an introduction.
func acme(repositories ...string) *Introduction {
	return &Introduction{
		Name: "acme", Repositories: repositories, URL: "https://tuf.acme.example", Initial: []byte("{}\n"),
	}
}

// TestIntroductionVectors runs the vectors of schema/testdata/trust-root.
func TestIntroductionVectors(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../schema/trust-root-v1.json")
	check(t, err)
	vectors(t, "trust-root", 30, func(t *testing.T, header map[string]string, body string) {
		in, err := ParseIntroduction([]byte(body))
		if err == nil {
			err = in.below(header["target"])
		}
		if (err == nil) != (header["expect"] == "OK") {
			t.Fatal(err)
		}
		doc, bad := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if bad == nil {
			bad = schema.Validate(doc)
		}
		if err == nil && bad != nil {
			t.Error(bad)
		}
		if blind := header["schema"] == "blind"; err != nil && (bad == nil) != blind {
			t.Errorf("schema: blind is %v: %v: %v", blind, err, bad)
		}
		if err == nil && spelling.Sum(in.Initial) != header["sha256"] {
			t.Errorf("begins with %s", spelling.Sum(in.Initial))
		}
	})
}

// FuzzIntroduction: what is read is written as something that is read as the same, and
// stands at the place that is asked about everything that it matches.
func FuzzIntroduction(f *testing.F) {
	f.Add(acme(all, "https://git.acme.example:8443/a/*/c").Bytes(), widget)
	by := acme("https://git.acme.example/a/b")
	by.URL, by.ByIntroducer = "oci:registry.acme.example/trust:latest", true
	f.Add(by.Bytes(), "https://git.acme.example/a/b")
	f.Add([]byte(`{"schema":1}`), "https://github.com/acme/widget")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		in, err := ParseIntroduction(data)
		if err != nil {
			return
		}
		again, err := ParseIntroduction(in.Bytes())
		if err != nil || !again.Is(in) || !slices.Equal(again.Repositories, in.Repositories) {
			t.Fatalf("%+v became %+v: %v", in, again, err)
		}
		repo, err := policy.ParseLocator(text)
		for _, p := range in.Repositories {
			one := *in
			one.Repositories = []string{p}
			path := IntroductionTarget(p)
			if err := one.below(path); err != nil {
				t.Errorf("%s at its own place: %v", p, err)
			}
			if err := CheckTarget(path, one.Bytes(), time.Now(), nothing); err != nil {
				t.Errorf("%s: %v", p, err)
			}
			if err == nil && matches(p, repo) {
				if !slices.Contains(introductionTargets(repo), path) {
					t.Errorf("%s is not asked about %s, which %s matches", path, repo, p)
				}
				if slices.Contains(publicHosts, repo.Host()) {
					t.Errorf("%s matches %s", p, repo)
				}
			}
		}
	})
}

// TestIntroductionTarget: the place of an introduction says what all its repositories begin
// with.
func TestIntroductionTarget(t *testing.T) {
	for pattern, want := range map[string]string{
		"https://git.acme.example/**":          "git.acme.example",
		"https://git.acme.example/*/x":         "git.acme.example",
		group:                                  "git.acme.example/a",
		"https://git.acme.example/a/b/*":       "git.acme.example/a/b",
		"https://git.acme.example/a/b":         "git.acme.example/a/b",
		"https://git.acme.example:8443/a/b":    "git.acme.example_8443/a/b",
		"https://h.example/1/2/3/4/5/6/7/8/9":  "h.example/1/2/3/4/5/6/7",
		"https://h.example/1/2/3/4/5/6/7/8/**": "h.example/1/2/3/4/5/6/7",
	} {
		if got := IntroductionTarget(pattern); got != IntroductionsDir+want+".json" {
			t.Errorf("%s: %s", pattern, got)
		}
	}
	want := []string{"repopolicy/roots/git.acme.example_8443.json", "repopolicy/roots/git.acme.example_8443/a.json",
		"repopolicy/roots/git.acme.example_8443/a/b.json"}
	if diff := cmp.Diff(want, introductionTargets(locator(t, "https://git.acme.example:8443/a/b"))); diff != "" {
		t.Error(diff)
	}
	if got := introductionTargets(locator(t, "https://h.example/1/2/3/4/5/6/7/8/9")); len(got) != maxPrefix {
		t.Errorf("%d targets", len(got))
	}
}

// TestCovers: a scope is within another one only if every repository is; that it is not is
// shown by one.
func TestCovers(t *testing.T) {
	patterns := []string{
		"https://a.example/**", "https://a.example/*", "https://a.example/x", "https://a.example/x/**",
		"https://a.example/*/**", "https://a.example/*/y", "https://a.example/x/*", "https://a.example/x/y",
		"https://a.example/x/y/**", "https://b.example/**", "https://b.example/x",
	}
	var repos []policy.Locator
	for _, r := range []string{"x", "z", "x/y", "x/z", "z/y", "z/z", "x/y/q", "z/z/q"} {
		repos = append(repos, locator(t, "https://a.example/"+r), locator(t, "https://b.example/"+r))
	}
	for _, p := range patterns {
		for _, q := range patterns {
			within, meet := true, false
			for _, r := range repos {
				within = within && (!matches(q, r) || matches(p, r))
				meet = meet || matches(q, r) && matches(p, r)
			}
			if got := covers(p, q); got != within {
				t.Errorf("%s covers %s: %v", p, q, got)
			}
			if got := Overlap(p, q); got != meet || got != Overlap(q, p) {
				t.Errorf("%s and %s overlap: %v", p, q, got)
			}
		}
	}
}

// TestIntroductionPlaces: what stands where it may not is refused before it is published.
func TestIntroductionPlaces(t *testing.T) {
	for name, row := range map[string]struct {
		in   *Introduction
		path string
		ok   bool
	}{
		"a host":               {acme(all), "git.acme.example.json", true},
		"below it":             {acme(group, "https://git.acme.example/b/c"), "git.acme.example.json", true},
		"a group":              {acme(group), "git.acme.example/a.json", true},
		"more than the group":  {acme(all), "git.acme.example/a.json", false},
		"a star for the group": {acme("https://git.acme.example/*/x"), "git.acme.example/a.json", false},
		"another group":        {acme("https://git.acme.example/ab/**"), "git.acme.example/a.json", false},
		"one of two": {
			acme("https://git.acme.example/a/x", "https://git.acme.example/b/x"), "git.acme.example/a.json", false,
		},
		"another host":     {acme(all), "git.other.example.json", false},
		"another port":     {acme("https://git.acme.example:8443/**"), "git.acme.example.json", false},
		"a port":           {acme("https://git.acme.example:8443/**"), "git.acme.example_8443.json", true},
		"no host":          {acme(all), ".json", false},
		"no end":           {acme(all), "git.acme.example", false},
		"an end too many":  {acme(all), "git.acme.example.json.json", false},
		"somewhere deeper": {acme("https://git.acme.example/a"), "git.acme.example/a/b.json", false},
	} {
		if err := CheckTarget(IntroductionsDir+row.path, row.in.Bytes(), time.Now(), nothing); (err == nil) != row.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := acme(all)
	large.Initial = bytes.Repeat([]byte("x"), MaxIntroductionBytes)
	if _, err := ParseIntroduction(large.Bytes()); err == nil {
		t.Error("too large")
	}
}
