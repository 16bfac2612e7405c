// SPDX-License-Identifier: Apache-2.0

//go:build unix

package worktree

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestNamesOfNoDirectory: a pipe, a link and a file have no names, and nothing waits for them.
func TestNamesOfNoDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(".", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, name := range []string{"pipe", "link", "file", "none"} {
		if got := w.Names(name); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := w.Names("."); len(got) != 3 {
		t.Error(got)
	}
}
