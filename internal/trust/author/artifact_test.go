// SPDX-License-Identifier: Apache-2.0

package author

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
)

// written writes a file and returns its path.
func written(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "artifact")
	check(t, os.WriteFile(path, content, 0o600))
	return path
}

// pulled serves the files as they come back from a layout, and returns the URL.
func pulled(t *testing.T, files *oci.Files) string {
	t.Helper()
	place, err := oci.ParseReference("oci-layout:" + t.TempDir())
	check(t, err)
	_, err = oci.Push(t.Context(), place, oci.Options{}, files)
	check(t, err)
	s, err := oci.Open(t.Context(), place, oci.Options{})
	check(t, err)
	defer s.Close()
	back, err := s.Files(t.Context(), 64<<20)
	check(t, err)
	dir := t.TempDir()
	check(t, back.WriteTree(dir))
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	return server.URL
}

// TestAddFile: a file beyond what fits into memory elsewhere becomes a target that both clients read, from every
// place, and adding it again changes nothing.
func TestAddFile(t *testing.T) {
	w := newWorld(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), (maxFile+1<<20)/16)
	from := written(t, content)
	custom := json.RawMessage(`{"repopolicy":{"repository":"https://github.com/acme/widget","tag":"v1"}}`)
	add := func(path, from string, custom json.RawMessage) error {
		return w.do(now, func(r *Repository) error { return r.AddFile(t.Context(), Targets, path, from, custom) })
	}
	check(t, add("tools/big.bin", from, custom))
	check(t, add("small", written(t, []byte("small")), nil))
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	w.everywhere("small", "small")
	for range 8 { // by whichever hash it draws
		if got, err := w.goTUF(w.serve(), "tools/big.bin"); err != nil || got != string(content) {
			t.Errorf("go-tuf: %d bytes, %v", len(got), err)
		}
		if got, err := w.goTUF(pulled(t, w.files()), "small"); err != nil || got != "small" {
			t.Errorf("go-tuf, what came from a layout: %q, %v", got, err)
		}
	}
	one, two := 0, 0
	for _, pattern := range []string{"*.small", "tools/*.big.bin"} {
		all, err := filepath.Glob(filepath.Join(Tree(w.dir), "targets", pattern))
		check(t, err)
		for i := range all {
			a, aerr := os.Stat(all[0])
			b, berr := os.Stat(all[i])
			check(t, errors.Join(aerr, berr))
			if two++; os.SameFile(a, b) {
				one++
			}
		}
	}
	if one != 4 || two != 4 || w.files().Distinct() != 2 {
		t.Errorf("%d names, %d of them of one file each, %d targets", two, one, w.files().Distinct())
	}
	before := w.files()
	check(t, add("tools/big.bin", from, custom))
	w.must(func(r *Repository) error {
		if len(r.staged) > 0 {
			t.Errorf("staged: %v", r.staged)
		}
		return nil
	})
	check(t, add("tools/big.bin", from, json.RawMessage(`{"repopolicy":{"repository":"https://github.com/acme/gadget"}}`)))
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	if after := w.files(); cmp.Diff(before.Targets, after.Targets, sameContent) != "" {
		t.Error("other custom metadata is other content")
	}
	if after := w.files(); string(after.Metadata["3.targets.json"]) == "" && after.Metadata["2.targets.json"] == nil {
		t.Errorf("nothing was said anew: %d files", len(after.Metadata))
	}
	targets, err := new(metadata.Metadata[metadata.TargetsType]).FromFile(filepath.Join(Tree(w.dir), "2.targets.json"))
	check(t, err)
	info := targets.Signed.Targets["tools/big.bin"]
	if info.Length != int64(len(content)) || len(info.Hashes["sha256"]) != 32 || len(info.Hashes["sha512"]) != 64 ||
		info.Custom == nil || !strings.Contains(string(*info.Custom), "gadget") {
		t.Errorf("%+v", info)
	}
}

// TestAddFileRefused: what nobody could read is not added, and leaves nothing.
func TestAddFileRefused(t *testing.T) {
	w := newWorld(t)
	from := written(t, []byte("x"))
	for name, f := range map[string]func(r *Repository) error{
		"no path": func(r *Repository) error { return r.AddFile(t.Context(), Targets, "../x", from, nil) },
		"no role": func(r *Repository) error { return r.AddFile(t.Context(), "nobody", "x", from, nil) },
		"no file": func(r *Repository) error { return r.AddFile(t.Context(), Targets, "x", from+"x", nil) },
		"a tree":  func(r *Repository) error { return r.AddFile(t.Context(), Targets, "x", filepath.Dir(from), nil) },
		"an end": func(r *Repository) error {
			c, stop := context.WithCancel(t.Context())
			stop()
			return r.AddFile(c, Targets, "x", from, nil)
		},
		"a link in":  func(r *Repository) error { return r.AddFile(t.Context(), Targets, "d/x", from, nil) },
		"bad custom": func(r *Repository) error { return r.AddFile(t.Context(), Targets, "x", from, json.RawMessage(`{`)) },
	} {
		dir := filepath.Join(Tree(w.dir), "targets", "d")
		if name == "a link in" {
			check(t, os.MkdirAll(filepath.Dir(dir), 0o700))
			check(t, os.Symlink(t.TempDir(), dir))
		}
		if err := w.do(now, f); err == nil {
			t.Errorf("%s: no error", name)
		}
		w.must(func(r *Repository) error {
			if len(r.targets[Targets].Signed.Targets) > 0 {
				t.Errorf("%s: it is listed", name)
			}
			return nil
		})
	}
}

// TestAddFileKilled: whatever a run that was killed left, the next one makes the same of it, and nothing half is
// where a web server has it.
func TestAddFileKilled(t *testing.T) {
	from := written(t, []byte("content"))
	const name = "targets/d/ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73.x"
	for what, leave := range map[string]func(dir string) error{
		"nothing": func(string) error { return nil },
		"half a copy": func(dir string) error {
			return errors.Join(
				os.Mkdir(filepath.Join(dir, incomingDir), 0o700),
				os.WriteFile(filepath.Join(dir, incomingDir, "content"), []byte("con"), 0o600),
			)
		},
		"only a copy": func(dir string) error {
			return errors.Join(
				os.MkdirAll(filepath.Join(Tree(dir), "targets/d"), 0o700),
				os.WriteFile(filepath.Join(Tree(dir), name), []byte("content"), 0o600),
			)
		},
		"another's copy": func(dir string) error {
			return errors.Join(
				os.MkdirAll(filepath.Join(Tree(dir), "targets/d"), 0o700),
				os.WriteFile(filepath.Join(Tree(dir), name), []byte("CONTENT"), 0o600),
			)
		},
	} {
		w := newWorld(t)
		check(t, leave(w.dir))
		w.must(func(r *Repository) error { return r.AddFile(t.Context(), Targets, "d/x", from, nil) })
		if data, err := os.ReadFile(filepath.Join(Tree(w.dir), name)); err != nil || string(data) != "content" {
			t.Errorf("%s: %q, %v", what, data, err)
		}
		if _, err := os.Stat(filepath.Join(w.dir, incomingDir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %s is left: %v", what, incomingDir, err)
		}
		w.sign(w.alice, w.bob)
		check(t, w.publish())
		w.everywhere("d/x", "content")
	}
}

// TestDamaged: what is not what is listed is neither published nor delivered.
func TestDamaged(t *testing.T) {
	w := newWorld(t)
	w.must(func(r *Repository) error {
		return r.AddFile(t.Context(), Targets, "x", written(t, []byte("content")), nil)
	})
	w.sign(w.alice, w.bob)
	check(t, w.publish())
	all, err := filepath.Glob(filepath.Join(Tree(w.dir), "targets", "*.x"))
	check(t, err)
	check(t, os.WriteFile(all[0], []byte("CONTENT"), 0o600))
	if err := w.publish(); !errors.Is(err, tuf.ErrMismatch) {
		t.Errorf("published: %v", err)
	}
	files := w.files()
	if err := files.WriteTree(t.TempDir()); err == nil {
		t.Error("written")
	}
	place, err := oci.ParseReference("oci-layout:" + t.TempDir())
	check(t, err)
	if _, err := oci.Push(t.Context(), place, oci.Options{}, files); err == nil {
		t.Error("pushed")
	}
	if _, err := oci.Open(t.Context(), place, oci.Options{}); err == nil {
		t.Error("a tag names it")
	}
}
