// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
)

// proofs answers questions about consistency in its own way.
type proofs struct {
	next  http.RoundTripper
	reply string
}

func (p *proofs) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/log/proof") {
		return p.next.RoundTrip(r)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(p.reply)), Request: r}, nil
}

// TestConsistency: a machine that saw Rekor v1 before demands that it goes on from
// there. That takes one question where the log has grown, and none otherwise.
func TestConsistency(t *testing.T) {
	const name, url = "acme/consistent", "https://github.com/acme/consistent"
	p, good := bound(t, name)
	c := newComputer(t)
	count := &counter{next: stack.Transport()}
	c.transport = count
	verify := func(want map[string]int) {
		t.Helper()
		count.n = map[string]int{}
		c.must(policy.ClassOK, "verify", "-R", url, good)
		if !maps.Equal(count.n, want) {
			t.Errorf("%v, want %v", count.n, want)
		}
	}
	verify(map[string]int{string(sandbox.Forge): 2, "tiles": 1, string(sandbox.RekorV1): 2})
	p.write(".repopolicy/policy.toml", string(policyText(name, 2, 1, "alice")))
	p.push()
	git(t, p.dir, "fetch", "-q", "origin")
	git(t, p.dir, "checkout", "-q", "origin/repopolicy", "--", ".repopolicy/signatures") // the job of this test replaces the branch
	maintainer := newComputer(t)
	var err error
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	check(t, p.dispatch("repository_dispatch"))

	// A log that does not show how it goes on is not believed, and one that shows
	// another history has lied.
	for reply, class := range map[string]policy.Class{"": policy.ClassUnavailable, `{"hashes":[]}`: policy.ClassAlarm} {
		c.transport = &proofs{stack.Transport(), reply}
		c.must(class, "verify", "-R", url, good)
	}
	evidence, err := filepath.Glob(filepath.Join(c.state, "state", "*", "evidence", "fork-*.json"))
	if err != nil || len(evidence) != 1 {
		t.Fatalf("evidence %v (%v)", evidence, err)
	}
	data, err := os.ReadFile(evidence[0])
	check(t, err)
	var doc map[string]string
	if err := json.Unmarshal(data, &doc); err != nil || doc["seen"] == "" || doc["new"] == "" || doc["proof"] != `{"hashes":[]}` {
		t.Errorf("%s %v", data, err)
	}
	// By itself the file proves that the log signed both, and no more.
	if out := c.must(policy.ClassDeny, "evidence", "show", "--trusted-root", c.root, evidence[0]); !strings.Contains(out, "log-fork") || !strings.Contains(out, "only the log can show") {
		t.Error(out)
	}
	c.transport = count
	verify(map[string]int{string(sandbox.Forge): 2, string(sandbox.RekorV1): 3})
	verify(map[string]int{string(sandbox.Forge): 2, string(sandbox.RekorV1): 1})
}
