// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// pipeline is what the test reads of a job of GitLab CI.
type pipeline map[string]struct {
	Extends     string
	Script      []string
	Variables   map[string]string
	Environment struct{ Name string }
	IDTokens    map[string]struct{ Aud string } `yaml:"id_tokens"`
	Needs       []string
	Artifacts   struct{ Paths []string }
}

// gitlab runs the jobs that init writes for a project on GitLab, for a push to a
// branch, and returns what they printed.
func gitlab(t *testing.T, name, branch string) (string, error) {
	t.Helper()
	repo, err := stack.Forge().Find(name)
	check(t, err)
	a := newActions(t, name)
	work := t.TempDir()
	// As GitLab's runner does: no branch is checked out, and no ref says which is the default one.
	git(t, work, "init", "-q")
	git(t, work, "remote", "add", "origin", stack.Forge().CloneURL(name))
	git(t, work, "fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*")
	git(t, work, "checkout", "-q", "--detach", "origin/"+branch)
	git(t, work, "remote", "set-url", "origin", "https://gitlab.com/"+name+".git")
	head := strings.TrimSpace(git(t, work, "rev-parse", "HEAD"))
	var included struct{ Include []struct{ Local string } }
	data, err := os.ReadFile(filepath.Join(work, ".gitlab-ci.yml"))
	check(t, err)
	check(t, yaml.Unmarshal(data, &included))
	var jobs pipeline
	data, err = os.ReadFile(filepath.Join(work, included.Include[0].Local))
	check(t, err)
	check(t, yaml.Unmarshal(data, &jobs))
	config := filepath.Join(t.TempDir(), "gitconfig")
	base := strings.TrimSuffix(stack.Forge().CloneURL("x/y"), "x/y.git")
	check(t, os.WriteFile(config, fmt.Appendf(nil,
		"[url %q]\n\tinsteadOf = https://gitlab-ci-token:may-push@gitlab.com/\n\tinsteadOf = https://gitlab.com/\n", base), 0o600))
	var out bytes.Buffer
	for _, id := range []string{"repopolicy-bind", "repopolicy-publish"} {
		job := jobs[id]
		env := append(os.Environ(), "PATH="+a.env["PATH"], "E2E_BINARY="+a.env["E2E_BINARY"],
			asProgram+"="+a.env[asProgram], "HOME="+work+".home",
			"GIT_CONFIG_GLOBAL="+config, "GIT_CONFIG_NOSYSTEM=1", "CI_PROJECT_PATH="+name, "CI_SERVER_HOST=gitlab.com",
			"CI_JOB_TOKEN=may-push", "CI_COMMIT_BRANCH="+branch,
			"GITLAB_CI=true", "CI_DEFAULT_BRANCH="+repo.DefaultBranch)
		for k, v := range jobs[job.Extends].Variables {
			env = append(env, k+"="+v)
		}
		for k, v := range job.IDTokens {
			token, err := stack.Token(claims.Forged{From: claims.GitLab{Project: name, ProjectID: repo.ID,
				NamespaceID: repo.OwnerID, Ref: branch, SHA: head, Environment: job.Environment.Name}, Set: map[string]any{"aud": v.Aud}})
			check(t, err)
			env = append(env, k+"="+token)
		}
		if len(job.IDTokens) > 0 { // what signs has nothing to push with
			env = append(env, "CI_JOB_TOKEN=")
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-eo", "pipefail", "-c", strings.Join(job.Script, "\n"))
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = work, env, &out, &out
		if err := cmd.Run(); err != nil {
			return out.String(), fmt.Errorf("%s: %w", id, err)
		}
	}
	return out.String(), nil
}

// TestGitLab takes a project on gitlab.com from init to a stranger's first use.
func TestGitLab(t *testing.T) {
	const name = "group/tool"
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	maintainer := newComputer(t)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	const url = "https://gitlab.com/" + name
	out := maintainer.must(policy.ClassOK, "init", "--git", p.dir, "--repo", url, "--email", "alice@example.com",
		"--issuer", "https://accounts.google.com", "--no-sign", "--yes",
		"--workflow", ".gitlab-ci.yml")
	for _, want := range []string{".gitlab-ci.yml\n", ".repopolicy/gitlab-ci.yml\n", "git add .gitattributes .repopolicy .gitlab-ci.yml", `that the environment "repopolicy"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// Nobody signed yet: the pipeline has nothing to do.
	p.push()
	if out, err := gitlab(t, name, "main"); err != nil || !strings.Contains(out, "nothing is bound") {
		t.Fatal(err, out)
	}
	stranger := newComputer(t)
	stranger.must(policy.ClassNoPolicy, "show", "-R", url)

	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	// Another branch's pipeline proves nothing, though it has the same text.
	git(t, p.dir, "push", "-q", stack.Forge().CloneURL(name), "HEAD:refs/heads/side")
	if out, err := gitlab(t, name, "side"); err == nil {
		if code, said := stranger.repopolicy("show", "-R", url); code == 0 {
			t.Errorf("a side branch bound the policy\n%s\n%s", out, said)
		}
	}
	if out, err := gitlab(t, name, "main"); err != nil {
		t.Fatal(err, out)
	}
	out = stranger.must(policy.ClassOK, "show", "-R", url)
	for _, want := range []string{"version 1", "genesis    first", "the forge's word"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if heads := git(t, p.dir, "ls-remote", "--heads", "origin"); !strings.Contains(heads, "refs/heads/repopolicy") {
		t.Error(heads)
	}
	// A registry cannot say which branch is the default one: the forge is asked for that.
	layout := "oci-layout:" + filepath.Join(t.TempDir(), "layout")
	stranger.must(policy.ClassOK, "export", "-R", url, "--oci", layout)
	newComputer(t).must(policy.ClassOK, "show", "-R", url, "--from", layout)
	newComputer(t).must(policy.ClassUsage, "show", "-R", url, "--from", layout, "--offline")
	cut := newComputer(t)
	cut.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "gitlab.com" {
			return nil, errors.New("there is no forge")
		}
		return stack.Transport().RoundTrip(r)
	})
	cut.must(policy.ClassUnavailable, "show", "-R", url, "--from", layout)

	// A second run binds nothing more.
	if out, err := gitlab(t, name, "main"); err != nil || !strings.Contains(out, "version 1 is bound already") {
		t.Fatal(err, out)
	}

	// A project with a pipeline of its own keeps it, and is told what to add.
	_, err = stack.Forge().Create("group/other")
	check(t, err)
	other := newProject2(t, "group/other")
	other.write(".gitlab-ci.yml", "build: {script: make}\n")
	out = maintainer.must(policy.ClassOK, "init", "--git", other.dir, "--repo", "https://gitlab.com/group/other",
		"--email", "alice@example.com", "--issuer", "https://accounts.google.com", "--no-sign", "--yes",
		"--workflow", ".gitlab-ci.yml")
	if !strings.Contains(out, "add to .gitlab-ci.yml:  include: [{local: .repopolicy/gitlab-ci.yml}]") {
		t.Error(out)
	}
}

// TestGitLabRenamed: a project on gitlab.com with several versions gives its default branch
// another name. Its chain is none until the pipeline of the new branch has bound it again.
func TestGitLabRenamed(t *testing.T) {
	const name = "group/renamer"
	const url = "https://gitlab.com/" + name
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	maintainer := newComputer(t)
	sign := func() {
		t.Helper()
		git(t, p.dir, "fetch", "-q", "origin")
		maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	}
	run := func(branch, want string) {
		t.Helper()
		if out, err := gitlab(t, name, branch); err != nil || !strings.Contains(out, want) {
			t.Fatal(err, out)
		}
	}
	version := func(n int, more string) string {
		text := strings.ReplaceAll(string(policyText(name, n, 1, "alice")), "https://github.com/"+name, url)
		return strings.ReplaceAll(text, ".github/workflows/release.yml", ".gitlab-ci.yml") + more
	}
	maintainer.must(policy.ClassOK, "init", "--git", p.dir, "--repo", url, "--email", "alice@example.com",
		"--issuer", "https://accounts.google.com", "--no-sign", "--yes",
		"--workflow", ".gitlab-ci.yml")
	p.write(".repopolicy/policy.toml", version(1, ""))
	p.push()
	sign()
	p.push()
	run("main", "logged in")
	p.write(".repopolicy/policy.toml", version(2, "# two\n"))
	p.push()
	sign()
	p.push()
	run("main", "logged in")
	stranger, old := newComputer(t), newComputer(t)
	old.must(policy.ClassOK, "show", "-R", url)

	// The branch gets another name.
	git(t, p.dir, "branch", "-m", "main", "trunk")
	git(t, p.dir, "push", "-q", "origin", "HEAD:refs/heads/trunk")
	check(t, stack.Forge().SetDefaultBranch(name, "trunk"))
	git(t, p.dir, "push", "-q", "origin", ":refs/heads/main")
	for who, c := range map[string]*computer{"a stranger": stranger, "who has seen it": old} {
		for _, args := range [][]string{{"show", "-R", url}, {"show", "-R", url, "--scan"}} {
			code, out := c.repopolicy(args...)
			if code == 0 || !strings.Contains(out, "`repopolicy bind`") || !strings.Contains(out, "refs/heads/main") {
				t.Errorf("%s, after the rename: exit %d\n%s", who, code, out)
			}
		}
	}
	git(t, p.dir, "fetch", "-q", "--prune", "origin")
	git(t, p.dir, "remote", "set-head", "origin", "--auto")
	if code, out := maintainer.repopolicy("status", "--git", p.dir); code == 0 || !strings.Contains(out, "`repopolicy bind`") {
		t.Errorf("status after the rename: exit %d\n%s", code, out)
	}
	// Another branch cannot bind it again, and nothing is logged for it.
	git(t, p.dir, "push", "-q", "origin", "HEAD:refs/heads/side")
	before := logSizes(t)
	if out, err := gitlab(t, name, "side"); err == nil || !strings.Contains(out, "the default branch is refs/heads/trunk") {
		t.Error(err, out)
	}
	if got := logSizes(t); got != before {
		t.Errorf("a side branch logged something: %v, then %v", before, got)
	}
	run("trunk", "version 1 was bound from another branch than refs/heads/trunk")
	for _, c := range []*computer{stranger, old, newComputer(t)} {
		for _, args := range [][]string{{"show", "-R", url}, {"show", "-R", url, "--scan"}} {
			if out := c.must(policy.ClassOK, args...); !strings.Contains(out, "# two") || !strings.Contains(out, "version 2") {
				t.Errorf("bound again:\n%s", out)
			}
		}
	}
	before = logSizes(t)
	run("trunk", "version 2 is bound already")
	if got := logSizes(t); got != before {
		t.Errorf("bound twice: %v, then %v", before, got)
	}
	// A forge that shows the branch of before takes nothing back.
	git(t, p.dir, "push", "-q", "origin", "HEAD:refs/heads/main")
	check(t, stack.Forge().SetDefaultBranch(name, "main"))
	newComputer(t).must(policy.ClassOK, "show", "-R", url)
	check(t, stack.Forge().SetDefaultBranch(name, "side"))
	newComputer(t).must(policy.ClassUnavailable, "show", "-R", url)
	check(t, stack.Forge().SetDefaultBranch(name, "trunk"))
	p.write(".repopolicy/policy.toml", version(3, "# three\n"))
	git(t, p.dir, "add", "-A")
	git(t, p.dir, "commit", "-q", "-m", "three")
	git(t, p.dir, "push", "-q", "origin", "HEAD:refs/heads/trunk")
	sign()
	git(t, p.dir, "add", "-A")
	git(t, p.dir, "commit", "-q", "-m", "signed")
	git(t, p.dir, "push", "-q", "origin", "HEAD:refs/heads/trunk")
	run("trunk", "logged in")
	if out := newComputer(t).must(policy.ClassOK, "show", "-R", url); !strings.Contains(out, "# three") {
		t.Error(out)
	}
}
