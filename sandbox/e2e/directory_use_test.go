// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// witnessed makes the witnesses of another stack cosign what the operator builds.
func (o *operator) witnessed() {
	o.t.Helper()
	s, err := sandbox.Start(o.t.Context(), o.t.TempDir(), sandbox.Options{Witnesses: 3})
	check(o.t, err)
	o.t.Cleanup(func() { check(o.t, s.Close()) })
	check(o.t, s.Cosign(o.descriptor.Key))
	o.witnesses = filepath.Join(o.dir, "witnesses")
	check(o.t, os.WriteFile(o.witnesses, []byte(s.WitnessPolicy()), 0o600))
	o.descriptor.Witnesses = s.WitnessPolicy()
	o.at(o.descriptor.URL)
}

// at moves the directory to another URL.
func (o *operator) at(url string) {
	o.t.Helper()
	o.descriptor.URL = url
	check(o.t, os.WriteFile(o.descriptorFile, o.descriptor.Bytes(), 0o600))
}

// asks is what a computer asked for in one run, by service.
func (c *computer) asks(directory string, f func()) map[string]int {
	count := &counter{next: c.transport, n: map[string]int{}}
	old := c.transport
	c.transport = count
	defer func() { c.transport = old }()
	f()
	out := map[string]int{}
	for service, n := range count.n {
		if strings.HasPrefix(service, "another: "+directory+"/") {
			service = "directory"
		}
		out[service] += n
	}
	return out
}

// staple puts an answer of a directory on the branch that holds the bindings.
func (p *project) staple(answer []byte) {
	p.t.Helper()
	dir := filepath.Join(p.t.TempDir(), "clone")
	git(p.t, ".", "clone", "-q", "-b", "repopolicy", stack.Forge().CloneURL(p.name), dir)
	path := filepath.Join(dir, bindings.StapleName(root(p.t), nil))
	check(p.t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(p.t, os.WriteFile(path, answer, 0o600))
	git(p.t, dir, "add", "-A")
	git(p.t, dir, "commit", "-q", "-m", "stapled")
	git(p.t, dir, "push", "-q", "origin", "HEAD:repopolicy")
	git(p.t, p.dir, "fetch", "-q", "origin")
}

// TestDirectoryUse: what a directory proves is one question, or none where it is
// stapled; whoever drops its answers wins nothing.
func TestDirectoryUse(t *testing.T) {
	const name = "acme/listed"
	url := "https://github.com/" + name
	p, good := bound(t, name)
	o := newOperator(t)
	o.witnessed()
	o.build()
	c := newComputer(t)
	verify := func(want policy.Class, more ...string) (out string) {
		t.Helper()
		return c.must(want, append(append([]string{"verify", "-v", "-R", url, "--directory", o.descriptorFile}, more...), good)...)
	}
	asked := func(what string, want map[string]int, f func()) {
		t.Helper()
		if got := c.asks(o.descriptor.URL, f); !maps.Equal(got, want) {
			t.Errorf("%s: asked %v, want %v", what, got, want)
		}
	}
	// The first time the logs are asked how their trees go on, too: tiles of one and a proof of the other.
	first, stapled := map[string]int{"forge": 2, "directory": 1, "tiles": 1, "rekor-v1": 1}, map[string]int{"forge": 2}
	asked("a stranger", first, func() {
		if out := verify(policy.ClassOK); !strings.Contains(out, "complete   proven") || !strings.Contains(out, "directory  "+o.descriptor.URL) {
			t.Error(out)
		}
	})
	c = newComputer(t)
	out := verify(policy.ClassOK, "--format", "json")
	for _, want := range []string{`"completeness": "proven"`, `"directory": "` + o.descriptor.URL + `"`, `"known_as_of": "`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if out := c.must(policy.ClassOK, "show", "-R", url, "--directory", o.descriptorFile); !strings.Contains(out, "proven") {
		t.Error(out)
	}
	c.must(policy.ClassOK, "log", "-R", url, "--directory", o.descriptorFile)
	git(t, p.dir, "fetch", "-q", "origin")
	if out := c.must(policy.ClassOK, "status", "--git", p.dir, "--directory", o.descriptorFile); !strings.Contains(out, "completeness proven") {
		t.Error(out)
	}
	c.must(policy.ClassOK, "lock", "-R", url, "--directory", o.descriptorFile, "-o", filepath.Join(o.dir, "lock"))
	if got := c.asks(o.descriptor.URL, func() { verify(policy.ClassOK, "--lock", filepath.Join(o.dir, "lock"), "--require", "pinned,proven") }); got["directory"] != 1 {
		t.Errorf("with a lock file: asked %v", got)
	}
	// That there is nothing is known as well.
	_, err := stack.Forge().Create("acme/unlisted")
	check(t, err)
	_, err = stack.Forge().Commit("acme/unlisted", "main", map[string]string{"README": "none"})
	check(t, err)
	c.must(policy.ClassNoPolicy, "show", "-R", "acme/unlisted", "--directory", o.descriptorFile)

	// Stapled to the repository, or given as a file.
	staple := filepath.Join(o.dir, "staple.json.gz")
	o.must(policy.ClassOK, "staple", "--directory", o.descriptorFile, "--trusted-root", o.root, "-R", url, "-o", staple)
	answer, err := os.ReadFile(staple)
	check(t, err)
	p.staple(answer)
	c = newComputer(t)
	asked("stapled to the repository", map[string]int{"forge": 2, "tiles": 1, "rekor-v1": 1}, func() { verify(policy.ClassOK) })
	asked("given", stapled, func() { verify(policy.ClassOK, "--staple", staple) })
	asked("off-line", map[string]int{}, func() {
		if out := verify(policy.ClassOK, "--offline", "--git", p.dir); !strings.Contains(out, "proven") {
			t.Error(out)
		}
		verify(policy.ClassOK, "--offline", "--git", p.dir, "--staple", staple)
	})
	c = newComputer(t)
	if got := c.asks(o.descriptor.URL, func() { verify(policy.ClassStale, "--max-age", "1ns") }); got["directory"] != 1 {
		t.Errorf("too old: asked %v", got)
	}
	bound(t, "acme/listed-too")
	o.build()
	other := filepath.Join(o.dir, "other.json.gz")
	o.must(policy.ClassOK, "staple", "--directory", o.descriptorFile, "--trusted-root", o.root, "-R", "acme/listed-too", "-o", other)
	asked("of another repository", stapled, func() {
		if out := verify(policy.ClassUnavailable, "--staple", other); !strings.Contains(out, "an answer that is not about https://github.com/acme/listed") {
			t.Error(out)
		}
	})
	// A binding that is newer than the directory needs no new build.
	p.write(".repopolicy/policy.toml", string(policyText(name, 2, 1, "alice")))
	p.push()
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	c = newComputer(t)
	if out := verify(policy.ClassOK); !strings.Contains(out, "version 2") {
		t.Error(out)
	}

	// Nobody answers.
	o.at("http://127.0.0.1:9")
	p.staple([]byte("junk"))
	c = newComputer(t)
	if out := verify(policy.ClassUnavailable); !strings.Contains(out, "--require first,hinted") {
		t.Error(out)
	}
	if out := verify(policy.ClassOK, "--require", "first,hinted"); !strings.Contains(out, "hinted") || !strings.Contains(out, "no answer from the directory") {
		t.Error(out)
	}
	verify(policy.ClassUnavailable, "--require", "first,proven")
	verify(policy.ClassUsage, "--staple", filepath.Join(o.dir, "none"))
	c.must(policy.ClassUsage, "verify", "-R", url, "--staple", staple, good)
	c.must(policy.ClassUsage, "verify", "-R", url, "--directory", staple, good)
}

// TestBeyondStaple: a staple stands for the directory only about evidence that is older than
// what it shows; before a release none of the branch does.
func TestBeyondStaple(t *testing.T) {
	const name = "acme/stapled"
	url := "https://github.com/" + name
	p, old := bound(t, name)
	o := newOperator(t)
	o.build()
	staple := filepath.Join(o.dir, "staple.json.gz")
	o.must(policy.ClassOK, "staple", "--directory", o.descriptorFile, "--trusted-root", o.root, "-R", url, "-o", staple)
	answer, err := os.ReadFile(staple)
	check(t, err)
	repo, err := stack.Forge().Find(name)
	check(t, err)
	young := releaseFile(t, "widget_2.tar.gz", claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"})
	p.staple(answer)

	asks := func(want policy.Class, artifact string, more ...string) int {
		c := newComputer(t)
		return c.asks(o.descriptor.URL, func() {
			out := c.must(want, append([]string{"verify", "-R", url, "--directory", o.descriptorFile, artifact}, more...)...)
			if open := strings.Contains(out, "beyond-staple") || strings.Contains(out, "younger than what the staple shows"); open != (artifact == young && len(more) > 0 && more[0] == "--offline") {
				t.Errorf("%s: %s", more, out)
			}
		})["directory"]
	}
	for _, x := range []struct {
		artifact string
		more     []string
		asked    int
	}{
		{old, nil, 0}, {old, []string{"--staple", staple}, 0}, {old, []string{"--offline", "--git", p.dir}, 0},
		{young, nil, 1}, {young, []string{"--staple", staple}, 1}, {young, []string{"--offline", "--git", p.dir}, 0}, {young, []string{"--offline", "--git", p.dir, "--staple", staple}, 0},
	} {
		if n := asks(policy.ClassOK, x.artifact, x.more...); n != x.asked {
			t.Errorf("%s %s: asked %d times", filepath.Base(x.artifact), x.more, n)
		}
	}
	o.at("http://127.0.0.1:9") // nobody answers
	asks(policy.ClassOK, old)
	c := newComputer(t)
	for _, more := range [][]string{nil, {"--staple", staple}} {
		c.must(policy.ClassUnavailable, append([]string{"verify", "-R", url, "--directory", o.descriptorFile, old, young}, more...)...)
	}
	c.must(policy.ClassOK, "verify", "-R", url, "--directory", o.descriptorFile, "--offline", "--git", p.dir, young)
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	if out := c.must(policy.ClassUnavailable, "approve", "-R", url, "--directory", o.descriptorFile, "--tag", "v1", "--yes", old); !strings.Contains(out, "no answer from the directory") {
		t.Error(out)
	}
}

// TestDirectoryPlainFiles: the site is plain files: any web server serves it.
func TestDirectoryPlainFiles(t *testing.T) {
	const name, nobody = "acme/plain", "acme/plain-none"
	url := "https://github.com/" + name
	_, good := bound(t, name)
	_, err := stack.Forge().Create(nobody)
	check(t, err)
	_, err = stack.Forge().Commit(nobody, "main", map[string]string{"README": "none"})
	check(t, err)
	o := newOperator(t)
	o.witnessed()
	o.build()
	use := func(t *testing.T, site string) {
		o.at(site)
		c := newComputer(t)
		if got, want := c.asks(site, func() {
			if out := c.must(policy.ClassOK, "verify", "-v", "-R", url, "--directory", o.descriptorFile, good); !strings.Contains(out, "complete   proven") {
				t.Error(out)
			}
		}), map[string]int{"forge": 2, "directory": 1, "tiles": 1, "rekor-v1": 1}; !maps.Equal(got, want) {
			t.Errorf("asked %v", got)
		}
		o.build()
		c.must(policy.ClassOK, "verify", "-R", url, "--directory", o.descriptorFile, good) // and goes on from there
		c.must(policy.ClassNoPolicy, "show", "-R", nobody, "--directory", o.descriptorFile)
	}
	t.Run("net/http", func(t *testing.T) { use(t, o.descriptor.URL) })
	t.Run("nginx", func(t *testing.T) { use(t, nginx(t, o.site)) })
}

// nginx serves a directory of files with Debian's nginx, or whichever is installed.
func nginx(t *testing.T, dir string) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed, so it serves nothing here: apt-get install nginx")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := l.Addr().String()
	check(t, l.Close())
	at, user := t.TempDir(), ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	conf := filepath.Join(at, "nginx.conf")
	check(t, os.WriteFile(conf, fmt.Appendf(nil, `daemon off; worker_processes 1; %s pid %[2]s/pid; error_log stderr; events {}
http {
  access_log off; client_body_temp_path %[2]s/a; proxy_temp_path %[2]s/b; fastcgi_temp_path %[2]s/c; uwsgi_temp_path %[2]s/d; scgi_temp_path %[2]s/e;
  server { listen %[3]s; root %[4]s; }
}
`, user, at, address, dir), 0o600))
	var talk bytes.Buffer
	cmd := exec.Command(path, "-p", at, "-c", conf)
	cmd.Stderr = &talk
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			check(t, conn.Close())
			return "http://" + address
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not listen: %v\n%s", err, talk.String())
		}
	}
}

// TestDirectoryFaults: whatever a directory does to the line, there is no verdict
// that is OK, and it comes in time.
func TestDirectoryFaults(t *testing.T) {
	const url = "https://github.com/acme/faulty-listed"
	_, good := bound(t, "acme/faulty-listed")
	o := newOperator(t)
	o.build()
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--directory", o.descriptorFile, good)
	const patience = time.Second / 2 // of one attempt
	for _, fault := range []malice.Fault{
		malice.Reset{}, malice.Truncate{After: 20}, malice.Status{Code: 404}, malice.Status{Code: 429, RetryAfter: time.Hour}, malice.Status{Code: 500},
		malice.Drop{}, malice.Delay{By: 4 * patience}, malice.Drip{Every: patience / 4}, malice.Status{Code: 503}, malice.WrongType{}, malice.Endless{}, malice.GzipBomb{}, malice.Redirect{To: "http://127.0.0.1:9/"},
	} {
		t.Run(fmt.Sprintf("%T", fault), func(t *testing.T) {
			h, err := malice.Wrap(fault, http.FileServer(http.Dir(o.site)))
			check(t, err)
			srv := httptest.NewServer(h)
			defer srv.Close()
			defer srv.CloseClientConnections()
			o.at(srv.URL)
			c := newComputer(t)
			switch fault.(type) {
			case malice.Drop, malice.Delay, malice.Drip:
				c.timeout = patience
			}
			begin := time.Now()
			code, out := c.repopolicy("verify", "-R", url, "--directory", o.descriptorFile, good)
			if code != policy.ClassUnavailable.Exit() || !strings.Contains(out, "no answer from the directory") {
				t.Errorf("exit %d\n%s", code, out)
			}
			if d := time.Since(begin); d > 30*time.Second { // whoever waits for it waits for ever
				t.Errorf("it took %s", d)
			}
		})
	}
}
