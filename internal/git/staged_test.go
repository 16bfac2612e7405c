// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stagedRepository is a work tree with two commits' worth of files.
func stagedRepository(t testing.TB) (dir string, run func(args ...string)) {
	t.Helper()
	dir = t.TempDir()
	run = func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=t",
			"GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")
		if out, err := cmd.CombinedOutput(); err != nil && args[0] != "merge" {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	for name, text := range map[string]string{"a": "a\n", "dir/b": "b\n", "dir/sub/c": "c\n", "dir.x": "x\n"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	run("init", "-q", "-b", "main")
	run("add", "-A")
	run("commit", "-q", "-m", "one")
	return dir, run
}

func staged(t testing.TB, dir string) ([]string, error) {
	t.Helper()
	r, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head, err := r.Head()
	if err != nil {
		t.Fatal(err)
	}
	return r.Staged(head)
}

// TestStaged: what `git diff --cached` shows, and nothing else.
func TestStaged(t *testing.T) {
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do   func(dir string, run func(...string))
		want []string
	}{
		"clean":               {func(string, func(...string)) {}, nil},
		"changed, not staged": {func(dir string, _ func(...string)) { write(dir, "a", "x"); write(dir, "new", "x") }, nil},
		"changed": {
			func(dir string, run func(...string)) { write(dir, "dir/b", "x"); run("add", "dir/b") }, []string{"dir/b"},
		},
		"new": {func(dir string, run func(...string)) { write(dir, "new", "x"); run("add", "new") }, []string{"new"}},
		"to be added": {
			func(dir string, run func(...string)) { write(dir, "new", "x"); run("add", "-N", "new") }, []string{"new"},
		},
		"removed": {func(_ string, run func(...string)) { run("rm", "-q", "--cached", "a") }, []string{"a"}},
		"moved":   {func(_ string, run func(...string)) { run("mv", "a", "z") }, []string{"a", "z"}},
		"mode":    {func(_ string, run func(...string)) { run("update-index", "--chmod=+x", "a") }, []string{"a"}},
		"all gone": {
			func(_ string, run func(...string)) { run("read-tree", "--empty") }, []string{"a", "dir.x", "dir/b", "dir/sub/c"},
		},
		"no index": {func(dir string, _ func(...string)) { _ = os.Remove(filepath.Join(dir, ".git/index")) }, nil},
		"version 4": {func(dir string, run func(...string)) {
			run("update-index", "--index-version", "4")
			write(dir, "a", "x")
			run("add", "a")
		}, []string{"a"}},
		"a conflict": {func(dir string, run func(...string)) {
			run("checkout", "-q", "-b", "side")
			write(dir, "a", "side")
			run("commit", "-qam", "side")
			run("checkout", "-q", "main")
			write(dir, "a", "main")
			run("commit", "-qam", "main")
			run("merge", "-q", "side")
		}, []string{"a"}},
	} {
		dir, run := stagedRepository(t)
		c.do(dir, run)
		got, err := staged(t, dir)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q %v, want %q", name, got, err, c.want)
		}
	}
	dir, _ := stagedRepository(t)
	index := filepath.Join(dir, ".git/index")
	good, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)/2], "junk": []byte("junk"),
		"version 9": append([]byte("DIRC\x00\x00\x00\x09"), good[8:]...),
		"count":     append([]byte("DIRC\x00\x00\x00\x02\xff\xff\xff\xff"), good[12:]...),
		"checksum":  append(slices.Clone(good[:len(good)-1]), good[len(good)-1]^1),
	} {
		if err := os.WriteFile(index, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := staged(t, dir); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// FuzzStaged: an index that was changed anywhere is refused, or says that
// something is staged, or the same as before.
func FuzzStaged(f *testing.F) {
	dir, _ := stagedRepository(f)
	index := filepath.Join(dir, ".git/index")
	good, err := os.ReadFile(index)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(strings.Repeat("DIRC", 10)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(index, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := staged(t, dir)
		if err == nil && len(got) == 0 && !strings.Contains(string(data), "dir/sub/c") {
			t.Fatalf("nothing is staged in %q", data)
		}
	})
}
