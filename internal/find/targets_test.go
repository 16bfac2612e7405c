// SPDX-License-Identifier: Apache-2.0

package find

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

const activeCustom = `{"sigstore":{"status":"Active"}}`

// served is a TUF repository on a web server that counts what it is asked for.
type served struct {
	*tuftest.Sim
	*httptest.Server
	mu    sync.Mutex
	asked map[string]int
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{Sim: tuftest.New(t), asked: map[string]int{}}
	s.Targets["targets"].Signed.Version++
	for _, name := range []string{"a.pub", "b.pub"} {
		s.Add("targets", name, "no key\n")
		custom := json.RawMessage(activeCustom)
		s.Targets["targets"].Signed.Targets[name].Custom = &custom
	}
	s.Delegate("targets", metadata.DelegatedRole{Name: "widget", Paths: []string{"widget/*"}, Terminating: true})
	s.Add("widget", "widget/a.txt", "a")
	s.Publish()
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.URL.Path]++
		s.mu.Unlock()
		name, isTarget := strings.CutPrefix(r.URL.Path, "/targets/")
		data, ok := s.Content[name]
		if !isTarget {
			data, ok = s.Files[strings.TrimPrefix(r.URL.Path, "/")]
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *served) name() string { return "sha256:" + spelling.Sum(s.Files["1.root.json"]) }

func (s *served) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.asked {
		n += k
	}
	return n
}

func finderOf(t *testing.T, s *served, state string) *Finder {
	t.Helper()
	f := &Finder{Now: func() time.Time { return tuftest.Now }, Transport: s.Client().Transport}
	if state != "" {
		f.StateDir = func() (string, error) { return state, nil }
	}
	return f
}

// TestRootsAskedOnce: a root is followed once in a run, whoever names it, and not at all if
// nobody does; what did not answer is not asked again.
func TestRootsAskedOnce(t *testing.T) {
	s := serve(t)
	key := func(path string) policy.RootTarget {
		return policy.RootTarget{Root: s.name(), URL: s.URL, Path: path}
	}
	f := finderOf(t, s, t.TempDir())
	none := f.Targets(&Query{})
	if facts := none.Facts(t.Context(), nil, &policy.File{}); len(facts) > 0 || s.count() > 0 {
		t.Errorf("%d facts, %d requests about nothing", len(facts), s.count())
	}
	none.Close()
	targets := f.Targets(&Query{})
	newest := &policy.File{Rules: []policy.Rule{{Target: &policy.RootTarget{Root: s.name()}}}}
	for range 3 {
		for i, fact := range targets.Facts(
			t.Context(), []policy.RootTarget{key("a.pub"), key("c.pub"), key("b.pub")}, newest,
		) {
			state, _, why := fact.State()
			if want := []string{"useless", "withdrawn", "useless"}[i]; state != want {
				t.Errorf("%d: %s (%s), want %s", i, state, why, want)
			}
		}
		got, err := targets.Listed(t.Context(), policy.RootTarget{Root: s.name(), URL: s.URL, Path: "widget/a.txt"})
		if err != nil || got == nil || got.Role != "widget" || got.Length != 1 || !got.At.Equal(tuftest.Now) {
			t.Errorf("%+v %v", got, err)
		}
		got, err = targets.Listed(t.Context(), policy.RootTarget{Root: s.name(), Path: "widget/b.txt"})
		if got != nil || err != nil {
			t.Errorf("what is not there: %+v %v", got, err)
		}
	}
	targets.Close()
	for path, n := range s.asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", path, n)
		}
	}
	before := s.count()
	s.Server.Close()
	gone := finderOf(t, s, t.TempDir()).Targets(&Query{})
	defer gone.Close()
	for range 2 {
		fact := gone.Facts(t.Context(), []policy.RootTarget{key("a.pub")}, nil)[0]
		if state, _, why := fact.State(); state != "unknown" || !strings.Contains(why, s.URL) {
			t.Errorf("%s (%s)", state, why)
		}
		var failure *release.Failure
		_, err := gone.Listed(t.Context(), policy.RootTarget{Root: s.name(), URL: s.URL, Path: "widget/a.txt"})
		if !errors.As(err, &failure) || failure.Reason != policy.TrustRootMissing {
			t.Errorf("%v", err)
		}
	}
	if s.count() != before {
		t.Error("somebody answered")
	}
}

// TestRootsAskedAnew: a key is that of the day, and what a root lists is what it lists now.
func TestRootsAskedAnew(t *testing.T) {
	s := serve(t)
	state := t.TempDir()
	listed := func(fresh bool) (key string, release bool) {
		targets := finderOf(t, s, state).Targets(&Query{Fresh: fresh})
		defer targets.Close()
		fact := targets.Facts(t.Context(), []policy.RootTarget{{Root: s.name(), URL: s.URL, Path: "a.pub"}}, nil)[0]
		key, _, _ = fact.State()
		now := finderOf(t, s, state).Targets(&Query{})
		defer now.Close()
		l, err := now.Listed(t.Context(), policy.RootTarget{Root: s.name(), URL: s.URL, Path: "widget/a.txt"})
		if err != nil {
			t.Fatal(err)
		}
		return key, l != nil
	}
	if key, release := listed(false); key != "useless" || !release {
		t.Fatalf("%s %v", key, release)
	}
	s.Targets["targets"].Signed.Version++
	delete(s.Targets["targets"].Signed.Targets, "a.pub")
	s.Targets["widget"].Signed.Version++
	delete(s.Targets["widget"].Signed.Targets, "widget/a.txt")
	s.Publish()
	if key, release := listed(false); key != "useless" || release {
		t.Errorf("of the day: %s; now: %v", key, release)
	}
	if key, release := listed(true); key != "withdrawn" || release {
		t.Errorf("asked anew: %s; now: %v", key, release)
	}
}

// TestKeptIsNoAnswer: a root whose kept metadata said what a key is is asked what it lists, although
// nobody had said that it would be.
func TestKeptIsNoAnswer(t *testing.T) {
	s := serve(t)
	state := t.TempDir()
	at := func(path string) policy.RootTarget { return policy.RootTarget{Root: s.name(), URL: s.URL, Path: path} }
	before := finderOf(t, s, state).Targets(&Query{})
	before.Facts(t.Context(), []policy.RootTarget{at("a.pub")}, nil)
	before.Close()
	s.Targets["targets"].Signed.Version++
	s.Targets["widget"].Signed.Version++
	delete(s.Targets["widget"].Signed.Targets, "widget/a.txt")
	s.Publish()
	targets := finderOf(t, s, state).Targets(&Query{})
	defer targets.Close()
	asked := s.count()
	if key, _, why := targets.Facts(t.Context(), []policy.RootTarget{at("a.pub")}, nil)[0].State(); key != "useless" {
		t.Errorf("%s (%s)", key, why)
	}
	if s.count() != asked {
		t.Fatal("what is kept was asked for")
	}
	if l, err := targets.Listed(t.Context(), at("widget/a.txt")); l != nil || err != nil {
		t.Errorf("%+v %v", l, err)
	}
	asked = s.count()
	if l, err := targets.Listed(t.Context(), at("widget/b.txt")); l != nil || err != nil || s.count() != asked {
		t.Errorf("%+v %v, %d requests", l, err, s.count()-asked)
	}
}

// TestManyRoots: versions of a policy that name ever more roots and keys make nobody ask for all of them.
func TestManyRoots(t *testing.T) {
	s := serve(t)
	targets := finderOf(t, s, t.TempDir()).Targets(&Query{})
	defer targets.Close()
	var keys []policy.RootTarget
	for i := range maxKeyTargets {
		keys = append(keys, policy.RootTarget{Root: s.name(), URL: s.URL, Path: fmt.Sprintf("%d.pub", i)})
	}
	for i := range maxRoots {
		keys[1+i].Root = fmt.Sprintf("sha256:%064x", i)
		keys[1+i].URL = ""
	}
	keys = append(keys, policy.RootTarget{Root: s.name(), URL: s.URL, Path: "a.pub"})
	facts := targets.Facts(t.Context(), keys, nil)
	for at, want := range map[int]string{
		0: "withdrawn", 1: "unknown no root of your trust.toml", maxRoots - 1: "unknown no root of your trust.toml",
		maxRoots: "unknown at most 32 trust roots", maxRoots + 1: "withdrawn", maxKeyTargets - 1: "withdrawn",
		maxKeyTargets: "unknown at most 400 keys",
	} {
		if state, _, why := facts[at].State(); !strings.HasPrefix(strings.TrimSpace(state+" "+why), want) {
			t.Errorf("%d: %s %s, want %s", at, state, why, want)
		}
	}
}

// TestCarriedRoots: what is carried of a root is judged as of a moment, and where nothing of it
// is carried nobody is asked.
func TestCarriedRoots(t *testing.T) {
	s := serve(t)
	b := airgap.New()
	b.Repository, _ = policy.ParseLocator("https://github.com/acme/widget")
	record := finderOf(t, s, "").Targets(&Query{
		RecordTargets: func(root string, target bool, name string, data []byte) {
			files := b.Root(airgap.RootName(root))
			if target {
				files.Targets[name] = data
			} else {
				files.Metadata[name] = data
			}
		},
	})
	key := policy.RootTarget{Root: s.name(), URL: s.URL, Path: "a.pub"}
	record.Facts(t.Context(), []policy.RootTarget{key}, nil)
	doc, err := policy.Parse([]byte(`format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name = "tuf"
tags = "any"
artifacts = "any"
tuf = { root = "` + s.name() + `", url = "https://tuf.example.com", role = "widget", path = "widget/{name}" }
`))
	check(t, err)
	check(t, record.Record(t.Context(), doc.Content()))
	record.Close()
	file, err := b.Encode()
	check(t, err)
	carried, err := airgap.Parse(file)
	check(t, err)
	s.Server.Close()
	ask := func(b *airgap.Bundle, moment time.Time) (string, string, *release.Listed, error) {
		targets := finderOf(t, s, t.TempDir()).Targets(&Query{Carried: b, Offline: true, Moment: moment})
		defer targets.Close()
		state, _, why := targets.Facts(t.Context(), []policy.RootTarget{key}, doc.Content())[0].State()
		l, err := targets.Listed(t.Context(), policy.RootTarget{Root: s.name(), Path: "widget/a.txt"})
		return state, why, l, err
	}
	state, why, l, err := ask(carried, tuftest.Now)
	if state != "useless" || err != nil || l == nil || l.Role != "widget" {
		t.Errorf("%s (%s) %+v %v", state, why, l, err)
	}
	if state, why, l, err := ask(carried, tuftest.Now.AddDate(2, 0, 0)); state != "unknown" || err == nil || l != nil ||
		!strings.Contains(why, "expired") {
		t.Errorf("later: %s (%s) %+v %v", state, why, l, err)
	}
	if state, why, l, err := ask(airgap.New(), tuftest.Now); state != "unknown" || err == nil || l != nil ||
		!strings.Contains(why, "carries nothing of the root") {
		t.Errorf("nothing is carried: %s (%s) %+v %v", state, why, l, err)
	}
	other := tuftest.New(t)
	carried.Roots[airgap.RootName(s.name())].Metadata["1.root.json"] = other.Files["1.root.json"]
	if state, why, _, err := ask(carried, tuftest.Now); state != "unknown" || err == nil {
		t.Errorf("another root is carried: %s (%s)", state, why)
	}
}
