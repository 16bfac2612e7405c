// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
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
		// advertised refs, commits and trees, files; one question to the index, whose entries are at
		// hand; the first time also a proof and tiles, that each log is of one history
		"index": {nil, []map[string]int{{"forge": 2, "rekor-v1": 2, "tiles": 1}, {"forge": 2, "rekor-v1": 1}}},
		// the same, since no tiles tell what is in Rekor v1, and how far Rekor v2 goes
		"scan": {[]string{"--scan"}, []map[string]int{
			{"forge": 2, "rekor-v1": 2, "tiles": 1}, {"forge": 2, "rekor-v1": 1, "tiles": 1},
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

// purposes counts requests by what they are for.
type purposes struct {
	next      http.RoundTripper
	directory string
	mu        sync.Mutex
	n         map[string]int
}

func (k *purposes) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := "another: " + r.URL.String()
	at := func(s sandbox.Service) bool { return strings.TrimPrefix(stack.URL(s), "http://") == r.URL.Host }
	switch path := r.URL.Path; {
	case r.URL.Host == "github.com" || at(sandbox.Forge):
		kind = "git"
	case at(sandbox.TUF):
		kind = "tuf"
	case r.Method == http.MethodGet && (strings.Contains(path, "/api/v2/") || strings.HasSuffix(path, "/api/v1/log/proof")):
		kind = "proof"
	case at(sandbox.RekorV1) || strings.HasPrefix(r.URL.String(), k.directory+"/"):
		kind = "look-up"
	}
	k.mu.Lock()
	k.n[kind]++
	k.mu.Unlock()
	return k.next.RoundTrip(r)
}

// TestOneLookup: the first answer about a repository takes one look-up, as the table of the
// README says, for a machine that has never asked.
func TestOneLookup(t *testing.T) {
	const name = "acme/one-look-up"
	const url = "https://github.com/" + name
	p, good := bound(t, name)
	o := newOperator(t)
	o.witnessed()
	o.build()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	check(t, err)
	config := trustConfig(t, stack, "\n[[scope]]\nrepositories = [\""+url+"\"]\nroots = [\"first\"]\n")
	staple := filepath.Join(o.dir, "staple.json.gz")
	use := func(c *computer, how string, want int, flags ...string) {
		t.Helper()
		count := &purposes{next: stack.Transport(), directory: o.descriptor.URL, n: map[string]int{}}
		c.config, c.transport = config, count
		c.must(policy.ClassOK, append(append([]string{"verify", "-R", url}, flags...), good)...)
		row := fmt.Sprintf("| %s | %d | %d | %d |", how, count.n["tuf"], count.n["git"], count.n["look-up"])
		if count.n["look-up"] != want || !strings.Contains(string(readme), "\n"+row+"\n") {
			t.Errorf("the README has no row %s", row)
		}
		t.Logf("%s and %d proofs", row, count.n["proof"])
		for kind, n := range count.n {
			if strings.HasPrefix(kind, "another") {
				t.Errorf("%s: %d of %s", how, n, kind)
			}
		}
	}
	directory := []string{"--directory", o.descriptorFile}
	use(newComputer(t), "the default: Rekor's index", 1)
	use(newComputer(t), "a directory", 1, directory...)
	o.must(policy.ClassOK, "staple", "--directory", o.descriptorFile, "--trusted-root", o.root, "-R", url, "-o", staple)
	answer, err := os.ReadFile(staple)
	check(t, err)
	p.staple(answer)
	c := newComputer(t)
	use(c, "a directory, stapled to the repository", 0, directory...)
	c.state = filepath.Join(t.TempDir(), "state") // but for the trust root, all is new
	c.config = config
	c.must(policy.ClassOK, "trust", "update", "first")
	use(c, "a clone with that, off-line", 0, append(directory, "--offline", "--git", p.dir)...)
}
