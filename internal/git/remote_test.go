// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// backend serves a repository with git's own server.
func backend(t *testing.T, p *program, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	h := http.Handler(&cgi.Handler{
		Path: filepath.Join(p.run("--exec-path"), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + filepath.Dir(p.dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_SYSTEM=/dev/null",
		},
	})
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/" + filepath.Base(p.dir)
}

func signatureFile(name string) bool { return strings.HasPrefix(name, "dir/sub/") }

func TestFetch(t *testing.T) {
	for _, partial := range []bool{false, true} {
		p := initialise(t)
		p.run("checkout", "-q", "-b", "trunk")
		p.file("dir/policy", "policy\n")
		p.file("dir/sub/a", "a on trunk\n")
		p.file("big", strings.Repeat("x", 1<<20))
		p.run("add", ".")
		p.run("commit", "-q", "-m", "one")
		p.run("checkout", "-q", "-b", "bindings")
		p.file("dir/sub/b", "b on bindings\n")
		p.run("add", ".")
		p.run("commit", "-q", "-m", "two")
		p.run("checkout", "-q", "trunk")
		if partial {
			p.run("config", "uploadpack.allowFilter", "true")
			p.run("config", "uploadpack.allowAnySHA1InWant", "true")
		}
		url := backend(t, p, nil)
		s, err := Fetch(context.Background(), url, "test", nil, []string{"refs/heads/bindings", "refs/heads/missing"}, "dir",
			signatureFile)
		if err != nil {
			t.Fatalf("partial %v: %v", partial, err)
		}
		if s.Default != "refs/heads/trunk" || s.MovedTo != "" {
			t.Errorf("default %q, moved %q", s.Default, s.MovedTo)
		}
		if head, err := Default(context.Background(), url, "test", nil); err != nil || head != s.Default {
			t.Errorf("advertised %q %v", head, err)
		}
		if data, err := s.File(s.Default, "dir/policy"); err != nil || string(data) != "policy\n" {
			t.Errorf("%q %v", data, err)
		}
		if _, err := s.File(s.Default, "dir/none"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		files, err := s.Dir("refs/heads/bindings", "dir/sub", signatureFile)
		if err != nil || len(files) != 2 || string(files[1].Data) != "b on bindings\n" {
			t.Errorf("%+v %v", files, err)
		}
		if files, err := s.Dir("refs/heads/missing", "dir/sub", signatureFile); err != nil || files != nil {
			t.Errorf("%+v %v", files, err)
		}
		if _, err := s.File(s.Default, "big"); (err == nil) == partial {
			t.Errorf("partial %v: the big file: %v", partial, err)
		}
		r := p.open()
		local, err := r.Local()
		if err != nil || local.Default != "refs/heads/trunk" {
			t.Fatalf("%+v %v", local, err)
		}
		if data, err := local.File(local.Default, "dir/policy"); err != nil || string(data) != "policy\n" {
			t.Errorf("%q %v", data, err)
		}
	}
}

func TestFetchHostile(t *testing.T) {
	p := initialise(t)
	p.history(1)
	for what, wrap := range map[string]func(http.Handler) http.Handler{
		"elsewhere": func(http.Handler) http.Handler {
			return http.RedirectHandler("http://127.0.0.2:1/x", http.StatusFound)
		},
		"an error": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "no", http.StatusInternalServerError)
			})
		},
		"a page": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
		},
		"half a reply": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				body := rec.Body.Bytes()
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				_, _ = w.Write(body[:len(body)/2])
			})
		},
	} {
		url := backend(t, p, wrap)
		s, err := Fetch(context.Background(), url, "test", nil, nil, "sub", func(string) bool { return true })
		if err == nil {
			_, err = s.File(s.Default, "sub/file")
		}
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	moved := backend(t, p, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if rest, ok := strings.CutPrefix(r.URL.Path, "/old/"); ok {
				http.Redirect(w, r, "/"+rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	old := strings.Replace(moved, filepath.Base(p.dir), "old/"+filepath.Base(p.dir), 1)
	s, err := Fetch(context.Background(), old, "test", nil, nil, "sub", func(string) bool { return true })
	if err != nil || s.MovedTo != moved {
		t.Errorf("a moved repository: %v %+v", err, s)
	}
	for _, bad := range []string{
		"ext::sh -c x", "ssh://git@example.com/x", "--upload-pack=x", "https://user:pw@example.com/x", "file:///etc", "",
	} {
		if _, err := Fetch(context.Background(), bad, "test", nil, nil, "sub", func(string) bool {
			return true
		}); !errors.Is(err, ErrUnreachableServer) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := Default(context.Background(), bad, "test", nil); !errors.Is(err, ErrUnreachableServer) {
			t.Errorf("the default branch of %q: %v", bad, err)
		}
	}
	if _, err := Default(context.Background(), moved+"-gone", "test", nil); !errors.Is(err, ErrUnreachableServer) {
		t.Errorf("the default branch of what is not there: %v", err)
	}
}
