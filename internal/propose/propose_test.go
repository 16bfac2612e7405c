// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/policy"
)

var (
	widget = locator("https://github.com/acme/widget")
	lab    = locator("https://gitlab.com/acme/widget")
)

func locator(s string) policy.Locator {
	l, err := policy.ParseLocator(s)
	if err != nil {
		panic(err)
	}
	return l
}

func answers(repo policy.Locator) Answers {
	return Answers{
		Repository: repo, Expires: time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC),
		Member: Member{"alice", "alice@example.com", "https://accounts.google.com"},
	}
}

// tree is a clone in memory.
type tree map[string]string

func (t tree) Read(name string, _ int64) ([]byte, error) {
	if text, ok := t[name]; ok {
		return []byte(text), nil
	}
	return nil, nil
}

func (t tree) Names(dir string) (out []string) {
	for name := range t {
		for at := name; at != "."; at = path.Dir(at) {
			if base := path.Base(at); path.Dir(at) == dir && !slices.Contains(out, base) {
				out = append(out, base)
			}
		}
	}
	slices.Sort(out)
	return out
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

// short writes a rule in one line.
func short(r *Rule) string {
	out := []string{strings.TrimPrefix(r.Workflow, ".github/workflows/")}
	add := func(name string, values ...string) {
		if s := strings.Join(values, " "); s != "" {
			out = append(out, name+": "+s)
		}
	}
	add("by", strings.TrimPrefix(r.Caller, ".github/workflows/"))
	add("at", r.SignerRef+r.SignerDigest)
	add("in", r.Environment)
	add("on", r.Triggers...)
	add("runner", r.Runner)
	add("refs", r.Refs...)
	add("prefix", r.TagPrefix)
	add("tags", r.Tags...)
	add("names", r.Artifacts...)
	if r.Overlaps {
		add("overlaps", "yes")
	}
	return strings.Join(out, "; ")
}

// kase is a project and what is proposed for it, as a file of testdata: lines before the files
// of the clone say what is known and what is wanted.
type kase struct {
	repo policy.Locator
	tags []string
	tree tree
	o    Options
	want []string // rules, in short
	says string   // of the findings
	mute string   // what no finding says
}

// keys are what lines of a case say.
var keys = map[string]func(c *kase, value string){
	"repository":    func(c *kase, v string) { c.repo = locator(v) },
	"tags":          func(c *kase, v string) { c.tags = strings.Fields(v) },
	"--workflow":    func(c *kase, v string) { c.o.Workflow = v },
	"--environment": func(c *kase, v string) { c.o.Environment = v },
	"--tags":        func(c *kase, v string) { c.o.Tags = strings.Fields(v) },
	"--artifacts":   func(c *kase, v string) { c.o.Artifacts = strings.Fields(v) },
	"rule":          func(c *kase, v string) { c.want = append(c.want, v) },
	"says":          func(c *kase, v string) { c.says = v },
	"mute":          func(c *kase, v string) { c.mute = v },
}

// read reads a case:
//
//	repository, tags                               of the project
//	--workflow, --environment, --tags, --artifacts answers
//	rule, and indented lines                       a rule, in short
//	says, mute                                     what findings say, and do not
func read(t testing.TB, file string) *kase {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &kase{repo: widget, tree: tree{}}
	for _, f := range archive.Files {
		c.tree[f.Name] = string(f.Data)
	}
	for line := range strings.Lines(string(archive.Comment)) {
		line = strings.TrimSuffix(line, "\n")
		if more, ok := strings.CutPrefix(line, "  "); ok {
			c.want[len(c.want)-1] += "; " + more
			continue
		}
		key, value, _ := strings.Cut(line, ": ")
		set, ok := keys[key]
		if !ok && !strings.HasPrefix(line, "#") {
			t.Fatalf("%s: %q", file, line)
		}
		if ok {
			set(c, value)
		}
	}
	return c
}

// TestProjects: what is proposed for the projects of testdata.
func TestProjects(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(files) < 90 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		c := read(t, file)
		got := From(Project{Repository: c.repo, Default: "main", Tags: c.tags, Files: c.tree}, c.o)
		var rules []string
		for i := range got.Rules {
			rules = append(rules, short(&got.Rules[i]))
		}
		if d := cmp.Diff(c.want, rules); d != "" {
			t.Errorf("%s: %s", file, d)
		}
		var said strings.Builder
		for _, f := range got.Findings {
			said.WriteString(f.String() + "\n")
		}
		if !strings.Contains(said.String(), c.says) || c.mute != "" && strings.Contains(said.String(), c.mute) {
			t.Errorf("%s: %s", file, said.String())
		}
		if len(got.Rules) > 0 && len(parsed(t, got, answers(c.repo)).Rules) != len(c.want) {
			t.Errorf("%s: the text has other rules", file)
		}
	}
}

// TestStage: the jobs that bind are in a stage that there is.
func TestStage(t *testing.T) {
	for config, want := range map[string]string{
		"": "test", "stages: [build, ship]\n": "ship", "stages: [test, ship]\n": "test", "stages: ['a b']\n": "test",
	} {
		if got := Stage([]byte(config)); got != want {
			t.Errorf("%q: %s", config, got)
		}
	}
}

// TestRemote: an address that would be a guess is asked.
func TestRemote(t *testing.T) {
	const here = "https://github.com/acme/widget"
	for _, c := range []struct {
		remotes           string // name=url, …
		address, question string
		answer            string
	}{
		{"origin=" + here, here, "", ""},
		{"origin=git@github.com:acme/widget.git other=https://github.com/x/y", "git@github.com:acme/widget.git", "", ""},
		{"origin=https://git.example.com/acme/widget", "https://git.example.com/acme/widget", "", ""},
		{"", "", "no remote origin", here},
		{"fork=" + here, "", "but fork", here},
		{"origin=https://github.com/me/widget upstream=" + here, "", "upstream is " + here, here},
		{"origin=" + here + " upstream=git@github.com:acme/widget.git", here, "", ""},
		{"origin=git@github.com-work:acme/widget.git", "", "is at github.com-work", here},
		{"origin=git@work:acme/widget.git", "", "is at work", here},
		{"origin=https://www.github.com/acme/widget", "", "is at www.github.com", here},
		{"origin=ssh://git@ssh.github.com:443/acme/widget.git", "", "is at ssh.github.com", here},
		{"origin=git@ssh.dev.azure.com:v3/acme/a/b", "", "is at ssh.dev.azure.com", "https://dev.azure.com/v3/acme/a/b"},
	} {
		remotes := map[string]string{}
		for _, r := range strings.Fields(c.remotes) {
			name, url, _ := strings.Cut(r, "=")
			remotes[name] = url
		}
		address, question, answer := Remote(remotes)
		if address != c.address || !strings.Contains(question, c.question) || (question == "") != (c.question == "") ||
			answer != c.answer {
			t.Errorf("%s: %q %q %q", c.remotes, address, question, answer)
		}
	}
}

func TestSuggestions(t *testing.T) {
	bundle := func(at string) []byte {
		return []byte(`{"verificationMaterial":{"tlogEntries":[{"integratedTime":"` + at + `"}]}}`)
	}
	c := read(t, "testdata/suggestions.txt")
	p := From(Project{
		Repository: widget, Default: "main", Files: c.tree,
		Bundles: map[string][]byte{
			"new": bundle("1700000000"), "old": bundle("1690000000"), "none": bundle("0"),
			"bad": bundle("x"), "no": []byte("{"), "far": bundle("999999999999999"),
		},
	}, Options{})
	a := answers(widget)
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

// TestLimits: what calls itself in many ways ends soon, and is proposed as far as it was read.
func TestLimits(t *testing.T) {
	const head = "on: {push: {tags: ['v*']}, workflow_call: {}}\npermissions: {id-token: write}\njobs:\n"
	const publish = "  z: {runs-on: x, steps: [{run: npm publish}]}\n"
	calls, scripts := tree{}, tree{release: head + "  z: {steps: [{run: ./s0.sh}, {run: npm publish}]}\n"}
	for i := range 7 {
		var jobs strings.Builder
		for k := range 30 {
			fmt.Fprintf(&jobs, "  j%d: {uses: ./.github/workflows/c%d.yml}\n", k, i+1)
		}
		calls[fmt.Sprintf(".github/workflows/c%d.yml", i)] = head + jobs.String() + publish
		scripts[fmt.Sprintf("s%d.sh", i)] = strings.Repeat(fmt.Sprintf("./s%d.sh\n", i+1), 60)
	}
	var assigned strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&assigned, "A%d=$A%d$A%d-%d\n", i%200, (i+1)%200, (i+7)%200, i)
	}
	variables := tree{
		release:    head + "  z: {steps: [{run: make x}, {run: npm publish}]}\n",
		"Makefile": "x:\n" + strings.Repeat("\tB=$(A1) ./s.sh\n", 60),
		"s.sh":     assigned.String() + strings.Repeat("B=$A1 ./s.sh\nmake x\n", 60),
	}
	for what, files := range map[string]tree{"calls": calls, "scripts": scripts, "variables": variables} {
		begin := time.Now()
		got := From(Project{Repository: widget, Default: "main", Tags: []string{"v1.0.0"}, Files: files}, Options{})
		if took := time.Since(begin); len(got.Rules) == 0 || took > 20*time.Second {
			t.Errorf("%s: %d rules after %s", what, len(got.Rules), took)
		}
	}
}

// FuzzFrom: whatever a project holds, the proposal is a valid policy, or has an
// answer of the file system in it that no policy can express.
func FuzzFrom(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		c := read(f, file)
		f.Add(
			c.tree[release],
			c.tree["package.json"],
			c.tree[".goreleaser.yaml"],
			c.tree[binding.GitLabConfig],
			strings.Join(c.tags, " "),
		)
	}
	f.Add("on: push\njobs: {a: {uses: a/b/.github/workflows/c.yml@v1, permissions: write-all}}\n", "", "", "", "a/1")
	f.Add(
		"on: {push: {branches: ['*']}}\njobs: {a: {if: '!(a.b[1] == 1 || contains(fromJSON(''[1]''), 2))', steps: []}}\n",
		"[",
		"a: {{ if",
		"rules: []",
		"1.0",
	)
	f.Fuzz(func(t *testing.T, text, packageJSON, goreleaser, gitlab, tags string) {
		for _, repo := range []policy.Locator{widget, lab} {
			p := From(Project{Repository: repo, Default: "main", Tags: strings.Fields(tags), Files: tree{
				release: text, "package.json": packageJSON, ".goreleaser.yml": goreleaser,
				binding.GitLabConfig: gitlab, "Makefile": text, "a.sh": gitlab,
			}}, Options{})
			if len(p.Rules) == 0 {
				continue
			}
			doc, err := policy.Parse([]byte(p.Policy(answers(repo))))
			if err != nil {
				continue // said to the user, who is asked for flags
			}
			c := doc.Content()
			if len(c.Maintainers.Members) != 1 || c.Recovery != 0 || c.Repository != repo ||
				len(c.Rules) != len(p.Rules) {
				t.Fatalf("another policy than proposed:\n%s", p.Policy(answers(repo)))
			}
		}
	})
}
