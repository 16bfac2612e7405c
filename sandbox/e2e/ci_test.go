// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// pasted returns the block of docs/ci.md that begins with ```LABEL.
func pasted(t *testing.T, label string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/ci.md")
	check(t, err)
	_, rest, ok := strings.Cut(string(page), "\n```"+label+"\n")
	block, _, end := strings.Cut(rest, "\n```\n")
	if !ok || !end {
		t.Fatalf("docs/ci.md has no block %q", label)
	}
	return block + "\n"
}

// at replaces the commit by which a block names this project.
func at(block, was, now string) string {
	parts := strings.Split(block, was)
	for i, rest := range parts[1:] {
		parts[i+1] = rest[40:]
	}
	return strings.Join(parts, now)
}

const buildScript = "#!/bin/sh\nmkdir \"$1\" && echo widget > \"$1/widget.tar.gz\" && cd \"$1\" && sha256sum * > SHA256SUMS\n"

// ruled makes a project whose policy has one rule besides the maintainers, binds
// it and returns its runner.
func ruled(t *testing.T, url, rule string, files map[string]string) (*project, *actions) {
	t.Helper()
	name := strings.TrimPrefix(strings.TrimPrefix(url, "https://github.com/"), "https://gitlab.com/")
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	for file, text := range files {
		p.write(file, text)
	}
	p.write("build.sh", buildScript)
	check(t, os.Chmod(filepath.Join(p.dir, "build.sh"), 0o755))
	maintainer := newComputer(t)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	text, _, _ := strings.Cut(string(policyText(name, 1, 1, "alice")), "[[release]]")
	p.write(".repopolicy/policy.toml", strings.Replace(text, "https://github.com/"+name, url, 1)+rule)
	maintainer.must(policy.ClassOK, "init", "--git", p.dir, "--repo", url, "--email", "alice@example.com", "--issuer", "https://accounts.google.com", "--no-sign", "--yes")
	p.push()
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	a := newActions(t, name)
	if !strings.Contains(url, "github.com") {
		if out, err := gitlab(t, name, "main"); err != nil {
			t.Fatal(err, out)
		}
		return p, a
	}
	if d := cmp.Diff([]string{"quorum success", "dispatch success", "bind success", "publish success"}, a.trigger("push", "")); d != "" {
		t.Fatalf("%s\n%s", d, a.out.String())
	}
	return p, a
}

const ownRule = "[[release]]\nname = \"binaries\"\ntags = [\"v*\"]\nartifacts = [\"widget.tar.gz\", \"SHA256SUMS\"]\nworkflow = \".github/workflows/release.yml\"\nenvironment = \"release\"\n"

// TestPasted runs what docs/ci.md has to paste, but for the reusable workflow,
// which TestOwnRelease calls.
func TestPasted(t *testing.T) {
	_, action, _ := strings.Cut(pushAction(t, "repopolicy/action"), "@")
	use := func(block string) string {
		return strings.ReplaceAll(at(block, "repopolicy/repopolicy@", "repopolicy/action-at-"+action), "repopolicy/action-at-", "repopolicy/action@")
	}
	const name = "acme/pasted"
	p, a := ruled(t, "https://github.com/"+name, ownRule, map[string]string{".github/workflows/release.yml": use(pasted(t, "yaml release"))})
	p.tag("v1.2.3")
	if d := cmp.Diff([]string{"build success", "sign success", "publish success"}, a.fire(forge.Event{Name: "push", Ref: "refs/tags/v1.2.3"})); d != "" {
		t.Fatalf("%s\n%s", d, a.out.String())
	}
	if a.outputs["sign"] == nil || !strings.Contains(a.summaries["sign"], "widget.tar.gz") {
		t.Errorf("%q", a.summaries["sign"])
	}
	stranger := newComputer(t)
	stranger.must(policy.ClassOK, "verify", "https://github.com/"+name+"/releases/tag/v1.2.3")

	// A consumer of that release.
	consumer := strings.ReplaceAll(strings.ReplaceAll(use(pasted(t, "yaml consumer")), "acme/widget", name), "widget_1.2.3.tar.gz", "widget.tar.gz")
	_, err := stack.Forge().Create("acme/buys")
	check(t, err)
	_, err = stack.Forge().Commit("acme/buys", "main", map[string]string{".github/workflows/install.yml": consumer})
	check(t, err)
	buyer := newActions(t, "acme/buys")
	if d := cmp.Diff([]string{"install success"}, buyer.fire(forge.Event{Name: "push", Ref: "refs/heads/main"})); d != "" || !strings.Contains(buyer.out.String(), "version 1 of the policy allows it") {
		t.Fatalf("%s\n%s", d, buyer.out.String())
	}
	check(t, stack.Forge().Remove(name, "v1.2.3", "widget.tar.gz"))
	_, err = stack.Forge().Upload(name, "v1.2.3", "widget.tar.gz", strings.NewReader("evil"))
	check(t, err)
	if d := cmp.Diff([]string{"install failure"}, buyer.fire(forge.Event{Name: "push", Ref: "refs/heads/main"})); d != "" {
		t.Fatalf("%s\n%s", d, buyer.out.String())
	}

	// A shell, in a job of a workflow.
	recipe := "on: {push: {tags: ['v*']}}\npermissions: {}\njobs:\n  sign:\n    runs-on: ubuntu-latest\n    environment: release\n    permissions: {contents: read, id-token: write}\n    steps:\n      - uses: actions/checkout@v4\n      - run: ./build.sh dist\n      - env: {REPOSITORY: \"${{ github.repository }}\", TAG: \"${{ github.ref_name }}\"}\n        run: |\n"
	for line := range strings.Lines(pasted(t, "sh recipe")) {
		recipe += "          " + line
	}
	p, a = ruled(t, "https://github.com/acme/shell", ownRule, map[string]string{".github/workflows/release.yml": recipe})
	check(t, os.Symlink(a.env["E2E_BINARY"], filepath.Join(filepath.SplitList(a.env["PATH"])[0], "repopolicy")))
	p.write(".gitignore", "dist\nreceipt.json\n")
	p.push()
	p.tag("v1.0.0")
	if d := cmp.Diff([]string{"sign success"}, a.fire(forge.Event{Name: "push", Ref: "refs/tags/v1.0.0"})); d != "" || !strings.Contains(a.out.String(), "  released by ") {
		t.Fatalf("%s\n%s", d, a.out.String())
	}
}

// TestPastedGitLab runs the job of docs/ci.md for GitLab.
func TestPastedGitLab(t *testing.T) {
	const name = "group/pasted"
	rule := strings.Replace(ownRule, ".github/workflows/release.yml", ".gitlab-ci.yml", 1)
	p, a := ruled(t, "https://gitlab.com/"+name, rule, nil)
	p.tag("v1.0.0")
	repo, err := stack.Forge().Find(name)
	check(t, err)
	var jobs pipeline
	check(t, yaml.Unmarshal([]byte(pasted(t, "yaml gitlab")), &jobs))
	job := jobs["release"]
	run := func(environment string) (string, error) {
		work := t.TempDir()
		git(t, work, "clone", "-q", "-b", "v1.0.0", stack.Forge().CloneURL(name), ".")
		head := strings.TrimSpace(git(t, work, "rev-parse", "HEAD"))
		git(t, work, "remote", "set-url", "origin", "https://gitlab.com/"+name+".git")
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", "cd "+work+" && echo dist > .git/info/exclude && ./build.sh dist").CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		bin := t.TempDir()
		check(t, os.Symlink(a.env["E2E_BINARY"], filepath.Join(bin, "repopolicy")))
		who := claims.GitLab{Project: name, ProjectID: repo.ID, NamespaceID: repo.OwnerID, Ref: "v1.0.0", RefType: "tag", SHA: head, Environment: environment}
		env := append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), asProgram+"="+a.env[asProgram], "HOME="+t.TempDir(),
			"GITLAB_CI=true", "CI_COMMIT_SHA="+head, "CI_COMMIT_TAG=v1.0.0", "CI_COMMIT_REF_NAME=v1.0.0", "CI_PROJECT_PATH="+name, "CI_PIPELINE_ID=1", "CI_JOB_ID=1", "CI_PROJECT_ID="+fmt.Sprint(repo.ID))
		for k, v := range job.IDTokens {
			token, err := stack.Token(claims.Forged{From: who, Set: map[string]any{"aud": v.Aud}})
			check(t, err)
			env = append(env, k+"="+token)
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-eo", "pipefail", "-c", strings.Join(job.Script, "\n"))
		cmd.Dir, cmd.Env = work, env
		out, err := cmd.CombinedOutput()
		if err == nil {
			newComputer(t).must(policy.ClassOK, "verify", "-R", "https://gitlab.com/"+name, "--tag", "v1.0.0", filepath.Join(work, "dist/widget.tar.gz"))
			carried := filepath.Join(t.TempDir(), "widget.airgap")
			newComputer(t).must(policy.ClassOK, "export-bundle", "-R", "https://gitlab.com/"+name, "-o", carried)
			out := newComputer(t).must(policy.ClassOK, "verify", "-R", "https://gitlab.com/"+name, "--airgap", carried, "--require", "first,none", "--tag", "v1.0.0", filepath.Join(work, "dist/widget.tar.gz"))
			if !strings.Contains(out, "whether refs/heads/main is the default branch") {
				t.Error(out)
			}
		}
		return string(out), err
	}
	if out, err := run(job.Environment.Name); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run("other"); err == nil || !strings.Contains(out, "environment") {
		t.Errorf("%v\n%s", err, out)
	}
}
