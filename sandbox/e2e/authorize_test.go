// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// releaseWorkflow is a workflow that signs in the environment "release".
const releaseWorkflow = `name: release
on:
  push:
    tags: ['v*']
  workflow_dispatch: {}
permissions: {}
jobs:
  sign:
    runs-on: ubuntu-latest
    environment: release
    permissions:
      contents: read
      id-token: write
    steps:
      - run: repopolicy authorize
`

// boundProject is a project whose policy is bound, with a release workflow and a tag.
func boundProject(t testing.TB, name, text string, files map[string]string) *project {
	t.Helper()
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", text)
	p.write(".github/workflows/release.yml", releaseWorkflow)
	for file, content := range files {
		p.write(file, content)
	}
	p.push()
	maintainer := newComputer(t)
	p.signAs(maintainer, "alice")
	return p
}

// signAs lets a maintainer sign the committed policy, push and have it bound.
func (p *project) signAs(c *computer, who string) {
	p.t.Helper()
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf(who))
	check(p.t, err)
	git(p.t, p.dir, "fetch", "-q", "origin")
	if strings.Contains(git(p.t, p.dir, "branch", "-r"), "origin/repopolicy") { // dispatch replaces that branch
		git(p.t, p.dir, "checkout", "origin/repopolicy", "--", ".repopolicy/signatures")
		p.commit("bindings")
	}
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	check(p.t, p.dispatch("repository_dispatch"))
}

// push2 pushes a tag or branch of the maintainer's clone.
func (p *project) push2(args ...string) {
	p.t.Helper()
	git(p.t, p.dir, append([]string{"push", "-q", "-f", "origin"}, args...)...)
}

// inJob runs a workflow for an event and hands its jobs, with a fresh checkout
// and a fresh machine, to f.
func (p *project) inJob(e forge.Event, workflow string, f func(j *forge.Job, c *computer, checkout string)) {
	p.t.Helper()
	e.Repository = p.name
	ran := false
	runs, err := stack.Forge().Trigger(p.t.Context(), e, func(_ context.Context, j *forge.Job) error {
		if !strings.HasSuffix(j.Claims.Workflow, workflow) {
			return nil
		}
		ran = true
		c := newComputer(p.t)
		c.env = j.Env
		clone := filepath.Join(p.t.TempDir(), "clone")
		git(p.t, ".", "clone", "-q", stack.Forge().CloneURL(p.name), clone)
		git(p.t, clone, "checkout", "-q", j.Claims.SHA)
		f(j, c, clone)
		return nil
	})
	check(p.t, err)
	if !ran {
		p.t.Fatalf("%s did not run: %+v", workflow, runs)
	}
}

// artifact writes a file to be released.
func artifact(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	check(t, os.WriteFile(path, []byte(name), 0o600))
	return path
}

// TestAuthorize: a run that may release, earlier, now and later; and what stands
// in the way of others, before anything is signed.
func TestAuthorize(t *testing.T) {
	const name = "acme/authorize"
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), map[string]string{
		".github/workflows/early.yml": earlyWorkflow, "README": "one\n",
	})
	git(t, p.dir, "tag", "v1")
	p.push2("v1")
	var err error
	file := artifact(t, "widget_1.tar.gz")
	expect := func(out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	}
	receipt := filepath.Join(t.TempDir(), "receipt.json")
	push := forge.Event{Name: "push", Ref: "refs/tags/v1"}
	p.inJob(push, "release.yml", func(j *forge.Job, c *computer, checkout string) {
		authorize := func(class policy.Class, args ...string) string {
			t.Helper()
			return c.must(class, append([]string{"authorize", "--checkout", checkout}, args...)...)
		}
		expect(authorize(policy.ClassOK, "--receipt", receipt, file), "OK: may sign", "by rule binaries", "environment (.23)")
		authorize(policy.ClassOK, "--after", receipt, file)
		authorize(policy.ClassOK, "--commit", j.Claims.SHA, "--tag", "v1", "-R", name, "widget_1.tar.gz")
		expect(authorize(policy.ClassDeny, "gadget_1.tar.gz"), "artifact", "change:")
		expect(authorize(policy.ClassDeny), "artifact")
		expect(authorize(policy.ClassDeny, "--tag", "v2", file), "tag-mismatch")
		expect(authorize(policy.ClassDeny, "--commit", strings.Repeat("1", 40), file), "commit")
		expect(authorize(policy.ClassDeny, "--after", receipt, artifact(t, "widget_2.tar.gz")), "does not name")
		authorize(policy.ClassUnavailable, "-R", "acme/nobody", file)

		// The environment must be that of the token.
		for _, v := range []string{"GITHUB_SHA", "GITHUB_REF", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_REPOSITORY"} {
			was := c.env[v]
			c.env[v] = "x" + was
			if out := authorize(policy.ClassDeny, file); !strings.Contains(out, v) {
				t.Errorf("%s: %s", v, out)
			}
			c.env[v] = was
		}
		// The work tree must be the commit, its policy untouched.
		write := func(name, text string) {
			check(t, os.WriteFile(filepath.Join(checkout, name), []byte(text), 0o644))
		}
		write("README", "changed, not staged\n")
		authorize(policy.ClassOK, file)
		git(t, checkout, "add", "README")
		expect(authorize(policy.ClassDeny, file), "checkout-differs", "staged changes: README")
		git(t, checkout, "reset", "-q", "--hard")
		write(".repopolicy/policy.toml", strings.ReplaceAll(string(policyText(name, 1, 1, "alice")), "release.yml", "evil.yml"))
		expect(authorize(policy.ClassDeny, file), "policy.toml was changed")
		git(t, checkout, "reset", "-q", "--hard", "HEAD~1")
		expect(authorize(policy.ClassDeny, file), "the commit that is checked out")
	})
	// A receipt is of one run.
	p.inJob(push, "release.yml", func(_ *forge.Job, c *computer, checkout string) {
		expect(c.must(policy.ClassDeny, "authorize", "--checkout", checkout, "--after", receipt, file), "its run is")
	})
	// Earlier in the run, in a job without the environment.
	p.inJob(push, "early.yml", func(_ *forge.Job, c *computer, checkout string) {
		expect(c.must(policy.ClassDeny, "authorize", "--preflight", "--checkout", checkout), "caller")
	})
	p.write(".github/workflows/release.yml", strings.Replace(releaseWorkflow, "    environment: release\n", "", 1))
	git(t, p.dir, "commit", "-qam", "no environment")
	git(t, p.dir, "tag", "v2")
	p.push2("v2")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v2"}, "release.yml", func(j *forge.Job, c *computer, checkout string) {
		expect(c.must(policy.ClassDeny, "authorize", "--checkout", checkout, "widget_2.tar.gz"), "say `environment: release`")
		expect(c.must(policy.ClassOK, "authorize", "--preflight", "--checkout", checkout), "open environment", "open artifact")
		// A job that may not have tokens says so.
		delete(c.env, "ACTIONS_ID_TOKEN_REQUEST_URL")
		expect(c.must(policy.ClassUsage, "authorize", "--checkout", checkout, "widget_2.tar.gz"), "id-token: write")
		// Tokens that are not this run's, or nobody's.
		own := claims.GitHub{Repository: name, RepositoryID: j.Claims.RepositoryID, OwnerID: j.Claims.OwnerID, Ref: "refs/tags/v2", SHA: j.Claims.SHA, RunID: j.Claims.RunID, Environment: "release"}
		for _, x := range []struct {
			change map[string]any
			forged bool
			reason string
			class  policy.Class
		}{
			{map[string]any{"aud": "repopolicy"}, false, "OK: may sign", policy.ClassOK},
			{map[string]any{"aud": "repopolicy", "run_id": "4711"}, false, "GITHUB_RUN_ID", policy.ClassDeny},
			{map[string]any{"aud": "repopolicy", "sha": strings.Repeat("1", 40)}, false, "GITHUB_SHA", policy.ClassDeny},
			{map[string]any{"aud": "sigstore"}, false, "it is for", policy.ClassDeny},
			{map[string]any{"aud": "repopolicy", "exp": time.Now().Add(time.Hour).Unix()}, false, "it is good for", policy.ClassDeny},
			{map[string]any{"aud": "repopolicy", "nbf": time.Now().Add(time.Hour).Unix()}, false, "not valid before", policy.ClassDeny},
			{map[string]any{"aud": "repopolicy", "iat": time.Now().Add(-time.Hour).Unix(), "exp": time.Now().Add(-55 * time.Minute).Unix()}, false, "it expired", policy.ClassDeny},
			{map[string]any{"aud": "repopolicy", "iss": "https://token.actions.githubusercontent.com/evil"}, false, "not an issuer", policy.ClassDeny},
			{map[string]any{"aud": "repopolicy"}, true, "did not sign it", policy.ClassInvalid},
		} {
			c.env["REPOPOLICY_ID_TOKEN"], err = stack.Token(claims.Forged{From: own, Set: x.change, ForeignKey: x.forged})
			check(t, err)
			expect(c.must(x.class, "authorize", "-R", name, "--checkout", checkout, "widget_2.tar.gz"), x.reason)
		}
	})
}

// earlyWorkflow is another file than the one that the policy names.
const earlyWorkflow = `on:
  push:
    tags: ['v*']
permissions: {}
jobs:
  early:
    runs-on: ubuntu-latest
    permissions:
      id-token: write
    steps:
      - run: repopolicy authorize --preflight
`

// personOf is somebody's account at the sandbox's own issuer.
func personOf(name string) claims.Email { return claims.Email{Address: name + "@example.com"} }

// tag sets a tag at the clone's commit and pushes both.
func (p *project) tag(name string) {
	p.t.Helper()
	git(p.t, p.dir, "tag", "-m", name, name)
	p.push2(name)
}

func (p *project) commit(message string) {
	p.t.Helper()
	git(p.t, p.dir, "add", "-A")
	git(p.t, p.dir, "commit", "-q", "-m", message)
}

// as gives a machine the tokens of another job than the one that runs, and the
// environment that goes with them.
func (p *project) as(c *computer, who claims.GitHub) {
	p.t.Helper()
	env, end, err := stack.ActionsEnv(who)
	check(p.t, err)
	p.t.Cleanup(end)
	for name, value := range env {
		c.env[name] = value
	}
	c.env["GITHUB_EVENT_NAME"], c.env["GITHUB_REPOSITORY"] = who.Event, who.Repository
}
