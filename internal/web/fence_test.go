// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestFence: a library behind a fence asks the hosts that were named, and what it
// learned at one is not told at another.
func TestFence(t *testing.T) {
	var told atomic.Value
	other := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		told.Store(r.Header.Get("Authorization") + r.Header.Get("Referer"))
		_, _ = io.WriteString(w, "other")
	})
	stranger := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "stranger") })
	home := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/stranger":
			http.Redirect(w, r, stranger.URL, http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/page":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/limited":
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/once":
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = io.WriteString(w, r.UserAgent()+r.Header.Get("Authorization"))
		}
	})
	host := func(s *served) string { return strings.TrimPrefix(s.URL, "http://") }
	c := Fence(nil, "test", host(home), host(other), "service.example")
	get := func(address string) (int, string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer s3cret")
		resp, err := c.Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(data), err
	}
	for path, want := range map[string]struct {
		code int
		text string
		is   error
	}{
		"/":         {200, "testBearer s3cret", nil},
		"/once":     {404, "", nil},
		"/other":    {200, "other", nil},
		"/stranger": {0, "", errRedirect},
		"/loop":     {0, "", errRedirect},
		"/page":     {0, "", nil},
		"/endless":  {0, "", ErrTooLarge},
		"/limited":  {0, "", nil},
	} {
		code, text, err := get(home.URL + path)
		if (err == nil) != (want.code != 0) || err == nil && (code != want.code || text != want.text) ||
			want.is != nil && !errors.Is(err, want.is) {
			t.Errorf("%s: %d %.20q %v", path, code, text, err)
		}
		if path == "/limited" && !strings.Contains(err.Error(), "try again in 1h") {
			t.Error(err)
		}
	}
	if told.Load() != "" {
		t.Errorf("the other host was told %q", told.Load())
	}
	for _, address := range []string{
		stranger.URL, "http://service.example/", "https://u:p@service.example/", "https://service.example.evil.example/",
		"https://" + host(other) + "0/",
	} {
		if _, _, err := get(address); err == nil || address != "" && !errors.Is(err, errFenced) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if stranger.asked.Load() != 0 {
		t.Error("a host that was not named was asked")
	}
	if resp, err := c.Post(home.URL, "text/plain", strings.NewReader("x")); err == nil {
		resp.Body.Close()
		t.Error("something was written")
	}
}

// TestGate: a gate lets a library write, to the same hosts only, once, and not to
// where a redirect leads.
func TestGate(t *testing.T) {
	var wrote, strayed atomic.Int64
	other := serve(t, false, func(http.ResponseWriter, *http.Request) { strayed.Add(1) })
	home := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		wrote.Add(1)
		switch r.URL.Path {
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/again":
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	put := func(c *http.Client, address string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		return resp.StatusCode, nil
	}
	host := func(s *served) string { return strings.TrimPrefix(s.URL, "http://") }
	gate := Gate(nil, "test", host(home), host(other))
	for path, want := range map[string]int{
		"/": http.StatusOK, "/broken": http.StatusInternalServerError, "/other": 0, "/again": 0,
	} {
		wrote.Store(0)
		if code, err := put(gate, home.URL+path); code != want || (err == nil) != (want != 0) || wrote.Load() != 1 {
			t.Errorf("%s: %d %v, sent %d times", path, code, err, wrote.Load())
		}
	}
	if _, err := put(Gate(nil, "test", "service.example"), other.URL); err == nil || strayed.Load() != 0 {
		t.Errorf("another host was written to: %v", err)
	}
	if _, err := put(Fence(nil, "test", host(home)), home.URL); err == nil {
		t.Error("written through a fence")
	}
}
