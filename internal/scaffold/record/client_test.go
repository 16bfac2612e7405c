// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/scaffold/consumer"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// memory is a state without files.
type memory struct {
	mu     sync.Mutex
	files  map[string][]byte
	failed error // of every call
	deaf   bool  // takes nothing
}

func (m *memory) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[name], m.failed
}

func (m *memory) Swap(name string, old, next []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deaf || m.failed != nil || !bytes.Equal(m.files[name], old) || (m.files[name] == nil) != (old == nil) {
		return false, m.failed
	}
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	m.files[name] = next
	return true, nil
}

// forge shows one repository.
type forge struct {
	shown *repopolicy.Snapshot
	err   error
}

func (f forge) Snapshot(ctx context.Context, repo string) (*repopolicy.Snapshot, error) {
	if budget.Of(ctx) == nil {
		return nil, errors.New("nothing bounds what is read")
	}
	if f.err == nil && repo != repository {
		return nil, errors.New(repo + " is not known")
	}
	return f.shown, f.err
}

type clock time.Time

func (c clock) Now() time.Time { return time.Time(c) }

// network answers for the directory and the log.
type network struct {
	hosts map[string]http.Handler
	down  bool
	mu    sync.Mutex
	asked map[string]int // by host
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.asked[r.URL.Host]++
	n.mu.Unlock()
	if n.down || n.hosts[r.URL.Host] == nil {
		return nil, errors.New("no route to " + r.URL.Host)
	}
	w := httptest.NewRecorder()
	n.hosts[r.URL.Host].ServeHTTP(w, r)
	return w.Result(), nil
}

// fork is a client in a world of its own.
type fork struct {
	*world
	client *repopolicy.Client
	state  *memory
	git    *forge
	net    *network
	dir    string // with the release
}

func newFork(t *testing.T, w *world) *fork {
	t.Helper()
	f := &fork{world: w, state: &memory{}, dir: t.TempDir()}
	f.net = &network{asked: map[string]int{}, hosts: map[string]http.Handler{
		"directory.example.com": w.directory, w.instance.Origin(): http.HandlerFunc(w.instance.ServeV2),
	}}
	for _, nothing := range []string{"api.github.com", "github.com", "pypi.org"} { // is published there
		f.net.hosts[nothing] = http.NotFoundHandler()
	}
	for name, data := range w.release {
		check(t, os.WriteFile(filepath.Join(f.dir, name), data, 0o600))
	}
	root := filepath.Join(t.TempDir(), "trusted_root.json")
	check(t, os.WriteFile(root, w.root, 0o600))
	files := map[string]map[string][]byte{"refs/heads/main": {}, "refs/heads/repopolicy": {}}
	for _, s := range w.bound {
		files["refs/heads/repopolicy"][s.Name] = s.Data
	}
	f.git = &forge{shown: &repopolicy.Snapshot{Default: "refs/heads/main", Files: files}}
	f.client = &repopolicy.Client{
		State: f.state, HTTP: f.net, Git: f.git, Clock: clock(sigstoretest.Now.Add(5 * time.Minute)),
		TrustedRoots: []string{root}, Directory: w.descriptor,
	}
	return f
}

// verdict returns the class of an answer about the release.
func (f *fork) verdict(t *testing.T) (policy.Class, error) {
	t.Helper()
	p, err := f.client.Find(t.Context(), "github.com/acme/widget")
	if err == nil {
		var v *repopolicy.Verdict
		v, err = f.client.Verify(
			t.Context(), p, repopolicy.File(filepath.Join(f.dir, "widget_1.2.3_amd64.tar.gz")),
			repopolicy.Tag("v1.2.3"),
		)
		if err == nil {
			return v.Class(), nil
		}
	}
	var fault *policy.Fault
	if errors.As(err, &fault) {
		return fault.Reason.Class(), err
	}
	return policy.ClassInternal, err
}

// TestEdges: each edge of the client can be replaced, and what it withholds, forges or fails
// at is never an OK.
func TestEdges(t *testing.T) {
	w := newWorld(t)
	staples := func(f *fork) {
		f.git.shown.Files["refs/heads/repopolicy"][f.stapleName] = f.staple
	}
	for name, row := range map[string]struct {
		change func(*fork)
		want   policy.Class
	}{
		"as it is":                   {func(*fork) {}, policy.ClassOK},
		"off-line, with a staple":    {func(f *fork) { staples(f); f.client.Offline = true }, policy.ClassOK},
		"off-line, without a staple": {func(f *fork) { f.client.Offline = true }, policy.ClassUnavailable},
		"no log":                     {func(f *fork) { delete(f.net.hosts, f.instance.Origin()) }, policy.ClassUnavailable},
		"no network":                 {func(f *fork) { f.net.down = true }, policy.ClassUnavailable},
		"no repository":              {func(f *fork) { f.git.err = errors.New("gone") }, policy.ClassUnavailable},
		"a repository without files": {
			func(f *fork) { f.git.shown = &repopolicy.Snapshot{Default: "refs/heads/main"} }, policy.ClassUnavailable,
		},
		"one signature file is missing": {
			func(f *fork) { drop(f.git.shown.Files["refs/heads/repopolicy"], 1) }, policy.ClassUnavailable,
		},
		"state that cannot be read": {func(f *fork) { f.state.failed = errors.New("disk") }, policy.ClassInternal},
		"state that takes nothing":  {func(f *fork) { f.state.deaf = true }, policy.ClassInternal},
		// another root's
		"state of another world": {func(f *fork) { f.state.files = keptBy(t, newWorld(t)) }, policy.ClassOK},
		"a fork of the repository": {
			func(f *fork) { f.state.files = keptBy(t, w); f.git.shown = newFork(t, newWorld(t)).git.shown }, policy.ClassAlarm,
		},
		"malformed state": {func(f *fork) { f.state.files = malformed(t, w) }, policy.ClassInternal},
		"a clock after the expiry": {
			func(f *fork) { f.client.Clock = clock(sigstoretest.Now.AddDate(5, 0, 0)) }, policy.ClassStale,
		},
		"as of a moment to come": {func(f *fork) { f.client.AsOf = sigstoretest.Now.AddDate(0, 0, 1) }, policy.ClassUsage},
		"a clock that is behind": {
			func(f *fork) { f.client.Clock = clock(sigstoretest.Now.Add(-time.Hour)) }, policy.ClassUnavailable,
		},
		"another descriptor": {
			func(f *fork) { f.client.Directory = newWorld(t).descriptor }, policy.ClassUnavailable,
		},
		"a descriptor that is none":   {func(f *fork) { f.client.Directory = []byte("{}") }, policy.ClassUsage},
		"a demand that cannot be met": {func(f *fork) { f.client.Require = "pinned" }, policy.ClassUnavailable},
		"a demand that is none":       {func(f *fork) { f.client.Require = "everything" }, policy.ClassUsage},
		"no trusted root":             {func(f *fork) { f.client.TrustedRoots = []string{"nowhere"} }, policy.ClassInvalid},
		// of which the directory keeps no map
		"a root of another instance": {func(f *fork) { f.client.TrustedRoots = otherRoot(t) }, policy.ClassUnavailable},
		"another content": {func(f *fork) {
			check(t, os.WriteFile(filepath.Join(f.dir, "widget_1.2.3_amd64.tar.gz"), []byte("x"), 0o600))
		}, policy.ClassDeny},
		"no evidence": {
			func(f *fork) { check(t, os.Remove(filepath.Join(f.dir, "SHA256SUMS.sigstore.json"))) }, policy.ClassDeny,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFork(t, w)
			row.change(f)
			if got, err := f.verdict(t); got != row.want {
				t.Errorf("%s, want %s: %v", got, row.want, err)
			}
		})
	}
}

func drop(files map[string][]byte, n int) {
	for _, name := range slices.Sorted(maps.Keys(files))[:n] {
		delete(files, name)
	}
}

// malformed is a state in which every file that a run keeps is cut off.
func malformed(t *testing.T, w *world) map[string][]byte {
	t.Helper()
	kept := keptBy(t, w)
	if len(kept) == 0 {
		t.Fatal("nothing was kept")
	}
	out := map[string][]byte{}
	for name, data := range kept {
		out[name] = data[:len(data)/2]
	}
	return out
}

func keptBy(t *testing.T, w *world) map[string][]byte {
	t.Helper()
	f := newFork(t, w)
	if got, err := f.verdict(t); got != policy.ClassOK {
		t.Fatal(got, err)
	}
	return f.state.files
}

func otherRoot(t *testing.T) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.json")
	check(t, os.WriteFile(path, newWorld(t).root, 0o600))
	return []string{path}
}

// TestMemory: what one client saw is remembered for the next one, in a state of any kind.
func TestMemory(t *testing.T) {
	f := newFork(t, newWorld(t))
	if got, err := f.verdict(t); got != policy.ClassOK {
		t.Fatal(got, err)
	}
	asked := f.net.asked["directory.example.com"]
	f.git.shown.Files["refs/heads/repopolicy"][f.stapleName] = f.staple
	if got, err := f.verdict(t); got != policy.ClassOK || f.net.asked["directory.example.com"] != asked {
		t.Errorf("%s, %v requests beside a staple: %v", got, f.net.asked, err)
	}
	later := f.client.Clock.Now().AddDate(0, 0, -1)
	f.client.Clock = clock(later)
	if got, err := f.verdict(t); got != policy.ClassUnavailable {
		t.Errorf("a clock that was set back: %s: %v", got, err)
	}
}

// TestTogether: one policy judges for many at the same time.
func TestTogether(t *testing.T) {
	f := newFork(t, newWorld(t))
	p, err := f.client.Find(t.Context(), "acme/widget")
	check(t, err)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			tag, want := "v1.2.3", policy.ClassOK
			if i%2 == 1 {
				tag, want = "v1.2.4", policy.ClassDeny
			}
			v, err := f.client.Verify(
				t.Context(), p, repopolicy.Artifact(filepath.Join(f.dir, "SHA256SUMS")), repopolicy.Tag(tag),
			)
			if err != nil || v.Class() != want {
				t.Error(fmt.Errorf("%s: %v, want %s: %w", tag, v, want, err))
			}
		})
	}
	wg.Wait()
}

// TestHeld: a policy that a program holds is as old as what is known of it.
func TestHeld(t *testing.T) {
	f := newFork(t, newWorld(t))
	p, err := f.client.Find(t.Context(), "acme/widget")
	check(t, err)
	for _, row := range []struct {
		days, want int
	}{{0, 0}, {6, 0}, {8, policy.ClassStale.Exit()}, {2000, policy.ClassStale.Exit()}} {
		f.client.Clock = clock(sigstoretest.Now.AddDate(0, 0, row.days).Add(5 * time.Minute))
		v, err := f.client.Verify(
			t.Context(), p, repopolicy.Artifact(filepath.Join(f.dir, "SHA256SUMS")), repopolicy.Tag("v1.2.3"),
		)
		if err != nil || v.Class().Exit() != row.want {
			t.Errorf("after %d days: %v, want exit %d: %v", row.days, v, row.want, err)
		}
	}
}

// TestZero: what nobody has made is no yes.
func TestZero(t *testing.T) {
	f := newFork(t, newWorld(t))
	made, err := f.client.Find(t.Context(), "acme/widget")
	check(t, err)
	artifact := repopolicy.Artifact(filepath.Join(f.dir, "SHA256SUMS"))
	for name, p := range map[string]*repopolicy.Policy{"no policy": nil, "a policy that nobody made": {}} {
		if v, err := f.client.Verify(t.Context(), p, artifact); v.OK() || err == nil {
			t.Errorf("%s: %v %v", name, v, err)
		}
		if a, err := f.client.Authorize(t.Context(), p, "x"); a.OK() || err == nil {
			t.Errorf("%s: %v %v", name, a, err)
		}
		if _, err := p.Only("alice@example.com", "https://accounts.google.com"); err == nil || p.Document() != nil {
			t.Error(name)
		}
	}
	if v, err := f.client.Verify(t.Context(), made, artifact, repopolicy.VerifyOption{}); v.OK() || err == nil {
		t.Errorf("an option that nobody made: %v %v", v, err)
	}
	if p, err := f.client.Find(t.Context(), "acme/widget", repopolicy.FindOption{}); p != nil || err == nil {
		t.Errorf("an option that nobody made: %v %v", p, err)
	}
	var v *repopolicy.Verdict
	if v.OK() || (&repopolicy.Verdict{}).OK() || (&repopolicy.Result{}).Class() == policy.ClassOK {
		t.Error("a verdict that nobody gave is OK")
	}
}

// TestConsumer: a program of somebody else verifies by a pinned policy what was recorded.
func TestConsumer(t *testing.T) {
	bin := consumer.Build(t)
	file := func(name string) string { return filepath.Join(recorded, name) }
	for _, row := range []struct {
		tag string
		ok  bool
	}{{"v1.2.3", true}, {"v1.2.4", false}} {
		out, err := exec.Command(bin, "-root", file("trusted_root.json"), "-policy", file("policy.toml"), "-tag", row.tag,
			"-at", "2026-06-01T12:05:00Z", repository, file("widget_1.2.3_amd64.tar.gz")).
			CombinedOutput()
		if said := string(out) == "released by "+repository+"\n"; (err == nil) != row.ok || said != row.ok {
			t.Errorf("%s: %v\n%s", row.tag, err, out)
		}
	}
}
