// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// TestKillRelease: sign-release and approve are killed after each step that anybody
// can see, and run again: there is one signature with one entry, and what was
// written verifies.
func TestKillRelease(t *testing.T) {
	const name = "acme/kill-release"
	p := boundProject(t, name, strings.Replace(approvedPolicy(name, 1, "alice"), "threshold = 2", "threshold = 1", 1), nil)
	p.tag("v1")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(j *forge.Job, _ *computer, checkout string) {
		for n := 1; ; n++ {
			if n > 60 {
				t.Fatal("it never ends")
			}
			file := artifact(t, fmt.Sprintf("widget_%d.tar.gz", n))
			home := t.TempDir()
			job := newProcess(t, home, nil)
			for k, v := range j.Env {
				if k != "PATH" && k != "HOME" {
					job.env = append(job.env, k+"="+v)
				}
			}
			person := newProcess(t, t.TempDir(), alice)
			ended := true
			for _, x := range []struct {
				p    *process
				args []string
			}{
				{job, []string{"sign-release", "--checkout", checkout, file}},
				{person, []string{"approve", "-R", name, "--yes", file}},
			} {
				before := v2Size(t)
				doomed := process{t, append([]string{fmt.Sprintf("%s=%d", killAtLine, n)}, x.p.env...)}
				code, _ := doomed.run(0, x.args...)
				ended = ended && code == 0
				if code, out := x.p.run(0, x.args...); code != 0 {
					t.Fatalf("%d: %v: exit %d\n%s", n, x.args, code, out)
				}
				if after := v2Size(t); after != before+1 {
					t.Errorf("%d: %s: %d entries", n, x.args[0], after-before)
				}
			}
			newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1", file)
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); err != nil || len(left) != 4 {
				t.Errorf("%d: %v %q", n, err, left)
			}
			if ended {
				t.Logf("%d steps", n-1)
				return
			}
		}
	})
}

// v2Size returns how many entries the log has in which releases are logged.
func v2Size(t testing.TB) int {
	t.Helper()
	note, err := newMachine(t).client(stack.URL(sandbox.Rekor)).Get(t.Context(), "api/v2/checkpoint", 1<<16)
	check(t, err)
	n, err := strconv.Atoi(strings.Split(string(note), "\n")[1])
	check(t, err)
	return n
}

// broken is a network in which some requests fail.
type broken struct {
	next http.RoundTripper
	bad  func(*http.Request) bool
}

func (b *broken) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.bad(r) {
		return nil, errors.New("connection refused")
	}
	return b.next.RoundTrip(r)
}

// TestIssuerOutage: without the issuer's keys nobody is authorised, and nothing is
// signed; so it is if a signing service is down.
func TestIssuerOutage(t *testing.T) {
	const name = "acme/outage"
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), nil)
	p.tag("v1")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(j *forge.Job, c *computer, dir string) {
		host := func(s sandbox.Service) string {
			u, err := url.Parse(stack.URL(s))
			check(t, err)
			return u.Host
		}
		for what, bad := range map[string]func(*http.Request) bool{
			"discovery": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/openid-configuration") },
			"keys":      func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/jwks") },
			"tokens":    func(r *http.Request) bool { return r.URL.Query().Get("audience") != "" },
			"fulcio":    func(r *http.Request) bool { return r.URL.Host == host(sandbox.Fulcio) },
			"tsa":       func(r *http.Request) bool { return r.URL.Host == host(sandbox.TSA) },
			"rekor v1":  func(r *http.Request) bool { return r.URL.Host == host(sandbox.RekorV1) },
		} {
			file := artifact(t, "widget_"+strings.ReplaceAll(what, " ", "_")+".tar.gz")
			c.transport = &broken{stack.Transport(), bad}
			before := v2Size(t)
			c.must(policy.ClassUnavailable, "sign-release", "--checkout", dir, file)
			if _, err := os.Stat(file + ".sigstore.json"); err == nil || v2Size(t) != before {
				t.Errorf("%s: something was signed", what)
			}
			c.transport = stack.Transport()
			c.must(policy.ClassOK, "sign-release", "--checkout", dir, file)
		}
	})
}

// TestBranchRelease: packages that are released from a branch. The tag is what the package
// URL says, with what the rule puts before it, and must not be taken by another commit.
func TestBranchRelease(t *testing.T) {
	const name = "acme/branch-release"
	rest := `refs        = ["refs/heads/main"]
workflow    = ".github/workflows/release.yml"
environment = "release"
`
	text := string(policyText(name, 1, 1, "alice")) + `
[[release]]
name        = "npm"
tags        = ["v*"]
artifacts   = ["pkg:npm/%40acme/widget@*"]
` + rest + `
[[release]]
name        = "gadget"
tags        = ["gadget@*"]
tag-prefix  = "gadget@"
artifacts   = ["pkg:npm/%40acme/gadget@*"]
` + rest
	p := boundProject(t, name, text, nil)
	file := artifact(t, "widget-1.0.0.tgz")
	event := forge.Event{
		Name: "workflow_dispatch", Ref: "refs/heads/main", Workflow: ".github/workflows/release.yml",
	}
	sign := func(class policy.Class, pkg, why string) {
		t.Helper()
		p.inJob(event, "release.yml", func(_ *forge.Job, c *computer, dir string) {
			before := logged(t)
			out := c.must(class, "sign-release", "--checkout", dir, "--purl", "pkg:npm/%40acme/"+pkg, file)
			if !strings.Contains(out, why) || class != policy.ClassOK && logged(t) != before {
				t.Error(out)
			}
			// Which only the tag's run may.
			c.must(policy.ClassDeny, "sign-release", "--checkout", dir, artifact(t, "widget_1.tar.gz"))
		})
	}
	more := func() {
		p.write("README", git(t, p.dir, "rev-parse", "HEAD"))
		p.commit("more")
		p.push2("HEAD:main")
	}
	verify := func(class policy.Class, tag, pkg string) {
		t.Helper()
		newComputer(t).must(class, "verify", "-R", name, "--tag", tag, "--name", "pkg:npm/%40acme/"+pkg, file)
	}
	sign(policy.ClassDeny, "widget@x", "tag")
	p.tag("v1.0.0")
	more()
	sign(policy.ClassDeny, "widget@1.0.0", "the tag v1.0.0 of the repository is at")
	p.push2(":refs/tags/v1.0.0")
	sign(policy.ClassOK, "widget@1.0.0", "by rule npm")
	verify(policy.ClassOK, "v1.0.0", "widget@1.0.0")
	newComputer(t).must(policy.ClassDeny, "verify", "-R", name, "--tag", "v1.0.0", file) // a file is no package
	verify(policy.ClassDeny, "v1.0.1", "widget@1.0.0")

	// The tag of another package of that version is none of this one's.
	check(t, os.Remove(file+".sigstore.json"))
	p.tag("v2.0.0")
	p.tag("gadget@2.0.0")
	more()
	sign(policy.ClassDeny, "gadget@2.0.0", "the tag gadget@2.0.0 of the repository is at")
	p.push2(":refs/tags/gadget@2.0.0")
	sign(policy.ClassOK, "gadget@2.0.0", "by rule gadget")
	verify(policy.ClassOK, "gadget@2.0.0", "gadget@2.0.0")
	verify(policy.ClassDeny, "v2.0.0", "gadget@2.0.0")
	verify(policy.ClassDeny, "2.0.0", "gadget@2.0.0")
}

// TestGitLabRelease: a job of GitLab, by the tokens that id_tokens gives it.
func TestGitLabRelease(t *testing.T) {
	const name, repo = "group/release", "https://gitlab.com/group/release"
	r, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	maintainer := newComputer(t)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	maintainer.must(policy.ClassOK, "init", "--git", p.dir, "--repo", repo, "--email", "alice@example.com",
		"--issuer", "https://accounts.google.com", "--no-sign", "--yes", "--workflow", ".gitlab-ci.yml")
	data, err := os.ReadFile(filepath.Join(p.dir, ".repopolicy/policy.toml"))
	check(t, err)
	before, _, _ := strings.Cut(string(data), "[[release]]")
	p.write(".repopolicy/policy.toml", before+`
[[release]]
name        = "ci"
tags        = ["v*"]
artifacts   = ["tool_*"]
workflow    = ".gitlab-ci.yml"
environment = "release"
`)
	p.push()
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	if out, err := gitlab(t, name, "main"); err != nil {
		t.Fatal(err, out)
	}
	p.tag("v1")
	head := git(t, p.dir, "rev-parse", "HEAD")
	job := claims.GitLab{Project: name, ProjectID: r.ID, NamespaceID: r.OwnerID, Ref: "v1", RefType: "tag", SHA: head, Environment: "release", Protected: true}
	run := func(who claims.GitLab) *computer {
		c := newComputer(t)
		for variable, audience := range map[string]string{"REPOPOLICY_ID_TOKEN": "repopolicy", "SIGSTORE_ID_TOKEN": "sigstore"} {
			c.env[variable], err = stack.Token(claims.Forged{From: who, Set: map[string]any{"aud": audience, "exp": time.Now().Add(time.Hour).Unix()}})
			check(t, err)
		}
		for k, v := range map[string]string{"CI_PIPELINE_ID": "1", "CI_JOB_ID": "1", "CI_COMMIT_SHA": head, "CI_COMMIT_REF_NAME": who.Ref, "CI_PROJECT_PATH": name} {
			c.env[k] = v
		}
		return c
	}
	file := artifact(t, "tool_1")
	c := run(job)
	c.must(policy.ClassOK, "sign-release", "--checkout", p.dir, file)
	git(t, p.dir, "fetch", "-q", "origin")
	newComputer(t).must(policy.ClassOK, "verify", "-R", repo, "--offline", "--git", p.dir, "--require", "none", "--tag", "v1", file)
	for what, change := range map[string]func(*claims.GitLab){
		"no environment":  func(g *claims.GitLab) { g.Environment = "" },
		"a branch":        func(g *claims.GitLab) { g.Ref, g.RefType = "main", "branch" },
		"a merge request": func(g *claims.GitLab) { g.Source = "merge_request_event" },
		"another project": func(g *claims.GitLab) { g.ProjectID++ },
		"another config":  func(g *claims.GitLab) { g.Config = "gitlab.com/mallory/tool//.gitlab-ci.yml@refs/tags/v1" },
	} {
		other := job
		change(&other)
		before := logged(t)
		if out := run(other).must(policy.ClassDeny, "sign-release", "--checkout", p.dir, artifact(t, "tool_2")); logged(t) != before {
			t.Errorf("%s: %s", what, out)
		}
	}
	delete(c.env, "REPOPOLICY_ID_TOKEN")
	c.must(policy.ClassDeny, "authorize", "--checkout", p.dir, file)
	c.must(policy.ClassDeny, "sign-release", "-R", repo, "--checkout", p.dir, "--yes", artifact(t, "tool_3"))
}

// TestSignInAttacks: what a browser brings back must be the answer to what was
// asked, once and to this machine alone.
func TestSignInAttacks(t *testing.T) {
	visit := func(address string, change func(callback url.Values)) error {
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		form := u.Query()
		form.Set("email", "alice@example.com")
		u.RawQuery = ""
		resp, err := client.PostForm(u.String(), form)
		if err != nil {
			return err
		}
		resp.Body.Close()
		back, err := url.Parse(resp.Header.Get("Location"))
		if err != nil {
			return err
		}
		if h := back.Hostname(); h != "localhost" && h != "127.0.0.1" {
			return fmt.Errorf("it listens as %s", h)
		}
		q := back.Query()
		change(q)
		back.RawQuery = q.Encode()
		resp, err = client.Get(back.String())
		if err == nil {
			resp.Body.Close()
		}
		return nil // the program may have gone
	}
	signIn := func(open func(string) error) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return sigstore.SignIn(ctx, stack.URL(sandbox.Issuer), false, nil, func(string) {}, func(address string) error {
			go func() { _ = open(address) }()
			return nil
		})
	}
	token, err := signIn(func(address string) error { return visit(address, func(url.Values) {}) })
	if err != nil || token == "" {
		t.Fatalf("nobody can sign in: %v", err)
	}
	for what, open := range map[string]func(string) error{
		"another state": func(address string) error { return visit(address, func(q url.Values) { q.Set("state", "x") }) },
		"no state":      func(address string) error { return visit(address, func(q url.Values) { q.Del("state") }) },
		"another code":  func(address string) error { return visit(address, func(q url.Values) { q.Set("code", "x") }) },
		"another nonce": func(address string) error {
			u, err := url.Parse(address)
			if err != nil {
				return err
			}
			q := u.Query()
			q.Set("nonce", "x")
			u.RawQuery = q.Encode()
			return visit(u.String(), func(url.Values) {})
		},
	} {
		start := time.Now()
		token, err := signIn(open)
		t.Logf("%s: %v after %s", what, err, time.Since(start).Round(time.Millisecond))
		if err == nil || token != "" {
			t.Errorf("%s: signed in", what)
		}
	}
}

// BenchmarkGate is what a job waits for: from nothing known to a decision, and to a
// signature that was logged and judged.
func BenchmarkGate(b *testing.B) {
	const name = "acme/gate"
	p := boundProject(b, name, string(policyText(name, 1, 1, "alice")), nil)
	p.tag("v1")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(j *forge.Job, _ *computer, dir string) {
		for _, verb := range []string{"authorize", "sign-release"} {
			b.Run(verb, func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					b.StopTimer()
					c := newComputer(b)
					c.env = j.Env
					file := artifact(b, fmt.Sprintf("widget_%s_%d_%d.tar.gz", verb, b.N, i))
					b.StartTimer()
					c.must(policy.ClassOK, verb, "--checkout", dir, file)
				}
			})
		}
	})
}
