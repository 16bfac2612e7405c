// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

const (
	demoRepo = "acme/widget"
	demoURL  = "https://github.com/" + demoRepo

	demoWorkflow = `name: repopolicy
on:
  repository_dispatch:
    types: [repopolicy]
  push:
permissions: {}
jobs:
  bind:
    runs-on: ubuntu-latest
    permissions:
      contents: read
      id-token: write
    steps:
      - run: repopolicy bind
`
)

// demoPolicy is the policy of the demo's repository.
func demoPolicy(version, threshold int, workflow string, members ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `format     = "repopolicy/v1"
repository = %q
version    = %d
expires    = 2099-01-01T00:00:00Z

[maintainers]
threshold = %d
`, demoURL, version, threshold)
	for _, m := range members {
		fmt.Fprintf(&b, "[[maintainers.member]]\nname       = %q\nidentities = [{ email = \"%s@example.com\", issuer = \"https://accounts.google.com\" }]\n", m, m)
	}
	fmt.Fprintf(&b, `
[[release]]
name        = "binaries"
tags        = ["v*"]
artifacts   = ["widget_*.tar.gz"]
workflow    = ".github/workflows/%s"
environment = "release"
`, workflow)
	return b.String()
}

// person is somebody's computer: a memory of its own, and perhaps a sign-in.
type person struct {
	d     *show
	name  string
	state string
	env   map[string]string
}

func (d *show) person(dir, name string) *person {
	return &person{d, name, filepath.Join(dir, "state-"+name), map[string]string{}}
}

// run runs repopolicy on the person's computer, in this process: the stack's
// transport plays the hosts of GitHub.
func (p *person) run(args ...string) (int, string) {
	var out bytes.Buffer
	code := cli.Main(args, cli.Env{
		Stdout: &out, Stderr: &out, Now: time.Now, Transport: p.d.stack.Transport(),
		Getenv:   func(name string) string { return p.env[name] },
		StateDir: func() (string, error) { return p.state, nil },
		Root: func(context.Context, bool) ([]*sigstore.Root, error) {
			r, err := sigstore.ParseRoot("sandbox", p.d.stack.TrustedRoot())
			return []*sigstore.Root{r}, err
		},
		SigningConfigs: func(context.Context) ([][]byte, error) { return [][]byte{p.d.stack.SigningConfig(2)}, nil },
	})
	return code, out.String()
}

// step shows a command with what it printed, and compares its exit class with
// the one announced.
func (p *person) step(what string, want policy.Class, args ...string) {
	d := p.d
	code, out := p.run(args...)
	shown := slices.Clone(args)
	for i, a := range shown {
		if filepath.IsAbs(a) {
			shown[i] = filepath.Base(a)
		}
	}
	d.say("\n   %s", what)
	d.say("   %s$ repopolicy %s", p.name, strings.Join(shown, " "))
	for line := range strings.Lines(out) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			d.say("     %s", strings.ReplaceAll(line, filepath.Dir(p.state)+"/", ""))
		}
	}
	d.say("     exit %d, %s", code, classOf(code))
	if code != want.Exit() {
		d.wrong++
		d.say("     expected %s", want)
	}
}

func classOf(code int) policy.Class {
	for _, c := range policy.Classes() {
		if c.Exit() == code {
			return c
		}
	}
	return policy.ClassInternal
}

func (p *person) signIn() error {
	var err error
	p.env["SIGSTORE_ID_TOKEN"], err = p.d.stack.Token(claims.Email{Address: p.name + "@example.com"})
	return err
}

// repo is a clone of the demo's repository.
type repo struct{ dir string }

func (r repo) git(args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=demo", "GIT_AUTHOR_EMAIL=demo@example.com", "GIT_COMMITTER_NAME=demo", "GIT_COMMITTER_EMAIL=demo@example.com")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (r repo) write(name, text string) error {
	path := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func (r repo) push() error {
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", "policy"}, {"push", "-q", "-f", "origin", "HEAD:main"}} {
		if err := r.git(args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *show) clone(dir, name string) (repo, error) {
	r := repo{filepath.Join(dir, name)}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return r, err
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"remote", "add", "origin", d.stack.Forge().CloneURL(demoRepo)}} {
		if err := r.git(args...); err != nil {
			return r, err
		}
	}
	return r, nil
}

// bind lets the forge run the repository's workflow for an event.
func (d *show) bind(dir, event, what string, want policy.Class) error {
	_, err := d.stack.Forge().Trigger(d.ctx, forge.Event{Name: event, Action: "repopolicy", Repository: demoRepo, Ref: "refs/heads/main"}, func(_ context.Context, j *forge.Job) error {
		work, err := os.MkdirTemp(dir, "job-")
		if err != nil {
			return err
		}
		ci := d.person(work, "ci")
		ci.env = j.Env
		r := repo{filepath.Join(work, "checkout")}
		if err := (repo{work}).git("clone", "-q", d.stack.Forge().CloneURL(demoRepo), r.dir); err != nil {
			return err
		}
		made := filepath.Join(work, "bound")
		ci.step(what, want, "bind", "--git", r.dir, "--output", made)
		if want != policy.ClassOK {
			return nil
		}
		return publish(r, made)
	})
	return err
}

// publish adds the signatures below a directory to the branch repopolicy.
func publish(r repo, made string) error {
	begin := []string{"switch", "-q", "--orphan", "repopolicy"}
	if r.git("fetch", "-q", "origin", "repopolicy") == nil {
		begin = []string{"switch", "-q", "--detach", "FETCH_HEAD"}
	}
	if err := r.git(begin...); err != nil {
		return err
	}
	if err := os.CopyFS(r.dir, os.DirFS(made)); err != nil {
		return err
	}
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", "bound"}, {"push", "-q", "origin", "HEAD:refs/heads/repopolicy"}} {
		if err := r.git(args...); err != nil {
			return err
		}
	}
	return nil
}

// releaseFile signs an artifact as a job and puts both into a directory.
func (d *show) releaseFile(dir, name string, job claims.GitHub) (string, error) {
	path := filepath.Join(dir, name)
	b, err := d.sign(job, name, &sign.PlainData{Data: []byte(name)})
	if err != nil {
		return "", err
	}
	data, err := b.MarshalJSON()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path+".sigstore.json", data, 0o600); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(name), 0o600)
}

// policy is the demo's main part: a maintainer's policy, the repository's
// binding, a stranger's verdict, and the attacks.
func (d *show) policy(dir string) error {
	f := d.stack.Forge()
	created, err := f.Create(demoRepo)
	if err != nil {
		return err
	}
	work, err := d.clone(dir, "widget")
	if err != nil {
		return err
	}
	alice, bob, stranger := d.person(dir, "alice"), d.person(dir, "bob"), d.person(dir, "stranger")
	for _, p := range []*person{alice, bob} {
		if err := p.signIn(); err != nil {
			return err
		}
	}

	d.chapter("7. Alice commits a policy for %s and signs it:", demoURL)
	if err := work.write(".github/workflows/repopolicy.yml", demoWorkflow); err != nil {
		return err
	}
	if err := work.write(".repopolicy/policy.toml", demoPolicy(1, 1, "release.yml", "alice")); err != nil {
		return err
	}
	if err := work.push(); err != nil {
		return err
	}
	stranger.step("Before that, nobody can say who may release it.", policy.ClassNoPolicy, "show", "-R", demoURL)
	alice.step("One sign-in, one signature, logged.", policy.ClassOK, "sign", "--git", work.dir, "--yes")
	if err := work.push(); err != nil {
		return err
	}

	d.chapter("8. The repository binds it, in its own workflow:")
	if err := d.bind(dir, "push", "An event that any branch can cause proves nothing, and nothing is logged.", policy.ClassDeny); err != nil {
		return err
	}
	if err := d.bind(dir, "repository_dispatch", "What runs from the default branch only does.", policy.ClassOK); err != nil {
		return err
	}

	d.chapter("9. Anyone's first use: from the address alone, without memory or account:")
	stranger.step("The policy, and how it was found.", policy.ClassOK, "show", "-R", demoURL)
	job := claims.GitHub{Repository: demoRepo, RepositoryID: created.ID, OwnerID: created.OwnerID, Ref: "refs/tags/v1.0.0", Environment: "release"}
	good, err := d.releaseFile(dir, "widget_1.0.0.tar.gz", job)
	if err != nil {
		return err
	}
	stranger.step("A release by the workflow that the policy names.", policy.ClassOK, "verify", "-R", demoURL, "--tag", "v1.0.0", good)

	d.chapter("10. Two maintainers from now on; both sign version 2, and the repository binds it:")
	if err := work.write(".repopolicy/policy.toml", demoPolicy(2, 2, "release.yml", "alice", "bob")); err != nil {
		return err
	}
	if err := work.push(); err != nil {
		return err
	}
	alice.step("Alice signs.", policy.ClassOK, "sign", "--git", work.dir, "--yes")
	if err := work.push(); err != nil {
		return err
	}
	if err := d.bind(dir, "repository_dispatch", "One of two is not enough.", policy.ClassInvalid); err != nil {
		return err
	}
	bob.step("Bob signs.", policy.ClassOK, "sign", "--git", work.dir, "--yes")
	if err := work.push(); err != nil {
		return err
	}
	if err := d.bind(dir, "repository_dispatch", "Both did.", policy.ClassOK); err != nil {
		return err
	}
	newcomer := d.person(dir, "newcomer")
	newcomer.step("The release is as good as before.", policy.ClassOK, "verify", "-R", demoURL, "--tag", "v1.0.0", good)

	d.chapter("11. The attacks, each refused:")
	return d.attacks(dir, stranger, good, job)
}

func (d *show) attacks(dir string, stranger *person, good string, job claims.GitHub) error {
	branch := job
	branch.Ref = "refs/heads/feature"
	side, err := d.releaseFile(dir, "widget_1.0.1.tar.gz", branch)
	if err != nil {
		return err
	}
	stranger.step("A release from a side branch, in a workflow that was edited there.", policy.ClassDeny, "verify", "-R", demoURL, side)
	stranger.step("An old release passed off as a new one.", policy.ClassDeny, "verify", "-R", demoURL, "--tag", "v1.0.1", good)
	anew := job
	anew.RepositoryID++
	other, err := d.releaseFile(dir, "widget_1.0.2.tar.gz", anew)
	if err != nil {
		return err
	}
	stranger.step("A repository that was deleted and made anew under the name.", policy.ClassDeny, "verify", "-R", demoURL, other)

	mallory := d.person(dir, "mallory")
	if err := mallory.signIn(); err != nil {
		return err
	}
	squat, err := d.clone(dir, "squat")
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"fetch", "-q", "origin", "main"}, {"reset", "-q", "--hard", "FETCH_HEAD"}} {
		if err := squat.git(args...); err != nil {
			return err
		}
	}
	if err := squat.write(".repopolicy/policy.toml", demoPolicy(3, 1, "evil.yml", "mallory")); err != nil {
		return err
	}
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", "squat"}} {
		if err := squat.git(args...); err != nil {
			return err
		}
	}
	mallory.step("Mallory, whom version 3 would name, signs it in the hope that this counts.", policy.ClassOK, "sign", "--git", squat.dir, "--yes")
	if err := squat.push(); err != nil {
		return err
	}
	if err := d.bind(dir, "repository_dispatch", "Whoever may push to the default branch can ask to have it bound,", policy.ClassInvalid); err != nil {
		return err
	}
	stranger.step("and nothing has changed for anybody.", policy.ClassOK, "verify", "-R", demoURL, "--tag", "v1.0.0", good)

	heal, err := d.stack.Misbehave(sandbox.Rekor, malice.Reset{})
	if err != nil {
		return err
	}
	d.person(dir, "passer-by").step("Somebody cuts the line to the log: who knows nothing yet learns nothing.", policy.ClassUnavailable, "verify", "-R", demoURL, good)
	if err := heal(); err != nil {
		return err
	}
	if err := d.forkedLog(dir, good, job); err != nil {
		return err
	}

	rollback, err := d.clone(dir, "rollback")
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"fetch", "-q", "origin", "main"}, {"reset", "-q", "--hard", "FETCH_HEAD"}} {
		if err := rollback.git(args...); err != nil {
			return err
		}
	}
	// A maintainer's, not the repository's own: the log shows a binding whole.
	signatures, err := filepath.Glob(filepath.Join(dir, "widget", ".repopolicy", "signatures", "2-*.sigstore.json"))
	if err != nil || len(signatures) == 0 {
		return fmt.Errorf("no signatures of version 2: %w", err)
	}
	if err := os.Remove(filepath.Join(rollback.dir, ".repopolicy", "signatures", filepath.Base(signatures[0]))); err != nil {
		return err
	}
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", "less"}, {"push", "-q", "-f", "origin", "HEAD:main"}} {
		if err := rollback.git(args...); err != nil {
			return err
		}
	}
	d.person(dir, "visitor").step("The forge drops a maintainer's signature of version 2, so that version 1 would be in force again.", policy.ClassUnavailable, "verify", "-R", demoURL, good)

	evil, err := d.clone(dir, "evil")
	if err != nil {
		return err
	}
	if err := evil.write(".repopolicy/policy.toml", demoPolicy(1, 1, "evil.yml", "mallory")); err != nil {
		return err
	}
	if err := evil.push(); err != nil {
		return err
	}
	if err := evil.git("push", "-q", "origin", ":refs/heads/repopolicy"); err != nil {
		return err
	}
	d.person(dir, "passenger").step("The forge replaces the policy and deletes every signature: a stranger learns from the log that something is missing,", policy.ClassUnavailable, "verify", "-R", demoURL, good)
	stranger.step("and who has seen the policy before is not talked out of it.", policy.ClassAlarm, "verify", "-R", demoURL, good)
	return nil
}

// forkedLog lets the log show one history to some and another to others.
func (d *show) forkedLog(dir, good string, job claims.GitHub) error {
	var second bool
	heal, err := d.stack.Misbehave(sandbox.Rekor, malice.Fork{Victim: func(*http.Request) bool { return second }})
	if err != nil {
		return err
	}
	if _, err := d.releaseFile(dir, "widget_1.0.3.tar.gz", job); err != nil {
		return err
	}
	auditor := d.person(dir, "auditor")
	auditor.step("The log begins to keep two histories. The first looks as it should,", policy.ClassOK, "verify", "-R", demoURL, good)
	second = true
	if _, err := d.releaseFile(dir, "widget_1.0.4.tar.gz", job); err != nil {
		return err
	}
	auditor.step("and who is shown the second after the first holds the proof.", policy.ClassAlarm, "verify", "-R", demoURL, good)
	return heal()
}
