// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// signing are the services of a signature in the order in which they are asked, with what
// of them makes something public.
var signing = []struct {
	service sandbox.Service
	act     string // end of a path
}{
	{sandbox.Fulcio, "/api/v2/signingCert"}, {sandbox.TSA, "/timestamp"}, {sandbox.RekorV1, "/log/entries"}, {sandbox.Rekor, "/log/entries"},
}

// look stands for what is asked before anything is signed.
const look = "look"

// sign signs a policy of the cell's own, and a service has the fault for what is below a
// path; or for the look at what is bound already.
func (c *cell) sign(service sandbox.Service, path string) {
	t := c.t
	name := "acme/" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "remote", "add", "origin", "https://github.com/"+name)
	put(t, filepath.Join(dir, ".repopolicy", "policy.toml"), policyText(name, 1, 1, "alice"))
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "policy")
	token, err := stack.Token(alice)
	check(t, err)
	env := []string{"SIGSTORE_ID_TOKEN=" + token}

	if path == look && c.fault == nil {
		return // as in the other rows
	}
	honest, faulty := map[string]*malice.Line{}, map[string]*malice.Line{}
	at := -1
	for i, s := range signing {
		url := stack.URL(s.service)
		honest[url] = c.line(url, nil)
		faulty[url] = honest[url]
		if s.service == service {
			f := c.fault
			if at = i; path == look {
				at = -1
			} else if path != "" && f != nil && !connection(f) {
				f = malice.On{Path: path, Fault: f}
			}
			faulty[url] = c.line(honest[url].URL, f)
		}
	}
	root := c.through("root.json", c.root, honest) // also who remembers is told apart by it
	asking := root
	if path == look {
		asking = c.through("root.json", c.root, faulty)
	}
	with := func(root string, lines map[string]*malice.Line) []string {
		return []string{"sign", "--git", dir, "--yes", "--trusted-root", root, "--signing-config", c.through("v1.json", c.v1, lines), "--signing-config", c.through("v2.json", c.v2, lines)}
	}
	// public is how often each service has made something public.
	public := func() (out []int) {
		for _, s := range signing {
			asked := honest[stack.URL(s.service)].Asked(http.MethodPost, s.act)
			out = append(out, len(slices.DeleteFunc(asked, func(a malice.Asked) bool { return a.Status > 299 })))
		}
		return out
	}
	r := c.fails(faulty[stack.URL(service)].Host(), env, with(asking, faulty)...)
	before := public()
	files := func() int {
		all, err := filepath.Glob(filepath.Join(dir, ".repopolicy", "signatures", "*"))
		check(t, err)
		return len(all)
	}
	if r.code != 0 {
		if files() > 0 || slices.Max(append(before[at+1:], 0)) > 0 {
			t.Errorf("made public: %v, %d files\n%s", before, files(), r.out)
		}
	}
	if path == look && r.code == 0 {
		return
	}
	if before[0] > 1 {
		t.Errorf("%d certificates in one run", before[0])
	}
	c.time = time.Minute // nobody hangs
	if again := c.run(env, with(root, honest)...); again.code != 0 {
		t.Fatalf("again: exit %d\n%s\n%s", again.code, again.out, r.out)
	}
	after := public()
	// A certificate of which nothing came back is lost, and no other.
	want := 1
	if service == sandbox.Fulcio && r.code != 0 {
		want += before[0]
	}
	if after[0] != want || after[3] != 1 || c.indexed(dir) != 1 || files() != 2 {
		t.Errorf("made public: %v and then %v, %d files\n%s", before, after, files(), r.out)
	}
}

// indexed counts what Rekor v1 has of the one policy that was signed in a directory.
func (c *cell) indexed(dir string) int {
	t := c.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, ".repopolicy", "policy.toml"))
	check(t, err)
	body, err := json.Marshal(map[string]string{"hash": "sha256:" + spelling.Sum(encode(t, text, ""))})
	check(t, err)
	resp, err := http.Post(stack.URL(sandbox.RekorV1)+"/api/v1/index/retrieve", "application/json", bytes.NewReader(body))
	check(t, err)
	defer resp.Body.Close()
	var found []string
	check(t, json.NewDecoder(resp.Body).Decode(&found))
	slices.Sort(found)
	return len(slices.Compact(found))
}
