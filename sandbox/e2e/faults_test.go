// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"testing"

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

// TestIndexIsNeeded: what the index does not say is not made up for by a scan of another
// log.
func TestIndexIsNeeded(t *testing.T) {
	const url = "https://github.com/acme/faulty"
	_, good := bound(t, "acme/faulty")
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
