// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/repopolicy/repopolicy/internal/scaffold/tuftest"
	"github.com/repopolicy/repopolicy/internal/web"
)

// TestHTTP: how names become addresses, and which answers say that there is no
// such file.
func TestHTTP(t *testing.T) {
	var asked string
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		if status == http.StatusForbidden+1000 {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("0123456789"))
	}))
	defer s.Close()
	metadata, err := web.New(s.URL+"/m", nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	targets, err := web.New(s.URL+"/t/", nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	src := HTTP(metadata, targets)
	for name, want := range map[string]string{
		"3.root.json": "/m/3.root.json", "1.../../x.json": "/m/1...%2F..%2Fx.json",
		"1.?#%2f ä.json": "/m/1.%3F%23%252f%20%C3%A4.json",
	} {
		if data, err := src.Metadata(t.Context(), name, 10); err != nil || len(data) != 10 || asked != want {
			t.Errorf("%s: %q, %v", name, asked, err)
		}
	}
	for name, want := range map[string]string{
		"abc.x.json": "/t/abc.x.json", "a b/c%/abc.x?": "/t/a%20b/c%25/abc.x%3F",
	} {
		if data, err := src.Target(t.Context(), name, 10); err != nil || len(data) != 10 || asked != want {
			t.Errorf("%s: %q, %v", name, asked, err)
		}
	}
	if _, err := src.Metadata(t.Context(), "x", 9); !errors.Is(err, web.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	for _, code := range []int{403, 404, 410, 400, 401, 1403} { // after the last nobody is asked again
		missing := code == 403 || code == 404 || code == 410
		status = code
		if data, err := src.Metadata(t.Context(), "x", 10); err == nil || errors.Is(err, fs.ErrNotExist) != missing ||
			data != nil {
			t.Errorf("%d: %q, %v", code, data, err)
		}
	}
}

// TestFS: nothing beside the two directories is read, and nothing that is no file.
func TestFS(t *testing.T) {
	s := tuftest.New(t)
	metadata, targets := fstest.MapFS{}, fstest.MapFS{}
	for name, data := range s.Files {
		metadata[name] = &fstest.MapFile{Data: data}
	}
	for name, data := range s.Content {
		targets[name] = &fstest.MapFile{Data: data}
	}
	o := options(s)
	o.Source = FS(metadata, targets)
	if data, err := run(t.Context(), o, "a.txt"); err != nil || string(data) != "content of a" {
		t.Fatalf("%q, %v", data, err)
	}
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "in", "directory"), 0o700),
		os.WriteFile(filepath.Join(dir, "secret.json"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(dir, "in", "large.json"), make([]byte, 11), 0o600),
		os.WriteFile(filepath.Join(dir, "in", "1.a%2Fb.json"), []byte("x"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	in := os.DirFS(filepath.Join(dir, "in"))
	src := FS(in, in)
	if data, err := src.Metadata(t.Context(), "1.a/b.json", 10); err != nil || string(data) != "x" {
		t.Errorf("an escaped name: %q, %v", data, err)
	}
	for _, name := range []string{"../secret.json", "/secret.json", "directory", "missing", ""} {
		for _, get := range []func(context.Context, string, int64) ([]byte, error){src.Metadata, src.Target} {
			if data, err := get(t.Context(), name, 10); err == nil {
				t.Errorf("%q: %q", name, data)
			}
		}
	}
	if _, err := src.Target(t.Context(), "large.json", 10); !errors.Is(err, web.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := src.Target(t.Context(), "missing", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := src.Target(ctx, "large.json", 100); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}
