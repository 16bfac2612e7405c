// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// asked records the requests beside those that find a policy.
type asked struct {
	next http.RoundTripper
	mu   sync.Mutex
	urls []string
	all  int
}

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.all++
	git := strings.HasSuffix(r.URL.Path, "/info/refs") || strings.HasSuffix(r.URL.Path, "/git-upload-pack")
	if !git && !strings.HasPrefix(r.URL.Host, "127.") {
		a.urls = append(a.urls, r.URL.Host+r.URL.Path)
	}
	a.mu.Unlock()
	if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "" {
		return nil, fmt.Errorf("%s was told %v", r.URL, r.Header)
	}
	return a.next.RoundTrip(r)
}

// released is a project whose policy is bound, and what signs its release v1.
func released(t testing.TB, name string) func(tag, file string) []byte {
	t.Helper()
	bound(t, name)
	repo, err := stack.Forge().Find(name)
	check(t, err)
	return func(tag, content string) []byte {
		return signBlob(t, []byte(content), claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/" + tag, Environment: "release"})
	}
}

// TestPublished: the verdict on a release from its address alone, and on a file
// whose evidence is anywhere that the project may have put it.
func TestPublished(t *testing.T) {
	const name = "acme/published"
	const url = "https://github.com/" + name
	sign := released(t, name)
	f := stack.Forge()
	type files = map[string]string
	release := func(tag string, content files) string {
		t.Helper()
		check(t, f.Release(name, tag, content))
		return url + "/releases/tag/" + tag
	}
	one, two := "one", "two"
	good := release("v1", files{
		"widget_1.tar.gz": one, "widget_1.tar.gz.sigstore.json": string(sign("v1", one)),
		"widget_2.tar.gz": two, "widget_2.tar.gz.sigstore.json": string(sign("v1", two)),
	})
	ask := func(class policy.Class, args ...string) (string, *asked) {
		t.Helper()
		c := newComputer(t)
		a := &asked{next: stack.Transport()}
		c.transport, c.env["GITHUB_TOKEN"], c.env["GH_TOKEN"] = a, "s3cret", "s3cret"
		start := time.Now()
		out := c.must(class, args...)
		t.Logf("%v: %s, %d requests, %d of them for the release, %s", class, args[len(args)-1], a.all, len(a.urls), time.Since(start).Round(time.Millisecond))
		return out, a
	}

	out, a := ask(policy.ClassOK, "verify", good)
	if !strings.Contains(out, "2 of 2 artifacts allowed") || len(a.urls) != 1+2*2+2*2 {
		t.Errorf("%s\n%v", out, a.urls)
	}
	// One file needs no listing.
	_, a = ask(policy.ClassOK, "verify", url+"/releases/download/v1/widget_1.tar.gz")
	if len(a.urls) != 4 || slices.ContainsFunc(a.urls, func(u string) bool { return strings.HasPrefix(u, "api.") }) {
		t.Error(a.urls)
	}
	ask(policy.ClassOK, "explain", url+"/releases/download/v1/widget_1.tar.gz")

	// A file that is here, and evidence that is not.
	here := filepath.Join(t.TempDir(), "widget_1.tar.gz")
	check(t, os.WriteFile(here, []byte(one), 0o600))
	_, a = ask(policy.ClassOK, "verify", "-R", url, "--tag", "v1", here)
	if len(a.urls) != 2 {
		t.Error(a.urls)
	}
	ask(policy.ClassDeny, "verify", "-R", url, here) // nothing says in which release
	_, a = ask(policy.ClassUnavailable, "verify", "-R", url, "--offline", "--tag", "v1", "--git", clone(t, name), here)
	if a.all != 0 {
		t.Error(a.urls)
	}
	ask(policy.ClassDeny, "verify", "-R", url, "--offline", "--require", "none", "--tag", "v1", "--git", clone(t, name), here)
	// GitHub's attestations need no tag.
	check(t, f.Attest(name, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(one))), sign("v1", one)))
	out, a = ask(policy.ClassOK, "verify", "-v", "-R", url, here)
	if len(a.urls) != 1 || !strings.Contains(out, "api.github.com/repos/acme/published/attestations/sha256:") {
		t.Errorf("%s\n%v", out, a.urls)
	}

	// A checksum file of the release vouches for what it lists.
	sums := fmt.Sprintf("%x  widget_3.tar.gz\n", sha256.Sum256([]byte("three")))
	summed := release("v3", files{"widget_3.tar.gz": "three", "SHA256SUMS": sums, "SHA256SUMS.sigstore.json": string(sign("v3", sums))})
	if out, _ = ask(policy.ClassDeny, "verify", summed); !strings.Contains(out, "SHA256SUMS") { // the policy names no SHA256SUMS
		t.Error(out)
	}

	// One file without evidence is one too many, and so is one of another release.
	ask(policy.ClassDeny, "verify", release("v4", files{"widget_1.tar.gz": one, "widget_1.tar.gz.sigstore.json": string(sign("v4", one)), "widget_x.tar.gz": "x"}))
	ask(policy.ClassDeny, "verify", release("v5", files{"widget_1.tar.gz": one, "widget_1.tar.gz.sigstore.json": string(sign("v1", one))}))
	ask(policy.ClassDeny, "verify", release("v6", files{"widget_1.tar.gz": "changed", "widget_1.tar.gz.sigstore.json": string(sign("v6", one))}))
	ask(policy.ClassDeny, "verify", release("v7", files{"widget_1.tar.gz.sigstore.json": string(sign("v7", one))}))
	ask(policy.ClassUnavailable, "verify", url+"/releases/tag/v99")
	ask(policy.ClassUsage, "verify", url+"/releases/latest")
	ask(policy.ClassUsage, "verify", good, url+"/releases/tag/v3")
	ask(policy.ClassUsage, "verify", "--tag", "v2", good)
	ask(policy.ClassUsage, "verify", "-R", "acme/other", good)
	ask(policy.ClassUsage, "verify", "-R", url, "--download", t.TempDir(), here)

	// What is downloaded is what was judged, all of it or nothing.
	dir := filepath.Join(t.TempDir(), "new")
	ask(policy.ClassOK, "verify", "--download", dir, good)
	for file, want := range map[string]string{"widget_1.tar.gz": one, "widget_2.tar.gz": two} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", file, got, err)
		}
	}
	ask(policy.ClassUsage, "verify", "--download", dir, good) // it is there
	empty := t.TempDir()
	ask(policy.ClassDeny, "verify", "--download", empty, url+"/releases/tag/v4")
	ask(policy.ClassUnavailable, "verify", "--download", empty, "--max-size", "2", good)
	if left, err := os.ReadDir(empty); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}

func clone(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	git(t, ".", "clone", "-q", stack.Forge().CloneURL(name), dir)
	git(t, dir, "fetch", "-q", "origin", "refs/heads/repopolicy:refs/remotes/origin/repopolicy")
	return dir
}

// TestPublishedFaults: whatever the forge does to the line, nothing is allowed
// that could not be had, and no fault of the line is taken for a denial.
func TestPublishedFaults(t *testing.T) {
	const name = "acme/faults"
	const url = "https://github.com/" + name
	sign := released(t, name)
	check(t, stack.Forge().Release(name, "v1", map[string]string{"widget_1.tar.gz": "one", "widget_1.tar.gz.sigstore.json": string(sign("v1", "one"))}))
	here := filepath.Join(t.TempDir(), "widget_1.tar.gz")
	check(t, os.WriteFile(here, []byte("one"), 0o600))
	unsigned := filepath.Join(t.TempDir(), "widget_2.tar.gz")
	check(t, os.WriteFile(unsigned, []byte("two"), 0o600))
	newComputer(t).must(policy.ClassOK, "verify", url+"/releases/tag/v1")
	newComputer(t).must(policy.ClassDeny, "verify", "-R", url, "--tag", "v1", unsigned)
	for _, path := range []string{"/repos/", "/" + name + "/releases/", "/github-production-release-asset/"} {
		for _, fault := range []malice.Fault{
			malice.Reset{}, malice.Truncate{After: 1}, malice.Status{Code: 403}, malice.Status{Code: 429, RetryAfter: time.Hour}, malice.Status{Code: 503},
			malice.WrongType{}, malice.Endless{}, malice.GzipBomb{Size: 64 << 20}, malice.Redirect{To: "http://127.0.0.1:9/"}, malice.Redirect{To: "http://release-assets.githubusercontent.com"},
		} {
			t.Run(fmt.Sprintf("%s %T", path, fault), func(t *testing.T) {
				undo, err := stack.Misbehave(sandbox.Forge, malice.On{Path: path, Fault: fault})
				check(t, err)
				defer func() { check(t, undo()) }()
				for _, args := range [][]string{{url + "/releases/tag/v1"}, {url + "/releases/download/v1/widget_1.tar.gz"}, {"-R", url, "--tag", "v1", here}, {"-R", url, "--tag", "v1", unsigned}} {
					start := time.Now()
					code, out := newComputer(t).repopolicy(append([]string{"verify", "--max-size", "16M"}, args...)...)
					bare := slices.Contains(args, unsigned) // there is nothing of it to be fetched
					needed := path != "/repos/" && !(bare && strings.HasPrefix(path, "/github")) || path == "/repos/" && (bare || strings.Contains(args[0], "/tag/"))
					switch fault.(type) {
					case malice.Truncate, malice.Endless, malice.GzipBomb:
						// Of an answer that sends elsewhere, or that there is nothing, the body is not needed.
						needed = needed && !strings.HasSuffix(path, "/releases/")
					}
					want := policy.ClassUnavailable
					switch {
					case !needed && bare:
						want = policy.ClassDeny
					case !needed:
						want = policy.ClassOK
					}
					_, page := fault.(malice.WrongType) // a page instead of a file is a file that differs
					if _, cut := fault.(malice.Truncate); cut && bare && strings.HasSuffix(path, "/releases/") {
						want = policy.ClassUnavailable
					}
					if differs := page && needed && path != "/repos/"; code != want.Exit() && !(differs && (code == policy.ClassDeny.Exit() || code == policy.ClassInvalid.Exit())) {
						t.Errorf("%v: exit %d, want %s\n%s", args, code, want, out)
					}
					if d := time.Since(start); d > time.Minute {
						t.Errorf("%v: it took %s", args, d)
					}
				}
			})
		}
	}
}

// approvedRelease publishes a directory with a release and its approvals, and
// verifies it from elsewhere.
func approvedRelease(t *testing.T, name, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	files := map[string]string{}
	approvals := []string{}
	for _, e := range entries {
		files[e.Name()] = string(contentOf(t, filepath.Join(dir, e.Name())))
		if strings.HasSuffix(e.Name(), ".approval.sigstore.json") {
			approvals = append(approvals, e.Name())
		}
	}
	f := stack.Forge()
	check(t, f.Release(name, "v1", files))
	url := "https://github.com/" + name
	here := filepath.Join(t.TempDir(), "widget_1.tar.gz")
	check(t, os.WriteFile(here, contentOf(t, filepath.Join(dir, "widget_1.tar.gz")), 0o600))
	verify := func(class policy.Class) {
		t.Helper()
		newComputer(t).must(class, "verify", url+"/releases/tag/v1")
		newComputer(t).must(class, "verify", url+"/releases/download/v1/widget_1.tar.gz")
		newComputer(t).must(class, "verify", "-R", name, "--tag", "v1", here)
	}
	verify(policy.ClassOK)
	undo, err := stack.Misbehave(sandbox.Forge, malice.On{Path: "/repos/", Fault: malice.Status{Code: 403}})
	check(t, err)
	verify(policy.ClassUnavailable) // nobody says which approvals there are
	check(t, undo())
	for _, a := range approvals {
		check(t, f.Remove(name, "v1", a))
	}
	verify(policy.ClassDeny)
}
