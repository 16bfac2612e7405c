// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
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

// serve serves the directory until it is stopped or the test ends, and builds at once and after
// every interval.
func (o *operator) serve(interval time.Duration) (stop func()) {
	o.t.Helper()
	self, err := os.Executable()
	check(o.t, err)
	cmd := exec.CommandContext(o.t.Context(), self, "serve", "--listen", "127.0.0.1:0", "--interval", interval.String(), "--state", o.state, "--key", o.key, "--trusted-root", o.root)
	cmd.Env = o.env
	talk, err := cmd.StderrPipe()
	check(o.t, err)
	check(o.t, cmd.Start())
	ended := make(chan struct{})
	o.t.Cleanup(func() { <-ended }) // it ends with the test's context
	lines := bufio.NewReader(talk)
	line, err := lines.ReadString('\n')
	check(o.t, err)
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "listening at ")
	if !ok {
		o.t.Fatal(line)
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
		close(ended)
	}()
	o.at(base)
	return func() {
		check(o.t, cmd.Process.Kill())
		<-ended
	}
}

// receipt returns what the only receipt for a version on a machine says, verified.
func (c *computer) receipts(o *operator) []answers.Receipt {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.state, "state", "*", "receipts", "*.note"))
	check(c.t, err)
	var out []answers.Receipt
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
		signed, err := m.client(o.descriptor.URL).Get(o.t.Context(), "checkpoint", answers.MaxAnswerBytes)
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
// that nobody goes by the old version, whatever files he is given.
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
		return newComputer(t).must(want, append([]string{"verify", "-v", "-R", url, "--directory", o.descriptorFile, good}, more...)...)
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
	if out := verify(policy.ClassOK, "--git", before); !strings.Contains(out, "version 2,") { // the directory has it
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
	if out := verify(policy.ClassUnavailable, "--git", p.dir); !strings.Contains(out, "hint: who has its files hands them in: `repopolicy hand-in -R "+url+" --git "+p.dir+" --directory "+o.descriptorFile+"`") {
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

// TestHandInByRoot: bind hands in to the directory that the trust root names, if the repository
// is public or it is told to; one that takes nothing is no reason for a warning.
func TestHandInByRoot(t *testing.T) {
	o := newOperator(t)
	o.unseen()
	o.serve(time.Hour)
	o.listed(0)
	files := newOperator(t)
	files.build()
	for name, x := range map[string]struct {
		at         *operator
		visibility string
		flags      []string
		want       int // receipts
	}{
		"acme/by-root":        {o, "public", nil, 1},
		"acme/by-root-hidden": {o, "private", []string{"--publish-name"}, 0},
		"acme/by-root-told":   {o, "private", []string{"--publish-name", "--hand-in", o.descriptorFile}, 1},
		"acme/by-files":       {files, "public", nil, 0},
	} {
		p := newProject(t, name)
		p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
		p.push()
		repo, err := stack.Forge().Find(name)
		check(t, err)
		c := newComputer(t)
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		c.named = x.at.descriptor
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch", Visibility: x.visibility})
		check(t, err)
		out := c.must(policy.ClassOK, append([]string{"bind", "--git", p.dir, "--output", t.TempDir()}, x.flags...)...)
		if got := c.receipts(x.at); len(got) != x.want || strings.Contains(out, "warning") {
			t.Errorf("%s: %+v\n%s", name, got, out)
		}
	}
}

// maxLeaf is the newest leaf that the directory shows.
func maxLeaf(t testing.TB, o *operator) int64 {
	t.Helper()
	signed, err := newMachine(t).client(o.descriptor.URL).Get(t.Context(), "checkpoint", answers.MaxAnswerBytes)
	check(t, err)
	cp, err := o.descriptor.Open(signed)
	check(t, err)
	return cp.Size - 1
}

// TestHandInRaced: a maintainer whom version 2 removes takes its files off before the directory has
// seen them, and binds, publishes and hands in a version 2 of his own. What was bound first was
// handed in before he could: his counts for nobody.
func TestHandInRaced(t *testing.T) {
	const name = "acme/raced-in"
	url := "https://github.com/" + name
	o := newOperator(t) // whose crawler is not kept away: he has to be quicker
	stop := o.serve(time.Hour)
	o.listed(0)
	p := newProject(t, name)
	p.bindFlags = []string{"--without-v1", "--hand-in", o.descriptorFile} // in one log, which orders them
	version := func(who claims.Email, text []byte) {
		t.Helper()
		p.write(".repopolicy/policy.toml", string(text))
		p.push()
		c := newComputer(t)
		var err error
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(who)
		check(t, err)
		c.must(policy.ClassOK, "sign", "--without-v1", "--git", p.dir, "--yes")
		p.push()
		check(t, p.dispatch("repository_dispatch"))
		git(t, p.dir, "fetch", "-q", "origin")
	}
	mirror := func() string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "mirror.git")
		git(t, ".", "clone", "-q", "--mirror", stack.Forge().CloneURL(name), dir)
		return dir
	}
	version(alice, policyText(name, 1, 1, "alice", "bob"))
	first := git(t, p.dir, "rev-parse", "HEAD", "origin/repopolicy")
	version(alice, policyText(name, 2, 1, "alice"))
	second := strings.Fields(git(t, p.dir, "rev-parse", "HEAD", "origin/repopolicy"))
	removed := mirror()

	heads := strings.Fields(first)
	git(t, p.dir, "push", "-q", "-f", "origin", heads[0]+":main", heads[1]+":refs/heads/repopolicy")
	repo, err := stack.Forge().Find(name)
	check(t, err)
	// He has a program that does not ask what else is bound.
	evil := strings.Replace(string(policyText(name, 2, 1, "bob")), "release.yml", "evil.yml", 1)
	statement := encode(t, []byte(evil), spelling.Sum(encode(t, policyText(name, 1, 1, "alice", "bob"), "")))
	run := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"}
	m := newMachine(t)
	made := map[string]string{}
	for _, who := range []claims.Claims{bob, run} {
		w := m.writer(nil)
		w.Client.Services.RekorV1 = ""
		files, err := w.Write(t.Context(), signlog.Request{Statement: statement, Version: 2, Signature: signlog.Signature{Who: fmt.Sprint(who), Token: func(context.Context) (string, error) { return stack.Token(who) }}})
		check(t, err)
		maps.Copy(made, texts(files))
	}
	made[".repopolicy/policy.toml"] = evil
	_, err = stack.Forge().Commit(name, "main", made)
	check(t, err)
	taken := mirror()
	newComputer(t).must(policy.ClassOK, "hand-in", "-R", url, "--directory", o.descriptorFile)

	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release"}
	good := releaseFile(t, "widget_1.tar.gz", job)
	job.Workflow = ".github/workflows/evil.yml"
	bad := releaseFile(t, "widget_2.tar.gz", job)
	stop() // as if killed; the next one builds at once
	o.serve(time.Hour)
	o.listed(1)
	for name, data := range made {
		if bindings.IsSignatureName(name) {
			p.write(name, data)
		}
	}
	git(t, p.dir, "add", "-A")
	git(t, p.dir, "commit", "-q", "-m", "all that is bound")
	git(t, p.dir, "push", "-q", "-f", "origin", "HEAD:main", second[1]+":refs/heads/repopolicy")
	all := mirror()
	for _, at := range []string{taken, removed, all} {
		args := []string{"verify", "-R", url, "--directory", o.descriptorFile, "--git", at}
		newComputer(t).must(policy.ClassDeny, append(args, bad)...)
		newComputer(t).must(policy.ClassOK, append(args, good)...)
	}
	o.audit(policy.ClassOK)
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
