// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// first counts what a machine asks for that has never asked, by what it is for. A redirect is part of
// what it is for: forges send downloads on.
type first struct {
	next      http.RoundTripper
	directory string
	delay     time.Duration // of each answer
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
	time.Sleep(f.delay)
	resp, err := f.next.RoundTrip(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n[f.kind(r)]++
	f.lines = append(f.lines, f.kind(r)+" "+r.Method+" "+r.URL.String())
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
	f := &first{next: stack.Transport(), directory: o.descriptor.URL, n: map[string]int{}}
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

// BenchmarkFirst is the first verdict on one file of a release, where each answer comes 80 milliseconds
// late, with a policy that a directory knows: milliseconds, requests and connections, and the requests that
// TestFirstRequests counts. The trust root comes by TUF or, "-rooted", lies at hand. repopolicy runs in this
// process, without the few milliseconds of its start.
//
// COSIGN and GH name programs beside it, REPOPOLICY_PEERS lets them be built. They ask less: each is told who
// signs. For cosign file and bundle are downloaded side by side, for gh the file, as neither does that itself;
// gh knows no other TUF repositories than its own, so that there is only a pair of those with a root at hand.
func BenchmarkFirst(b *testing.B) {
	const late, repo, file = 80 * time.Millisecond, "acme/first-slow", "widget_1.tar.gz"
	address, o := firstWorld(b, repo)
	attest(b, repo, "v1", file, "one")
	dir := b.TempDir()
	var line bytes.Buffer
	check(b, json.Compact(&line, stack.TrustedRoot()))
	pinned, err := stack.TUFRoot()
	check(b, err)
	for name, data := range map[string][]byte{
		"root.json": stack.TrustedRoot(), "root.jsonl": append(line.Bytes(), '\n'), "tuf.json": pinned,
	} {
		check(b, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	ours := func(flags ...string) func() (requests, connections int) {
		return func() (int, int) {
			var dials atomic.Int64
			c, next := newComputer(b), newProxy(b).transport()
			next.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			defer next.CloseIdleConnections()
			f := &first{next: next, directory: o.descriptor.URL, delay: late, n: map[string]int{}}
			c.config, c.transport = trustConfig(b, stack, firstScope), f
			c.must(policy.ClassOK, slices.Concat([]string{"verify", "--directory", o.descriptorFile}, flags, []string{address})...)
			b.ReportMetric(float64(len(f.lines)-f.n["tuf"]-f.n["proof"]-f.n["redirect"]), "requests")
			return len(f.lines), int(dials.Load())
		}
	}
	// A peer has files downloaded, and then runs in their directory.
	peer := func(binary string, files []string, commands ...[]string) func() (requests, connections int) {
		return func() (int, int) {
			p, at := newProxy(b), b.TempDir()
			p.delay = late
			client := &http.Client{Transport: p.transport()}
			defer client.CloseIdleConnections()
			var wg sync.WaitGroup
			for _, name := range files {
				wg.Go(func() {
					resp, err := client.Get(strings.TrimSuffix(address, file) + name)
					if err != nil {
						b.Error(err)
						return
					}
					defer resp.Body.Close()
					data, err := io.ReadAll(resp.Body)
					if err != nil || resp.StatusCode != http.StatusOK || os.WriteFile(filepath.Join(at, name), data, 0o600) != nil {
						b.Error(name, resp.Status, err)
					}
				})
			}
			wg.Wait()
			for _, args := range commands {
				cmd := exec.CommandContext(b.Context(), binary, args...)
				cmd.Dir, cmd.Env = at, append(p.env(), "HOME="+at, "GH_TOKEN="+forge.ReadToken, "GH_NO_UPDATE_NOTIFIER=1")
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%q: %v\n%s\nasked %s", args, err, out, strings.Join(p.asked, "\n"))
				}
			}
			return len(p.asked), p.connections
		}
	}
	root := filepath.Join(dir, "root.json")
	type way struct {
		name string
		run  func() (requests, connections int)
	}
	ways := []way{{"repopolicy", ours()}, {"repopolicy-rooted", ours("--trusted-root", root)}}
	built := os.Getenv("REPOPOLICY_PEERS") != ""
	if built || os.Getenv("COSIGN") != "" {
		cosign, both := sigstoretest.Cosign(b), []string{file, file + ".sigstore.json"}
		verify := []string{
			"verify-blob", "--bundle", both[1], "--certificate-oidc-issuer", "https://token.actions.githubusercontent.com",
			"--certificate-identity", "https://github.com/" + repo + "/.github/workflows/release.yml@refs/tags/v1", file,
		}
		ways = append(ways, way{"cosign-rooted", peer(cosign, both, append(verify, "--trusted-root", root))}, way{
			"cosign", peer(cosign, both, []string{
				"initialize", "--mirror", "https://tuf.example", "--root", filepath.Join(dir, "tuf.json"),
			}, verify),
		})
	}
	if built || os.Getenv("GH") != "" {
		ways = append(ways, way{"gh-rooted", peer(sigstoretest.GH(b), []string{file}, []string{
			"attestation", "verify", file, "--repo", repo, "--custom-trusted-root", filepath.Join(dir, "root.jsonl"),
		})})
	}
	took := map[string]time.Duration{}
	for n := 1; b.Loop(); n++ {
		for _, w := range ways {
			begin := time.Now()
			requests, connections := w.run()
			took[w.name] += time.Since(begin)
			b.ReportMetric(float64(took[w.name].Milliseconds())/float64(n), w.name+"-ms")
			b.ReportMetric(float64(requests), w.name+"-requests")
			b.ReportMetric(float64(connections), w.name+"-connections")
		}
	}
	b.ReportMetric(0, "ns/op")
}
