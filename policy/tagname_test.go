// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

const packageRule = `[[release]]
name = "svelte"
tags = ["svelte@*"]
tag-prefix = "svelte@"
refs = ["refs/heads/main", "refs/tags/*"]
artifacts = ["pkg:npm/svelte@*"]
workflow = ".github/workflows/release.yml"
environment = "release"
`

// packaged returns what evidence of a package claims that a run for a ref made.
func packaged(ref string, tags ...string) Claims {
	return Claims{Signer: workflowIdentity(ref), Tags: tags, TagSource: spelling.PackageURL}
}

func askPackage() Request {
	return Request{Names: []string{"pkg:npm/svelte@5.1.0"}, Now: signed.AddDate(0, 1, 0)}
}

// TestVersion: only a version beside which nothing else names a tag is prefixed, whatever the
// source is said to be.
func TestVersion(t *testing.T) {
	p := mustPin(t, packageRule, Ids{})
	for name, c := range map[string]struct {
		change func(*Claims)
		want   Reason
	}{
		"a version":                      {func(*Claims) {}, Allowed},
		"of another source":              {func(c *Claims) { c.TagSource = "tag object" }, RuleMismatch},
		"of no source":                   {func(c *Claims) { c.TagSource = "" }, RuleMismatch},
		"beside a predicate":             {func(c *Claims) { c.GitHubRelease = &GitHubRelease{Tag: "5.1.0"} }, RuleMismatch},
		"beside a predicate without tag": {func(c *Claims) { c.GitHubRelease = &GitHubRelease{} }, Allowed},
		"beside a ref":                   {func(c *Claims) { c.Signer = workflowIdentity("refs/tags/5.1.0") }, RuleMismatch},
		"beside a bad ref":               {func(c *Claims) { c.Signer = workflowIdentity("refs/tags/a..b") }, RuleMismatch},
		"beside an old ref": {func(c *Claims) {
			c.Signer = Identity{
				Kind: KindURI, Value: c.Signer.Value, Issuer: githubIssuer, WorkflowRepository: "acme/widget",
				WorkflowRef: "refs/tags/5.1.0", WorkflowTrigger: "push",
			}
		}, RuleMismatch},
		"no version":       {func(c *Claims) { c.Tags = nil }, RuleMismatch},
		"an empty version": {func(c *Claims) { c.Tags = []string{""} }, RuleMismatch},
	} {
		claims := packaged("refs/heads/main", "5.1.0", "v5.1.0")
		c.change(&claims)
		if d := p.Decide(askPackage(), claims.Verified(proven)); d.Reason != c.want {
			t.Errorf("%s: %s %+v", name, d.Reason, d.Rules)
		}
	}
}

// FuzzTagPrefix compares a policy that has a tag-prefix with the same policy without it. Of
// evidence that names a tag itself they say the same. A version counts as if the evidence had
// named tag-prefix and version instead, and nothing, if that is no tag.
func FuzzTagPrefix(f *testing.F) {
	f.Add("svelte@", "5.1.0", "svelte@*", uint8(0))
	f.Add("svelte@", "svelte@5.1.0", "svelte@*", uint8(1))
	f.Add("svelte@", "{1", "svelte@*", uint8(2))
	f.Add("v", "5.1.0", "semver", uint8(3))
	f.Add("a/", "b/1", "a/*", uint8(4))
	f.Add("a", "1", "any", uint8(5))
	f.Add("", "", "", uint8(6))
	f.Fuzz(func(t *testing.T, prefix, version, tags string, how uint8) {
		p, q := withAndWithout(t, prefix, tags)
		if p == nil || !spelling.ValidTag(version) {
			return
		}
		req := askPackage()
		req.Tag = []string{"", version, prefix + version, "v" + version}[how/8%4]
		c := packaged("refs/heads/main", version, "v"+version)
		as := c
		switch how % 8 {
		case 0, 1, 2:
			c.TagSource = []string{"certificate", "release predicate", "tag object"}[how%8]
			as = c
		case 3:
			c = claim(workflowIdentity("refs/tags/" + version))
			as = c
		case 4:
			c = packaged("refs/tags/"+version, version)
			as = c
		default:
			if as.Tags = nil; spelling.ValidTag(prefix + version) {
				as.Tags = []string{prefix + version}
			}
		}
		got, want := p.Decide(req, c.Verified(proven)), q.Decide(req, as.Verified(proven))
		if got.Reason != want.Reason || got.Permitted && got.Tag != want.Tag {
			t.Fatalf("%s %q, want %s %q", got.Reason, got.Tag, want.Reason, want.Tag)
		}
		if _, final := p.Precheck(req, c); final == got.Permitted {
			t.Fatalf("refused early %v, decided %s", final, got.Reason)
		}
	})
}

// withAndWithout returns a policy with that tag-prefix, and the same without one; nil if they
// are none.
func withAndWithout(t *testing.T, prefix, tags string) (with, without *Trusted) {
	t.Helper()
	words := fmt.Sprintf("tags = [%q]", tags)
	if tags == "any" || tags == "semver" {
		words = fmt.Sprintf("tags = %q", tags)
	}
	parse := func(line string) *Trusted {
		text := strings.Replace(packageRule, "tag-prefix = \"svelte@\"\n", line, 1)
		doc, err := Parse([]byte(decideHead + strings.Replace(text, `tags = ["svelte@*"]`, words, 1)))
		if err != nil {
			return nil
		}
		return doc.Pin(Ids{})
	}
	with, without = parse(fmt.Sprintf("tag-prefix = %q\n", prefix)), parse("")
	if with == nil || without == nil {
		return nil, nil
	}
	if !spelling.ValidTag(prefix+"0") || strings.ContainsAny(prefix, "* ") {
		t.Fatalf("%q begins no tag", prefix)
	}
	return with, without
}

// TestTagOfADenial: a denial that approvals would cure names the tag that they would be for.
func TestTagOfADenial(t *testing.T) {
	wants := "approvals = { threshold = 1, from = \"maintainers\" }\n"
	other := strings.Replace(packageRule, `environment = "release"`, `environment = "svelte"`, 1)
	kit := strings.ReplaceAll(packageRule, "svelte", "kit")
	plain := strings.Replace(kit, "tag-prefix = \"kit@\"\n", "", 1)
	plain = strings.Replace(plain, `["kit@*"]`, `"semver"`, 1)
	for _, c := range []struct{ text, asked, want string }{
		{kit + wants + other, "", "kit@5.1.0"},
		{other + kit + wants, "", "kit@5.1.0"},
		{other + kit + wants, "kit@5.1.0", "kit@5.1.0"},
		{other + plain + wants, "", "5.1.0"},
		{other + plain + wants, "v5.1.0", "v5.1.0"},
	} {
		req := askPackage()
		req.Names, req.Tag = []string{"pkg:npm/kit@5.1.0"}, c.asked
		ev := packaged("refs/heads/main", "5.1.0", "v5.1.0").Verified(proven)
		d := mustPin(t, c.text, Ids{}).Decide(req, ev)
		near, _ := d.Nearest()
		if len(near.Mismatches) != 1 || near.Mismatches[0].Code() != "approvals-missing" || d.Tag != c.want {
			t.Errorf("%q: %s %q %+v", c.asked, d.Reason, d.Tag, near)
		}
	}
}

// TestYankedAcrossVersions: a yank reaches a release when a tag-prefix came or went since.
func TestYankedAcrossVersions(t *testing.T) {
	plain := strings.Replace(packageRule, "tag-prefix = \"svelte@\"\n", "", 1)
	plain = strings.Replace(plain, `["svelte@*"]`, `"semver"`, 1)
	yanks := func(tag string) string { return "[[yanked]]\ntag = \"" + tag + "\"\n" }
	for _, c := range []struct {
		name     string
		versions []string
		judges   int
		yanked   bool
	}{
		{"nothing is yanked", []string{plain, packageRule}, 0, false},
		{"nothing is yanked of the new one", []string{plain, packageRule}, 1, false},
		{"by its new name, judged by the old rule", []string{plain, packageRule + yanks("svelte@5.1.0")}, 0, true},
		{"by its old name, judged by the new rule", []string{plain + yanks("v5.1.0"), packageRule}, 1, true},
		{"by a version that is over", []string{plain, packageRule + yanks("svelte@5.1.0"), plain}, 2, true},
		{"before it had the name", []string{plain + yanks("svelte@5.1.0"), packageRule}, 1, true},
		{"before it had the name, by the old rule", []string{plain + yanks("svelte@5.1.0"), packageRule}, 0, false},
		{"another version", []string{plain, packageRule + yanks("svelte@5.1.1")}, 0, false},
		{"another package", []string{
			plain, packageRule + strings.ReplaceAll(packageRule, "svelte", "kit") + yanks("kit@5.1.0"),
		}, 0, false},
		{"restored", []string{
			plain, packageRule + yanks("svelte@5.1.0"), packageRule + "[[restored]]\ntag = \"svelte@5.1.0\"\n",
		}, 1, false},
	} {
		var docs []*Document
		for _, text := range c.versions {
			docs = append(docs, mustParse(t, text))
		}
		last := len(docs) - 1
		p := docs[last].Bound(Ids{}, GenesisFirst, docs[:last]).Earlier(docs[c.judges], Ids{})
		d := p.Decide(askPackage(), packaged("refs/heads/main", "5.1.0", "v5.1.0").Verified(proven))
		if (d.Reason == YankedRelease) != c.yanked || d.Permitted == c.yanked {
			t.Errorf("%s: %s", c.name, d.Reason)
		}
	}
}

// TestAuthorizePrefixed: a run for a branch is authorised for the tag that its evidence will
// count as, and shows that one.
func TestAuthorizePrefixed(t *testing.T) {
	p := bound(t, packageRule)
	for _, c := range []struct {
		ref, asked string
		tags       []string
		source     string
		want       Reason
		tag        string
	}{
		{"refs/heads/main", "", []string{"5.1.0", "v5.1.0"}, spelling.PackageURL, Allowed, "svelte@5.1.0"},
		{"refs/heads/main", "svelte@5.1.0", []string{"5.1.0", "v5.1.0"}, spelling.PackageURL, Allowed, "svelte@5.1.0"},
		{"refs/heads/main", "5.1.0", []string{"5.1.0", "v5.1.0"}, spelling.PackageURL, TagMismatch, ""},
		{"refs/heads/main", "", []string{"5.1.0"}, "release predicate", RuleMismatch, "5.1.0"},
		{"refs/tags/5.1.0", "", []string{"5.1.0"}, "certificate", RuleMismatch, "5.1.0"},
		{"refs/tags/svelte@5.1.0", "", []string{"svelte@5.1.0"}, "certificate", Allowed, "svelte@5.1.0"},
	} {
		req := askPackage()
		req.Tag = c.asked
		run := facts.Verified(workflowIdentity(c.ref))
		d := p.Authorize(run, StageSign, req, c.tags, c.source)
		shown := ""
		for _, row := range d.Compared {
			if row.Field == "tag" {
				shown = row.Got
			}
		}
		if d.Reason != c.want || d.Tag != c.tag || shown != c.tag {
			t.Errorf("%+v: %s %q, shown %q", c, d.Reason, d.Tag, shown)
		}
	}
}

// TestLintTags: what can never match, and what only looks so.
func TestLintTags(t *testing.T) {
	plain := strings.Replace(packageRule, "tag-prefix = \"svelte@\"\n", "", 1)
	branch := strings.Replace(plain, `, "refs/tags/*"`, "", 1)
	kit := strings.Replace(packageRule, `"svelte"`, `"kit"`, 1)
	people := `[[release]]
name = "people"
tags = ["svelte@*"]
tag-prefix = "svelte@"
artifacts = ["pkg:npm/svelte@*"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`
	in := func(text, from, to string) string { return strings.Replace(text, from, to, 1) }
	refs := "refs = [\"refs/heads/main\", \"refs/tags/*\"]\n"
	unset := "tag-prefix = \"svelte@\"\n"
	events := func(list string) string { return in(plain, "environment", "triggers = ["+list+"]\nenvironment") }
	for _, c := range []struct{ want, text, path string }{
		{"", packageRule, ""},
		{"", people, ""},
		{"", in(packageRule, `"svelte@*"]`, `"svelte@5.*", "other@*"]`), ""},
		{"", in(packageRule, `"svelte@*"]`, `"*.0"]`), ""},
		{"", in(in(packageRule, `["svelte@*"]`, `"semver"`), `"svelte@"`, `"v"`), ""},
		{"lint-tag-prefix", in(packageRule, `["svelte@*"]`, `"semver"`), "release[0].tag-prefix"},
		{"lint-tag-prefix", in(packageRule, `"svelte@"`, `"kit@"`), "release[0].tag-prefix"},
		{"lint-tag-prefix", in(packageRule, `["svelte@*"]`, `["svelte@"]`), "release[0].tag-prefix"},
		{"lint-tag-prefix", in(packageRule, `"svelte@"`, `"a/svelte@"`), "release[0].tag-prefix"},
		{"lint-tag-prefix", in(packageRule, refs, ""), "release[0].tag-prefix"},
		{"lint-tag-prefix", in(packageRule, `"refs/heads/main", `, ""), "release[0].tag-prefix"},
		{"", plain, ""},
		{"lint-tag-never", branch, "release[0].tags"},
		{"lint-tag-never", in(branch, "svelte@*", "svelte-v*"), "release[0].tags"},
		{"lint-tag-never", in(in(branch, "pkg:npm/svelte@*", "widget_*"), "svelte@*", "a/v*"), "release[0].tags"},
		{"", in(in(branch, "pkg:npm/svelte@*", "pkg:oci/*"), "svelte@*", "RELEASE.*"), ""},
		{"", in(branch, "svelte@*", "v*"), ""},
		{"", in(branch, "svelte@*", "*.0"), ""},
		{"", in(branch, `"svelte@*"`, `"svelte@*", "5.*"`), ""},
		{"", in(branch, `["svelte@*"]`, `"semver"`), ""},
		{"lint-overlap", packageRule + kit, "release[1].tags"},
		{"lint-overlap", packageRule + in(in(kit, `["svelte@*"]`, `["kit@5.*"]`), `"svelte@"`, `"kit@"`), "release[1].tags"},
		{"lint-overlap", packageRule + in(in(kit, `["svelte@*"]`, `["v5.*"]`), unset, ""), "release[1].tags"},
		{"", in(packageRule, "svelte@*", "svelte@5.*") +
			in(in(kit, `["svelte@*"]`, `["v6.*"]`), unset, ""), ""},
		{"", packageRule + strings.ReplaceAll(packageRule, "svelte", "kit"), ""},
		{"", packageRule + in(in(kit, `["svelte@*"]`, `["v*"]`), unset+refs, ""), ""},
		{"lint-tag-never", in(plain, "tags = [\"svelte@*\"]", "tags = [\"refs/tags/v*\"]"), "release[0].tags[0]"},
		{"lint-tag-never", in(plain, "tags = [\"svelte@*\"]", "tags = [\"svelte@*\", \"semver\"]"), "release[0].tags[1]"},
		{"lint-tag-never", in(plain, "tags = [\"svelte@*\"]", "tags = [\"any\"]"), "release[0].tags[0]"},
		{"lint-trigger-ref", in(events(`"schedule"`), refs, ""), "release[0].triggers[0]"},
		{"lint-trigger-ref", in(events(`"workflow_dispatch"`), refs, ""), "release[0].triggers[0]"},
		{"", events(`"workflow_dispatch"`), ""},
		{"", in(events(`"push", "workflow_dispatch"`), refs, ""), ""},
		{"lint-trigger-ref", in(events(`"push", "repository_dispatch"`), refs, ""), "release[0].triggers[1]"},
		{"", events(`"repository_dispatch"`), ""},
	} {
		var got []string
		for _, p := range mustParse(t, c.text).Lint(signed) {
			if strings.HasPrefix(string(p.Reason), "lint-t") && p.Reason != "lint-threshold" ||
				p.Reason == "lint-overlap" {
				got = append(got, string(p.Reason)+" "+p.Path)
			}
		}
		var want []string
		if c.want != "" {
			want = []string{c.want + " " + c.path}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q, of\n%s", got, want, c.text)
		}
	}
}

// TestEventsSayWhy: an event that never releases is answered by what to do instead, in a
// policy and in a verdict.
func TestEventsSayWhy(t *testing.T) {
	rule := func(event string) string { return decideRule + "triggers = [\"" + event + "\"]\n" }
	for event, want := range map[string]string{
		"workflow_run": "workflow_call", "pull_request": "after the merge", "pull_request_target": "after the merge",
		"workflow_call": "caller", "issues": "",
	} {
		_, err := Parse([]byte(decideHead + rule(event)))
		pe, ok := err.(*ParseError)
		if !ok || len(pe.Problems) != 1 || !strings.Contains(pe.Problems[0].Hint, want) || pe.Problems[0].Hint == "" {
			t.Errorf("%s: %+v", event, err)
		}
		id := workflowIdentity("refs/tags/v1")
		id.BuildTrigger = event
		d := mustPin(t, decideRule, Ids{}).Decide(ask(), claim(id).Verified(proven))
		near, _ := d.Nearest()
		if len(near.Mismatches) != 1 || near.Mismatches[0].Code() != "trigger-forbidden" ||
			!strings.Contains(near.Mismatches[0].Hint, want) {
			t.Errorf("%s: %+v", event, near)
		}
	}
	bare := strings.Replace(rule(repositoryDispatch), "environment = \"release\"\n", "", 1)
	if _, err := Parse([]byte(decideHead + bare)); err == nil || !strings.Contains(err.Error(), "environment only") {
		t.Errorf("without an environment: %v", err)
	}
	// A rule that no parser gives.
	p := mustPin(t, rule(repositoryDispatch), Ids{})
	p.file.Rules[0].Workflow.Environment = ""
	id := workflowIdentity("refs/tags/v1")
	id.BuildTrigger = repositoryDispatch
	if d := p.Decide(ask(), claim(id).Verified(proven)); d.Permitted {
		t.Error("repository_dispatch without an environment")
	}
}

// FuzzPatternAfter: what follows a prefix in a name that a pattern matches is matched by one
// of the patterns that remain, and nothing else is.
func FuzzPatternAfter(f *testing.F) {
	f.Add("svelte@*", "svelte@", "5.1.0")
	f.Add("a*b*", "ab", "xb")
	f.Add("*.0", "a.0", ".0")
	f.Add("a/*", "a", "/1")
	f.Add("v*", "", "v1")
	f.Fuzz(func(t *testing.T, pattern, prefix, rest string) {
		p, err := ParsePattern(pattern)
		if err != nil || rest == "" {
			return
		}
		left := PatternSet{list: p.after(prefix)}
		if got, want := left.Match(rest), p.Match(prefix+rest); got != want {
			t.Fatalf("%q after %q leaves %q: %q %v, want %v", pattern, prefix, left, rest, got, want)
		}
	})
}

// TestGuideOfRules: the rules in the guide for who writes a policy are a policy, and none of
// them can never match.
func TestGuideOfRules(t *testing.T) {
	text, err := os.ReadFile("../docs/release-engineer.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```toml\n")
	rules, _, _ := strings.Cut(rest, "```\n")
	if !ok || !strings.Contains(rules, "tag-prefix") {
		t.Fatal("the guide shows no rules")
	}
	for _, p := range mustParse(t, rules).Lint(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)) {
		if p.Reason == "lint-tag-prefix" || p.Reason == "lint-tag-never" || p.Reason == "lint-trigger-ref" {
			t.Error(p)
		}
	}
}
