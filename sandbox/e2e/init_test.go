// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// attestStep is what makes a job one that releases.
const attestStep = "      - uses: actions/attest-build-provenance@v3\n        with: {subject-path: dist/*}\n"

// begin makes a project on the forge with what init writes, signed by alice.
func begin(t *testing.T, name string) (*project, *computer) {
	t.Helper()
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	p.write(".github/workflows/release.yml",
		"on:\n  push:\n    tags: ['v*']\npermissions: {}\njobs:\n  release:\n    runs-on: ubuntu-latest\n    environment: release\n    permissions:\n      id-token: write\n    steps:\n      - run: make\n"+attestStep)
	maintainer := newComputer(t)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	out := maintainer.must(policy.ClassOK, "init", "--git", p.dir, "--repo", "https://github.com/"+name, "--yes")
	for _, want := range []string{"rule release, environment release", "done: logged in", ".sigstore.json", "gh api -X POST repos/" + name + "/rulesets"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "repopolicy sign") {
		t.Errorf("it is signed already:\n%s", out)
	}
	return p, maintainer
}

// TestInit: one command, one commit and one push, and the repository's own
// workflow binds the policy. Then a second version.
func TestInit(t *testing.T) {
	const name = "acme/fresh"
	p, maintainer := begin(t, name)
	_, err := stack.Forge().Create("acme/without")
	check(t, err)
	_, err = stack.Forge().Commit("acme/without", "main", map[string]string{"README": "x"})
	check(t, err)
	if out := maintainer.must(policy.ClassOK, "init", "--git", p.dir); !strings.Contains(out, "nothing to write") {
		t.Error(out)
	}
	if status := git(t, p.dir, "status", "--porcelain", "--untracked-files=all"); strings.Count(status, "\n") != 5 {
		t.Errorf("more or less than release.yml, attributes, policy, workflow and two signatures:\n%s", status)
	}
	p.push()
	a := newActions(t, name)
	expect := func(event, before string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, a.trigger(event, before)); d != "" {
			t.Fatalf("%s\n%s", d, a.out.String())
		}
	}
	expect("push", "", "quorum success", "dispatch success", "bind success", "publish success")
	stranger := newComputer(t)
	if out := stranger.must(policy.ClassOK, "show", "-R", name); !strings.Contains(out, "version 1, expires") || !strings.Contains(out, "genesis    first") {
		t.Error(out)
	}
	if files := git(t, p.dir, "ls-remote", "--heads", "origin"); strings.Count(files, "refs/heads/") != 2 {
		t.Error(files)
	}
	main := git(t, p.dir, "rev-parse", "HEAD")
	if remote := git(t, p.dir, "ls-remote", "origin", "refs/heads/main"); !strings.HasPrefix(remote, main) {
		t.Error("the default branch moved")
	}
	// Nothing is left to bind, whatever starts the workflow.
	expect("schedule", "", "bind success")
	expect("push", "", "quorum success")

	// The next version.
	before := main
	git(t, p.dir, "fetch", "-q", "origin")
	check(t, os.WriteFile(filepath.Join(p.dir, ".repopolicy/policy.toml"), append(read(t, p,
		".repopolicy/policy.toml"), "# changed\n"...), 0o600))
	if out := maintainer.must(policy.ClassUsage, "renew", "--git", p.dir); !strings.Contains(out, "differs from the last commit") {
		t.Error(out)
	}
	git(t, p.dir, "checkout", "-q", "--", ".repopolicy/policy.toml")
	out := maintainer.must(policy.ClassOK, "renew", "--git", p.dir, "--expires", "2y")
	if !strings.Contains(out, "\n-version    = 1\n") || !strings.Contains(out, "\n+version    = 2\n") || strings.Count(out, "\n+") != 3 {
		t.Error(out)
	}
	git(t, p.dir, "commit", "-q", "-a", "-m", "renew")
	if out := maintainer.must(policy.ClassOK, "diff", "--git", p.dir); !strings.Contains(out, "from version 1 to version 2, as committed\n~ expires: ") || strings.Contains(out, "loosens") {
		t.Error(out)
	}
	stranger.must(policy.ClassUsage, "diff", "-R", name) // there is one version
	if out := maintainer.must(policy.ClassUsage, "edit", "--git", p.dir, "--no-editor"); !strings.Contains(out, "version 2 is not in force yet") {
		t.Error(out)
	}
	git(t, p.dir, "push", "-q", "origin", "HEAD:main")
	expect("push", before, "quorum success") // without a quorum no run is dispatched
	expect("schedule", "", "bind success")   // and nothing is bound
	if !strings.Contains(a.out.String(), "1 more of alice") {
		t.Error(a.out.String())
	}
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	before = git(t, p.dir, "rev-parse", "HEAD")
	p.push()
	expect("push", before, "quorum success", "dispatch success", "bind success", "publish success")
	if out := stranger.must(policy.ClassOK, "log", "-R", name); !strings.Contains(out, "version 2  sha256:") {
		t.Error(out)
	}
	for _, args := range [][]string{{"diff", "-R", name}, {"diff", "-R", name, "1", "2"}, {"diff", "-R", name, "1"}} {
		if out := stranger.must(policy.ClassOK, args...); !strings.Contains(out, "from version 1 to version 2\n~ expires: ") {
			t.Error(out)
		}
	}
	stranger.must(policy.ClassUsage, "diff", "-R", name, "3")
	stranger.must(policy.ClassNoPolicy, "diff", "-R", "acme/without")
	if out := maintainer.must(policy.ClassUnavailable, "diff", "--git", p.dir); !strings.Contains(out, "run `git fetch`") {
		t.Error(out)
	}
	git(t, p.dir, "fetch", "-q", "origin")
	if out := maintainer.must(policy.ClassOK, "diff", "--git", p.dir); !strings.Contains(out, "  the same\n") {
		t.Error(out)
	}
	// A push that does not touch the policy starts nothing.
	before = git(t, p.dir, "rev-parse", "HEAD")
	p.write("README", "x")
	p.push()
	expect("push", before)
}

func read(t *testing.T, p *project, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	check(t, err)
	return data
}

// TestWeakWorkflow: a workflow that is less than what init writes binds nothing.
func TestWeakWorkflow(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		event    string
		says     string
		job      string
	}{
		"acme/weak-push": {"github.event_name != 'push'", "github.event_name == 'push'", "push",
			"this run proves nothing about the repository", "bind failure"},
		"acme/weak-token": {"      id-token: write\n", "", "repository_dispatch", "id-token: write", "bind failure"},
		"acme/weak-runner": {"ubuntu-latest", "self-hosted", "repository_dispatch",
			"this run proves nothing about the repository", "bind failure"},
		"acme/weak-hidden": {"          include-hidden-files: true\n", "", "repository_dispatch",
			"no files to upload", "bind failure"},
		"acme/weak-dispatch": {"contents: write # repository_dispatch asks for it", "contents: read", "push",
			"HTTP 403", "dispatch failure"},
		"acme/weak-publish": {"persist-credentials: true", "persist-credentials: false", "repository_dispatch",
			"nothing-to-push-with", "publish failure"},
		"acme/weak-fork": {"'acme/weak-fork'", "'acme/upstream'", "repository_dispatch", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := begin(t, name)
			const file = ".github/workflows/repopolicy.yml"
			text := string(read(t, p, file))
			if !strings.Contains(text, c.from) {
				t.Fatalf("no %q in\n%s", c.from, text)
			}
			p.write(file, strings.ReplaceAll(text, c.from, c.to))
			p.push()
			a := newActions(t, name)
			jobs := a.trigger(c.event, "")
			if c.job == "" && len(jobs) > 0 || c.job != "" && !strings.Contains(strings.Join(jobs, ","), c.job) {
				t.Errorf("%v\n%s", jobs, a.out.String())
			}
			if !strings.Contains(a.out.String(), c.says) {
				t.Errorf("no %q in\n%s", c.says, a.out.String())
			}
			if heads := git(t, p.dir, "ls-remote", "--heads", "origin"); strings.Contains(heads, "repopolicy") {
				t.Error(heads)
			}
		})
	}
}

// TestShallow: the job that binds a later version has to see the earlier ones.
func TestShallow(t *testing.T) {
	const name = "acme/shallow"
	p, maintainer := begin(t, name)
	p.push()
	a := newActions(t, name)
	if jobs := a.trigger("push", ""); len(jobs) != 4 {
		t.Fatalf("%v\n%s", jobs, a.out.String())
	}
	before := git(t, p.dir, "rev-parse", "HEAD")
	git(t, p.dir, "fetch", "-q", "origin")
	maintainer.must(policy.ClassOK, "renew", "--git", p.dir)
	git(t, p.dir, "commit", "-q", "-a", "-m", "renew")
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	const file = ".github/workflows/repopolicy.yml"
	p.write(file, strings.ReplaceAll(string(read(t, p, file)), "fetch-depth: 0", "fetch-depth: 1"))
	p.push()
	if jobs := strings.Join(a.trigger("push", before), ", "); jobs != "quorum failure" {
		t.Errorf("%s\n%s", jobs, a.out.String())
	}
}

// TestInitIdentity: the first maintainer is who the token says, and a signature
// needs an answer.
func TestInitIdentity(t *testing.T) {
	p := &project{t: t, name: "acme/who", dir: t.TempDir()}
	git(t, p.dir, "init", "-q", "-b", "main")
	git(t, p.dir, "remote", "add", "origin", "https://github.com/acme/who.git")
	c := newComputer(t)
	init := []string{"init", "--git", p.dir, "--workflow", ".github/workflows/release.yml"}
	if out := c.must(policy.ClassAuth, init...); !strings.Contains(out, "--email and --issuer") {
		t.Error(out)
	}
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(claims.GitHub{Repository: "acme/who"})
	check(t, err)
	if out := c.must(policy.ClassUsage, init...); !strings.Contains(out, "names no e-mail address") {
		t.Error(out)
	}
	if git(t, p.dir, "status", "--porcelain") != "" {
		t.Error("something was written")
	}
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(bob)
	check(t, err)
	if out := c.must(policy.ClassOK, init...); strings.Contains(out, "done:") || !strings.Contains(out, "repopolicy sign") {
		t.Errorf("signed without an answer:\n%s", out)
	}
	if text := string(read(t, p, ".repopolicy/policy.toml")); !strings.Contains(text, `name       = "bob"`) || !strings.Contains(text, `email = "bob@example.com", issuer = "https://accounts.google.com"`) {
		t.Error(text)
	}
}

// TestInitTerminal: on a terminal a person is asked before anything becomes
// public. After a no everything is as it was, and the same command can be run again.
func TestInitTerminal(t *testing.T) {
	for answer, class := range map[string]policy.Class{"y\n": policy.ClassOK, "n\n": policy.ClassUsage, "\n": policy.ClassUsage} {
		p := &project{t: t, name: "acme/asked", dir: t.TempDir()}
		git(t, p.dir, "init", "-q", "-b", "main")
		c := newComputer(t)
		var err error
		c.answers = answer
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		out := c.must(class, "init", "--git", p.dir, "--repo", "acme/asked", "--workflow", ".github/workflows/release.yml")
		if !strings.Contains(out, "alice@example.com, signed in at ") {
			t.Error(out)
		}
		if signed := strings.Contains(out, ".sigstore.json"); signed != (class == policy.ClassOK) {
			t.Error(out)
		}
		if class != policy.ClassOK {
			if !strings.Contains(out, "nothing was written") || git(t, p.dir, "status", "--porcelain") != "" {
				t.Error(out)
			}
			c.answers = "y\n"
			c.must(policy.ClassOK, "init", "--git", p.dir, "--repo", "acme/asked", "--workflow", ".github/workflows/release.yml")
		}
		read(t, p, ".repopolicy/policy.toml")
	}
}

// TestRepositoryOnly: without any maintainer the repository's workflow is the
// quorum, and no sign-in is needed.
func TestRepositoryOnly(t *testing.T) {
	const name = "acme/alone"
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	newComputer(t).must(policy.ClassOK, "init", "--git", p.dir, "--repo", name, "--maintainers", "repository",
		"--workflow", ".github/workflows/release.yml")
	p.push()
	a := newActions(t, name)
	if d := cmp.Diff([]string{"quorum success", "dispatch success", "bind success", "publish success"}, a.trigger("push", "")); d != "" {
		t.Errorf("%s\n%s", d, a.out.String())
	}
	if out := newComputer(t).must(policy.ClassOK, "show", "-R", name); !strings.Contains(out, "repository = true") {
		t.Error(out)
	}
}
