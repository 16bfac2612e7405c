// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

const sampleConfig = `format = "repopolicy-trust/v1"

[[root]]
name    = "acme"
url     = "https://tuf.acme.example/"
initial = "acme.root.json"

[[root]]
name    = "foundation"
url     = "oci:registry.example.org/trust:latest"
initial = "/etc/foundation.root.json"
sha256  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[[scope]]
repositories = ["https://github.com/acme/*"]
roots        = ["public-good", "acme"]
threshold    = 2

[[scope]]
repositories = ["https://git.acme.example/**"]
roots        = ["acme"]

[[scope]]
repositories = ["https://gitlab.com/acme/**"]
roots        = ["foundation"]
continue     = true

[[anchor]]
repositories = ["https://github.com/acme/widget"]
root         = "acme"

[[anchor]]
repositories = ["https://github.com/acme/*", "https://git.example/**"]
root         = "foundation"
`

func TestScopes(t *testing.T) {
	c, err := ParseConfig([]byte(sampleConfig))
	if err != nil {
		t.Fatal(err)
	}
	public := Scope{Roots: []string{"public-good"}, Threshold: 1}
	for repo, want := range map[string][]Scope{
		"https://github.com/acme/widget":          {c.Scopes[0]},
		"https://github.com/acme2/widget":         {public},
		"https://git.acme.example/widget":         {c.Scopes[1]},
		"https://git.acme.example/a/b/c":          {c.Scopes[1]},
		"https://git.acme.example.com/a":          {public},
		"https://gitlab.com/acme/group/widget":    {c.Scopes[2], public},
		"https://gitlab.com/other/acme/widget":    {public},
		"https://git.acme.example/a/deep/b/c/d":   {c.Scopes[1]},
		"https://codeberg.org/acme/widget":        {public},
		"https://git.acme.example:8443/acme/repo": {public},
	} {
		if diff := cmp.Diff(want, c.For(locator(t, repo))); diff != "" {
			t.Errorf("%s: %s", repo, diff)
		}
	}
	var none *Config
	if diff := cmp.Diff([]Scope{public}, none.For(locator(t, "https://github.com/acme/widget"))); diff != "" {
		t.Errorf("without a configuration: %s", diff)
	}
}

func TestSpeaksFor(t *testing.T) {
	c, err := ParseConfig([]byte(sampleConfig))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		root, repo string
		want       bool
	}{
		{"acme", "https://github.com/acme/widget", true},
		{"acme", "https://github.com/other/widget", false},
		{"acme", "https://gitlab.com/acme/widget", false},
		{"foundation", "https://gitlab.com/acme/widget", true},
		{"public-good", "https://gitlab.com/acme/widget", true},
		{"public-good", "https://github.com/other/widget", true},
		{"foundation", "https://github.com/acme/widget", false},
		{"foundation", "https://git.example.org/x", true},
		{"acme", "https://git.acme.example/x", true},
	} {
		if got := c.SpeaksFor(row.root, locator(t, row.repo)); got != row.want {
			t.Errorf("%s for %s: %v", row.root, row.repo, got)
		}
	}
}

func TestPatterns(t *testing.T) {
	for pattern, want := range map[string]bool{
		"https://github.com/**": true, "https://github.com/*/*": true, "https://github.com/acme/**": true,
		"https://github.com/*":   false,
		"https://git.example/**": true, "https://git.example/*": true, "https://git.example": false, "https://**": false,
		"**": false, "": false,
		"https://git.example/a/**/b": false, "https://git.example/**/**": false, "https://git.example/a*": false,
		"https://GitHub.com/**": false,
	} {
		if err := checkPattern(pattern); (err == nil) != want {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for name, row := range map[string]struct{ old, new, want string }{
		"format":               {"trust/v1", "trust/v2", "is not"},
		"unknown key":          {"continue     = true", "terminating = true", "unknown key"},
		"name twice":           {`name    = "foundation"`, `name    = "acme"`, "stands twice"},
		"the public name":      {`name    = "acme"`, `name    = "public-good"`, "stands twice"},
		"upper case":           {`name    = "acme"`, `name    = "Acme"`, "lower-case"},
		"no url":               {`url     = "https://tuf.acme.example/"`, "", "url is missing"},
		"no initial":           {`initial = "acme.root.json"`, "", "initial is missing"},
		"digest":               {"e3b0", "xyz0", "sha256"},
		"unknown root":         {`roots        = ["foundation"]`, `roots = ["nobody"]`, "not listed"},
		"root twice":           {`["public-good", "acme"]`, `["acme", "acme"]`, "stands twice"},
		"threshold too large":  {"threshold    = 2", "threshold = 3", "threshold 3 of 2"},
		"threshold missing":    {"threshold    = 2", "", "threshold 0 of 2"},
		"threshold negative":   {"threshold    = 2", "threshold = -1", "threshold -1"},
		"no roots":             {`roots        = ["foundation"]`, "roots = []", "roots is missing"},
		"no repositories":      {`["https://gitlab.com/acme/**"]`, "[]", "0 repositories"},
		"any host":             {"https://gitlab.com/acme/**", "https://*/acme/**", "literal"},
		"part of a host":       {"https://gitlab.com/acme/**", "https://*.com/acme", "literal"},
		"part of a segment":    {"https://gitlab.com/acme/**", "https://gitlab.com/acme*/x", "whole segment"},
		"stars in the middle":  {"https://gitlab.com/acme/**", "https://gitlab.com/**/x", "whole segment"},
		"not canonical":        {"https://gitlab.com/acme/**", "https://GitLab.com/acme/x", "canonical"},
		"another scheme":       {"https://gitlab.com/acme/**", "http://gitlab.com/acme/x", "canonical"},
		"a type that is wrong": {"threshold    = 2", `threshold = "2"`, ":"},
		"two spellings":        {"threshold    = 2", "threshold = 2\nThreshold = 1", "unknown key scope.Threshold"},
		"a digest, shouted":    {"sha256  =", "SHA256  =", "unknown key root.SHA256"},
		"tables, shouted":      {"[[anchor]]", "[[Anchor]]", "unknown key Anchor"},
		"anchored by nobody":   {`root         = "foundation"`, `root = "nobody"`, `"nobody" is not listed`},
		"anchored by no root":  {`root         = "foundation"`, "", "is not listed"},
		"anchors nothing":      {`["https://github.com/acme/widget"]`, "[]", "0 repositories"},
		"anchors every host":   {"https://git.example/**", "https://*/**", "literal"},
		"no TOML":              {"[[scope]]", "[[scope]", ":"},
	} {
		text := strings.Replace(sampleConfig, row.old, row.new, 1)
		if text == sampleConfig {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
	if _, err := ParseConfig(make([]byte, MaxConfigBytes+1)); err == nil {
		t.Error("a configuration beyond the limit")
	}
}

// TestIdentitiesRefused: whom a root certifies must not hang on that root.
func TestIdentitiesRefused(t *testing.T) {
	const start = "format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"a\"\nurl = \"x\"\ninitial = \"y\"\n"
	const second = "[[root]]\nname = \"b\"\nurl = \"x\"\ninitial = \"y\"\n"
	for text, ok := range map[string]bool{
		start + "identities = \"public-good\"\n":                                   true,
		start + "identities = \"b\"\n" + second:                                    true,
		start + "identities = \"b\"\n" + second + "identities = \"public-good\"\n": false,
		start + "identities = \"b\"\n":                                             false,
		start + "identities = \"a\"\n":                                             false,
		start + "identities = \"b\"\n" + second + "identities = \"a\"\n":           false,
	} {
		if _, err := ParseConfig([]byte(text)); (err == nil) != ok ||
			err != nil && !strings.Contains(err.Error(), "identities") {
			t.Errorf("%s%v", text, err)
		}
	}
}

// TestConfigLimits: the most of each kind is read, and one more is refused for that.
func TestConfigLimits(t *testing.T) {
	root := func(n int) string {
		return fmt.Sprintf("[[root]]\nname = \"r%d\"\nurl = \"x\"\ninitial = \"y\"\n", n)
	}
	scope := func(int) string {
		return "[[scope]]\nrepositories = [\"https://git.example/a\"]\nroots = [\"public-good\"]\n"
	}
	anchor := func(int) string {
		return "[[anchor]]\nrepositories = [\"https://git.example/a\"]\nroot = \"public-good\"\n"
	}
	patterns := func(n int) string {
		return "[[anchor]]\nrepositories = [" + strings.Repeat("\"https://git.example/a\",", n) +
			"]\nroot = \"public-good\"\n"
	}
	for name, c := range map[string]struct {
		text func(n int) string
		most int
		once bool
	}{
		"roots": {root, maxRoots, false}, "scopes": {scope, maxScopes, false}, "anchors": {anchor, maxSupers, false},
		"patterns": {patterns, maxPatterns, true},
		"a name":   {func(n int) string { return strings.Replace(root(0), "r0", strings.Repeat("r", n), 1) }, 64, true},
		"bytes": {
			func(n int) string { return strings.Repeat("#", n-len("format = \"repopolicy-trust/v1\"\n")) }, MaxConfigBytes, true,
		},
	} {
		for n, ok := range map[int]bool{c.most: true, c.most + 1: false} {
			text := "format = \"repopolicy-trust/v1\"\n"
			if c.once {
				text += c.text(n)
			}
			for i := 0; i < n && !c.once; i++ {
				text += c.text(i)
			}
			got, err := ParseConfig([]byte(text))
			if (err == nil) != ok {
				t.Errorf("%s: %d: %v", name, n, err)
			}
			if name == "roots" && ok {
				if r, found := got.Root("r7"); !found || r.Name != "r7" {
					t.Errorf("%+v %v", r, found)
				}
				if r, found := got.Root("nobody"); found {
					t.Errorf("%+v", r)
				}
			}
		}
	}
	if r, found := (*Config)(nil).Root("nobody"); found {
		t.Errorf("%+v", r)
	}
}

// TestSuperOf: the first that matches anchors a repository.
func TestSuperOf(t *testing.T) {
	c, err := ParseConfig([]byte(sampleConfig))
	check(t, err)
	for repo, want := range map[string]string{
		"https://github.com/acme/widget": "acme", "https://github.com/acme/gadget": "foundation",
		"https://git.example/a/b":         "foundation",
		"https://github.com/other/widget": "", "https://git.example.com/a": "", "https://gitlab.com/acme/widget": "",
	} {
		if got := c.SuperOf(locator(t, repo)); got != want {
			t.Errorf("%s: %q, want %q", repo, got, want)
		}
	}
	if got := (*Config)(nil).SuperOf(locator(t, "https://github.com/acme/widget")); got != "" {
		t.Errorf("without a configuration: %q", got)
	}
}

// FuzzConfig: what is read names only roots that are listed, has thresholds that can be met and
// must be, and says of any repository who judges it.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(sampleConfig))
	f.Add([]byte("format = \"repopolicy-trust/v1\"\n"))
	f.Add([]byte("format = \"repopolicy-trust/v1\"\n[[Scope]]\nROOTS = [\"public-good\"]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		known := map[string]bool{string(PublicGood): true}
		for _, r := range c.Roots {
			if known[r.Name] || r.URL == "" || r.Initial == "" {
				t.Errorf("root %+v", r)
			}
			known[r.Name] = true
		}
		for _, repo := range []string{"https://github.com/acme/widget", "https://git.example/a"} {
			l := locator(t, repo)
			scopes := c.For(l)
			for i, s := range scopes {
				if s.Threshold < 1 || s.Threshold > len(s.Roots) || s.Continue != (i < len(scopes)-1) {
					t.Errorf("%s: %+v", repo, scopes)
				}
				for _, r := range s.Roots {
					if !known[r] {
						t.Errorf("%s: the root %q", repo, r)
					}
				}
			}
			if by := c.SuperOf(l); by != "" && !known[by] {
				t.Errorf("%s: anchored by %q", repo, by)
			}
		}
	})
}

// FuzzScope compares patterns with a matcher that goes through the text character
// by character.
func FuzzScope(f *testing.F) {
	f.Add("https://github.com/acme/*", "https://github.com/acme/widget")
	f.Add("https://gitlab.com/a/**", "https://gitlab.com/a/b/c")
	f.Add("https://gitlab.com/**", "https://gitlab.com/a")
	f.Fuzz(func(t *testing.T, pattern, repo string) {
		l, err := policy.ParseLocator(repo)
		if err != nil || checkPattern(pattern) != nil {
			return
		}
		if got, want := matches(pattern, l), naive(pattern, repo); got != want {
			t.Errorf("%q for %q: %v, naively %v", pattern, repo, got, want)
		}
	})
}

func naive(p, s string) bool {
	switch {
	case strings.HasPrefix(p, "**"):
		return s != "" && !strings.HasPrefix(s, "/")
	case strings.HasPrefix(p, "*"):
		for i := 0; i < len(s) && s[i] != '/'; i++ {
			if naive(p[1:], s[i+1:]) {
				return true
			}
		}
		return false
	case p == "" || s == "":
		return p == s
	}
	return p[0] == s[0] && naive(p[1:], s[1:])
}

func ExampleConfig_For() {
	c, err := ParseConfig([]byte(sampleConfig))
	if err != nil {
		panic(err)
	}
	repo, err := policy.NormalizeLocator("acme/widget")
	if err != nil {
		panic(err)
	}
	s := c.For(repo)[0]
	fmt.Println(s.Threshold, "of", s.Roots)
	// Output: 2 of [public-good acme]
}
