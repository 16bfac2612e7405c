// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// bound is a project whose policy is bound, with a release of it.
func bound(t testing.TB, name string) (p *project, release string) {
	t.Helper()
	p = newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	c := newComputer(t)
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	repo, err := stack.Forge().Find(name)
	check(t, err)
	return p, releaseFile(t, "widget_1.tar.gz", claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"})
}

// pauses is how long a client waits at most between three attempts.
const pauses = 940 * time.Millisecond

// TestFaults: whatever a service does to the line, a machine without memory gets
// no verdict that is OK, and gets it in time.
func TestFaults(t *testing.T) {
	const url = "https://github.com/acme/faulty"
	_, good := bound(t, "acme/faulty")
	begin := time.Now()
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--scan", good)
	healthy := time.Since(begin)
	const patience = time.Second / 2 // of one attempt
	for _, service := range []sandbox.Service{sandbox.Forge, sandbox.RekorV1, sandbox.Rekor} {
		for _, fault := range []malice.Fault{
			malice.Reset{}, malice.Truncate{After: 20}, malice.Status{Code: 404}, malice.Status{Code: 429, RetryAfter: time.Hour}, malice.Status{Code: 500},
			malice.Drop{}, malice.Delay{By: 4 * patience}, malice.Drip{Every: patience / 4}, malice.Status{Code: 503}, malice.WrongType{}, malice.Endless{}, malice.GzipBomb{}, malice.Redirect{To: "http://127.0.0.1:9/"},
		} {
			t.Run(fmt.Sprintf("%s %T", service, fault), func(t *testing.T) {
				undo, err := stack.Misbehave(service, fault)
				check(t, err)
				defer func() { check(t, undo()) }()
				args := []string{"verify", "-R", url, good}
				if service == sandbox.Rekor {
					args = append(args, "--scan")
				}
				want := policy.ClassUnavailable
				switch fault.(type) {
				case malice.Endless, malice.GzipBomb:
					if service == sandbox.Forge {
						want = policy.ClassOK // what comes after the end of a pack is not read
					}
				}
				c, deadline := newComputer(t), 22*time.Second
				switch fault.(type) {
				case malice.Drop, malice.Delay, malice.Drip:
					c.timeout, deadline = patience, 3*patience+pauses
					if service == sandbox.Forge {
						deadline = patience
					}
				}
				begin := time.Now()
				code, out := c.repopolicy(args...)
				if code != want.Exit() {
					t.Errorf("exit %d\n%s", code, out)
				}
				// Beside the waiting there is the work of a run.
				if d := time.Since(begin); d > deadline*11/10+healthy {
					t.Errorf("it took %s", d)
				}
			})
		}
	}
	// What the index does not say is not made up for by a scan of another log.
	undo, err := stack.Misbehave(sandbox.RekorV1, malice.Status{Code: 503})
	check(t, err)
	newComputer(t).must(policy.ClassUnavailable, "verify", "-R", url, "--scan", good)
	check(t, undo())
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, good)
}

// TestLogFaults: a log that shows another history than before is an alarm for
// whoever saw the first one; an index that leaves out or floods does not change
// who is right.
func TestLogFaults(t *testing.T) {
	const url = "https://github.com/acme/forked"
	_, good := bound(t, "acme/forked")
	knows := newComputer(t)
	knows.must(policy.ClassOK, "verify", "-R", url, "--scan", good)

	victim := false
	undo, err := stack.Misbehave(sandbox.Rekor, malice.Fork{Victim: func(*http.Request) bool { return victim }})
	check(t, err)
	defer func() { check(t, undo()) }()
	other := claims.GitHub{Repository: "acme/other", Ref: "refs/tags/v1"}
	signBlob(t, []byte("honest"), other)
	knows.must(policy.ClassOK, "verify", "-R", url, "--scan", good)
	victim = true
	signBlob(t, []byte("forked"), other)
	if out := knows.must(policy.ClassAlarm, "verify", "-R", url, "--scan", good); !strings.Contains(out, "another history") {
		t.Error(out)
	}
}

// TestSignFaults: whatever a service does to the line while somebody signs, nothing
// half done is taken for a signature, and when the service is well again the same
// command ends, with one entry in each log: also where only the answer was lost.
func TestSignFaults(t *testing.T) {
	const patience = time.Second / 2
	for _, service := range []sandbox.Service{sandbox.Fulcio, sandbox.TSA, sandbox.RekorV1, sandbox.Rekor} {
		for i, fault := range []malice.Fault{
			malice.Reset{}, malice.Truncate{After: 20}, malice.Status{Code: 503}, malice.Drop{}, malice.Drip{Every: patience / 4},
			malice.WrongType{}, malice.Endless{}, malice.Redirect{To: "http://127.0.0.1:9/"},
		} {
			if fault == (malice.Status{Code: 503}) && service == sandbox.TSA {
				continue // asked again for as long as the certificate authority
			}
			t.Run(fmt.Sprintf("%s %T", service, fault), func(t *testing.T) {
				name := fmt.Sprintf("acme/faulty-%s-%d", service, i)
				p := newProject(t, name)
				p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
				p.push()
				c := newComputer(t)
				var err error
				c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
				check(t, err)
				c.timeout = patience
				before := logSizes(t)
				undo, err := stack.Misbehave(service, fault)
				check(t, err)
				begin := time.Now()
				// Two look-ups in the index come before and after.
				deadline := 2*(3*patience+pauses) + 8*time.Second // that the certificate authority is asked again in
				code, out := c.repopolicy("sign", "--git", p.dir, "--yes")
				if d := time.Since(begin); d > deadline {
					t.Errorf("it took %s", d)
				}
				check(t, undo())
				files, err := filepath.Glob(filepath.Join(p.dir, ".repopolicy", "signatures", "*"))
				check(t, err)
				switch {
				case code == policy.ClassOK.Exit() && len(files) == 2: // what a service says after its answer is not read
				case code != policy.ClassUnavailable.Exit() || len(files) > 0 || !strings.Contains(out, "hint: "):
					t.Errorf("exit %d, %d files\n%s", code, len(files), out)
				}
				c.timeout = 0
				c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
				if got, want := logSizes(t), (sizes{before.v1 + 1, before.v2 + 1}); got != want {
					t.Errorf("the logs have %v entries, want %v", got, want)
				}
			})
		}
	}
}
