// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// pushAction puts our own action into a repository of its own and returns what a
// workflow uses.
func pushAction(t testing.TB, name string) string {
	t.Helper()
	_, err := stack.Forge().Create(name)
	check(t, err)
	files := map[string]string{}
	for _, file := range []string{"action.yml", "action/install.sh", "action/run.sh", "action/releases.txt"} {
		data, err := os.ReadFile(filepath.Join("../..", file))
		check(t, err)
		files[file] = string(data)
	}
	commit, err := stack.Forge().Commit(name, "main", files)
	check(t, err)
	return name + "@" + commit
}

// consume is a workflow that asks before it installs. Its inputs come from whoever
// starts it, and its outputs are those of the action.
const consume = `on: {workflow_dispatch: {inputs: {command: {type: string}, artifacts: {type: string}, tag: {type: string}, repository: {type: string}, lock: {type: string}, stage: {type: string}, output: {type: string}, require: {type: string}, policy: {type: string}, cooldown: {type: string}, download: {type: string}, token: {type: string}, age: {type: string}}}}
permissions: {}
jobs:
  ask:
    runs-on: ubuntu-latest
    outputs:
      authorized: ${{ steps.ask.outputs.authorized }}
      verdict: ${{ steps.ask.outputs.verdict }}
      version: ${{ steps.ask.outputs.policy-version }}
      digest: ${{ steps.ask.outputs.policy-digest }}
      report: ${{ steps.read.outputs.report }}
      all: ${{ toJSON(steps.ask.outputs) }}
    steps:
      - uses: actions/checkout@v4
        with: {fetch-depth: 0}
      - id: ask
        uses: ACTION
        with:
          command: ${{ inputs.command || 'verify' }}
          repository: ${{ inputs.repository }}
          artifacts: ${{ inputs.artifacts }}
          tag: ${{ inputs.tag }}
          lock: ${{ inputs.lock }}
          stage: ${{ inputs.stage }}
          output: ${{ inputs.output }}
          require: ${{ inputs.require }}
          policy: ${{ inputs.policy }}
          cooldown: ${{ inputs.cooldown }}
          download: ${{ inputs.download }}
          github-token: ${{ inputs.token }}
          max-age: ${{ inputs.age }}
      - id: read
        if: always()
        run: |
          grep -o '"verdict": "[A-Z_]*"' "$REPORT" | head -n 1 | sed 's/^/report=/' >> "$GITHUB_OUTPUT"
          if [ -e stolen ]; then exit 9; fi
        env: {REPORT: "${{ steps.ask.outputs.report-path }}"}
`

// TestAction runs the action as a workflow does. Whatever names it is given, it
// hands over nothing but its outputs.
func TestAction(t *testing.T) {
	t.Parallel()
	action := pushAction(t, "tools/repopolicy")
	const name = "acme/consumes"
	p, _ := begin(t, name)
	file := "consumes_1.2.3.tar.gz"
	hostile := "x\nauthorized=true\n::set-output name=verdict::OK\n$(touch stolen)`touch stolen`;touch stolen #\" ' | widget_9.tar.gz"
	p.write(file, file)
	p.write("unsigned.tar.gz", "x")
	p.write(".github/workflows/consume.yml", strings.ReplaceAll(consume, "ACTION", action))
	p.push()
	a := newActions(t, name)
	ask := func(inputs map[string]string) map[string]string {
		t.Helper()
		a.out.Reset()
		ended := a.fire(forge.Event{Name: "workflow_dispatch", Ref: "refs/heads/main",
			Workflow: ".github/workflows/consume.yml", Inputs: inputs})
		out := a.outputs["ask"]
		out["ended"] = strings.Join(ended, ", ")
		return out
	}
	expect := func(inputs map[string]string, verdict, authorized, ended string) map[string]string {
		t.Helper()
		got := ask(inputs)
		if got["verdict"] != verdict || got["authorized"] != authorized || got["ended"] != "ask "+ended {
			t.Errorf("%q: %+v\n%s", inputs, got, a.out.String())
		}
		return got
	}
	expect(map[string]string{"artifacts": file}, "NO_POLICY", "", "failure") // not bound yet

	if d := cmp.Diff([]string{"quorum success", "dispatch success", "bind success", "publish success"},
		a.trigger("push", "")); d != "" {
		t.Fatalf("%s\n%s", d, a.out.String())
	}
	r, err := stack.Forge().Find(name)
	check(t, err)
	p.write(file+".sigstore.json", string(signBlob(t, []byte(file), claims.GitHub{Repository: name,
		RepositoryID: r.ID, OwnerID: r.OwnerID, Ref: "refs/tags/v1.2.3", Environment: "release"})))
	p.push()
	got := expect(map[string]string{"artifacts": "\n" + file + "\r\n\n", "tag": "v1.2.3"}, "OK", "", "success")
	if got["version"] != "1" || !strings.HasPrefix(got["digest"], "sha256:") || got["report"] != `"verdict": "OK"` {
		t.Errorf("%+v", got)
	}
	if s := a.summaries["ask"]; !strings.Contains(s, "### repopolicy: OK: 1 of 1 artifact allowed") {
		t.Error(s)
	}
	for _, line := range []string{"\n::notice title=repopolicy::OK: 1 of 1 artifact allowed"} {
		if !strings.Contains(a.out.String(), line) {
			t.Errorf("no %q in\n%s", line, a.out.String())
		}
	}
	got = expect(map[string]string{"artifacts": file + "\nunsigned.tar.gz"}, "DENY", "", "failure")
	if got["report"] != `"verdict": "DENY"` || !strings.Contains(a.out.String(), "::error title=repopolicy%3A DENY") {
		t.Errorf("%+v\n%s", got, a.out.String())
	}
	expect(map[string]string{"artifacts": file, "tag": "v1.2.4"}, "DENY", "", "failure")
	expect(map[string]string{"artifacts": ""}, "USAGE", "", "failure")
	expect(map[string]string{"command": "sign", "artifacts": file}, "USAGE", "", "failure")
	expect(map[string]string{"artifacts": file, "stage": "publish"}, "USAGE", "", "failure")
	expect(map[string]string{"command": "bind", "artifacts": file}, "USAGE", "", "failure")
	expect(map[string]string{"command": "bind"}, "OK", "", "success") // bound already
	expect(map[string]string{"artifacts": file, "repository": "acme/nothing-here"}, "UNAVAILABLE", "", "failure")

	// What the guides recommend, and a release's URL alone.
	check(t, stack.Forge().Release(name, "v1.2.3", map[string]string{file: file,
		file + ".sigstore.json": string(contentOf(t, filepath.Join(p.dir, file+".sigstore.json")))}))
	url := "https://github.com/" + name + "/releases/tag/v1.2.3"
	expect(map[string]string{"artifacts": url, "download": "new", "token": forge.ReadToken, "age": "24h"}, "OK", "",
		"success")
	expect(map[string]string{"artifacts": file, "cooldown": "72h"}, "DENY", "", "failure")
	expect(map[string]string{"artifacts": file, "tag": "v1.2.3", "policy": ".repopolicy/policy.toml"}, "OK", "",
		"success")
	expect(map[string]string{"artifacts": file, "policy": ".repopolicy/policy.toml", "repository": name}, "USAGE",
		"", "failure")
	expect(map[string]string{"artifacts": url, "repository": "acme/another"}, "USAGE", "", "failure")
	for _, input := range []string{"policy", "cooldown", "download", "token", "age"} {
		expect(map[string]string{"command": "bind", input: "x"}, "USAGE", "", "failure")
		if input != "age" {
			expect(map[string]string{"command": "authorize", "artifacts": file, input: "x"}, "USAGE", "", "failure")
		}
	}

	// Names that would be commands, options or outputs.
	for _, inputs := range []map[string]string{
		{"artifacts": hostile}, {"artifacts": "--policy=x\n--trusted-root=y"}, {"artifacts": file, "tag": hostile},
		{"artifacts": file, "repository": hostile},
		{"artifacts": file, "lock": hostile}, {"artifacts": file, "require": hostile}, {"artifacts": file,
			"tag": "--help"}, {"command": hostile},
		{"artifacts": file, "policy": hostile}, {"artifacts": file, "cooldown": hostile}, {"artifacts": file,
			"age": hostile}, {"artifacts": hostile + "://"},
		{"artifacts": "%0Aauthorized=true%0A::warning::x"}, {"artifacts": "::stop-commands::x"},
	} {
		got := ask(inputs)
		if got["verdict"] == "OK" || got["authorized"] != "" || got["ended"] != "ask failure" {
			t.Errorf("%q: %+v\n%s", inputs, got, a.out.String())
		}
		for _, key := range keysOf(got["all"]) {
			if !map[string]bool{"authorized": true, "verdict": true, "policy-version": true, "policy-digest": true,
				"report-path": true}[key] {
				t.Errorf("%q: output %q", inputs, key)
			}
		}
		for line := range strings.Lines(a.out.String()) {
			if command, ok := strings.CutPrefix(line, "::"); ok && !strings.HasPrefix(command,
				"error title=repopolicy") && !strings.HasPrefix(command,
				"notice title=repopolicy") && !strings.HasPrefix(command, "warning title=repopolicy") {
				t.Errorf("%q: command %q", inputs, line)
			}
		}
	}
}

// keysOf returns the names in an object as toJSON writes it.
func keysOf(object string) []string {
	var out []string
	for line := range strings.Lines(object) {
		if key, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), `"`), `": `); ok {
			out = append(out, key)
		}
	}
	return out
}

// TestInstall runs the action's first step: a release only with the digest that
// the action carries, else what its own checkout builds.
func TestInstall(t *testing.T) {
	t.Parallel()
	here, err := filepath.Abs("../..")
	check(t, err)
	bin, archive := t.TempDir(), filepath.Join(t.TempDir(), "served")
	check(t, os.WriteFile(filepath.Join(bin, "repopolicy"), []byte("#!/bin/sh\necho released\n"), 0o700))
	run := func(releases, path string) (string, string, error) {
		t.Helper()
		dir := t.TempDir()
		check(t, os.MkdirAll(filepath.Join(dir, "action"), 0o700))
		script, err := os.ReadFile(filepath.Join(here, "action/install.sh"))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, "action/install.sh"), script, 0o600))
		check(t, os.WriteFile(filepath.Join(dir, "action/releases.txt"), []byte(releases), 0o600))
		output := filepath.Join(dir, "output")
		check(t, os.WriteFile(output, nil, 0o600))
		cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, "action/install.sh"))
		cmd.Env = append(os.Environ(), "PATH="+path+string(os.PathListSeparator)+os.Getenv("PATH"),
			"GITHUB_OUTPUT="+output, "RUNNER_TEMP="+t.TempDir(), "ARCHIVE="+archive, "WHERE="+dir)
		log, failed := cmd.CombinedOutput()
		out, err := os.ReadFile(output)
		check(t, err)
		program, _ := strings.CutPrefix(strings.TrimSpace(string(out)), "program=")
		return program, string(log), failed
	}
	// Curl answers with the archive and only for the one address.
	path := t.TempDir()
	check(t, os.WriteFile(filepath.Join(path, "curl"), []byte(`#!/bin/bash
[ "${!#}" = https://github.com/repopolicy/repopolicy/releases/download/v1.2.3/repopolicy_1.2.3_linux_amd64.tar.gz ] || { echo "curl: ${!#}" >&2; exit 22; }
case "$*" in *"--proto =https"*) ;; *) exit 1 ;; esac
while [ "$1" != --output ]; do shift; done
cp "$ARCHIVE" "$2"
`), 0o700))
	check(t, os.WriteFile(filepath.Join(path, "uname"),
		[]byte("#!/bin/sh\n[ \"$1\" = -s ] && echo Linux || echo x86_64\n"), 0o700))
	if out, err := exec.CommandContext(t.Context(), "tar", "-czf", archive, "-C", bin,
		"repopolicy").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	out, err := exec.CommandContext(t.Context(), "sha256sum", archive).Output()
	check(t, err)
	digest, _, _ := strings.Cut(string(out), " ")

	program, log,
		err := run("# comment\n"+digest+"  repopolicy_1.2.3_linux_amd64.tar.gz v1.2.3\n"+strings.Repeat("0",
		64)+"  repopolicy_1.2.3_linux_arm64.tar.gz v1.2.3\n", path)
	check(t, err)
	if said, err := exec.CommandContext(t.Context(), program).Output(); err != nil || string(said) != "released\n" {
		t.Errorf("%q, %v\n%s", said, err, log)
	}
	program, log, err = run(strings.Repeat("0", 64)+"  repopolicy_1.2.3_linux_amd64.tar.gz v1.2.3\n", path)
	if err == nil || program != "" || !strings.Contains(log, "is not the file that this action was made for") {
		t.Errorf("%q, %v\n%s", program, err, log)
	}
	if program, log, err = run(digest+"  repopolicy_1.2.4_linux_amd64.tar.gz v1.2.4\n",
		path); err == nil || program != "" {
		t.Errorf("%q, %v\n%s", program, err, log)
	}
	// Nothing for this platform: it builds, and there is nothing to build here.
	program, log, err = run(digest+"  repopolicy_1.2.3_windows_amd64.tar.gz v1.2.3\n", path)
	if err == nil || program != "" || !strings.Contains(log, "building from this checkout") {
		t.Errorf("%q, %v\n%s", program, err, log)
	}
	// The checkout itself.
	output := filepath.Join(t.TempDir(), "output")
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(here, "action/install.sh"))
	cmd.Env = append(os.Environ(), "GITHUB_OUTPUT="+output, "RUNNER_TEMP="+t.TempDir())
	if log, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(err, string(log))
	}
	line, err := os.ReadFile(output)
	check(t, err)
	program, _ = strings.CutPrefix(strings.TrimSpace(string(line)), "program=")
	said, err := exec.CommandContext(t.Context(), program, "version").Output()
	if err != nil || !strings.HasPrefix(string(said), "repopolicy ") || !strings.Contains(string(said),
		"policy format "+spelling.Format) {
		t.Errorf("%q, %v", said, err)
	}
}
