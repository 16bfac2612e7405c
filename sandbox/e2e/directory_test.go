// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/directory/cli"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
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
		Root:      func(context.Context) ([]byte, error) { return w.Root, nil },
	})
}

// operator runs a directory with a site of plain files.
type operator struct {
	t                testing.TB
	dir              string
	env              []string
	program          string // "" for this test binary
	root             string // file
	descriptor       *rekorbind.Descriptor
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
	o.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, asDirectory + "=" + writeWorldOf(t, on, "")}
	check(t, os.WriteFile(o.root, on.TrustedRoot(), 0o600))
	server := httptest.NewServer(http.FileServer(http.Dir(o.site)))
	t.Cleanup(server.Close)
	out := o.must(policy.ClassOK, "keygen", "--url", server.URL, o.key)
	var err error
	o.descriptor, err = rekorbind.ParseDescriptor([]byte(out))
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
	return o.auditor().must(c, "audit", "--directory", o.descriptorFile, "--state", filepath.Join(o.dir, "audit"), "--key", o.key, "--trusted-root", o.root)
}

// auditor is the same with the right program.
func (o *operator) auditor() *operator {
	a := *o
	a.program = ""
	return &a
}

// lookup asks the directory as a machine does.
func (o *operator) lookup(m *machine) *rekorbind.Directory {
	o.t.Helper()
	client, err := web.New(o.descriptor.URL, nil, "repopolicy-e2e")
	check(o.t, err)
	return &rekorbind.Directory{Root: m.root, Descriptor: o.descriptor, Client: client, Heads: m.state, Now: time.Now}
}

// bindAs binds the first version of a repository's policy, and publishes it on the
// forge if that is wanted.
func bindAs(t testing.TB, name string, publish bool) []rekorbind.File {
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

func texts(files []rekorbind.File) map[string]string {
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
	if c := res.Chain.View().Completeness; c != policy.CompleteSigned || res.Chain.Genesis() != policy.GenesisFirst {
		t.Errorf("completeness %s, genesis %s", c, res.Chain.Genesis())
	}
	t.Log(o.build())
	// Seen before, the output log shows that it goes on.
	if res := m.resolve(name, files, o.lookup(m)); res.Chain.View().Completeness != policy.CompleteProven || res.Chain.Reason() != "" {
		t.Errorf("completeness %s, %s, %v", res.Chain.View().Completeness, res.Chain.Reason(), res.Failed)
	}
	none := m.resolve("acme/not-in-directory", nil, o.lookup(m))
	if r := none.Chain.Reason(); r != policy.NoBinding || none.Chain.View().Completeness != policy.CompleteProven {
		t.Errorf("nothing: %s %s %v", r, none.Chain.View().Completeness, none.Failed)
	}
}
