// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// ownStack says that the process is there for one test that changes the stack for good.
const ownStack = "E2E_OWN_STACK"

// inOwnStack runs the test in a process with a stack of its own, and reports whether this is
// that process.
func inOwnStack(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownStack) != "" {
		return true
	}
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-postgres="+*postgres)
	cmd.Env = append(os.Environ(), ownStack+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// rotate lets a shard of Rekor v2 follow the present one as Sigstore's playbook does, up to
// where clients are sent to it; the old one still takes entries.
func rotate(t testing.TB) {
	t.Helper()
	check(t, stack.AddShard(sandbox.Rotation{}))
	check(t, stack.SwitchShard())
	nextSecond()
}

// nextSecond waits until certificates and stamps name another second than until now.
func nextSecond() { time.Sleep(1100 * time.Millisecond) }

// boundFiles returns the names of files on the branch for bindings that end so.
func (p *project) boundFiles(suffix string) []string {
	p.t.Helper()
	git(p.t, p.dir, "fetch", "-q", "origin", "+refs/heads/repopolicy:refs/remotes/origin/repopolicy")
	var out []string
	for _, name := range strings.Fields(git(p.t, p.dir, "ls-tree", "-r", "--name-only", "origin/repopolicy")) {
		if strings.HasSuffix(name, suffix) {
			out = append(out, name)
		}
	}
	return out
}

// withBranch pushes another commit of the branch for bindings, and returns what takes it back.
func (p *project) withBranch(change func(dir string)) (back func()) {
	p.t.Helper()
	clone := filepath.Join(p.t.TempDir(), "clone")
	git(p.t, ".", "clone", "-q", "-b", "repopolicy", stack.Forge().CloneURL(p.name), clone)
	was := git(p.t, clone, "rev-parse", "HEAD")
	change(clone)
	git(p.t, clone, "add", "-A")
	git(p.t, clone, "commit", "-q", "-m", "changed")
	git(p.t, clone, "push", "-q", "origin", "HEAD:refs/heads/repopolicy")
	return func() { git(p.t, clone, "push", "-q", "-f", "origin", was+":refs/heads/repopolicy") }
}

// withoutPlaces removes the place proofs of all versions.
func withoutPlaces(t testing.TB) func(dir string) {
	return func(dir string) {
		files, err := filepath.Glob(filepath.Join(dir, ".repopolicy", "signatures", "*.place.json"))
		check(t, err)
		if len(files) == 0 {
			t.Fatal("no place proofs")
		}
		for _, f := range files {
			check(t, os.Remove(f))
		}
	}
}

// TestShardRotation: shards of Rekor v2 follow each other with windows that overlap. A release on
// the day after verifies in every view, a new version takes effect in the new shard, and a
// second genesis there is an alarm; who withholds the place proofs makes nothing OK.
func TestShardRotation(t *testing.T) {
	if !inOwnStack(t) {
		return
	}
	const name = "acme/rotating"
	url := "https://github.com/" + name
	p := newProject(t, name)
	maintainer := newComputer(t)
	sign := func() {
		t.Helper()
		var err error
		maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		check(t, p.dispatch("repository_dispatch"))
		nextSecond()
	}
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	sign()
	if got := p.boundFiles(".place.json"); len(got) != 2 {
		t.Fatalf("place proofs: %v", got)
	}
	repo, err := stack.Forge().Find(name)
	check(t, err)
	job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Environment: "release"}
	release := func(file, tag string) string {
		t.Helper()
		job.Ref = "refs/tags/" + tag
		return releaseFile(t, file, job)
	}
	o := newOperator(t)
	build := func() {
		t.Helper()
		check(t, os.WriteFile(o.root, stack.TrustedRoot(), 0o600))
		o.build()
	}
	views := map[string][]string{"default": nil, "scan": {"--scan"}, "directory": {"--directory", o.descriptorFile}}
	expect := func(what string, class policy.Class, text string, files ...string) {
		t.Helper()
		for view, flags := range views {
			for _, file := range files {
				code, out := newComputer(t).repopolicy(slices.Concat([]string{"verify", "-R", url}, flags, []string{file})...)
				if code != class.Exit() || !strings.Contains(out, text) {
					t.Errorf("%s, %s, %s: exit %d, want %d and %q\n%s", what, view, filepath.Base(file), code, class.Exit(), text, out)
				}
			}
		}
	}
	withheld := func(what string, files ...string) {
		t.Helper()
		back := p.withBranch(withoutPlaces(t))
		defer back()
		for _, view := range []string{"default", "scan"} {
			for _, file := range files {
				if code, out := newComputer(t).repopolicy(slices.Concat([]string{"verify", "-R", url}, views[view], []string{file})...); code == 0 {
					t.Errorf("%s, %s, %s: OK without place proofs\n%s", what, view, filepath.Base(file), out)
				}
			}
		}
	}

	first := release("widget_1.tar.gz", "v1")
	build()
	expect("before a rotation", policy.ClassOK, "released by ", first)
	check(t, stack.AddShard(sandbox.Rotation{}))
	within := release("widget_2.tar.gz", "v2") // clients still sign in the old shard
	check(t, stack.SwitchShard())
	nextSecond()
	second := release("widget_3.tar.gz", "v3")
	build()
	expect("after a rotation", policy.ClassOK, "released by ", first, within, second)
	withheld("after a rotation", second)
	check(t, stack.FreezeShards())
	expect("after the old shard was frozen", policy.ClassOK, "released by ", first, within, second)

	rotate(t)
	third := release("widget_4.tar.gz", "v4")
	build()
	expect("after two rotations", policy.ClassOK, "released by ", first, second, third)
	withheld("after two rotations", second, third)

	// Place proofs go where the signatures go: into a registry, and across an air gap.
	layout, carried := "oci-layout:"+filepath.Join(t.TempDir(), "layout"), filepath.Join(t.TempDir(), "rotating.airgap")
	newComputer(t).must(policy.ClassOK, "export", "-R", url, "--oci", layout)
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--from", layout, third)
	newComputer(t).must(policy.ClassOK, "export-bundle", "-R", url, "-o", carried, third+".sigstore.json")
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--airgap", carried, "--require", "first,none", third)
	back := p.withBranch(withoutPlaces(t))
	newComputer(t).must(policy.ClassOK, "export-bundle", "-R", url, "-o", carried, third+".sigstore.json")
	if code, out := newComputer(t).repopolicy("verify", "-R", url, "--airgap", carried, "--require", "first,none", third); code == 0 {
		t.Errorf("across an air gap without place proofs: OK\n%s", out)
	}
	back()

	// Version 2, in the third shard, renames the artifacts: what was released before is judged
	// by version 1, in whichever shard.
	p.write(".repopolicy/policy.toml", strings.ReplaceAll(string(policyText(name, 2, 1, "alice")), "widget_*", "gadget_*"))
	p.push()
	sign()
	if got := p.boundFiles(".place.json"); len(got) != 2+5 { // of three open logs, and of its entries in the two that take any
		t.Errorf("place proofs: %v", got)
	}
	old, renamed := release("widget_5.tar.gz", "v5"), release("gadget_5.tar.gz", "v5")
	build()
	expect("by version 1", policy.ClassOK, "released by ", first, second, third)
	expect("by version 2", policy.ClassOK, "released by ", renamed)
	expect("no more by version 1", policy.ClassDeny, "", old)
	withheld("version 2", second, old)

	rotate(t)
	late := release("gadget_6.tar.gz", "v6")
	build()
	expect("version 2 after a rotation", policy.ClassOK, "released by ", first, third, late)
	withheld("version 2 after a rotation", late)

	// Who can bind founds a second genesis in the new shard.
	m, forger := newMachine(t), ci
	forger.Repository, forger.RepositoryID, forger.OwnerID = name, repo.ID, repo.OwnerID
	evil := encode(t, []byte(strings.ReplaceAll(string(policyText(name, 1, 1, "mallory")), "release.yml", "evil.yml")), "")
	files := append(m.write(evil, 1, claims.Email{Address: "mallory@example.com"}), m.write(evil, 1, forger)...)
	back = p.withBranch(func(dir string) {
		for _, f := range files {
			check(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(f.Name)), f.Data, 0o600))
		}
	})
	build()
	expect("with a second genesis", policy.ClassOK, "second-genesis", first, third, late)
	withheld("with a second genesis", late)
	back()
}

// without fails requests that it is asked about, and counts those.
type without struct {
	next  http.RoundTripper
	fails func(*http.Request) bool
	n     int
}

// RoundTrip implements http.RoundTripper.
func (w *without) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.fails(r) {
		w.n++
		return nil, fmt.Errorf("%s is not there", r.URL.Host)
	}
	return w.next.RoundTrip(r)
}

// TestPlaceProofs: bind makes a place proof of the open log before its certificate and of its
// own entry after; where one cannot be had the binding goes on with a warning, and a run that
// is repeated logs nothing twice and makes what is missing.
func TestPlaceProofs(t *testing.T) {
	at := func(r *http.Request, s sandbox.Service) bool {
		return strings.HasPrefix(stack.URL(s), "http://"+r.URL.Host)
	}
	for what, x := range map[string]struct {
		fails func(n int, r *http.Request) bool // of the n-th request for a stamp, the first is 1
		made  int
		again int
		warns string
	}{
		"all": {func(int, *http.Request) bool { return false }, 2, 2, ""},
		"no checkpoint": {func(_ int, r *http.Request) bool {
			return r.Method == http.MethodGet && at(r, sandbox.Rekor) && strings.HasSuffix(r.URL.Path, "/checkpoint")
		}, 1, 1, "warning: no place proof of http"},
		"no stamp before": {func(n int, r *http.Request) bool { return n == 1 }, 1, 1, "warning: no place proof of http"},
		"no stamp after":  {func(n int, r *http.Request) bool { return n == 3 }, 1, 2, "warning: no place proof of the entry"},
	} {
		t.Run(what, func(t *testing.T) {
			name := "acme/places-" + strings.ReplaceAll(what, " ", "-")
			p := newProject(t, name)
			p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
			p.push()
			signer := newComputer(t)
			var err error
			signer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
			check(t, err)
			signer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
			p.push()
			before := logSizes(t)
			p.inJob(forge.Event{Name: "repository_dispatch", Action: "repopolicy", Ref: "refs/heads/main"}, "repopolicy.yml", func(_ *forge.Job, c *computer, dir string) {
				stamps := 0
				seen := &without{next: stack.Transport(), fails: func(r *http.Request) bool {
					if at(r, sandbox.TSA) {
						stamps++
					}
					return x.fails(stamps, r) && (at(r, sandbox.TSA) || at(r, sandbox.Rekor) && r.Method == http.MethodGet)
				}}
				c.transport = seen
				bind := func() (string, []bindings.File) {
					t.Helper()
					made := t.TempDir()
					out := c.must(policy.ClassOK, "bind", "--git", dir, "--output", made)
					var files []bindings.File
					paths, err := filepath.Glob(filepath.Join(made, ".repopolicy", "signatures", "1-*.place.json"))
					check(t, err)
					for _, path := range paths {
						data, err := os.ReadFile(path)
						check(t, err)
						files = append(files, bindings.File{Name: bindings.SignaturesDir + "/" + filepath.Base(path), Data: data})
					}
					return out, files
				}
				out, files := bind()
				if len(files) != x.made || !strings.Contains(out, x.warns) || strings.Contains(out, "warning: ") != (x.warns != "") {
					t.Errorf("%d place proofs\n%s", len(files), out)
				}
				root := root(t)
				for _, f := range files {
					proof, err := bindings.ParsePlaceProof(f.Data)
					check(t, err)
					place, err := proof.Verify(root)
					if err != nil || place.Size < int64(before.v2) || time.Since(place.Time) > time.Minute {
						t.Errorf("%s: %+v %v", f.Name, place, err)
					}
				}
				c.transport = stack.Transport()
				if _, files := bind(); len(files) != x.again {
					t.Errorf("again: %d place proofs", len(files))
				}
			})
			if got, want := logSizes(t), (sizes{before.v1 + 1, before.v2 + 1}); got != want {
				t.Errorf("the logs have %v entries, want %v", got, want)
			}
		})
	}
}

// TestPlaceOrder: nothing that lies in a log when bind begins can seem to be later than the
// binding. Where another log is open, to the second: see TestShardRotation.
func TestPlaceOrder(t *testing.T) {
	p := boundProject(t, "acme/place-order", string(policyText("acme/place-order", 1, 1, "alice")), nil)
	root := root(t)
	var begin time.Time
	var places []sigstore.Place
	for _, name := range append(p.boundFiles(".place.json"), p.boundFiles(".sigstore.json")...) {
		data := []byte(git(t, p.dir, "show", "origin/repopolicy:"+name))
		if proof, err := bindings.ParsePlaceProof(data); err == nil {
			place, err := proof.Verify(root)
			check(t, err)
			places = append(places, place)
			continue
		}
		d, err := sigstore.ParseDraft(data)
		check(t, err)
		cert, err := d.Certificate()
		check(t, err)
		begin = cert.NotBefore
	}
	if len(places) != 2 || begin.IsZero() {
		t.Fatal(places, begin)
	}
	slices.SortFunc(places, func(a, b sigstore.Place) int { return int(a.Size - b.Size) })
	if places[0].Time.After(begin) || places[1].Time.Before(begin) {
		t.Errorf("stamped %s and %s, certified from %s", places[0].Time, places[1].Time, begin)
	}
}

// shardSizes returns how many entries each shard of Rekor v2 has, the oldest first.
func shardSizes(t testing.TB) []int {
	t.Helper()
	var out []int
	for _, url := range stack.Shards() {
		data, err := newMachine(t).client(url).Get(t.Context(), "api/v2/checkpoint", 1<<16)
		check(t, err)
		lines := strings.Split(string(data), "\n")
		n, err := strconv.Atoi(lines[min(1, len(lines)-1)])
		check(t, err)
		out = append(out, n)
	}
	return out
}

// unheard passes requests on and loses the answers to those that it is asked about.
type unheard struct {
	next  http.RoundTripper
	loses func(*http.Request) bool
}

// RoundTrip implements http.RoundTripper.
func (l *unheard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil && l.loses(r) {
		resp.Body.Close()
		return nil, errors.New("the answer was lost")
	}
	return resp, err
}

// TestEveryLog: bind logs in every open log of Rekor v2, by one certificate and once in each,
// whatever comes between; a log that takes nothing, or whose answer is lost, ends no run.
func TestEveryLog(t *testing.T) {
	if !inOwnStack(t) {
		return
	}
	check(t, stack.AddShard(sandbox.Rotation{})) // clients are sent to the old one still
	nextSecond()
	shards := stack.Shards()
	to := func(shard int, r *http.Request) bool {
		return strings.HasPrefix(shards[shard], "http://"+r.URL.Host) && r.Method == http.MethodPost
	}
	type run struct {
		transport http.RoundTripper
		fails     bool
		warns     string
		logged    []int // new entries
		files     int
	}
	ok := func(warns string, logged []int, files int) run {
		return run{stack.Transport(), false, warns, logged, files}
	}
	refuses := func(shard int) http.RoundTripper {
		return &without{next: stack.Transport(), fails: func(r *http.Request) bool { return to(shard, r) }}
	}
	loses := func(shard int) http.RoundTripper {
		return &unheard{stack.Transport(), func(r *http.Request) bool { return to(shard, r) }}
	}
	try := func(name string, runs ...run) *project {
		t.Helper()
		p := newProject(t, "acme/every-"+strings.ReplaceAll(name, " ", "-"))
		p.write(".repopolicy/policy.toml", string(policyText(p.name, 1, 1, "alice")))
		p.push()
		signer := newComputer(t)
		var err error
		signer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		signer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		p.inJob(forge.Event{Name: "repository_dispatch", Action: "repopolicy", Ref: "refs/heads/main"}, "repopolicy.yml", func(_ *forge.Job, c *computer, dir string) {
			for i, x := range runs {
				before, made := shardSizes(t), t.TempDir()
				c.transport = x.transport
				code, out := c.repopolicy("bind", "--git", dir, "--output", made)
				if (code != 0) != x.fails || !strings.Contains(out, x.warns) || strings.Contains(out, "warning: ") != (x.warns != "" && !x.fails) {
					t.Errorf("%s, run %d: exit %d\n%s", name, i, code, out)
				}
				got := shardSizes(t)
				for k := range got {
					got[k] -= before[k]
				}
				files, err := filepath.Glob(filepath.Join(made, ".repopolicy", "signatures", "*.sigstore.json"))
				check(t, err)
				if !slices.Equal(got, x.logged) || len(files) != x.files {
					t.Errorf("%s, run %d: logged %v, want %v; files %v\n%s", name, i, got, x.logged, files, out)
				}
				certificates := map[string]bool{}
				for _, f := range files {
					data, err := os.ReadFile(f)
					check(t, err)
					d, err := sigstore.ParseDraft(data)
					check(t, err)
					certificates[string(d.Signer())] = true
				}
				if len(files) > 0 && len(certificates) != 1 {
					t.Errorf("%s, run %d: %d certificates", name, i, len(certificates))
				}
			}
		})
		return p
	}
	try("all is well", ok("", []int{1, 1}, 3), ok("", []int{0, 0}, 3))
	try("the other refuses", run{refuses(1), false, "warning: not logged in " + shards[1], []int{1, 0}, 2}, ok("", []int{0, 1}, 3), ok("", []int{0, 0}, 3))
	try("the other is silent", run{loses(1), false, "warning: not logged in " + shards[1], []int{1, 1}, 2}, ok("", []int{0, 0}, 3))
	try("the own one refuses", run{refuses(0), true, "run the command again", []int{0, 0}, 0}, ok("", []int{1, 1}, 3))
	try("the own one is silent", run{loses(0), true, "run the command again", []int{1, 0}, 0}, ok("", []int{0, 1}, 3))

	// Through the workflow: the chain is as before, in each view, and the next version follows.
	p := boundProject(t, "acme/every-log", string(policyText("acme/every-log", 1, 1, "alice")), nil)
	if got := p.boundFiles(".sigstore.json"); len(got) != 3 {
		t.Errorf("files: %v", got)
	}
	o := newOperator(t)
	check(t, os.WriteFile(o.root, stack.TrustedRoot(), 0o600))
	o.build()
	views := [][]string{nil, {"--scan"}, {"--directory", o.descriptorFile}}
	for _, flags := range views {
		newComputer(t).must(policy.ClassOK, append([]string{"show", "-R", "https://github.com/" + p.name}, flags...)...)
	}
	check(t, stack.SwitchShard())
	check(t, stack.FreezeShards())
	nextSecond()
	p = boundProject(t, "acme/every-frozen", string(policyText("acme/every-frozen", 1, 1, "alice")), nil)
	if got := p.boundFiles(".sigstore.json"); len(got) != 2 { // Rekor v1 and the new shard
		t.Errorf("beside a frozen log: %v", got)
	}
	for _, flags := range views[:2] {
		newComputer(t).must(policy.ClassOK, append([]string{"show", "-R", "https://github.com/" + p.name}, flags...)...)
	}
}

// TestReleaseDated: sign-release leaves a place proof beside the release, which dates it where the
// branch withholds those of the next version; in its folder it is evidence, and one that is
// none of the root's is a file like any other.
func TestReleaseDated(t *testing.T) {
	if !inOwnStack(t) {
		return
	}
	const name = "acme/dated"
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), nil)
	rotate(t)
	p.tag("v1")
	file := artifact(t, "widget_1.tar.gz")
	proof := file + ".place.json"
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, c *computer, checkout string) {
		c.transport = &without{next: stack.Transport(), fails: func(r *http.Request) bool {
			_, err := os.Lstat(file + ".sigstore.json") // once that is there, only the place proof is missing
			return err == nil && strings.HasPrefix(stack.URL(sandbox.TSA), "http://"+r.URL.Host)
		}}
		if out := c.must(policy.ClassOK, "sign-release", "--checkout", checkout, file); !strings.Contains(out, "warning: no place proof") {
			t.Error(out)
		}
		before := logged(t)
		c.transport = stack.Transport()
		c.must(policy.ClassOK, "sign-release", "--checkout", checkout, file)
		data, err := os.ReadFile(proof)
		check(t, err)
		if _, err := bindings.PlaceMoment(root(t), data); err != nil || logged(t) != before {
			t.Errorf("the place proof: %v, logged %s before, %s after", err, before, logged(t))
		}
		c.must(policy.ClassUsage, "sign-release", "--checkout", checkout, proof)
	})
	nextSecond()
	p.write(".repopolicy/policy.toml", strings.ReplaceAll(string(policyText(name, 2, 1, "alice")), "widget_*", "gadget_*"))
	p.push()
	p.signAs(newComputer(t), "alice")

	verify := func(what string, ok bool, args ...string) string {
		t.Helper()
		code, out := newComputer(t).repopolicy(append([]string{"verify", "-R", "https://github.com/" + name}, args...)...)
		if (code == 0) != ok {
			t.Errorf("%s: exit %d\n%s", what, code, out)
		}
		return out
	}
	dir := filepath.Dir(file)
	verify("all at hand", true, file)
	if out := verify("the folder", true, dir, "--format", "json"); !strings.Contains(out, `"evidence_for": "`+file) {
		t.Error(out)
	}
	back := p.withBranch(func(dir string) {
		files, err := filepath.Glob(filepath.Join(dir, ".repopolicy", "signatures", "2-*.place.json"))
		check(t, err)
		for _, f := range files {
			check(t, os.Remove(f))
		}
	})
	defer back()
	verify("withheld by the branch", true, file)
	for ok, files := range map[bool][]string{true: {file + ".sigstore.json", proof}, false: {file + ".sigstore.json"}} {
		carried, alone := filepath.Join(t.TempDir(), "dated.airgap"), filepath.Join(t.TempDir(), filepath.Base(file))
		newComputer(t).must(policy.ClassOK, append([]string{"export-bundle", "-R", name, "-o", carried}, files...)...)
		content, err := os.ReadFile(file)
		check(t, err)
		check(t, os.WriteFile(alone, content, 0o600))
		verify("across an air gap", ok, "--airgap", carried, "--require", "first,none", alone)
	}
	data, err := os.ReadFile(proof)
	check(t, err)
	content := map[string]string{}
	for _, suffix := range []string{"", ".sigstore.json", ".place.json"} {
		part, err := os.ReadFile(file + suffix)
		check(t, err)
		content[filepath.Base(file)+suffix] = string(part)
	}
	check(t, stack.Forge().Release(name, "v1", content))
	const url = "https://github.com/" + name + "/releases/"
	kept := t.TempDir()
	verify("the release", true, "--download", kept, url+"tag/v1")
	if got, err := os.ReadDir(kept); err != nil || len(got) != 1 {
		t.Errorf("kept %v, %v", got, err)
	}
	verify("a file of it", true, url+"download/v1/"+filepath.Base(file))
	delete(content, filepath.Base(proof))
	git(t, p.dir, "tag", "v1.0")
	p.push2("v1.0")
	check(t, stack.Forge().Release(name, "v1.0", content))
	verify("a release without it", false, url+"tag/v1.0")
	check(t, os.Rename(proof, filepath.Join(dir, "other.place.json"))) // whatever it is called
	verify("under another name", true, file)
	verify("the folder, a proof beside nothing", false, dir)
	check(t, os.Remove(filepath.Join(dir, "other.place.json")))
	verify("withheld by both", false, file)
	for what, text := range map[string]string{"garbage": "{}", "another stamp": strings.Replace(string(data), `"stamp":"`, `"stamp":"AAAA`, 1), "more": string(data) + "\n{}"} {
		check(t, os.WriteFile(proof, []byte(text), 0o600))
		verify(what, false, file)
		if out := verify(what+", the folder", false, dir); !strings.Contains(out, "called like a place proof") {
			t.Errorf("%s: %s", what, out)
		}
	}
	check(t, os.WriteFile(proof, data, 0o600))
	verify("again", true, dir)
}

// TestPlacesLater: a run of a version that is bound already makes the place proof that an earlier
// one could not have, logs nothing, and makes none where there is one.
func TestPlacesLater(t *testing.T) {
	p := boundProject(t, "acme/places-later", string(policyText("acme/places-later", 1, 1, "alice")), nil)
	p.withBranch(withoutPlaces(t))
	p.write(".github/workflows/repopolicy.yml", fmt.Sprintf(bindWorkflow, p.name)+"      - run: |\n          cp ../bound/.repopolicy/signatures/*.sigstore.json .repopolicy/signatures/\n")
	p.push()
	said := ""
	p.said = &said
	ready := func() string {
		t.Helper()
		c := newComputer(t)
		c.env["GITHUB_OUTPUT"] = filepath.Join(t.TempDir(), "output")
		check(t, os.WriteFile(c.env["GITHUB_OUTPUT"], nil, 0o600))
		git(t, p.dir, "fetch", "-q", "origin", "+refs/heads/repopolicy:refs/remotes/origin/repopolicy")
		c.must(policy.ClassOK, "status", "--git", p.dir, "--format", "github")
		data, err := os.ReadFile(c.env["GITHUB_OUTPUT"])
		check(t, err)
		return string(data)
	}
	before := logged(t)
	for i, was := range []string{"true", "false"} {
		if out := ready(); !strings.Contains(out, was) {
			t.Errorf("run %d: %s", i, out)
		}
		check(t, p.dispatch("repository_dispatch"))
		if told := strings.Contains(said, "repopolicy.yml:17 leaves the place proofs behind"); told != (i == 0) {
			t.Errorf("run %d: %s", i, said)
		}
		if got := p.boundFiles(".place.json"); len(got) != 1 || logged(t) != before {
			t.Errorf("run %d: place proofs %v; logged %s before, %s after", i, got, before, logged(t))
		}
	}
	var places []sigstore.Place
	for _, name := range p.boundFiles(".place.json") {
		proof, err := bindings.ParsePlaceProof([]byte(git(t, p.dir, "show", "origin/repopolicy:"+name)))
		check(t, err)
		place, err := proof.Verify(root(t))
		check(t, err)
		places = append(places, place)
	}
	if len(places) != 1 {
		t.Error(places)
	}
}
