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
	git(t, work, "clone", "-q", "-b", branch, stack.Forge().CloneURL(name), ".")
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
	check(t, os.WriteFile(config, fmt.Appendf(nil, "[url %q]\n\tinsteadOf = https://gitlab-ci-token:may-push@gitlab.com/\n\tinsteadOf = https://gitlab.com/\n", base), 0o600))
	var out bytes.Buffer
	for _, id := range []string{"repopolicy-bind", "repopolicy-publish"} {
		job := jobs[id]
		env := append(os.Environ(), "PATH="+a.env["PATH"], "E2E_BINARY="+a.env["E2E_BINARY"], asProgram+"="+a.env[asProgram], "HOME="+work+".home",
			"GIT_CONFIG_GLOBAL="+config, "GIT_CONFIG_NOSYSTEM=1", "CI_PROJECT_PATH="+name, "CI_SERVER_HOST=gitlab.com", "CI_JOB_TOKEN=may-push", "CI_COMMIT_BRANCH="+branch)
		for k, v := range jobs[job.Extends].Variables {
			env = append(env, k+"="+v)
		}
		for k, v := range job.IDTokens {
			token, err := stack.Token(claims.Forged{From: claims.GitLab{Project: name, ProjectID: repo.ID, NamespaceID: repo.OwnerID, Ref: branch, SHA: head, Environment: job.Environment.Name}, Set: map[string]any{"aud": v.Aud}})
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
	out := maintainer.must(policy.ClassOK, "init", "--git", p.dir, "--repository", url, "--email", "alice@example.com", "--issuer", "https://accounts.google.com", "--no-sign", "--yes")
	for _, want := range []string{".gitlab-ci.yml\n", ".repopolicy/gitlab-ci.yml\n", "git add .gitattributes .repopolicy .gitlab-ci.yml", `protect the environment "repopolicy"`} {
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
	out = maintainer.must(policy.ClassOK, "init", "--git", other.dir, "--repository", "https://gitlab.com/group/other", "--email", "alice@example.com", "--issuer", "https://accounts.google.com", "--no-sign", "--yes")
	if !strings.Contains(out, "add to .gitlab-ci.yml:  include: [{local: .repopolicy/gitlab-ci.yml}]") {
		t.Error(out)
	}
}
