// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
)

// refreshed returns a client that has refreshed.
func refreshed(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNew(t *testing.T) {
	s := tuftest.New(t)
	good := options(s)
	for name, c := range map[string]struct {
		change func(*Options)
		want   error
	}{
		"no clock":         {func(o *Options) { o.Now = nil }, nil},
		"no root":          {func(o *Options) { o.Root = nil }, ErrMalformed},
		"another document": {func(o *Options) { o.Root = s.Files["timestamp.json"] }, ErrMalformed},
		"not signed": {func(o *Options) {
			o.Root = []byte(strings.Replace(string(o.Root), `"sig": "`, `"sig": "00`, -1))
		}, ErrUnsigned},
		"changed": {func(o *Options) {
			o.Root = []byte(strings.Replace(string(o.Root), `"threshold": 2`, `"threshold": 1`, 1))
		}, ErrUnsigned},
	} {
		o := good
		c.change(&o)
		if _, err := New(o); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if c.Root().Version != 1 || len(s.Asked) != 0 {
		t.Errorf("root %d, asked %q", c.Root().Version, s.Asked)
	}
	for name, call := range map[string]func() error{
		"Find":    func() error { _, err := c.Find(t.Context(), "a.txt"); return err },
		"Target":  func() error { _, err := c.Target(t.Context(), "a.txt"); return err },
		"Targets": func() error { _, err := c.Targets(t.Context()); return err },
		"Walk":    func() error { return c.Walk(t.Context(), 1, func(*Targets) error { return nil }) },
		"Fetch":   func() error { _, err := c.Fetch(t.Context(), TargetFile{Name: "a.txt"}); return err },
	} {
		if err := call(); !errors.Is(err, errNotRefreshed) {
			t.Errorf("%s before Refresh: %v", name, err)
		}
	}
	if role, h := c.Expires(); role != "root" || h.Expires.IsZero() {
		t.Errorf("%s expires %s", role, h.Expires)
	}
}

// TestRequests: what is asked for, and what is not asked for twice.
func TestRequests(t *testing.T) {
	s := tuftest.New(t)
	o := options(s)
	o.MaxAge = time.Hour
	now := tuftest.Now
	o.Now = func() time.Time { return now }
	hash := hexDigest("content of a") + ".a.txt"
	for _, step := range []struct {
		name  string
		after time.Duration
		want  []string
	}{
		{"first", 0, []string{"2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json", hash}},
		{"again", 0, nil},
		{"almost an hour later", time.Hour - time.Second, nil},
		{"an hour later", time.Second, []string{"2.root.json", "timestamp.json"}},
		{"by a clock that went back", -time.Minute, []string{"2.root.json", "timestamp.json"}},
	} {
		now = now.Add(step.after)
		s.Asked = nil
		if _, err := run(t.Context(), o, "a.txt"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, s.Asked); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
	// A file that is not kept is asked for, however fresh the metadata.
	s.Asked = nil
	c := refreshed(t, o)
	if err := os.RemoveAll(filepath.Join(string(c.store), "content")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Target(t.Context(), "a.txt"); err != nil || !slices.Equal(s.Asked, []string{hash}) {
		t.Errorf("asked %q, %v", s.Asked, err)
	}
	// What expired is not fresh.
	s.Timestamp.Signed.Expires = now.Add(2 * time.Minute)
	s.Publish()
	now = now.Add(2 * time.Hour)
	s.Timestamp.Signed.Expires = now.Add(time.Minute)
	s.Publish()
	refreshed(t, o)
	now = now.Add(2 * time.Minute)
	if _, err := run(t.Context(), o, "a.txt"); !errors.Is(err, ErrExpired) {
		t.Errorf("%v", err)
	}
}

// TestWithoutConsistentSnapshots: the names have neither versions nor hashes.
func TestWithoutConsistentSnapshots(t *testing.T) {
	s := tuftest.New(t)
	s.NextRoot(func() { s.Root.Signed.ConsistentSnapshot = false })
	s.Publish()
	s.Asked = nil
	data, err := run(t.Context(), options(s), "a.txt")
	if err != nil || string(data) != "content of a" {
		t.Fatalf("%q, %v", data, err)
	}
	if diff := cmp.Diff([]string{"2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json", "a.txt"},
		s.Asked); diff != "" {
		t.Error(diff)
	}
}

// TestTargets lists what delegated roles may say.
func TestTargets(t *testing.T) {
	s := tuftest.New(t)
	s.Targets["targets"].Signed.Version++
	s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*", "d/*/*"}})
	s.Delegate("d", metadata.DelegatedRole{Name: "e", Paths: []string{"*/*/*"}})
	for _, name := range []string{"d/x", "f/x", "a.txt"} {
		s.Add("d", name, name)
	}
	for _, name := range []string{"d/e/x", "f/e/x", "d/x"} {
		s.Add("e", name, name)
	}
	s.Publish()
	c := refreshed(t, options(s))
	for _, row := range []struct {
		roles, want []string
	}{
		{nil, []string{"a.txt"}},
		{[]string{"d"}, []string{"d/x"}},
		{[]string{"d", "e"}, []string{"d/e/x"}},
	} {
		got, err := c.Targets(t.Context(), row.roles...)
		if err != nil {
			t.Fatal(err)
		}
		if names := slices.Sorted(maps.Keys(got.Files)); !slices.Equal(names, row.want) {
			t.Errorf("%q: %q", row.roles, names)
		}
		for _, f := range got.Files {
			if data, err := c.Fetch(t.Context(), f); err != nil || len(row.roles) > 0 && string(data) != f.Name {
				t.Errorf("%s: %q, %v", f.Name, data, err)
			}
		}
	}
	for _, roles := range [][]string{{"e"}, {"d", "d"}, {"targets"}, {""}} {
		if _, err := c.Targets(t.Context(), roles...); !errors.Is(err, ErrNoTarget) {
			t.Errorf("%q: %v", roles, err)
		}
	}
	f, err := c.Find(t.Context(), "d/e/x")
	if err != nil || f.Role != "e" || f.Length != 5 || len(f.Hashes["sha256"]) != 32 {
		t.Errorf("%+v, %v", f, err)
	}
	for _, f := range []TargetFile{
		{Name: "x", Length: 1}, {Name: "x", Length: MaxTarget + 1, Hashes: f.Hashes},
		{Name: "../x", Length: 1, Hashes: f.Hashes},
	} {
		if _, err := c.Fetch(t.Context(), f); err == nil {
			t.Errorf("%+v was fetched", f)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a/b": true, "a b": true, "..a": true, "a..": true, "%2e%2e/x": true, "a:b": true,
		"": false, "/a": false, "a/": false, "a//b": false, ".": false, "..": false, "a/../b": false, "../../x": false,
		"./a": false, `a\b`: false, "a\x00": false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestCache: who can write to the cache can make the client forget, never trust.
func TestCache(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("as root, permissions of files keep nothing away")
	}
	files := []string{
		"timestamp.json", "snapshot.json", "targets.json", "roots/2.root.json", "content/" + hexDigest("content of a"),
		"refreshed", "delegated/d.json",
	}
	for name, change := range map[string]func(path string) error{
		"removed":     os.Remove,
		"emptied":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"overwritten": func(path string) error { return os.WriteFile(path, []byte(`{"signed":{},"signatures":[]}`), 0o600) },
		"huge":        func(path string) error { return os.Truncate(path, 1<<30) },
		"a link": func(path string) error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		},
		"a directory": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		},
	} {
		for _, file := range files {
			t.Run(name+" "+file, func(t *testing.T) {
				s := tuftest.New(t)
				s.NextRoot(func() {})
				s.Targets["targets"].Signed.Version++
				s.Delegate("targets", metadata.DelegatedRole{Name: "d", Paths: []string{"d/*"}})
				s.Add("d", "d/x.txt", "x")
				s.Publish()
				o := options(s)
				o.MaxAge = time.Hour
				c := refreshed(t, o)
				if _, err := c.Target(t.Context(), "a.txt"); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Target(t.Context(), "d/x.txt"); err != nil {
					t.Fatal(err)
				}
				if err := change(filepath.Join(string(c.store), filepath.FromSlash(file))); err != nil {
					t.Fatal(err)
				}
				for _, target := range []string{"a.txt", "d/x.txt"} {
					data, err := run(t.Context(), o, target)
					if want := map[string]string{
						"a.txt": "content of a", "d/x.txt": "x",
					}[target]; name != "a directory" && (err != nil || string(data) != want) || err == nil && string(data) != want {
						t.Errorf("%s: %q, %v", target, data, err)
					}
				}
			})
		}
	}
}

// TestCacheDirectory: a cache that others may write to is refused, and what is
// made is private.
func TestCacheDirectory(t *testing.T) {
	s := tuftest.New(t)
	o := options(s)
	c := refreshed(t, o)
	err := filepath.WalkDir(string(c.store), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && d.Name() != "lock" {
			t.Errorf("%s: %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(string(c.store), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "written to by others") {
		t.Errorf("%v", err)
	}
	real := filepath.Join(t.TempDir(), "real")
	if err := os.Rename(string(c.store), real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, string(c.store)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("%v", err)
	}
	o.Cache = ""
	if _, err := run(t.Context(), o, "a.txt"); err != nil {
		t.Error(err)
	}
}

// TestInterrupted: an update that ends after any number of writes leaves a cache
// from which the next one goes on.
func TestInterrupted(t *testing.T) {
	for steps := range 12 {
		s := tuftest.New(t)
		s.Timestamp.Signed.Version, s.Snapshot.Signed.Version = 1<<30, 1<<30 // an attacker's
		s.Publish()
		o := options(s)
		refreshed(t, o)
		s.Timestamp.Signed.Version, s.Snapshot.Signed.Version = 2, 2
		s.NextRoot(func() { s.Rotate("timestamp"); s.Rotate("snapshot") })
		s.Publish()
		o.Source = &interrupted{s, steps}
		_, err := run(t.Context(), o, "a.txt")
		if (err == nil) != (steps >= 5) {
			t.Fatalf("%d steps: %v", steps, err)
		}
		o.Source = s
		if data, err := run(t.Context(), o, "a.txt"); err != nil || string(data) != "content of a" {
			t.Errorf("%d steps: %q, %v", steps, data, err)
		}
	}
}

// interrupted is a source whose connection breaks after some answers.
type interrupted struct {
	Source
	left int
}

func (i *interrupted) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if i.left--; i.left < 0 {
		return nil, errBroken
	}
	return i.Source.Metadata(ctx, name, limit)
}

func (i *interrupted) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	if i.left--; i.left < 0 {
		return nil, errBroken
	}
	return i.Source.Target(ctx, path, limit)
}

// TestConcurrent: many clients with one cache, and none sees another's half.
func TestConcurrent(t *testing.T) {
	s := tuftest.New(t)
	o := options(s)
	o.Source = &serial{Source: s}
	o.MaxAge = time.Hour
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if data, err := run(t.Context(), o, "a.txt"); err != nil || string(data) != "content of a" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	wg.Wait()
	if n := slices.Index(s.Asked, "timestamp.json"); n < 0 || slices.Contains(s.Asked[n+1:], "timestamp.json") {
		t.Errorf("asked %q", s.Asked)
	}
}

type serial struct {
	Source
	mu sync.Mutex
}

func (s *serial) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Source.Metadata(ctx, name, limit)
}

func (s *serial) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Source.Target(ctx, path, limit)
}

// TestLockEnds: who waits for another process gives up with its context.
func TestLockEnds(t *testing.T) {
	s := tuftest.New(t)
	o := options(s)
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := c.store.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Refresh(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	unlock()
	if err := c.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestKeptWhole: a client that fails to refresh is what it was.
func TestKeptWhole(t *testing.T) {
	s := tuftest.New(t)
	c := refreshed(t, options(s))
	s.NextRoot(func() { s.Root.Signed.Expires = tuftest.Now })
	if err := c.Refresh(t.Context()); !errors.Is(err, ErrExpired) {
		t.Fatalf("%v", err)
	}
	if data, err := c.Target(t.Context(), "a.txt"); err != nil || string(data) != "content of a" || c.Root().Version != 1 {
		t.Errorf("%q, %v, root %d", data, err, c.Root().Version)
	}
}

// TestExpires names what expires first.
func TestExpires(t *testing.T) {
	for _, first := range []string{"root", "timestamp", "snapshot", "targets"} {
		s := tuftest.New(t)
		soon := tuftest.Now.Add(time.Hour)
		switch first {
		case "root":
			s.NextRoot(func() { s.Root.Signed.Expires = soon })
		case "timestamp":
			s.Timestamp.Signed.Expires = soon
		case "snapshot":
			s.Snapshot.Signed.Expires = soon
		case "targets":
			s.Targets["targets"].Signed.Version++
			s.Targets["targets"].Signed.Expires = soon
		}
		s.Publish()
		if role, h := refreshed(t, options(s)).Expires(); role != first || !h.Expires.Equal(soon) {
			t.Errorf("%s expires %s, want %s", role, h.Expires, first)
		}
	}
}

// TestRotations: a chain of more roots than are followed is refused.
func TestRotations(t *testing.T) {
	for _, n := range []int{maxRotations - 1, maxRotations} {
		s := tuftest.New(t)
		for range n {
			s.NextRoot(func() {})
		}
		_, err := run(t.Context(), options(s), "a.txt")
		if (err == nil) != (n < maxRotations) || err != nil && !errors.Is(err, ErrMismatch) {
			t.Errorf("%d rotations: %v", n, err)
		}
	}
}

// fakeKey is a type of keys whose signature is the principal's name.
func fakeKey(k Key) (Verifier, error) {
	if k.Scheme != "fake" {
		return nil, fmt.Errorf("the scheme %q is not known", k.Scheme)
	}
	return fakeVerifier{k}, nil
}

type fakeVerifier struct{ Key }

func (v fakeVerifier) Principal() string { return "fake:" + string(v.Value) }

func (v fakeVerifier) Verify(signed []byte, sig Signature) error {
	if sig.Sig != "" || !strings.Contains(string(sig.Raw), `"bundle"`) || len(signed) == 0 {
		return errors.New("not signed")
	}
	return nil
}

// TestKeyTypes: a type of keys can be added, and none that is built in replaced.
func TestKeyTypes(t *testing.T) {
	s := tuftest.New(t)
	s.NextRoot(func() {})
	s.Edit("2.root.json", "root", func(signed map[string]any) {
		signed["keys"].(map[string]any)["f"] = map[string]any{
			"keytype": "fake", "scheme": "fake", "keyval": map[string]any{"identity": "a@example.com", "public": ""},
		}
		r := signed["roles"].(map[string]any)["timestamp"].(map[string]any)
		r["keyids"], r["threshold"] = append(r["keyids"].([]any), "f"), 2
	})
	s.Publish()
	s.Files["timestamp.json"] = []byte(strings.Replace(string(s.Files["timestamp.json"]), `"signatures": [`,
		`"signatures": [{"keyid": "f", "sig": "", "bundle": {"a": 1}},`, 1))
	o := options(s)
	if _, err := run(t.Context(), o, "a.txt"); !errors.Is(err, ErrUnsigned) ||
		!strings.Contains(err.Error(), `"fake" are not known`) {
		t.Errorf("%v", err)
	}
	o.KeyTypes = map[string]KeyType{"fake": fakeKey}
	if data, err := run(t.Context(), o, "a.txt"); err != nil || string(data) != "content of a" {
		t.Errorf("%q, %v", data, err)
	}
	o.KeyTypes["ed25519"] = func(Key) (Verifier, error) { return nil, errors.New("asked") }
	if _, err := run(t.Context(), o, "a.txt"); err != nil {
		t.Errorf("%v", err)
	}
}
