// SPDX-License-Identifier: Apache-2.0

package house

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// foreign are the actions of others that our workflows run, each at one commit.
var foreign = []string{"actions/checkout", "actions/setup-go", "actions/upload-artifact", "actions/download-artifact"}

// flaws lists what a workflow of ours, or one that we write for others, must not
// have: names that can move, more rights than a job needs, and texts of strangers
// in scripts.
func flaws(name string, src []byte) []string {
	var out []string
	flaw := func(pos *actionlint.Pos, format string, args ...any) {
		at := name
		if pos != nil {
			at = fmt.Sprintf("%s:%d", name, pos.Line)
		}
		out = append(out, at+": "+fmt.Sprintf(format, args...))
	}
	w, errs := actionlint.Parse(src)
	for _, err := range errs {
		out = append(out, fmt.Sprintf("%s:%d: %s", name, err.Line, err.Message))
	}
	if w == nil || len(errs) > 0 {
		return out
	}
	if w.Permissions == nil || w.Permissions.All != nil || len(w.Permissions.Scopes) > 0 {
		flaw(nil, "permissions of the file are not {}")
	}
	for _, on := range w.On {
		switch on.EventName() {
		case "pull_request_target",
			"issue_comment",
			"issues",
			"workflow_run",
			"discussion",
			"discussion_comment",
			"fork",
			"watch":
			flaw(nil, "strangers can start it by %s", on.EventName())
		}
	}
	lines := strings.Split(string(src), "\n")
	for id, job := range w.Jobs {
		if job.WorkflowCall != nil {
			pinned(job.WorkflowCall.Uses, lines, flaw)
			continue
		}
		scope := func(name string) string {
			if job.Permissions == nil || job.Permissions.Scopes[name] == nil {
				return ""
			}
			return job.Permissions.Scopes[name].Value.Value
		}
		switch {
		case job.Permissions == nil || job.Permissions.All != nil:
			flaw(job.Pos, "job %s does not say its permissions", id)
		case scope("id-token") == "write" && scope("contents") == "write":
			flaw(job.Pos, "job %s both signs and writes", id)
		}
		if job.TimeoutMinutes == nil {
			flaw(job.Pos, "job %s has no timeout", id)
		}
		for _, step := range job.Steps {
			switch e := step.Exec.(type) {
			case *actionlint.ExecRun:
				if e.Run.ContainsExpression() {
					flaw(e.Run.Pos, "job %s: an expression inside a script is run", id)
				}
			case *actionlint.ExecAction:
				pinned(e.Uses, lines, flaw)
				action, _, _ := strings.Cut(e.Uses.Value, "@")
				if action == "actions/cache" || action == "actions/setup-go" && scope("id-token") == "write" {
					flaw(e.Uses.Pos, "job %s takes from a cache that other runs fill", id)
				}
				if action != "actions/checkout" {
					continue
				}
				switch keeps := e.Inputs["persist-credentials"]; {
				case keeps == nil:
					flaw(e.Uses.Pos, "job %s: the checkout does not say persist-credentials", id)
				case keeps.Value.Value == "true" && scope("id-token") == "write":
					flaw(e.Uses.Pos, "job %s signs and keeps credentials", id)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// pinned demands a commit, with its version beside it for people.
func pinned(uses *actionlint.String, lines []string, flaw func(*actionlint.Pos, string, ...any)) {
	name, ref, _ := strings.Cut(uses.Value, "@")
	if commit, err := hex.DecodeString(ref); err != nil || len(commit) != 20 {
		flaw(uses.Pos, "%s is not pinned to a commit", name)
		return
	}
	if _, comment, ok := strings.Cut(lines[uses.Pos.Line-1], "# "); !ok || !strings.Contains(comment, "v") {
		flaw(uses.Pos, "%s: the line does not say the version", name)
	}
	if !slices.Contains(foreign, name) && !strings.HasPrefix(name, "repopolicy/repopolicy") {
		flaw(uses.Pos, "%s is an action nobody looked at", name)
	}
}

func workflowFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	return files
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// template is the bind workflow as init writes it.
func template(t *testing.T) []byte {
	t.Helper()
	src := read(t, "internal/propose/binding/repopolicy.yml")
	for old, text := range map[string]string{
		"<BRANCH>": "main", "<REPOSITORY>": "acme/widget", "<PROGRAM>": "example.com/x@v1", "<PUBLISH>": "",
	} {
		src = bytes.ReplaceAll(src, []byte(old), []byte(text))
	}
	return src
}

func TestWorkflows(t *testing.T) {
	for _, file := range workflowFiles(t) {
		for _, f := range flaws(file, read(t, file)) {
			t.Error(f)
		}
	}
	for _, f := range flaws("init", template(t)) {
		t.Error(f)
	}
	page := string(read(t, "docs/ci.md"))
	for _, label := range []string{"consumer", "release", "caller"} {
		_, rest, ok := strings.Cut(page, "\n```yaml "+label+"\n")
		block, _, _ := strings.Cut(rest, "\n```\n")
		if !ok {
			t.Errorf("docs/ci.md has no %s", label)
		}
		for _, f := range flaws("docs/ci.md: "+label, []byte(block+"\n")) {
			t.Error(f)
		}
	}
}

// TestFlaws proves that each flaw is seen.
func TestFlaws(t *testing.T) {
	const commit = "11bd71901bbe5b1630ceea73d27597364c9af683"
	good := `on: push
permissions: {}
jobs:
  a:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions: {id-token: write}
    steps:
      - uses: actions/checkout@` + commit + ` # v4.2.2
        with: {persist-credentials: false}
      - run: echo "$X"
        env: {X: '${{ github.ref }}'}
`
	for _, row := range []struct{ old, text, want string }{
		{"", "", ""},
		{"permissions: {}\n", "", "are not {}"},
		{"permissions: {}\n", "permissions: read-all\n", "are not {}"},
		{"permissions: {}\n", "permissions: {contents: read}\n", "are not {}"},
		{"on: push", "on: [push, pull_request_target]", "strangers can start it"},
		{"on: push", "on: issue_comment", "strangers can start it"},
		{"    permissions: {id-token: write}\n", "", "does not say its permissions"},
		{"    permissions: {id-token: write}\n", "    permissions: write-all\n", "does not say its permissions"},
		{"id-token: write", "id-token: write, contents: write", "both signs and writes"},
		{"    timeout-minutes: 5\n", "", "no timeout"},
		{"\"$X\"", "${{ github.ref }}", "inside a script"},
		{"@" + commit, "@v4", "not pinned"},
		{"@" + commit, "@" + commit[:39], "not pinned"},
		{" # v4.2.2", "", "does not say the version"},
		{
			"actions/checkout@" + commit + " # v4.2.2\n        with: {persist-credentials: false}",
			"acme/thing@" + commit + " # v1", "nobody looked at",
		},
		{
			"actions/checkout@" + commit + " # v4.2.2\n        with: {persist-credentials: false}",
			"actions/setup-go@" + commit + " # v5", "a cache",
		},
		{"\n        with: {persist-credentials: false}", "", "does not say persist-credentials"},
		{"persist-credentials: false", "persist-credentials: true", "signs and keeps credentials"},
		{"jobs:\n", "jobs:\n  b: {uses: 'acme/ci/.github/workflows/x.yml@v1'}\n", "not pinned"},
		{"runs-on", "runs_on", "runs_on"},
	} {
		if !strings.Contains(good, row.old) {
			t.Fatalf("%q is not in the workflow", row.old)
		}
		got := strings.Join(flaws("w", []byte(strings.Replace(good, row.old, row.text, 1))), "\n")
		if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
			t.Errorf("%q for %q: %q, want %q", row.text, row.old, got, row.want)
		}
	}
}

// TestReleaseWorkflow looks at the shape of the release: what the jobs may and
// after which others they run.
func TestReleaseWorkflow(t *testing.T) {
	w, errs := actionlint.Parse(read(t, ".github/workflows/release.yml"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	type job struct{ needs, permissions, environment string }
	got := map[string]job{}
	for id, j := range w.Jobs {
		var p, n []string
		for name, s := range j.Permissions.Scopes {
			p = append(p, name+": "+s.Value.Value)
		}
		for _, need := range j.Needs {
			n = append(n, need.Value)
		}
		slices.Sort(p)
		env := ""
		if j.Environment != nil {
			env = j.Environment.Name.Value
		}
		got[id] = job{strings.Join(n, ", "), strings.Join(p, ", "), env}
		if p := j.Permissions.Scopes["id-token"]; p != nil {
			for _, s := range j.Steps {
				// No program of the repository runs where a token can be had.
				if a, ok := s.Exec.(*actionlint.ExecAction); ok &&
					strings.HasPrefix(a.Uses.Value, "actions/checkout@") {
					t.Errorf("job %s has the repository's files beside a token", id)
				}
			}
		}
	}
	const signs, publishes = "${{ inputs.environment || 'release' }}", "${{ inputs.publish-environment || 'publish' }}"
	for id, want := range map[string]job{
		"build": {"", "contents: read", ""}, "sign": {"build", "id-token: write", signs},
		"draft":   {"sign", "contents: write", ""},
		"collect": {"draft", "contents: write", publishes}, "check": {"collect", "id-token: write", signs},
		"publish": {"check", "contents: write", ""},
	} {
		if got[id] != want {
			t.Errorf("%s: %+v, want %+v", id, got[id], want)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d jobs", len(got))
	}
	own, err := policy.Parse(read(t, ".repopolicy/policy.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if c := own.Content(); c.Repository.String() != "https://"+spelling.Name || len(c.Rules) != 1 ||
		c.Rules[0].Workflow.Path != ".github/workflows/release.yml" ||
		c.Rules[0].Workflow.Environment != "release" {
		t.Errorf("our own policy does not describe this workflow: %+v", c.Rules)
	}
}

// TestOwnPins demands that the commits by which our workflows name our own action
// are of this repository and have one.
func TestOwnPins(t *testing.T) {
	if out, err := exec.Command("git", "rev-parse", "--is-shallow-repository").Output(); err != nil ||
		strings.TrimSpace(string(out)) != "false" {
		t.Skip("the history is not here")
	}
	n := 0
	for _, file := range append(workflowFiles(t), "docs/ci.md") {
		for line := range strings.Lines(string(read(t, file))) {
			if _, ref, ok := strings.Cut(line, "uses: repopolicy/repopolicy"); ok {
				n++
				_, ref, _ = strings.Cut(ref, "@")
				commit, _, _ := strings.Cut(ref, " ")
				if err := exec.Command("git", "merge-base", "--is-ancestor", commit, "HEAD").Run(); err != nil {
					t.Errorf("%s: %s is not in this history: %v", file, commit, err)
				}
				if err := exec.Command("git", "cat-file", "-e", commit+":action.yml").Run(); err != nil {
					t.Errorf("%s: %s has no action.yml: %v", file, commit, err)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no workflow uses the action")
	}
}

// TestAction looks at what a linter of workflows does not read.
func TestAction(t *testing.T) {
	var m struct {
		Inputs, Outputs map[string]struct{ Description, Value string }
		Runs            struct {
			Using string
			Steps []struct {
				Run, Uses, Shell string
				Env              map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(read(t, "action.yml"), &m); err != nil {
		t.Fatal(err)
	}
	if m.Runs.Using != "composite" || len(m.Runs.Steps) == 0 {
		t.Fatalf("%+v", m.Runs)
	}
	used := map[string]bool{}
	for i, s := range m.Runs.Steps {
		if s.Uses != "" || strings.Contains(s.Run, "${{") || s.Shell != "bash" {
			t.Errorf("step %d: %+v", i+1, s)
		}
		for _, v := range s.Env {
			name, ok := strings.CutPrefix(v, "${{ inputs.")
			if ok {
				used[strings.TrimSuffix(name, " }}")] = true
			}
		}
	}
	for name, in := range m.Inputs {
		if !used[name] || in.Description == "" {
			t.Errorf("input %s is not handed over or not described", name)
		}
	}
	for name, o := range m.Outputs {
		if o.Value != "${{ steps.run.outputs."+name+" }}" || o.Description == "" {
			t.Errorf("output %s: %+v", name, o)
		}
	}
	for _, name := range []string{"authorized", "verdict", "policy-version", "policy-digest", "report-path"} {
		if _, ok := m.Outputs[name]; !ok {
			t.Errorf("no output %s", name)
		}
	}
	for line := range strings.Lines(string(read(t, "action/releases.txt"))) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 {
			t.Errorf("releases.txt: %q", line)
		} else if sum, err := hex.DecodeString(f[0]); err != nil || len(sum) != 32 {
			t.Errorf("releases.txt: %q", line)
		}
	}
}
