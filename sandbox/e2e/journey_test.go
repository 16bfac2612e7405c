// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trustcli"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// bindWorkflow is the workflow of a repository's own voice, with the one job
// that binds.
const bindWorkflow = `name: repopolicy
on:
  repository_dispatch:
    types: [repopolicy]
permissions: {}
jobs:
  bind:
    if: github.repository == '%s'
    runs-on: ubuntu-latest
    permissions:
      contents: read
      id-token: write
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683
      - run: repopolicy bind --output bound
`

// authorProgram is the program by which trust roots are made.
const authorProgram = "repopolicy-trust"

// computer runs the program as its own user would: its own state, no memory of
// another.
type computer struct {
	t     testing.TB
	state string
	root  string // trusted_root.json
	env   map[string]string

	transport http.RoundTripper   // to the stack
	timeout   time.Duration       // of a request; 0 for the usual one
	answers   string              // of who sits at its terminal; "" if there is none
	ahead     time.Duration       // of its clock
	width     int                 // of its terminal; 0 for none
	config    string              // directory of its user's configuration; "" if there is none
	docker    bool                // it logs in at registries as Docker does
	alone     bool                // what goes to standard error is not kept
	named     *answers.Descriptor // directory of its trust root; nil if that names none
}

func newComputer(t testing.TB) *computer {
	t.Helper()
	dir := t.TempDir()
	c := &computer{t: t, state: filepath.Join(dir, "state"), root: filepath.Join(dir, "trusted_root.json"), env: map[string]string{}, transport: stack.Transport()}
	check(t, os.WriteFile(c.root, stack.TrustedRoot(), 0o600))
	return c
}

// repopolicy runs the program, or repopolicy-trust if that is the first argument, and returns its
// exit code and what it printed.
func (c *computer) repopolicy(args ...string) (int, string) {
	var out bytes.Buffer
	talk := io.Writer(&out)
	if c.alone {
		talk = io.Discard
	}
	env := command.Env{
		Stdout: &out, Stderr: talk, Now: func() time.Time { return time.Now().Add(c.ahead) }, Transport: c.transport, Timeout: c.timeout, Version: "v1.0.0",
		OutWidth: c.width, ErrWidth: c.width, Terminal: c.answers != "", Stdin: strings.NewReader(c.answers),
		Getenv:    func(name string) string { return c.env[name] },
		StateDir:  func() (string, error) { return c.state, nil },
		ConfigDir: func() (string, error) { return c.config, nil },
		Root: func(context.Context, trust.Options) ([]trust.Root, error) {
			r, err := sigstore.ParseRoot("sandbox", stack.TrustedRoot())
			return []trust.Root{{Root: r, Directory: c.named}}, err
		},
		SigningConfigs: func(context.Context, bool) ([][]byte, error) {
			return [][]byte{stack.SigningConfig(1), stack.SigningConfig(2)}, nil
		},
	}
	if c.docker {
		env.Credential = command.OS().Credential
	}
	if len(args) > 0 && args[0] == authorProgram {
		return trustcli.Main(args[1:], env), out.String()
	}
	return cli.Main(args, env), out.String()
}

// must runs the program and expects an exit class.
func (c *computer) must(class policy.Class, args ...string) string {
	c.t.Helper()
	code, out := c.repopolicy(args...)
	if code != class.Exit() {
		c.t.Fatalf("repopolicy %s: exit %d, want %d (%s)\n%s", strings.Join(args, " "), code, class.Exit(), class, out)
	}
	return out
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// project is a repository on the forge with a maintainer's clone.
type project struct {
	t    testing.TB
	name string
	dir  string

	bindFlags []string
	config    string  // of the user as whom the workflow runs; "" for none
	said      *string // what bind says; nil if nobody listens
}

func newProject(t testing.TB, name string) *project {
	t.Helper()
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := &project{t: t, name: name, dir: t.TempDir()}
	git(t, p.dir, "init", "-q", "-b", "main")
	git(t, p.dir, "remote", "add", "origin", stack.Forge().CloneURL(name))
	p.write(".github/workflows/repopolicy.yml", fmt.Sprintf(bindWorkflow, name))
	return p
}

func (p *project) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, filepath.FromSlash(name))
	check(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(p.t, os.WriteFile(path, []byte(text), 0o644))
}

func (p *project) push() {
	p.t.Helper()
	git(p.t, p.dir, "add", "-A")
	git(p.t, p.dir, "commit", "-q", "-m", "policy")
	git(p.t, p.dir, "push", "-q", "origin", "HEAD:main")
}

// dispatch runs the repository's workflow as the forge does, and pushes what the
// bind job hands over to the branch for bindings.
func (p *project) dispatch(event string) error {
	p.t.Helper()
	var failed error
	runs, err := stack.Forge().Trigger(p.t.Context(), forge.Event{Name: event, Action: "repopolicy", Repository: p.name, Ref: "refs/heads/main"}, func(_ context.Context, j *forge.Job) error {
		runner := newComputer(p.t)
		runner.env, runner.config = j.Env, p.config
		clone := filepath.Join(p.t.TempDir(), "clone")
		git(p.t, ".", "clone", "-q", stack.Forge().CloneURL(p.name), clone)
		made := p.t.TempDir()
		code, out := runner.repopolicy(append([]string{"bind", "--git", clone, "--output", made}, p.bindFlags...)...)
		if p.said != nil {
			*p.said = out
		}
		if code != 0 {
			failed = fmt.Errorf("exit %d: %s", code, out)
			return failed
		}
		if !strings.Contains(out, ".sigstore.json") && !strings.Contains(out, ".place.json") {
			return nil // bound already
		}
		begin := []string{"switch", "-q", "--orphan", "repopolicy"}
		if git(p.t, clone, "ls-remote", "--heads", "origin", "repopolicy") != "" {
			begin = []string{"switch", "-q", "--detach", "origin/repopolicy"}
		}
		git(p.t, clone, begin...)
		check(p.t, os.CopyFS(clone, os.DirFS(made)))
		git(p.t, clone, "add", "-A")
		git(p.t, clone, "commit", "-q", "-m", "bound")
		git(p.t, clone, "push", "-q", "origin", "HEAD:refs/heads/repopolicy")
		return nil
	})
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return errors.New("no workflow ran")
	}
	return failed
}

// TestJourney: from nothing to a stranger's verdict, from the repository's
// address alone.
func TestJourney(t *testing.T) {
	const name = "acme/journey"
	url := "https://github.com/" + name
	p := newProject(t, name)
	maintainer, stranger := newComputer(t), newComputer(t)
	stranger.must(policy.ClassUnavailable, "show", "-R", url) // an empty repository

	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	maintainer.must(policy.ClassUsage, "sign", "--git", p.dir, "--yes") // not committed
	p.push()
	stranger.must(policy.ClassNoPolicy, "show", "-R", url)
	if out := maintainer.must(policy.ClassOK, "status", "--git", p.dir); !strings.Contains(out, "in force    nothing") {
		t.Error(out)
	}
	maintainer.must(policy.ClassAuth, "sign", "--git", p.dir, "--yes") // nobody is signed in

	var err error
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(claims.Email{Address: "mallory@example.com"})
	check(t, err)
	maintainer.must(policy.ClassDeny, "sign", "--git", p.dir, "--yes")
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	maintainer.must(policy.ClassUsage, "sign", "--git", p.dir) // nobody was asked
	if err := p.dispatch("repository_dispatch"); err == nil || !strings.Contains(err.Error(), "1 more signature of alice") {
		t.Errorf("bound without a quorum: %v", err)
	}
	out := maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	if strings.Count(out, ".sigstore.json") != 2 {
		t.Error(out)
	}
	p.push()
	maintainer.says(policy.ClassOK, []string{"status", "--git", p.dir}, "signed by   alice", "git fetch origin, or")
	maintainer.says(policy.ClassOK, []string{"status", "--git", p.dir, "--fetch"}, "signed by   alice", "see its run")
	for answer, want := range map[string]string{"y\n": "see its run", "n\n": "git fetch origin, or"} {
		maintainer.answers = answer // who sits at a terminal is asked
		maintainer.says(policy.ClassOK, []string{"status", "--git", p.dir}, "read it from the forge?", want)
	}
	maintainer.answers = ""
	stranger.must(policy.ClassNoPolicy, "show", "-R", url)
	check(t, p.dispatch("repository_dispatch"))
	check(t, p.dispatch("repository_dispatch")) // again: nothing to do

	if out := stranger.must(policy.ClassOK, "show", "-R", url); !strings.Contains(out, "genesis    first") || !strings.Contains(out, "complete   hinted") || !strings.Contains(out, `name       = "alice"`) {
		t.Error(out)
	}
	if out := newComputer(t).must(policy.ClassOK, "show", "-R", url, "--scan"); !strings.Contains(out, "complete   scanned") && !strings.Contains(out, "complete   hinted") {
		t.Error(out)
	}
	if out := stranger.must(policy.ClassOK, "log", "-R", name); !strings.Contains(out, "version 1  sha256:") {
		t.Error(out)
	}

	// A release, judged by the address of its repository.
	repo, err := stack.Forge().Find(name)
	check(t, err)
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"}
	good := releaseFile(t, "widget_1.tar.gz", job)
	if out := stranger.must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", good); !strings.Contains(out, "released by") {
		t.Error(out)
	}
	stranger.must(policy.ClassDeny, "verify", "-R", url, "--tag", "v2", good)
	job.Ref = "refs/heads/main"
	branch := releaseFile(t, "widget_2.tar.gz", job)
	stranger.must(policy.ClassDeny, "verify", "-R", url, branch)
	if out := stranger.must(policy.ClassDeny, "explain", "-R", url, branch); !strings.Contains(out, "ref (.14) is refs/heads/main") {
		t.Error(out)
	}
	job.Ref, job.RepositoryID = "refs/tags/v3", 4711
	impostor := releaseFile(t, "widget_3.tar.gz", job)
	stranger.must(policy.ClassDeny, "verify", "-R", url, impostor) // a repository made anew under the name

	// Off-line nothing is known about what else is bound, and that is said.
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, ".", "clone", "-q", stack.Forge().CloneURL(name), clone)
	if out := newComputer(t).must(policy.ClassUnavailable, "verify", "-R", url, "--offline", "--git", clone, good); !strings.Contains(out, "--require none") {
		t.Error(out)
	}
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--offline", "--git", clone, "--require", "none", good)

	// A lock file is memory for a machine that has none.
	lock := filepath.Join(t.TempDir(), "widget.lock")
	stranger.must(policy.ClassOK, "lock", "-R", url, "-o", lock)
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--lock", lock, good)
	newComputer(t).must(policy.ClassOK, "verify", "--lock", lock, good) // which names the repository
	newComputer(t).must(policy.ClassUsage, "verify", "-R", "acme/other", "--lock", lock, good)
	stranger.must(policy.ClassOK, "lock", "-R", url, "--lock", lock, "-o", lock)
	newComputer(t).must(policy.ClassUsage, "verify", "--lock", lock, "--pin", "sha256:"+strings.Repeat("0", 64), good)

	// The forge rewrites everything and drops the bindings: whoever knew the
	// policy sees it, and so does whoever asks the log.
	evil := newProject2(t, name)
	evil.write(".repopolicy/policy.toml", strings.ReplaceAll(string(policyText(name, 1, 1, "mallory")), "release.yml", "evil.yml"))
	git(t, evil.dir, "add", "-A")
	git(t, evil.dir, "commit", "-q", "-m", "evil")
	git(t, evil.dir, "push", "-q", "-f", "origin", "HEAD:main")
	git(t, evil.dir, "push", "-q", "origin", ":refs/heads/repopolicy")
	for who, c := range map[string]*computer{"who knew it": stranger, "a stranger": newComputer(t)} {
		if code, out := c.repopolicy("verify", "-R", url, good); code != policy.ClassUnavailable.Exit() && code != policy.ClassAlarm.Exit() {
			t.Errorf("%s: exit %d\n%s", who, code, out)
		}
	}
	if code, out := newComputer(t).repopolicy("verify", "-R", url, "--lock", lock, good); code == 0 {
		t.Errorf("by the lock: %s", out)
	}
}

// newProject2 is another clone of a repository that is there already.
func newProject2(t testing.TB, name string) *project {
	t.Helper()
	p := &project{t: t, name: name, dir: t.TempDir()}
	git(t, p.dir, "init", "-q", "-b", "main")
	git(t, p.dir, "remote", "add", "origin", stack.Forge().CloneURL(name))
	return p
}
