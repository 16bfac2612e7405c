// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// counting is told of each request.
type counting func()

// RoundTrip implements [http.RoundTripper].
func (f counting) RoundTrip(r *http.Request) (*http.Response, error) {
	f()
	return http.DefaultTransport.RoundTrip(r)
}

// TestHundredThousand: of a repository with 100,000 bindings a directory proves in one small
// answer that they are too many, which is UNAVAILABLE for those who ask and an error for nobody;
// building goes on, and the next build costs what is new. Bindings are not verified here.
func TestHundredThousand(t *testing.T) {
	if os.Getenv("REPOPOLICY_LONG") == "" {
		t.Skip("100,000 bindings")
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const honest, crowded, n = 1, 2, 100_000
	inst := sigstoretest.New(t)
	bodies := [][]byte{numberedBody(honest, honest, 0, 2000)}
	for i := range n + 1 {
		bodies = append(bodies, numberedBody(crowded, 100, i+1, 2000)) // an entry has some 2.6 KB
	}
	log := newTestLog(t, inst, bodies)
	log.show(30_000)
	dir := t.TempDir()
	b := testBuilder(t, log, dir, numbered{})
	s, err := NewServer(b.Store)
	check(err)
	defer s.Close()
	site := filepath.Join(dir, "site")
	took := func(what string, f func() error) {
		t.Helper()
		peak, stop := watchHeap()
		start := time.Now()
		check(f())
		spent := time.Since(start)
		stop()
		t.Logf("%s: %s, %.1f MB alive", what, spent.Round(time.Millisecond), float64(*peak)/1e6)
	}
	build := func() error { _, err := b.Build(t.Context()); return err }
	publish := func() error { return b.Store.Publish(site, t.Errorf) }
	took("build of 30,000", build)
	took("publish of 30,000", publish) // which are pages
	t.Logf("site %d KB", size(t, site)>>10)
	log.show(n + 1)
	took("build", build)
	took("publish", publish)
	log.show(n + 2)
	took("build of one more", build)
	took("publish of one more", publish)
	check(s.Advance())

	all, err := b.Store.Maps()
	check(err)
	path := lookupPath(all[0].ID, prefixmap.KeyHash(repoName(crowded)))
	answer, err := os.ReadFile(filepath.Join(site, filepath.FromSlash(path)))
	check(err)
	t.Logf("state %d MB, site %d KB, answer %d bytes", size(t, filepath.Join(dir, stateFile))>>20, size(t, site)>>10,
		len(answer))
	if len(answer) > 8<<10 {
		t.Errorf("an answer of %d bytes", len(answer))
	}
	path = lookupPath(all[0].ID, prefixmap.KeyHash(repoName(honest)))
	data, err := os.ReadFile(filepath.Join(site, filepath.FromSlash(path)))
	check(err)
	check(agree(repoName(honest), data))

	root, err := sigstore.ParseRoot("test", testRoot(inst))
	check(err)
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	check(err)
	_, vkey, err := ParseKey(key)
	check(err)
	server := httptest.NewServer(s)
	defer server.Close()
	asked := 0
	transport := counting(func() { asked++ })
	client, err := web.New(server.URL, transport, "test")
	check(err)
	descriptor := &answers.Descriptor{URL: server.URL, Key: vkey}
	d := &answers.Directory{Root: root, Descriptor: descriptor, Client: client, Now: time.Now}
	var none chain.Demand // which is what is demanded by default
	for name, want := range map[string]policy.Reason{
		repoName(crowded): policy.BelowRequired, repoName(3): policy.NoBinding,
	} {
		repo, err := policy.ParseLocator(name)
		check(err)
		asked = 0
		took("look up "+name, func() error {
			r := &bindings.Resolver{Root: root, Lookups: []bindings.Lookup{d}, Now: time.Now()}
			res, err := r.Resolve(budget.With(t.Context(), budget.New(1<<20)), repo, nil)
			if err != nil || res.Lie != nil || res.Fork != nil || len(res.Failed) > 0 {
				t.Fatalf("%v, failed %v, lie %v, fork %v", err, res.Failed, res.Lie, res.Fork)
			}
			decided, _ := res.Chain.Trusted(none).Precheck(policy.Request{Now: time.Now()}, policy.Claims{})
			t.Logf("%s: %d requests, completeness %s, %s", name, asked, res.Chain.View().Completeness, decided.Reason)
			if decided.Reason != want {
				t.Errorf("%s: %q, want %q", name, decided.Reason, want)
			}
			return nil
		})
	}
}
