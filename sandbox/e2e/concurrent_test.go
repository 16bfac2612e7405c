// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// ended is how a process ended.
type ended struct {
	code int
	out  string
}

// together starts processes at the same time and waits for all.
func together(t *testing.T, start ...func(out *bytes.Buffer) *exec.Cmd) []ended {
	t.Helper()
	outs, cmds := make([]bytes.Buffer, len(start)), make([]*exec.Cmd, len(start))
	for i, f := range start {
		cmds[i] = f(&outs[i])
	}
	for _, c := range cmds {
		check(t, c.Start())
	}
	var all []ended
	for i, c := range cmds {
		_ = c.Wait() // the code says it
		all = append(all, ended{c.ProcessState.ExitCode(), outs[i].String()})
	}
	return all
}

func (p *process) starting(args ...string) func(out *bytes.Buffer) *exec.Cmd {
	return func(out *bytes.Buffer) *exec.Cmd { return p.command(out, args...) }
}

// TestSameTree: a command that signs runs twice at the same moment, on one tree and
// with one memory. There is one signature with one entry in each log; whoever came
// too late says so, and ends well when it is run again.
func TestSameTree(t *testing.T) {
	late := 0
	for round := range 3 {
		for _, verb := range []string{"init", "sign", "bind"} {
			a := newAttempt(t, verb, fmt.Sprintf("acme/twice-%s-%d", verb, round), t.TempDir(), t.TempDir())
			for _, e := range together(t, a.on.starting(a.args...), a.on.starting(a.args...)) {
				switch {
				case e.code == 0:
				case e.code == policy.ClassUnavailable.Exit() && strings.Contains(e.out, "another process is making the same signature"),
					verb == "init" && e.code == policy.ClassUsage.Exit() && strings.Contains(e.out, "file exists"):
					late++
				default:
					t.Errorf("%s: exit %d\n%s", verb, e.code, e.out)
				}
			}
			a.finish()
		}
	}
	t.Logf("%d of 9 came too late", late)
}

// TestTwoSigners: two maintainers sign at the same moment, each in a clone of their
// own. Nothing of it conflicts, and both signatures count.
func TestTwoSigners(t *testing.T) {
	const name = "acme/two-signers"
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 2, "alice", "bob")))
	p.push()
	before := logSizes(t)
	var clones []*project
	var starts []func(*bytes.Buffer) *exec.Cmd
	for _, who := range []claims.Claims{alice, bob} {
		clone := &project{t: t, name: name, dir: filepath.Join(t.TempDir(), "clone")}
		git(t, ".", "clone", "-q", stack.Forge().CloneURL(name), clone.dir)
		clones = append(clones, clone)
		starts = append(starts, newProcess(t, t.TempDir(), who).starting("sign", "--git", clone.dir, "--yes"))
	}
	for _, e := range together(t, starts...) {
		if e.code != 0 {
			t.Errorf("exit %d\n%s", e.code, e.out)
		}
	}
	if got, want := logSizes(t), (sizes{before.v1 + 2, before.v2 + 2}); got != want {
		t.Errorf("the logs have %v entries, want %v", got, want)
	}
	clones[0].push()
	git(t, clones[1].dir, "add", "-A")
	git(t, clones[1].dir, "commit", "-q", "-m", "signed")
	git(t, clones[1].dir, "pull", "-q", "--rebase", "origin", "main")
	git(t, clones[1].dir, "push", "-q", "origin", "HEAD:main")
	if out := newComputer(t).must(policy.ClassOK, "status", "--git", clones[1].dir); !strings.Contains(out, "signed by   alice, bob") {
		t.Error(out)
	}
	check(t, p.dispatch("repository_dispatch"))
	newComputer(t).must(policy.ClassOK, "show", "-R", name)
}

// TestTwoInits: two people begin a policy for one repository at the same moment, in
// clones of their own. The log decides: what was bound first counts, and the other
// one is told.
func TestTwoInits(t *testing.T) {
	const name = "acme/two-inits"
	p := newProject(t, name)
	p.push()
	var clones []*project
	var starts []func(*bytes.Buffer) *exec.Cmd
	for _, who := range []claims.Claims{alice, bob} {
		clone := &project{t: t, name: name, dir: filepath.Join(t.TempDir(), "clone")}
		git(t, ".", "clone", "-q", stack.Forge().CloneURL(name), clone.dir)
		clones = append(clones, clone)
		starts = append(starts, newProcess(t, t.TempDir(), who).starting("init", "--git", clone.dir, "--repo", name, "--workflow", ".github/workflows/release.yml", "--yes"))
	}
	for _, e := range together(t, starts...) {
		if e.code != 0 || !strings.Contains(e.out, ".sigstore.json") {
			t.Errorf("exit %d\n%s", e.code, e.out)
		}
	}
	clones[0].push()
	check(t, p.dispatch("repository_dispatch"))
	seen := newComputer(t)
	first := seen.must(policy.ClassOK, "show", "-R", name)
	if !strings.Contains(first, "alice@example.com") {
		t.Error(first)
	}
	git(t, clones[1].dir, "add", "-A")
	git(t, clones[1].dir, "commit", "-q", "-m", "another one")
	git(t, clones[1].dir, "push", "-q", "-f", "origin", "HEAD:main")
	if err := p.dispatch("repository_dispatch"); err == nil || !strings.Contains(err.Error(), "the log binds a version of the policy that is not at hand") {
		t.Errorf("a second first version was bound: %v", err)
	}
	// Alice's signature is not on the branch any more, but what she bound is.
	if code, out := newComputer(t).repopolicy("show", "-R", name); code == 0 {
		t.Errorf("without alice's signature\n%s", out)
	}
	git(t, clones[0].dir, "push", "-q", "-f", "origin", "HEAD:main")
	if again := newComputer(t).must(policy.ClassOK, "show", "-R", name); !strings.Contains(again, "alice@example.com") {
		t.Error(again)
	}
}

// TestTwoRunners: two runs bind one version at the same moment, on machines that
// share nothing. Both entries are of the same statement, and nobody minds.
func TestTwoRunners(t *testing.T) {
	const name = "acme/two-runners"
	a := newAttempt(t, "bind", name, t.TempDir(), t.TempDir())
	repo, err := stack.Forge().Find(name)
	check(t, err)
	other := newProcess(t, t.TempDir(), claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"})
	for _, e := range together(t, a.on.starting(a.args...), other.starting(a.args...)) {
		if e.code != 0 {
			t.Errorf("exit %d\n%s", e.code, e.out)
		}
	}
	files := a.files()
	if got := logSizes(t); len(files) == 2 && got == (sizes{a.before.v1 + 1, a.before.v2 + 1}) {
		t.Skip("on a busy machine one came so late that it found the other's entry, and took it over")
	}
	if len(files) != 4 {
		t.Errorf("%d files", len(files))
	}
	signed, err := filepath.Glob(filepath.Join(a.dir, ".repopolicy", "signatures", "*"))
	check(t, err)
	for _, path := range signed {
		data, err := os.ReadFile(path)
		check(t, err)
		files = append(files, bindings.File{Name: bindings.SignaturesDir + "/" + filepath.Base(path), Data: data})
	}
	// Either of them alone, both, and in any order.
	for name, some := range map[string][]bindings.File{"both": files, "the first": slices.Delete(slices.Clone(files), 2, 4), "the second": slices.Delete(slices.Clone(files), 0, 2)} {
		m := newMachine(t)
		res := m.resolve(a.name, some, m.hint(), m.scan())
		if r := res.Chain.Reason(); r != "" || len(res.Chain.Versions()) != 1 || len(res.Chain.Alarms()) > 0 {
			t.Errorf("%s: %s %+v %+v", name, r, res.Chain.Problems(), res.Chain.Alarms())
		}
	}
}

// TestManyReaders: 50 runs share one memory.
func TestManyReaders(t *testing.T) {
	const name = "acme/many-readers"
	_, good := bound(t, name)
	on := newProcess(t, t.TempDir(), nil)
	var starts []func(*bytes.Buffer) *exec.Cmd
	for range 50 {
		starts = append(starts, on.starting("verify", "-R", name, "--scan", good))
	}
	starts = append(starts, on.starting("show", "-R", name))
	for _, e := range together(t, starts...) {
		if e.code != 0 {
			t.Errorf("exit %d\n%s", e.code, e.out)
		}
	}
}
