// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSnapshotOpen: content of any size is read from a byte on, from a layout and from registries, with parts
// and without.
func TestSnapshotOpen(t *testing.T) {
	content := bytes.Repeat([]byte("[0],"), 20<<20/4) // more than a reply of metadata may have
	f := files(1)
	f.Targets["0d.large"] = Bytes(content)
	parts := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.Header.Get("Range") != "" {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	whole := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); h.ServeHTTP(w, r) })
	}
	for name, c := range map[string]struct {
		place string
		start int64
	}{
		"layout":                 {"oci-layout:" + t.TempDir(), 5},
		"registry":               {"oci:" + inProcess(t, parts) + "/acme/packages", 5},
		"registry without parts": {"oci:" + inProcess(t, whole) + "/acme/packages", 0},
	} {
		place := reference(t, c.place)
		if _, err := Push(t.Context(), place, Options{}, f); err != nil {
			t.Fatal(name, err)
		}
		s, err := Open(t.Context(), place, Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		body, start, err := s.Open(t.Context(), "0d.large", 5, int64(len(content)))
		if err != nil {
			t.Fatal(name, err)
		}
		data, err := io.ReadAll(body)
		body.Close()
		if start != c.start || !bytes.Equal(data, content[start:]) || err != nil {
			t.Errorf("%s: from %d, %d bytes, %v", name, start, len(data), err)
		}
		if _, _, err := s.Open(t.Context(), "0e.none", 0, 1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := s.Open(t.Context(), "0d.large", 0, 1); err == nil ||
			!strings.Contains(err.Error(), "by the manifest") {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}

// TestTooMany: what registries would not take is refused before anything is sent.
func TestTooMany(t *testing.T) {
	var asked atomic.Int64
	host := inProcess(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); h.ServeHTTP(w, r) })
	})
	for name, c := range map[string]struct {
		n, long int
	}{"files": {10_000, 1}, "bytes": {6_000, 700}} {
		f := files(1)
		for i := range c.n {
			f.Targets[fmt.Sprintf("%s/%064d.x", strings.Repeat("d", c.long), i)] = Bytes(nil)
		}
		_, err := Push(t.Context(), reference(t, "oci:"+host+"/acme/packages"), Options{}, f)
		if err == nil || !strings.Contains(err.Error(), "one manifest holds at most 10000 files and 4 MiB") ||
			asked.Load() > 0 {
			t.Errorf("%s: %v; asked %d times", name, err, asked.Load())
		}
	}
}

// TestPushAgain: what is there is not sent again, and the manifest comes last.
func TestPushAgain(t *testing.T) {
	var sent []string
	host := inProcess(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				sent = append(sent, r.URL.Path[:len("/v2/acme/packages/m")]+" "+r.URL.Query().Get("digest"))
			}
			h.ServeHTTP(w, r)
		})
	})
	at := reference(t, "oci:"+host+"/acme/packages")
	opened := 0
	f := files(1)
	large := Bytes([]byte("large"))
	f.Targets["0d.large"] = Content{
		large.Size,
		large.SHA256,
		func() (io.ReadCloser, error) { opened++; return large.Open() },
	}
	for range 2 {
		if _, err := Push(t.Context(), at, Options{}, f); err != nil {
			t.Fatal(err)
		}
	}
	n := len(f.Metadata) + len(f.Targets) + 1 + 1 + 1 // and the empty configuration, the manifest, the manifest again
	if opened != 1 || len(sent) > n {
		t.Errorf("opened %d times, sent %d: %q", opened, len(sent), sent)
	}
	for i, s := range sent {
		if manifest := strings.HasPrefix(s, "/v2/acme/packages/m"); manifest != (i >= len(sent)-2) {
			t.Errorf("%d of %d is %s", i, len(sent), s)
		}
	}
}

// TestContent: content that is not what was said of it is an error, wherever it goes.
func TestContent(t *testing.T) {
	good := Bytes([]byte("content"))
	open := func(s string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
	}
	for name, c := range map[string]Content{
		"another": {good.Size, good.SHA256, open("CONTENT")}, "shorter": {good.Size, good.SHA256, open("con")},
		"longer": {good.Size, good.SHA256, open("contents")},
		"lost":   {good.Size, good.SHA256, func() (io.ReadCloser, error) { return nil, fs.ErrNotExist }},
		"a link": OnDisk("/", "proc/self/exe", 7, good.SHA256),
	} {
		if _, err := c.Read(limit); err == nil {
			t.Errorf("%s is read", name)
		}
		dir := t.TempDir()
		if err := c.Update(dir, "d/x"); err == nil {
			t.Errorf("%s is written", name)
		}
		for _, place := range []string{"oci-layout:" + dir + "/l", "oci:" + inProcess(t, nil) + "/acme/packages"} {
			at := reference(t, place)
			if _, err := Push(t.Context(), at, Options{}, &Files{Targets: map[string]Content{"x": c}}); err == nil {
				t.Errorf("%s is pushed to %s", name, place)
			}
			if s, err := Open(t.Context(), at, Options{}); err == nil {
				s.Close()
				t.Errorf("%s: %s has a tag", name, place)
			}
		}
	}
	if _, err := good.Read(3); err == nil {
		t.Error("beyond the limit")
	}
}
