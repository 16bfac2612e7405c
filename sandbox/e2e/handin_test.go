// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// unseen makes the forges refuse the crawler of a directory.
func (o *operator) unseen() {
	o.t.Helper()
	file := strings.TrimPrefix(o.env[len(o.env)-1], asDirectory+"=")
	data, err := os.ReadFile(file)
	check(o.t, err)
	var w world
	check(o.t, json.Unmarshal(data, &w))
	for _, name := range forge.Hosts {
		w.Hosts[name] = "127.0.0.1:1"
	}
	data, err = json.Marshal(w)
	check(o.t, err)
	check(o.t, os.WriteFile(file, data, 0o600))
}

// serve serves the directory until the test ends, and builds again and again.
func (o *operator) serve(interval time.Duration) {
	o.t.Helper()
	self, err := os.Executable()
	check(o.t, err)
	cmd := exec.CommandContext(o.t.Context(), self, "serve", "--listen", "127.0.0.1:0", "--interval", interval.String(), "--state", o.state, "--key", o.key, "--trusted-root", o.root)
	cmd.Env = o.env
	talk, err := cmd.StderrPipe()
	check(o.t, err)
	check(o.t, cmd.Start())
	o.t.Cleanup(func() { _ = cmd.Wait() }) // it ended with the test's context
	lines := bufio.NewReader(talk)
	line, err := lines.ReadString('\n')
	check(o.t, err)
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "listening at ")
	if !ok {
		o.t.Fatal(line)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	o.at(base)
}

// receipt returns what the only receipt for a version on a machine says, verified.
func (c *computer) receipts(o *operator) []rekorbind.Receipt {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.state, "state", "*", "receipts", "*.note"))
	check(c.t, err)
	var out []rekorbind.Receipt
	for _, f := range files {
		data, err := os.ReadFile(f)
		check(c.t, err)
		r, err := o.descriptor.OpenReceipt(data)
		check(c.t, err)
		out = append(out, r)
	}
	return out
}

// listed waits until the directory shows a leaf.
func (o *operator) listed(leaf int64) {
	o.t.Helper()
	m := newMachine(o.t)
	for range 200 {
		signed, err := m.client(o.descriptor.URL).Get(o.t.Context(), "checkpoint", rekorbind.MaxAnswerBytes)
		if err == nil {
			cp, err := o.descriptor.Open(signed)
			check(o.t, err)
			if cp.Size > leaf {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	o.t.Fatalf("leaf %d never came", leaf)
}

// TestHandIn: a forge keeps the crawler of a directory away, and an insider takes the files of
// the newest version off. What is handed in is listed by the leaf of the receipt all the same, so
// that who follows the old version is refused, and who has the files goes on.
func TestHandIn(t *testing.T) {
	const name = "acme/handed-in"
	url := "https://github.com/" + name
	o := newOperator(t)
	o.unseen()
	o.serve(300 * time.Millisecond)
	o.listed(0)
	p, good := bound(t, name)
	git(t, p.dir, "fetch", "-q", "origin")
	maintainer := newComputer(t)
	receipts := t.TempDir()
	out := maintainer.must(policy.ClassOK, "hand-in", "--git", p.dir, "--directory", o.descriptorFile, "-o", receipts)
	if !strings.Contains(out, "handed in: version 1, which "+o.descriptor.URL+" lists by its leaf ") {
		t.Error(out)
	}
	got := maintainer.receipts(o)
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	if _, err := os.Stat(filepath.Join(receipts, got[0].Statement+".note")); err != nil {
		t.Error(err)
	}
	o.listed(got[0].Leaf)
	verify := func(want policy.Class, more ...string) string {
		t.Helper()
		return newComputer(t).must(want, append([]string{"verify", "-R", url, "--directory", o.descriptorFile, good}, more...)...)
	}
	verify(policy.ClassOK)
	if out := maintainer.must(policy.ClassOK, "hand-in", "-R", url, "--directory", o.descriptorFile); !strings.Contains(out, "nothing to hand in") {
		t.Error(out)
	}

	// Version 2 is bound and handed in, and then taken off the forge.
	before := filepath.Join(t.TempDir(), "before.git")
	git(t, ".", "clone", "-q", "--mirror", stack.Forge().CloneURL(name), before)
	next := func(version string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(p.dir, ".repopolicy", "policy.toml"))
		check(t, err)
		old := string(rune(version[0] - 1))
		p.write(".repopolicy/policy.toml", strings.Replace(string(text), "version    = "+old, "version    = "+version, 1))
		p.push()
		c := newComputer(t)
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		check(t, p.dispatch("repository_dispatch"))
	}
	p.bindFlags = []string{"--hand-in", o.descriptorFile}
	next("2")
	git(t, p.dir, "fetch", "-q", "origin")
	o.listed(maxLeaf(t, o) + 1)
	verify(policy.ClassOK)
	if out := verify(policy.ClassUnavailable, "--git", before); !strings.Contains(out, "bind") {
		t.Error(out)
	}
	if out := maintainer.must(policy.ClassOK, "hand-in", "--git", p.dir, "--directory", o.descriptorFile); !strings.Contains(out, "nothing to hand in") {
		t.Errorf("bind handed in: %s", out)
	}

	// Version 3 is handed in by nobody, and the directory waits for it.
	p.bindFlags = nil
	next("3")
	git(t, p.dir, "fetch", "-q", "origin")
	o.listed(maxLeaf(t, o) + 1)
	if out := verify(policy.ClassUnavailable, "--git", p.dir); !strings.Contains(out, "hint: who has its files hands them in: `repopolicy hand-in -R "+url+" --directory "+o.descriptorFile+"`") {
		t.Error(out)
	}
	// Nor does a directory that is away lose a binding.
	away := filepath.Join(t.TempDir(), "away.json")
	d := *o.descriptor
	d.URL = "http://127.0.0.1:1"
	check(t, os.WriteFile(away, d.Bytes(), 0o600))
	if out := maintainer.must(policy.ClassUnavailable, "hand-in", "--git", p.dir, "--directory", away); !strings.Contains(out, "error: version 1: ") {
		t.Error(out)
	}
	maintainer.must(policy.ClassOK, "hand-in", "--git", p.dir, "--directory", o.descriptorFile)
	for _, r := range maintainer.receipts(o) {
		o.listed(r.Leaf)
	}
	verify(policy.ClassOK, "--git", p.dir)
	verify(policy.ClassOK)
	o.audit(policy.ClassOK)
}

// maxLeaf is the newest leaf that the directory shows.
func maxLeaf(t testing.TB, o *operator) int64 {
	t.Helper()
	signed, err := newMachine(t).client(o.descriptor.URL).Get(t.Context(), "checkpoint", rekorbind.MaxAnswerBytes)
	check(t, err)
	cp, err := o.descriptor.Open(signed)
	check(t, err)
	return cp.Size - 1
}

// TestHandInUnreachable: bind ends well where the directory that it hands in to is away, says
// so and how to do it again; where there is no endpoint, hand-in says that.
func TestHandInUnreachable(t *testing.T) {
	const name = "acme/handed-in-later"
	o := newOperator(t)
	o.build()
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	c := newComputer(t)
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	var said string
	p.bindFlags = []string{"--hand-in", o.descriptorFile}
	p.said = &said
	check(t, p.dispatch("repository_dispatch"))
	if !strings.Contains(said, "warning: not handed in to the directory: version 1: ") || !strings.Contains(said, "hand-in --git ") || !strings.Contains(said, "--directory "+o.descriptorFile+"`") {
		t.Error(said)
	}
	git(t, p.dir, "fetch", "-q", "origin")
	newComputer(t).must(policy.ClassOK, "show", "-R", name)
	c.must(policy.ClassUnavailable, "hand-in", "-R", name, "--directory", o.descriptorFile)

	// Such a directory has an inbox.
	o.unseen()
	inbox := filepath.Join(o.dir, "inbox")
	check(t, os.Mkdir(inbox, 0o700))
	clone := filepath.Join(t.TempDir(), "clone")
	for _, branch := range []string{"main", "repopolicy"} {
		git(t, ".", "clone", "-q", "-b", branch, stack.Forge().CloneURL(name), clone+branch)
		check(t, os.CopyFS(inbox, os.DirFS(filepath.Join(clone+branch, ".repopolicy", "signatures"))))
	}
	check(t, os.WriteFile(filepath.Join(inbox, "junk.sigstore.json"), []byte("{}"), 0o600))
	out := o.must(policy.ClassOK, append(o.buildArgs(), "--inbox", inbox)...)
	if !strings.Contains(out, "inbox: 1 taken") || !strings.Contains(out, "inbox: junk.sigstore.json is refused") || !strings.Contains(out, "1 taken") {
		t.Error(out)
	}
	if files, err := filepath.Glob(filepath.Join(inbox, "receipts", "*.note")); err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}
	newComputer(t).must(policy.ClassOK, "show", "-R", name, "--directory", o.descriptorFile)
	if out := c.must(policy.ClassOK, "hand-in", "-R", name, "--directory", o.descriptorFile); !strings.Contains(out, "nothing to hand in") {
		t.Error(out)
	}
	o.audit(policy.ClassOK)
}
