// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestTiles: the output log's tiles are served, and nothing else is: no list of a
// directory, no file beside them, and no error of the server for a strange path.
func TestTiles(t *testing.T) {
	inst := sigstoretest.New(t)
	dir := t.TempDir()
	b := testBuilder(t, newTestLog(t, inst, [][]byte{syntheticBody(0, 40)}), dir, synthetic{})
	s, err := NewServer(b.Store)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.URL.Path = path
		s.ServeHTTP(w, r)
		return w
	}
	if w := get("/tile/0/000"); w.Code != http.StatusNotFound {
		t.Errorf("before the first build: %d", w.Code)
	}
	tiles := filepath.Join(b.Store.dir, outputDir, "tile")
	for _, name := range []string{"0/000.p/1", "0/x001/067", "entries/000"} {
		path := filepath.Join(tiles, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("tile"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(tiles, "0", "001")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"0/000.p/1", "0/x001/067", "entries/000"} {
		if w := get("/tile/" + path); w.Code != http.StatusOK || w.Body.String() != "tile" {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{
		"", "0", "0/", "entries", "entries/", "0/x001", "0/x001/", "0/001", "..", "../state.db",
		"../../" + outputDir + "/checkpoint", ".", "0/../entries/000", "0//000.p/1", "x", "index.html", "entries/index.html",
		"0/" + strings.Repeat("0", 300), strings.Repeat("0/", 300), "0/" + strings.Repeat("x001/", 4000) + "000", "0/\x00",
		"0/\xff", "0/000.p/1/", "0/000.p/1/2", strings.Repeat("0", 5000),
	} {
		if w := get("/tile/" + path); w.Code != http.StatusNotFound && w.Code != http.StatusMovedPermanently &&
			w.Code != http.StatusTemporaryRedirect || strings.Contains(w.Body.String(), "<pre>") {
			t.Errorf("%.40q: %d %q", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{
		"/statement/" + strings.Repeat("0", 5000) + "/x", "/statement/00/" + strings.Repeat("0", 70000),
		"/x/lookup/00/" + strings.Repeat("0", 5000) + ".json.gz", "/metrics", "/" + strings.Repeat("0", 5000),
	} {
		if w := get(path); w.Code != http.StatusNotFound && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%.40q: %d", path, w.Code)
		}
	}
}
