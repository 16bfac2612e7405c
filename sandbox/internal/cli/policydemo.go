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
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trustcli"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
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

// demoPolicy is a policy of a repository on github.com.
func demoPolicy(name string, version, threshold int, workflow string, members ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `format     = "repopolicy/v1"
repository = %q
version    = %d
expires    = 2099-01-01T00:00:00Z

[maintainers]
threshold = %d
`, "https://github.com/"+name, version, threshold)
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
	hosts map[string]http.RoundTripper // that only this person's network knows; nil for none
}

// RoundTrip asks the hosts of the person's network, and the stack's for all others.
func (p *person) RoundTrip(r *http.Request) (*http.Response, error) {
	if host := p.hosts[r.URL.Host]; host != nil {
		return host.RoundTrip(r)
	}
	return p.d.stack.Transport().RoundTrip(r)
}

func (d *show) person(dir, name string) *person {
	return &person{d: d, name: name, state: filepath.Join(dir, "state-"+name), env: map[string]string{}}
}

// run runs repopolicy, or repopolicy-trust, on the person's computer, in this process: the
// stack's transport plays the hosts of GitHub.
func (p *person) run(args ...string) (int, string) {
	var out bytes.Buffer
	run := cli.Main
	if args[0] == authorProgram {
		run, args = trustcli.Main, args[1:]
	}
	code := run(args, command.Env{
		Stdout: &out, Stderr: &out, Now: time.Now, Transport: p,
		Getenv:   func(name string) string { return p.env[name] },
		StateDir: func() (string, error) { return p.state, nil },
		Root: func(context.Context, trust.Options) ([]trust.Root, error) {
			r, err := sigstore.ParseRoot("sandbox", p.d.stack.TrustedRoot())
			return []trust.Root{{Root: r}}, err
		},
		SigningConfigs: func(context.Context, bool) ([][]byte, error) { return p.d.configs(), nil },
	})
	return code, out.String()
}

// step shows a command with what it printed, and compares its exit class with
// the one announced.
func (p *person) step(what string, want policy.Class, args ...string) {
	d := p.d
	args = append(slices.Clone(args), d.look...)
	code, out := p.run(args...)
	shown := slices.Clone(args)
	for i, a := range shown {
		if filepath.IsAbs(a) {
			shown[i] = filepath.Base(a)
		}
	}
	d.say("\n   %s", what)
	if args[0] != authorProgram {
		shown = append([]string{"repopolicy"}, shown...)
	}
	d.say("   %s$ %s", p.name, strings.Join(shown, " "))
	own := filepath.Dir(p.state)
	short := strings.NewReplacer(own+"/", "", filepath.Dir(own)+"/", "")
	for line := range strings.Lines(out) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			d.say("     %s", short.Replace(line))
		}
	}
	d.say("     exit %d, %s", code, classOf(code))
	if code != want.Exit() {
		d.wrong++
		d.say("     expected %s", want)
	}
}

// configs are the signing configs of the logs that run.
func (d *show) configs() [][]byte {
	out := [][]byte{d.stack.SigningConfig(2)}
	if d.RekorV1 != nil {
		out = append(out, d.stack.SigningConfig(1))
	}
	return out
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

// repo is a clone of a repository on the forge.
type repo struct{ name, dir string }

func (r repo) url() string { return "https://github.com/" + r.name }

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

// all runs some git commands.
func (r repo) all(commands ...[]string) error {
	for _, args := range commands {
		if err := r.git(args...); err != nil {
			return err
		}
	}
	return nil
}

func (r repo) commit() error {
	return r.all([]string{"add", "-A"}, []string{"commit", "-q", "-m", "policy"})
}

func (r repo) push() error {
	if err := r.commit(); err != nil {
		return err
	}
	return r.git("push", "-q", "-f", "origin", "HEAD:main")
}

// policy commits a policy and pushes it.
func (r repo) policy(text string) error {
	if err := r.write(".repopolicy/policy.toml", text); err != nil {
		return err
	}
	return r.push()
}

// empty returns a directory whose remote is a repository of the forge.
func (d *show) empty(dir, base, name string) (repo, error) {
	r := repo{name, filepath.Join(dir, base)}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return r, err
	}
	return r, r.all([]string{"init", "-q", "-b", "main"}, []string{"remote", "add", "origin", d.stack.Forge().CloneURL(name)})
}

// clone returns a clone of the default branch.
func (d *show) clone(dir, base, name string) (repo, error) {
	r, err := d.empty(dir, base, name)
	if err != nil {
		return r, err
	}
	return r, r.all([]string{"fetch", "-q", "origin", "main"}, []string{"reset", "-q", "--hard", "FETCH_HEAD"})
}

// bind lets the forge run a repository's workflow for an event.
func (d *show) bind(dir, name, event, what string, want policy.Class) error {
	_, err := d.stack.Forge().Trigger(d.ctx, forge.Event{Name: event, Action: "repopolicy", Repository: name, Ref: "refs/heads/main"}, func(_ context.Context, j *forge.Job) error {
		work, err := os.MkdirTemp(dir, "job-")
		if err != nil {
			return err
		}
		ci := d.person(work, "ci")
		ci.env = j.Env
		r := repo{name, filepath.Join(work, "checkout")}
		if err := (repo{name, work}).git("clone", "-q", d.stack.Forge().CloneURL(name), r.dir); err != nil {
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
	if err := r.commit(); err != nil {
		return err
	}
	return r.git("push", "-q", "origin", "HEAD:refs/heads/repopolicy")
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

// publish puts files into a release on the forge.
func (d *show) publish(tag string, files ...string) error {
	content := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		content[filepath.Base(file)] = string(data)
	}
	return d.stack.Forge().Release(demoRepo, tag, content)
}

// policy is the demo's main part: a maintainer's policy, the repository's
// binding, a stranger's verdict, and the attacks.
func (d *show) policy(dir string) error {
	f := d.stack.Forge()
	created, err := f.Create(demoRepo)
	if err != nil {
		return err
	}
	work, err := d.empty(dir, "widget", demoRepo)
	if err != nil {
		return err
	}
	alice, bob, stranger := d.person(dir, "alice"), d.person(dir, "bob"), d.person(dir, "stranger")
	for _, p := range []*person{alice, bob} {
		if err := p.signIn(); err != nil {
			return err
		}
	}

	d.chapter("7. Alice starts a policy for %s:", demoURL)
	if err := work.write(".github/workflows/repopolicy.yml", demoWorkflow); err != nil {
		return err
	}
	if err := work.write(releaseFile, releaseJob); err != nil {
		return err
	}
	if err := work.push(); err != nil {
		return err
	}
	stranger.step("Before that, nobody can say who may release it.", policy.ClassNoPolicy, "show", "-R", demoURL)
	look := d.look
	d.look = nil // nothing is looked up
	alice.step("One command, which proposes what it finds, one sign-in, one signature, logged.", policy.ClassOK, "init", "--git", work.dir, "--repo", demoURL, "--yes")
	d.look = look
	if err := work.push(); err != nil {
		return err
	}

	d.chapter("8. The repository binds it, in its own workflow:")
	if err := d.bind(dir, demoRepo, "push", "An event that any branch can cause proves nothing, and nothing is logged.", policy.ClassDeny); err != nil {
		return err
	}
	if err := d.bind(dir, demoRepo, "repository_dispatch", "What runs from the default branch only does.", policy.ClassOK); err != nil {
		return err
	}

	d.chapter("9. Anyone's first use: from the address alone, without memory or account:")
	stranger.step("The policy, and how it was found.", policy.ClassOK, "show", "-R", demoURL)
	d.chapter("10. A directory, from which the first use becomes a proof:")
	if err := d.directory(dir); err != nil {
		return err
	}
	d.chapter("11. A release: the run asks before it signs:")
	good, err := d.release(dir, work, stranger)
	if err != nil {
		return err
	}
	job := claims.GitHub{Repository: demoRepo, RepositoryID: created.ID, OwnerID: created.OwnerID, Ref: "refs/tags/v1.0.0", Environment: "release"}

	d.chapter("12. Two maintainers from now on; both sign version 2, and the repository binds it:")
	if err := work.write(".repopolicy/policy.toml", demoPolicy(demoRepo, 2, 2, "release.yml", "alice", "bob")); err != nil {
		return err
	}
	if err := work.push(); err != nil {
		return err
	}
	alice.step("Alice signs.", policy.ClassOK, "sign", "--git", work.dir, "--yes")
	if err := work.push(); err != nil {
		return err
	}
	if err := d.bind(dir, demoRepo, "repository_dispatch", "One of two is not enough.", policy.ClassInvalid); err != nil {
		return err
	}
	bob.step("Bob signs.", policy.ClassOK, "sign", "--git", work.dir, "--yes")
	if err := work.push(); err != nil {
		return err
	}
	if err := d.bind(dir, demoRepo, "repository_dispatch", "Both did.", policy.ClassOK); err != nil {
		return err
	}
	newcomer := d.person(dir, "newcomer")
	newcomer.step("The release is as good as before.", policy.ClassOK, "verify", "-R", demoURL, "--tag", "v1.0.0", good)

	d.chapter("13. The attacks, each refused:")
	if err := d.attacks(dir, stranger, good, job); err != nil {
		return err
	}
	d.chapter("14. Attacks on a repository that has no policy yet:")
	if err := d.beginnings(dir); err != nil {
		return err
	}
	d.chapter("15. A maintainer who was removed:")
	if err := d.removed(dir); err != nil {
		return err
	}
	d.chapter("16. A foundation's root, in a registry, anchors two repositories; one was taken over:")
	if err := d.foundation(dir); err != nil {
		return err
	}
	if d.RekorV1 == nil {
		d.say("\n   Only Rekor v1 has an index, and what an index can hide repopolicy-sandbox-rekorv1 demo shows.")
		return nil
	}
	d.chapter("17. An index that hides what the log has:")
	return d.omitted(dir)
}
