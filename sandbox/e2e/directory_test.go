// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/directory/cli"
	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/internal/issuer"
)

// asDirectory names the environment variable with which this test binary is
// repopolicy-directory. Its value is a file with a world.
const asDirectory = "E2E_DIRECTORY"

func directoryProgram(file string) int {
	var w world
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &w)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return policy.ClassInternal.Exit()
	}
	return cli.Main(os.Args[1:], cli.Env{
		Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now,
		Transport: &issuer.Transport{Base: http.DefaultTransport, Hosts: w.Hosts},
		Root: func(context.Context) (trust.Root, error) {
			r, err := sigstore.ParseRoot("sandbox", w.Root)
			return trust.Root{Root: r}, err
		},
	})
}

// operator runs a directory with a site of plain files.
type operator struct {
	t                testing.TB
	dir              string
	env              []string
	program          string // "" for this test binary
	root             string // file
	descriptor       *answers.Descriptor
	descriptorFile   string
	site, state, key string
	witnesses        string // file
}

// newOperator makes the key of a directory and serves what it will publish.
func newOperator(t testing.TB) *operator {
	t.Helper()
	return newOperatorOn(t, stack)
}

// newOperatorOn does the same on another stack.
func newOperatorOn(t testing.TB, on *sandbox.Stack) *operator {
	t.Helper()
	dir := t.TempDir()
	o := &operator{t: t, dir: dir, site: filepath.Join(dir, "site"), state: filepath.Join(dir, "state"), key: filepath.Join(dir, "key"), root: filepath.Join(dir, "root.json")}
	o.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, asDirectory + "=" + writeWorldOf(t, on, "", nil)}
	check(t, os.WriteFile(o.root, on.TrustedRoot(), 0o600))
	server := httptest.NewServer(http.FileServer(http.Dir(o.site)))
	t.Cleanup(server.Close)
	out := o.must(policy.ClassOK, "keygen", "--url", server.URL, o.key)
	var err error
	o.descriptor, err = answers.ParseDescriptor([]byte(out))
	check(t, err)
	o.descriptorFile = filepath.Join(dir, "directory.json")
	check(t, os.WriteFile(o.descriptorFile, []byte(out), 0o600))
	return o
}

// run runs the program, and kills it after a time where life is positive.
func (o *operator) run(life time.Duration, args ...string) (int, string, string) {
	o.t.Helper()
	self := o.program
	if self == "" {
		var err error
		self, err = os.Executable()
		check(o.t, err)
	}
	var out, talk bytes.Buffer
	cmd := exec.CommandContext(o.t.Context(), self, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = o.env, &out, &talk
	check(o.t, cmd.Start())
	if life > 0 {
		stop := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		defer stop.Stop()
	}
	_ = cmd.Wait() // the code says it
	return cmd.ProcessState.ExitCode(), out.String(), talk.String()
}

// must runs the program and demands a class.
func (o *operator) must(c policy.Class, args ...string) string {
	o.t.Helper()
	code, out, talk := o.run(0, args...)
	if code != c.Exit() {
		o.t.Fatalf("%s: exit %d, not %d\n%s%s", args[0], code, c.Exit(), out, talk)
	}
	return out + talk
}

func (o *operator) buildArgs() []string {
	args := []string{"build", "--state", o.state, "--site", o.site, "--key", o.key, "--trusted-root", o.root}
	if o.witnesses != "" {
		args = append(args, "--witnesses", o.witnesses)
	}
	return args
}

func (o *operator) build() string {
	o.t.Helper()
	return o.must(policy.ClassOK, o.buildArgs()...)
}

// audit audits the directory with what was kept of an earlier audit.
func (o *operator) audit(c policy.Class) string {
	o.t.Helper()
	return o.auditor().must(c, o.auditArgs()...)
}

func (o *operator) auditArgs() []string {
	return []string{"audit", "--directory", o.descriptorFile, "--state", filepath.Join(o.dir, "audit"), "--key", o.key, "--trusted-root", o.root}
}

// auditor is the same with the right program.
func (o *operator) auditor() *operator {
	a := *o
	a.program = ""
	return &a
}

// lookup asks the directory as a machine does.
func (o *operator) lookup(m *machine) *answers.Directory {
	o.t.Helper()
	client, err := web.New(o.descriptor.URL, nil, "repopolicy-e2e")
	check(o.t, err)
	return &answers.Directory{Root: m.root, Descriptor: o.descriptor, Client: client, Heads: m.state, Now: time.Now}
}

// bindAs binds the first version of a repository's policy, and publishes it on the
// forge if that is wanted.
func bindAs(t testing.TB, name string, publish bool) []bindings.File {
	t.Helper()
	m, job := newMachine(t), ci
	job.Repository = name
	one := encode(t, policyText(name, 1, 1, "alice"), "")
	files := append(m.write(one, 1, alice), m.write(one, 1, job)...)
	_, err := stack.Forge().Create(name)
	check(t, err)
	text := map[string]string{"README": name}
	if publish {
		text = texts(files)
	}
	_, err = stack.Forge().Commit(name, "main", text)
	check(t, err)
	return files
}

func texts(files []bindings.File) map[string]string {
	out := map[string]string{}
	for _, f := range files {
		out[f.Name] = string(f.Data)
	}
	return out
}

// TestDirectory: a stranger's view of a repository is complete by one request to a
// directory, and so is that of one that has no policy.
func TestDirectory(t *testing.T) {
	const name = "acme/in-directory"
	files := bindAs(t, name, true)
	o := newOperator(t)
	t.Log(o.build())
	m := newMachine(t)
	res := m.resolve(name, files, o.lookup(m))
	if r := res.Chain.Reason(); r != "" || len(res.Failed) > 0 {
		t.Fatalf("%s %+v %+v", r, res.Chain.Problems(), res.Failed)
	}
	if c := res.Chain.View().Completeness; c != chain.CompleteSigned || res.Chain.Genesis() != policy.GenesisFirst {
		t.Errorf("completeness %s, genesis %s", c, res.Chain.Genesis())
	}
	t.Log(o.build())
	// Seen before, the output log shows that it goes on.
	if res := m.resolve(name, files, o.lookup(m)); res.Chain.View().Completeness != chain.CompleteProven || res.Chain.Reason() != "" {
		t.Errorf("completeness %s, %s, %v", res.Chain.View().Completeness, res.Chain.Reason(), res.Failed)
	}
	none := m.resolve("acme/not-in-directory", nil, o.lookup(m))
	if r := none.Chain.Reason(); r != policy.NoBinding || none.Chain.View().Completeness != chain.CompleteProven {
		t.Errorf("nothing: %s %s %v", r, none.Chain.View().Completeness, none.Failed)
	}
}

// TestDirectorySizes: what a client fetches is small, also from a directory of ten
// million repositories over a log of a billion entries, whose proofs are as long as
// that takes.
func TestDirectorySizes(t *testing.T) {
	const name = "acme/sized"
	m, job := newMachine(t), ci
	job.Repository = name
	_, err := stack.Forge().Create(name)
	check(t, err)
	previous, published := "", map[string]string{}
	for version := 1; version <= 3; version++ {
		statement := encode(t, policyText(name, version, 1, "alice"), previous)
		previous = spelling.Sum(statement)
		maps.Copy(published, texts(append(m.write(statement, version, alice), m.write(statement, version, job)...)))
	}
	_, err = stack.Forge().Commit(name, "main", published)
	check(t, err)
	o := newOperator(t)
	o.build()
	hash := prefixmap.KeyHash("https://github.com/" + name)
	digits := fmt.Sprintf("%x", hash)
	id := bindings.MapID(bindings.MapVersion, m.root.Digest().Hex, "")
	read := func(path string) (*answers.Answer, int) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(o.site, id, filepath.FromSlash(path)+".json.gz"))
		check(t, err)
		a, err := answers.ParseAnswer(data)
		check(t, err)
		return a, len(data)
	}
	random := func(n int) (out [][]byte) {
		for range n {
			h := make([]byte, 32)
			_, err := rand.Read(h)
			check(t, err)
			out = append(out, h)
		}
		return out
	}
	encoded := func(a *answers.Answer) int {
		t.Helper()
		a.Inclusion = random(20) // a leaf every hour for a hundred years
		data, err := a.Encode()
		check(t, err)
		return len(data)
	}
	three, now := read("lookup/" + digits[:2] + "/" + digits)
	for k := range three.Keys {
		three.Keys[k].Path = three.Keys[k].Path[:0]
		for i, h := range random(25) {
			three.Keys[k].Path = append(three.Keys[k].Path, prefixmap.Step{Depth: 40 - i, Hash: prefixmap.Hash(h)})
		}
	}
	bindings := 0
	for _, r := range three.Keys[0].Records {
		if r.Binding != nil { // the other key has the same ones
			bindings++
			r.Binding.Inclusion = random(30)
		}
	}
	large := encoded(three)
	none, nothing := read("absent/" + digits[:2])
	none.Absent.Items = nil
	for range 8 { // as many as a directory lists at most on average
		h := random(3)
		none.Absent.Items = append(none.Absent.Items, prefixmap.Subtree{Label: prefixmap.NewLabel(prefixmap.Hash(h[0]), 0), Depth: 318, Left: prefixmap.Hash(h[1]), Right: prefixmap.Hash(h[2])})
	}
	none.Absent.Path = nil
	for i, h := range random(22) {
		none.Absent.Path = append(none.Absent.Path, prefixmap.Step{Depth: 23 - i, Hash: prefixmap.Hash(h)})
	}
	largeNothing := encoded(none)
	t.Logf("%d bindings: %d bytes, %d at scale; none: %d bytes, %d at scale", bindings, now, large, nothing, largeNothing)
	if bindings != 3 || now > 6<<10 {
		t.Errorf("%d bindings in %d bytes", bindings, now)
	}
	if nothing > 2<<10 {
		t.Errorf("nothing in %d bytes", nothing)
	}
}

// TestDirectoryFollowed builds, staples and audits under a root that is followed by
// TUF: its map is that of the clients who follow it, too.
func TestDirectoryFollowed(t *testing.T) {
	const name = "acme/followed"
	bindAs(t, name, true)
	o := newOperator(t)
	under := []string{"--trust-root", "first", "--trust-config", filepath.Join(trustConfig(t, stack, ""), "trust.toml")}
	out := o.must(policy.ClassOK, append([]string{"build", "--state", o.state, "--site", o.site, "--key", o.key}, under...)...)
	id := bindings.MapID(bindings.MapVersion, root(t).Digest().Hex, "")
	if !strings.Contains(out, "leaf 0: map "+id+": ") {
		t.Errorf("not the map %s:\n%s", id, out)
	}
	answer := filepath.Join(o.dir, "answer")
	o.must(policy.ClassOK, append([]string{"staple", "-R", name, "--directory", o.descriptorFile, "-o", answer}, under...)...)
	o.must(policy.ClassOK, append([]string{"audit", "--directory", o.descriptorFile, "--state", filepath.Join(o.dir, "audit"), "--key", o.key}, under...)...)
	data, err := os.ReadFile(answer)
	check(t, err)
	if a, err := answers.ParseAnswer(data); err != nil || len(a.Keys) != 2 {
		t.Errorf("%v", err)
	}
}
