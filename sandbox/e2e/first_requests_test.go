// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
)

// first counts what a machine asks for that has never asked, by what it is for. A redirect is part of
// what it is for: forges send downloads on.
type first struct {
	next      http.RoundTripper
	directory string
	delay     time.Duration // of each request
	begin     time.Time
	mu        sync.Mutex
	n         map[string]int
	lines     []string
}

func (f *first) kind(r *http.Request) string {
	at := func(s sandbox.Service) bool { return strings.TrimPrefix(stack.URL(s), "http://") == r.URL.Host }
	path := r.URL.Path
	switch {
	case strings.HasSuffix(path, "/info/refs"), strings.HasSuffix(path, "/git-upload-pack"):
		return "git"
	case at(sandbox.TUF):
		return "tuf"
	case r.Method == http.MethodGet &&
		(strings.Contains(path, "/api/v2/") || strings.HasSuffix(path, "/api/v1/log/proof")):
		return "proof"
	case strings.HasPrefix(r.URL.String(), f.directory+"/"):
		return "directory"
	case r.URL.Host == "github.com" && strings.HasSuffix(path, ".sigstore.json"):
		return "evidence"
	case r.URL.Host == "github.com":
		return "file"
	case strings.HasSuffix(r.URL.Host, ".githubusercontent.com"):
		return "redirect"
	}
	return "another: " + r.URL.String()
}

func (f *first) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Since(f.begin)
	if f.delay > 0 {
		time.Sleep(f.delay)
	}
	resp, err := f.next.RoundTrip(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n[f.kind(r)]++
	f.lines = append(f.lines, start.Round(time.Millisecond).String()+"-"+time.Since(f.begin).Round(time.Millisecond).String()+
		" "+f.kind(r)+" "+r.Method+" "+r.URL.String())
	return resp, err
}

// firstWorld is a release of one file, and a directory that knows its repository.
func firstWorld(t testing.TB, name string) (url string, o *operator) {
	t.Helper()
	sign := released(t, name)
	check(t, stack.Forge().Release(name, "v1", map[string]string{
		"widget_1.tar.gz": "one", "widget_1.tar.gz.sigstore.json": string(sign("v1", "one")),
	}))
	o = newOperator(t)
	o.build()
	return "https://github.com/" + name + "/releases/download/v1/widget_1.tar.gz", o
}

// firstScope is for the repositories of acme.
const firstScope = "\n[[scope]]\nrepositories = [\"https://github.com/acme/*\"]\nroots = [\"first\"]\n"

// TestFirstRequests: the first verdict on one file of a release takes at most six requests, besides what
// follows the trust root and proves that logs and directory go on from nothing. This forge sends commits,
// trees and files at once; one that leaves files out, as GitHub does, is asked for them in a third.
func TestFirstRequests(t *testing.T) {
	url, o := firstWorld(t, "acme/first-requests")
	c := newComputer(t)
	f := &first{next: stack.Transport(), directory: o.descriptor.URL, begin: time.Now(), n: map[string]int{}}
	c.config, c.transport = trustConfig(t, stack, firstScope), f
	c.must(policy.ClassOK, "verify", "--directory", o.descriptorFile, url)
	got := maps.Clone(f.n)
	for _, aside := range []string{"tuf", "proof", "redirect"} {
		delete(got, aside)
	}
	if want := (map[string]int{"git": 2, "directory": 1, "file": 1, "evidence": 1}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	t.Logf("%v\n%s", f.n, strings.Join(f.lines, "\n"))
}

// BenchmarkFirst is the time of the first verdict on one file of a release where each request takes 80
// milliseconds.
func BenchmarkFirst(b *testing.B) {
	url, o := firstWorld(b, "acme/first-slow")
	requests := 0
	for b.Loop() {
		c := newComputer(b)
		f := &first{
			next: stack.Transport(), directory: o.descriptor.URL, delay: 80 * time.Millisecond, begin: time.Now(),
			n: map[string]int{},
		}
		c.config, c.transport = trustConfig(b, stack, firstScope), f
		c.must(policy.ClassOK, "verify", "--directory", o.descriptorFile, url)
		requests = len(f.lines)
		b.Logf("%v\n%s", time.Since(f.begin), strings.Join(f.lines, "\n"))
	}
	b.ReportMetric(float64(requests), "requests")
}
