// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// ears hear who is asked, and tell of a secret that somebody hears who should not.
type ears struct {
	t    testing.TB
	next http.RoundTripper
	told map[string][]string // hosts by the secret that they may hear

	mu   sync.Mutex
	urls []string // but for those of Git and the logs
}

func (e *ears) RoundTrip(r *http.Request) (*http.Response, error) {
	git := strings.HasSuffix(r.URL.Path, "/info/refs") || strings.HasSuffix(r.URL.Path, "/git-upload-pack")
	e.mu.Lock()
	if !git && !strings.HasPrefix(r.URL.Host, "127.") {
		e.urls = append(e.urls, r.URL.String())
	}
	e.mu.Unlock()
	if slices.Contains(nobody, r.URL.Host) {
		return nil, fmt.Errorf("%s is nobody", r.URL.Host)
	}
	var shown bytes.Buffer
	check(e.t, r.Header.Write(&shown))
	if user, password, ok := r.BasicAuth(); ok {
		fmt.Fprint(&shown, user, password)
	}
	for secret, hosts := range e.told {
		told := strings.Contains(shown.String()+r.URL.String(), secret)
		if told && (!slices.Contains(hosts, r.URL.Host) || r.URL.Scheme != "https") {
			e.t.Errorf("%s heard a secret", r.URL)
		}
	}
	return e.next.RoundTrip(r)
}

// nobody are hosts that must not be asked: whoever does has told them something.
var nobody = []string{"evil.example", "169.254.169.254"}

// of returns how many requests went to hosts.
func (e *ears) of(hosts ...string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, u := range e.urls {
		if slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(u, "https://"+h+"/") }) {
			n++
		}
	}
	return n
}

// listener is a computer whose requests are heard.
func listener(t testing.TB) (*computer, *ears) {
	t.Helper()
	c := newComputer(t)
	e := &ears{t: t, next: stack.Transport(), told: map[string][]string{
		forge.ReadToken:        {"api.github.com"},
		forge.RegistryPassword: {forge.GHCR, forge.GitLabRegistry, "gitlab.com", forge.BasicRegistry},
	}}
	c.transport = e
	return c, e
}

// verdict runs verify and returns the exit code, and the reasons by the last segments of the
// artifacts' names.
func (c *computer) verdict(args ...string) (code int, reasons map[string]policy.Reason) {
	c.t.Helper()
	code, data := c.repopolicy(append([]string{"verify", "--format", "json"}, args...)...)
	var r report.Report
	if err := json.Unmarshal([]byte(data), &r); err != nil {
		c.t.Fatalf("exit %d, %v:\n%s", code, err, data)
	}
	reasons = map[string]policy.Reason{}
	for _, a := range r.Artifacts {
		reasons[a.Artifact[strings.LastIndex(a.Artifact, "/")+1:]] = a.Reason
	}
	return code, reasons
}

// frames writes data in snappy's framing format.
func frames(data []byte) []byte {
	var b bytes.Buffer
	w := snappy.NewBufferedWriter(&b)
	_, _ = w.Write(data) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// attest has the forge keep provenance of content under a name.
func attest(t testing.TB, repo, tag, name, content string) {
	t.Helper()
	check(t, stack.Forge().Attest(repo, "sha256:"+sha(content), provenance(t, repo, tag, name, sha(content))))
}

func sha512Hex(content string) string { return fmt.Sprintf("%x", sha512.Sum512([]byte(content))) }

func sha(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

// provenance is what the release workflow of a repository signs at a tag about a digest.
func provenance(t testing.TB, repo, tag, name, hex string) []byte {
	t.Helper()
	r, err := stack.Forge().Find(repo)
	check(t, err)
	return signStatement(t, name, "sha256", hex, claims.GitHub{
		Repository: repo, RepositoryID: r.ID, OwnerID: r.OwnerID, Ref: "refs/tags/" + tag, Environment: "release",
	})
}

// TestServicesInWorld judges a release whose only evidence is what GitHub's API knows, in every
// manner in which that answers: what is withheld, cut, too large, at another host or refused is
// never taken for evidence, nor for none.
func TestServicesInWorld(t *testing.T) {
	const name, file = "acme/served", "widget_1.tar.gz"
	const url = "https://github.com/" + name
	bound(t, name)
	f := stack.Forge()
	check(t, f.Release(name, "v1", map[string]string{file: "one"}))
	check(t, f.Release(name, "v2", map[string]string{file: "two"})) // without evidence anywhere
	attest(t, name, "v1", file, "one")
	elsewhere := provenance(t, name, "v1", file, sha("another"))
	const most = 16 << 20
	pad := func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), most)...) }
	store := func(encode func([]byte) []byte) forge.Manner {
		return forge.Manner{Stored: &forge.Storage{Encode: encode}}
	}
	answers := func(h http.HandlerFunc) forge.Manner { return forge.Manner{Stored: &forge.Storage{Answer: h}} }
	gives := func(change func(string) string) forge.Manner {
		return forge.Manner{Stored: &forge.Storage{Sign: change}}
	}
	soon := fmt.Sprint(time.Now().Add(50 * time.Minute).Unix())
	refuses := func(after, status int, header http.Header) forge.Manner {
		return forge.Manner{Limit: &forge.Limit{Requests: after, Status: status, Header: header}}
	}
	spent := http.Header{"X-Ratelimit-Limit": {"60"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {soon}}
	wait := http.Header{"Retry-After": {"3600"}, "X-Ratelimit-Remaining": {"12"}}
	const unreachable, listing = policy.EvidenceUnreachable, policy.ReleaseUnreachable
	const token = "--github-token"
	for what, c := range map[string]struct {
		tag    string // v1 if empty
		manner forge.Manner
		on     string // path of a fault of the line
		fault  malice.Fault
		args   []string
		want   policy.Reason // of the file; the class follows
		says   string
		api    int // requests to the API and the storage at most, 0 for two
	}{
		"in the answer":     {want: policy.Allowed},
		"a block of snappy": {manner: store(nil), want: policy.Allowed, api: 3},
		"frames of snappy":  {manner: store(frames), want: policy.Allowed, api: 3},
		"plain":             {manner: store(bytes.Clone), want: policy.Allowed, api: 3},
		"plain, with a line": {manner: store(func(b []byte) []byte { return append([]byte("\r\n\t "), b...) }),
			want: policy.Allowed, api: 3},
		"with a token":  {manner: store(nil), args: []string{token}, want: policy.Allowed, api: 3},
		"none":          {tag: "v2", want: policy.NoEvidence},
		"an empty list": {tag: "v2", manner: forge.Manner{EmptyList: true}, want: policy.NoEvidence},
		"none, and a token": {tag: "v2", manner: forge.Manner{EmptyList: true}, args: []string{token},
			want: policy.NoEvidence},
		"about other bytes": {manner: store(func([]byte) []byte { return snappy.Encode(nil, elsewhere) }),
			want: policy.ArtifactMismatch, api: 3},
		"no bundle": {manner: store(func([]byte) []byte { return snappy.Encode(nil, []byte("{}")) }),
			want: policy.BundleInvalid, api: 3},
		"another host": {
			manner: forge.Manner{Stored: &forge.Storage{Host: forge.OtherStore}}, want: unreachable,
			says: "--redirect-host " + forge.OtherStore,
		},
		"another host, named": {
			manner: forge.Manner{Stored: &forge.Storage{Host: forge.OtherStore}}, args: []string{"--redirect-host",
				forge.OtherStore},
			want: policy.Allowed, api: 3,
		},
		"http": {manner: gives(func(s string) string { return strings.Replace(s, "https:", "http:", 1) }), want: unreachable},
		"a user": {
			manner: gives(func(s string) string { return strings.Replace(s, "://", "://u:p@", 1) }), want: unreachable,
		},
		"a port": {manner: gives(func(s string) string {
			return strings.Replace(s, ".net/", ".net:8443/",
				1)
		}), want: unreachable},
		"of this machine": {manner: gives(func(string) string { return "https://127.0.0.1/a" }), want: unreachable},
		"metadata of a cloud": {manner: gives(func(string) string { return "http://169.254.169.254/latest" }),
			want: unreachable},
		"a file": {manner: gives(func(string) string { return "file:///etc/passwd" }), want: unreachable},
		"an address without sig": {manner: gives(func(s string) string { return s[:strings.Index(s, "?")] }),
			want: unreachable, api: 3},
		"an address of nothing": {manner: gives(func(s string) string {
			return strings.Replace(s, "/0.json", "/9.json",
				1)
		}), want: unreachable, api: 3},
		"sent on within":     {manner: answers(sendOn("")), want: unreachable, says: "redirects", api: 3},
		"sent on to another": {manner: answers(sendOn("https://" + forge.OtherStore)), want: unreachable, api: 3},
		"sent on, that one named": {manner: answers(sendOn("https://" + forge.OtherStore)),
			args: []string{"--redirect-host", forge.OtherStore}, want: unreachable, api: 3},
		"a page":          {manner: answers(loginPage), want: unreachable, api: 3},
		"nothing":         {manner: answers(func(http.ResponseWriter, *http.Request) {}), want: unreachable, api: 3},
		"too large plain": {manner: store(pad), want: unreachable, api: 3},
		"too large inflated": {manner: store(func(b []byte) []byte { return snappy.Encode(nil, pad(b)) }),
			want: unreachable, api: 3},
		"too large frames": {manner: store(func(b []byte) []byte { return frames(pad(b)) }), want: unreachable,
			api: 3},
		"a size of 4 GiB": {manner: store(func([]byte) []byte { return []byte("\xff\xff\xff\xff\x0f") }),
			want: unreachable, api: 3},
		"a block cut short": {manner: store(func(b []byte) []byte {
			b = snappy.Encode(nil,
				b)
			return b[:len(b)-7]
		}), want: unreachable, api: 3},
		"frames cut short": {manner: store(func(b []byte) []byte { b = frames(b); return b[:len(b)-7] }),
			want: unreachable, api: 3},
		"plain cut short": {manner: store(func(b []byte) []byte { return b[:len(b)-7] }), want: unreachable, api: 3},
		"a block twice": {manner: store(func(b []byte) []byte {
			b = snappy.Encode(nil, b)
			return append(b,
				b...)
		}), want: unreachable, api: 3},
		"the line cut": {manner: store(nil), on: "/attestations/", fault: malice.Truncate{After: 100},
			want: unreachable, api: 5},
		"half of it": {manner: store(nil), on: "/attestations/", fault: malice.Half{}, want: unreachable,
			api: 3},
		"without end": {manner: store(nil), on: "/attestations/", fault: malice.Endless{}, want: unreachable,
			api: 3},
		"a bomb of gzip": {manner: store(nil), on: "/attestations/", fault: malice.GzipBomb{Size: 64 << 20},
			want: unreachable, api: 3},
		"the storage is down": {manner: store(nil), on: "/attestations/", fault: malice.Status{Code: 503},
			want: unreachable, api: 5},
		"the storage is closed": {manner: store(nil), on: "/attestations/", fault: malice.Status{Code: 403},
			want: unreachable, api: 3},
		"a page in place of JSON": {on: "/repos/" + name + "/attestations/", fault: malice.WrongType{}, want: unreachable,
			says: "does a proxy want a login?"},
		"a page for the release": {on: "/repos/" + name + "/releases/", fault: malice.WrongType{}, want: listing,
			says: "does a proxy want a login?"},
		"nothing from the API": {on: "/repos/" + name + "/attestations/", fault: malice.Empty{}, want: unreachable},
		"half of the API's": {
			on: "/repos/" + name + "/attestations/", fault: malice.Half{}, want: unreachable,
		},
		"asked too often": {manner: refuses(1, 403, spent), want: unreachable, says: token},
		"asked too often, and a token": {
			manner: refuses(0, 403, spent), args: []string{token}, want: policy.Allowed,
		},
		"asked too often with it": {
			manner: forge.Manner{Limit: &forge.Limit{Requests: 1, Tokens: true, Status: 403, Header: spent}},
			args:   []string{token}, want: unreachable, says: "try again in",
		},
		"asked too often at once":  {manner: refuses(0, 403, spent), want: listing, says: token, api: 1},
		"slower, says the service": {manner: refuses(1, 429, wait), want: unreachable, says: token},
		"slower, by 403":           {manner: refuses(1, 403, wait), want: unreachable, says: token},
		"429 without a word":       {manner: refuses(1, 429, nil), want: unreachable, says: token, api: 4},
		"403 without a word":       {manner: refuses(1, 403, nil), want: unreachable},
		"a limit that is over soon": {on: "/repos/", fault: malice.Times{N: 1, Fault: malice.Status{Code: 429,
			RetryAfter: time.Second}}, want: policy.Allowed, api: 3},
		"a limit and another address": {manner: forge.Manner{Stored: &forge.Storage{}, Limit: &forge.Limit{Requests: 1,
			Status: 403, Header: spent}}, want: unreachable, says: token},
	} {
		t.Run(what, func(t *testing.T) {
			undo := f.Behave(c.manner)
			defer undo()
			user, heard := listener(t)
			user.env["GITHUB_TOKEN"] = forge.ReadToken
			tag := c.tag
			if tag == "" {
				tag = "v1"
			}
			args := append(slices.Clone(c.args), url+"/releases/tag/"+tag)
			if c.fault != nil {
				defer misbehaves(t, c.on, c.fault)()
			}
			code, out := user.repopolicy(append([]string{"verify"}, args...)...)
			calls := heard.of("api.github.com", "tmaproduction.blob.core.windows.net", forge.OtherStore)
			reason := "[" + string(c.want) + "]"
			if c.want == policy.Allowed {
				reason = "released by "
			}
			if code != c.want.Class().Exit() || !strings.Contains(out, c.says) || !strings.Contains(out, reason) {
				t.Errorf("exit %d, want %s and %q\n%s", code, c.want, c.says, out)
			}
			if calls > max(c.api, 2) {
				t.Errorf("%d requests: %s", calls, heard.urls)
			}
			named := slices.Contains(c.args, forge.OtherStore) && c.manner.Stored.Answer == nil
			if n := heard.of(forge.OtherStore); (n > 0) != named {
				t.Errorf("asked %s", heard.urls)
			}
			if strings.Contains(out, "sand%2Fbox") || strings.Contains(out, "sand/box") || strings.Contains(out,
				forge.ReadToken) {
				t.Errorf("it prints what opens an address:\n%s", out)
			}
			if code != 0 && strings.Contains(out, "OK "+file) {
				t.Errorf("it speaks of an OK:\n%s", out)
			}
			if c.fault != nil {
				return // the second run would wait as the first did
			}
			// The same in JSON, and what is downloaded is what is allowed.
			f.Behave(c.manner) // with its limit as new
			dir := t.TempDir()
			code, reasons := user.verdict(append([]string{"--download", dir}, args...)...)
			if got := reasons[map[bool]string{true: tag, false: file}[c.want == listing]]; got != c.want {
				t.Errorf("in JSON: %v, want %s", reasons, c.want)
			}
			if left, err := os.ReadDir(dir); err != nil || (len(left) == 1) != (code == 0) || len(left) > 1 {
				t.Errorf("exit %d, downloaded %v %v", code, left, err)
			}
		})
	}
}

// misbehaves lets the forge have a fault of the line on a path.
func misbehaves(t testing.TB, path string, fault malice.Fault) (undo func()) {
	t.Helper()
	end, err := stack.Misbehave(sandbox.Forge, malice.On{Path: path, Fault: fault})
	check(t, err)
	return func() { check(t, end()) }
}

// sendOn sends clients on to the same path on another host, "" for the same one.
func sendOn(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if to == "" && r.URL.Query().Get("again") != "" {
			_, _ = io.WriteString(w, "{}")
			return
		}
		http.Redirect(w, r, to+r.URL.RequestURI()+"&again=1", http.StatusFound)
	}
}

// loginPage is where a proxy wants somebody to log in.
func loginPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!doctype html><title>Sign in</title>\n")
}

// TestServicesInWorldOwn: the same about a file that is here, of which the API alone knows.
func TestServicesInWorldOwn(t *testing.T) {
	const name, file = "acme/servedhere", "widget_1.tar.gz"
	bound(t, name)
	attest(t, name, "v1", file, "one")
	here := filepath.Join(t.TempDir(), file)
	check(t, os.WriteFile(here, []byte("one"), 0o600))
	for what, c := range map[string]struct {
		manner forge.Manner
		want   policy.Class
	}{
		"in the answer": {want: policy.ClassOK},
		"at an address": {manner: forge.Manner{Stored: &forge.Storage{}}, want: policy.ClassOK},
		"another host": {manner: forge.Manner{Stored: &forge.Storage{Host: forge.OtherStore}},
			want: policy.ClassUnavailable},
		"refused": {
			manner: forge.Manner{Limit: &forge.Limit{Status: 403, Header: http.Header{"X-Ratelimit-Remaining": {"0"}}}},
			want:   policy.ClassUnavailable,
		},
	} {
		t.Run(what, func(t *testing.T) {
			defer stack.Forge().Behave(c.manner)()
			user, _ := listener(t)
			user.must(c.want, "verify", "-R", name, here)
			user.must(c.want, "verify", "-R", name, "--tag", "v1", here)
		})
	}
}
