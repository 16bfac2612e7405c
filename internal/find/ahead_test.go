// SPDX-License-Identifier: Apache-2.0

package find

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// forge is a machine whose requests to github.com git's own server answers, and nobody else answers any.
type forge struct {
	Finder
	root   trust.Root
	git    http.Handler
	asked  atomic.Int32                                         // for the repository
	before func(context.Context, int32) (*http.Response, error) // of the nth of these; nil for nothing
}

// newForge serves acme/widget with the files of a chain of two versions, and the answer of some directory.
func newForge(t *testing.T) *forge {
	t.Helper()
	dir := t.TempDir()
	repo := filepath.Join(dir, "acme", "widget")
	run := func(stdin string, args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", repo}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	bindtest.Check(t, os.MkdirAll(repo, 0o755))
	c := bindtest.NewForge(t)
	var in strings.Builder
	fmt.Fprint(&in, "commit refs/heads/main\ncommitter t <t@example.com> 1700000000 +0000\ndata 1\nx\n")
	fmt.Fprint(&in, "M 100644 inline .repopolicy/directory/other.json.gz\ndata 1\nx\n")
	for _, f := range c.Chain(2) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", f.Name, len(f.Data), f.Data)
	}
	run("", "init", "-q", "--bare", "-b", "main")
	run("", "config", "uploadpack.allowFilter", "true")
	run("", "config", "uploadpack.allowAnySHA1InWant", "true")
	run(in.String(), "fast-import", "--quiet")
	state := t.TempDir()
	f := &forge{root: trust.Root{Root: c.Root}, git: &cgi.Handler{
		Path: filepath.Join(run("", "--exec-path"), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		},
	}}
	f.Finder = Finder{
		Machine: Machine{
			StateDir: func() (string, error) { return state, nil }, ConfigDir: func() (string, error) { return "", nil },
		},
		Now: time.Now, Transport: f,
	}
	return f
}

// RoundTrip implements [http.RoundTripper].
func (f *forge) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.String(), bindtest.Widget) {
		return notFound(r), nil
	}
	n := f.asked.Add(1)
	if f.before != nil {
		if res, err := f.before(r.Context(), n); res != nil || err != nil {
			return res, err
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	f.git.ServeHTTP(rec, in)
	res := rec.Result()
	res.Request = r
	return res, nil
}

func notFound(r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	rec.WriteHeader(http.StatusNotFound)
	res := rec.Result()
	res.Request = r
	return res
}

// query asks for the policy of acme/widget under the forge's root.
func (f *forge) query(t *testing.T, root func(context.Context) error) *Query {
	return &Query{
		Repository: bindtest.Locator(t, bindtest.Widget),
		Demand:     chain.Demand{Genesis: policy.GenesisClaimed, Completeness: chain.CompleteNone},
		Root: func(ctx context.Context) (trust.Root, error) {
			if err := root(ctx); err != nil {
				return trust.Root{}, err
			}
			return f.root, nil
		},
	}
}

// said is what a question came to.
type said struct {
	files    []string
	versions int
	err      string
}

func (f *forge) ask(ctx context.Context, q *Query) said {
	found, err := f.Find(ctx, q)
	if err != nil {
		return said{err: err.Error()}
	}
	out := said{versions: len(found.Versions())}
	for _, file := range found.Files {
		out.files = append(out.files, file.Name)
	}
	return out
}

// inTurns asks with the repository only once the root is known.
func (f *forge) inTurns(t *testing.T, root func(context.Context) error) said {
	q, ctx := f.query(t, root), t.Context()
	out, descriptor, err := f.begin(ctx, q)
	if err == nil {
		err = f.read(ctx, out, descriptor != nil, nil)
	}
	if err != nil {
		return said{err: err.Error()}
	}
	return f.ask(ctx, f.query(t, root))
}

func soon(context.Context) error { return nil }

// TestNothingAhead: the forge is not asked ahead where it would not be asked at all.
func TestNothingAhead(t *testing.T) {
	f := newForge(t)
	several := filepath.Join(t.TempDir(), "trust.toml")
	for name, c := range map[string]struct {
		change func(*forge, *Query)
		ahead  bool
	}{
		"the forge's own":      {func(*forge, *Query) {}, true},
		"a root to follow":     {func(_ *forge, q *Query) { q.Root = nil }, true},
		"roots that are files": {func(_ *forge, q *Query) { q.Files = []string{"root.json"} }, false},
		"a clone":              {func(_ *forge, q *Query) { q.Clone = "." }, false},
		"a registry":           {func(_ *forge, q *Query) { q.From = &oci.Reference{} }, false},
		"carried":              {func(_ *forge, q *Query) { q.Carried = &airgap.Bundle{} }, false},
		"off-line":             {func(_ *forge, q *Query) { q.Offline = true }, false},
		"shown by somebody": {func(f *forge, _ *Query) {
			f.Repositories = func(context.Context, policy.Locator) (*git.Snapshot, error) { return nil, errors.New("none") }
		}, false},
		"a map that cannot be read": {func(_ *forge, q *Query) { q.Root, q.Config = nil, several }, false},
	} {
		mine := &forge{Finder: f.Finder, root: f.root, git: f.git}
		mine.Transport = mine
		q := mine.query(t, soon)
		c.change(mine, q)
		a := mine.fetchAhead(t.Context(), q)
		if (a != nil) != c.ahead {
			t.Errorf("%s: asked ahead: %v", name, a != nil)
		}
		a.end()
		if !c.ahead && mine.asked.Load() != 0 {
			t.Errorf("%s: %d requests", name, mine.asked.Load())
		}
	}
}

// TestAhead: whichever of root and repository is there first, and whatever fails, what is said is what
// is said when one is asked for after the other; and nobody goes on asking.
func TestAhead(t *testing.T) {
	refuse := func(context.Context, int32) (*http.Response, error) { return nil, errors.New("the line is cut") }
	late := func(_ context.Context, n int32) (*http.Response, error) {
		if n%3 != 0 { // an attempt is three requests
			return nil, nil
		}
		return nil, errors.New("the line is cut")
	}
	status := func(context.Context, int32) (*http.Response, error) { return notFound(nil), nil }
	for _, c := range []struct {
		name   string
		before func(context.Context, int32) (*http.Response, error)
		root   func(context.Context) error
		err    string // in what is said; "" for none
	}{
		{"both", nil, soon, ""},
		{"the line is cut", refuse, soon, "the line is cut"},
		{"the line is cut before the files", late, soon, "the line is cut"},
		{"no such repository", status, soon, "404"},
		{"the root is not there", nil, func(context.Context) error { return errors.New("no root") }, "no root"},
		{"neither is", refuse, func(context.Context) error { return errors.New("no root") }, "no root"},
	} {
		for _, order := range []string{"root first", "repository first"} {
			t.Run(c.name+", "+order, func(t *testing.T) {
				f := newForge(t)
				f.before = c.before
				want := f.inTurns(t, c.root)
				if (want.err == "") != (c.err == "") || !strings.Contains(want.err, c.err) || c.err == "" && want.versions != 2 {
					t.Fatalf("in turns: %+v", want)
				}
				goroutines := runtime.NumGoroutine()
				rooted, asked := make(chan struct{}), make(chan struct{})
				f.asked.Store(0)
				f.before = func(ctx context.Context, n int32) (*http.Response, error) {
					if n == 1 {
						close(asked)
						if order == "root first" {
							<-rooted
						}
					}
					if c.before != nil {
						return c.before(ctx, n)
					}
					return nil, nil
				}
				got := f.ask(t.Context(), f.query(t, func(ctx context.Context) error {
					if order == "repository first" {
						<-asked
						for goes := f.asked.Load(); ; goes = f.asked.Load() { // as far as it comes by itself
							time.Sleep(50 * time.Millisecond)
							if f.asked.Load() == goes {
								break
							}
						}
					}
					defer close(rooted)
					return c.root(ctx)
				}))
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%+v, in turns %+v", got, want)
				}
				http.DefaultClient.CloseIdleConnections()
				for range 200 {
					if runtime.NumGoroutine() <= goroutines {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
			})
		}
	}
}

// TestAheadEnds: a run that ends while the forge is silent ends the request, and a panic where it is asked
// is one of the caller's.
func TestAheadEnds(t *testing.T) {
	f := newForge(t)
	ended := make(chan struct{})
	f.before = func(ctx context.Context, _ int32) (*http.Response, error) {
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}
	noRoot := func(context.Context) error { return errors.New("no root") }
	if got := f.ask(t.Context(), f.query(t, noRoot)); got.err != "no root" {
		t.Errorf("%+v", got)
	}
	<-ended
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan struct{})
	if got := f.ask(ctx, f.query(t, func(context.Context) error { cancel(); return nil })); got.err == "" {
		t.Errorf("cancelled: %+v", got)
	}
	<-ended
	f.before = func(context.Context, int32) (*http.Response, error) { panic("transport") }
	defer func() {
		if p := recover(); p != "transport" {
			t.Errorf("panic %v", p)
		}
	}()
	t.Errorf("no panic: %+v", f.ask(t.Context(), f.query(t, soon)))
}

// TestAheadAgain: the time that the forge has is not for waiting for the root.
func TestAheadAgain(t *testing.T) {
	f := newForge(t)
	f.Timeout = 2 * time.Second
	got := f.ask(t.Context(), f.query(t, func(context.Context) error { time.Sleep(f.Timeout + time.Second); return nil }))
	if got.err != "" || got.versions != 2 || f.asked.Load() < 5 {
		t.Errorf("%+v after %d requests", got, f.asked.Load())
	}
}
