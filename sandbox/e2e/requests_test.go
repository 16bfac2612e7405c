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
	} else {
		c.n[service]++
	}
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

// TestRequests: a machine without memory needs few requests, and asks nobody but
// the forge and the log.
func TestRequests(t *testing.T) {
	const url = "https://github.com/acme/counted"
	_, good := bound(t, "acme/counted")
	c := newComputer(t)
	count := &counter{next: stack.Transport()}
	c.transport = count
	for _, want := range []map[string]int{
		// advertised refs, commits and trees, files; one question to the index, one for what it
		// lists: that may stand at another place than what is at hand; the first time also a proof
		// and tiles, that each log is of one history
		{"forge": 2, "rekor-v1": 3, "tiles": 1},
		{"forge": 2, "rekor-v1": 2},
	} {
		count.n = map[string]int{}
		c.must(policy.ClassOK, "verify", "-R", url, good)
		if !maps.Equal(count.n, want) {
			t.Errorf("%v, want %v", count.n, want)
		}
	}
}
