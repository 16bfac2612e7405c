// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// steps sees which steps of signing are taken, and lets one of them fail.
type steps struct {
	next   http.RoundTripper
	fails  command.Step
	after  int                // so many times the step goes well before it fails
	before func(command.Step) // if set, is called before each request; "" is none of signing
	mu     sync.Mutex
	taken  []command.Step
	tree   bool // the last request to Rekor v2 was for its checkpoint
}

func (s *steps) step(r *http.Request) command.Step {
	at := func(x sandbox.Service) bool {
		u, err := url.Parse(stack.URL(x))
		return err == nil && u.Host == r.URL.Host
	}
	logs := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/log/entries")
	switch {
	case at(sandbox.Fulcio):
		return command.StepCertificate
	case at(sandbox.TSA):
		return command.StepStamp
	case at(sandbox.RekorV1) && logs:
		return command.StepV1
	case at(sandbox.Rekor) && logs:
		return command.StepV2
	case r.URL.Host == "github.com" || at(sandbox.Forge) || at(sandbox.RekorV1) || at(sandbox.Rekor):
		return command.StepLook
	}
	return ""
}

// RoundTrip implements http.RoundTripper.
func (s *steps) RoundTrip(r *http.Request) (*http.Response, error) {
	step := s.step(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case step == command.StepLook && strings.HasSuffix(r.URL.Path, "/api/v2/checkpoint"):
		s.tree = true
	case step == command.StepStamp && s.tree: // of a place proof, which is no step
		step, s.tree = "", false
	case step == command.StepV2:
		s.tree = false
	}
	if s.before != nil {
		s.before(step)
	}
	if step != "" {
		s.taken = append(s.taken, step)
	}
	if step == s.fails {
		s.after--
	}
	if step != "" && step == s.fails && s.after < 0 {
		return nil, errors.New("it fails")
	}
	return s.next.RoundTrip(r)
}

// TestOrder walks through the order of steps of each verb that a person runs: when a
// step fails, no later one is begun; and when all is well again, the same command ends,
// with one entry in each log.
func TestOrder(t *testing.T) {
	for verb, flags := range map[string][]string{"sign": nil, "approve": nil, "sign-release": {"--statement", "--tag", "v1-hotfix.1"}} {
		order := command.Orders["repopolicy "+verb]
		for i, fails := range order {
			t.Run(verb+" "+string(fails), func(t *testing.T) {
				name := "acme/order-" + verb + "-" + string(fails)
				text := approvedPolicy(name, 1, "alice", "bob", "carol") + `
[[release]]
name       = "people"
tags       = ["v*-hotfix.*"]
artifacts  = ["*.zip"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`
				var p *project
				args := []string{verb, "--yes"}
				file := artifact(t, "widget.zip")
				written := file + ".sigstore.json"
				if verb == "sign" {
					p = newProject(t, name)
					p.write(".repopolicy/policy.toml", text)
					p.push()
					args = append(args, "--git", p.dir)
					written = filepath.Join(p.dir, ".repopolicy", "signatures")
				} else {
					p = boundProject(t, name, text, nil)
					p.tag("v1")
					args = append(append(args, "-R", name), flags...)
					if verb == "approve" {
						args = append(args, "--tag", "v1")
						written = filepath.Join(filepath.Dir(file), "out")
						args = append(args, "--output", written)
					} else {
						args = append(args, "--checkout", p.dir)
					}
					args = append(args, file)
				}
				c := newComputer(t)
				seen := &steps{next: stack.Transport(), fails: fails}
				c.transport = seen
				who := "alice"
				if fails == command.StepIdentity {
					who = "mallory"
				}
				token, err := stack.Token(personOf(who))
				check(t, err)
				good := slices.Clone(args)
				switch fails {
				case command.StepFlags:
					args = append(args, "--expect-identity", "nobody")
				case command.StepToken:
					token = ""
				case command.StepConsent:
					args = slices.DeleteFunc(args, func(a string) bool { return a == "--yes" })
					c.answers = "n\n"
				case command.StepFile: // what stands in the way came after it was looked for
					seen.before = func(s command.Step) {
						if _, err := os.Lstat(written); s != command.StepV2 || err == nil {
							return
						}
						if verb == "approve" {
							check(t, os.WriteFile(written, nil, 0o600)) // a directory is wanted
						} else {
							check(t, os.MkdirAll(filepath.Dir(written), 0o700))
							check(t, os.Symlink(t.TempDir(), written))
						}
					}
				}
				c.env["SIGSTORE_ID_TOKEN"] = token
				before := logSizes(t)
				code, out := c.repopolicy(args...)
				if code == 0 || code == policy.ClassInternal.Exit() {
					t.Errorf("exit %d\n%s", code, out)
				}
				for _, s := range seen.taken {
					if slices.Index(order, s) > i {
						t.Errorf("%s was begun\n%s", s, out)
					}
				}
				now := logSizes(t)
				early := i < slices.Index(order, command.StepV2) && fails != command.StepV1
				late := fails == command.StepV2 || fails == command.StepFile
				if early && now.v2 != before.v2 || !late && now.v1 != before.v1 {
					t.Errorf("the logs had %v entries and have %v\n%s", before, now, out)
				}
				if fails == command.StepIdentity {
					// Who is named and may not sign, and who may and is not named.
					for who, args := range map[string][]string{"mallory": append([]string{good[0], "--expect-identity", "mallory@example.com"}, good[1:]...), "alice": append([]string{good[0], "--expect-identity", "bob@example.com"}, good[1:]...)} {
						c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf(who))
						check(t, err)
						if out := c.must(policy.ClassDeny, args...); slices.Contains(seen.taken, command.StepCertificate) {
							t.Errorf("%s was certified\n%s", who, out)
						}
					}
				}
				if fails == command.StepFile {
					check(t, os.Remove(written))
				}
				seen.before = nil
				seen.fails, c.transport, c.answers = "", seen, ""
				c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
				check(t, err)
				c.must(policy.ClassOK, good...)
				want := sizes{before.v1, before.v2 + 1}
				if slices.Contains(order, command.StepV1) {
					want.v1++
				}
				if got := logSizes(t); got != want {
					t.Errorf("the logs have %v entries, want %v", got, want)
				}
			})
		}
	}
}

// TestOddLog: whatever Rekor v1 answers to sign that is no whole entry is no signature
// and no crash; and the next run finds the entry that is there.
func TestOddLog(t *testing.T) {
	const name = "acme/odd-log"
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	before := logSizes(t)
	c := newComputer(t)
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	for what, change := range map[string]func(string) string{
		"an empty object": func(string) string { return "{}" }, "null": func(string) string { return "null" }, "a null entry": func(string) string { return `{"00":null}` },
		"no timestamp": func(s string) string { return strings.Replace(s, "signedEntryTimestamp", "x", 1) },
		"another timestamp": func(s string) string {
			return strings.Replace(s, `signedEntryTimestamp":"M`, `signedEntryTimestamp":"N`, 1)
		},
		"no proof":      func(s string) string { return strings.Replace(s, "inclusionProof", "x", 1) },
		"no checkpoint": func(s string) string { return strings.Replace(s, "checkpoint", "x", 1) },
		"no body":       func(s string) string { return strings.Replace(s, `"body"`, `"x"`, 1) },
	} {
		c.transport = changed{change}
		code, out := c.repopolicy("sign", "--git", p.dir, "--yes")
		files, _ := filepath.Glob(filepath.Join(p.dir, ".repopolicy", "signatures", "*"))
		if code != policy.ClassUnavailable.Exit() || len(files) > 0 {
			t.Errorf("%s: exit %d, %d files\n%s", what, code, len(files), out)
		}
	}
	c.transport = stack.Transport()
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	if got, want := logSizes(t), (sizes{before.v1 + 1, before.v2 + 1}); got != want {
		t.Errorf("the logs have %v entries, want %v", got, want)
	}
}

// changed changes what Rekor v1 answers about an entry.
type changed struct{ f func(string) string }

// RoundTrip implements http.RoundTripper.
func (c changed) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := stack.Transport().RoundTrip(r)
	if err != nil || !strings.HasPrefix(stack.URL(sandbox.RekorV1), "http://"+r.URL.Host) || !strings.Contains(r.URL.Path, "/log/entries") || strings.HasSuffix(r.URL.Path, "/retrieve") || resp.StatusCode > 299 {
		return resp, err
	}
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	text := c.f(string(data))
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	resp.Header.Del("Content-Length")
	return resp, err
}

// TestBindOrder does the same for bind, which a job runs.
func TestBindOrder(t *testing.T) {
	const name = "acme/order-bind"
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	signer := newComputer(t)
	var err error
	signer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	signer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	order := command.Orders["repopolicy bind"]
	before := logSizes(t)
	p.inJob(forge.Event{Name: "repository_dispatch", Action: "repopolicy", Ref: "refs/heads/main"}, "repopolicy.yml", func(_ *forge.Job, c *computer, dir string) {
		job := c.env
		for i, fails := range order {
			seen := &steps{next: stack.Transport(), fails: fails}
			c.transport, c.env = seen, maps.Clone(job)
			out := t.TempDir()
			args := []string{"bind", "--git", dir, "--output", out}
			switch fails {
			case command.StepFlags:
				args = append(args, "--signing-config", "none")
			case command.StepToken:
				delete(c.env, "ACTIONS_ID_TOKEN_REQUEST_URL")
			case command.StepIdentity: // of another run, which proves nothing
				token, err := stack.Token(claims.GitHub{Repository: name, Ref: "refs/heads/main"})
				check(t, err)
				c.env["SIGSTORE_ID_TOKEN"] = token
			case command.StepFile:
				seen.before = func(s command.Step) {
					if s == command.StepV2 {
						_ = os.Symlink(t.TempDir(), filepath.Join(out, ".repopolicy"))
					}
				}
			}
			code, talk := c.repopolicy(args...)
			if code == 0 || code == policy.ClassInternal.Exit() {
				t.Errorf("%s: exit %d\n%s", fails, code, talk)
			}
			for _, s := range seen.taken {
				if slices.Index(order, s) > i {
					t.Errorf("%s: %s was begun\n%s", fails, s, talk)
				}
			}
			if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 && fails != command.StepFile {
				t.Errorf("%s: %v, %v", fails, entries, err)
			}
		}
		c.transport, c.env = stack.Transport(), job
		c.must(policy.ClassOK, "bind", "--git", dir, "--output", t.TempDir())
	})
	if got, want := logSizes(t), (sizes{before.v1 + 1, before.v2 + 1}); got != want {
		t.Errorf("the logs have %v entries, want %v", got, want)
	}
}
