// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
)

// counter counts the requests to each service; tiles and checkpoint of Rekor v2 as one, since how many there
// are is a matter of how large the log has grown.
type counter struct {
	next http.RoundTripper
	mu   sync.Mutex
	n    map[string]int
	v2   int // to Rekor v2, each
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	service := "another: " + r.URL.String()
	for _, s := range []sandbox.Service{sandbox.Rekor, sandbox.RekorV1, sandbox.Forge} {
		if strings.TrimPrefix(stack.URL(s), "http://") == r.URL.Host {
			service = string(s)
		}
	}
	if r.URL.Host == "github.com" {
		service = string(sandbox.Forge)
	}
	c.mu.Lock()
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/api/v2/") {
		c.n["tiles"] = 1
		c.v2++
	} else {
		c.n[service]++
	}
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

// TestRequests: a machine without memory needs few requests, and asks nobody but
// the forge and the logs.
func TestRequests(t *testing.T) {
	const url = "https://github.com/acme/counted"
	_, good := bound(t, "acme/counted")
	for how, x := range map[string]struct {
		flags []string
		want  []map[string]int // of the first use and the second
	}{
		// advertised refs, commits and trees, files; one question to the index, one for what it
		// lists: that may stand at another place than what is at hand; the first time also a proof
		// and tiles, that each log is of one history
		"index": {nil, []map[string]int{{"forge": 2, "rekor-v1": 3, "tiles": 1}, {"forge": 2, "rekor-v1": 2}}},
		// the same, since no tiles tell what is in Rekor v1, and how far Rekor v2 goes
		"scan": {[]string{"--scan"}, []map[string]int{
			{"forge": 2, "rekor-v1": 3, "tiles": 1}, {"forge": 2, "rekor-v1": 2, "tiles": 1},
		}},
	} {
		c := newComputer(t)
		count := &counter{next: stack.Transport()}
		c.transport = count
		for i, want := range x.want {
			count.n, count.v2 = map[string]int{}, 0
			c.must(policy.ClassOK, append([]string{"verify", "-R", url, good}, x.flags...)...)
			if !maps.Equal(count.n, want) {
				t.Errorf("%s, use %d: %v, want %v", how, i+1, count.n, want)
			}
			t.Logf("%s, use %d: %v, of Rekor v2 %d", how, i+1, count.n, count.v2)
		}
	}
}
