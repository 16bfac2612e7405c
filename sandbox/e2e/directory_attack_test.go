// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// TestDirectoryKilled kills builds and audits at random moments: what is built in the end is
// what an auditor makes of the logs, and every binding is found once.
func TestDirectoryKilled(t *testing.T) {
	o := newOperator(t)
	var names []string
	killed, start := 0, time.Now()
	o.build()
	whole := time.Since(start) // as long as a build takes on this machine, now
	for round := range 4 {
		name := fmt.Sprintf("acme/mapped-%d", round)
		bindAs(t, name, round%2 == 0)
		names = append(names, name)
		for range 8 {
			code, out, talk := o.run(whole/5+rand.N(whole), o.buildArgs()...)
			switch code {
			case -1:
				killed++
			case 0:
			default:
				t.Fatalf("exit %d\n%s%s", code, out, talk)
			}
		}
	}
	t.Logf("%d of 32 builds were killed", killed)
	o.build()
	for range 8 { // nor does an audit need to come to its end
		if code, out, talk := o.run(whole/5+rand.N(whole), o.auditArgs()...); code > 0 {
			t.Fatalf("audit: exit %d\n%s%s", code, out, talk)
		}
	}
	o.audit(policy.ClassOK)
	o.build()
	o.audit(policy.ClassOK)
	m := newMachine(t)
	for _, name := range names {
		l, err := policy.NormalizeLocator(name)
		check(t, err)
		found, err := o.lookup(m).Find(t.Context(), bindings.Query{Repository: l})
		check(t, err)
		if len(found.Leaves) != 1 {
			t.Errorf("%s: %d bindings", name, len(found.Leaves))
		}
	}
}

// TestDirectoryWrongFunction builds a directory with a program whose map function
// leaves one repository out, and with one that takes whoever asks: the auditor
// signs that it disagrees.
func TestDirectoryWrongFunction(t *testing.T) {
	bindAs(t, "acme/left-out", true)
	m, push := newMachine(t), ci
	push.Repository, push.Event = "acme/left-in", "push"
	m.write(encode(t, policyText(push.Repository, 1, 1, "alice"), ""), 1, push)
	for what, c := range map[string]struct{ file, old, changed string }{
		"leaves one out": {"directory/mapfn.go", "	out := &Bound{", "	if by.Repository.String() == \"https://github.com/acme/left-out\" {\n		return nil, nil\n	}\n	out := &Bound{"},
		"takes a push":   {"internal/bindings/authority.go", `{"repository_dispatch", "schedule"}`, `{"repository_dispatch", "schedule", "push"}`},
	} {
		t.Run(what, func(t *testing.T) {
			o := newOperator(t)
			o.program = wrongProgram(t, c.file, c.old, c.changed)
			// It does not know the sandbox's forge, and must not reach another.
			o.env = append(o.env, "HTTPS_PROXY=http://127.0.0.1:1")
			o.build()
			out := o.audit(policy.ClassAlarm)
			if !strings.Contains(out, "leaf 0 of the directory is not what its inputs give") {
				t.Errorf("%s", out)
			}
			notes, err := filepath.Glob(filepath.Join(o.dir, "audit", "evidence", "audit-*.note"))
			if err != nil || len(notes) != 1 {
				t.Fatalf("%v %v", notes, err)
			}
			data, err := os.ReadFile(notes[0])
			check(t, err)
			v, err := note.NewVerifier(o.descriptor.Key) // the auditor of this test
			check(t, err)
			n, err := note.Open(data, note.VerifierList(v))
			check(t, err)
			if !strings.HasPrefix(n.Text, "repopolicy directory audit v1\n"+o.descriptor.Origin()+"\n0 ") {
				t.Errorf("%s", n.Text)
			}
			// It stays so, whatever the directory appends.
			o.build()
			o.audit(policy.ClassAlarm)
		})
	}
}

// wrongProgram builds the service with another line in one file.
func wrongProgram(t *testing.T, file, old, changed string) string {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs(filepath.Join("..", "..", file))
	check(t, err)
	text, err := os.ReadFile(source)
	check(t, err)
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%q stands %d times in %s", old, strings.Count(string(text), old), file)
	}
	replace := map[string]string{source: filepath.Join(dir, "changed.go")}
	check(t, os.WriteFile(replace[source], []byte(strings.Replace(string(text), old, changed, 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	program := filepath.Join(dir, "wrong")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/repopolicy-directory")
	cmd.Dir = "../../directory"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestDirectoryLate: while the first of two first versions is withheld, and there is time to
// hand it in, nothing is decided; handed in, it counts from where it was bound. An auditor sees
// when that was, too.
func TestDirectoryLate(t *testing.T) {
	const name = "acme/late"
	job := ci
	job.Repository = name
	m, o := newMachine(t), newOperator(t)
	withheld := encode(t, policyText(name, 1, 1, "bob"), "")
	hidden := append(m.write(withheld, 1, bob), m.write(withheld, 1, job)...)
	_, err := stack.Forge().Create(name)
	check(t, err)
	_, err = stack.Forge().Commit(name, "main", map[string]string{"README": name})
	check(t, err)
	o.build() // has read the binding, and finds nothing
	good := encode(t, policyText(name, 1, 1, "alice"), "")
	files := append(m.write(good, 1, alice), m.write(good, 1, job)...)
	_, err = stack.Forge().Commit(name, "main", texts(files))
	check(t, err)
	o.build()
	o.audit(policy.ClassOK)
	see := func(files []bindings.File) *chain.Chain {
		t.Helper()
		m := newMachine(t)
		res := m.resolve(name, files, o.lookup(m))
		if len(res.Failed) > 0 {
			t.Fatal(res.Failed)
		}
		return res.Chain
	}
	for what, files := range map[string][]bindings.File{"withheld": files, "at hand": append(files, hidden...)} {
		if c := see(files); c.Reason() != policy.Undisclosed {
			t.Errorf("%s, and not handed in: %q %+v", what, c.Reason(), c.Problems())
		}
	}
	_, err = stack.Forge().Commit(name, "main", texts(hidden))
	check(t, err)
	o.build()
	o.audit(policy.ClassOK)
	// Who does not have it gets it there.
	for what, files := range map[string][]bindings.File{"at hand": append(files, hidden...), "not at hand": files, "nothing at hand": nil} {
		if c := see(files); c.Reason() != "" || c.Versions()[0].Statement != spelling.Sum(withheld) {
			t.Errorf("handed in, %s: %q %+v", what, c.Reason(), c.Problems())
		}
	}
	// As the log alone has it.
	alone := newMachine(t)
	if got := alone.resolve(name, append(files, hidden...), alone.hint(), alone.scan()).Chain.Versions()[0].Statement; got != spelling.Sum(withheld) {
		t.Errorf("without a directory: %s", got)
	}
}

// TestDirectoryRoots: a change of the trusted root is another map beside the old
// one, by which everything was first shown when it was by that.
func TestDirectoryRoots(t *testing.T) {
	const name = "acme/roots"
	job := ci
	job.Repository = name
	s, err := sandbox.Start(t.Context(), t.TempDir(), sandbox.Options{})
	check(t, err)
	defer s.Close()
	publish := func(files map[string]string) {
		t.Helper()
		_, err := s.Forge().Commit(name, "main", files)
		check(t, err)
	}
	both := func(who string, as claims.Claims) ([]byte, []bindings.File) {
		t.Helper()
		payload := encode(t, policyText(name, 1, 1, who), "")
		return payload, append(writeOn(t, s, payload, as), writeOn(t, s, payload, job)...)
	}
	o := newOperatorOn(t, s)
	first := s.TrustedRoot()
	_, err = s.Forge().Create(name)
	check(t, err)
	publish(map[string]string{"README": name})
	bound, hidden := both("bob", bob)
	o.build() // leaf 0 has read it, and finds nothing
	_, files := both("alice", alice)
	publish(texts(files))
	o.build()
	check(t, s.AddShard(sandbox.Rotation{AtOnce: true}))
	before := o.root
	o.root = filepath.Join(o.dir, "root2.json")
	check(t, os.WriteFile(o.root, s.TrustedRoot(), 0o600))
	writeOn(t, s, encode(t, policyText("acme/roots-2", 1, 1, "alice"), ""), alice) // into the new shard
	if out := o.build(); strings.Count(out, "leaf 2: map ") != 2 {
		t.Fatalf("not two maps side by side:\n%s", out)
	}
	publish(texts(hidden))
	if out := o.build(); strings.Count(out, "leaf 3: map ") != 2 {
		t.Errorf("the old map has ended by itself:\n%s", out)
	}
	for file, data := range map[string][]byte{before: first, o.root: s.TrustedRoot()} {
		m := newMachine(t)
		m.root, err = sigstore.ParseRoot("sandbox", data)
		check(t, err)
		res := m.resolve(name, append(files, hidden...), o.lookup(m))
		if res.Chain.Reason() != "" || len(res.Failed) > 0 || res.Chain.Versions()[0].Statement != spelling.Sum(bound) {
			t.Errorf("%s: %s %+v %v", file, res.Chain.Reason(), res.Chain.Problems(), res.Failed)
		}
	}
	for state, roots := range map[string][]string{"both": {o.root, before}, "old": {before}} {
		args := []string{"audit", "--directory", o.descriptorFile, "--state", filepath.Join(o.dir, state), "--key", o.key}
		for _, r := range roots {
			args = append(args, "--trusted-root", r)
		}
		o.must(policy.ClassOK, args...)
	}
	old, err := sigstore.ParseRoot("old", first)
	check(t, err)
	id := bindings.MapID(bindings.MapVersion, old.Digest().Hex, "")
	if out := o.must(policy.ClassOK, append(o.buildArgs(), "--retire", id)...); strings.Count(out, "leaf 4: map ") != 1 || strings.Contains(out, id) {
		t.Errorf("the old map has not ended:\n%s", out)
	}
}

// TestDirectoryWitnesses: what too few witnesses cosigned is not published, and the
// next build goes on with it.
func TestDirectoryWitnesses(t *testing.T) {
	s, err := sandbox.Start(t.Context(), t.TempDir(), sandbox.Options{Witnesses: 3})
	check(t, err)
	defer s.Close()
	o := newOperatorOn(t, s)
	o.witnesses = filepath.Join(o.dir, "witnesses")
	check(t, os.WriteFile(o.witnesses, []byte(s.WitnessPolicy()), 0o600))
	check(t, s.Cosign(o.descriptor.Key))
	o.build()
	w, err := rekor.ParseWitnessPolicy([]byte(s.WitnessPolicy()))
	check(t, err)
	checkpoint := func() []byte {
		data, err := os.ReadFile(filepath.Join(o.site, "checkpoint"))
		check(t, err)
		return data
	}
	first := checkpoint()
	if _, err := w.Seen(first, time.Now()); err != nil {
		t.Fatal(err)
	}
	var undo []func() error
	for _, name := range []sandbox.Service{sandbox.Witness, "witness-2"} {
		u, err := s.Misbehave(name, malice.Status{Code: http.StatusServiceUnavailable})
		check(t, err)
		undo = append(undo, u)
	}
	if out := o.must(policy.ClassUnavailable, append(o.buildArgs(), "--witness-wait", "1s")...); !strings.Contains(out, "no quorum of witnesses") {
		t.Error(out)
	}
	if string(checkpoint()) != string(first) {
		t.Error("published without a quorum")
	}
	for _, u := range undo {
		check(t, u())
	}
	o.build()
	if _, err := w.Seen(checkpoint(), time.Now()); err != nil {
		t.Error(err)
	}
	o.audit(policy.ClassOK)
}

// TestDirectoryInputs: a log that shows the directory another history, or an older
// tree, is refused with evidence, and what was published stays.
func TestDirectoryInputs(t *testing.T) {
	s, err := sandbox.Start(t.Context(), t.TempDir(), sandbox.Options{})
	check(t, err)
	defer s.Close()
	log := func(n int) {
		t.Helper()
		for range n {
			writeOn(t, s, encode(t, policyText("acme/inputs", 1, 1, "alice"), ""), alice)
		}
	}
	o := newOperatorOn(t, s)
	log(3)
	var shadow atomic.Bool
	_, err = s.Misbehave(sandbox.Rekor, malice.Fork{Victim: func(*http.Request) bool { return shadow.Load() }})
	check(t, err)
	log(2)
	o.build()
	before := snapshot(t, o.site)
	trusted, err := sigstore.ParseRoot("sandbox", s.TrustedRoot())
	check(t, err)

	shadow.Store(true)
	if out := o.must(policy.ClassUnavailable, o.buildArgs()...); !strings.Contains(out, "stale: a checkpoint of size 3, but 5 was seen before") {
		t.Errorf("an older tree: %s", out)
	}
	for i, what := range []string{"another tree of the same size", "a larger one"} {
		log(2)
		if out := o.must(policy.ClassAlarm, o.buildArgs()...); !strings.Contains(out, "the evidence is kept in") {
			t.Errorf("%s: %s", what, out)
		}
		forks, err := filepath.Glob(filepath.Join(o.state, "evidence", "fork-*.json"))
		if err != nil || len(forks) != i+1 {
			t.Fatalf("%s: %v %v", what, forks, err)
		}
		for _, file := range forks {
			data, err := os.ReadFile(file)
			check(t, err)
			evidence, err := rekor.ParseFork(data)
			check(t, err)
			for _, cp := range [][]byte{evidence.Seen, evidence.New} {
				if _, _, err := trusted.OpenAnyCheckpoint(cp); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	}
	if d := cmp.Diff(before, snapshot(t, o.site)); d != "" {
		t.Errorf("the site has changed:\n%s", d)
	}
	// Once it shows again what it had shown, the directory goes on.
	shadow.Store(false)
	o.build()
	log(1)
	o.build()
	o.audit(policy.ClassOK)
}

// writeOn writes a signature into the log of a stack without Rekor v1.
func writeOn(t *testing.T, s *sandbox.Stack, statement []byte, who claims.Claims) []bindings.File {
	t.Helper()
	trusted, err := sigstore.ParseRoot("sandbox", s.TrustedRoot())
	check(t, err)
	services, err := sigstore.ParseSigningConfigs(time.Now(), s.SigningConfig(2))
	check(t, err)
	state, err := memory.OpenState(t.TempDir())
	check(t, err)
	w := &signlog.Writer{Root: trusted, Client: &sigstore.Client{Services: services, Transport: s.Transport()}, Journal: state, Now: time.Now}
	files, err := w.Write(t.Context(), signlog.Request{
		Statement: statement, Version: 1,
		Signature: signlog.Signature{Who: fmt.Sprint(who), Token: func(context.Context) (string, error) { return s.Token(who) }},
	})
	check(t, err)
	return files
}

// snapshot returns the files below a directory.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = string(data)
		return err
	}))
	return out
}
