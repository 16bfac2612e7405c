// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
)

// TestProtocol calls the client as the suite does, and looks at what the suite
// looks at: whether a call succeeds, which metadata is shown, what was downloaded.
func TestProtocol(t *testing.T) {
	t.Setenv("FAKETIME", "@"+tuftest.Now.Format("2006-01-02 15:04:05"))
	s := tuftest.New(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isMetadata := strings.CutPrefix(r.URL.Path, "/metadata/")
		data := s.Files[name]
		if !isMetadata {
			data = s.Content[strings.TrimPrefix(r.URL.Path, "/targets/")]
		}
		if data == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	defer srv.Close()
	dir, out, root := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, s.Files["1.root.json"], 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(ok bool, shown string, args ...string) {
		t.Helper()
		args = append(
			[]string{
				"--metadata-dir", dir, "--metadata-url", srv.URL + "/metadata", "--target-base-url",
				srv.URL + "/targets", "--target-dir", out,
			},
			args...)
		if err := run(t.Context(), args); (err == nil) != ok {
			t.Errorf("%s: %v", args[len(args)-1], err)
		}
		names, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			names[i] = strings.TrimSuffix(filepath.Base(name), ".json")
		}
		if slices.Sort(names); strings.Join(names, " ") != shown {
			t.Errorf("shown: %q, want %q", names, shown)
		}
	}
	const all = "root snapshot targets timestamp"
	call(true, "root", "init", root)
	call(true, all, "refresh")
	call(false, all, "--target-name", "a.txt", "--target-name", "none", "download")
	if data, err := os.ReadFile(filepath.Join(out, "a.txt")); err != nil || string(data) != "content of a" {
		t.Errorf("%q, %v", data, err)
	}

	s.Targets["targets"].Signed.Version++
	s.Delegate("targets", metadata.DelegatedRole{Name: "../d", Paths: []string{"d/*"}})
	s.Add("../d", "d/x.txt", "x")
	s.Publish()
	call(true, "..%2Fd "+all, "--target-name", "d/x.txt", "download")

	s.NextRoot(func() { s.Rotate("timestamp") }) // and no new timestamp
	call(false, "..%2Fd root targets", "refresh")
	if data, err := os.ReadFile(filepath.Join(dir, "root.json")); err != nil ||
		string(data) != string(s.Files["2.root.json"]) {
		t.Errorf("the root that is shown: %v", err)
	}
	s.Publish()
	call(true, "..%2Fd "+all, "refresh")
	t.Setenv("FAKETIME", "+200y")
	call(false, "..%2Fd "+all, "refresh")
	for _, args := range [][]string{{"--no-such-flag"}, {}, {"init"}, {"history"}, {"static", dir}, {"history", dir}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q succeeded", args)
		}
	}
}

// TestDownloadOnce: a target that is there is neither asked for nor written again,
// whether this client wrote it or another one; one that is something else is.
func TestDownloadOnce(t *testing.T) {
	t.Setenv("FAKETIME", "@"+tuftest.Now.Format("2006-01-02 15:04:05"))
	s := tuftest.New(t)
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isMetadata := strings.CutPrefix(r.URL.Path, "/metadata/")
		data := s.Files[name]
		if !isMetadata {
			asked++
			data = s.Content[strings.TrimPrefix(r.URL.Path, "/targets/")]
		}
		if data == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	defer srv.Close()
	dir, out, root := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, s.Files["1.root.json"], 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(args ...string) error {
		return run(
			t.Context(),
			append(
				[]string{
					"--metadata-dir", dir, "--metadata-url", srv.URL + "/metadata", "--target-base-url",
					srv.URL + "/targets", "--target-dir", out,
				},
				args...),
		)
	}
	if err := call("init", root); err != nil {
		t.Fatal(err)
	}
	path, old := filepath.Join(out, "a.txt"), tuftest.Now.AddDate(-1, 0, 0)
	const good = "content of a"
	for _, c := range []struct {
		name    string
		found   string // what is there; "" for nothing
		dropped bool   // what the client kept for itself is gone
		asked   int
		kept    bool
	}{
		{"nothing there", "", false, 1, false},
		{"there", good, false, 0, true},
		{"there, by somebody else", good, true, 0, true},
		{"another one, and nothing kept", "CONTENT OF A", false, 1, false},
		{"another one of that length", "CONTENT OF A", false, 0, false},
		{"the beginning", good[:5], true, 1, false},
		{"more", good + "!", true, 1, false},
	} {
		if c.dropped {
			if err := os.RemoveAll(filepath.Join(dir, ".client", "cache")); err != nil {
				t.Fatal(err)
			}
		}
		if c.found != "" {
			if err := os.WriteFile(path, []byte(c.found), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := os.Stat(path)
		asked = 0
		if err := call("--target-name", "a.txt", "download"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		after, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != good || asked != c.asked || after.ModTime().Equal(old) != c.kept ||
			before != nil && os.SameFile(before, after) != c.kept {
			t.Errorf("%s: %q, %d requests, of %s, %v", c.name, data, asked, after.ModTime(), err)
		}
	}
	// One that may not be there any more is not left as if it were good.
	if err := call("--target-name", "none", "download"); err == nil {
		t.Error("a target that nobody lists")
	}
}

func TestFakeTime(t *testing.T) {
	now := tuftest.Now
	for in, want := range map[string]time.Time{
		"": now, "+18d": now.AddDate(0, 0, 18), "-3600": now.Add(-time.Hour), "+1.5m": now.Add(90 * time.Second),
		"2025-02-09 09:17:23+00:00": time.Date(2025, 2, 9, 9, 17, 23, 0, time.UTC),
		"@2025-02-09 09:17:23":      time.Date(2025, 2, 9, 9, 17, 23, 0, time.UTC),
	} {
		if got, err := fakeTime(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"soon", "+", "+d", "@"} {
		if got, err := fakeTime(in, now); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
}
