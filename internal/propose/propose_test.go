// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/policy"
)

var widget = locator("https://github.com/acme/widget")

func locator(s string) policy.Locator {
	l, err := policy.ParseLocator(s)
	if err != nil {
		panic(err)
	}
	return l
}

func answers() Answers {
	return Answers{Repository: widget, Expires: time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC), Member: Member{"alice", "alice@example.com", "https://accounts.google.com"}}
}

// parsed returns the policy that a proposal amounts to.
func parsed(t testing.TB, p *Proposal, a Answers) *policy.File {
	t.Helper()
	text := p.Policy(a)
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return doc.Content()
}

const release = ".github/workflows/release.yml"

func TestRules(t *testing.T) {
	const signing = "permissions: {id-token: write}\n"
	steps := func(s string) string {
		return "jobs:\n  a:\n" + s + "    runs-on: ubuntu-latest\n    steps: [{run: make}]\n"
	}
	for _, c := range []struct {
		what, text string
		more       map[string]string
		o          Options
		want       []Rule // without name and artifacts
		says       string
	}{
		{what: "tags", text: "on: {push: {tags: ['v*']}}\n" + signing + steps(""), want: []Rule{{Workflow: release, Triggers: []string{"push"}}}},
		{what: "events as a list", text: "on: [release, workflow_dispatch, pull_request, schedule]\n" + signing + steps(""), want: []Rule{{Workflow: release, Triggers: []string{"release", "workflow_dispatch"}}}},
		{what: "one event", text: "on: push\n" + signing + steps(""), want: []Rule{{Workflow: release, Triggers: []string{"push"}}}},
		{what: "an environment", text: "on: push\n" + steps("    permissions: {id-token: write, contents: read}\n    environment: release\n"), want: []Rule{{Workflow: release, Triggers: []string{"push"}, Environment: "release"}}},
		{what: "an environment with a URL", text: "on: push\npermissions: write-all\n" + steps("    environment: {name: pypi, url: https://pypi.org}\n"), want: []Rule{{Workflow: release, Triggers: []string{"push"}, Environment: "pypi"}}},
		{what: "a computed environment", text: "on: push\n" + signing + steps("    environment: ${{ inputs.where }}\n"), says: "its environment is computed"},
		{what: "a computed environment, answered", text: "on: push\n" + signing + steps("    environment: ${{ inputs.where }}\n"), o: Options{Environment: "prod", Workflow: release}, want: []Rule{{Workflow: release, Triggers: []string{"push"}, Environment: "prod"}}},
		{what: "no ID token", text: "on: push\n" + steps(""), says: "no workflow with id-token: write"},
		{what: "a job that gives it up", text: "on: push\n" + signing + steps("    permissions: {contents: read}\n"), says: "no workflow with id-token: write"},
		{what: "pull requests only", text: "on: pull_request\n" + signing + steps(""), says: "none of its events can release a tag"},
		{what: "branches only", text: "on: {push: {branches: [main, next]}}\n" + signing + steps(""), want: []Rule{{Workflow: release, Triggers: []string{"push"}, Branches: []string{"refs/heads/main", "refs/heads/next"}}}},
		{what: "branches by a pattern", text: "on: {push: {branches: ['release/**']}}\n" + signing + steps(""), says: "none of its events can release a tag"},
		{
			what: "branches beside tags", text: "on: {push: {tags: ['*']}}\n" + signing + steps(""),
			more: map[string]string{".github/workflows/scorecard.yml": "on: {push: {branches: [main]}}\n" + signing + steps("")},
			want: []Rule{{Workflow: release, Triggers: []string{"push"}}}, says: "scorecard.yml with id-token: write → no rule",
		},
		{
			what: "a reusable workflow at a tag", text: "on: push\n" + signing + "jobs:\n  a:\n    uses: acme/ci/.github/workflows/build.yml@v4\n",
			want: []Rule{{Workflow: "https://github.com/acme/ci/.github/workflows/build.yml", Caller: release, SignerRef: "refs/tags/v4", Triggers: []string{"push"}}},
		},
		{
			what: "a reusable workflow at a branch", text: "on: push\n" + signing + "jobs:\n  a:\n    uses: acme/ci/.github/workflows/build.yml@main\n",
			want: []Rule{{Workflow: "https://github.com/acme/ci/.github/workflows/build.yml", Caller: release, SignerRef: "refs/heads/main", Triggers: []string{"push"}}},
		},
		{
			what: "a reusable workflow at a commit", text: "on: push\n" + signing + "jobs:\n  a:\n    uses: acme/ci/.github/workflows/build.yml@11bd71901bbe5b1630ceea73d27597364c9af683\n",
			want: []Rule{{Workflow: "https://github.com/acme/ci/.github/workflows/build.yml", Caller: release, SignerDigest: "11bd71901bbe5b1630ceea73d27597364c9af683", Triggers: []string{"push"}}},
		},
		{what: "a reusable workflow at nothing", text: "on: push\n" + signing + "jobs:\n  a:\n    uses: acme/ci/.github/workflows/build.yml\n", says: "is not owner/name"},
		{
			what: "a reusable workflow of this repository", text: "on: push\n" + signing + "jobs:\n  a:\n    uses: ./.github/workflows/build.yml\n",
			more: map[string]string{".github/workflows/build.yml": "on: workflow_call\n" + signing + steps("    environment: release\n")},
			want: []Rule{{Workflow: ".github/workflows/build.yml", Caller: release, Environment: "release", Triggers: []string{"push"}}},
		},
		{what: "two jobs alike", text: "on: push\n" + signing + "jobs:\n  a: {runs-on: x, steps: []}\n  b: {runs-on: x, steps: []}\n", want: []Rule{{Workflow: release, Triggers: []string{"push"}}}},
		{
			what: "two environments", text: "on: push\n" + signing + "jobs:\n  a: {environment: one, steps: []}\n  b: {environment: two, steps: []}\n",
			want: []Rule{{Workflow: release, Triggers: []string{"push"}, Environment: "one"}, {Workflow: release, Triggers: []string{"push"}, Environment: "two"}},
		},
		{what: "named", text: "on: {push: {branches: [main]}}\n" + steps(""), o: Options{Workflow: ".github/workflows/other.yml"}, want: []Rule{{Workflow: ".github/workflows/other.yml"}}, says: "--workflow"},
		{what: "not YAML", text: "on: [", says: "no workflow with id-token: write"},
		{what: "not a workflow", text: "- a\n", says: "no workflow with id-token: write"},
		{what: "the binding workflow", text: "x: y\n", more: map[string]string{binding.Workflow: "on: push\n" + signing + steps("")}, says: "no workflow with id-token: write"},
	} {
		p := Project{Repository: widget, Workflows: map[string][]byte{release: []byte(c.text)}}
		for path, text := range c.more {
			p.Workflows[path] = []byte(text)
		}
		got := From(p, c.o)
		var said strings.Builder
		for _, f := range got.Findings {
			said.WriteString(f.Found + " → " + f.Proposes + "\n")
		}
		if !strings.Contains(said.String(), c.says) {
			t.Errorf("%s: %s", c.what, said.String())
		}
		rules := parsed(t, got, answers()).Rules
		if len(rules) != len(c.want) {
			t.Errorf("%s: %d rules", c.what, len(rules))
		}
		var bare []Rule
		for _, r := range got.Rules {
			r.Name, r.Artifacts = "", nil
			bare = append(bare, r)
		}
		if d := cmp.Diff(c.want, bare); d != "" {
			t.Errorf("%s: %s", c.what, d)
		}
	}
}

func TestTags(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  []string
	}{
		{nil, []string{"v*"}},
		{[]string{"nightly"}, []string{"v*"}},
		{[]string{"v1.0.0", "v1.1", "latest"}, []string{"v*"}},
		{[]string{"1.0.0", "1.1.0"}, []string{"semver"}},
		{[]string{"1.0.0", "v1.1.0"}, []string{"semver"}},
		{[]string{"widget-1.0", "widget-2.0", "v1"}, []string{"widget-*"}},
		{[]string{"widget/v1.0", "widget/v2.0"}, []string{"widget/v*"}},
		{[]string{"{1", "{2"}, []string{"v*"}},
	} {
		p := From(Project{Repository: widget, Tags: c.names}, Options{})
		if d := cmp.Diff(c.want, p.Tags); d != "" {
			t.Errorf("%v: %s", c.names, d)
		}
	}
	if p := From(Project{Tags: []string{"1"}}, Options{Tags: []string{"x*"}}); p.Tags[0] != "x*" {
		t.Error(p.Tags)
	}
}

func TestSuggestions(t *testing.T) {
	bundle := func(at string) []byte {
		return []byte(`{"verificationMaterial":{"tlogEntries":[{"integratedTime":"` + at + `"}]}}`)
	}
	p := From(Project{
		Repository: widget, Workflows: map[string][]byte{release: []byte("on: push\npermissions: write-all\njobs: {a: {steps: [{run: npm publish --provenance}]}}\n")},
		Bundles:  map[string][]byte{"new": bundle("1700000000"), "old": bundle("1690000000"), "none": bundle("0"), "bad": bundle("x"), "no": []byte("{"), "far": bundle("999999999999999")},
		Owners:   []byte("* @bob carol@example.com # @mallory\n/docs @acme/writers\nalone\n/x @e\x1b[31m\n"),
		Insights: []byte("project: {administrators: [{name: Dan, email: dan@example.com}, {email: carol@example.com}]}\nrepository: {core-team: [{email: \"e\\nvil = 1\"}]}\n"),
		Package:  []byte(`{"name":"@acme/widget"}`),
	}, Options{})
	a := answers()
	a.Recovery = "90d"
	f := parsed(t, p, a)
	if got := f.Rules[0].Artifacts.String(); !strings.Contains(got, "pkg:npm/%40acme/widget@*") {
		t.Error(got)
	}
	if want := time.Date(2023, 7, 22, 0, 0, 0, 0, time.UTC); !f.Rules[0].Since.Equal(want) {
		t.Error(f.Rules[0].Since)
	}
	if d := cmp.Diff([]string{"@bob", "carol@example.com", "@acme/writers", "dan@example.com"}, p.People); d != "" {
		t.Error(d)
	}
	if f.Recovery != 90*24*time.Hour || f.Maintainers.Members[0].Name != "alice" {
		t.Errorf("%+v", f.Maintainers)
	}
	if f = parsed(t, p, Answers{Repository: widget, Expires: a.Expires}); !f.Maintainers.Repository {
		t.Errorf("%+v", f.Maintainers)
	}
}

// FuzzFrom: whatever a project holds, the proposal is a valid policy, or has an
// answer of the file system in it that no policy can express.
func FuzzFrom(f *testing.F) {
	f.Add([]byte("on: push\npermissions: write-all\njobs: {a: {environment: release, steps: [{run: npm publish}]}}\n"), []byte("* @bob\n"), []byte("project: {administrators: [{email: a@b}]}"), []byte(`{"name":"x"}`), "v1")
	f.Add([]byte("on: push\npermissions: write-all\njobs: {a: {uses: a/b/.github/workflows/c.yml@v1}}\n"), []byte(""), []byte(""), []byte(""), "a/1")
	f.Fuzz(func(t *testing.T, workflow, owners, insights, npm []byte, tag string) {
		p := From(Project{Repository: widget, Workflows: map[string][]byte{release: workflow}, Owners: owners, Insights: insights, Package: npm, Tags: []string{tag}}, Options{})
		doc, err := policy.Parse([]byte(p.Policy(answers())))
		if err != nil {
			return // said to the user, who is asked for flags
		}
		c := doc.Content()
		if len(c.Maintainers.Members) != 1 || c.Recovery != 0 || c.Repository != widget || len(c.Rules) != len(p.Rules) {
			t.Fatalf("another policy than proposed:\n%s", p.Policy(answers()))
		}
	})
}
