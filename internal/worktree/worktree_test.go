// SPDX-License-Identifier: Apache-2.0

package worktree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWorktree(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Create("a/b/file", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := w.Create("a/b/file", []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	if data, err := w.Read("a/b/file", 3); err != nil || string(data) != "one" {
		t.Errorf("%q %v", data, err)
	}
	if err := w.Replace("a/b/file", []byte("three")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read("a/b/file", 3); err == nil {
		t.Error("more than the limit")
	}
	if data, err := w.Read("none", 3); data != nil || err != nil {
		t.Errorf("%q %v", data, err)
	}
	if _, err := w.Read("a", 3); err == nil {
		t.Error("a directory was read")
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "a/b")); err != nil || len(entries) != 1 {
		t.Errorf("what was temporary stays: %v %v", entries, err)
	}
	for _, name := range []string{"../out", "a/../../out", "a/b/file/x"} {
		if err := w.Create(name, nil); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if runtime.GOOS == "windows" {
		return // links need a privilege there
	}
	outside := t.TempDir()
	err = errors.Join(
		os.Symlink(outside, filepath.Join(dir, "link")),
		os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "file")),
	)
	if err != nil {
		t.Fatal(err)
	}
	if w.Create("link/x", nil) == nil || w.Create("file", nil) == nil || !w.Exists("file") {
		t.Error("a link was followed")
	}
	if err := w.Replace("file", []byte("x")); err == nil {
		t.Error("a link was replaced")
	}
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := w.Read("file", 3); err == nil {
		t.Errorf("read through a link: %q", data)
	}
	if err := os.Remove(filepath.Join(outside, "file")); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("%v", entries)
	}
}

func TestBundles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"a.sigstore.json", "dist/b.sigstore.json", "testdata/c.sigstore.json", ".git/d.sigstore.json", "e.json",
		".repopolicy/signatures/1-x.sigstore.json",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("{}"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	err := os.WriteFile(filepath.Join(dir, "large.sigstore.json"), []byte(strings.Repeat(" ", 2<<20)), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	got := w.Bundles()
	if len(got) != 2 || got["a.sigstore.json"] == nil || got["dist/b.sigstore.json"] == nil {
		t.Errorf("%v", got)
	}
}

func TestFindWorktree(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "a", "b")
	if err := errors.Join(os.MkdirAll(sub, 0o700), os.Mkdir(filepath.Join(dir, ".git"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{dir, sub} {
		if got, err := Find(from); err != nil || got != dir {
			t.Errorf("%s: %s %v", from, got, err)
		}
	}
	if got, err := Find(filepath.VolumeName(dir) + string(filepath.Separator)); err == nil {
		t.Skip("the root directory is a repository here: " + got)
	}
}
