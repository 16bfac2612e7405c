// SPDX-License-Identifier: Apache-2.0

//go:build unix

package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWrite: every way of writing puts a new file or replaces one of the user's own,
// and nothing else.
func TestWrite(t *testing.T) {
	elsewhere := t.TempDir()
	outside := filepath.Join(elsewhere, "file")
	ways := map[string]func(path string) error{
		"write":  func(p string) error { return Write(p, []byte("new"), 0o600) },
		"create": func(p string) error { return Create(p, []byte("new"), 0o600) },
		"below":  func(p string) error { return WriteBelow("tree", rest(p), []byte("new"), 0o600) },
		"in":     func(p string) error { return WriteIn("tree", rest(p), []byte("new"), 0o600) },
		"new in": func(p string) error { return CreateIn("tree", rest(p), []byte("new"), 0o600) },
		"append": func(p string) error {
			return Append(p, 0o600, func(f *os.File) error { _, err := f.WriteString("new"); return err })
		},
		"directory": func(p string) error {
			d, err := Dir(filepath.Dir(p), 0o700)
			if err != nil {
				return err
			}
			defer d.Close()
			return d.WriteFile(filepath.Base(p), []byte("new"), 0o600)
		},
	}
	for name, c := range map[string]struct {
		path  string
		node  func() error
		ok    string // the ways that may write, all of them if "all"
		stays bool   // what is there is of its kind afterwards
	}{
		"nothing": {path: "tree/a", ok: "all"},
		"a file": {
			path: "tree/a", node: func() error { return os.WriteFile("tree/a", []byte("old"), 0o600) },
			ok: "write below in append directory",
		},
		"a link":              {path: "tree/a", node: func() error { return os.Symlink(outside, "tree/a") }, stays: true},
		"a link in the tree":  {path: "tree/a", node: func() error { return os.Symlink("b", "tree/a") }, stays: true},
		"a link on the way":   {path: "tree/d/a", node: func() error { return os.Symlink(elsewhere, "tree/d") }, stays: true},
		"one that leads back": {path: "tree/d/a", node: func() error { return os.Symlink(".", "tree/d") }, stays: true},
		"a pipe":              {path: "tree/a", node: func() error { return syscall.Mkfifo("tree/a", 0o600) }, stays: true},
		"a directory":         {path: "tree/a", node: func() error { return os.Mkdir("tree/a", 0o700) }, stays: true},
		"a file on the way": {
			path: "tree/d/a", node: func() error { return os.WriteFile("tree/d", nil, 0o600) }, stays: true,
		},
	} {
		for way, put := range ways {
			if way == "directory" && !strings.Contains(name, "on the way") {
				continue // what is in it is for its caller to look at
			}
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Chdir(t.TempDir())
				if err := os.Mkdir("tree", 0o700); err != nil {
					t.Fatal(err)
				}
				node := filepath.Join("tree", strings.Split(c.path, "/")[1])
				var before fs.FileInfo
				if c.node != nil {
					if err := c.node(); err != nil {
						t.Fatal(err)
					}
					before, _ = os.Lstat(node)
				}
				err := put(c.path)
				if want := c.ok == "all" || strings.Contains(" "+c.ok+" ", " "+way+" "); want != (err == nil) {
					t.Fatalf("%v", err)
				}
				var refused *Refused
				if err != nil && !errors.As(err, &refused) && !errors.Is(err, fs.ErrExist) {
					t.Errorf("%v is no refusal", err)
				}
				if _, err := os.Lstat(outside); err == nil {
					t.Fatal("it was written elsewhere")
				}
				if after, err := os.Lstat(node); c.stays &&
					(err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode()) {
					t.Errorf("what was there is now %v, %v", after, err)
				}
				if entries, _ := os.ReadDir("tree"); len(entries) > 1 {
					t.Errorf("something is left: %v", entries)
				}
			})
		}
	}
}

func rest(path string) string { return strings.TrimPrefix(path, "tree/") }

// TestWriteTop: links are the user's own above the working directory and the top of
// a work tree, and a repository's below.
func TestWriteTop(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"repo/.git", "repo/sub", "plain", "else"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{
		"mine": "repo", "plain/link": "../else", "repo/link": "../else", "repo/sub/link": "../../else",
	} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		wd, path string
		ok       bool
	}{
		{"else", filepath.Join(dir, "mine/a"), true},
		{"else", filepath.Join(dir, "plain/link/a"), true},
		{"else", filepath.Join(dir, "repo/link/a"), false},
		{"else", filepath.Join(dir, "mine/link/a"), false},
		{"else", "../repo/link/a", false},
		{"plain", "link/a", false},
		{"plain", filepath.Join(dir, "plain/link/a"), false},
		{"repo/sub", "link/a", false},
		{"repo/sub", "../link/a", false},
		{"repo/sub", "../a", true},
	} {
		t.Run(c.wd+" "+strings.TrimPrefix(c.path, dir), func(t *testing.T) {
			t.Chdir(filepath.Join(dir, c.wd))
			err := Write(c.path, nil, 0o600)
			if (err == nil) != c.ok || err != nil && !errors.As(err, new(*Refused)) {
				t.Error(err)
			}
		})
	}
}

// TestWriteDevice: a device is written to, and stays.
func TestWriteDevice(t *testing.T) {
	for path, ok := range map[string]bool{"/dev/null": true, "/dev/full": false} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Skip(err)
		}
		err = Write(path, []byte("x"), 0o600)
		if after, serr := os.Lstat(path); serr != nil || !os.SameFile(before, after) || (err == nil) != ok ||
			!ok && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v, %v", path, err, serr)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	own := os.Stdout
	os.Stdout = w
	err = Write("/dev/stdout", []byte("x"), 0o600)
	os.Stdout = own
	w.Close()
	got := make([]byte, 2)
	if n, _ := r.Read(got); err != nil || string(got[:n]) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestWriteForeign: what another user put there is not replaced, unless the directory
// is theirs.
func TestWriteForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	t.Chdir(t.TempDir())
	err := errors.Join(
		os.Chmod(".", 0o777|fs.ModeSticky), os.WriteFile("a", []byte("theirs"), 0o600), os.Lchown("a", 12345, 12345),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write("a", nil, 0o600); !errors.As(err, new(*Refused)) {
		t.Error(err)
	}
	if data, err := os.ReadFile("a"); string(data) != "theirs" {
		t.Error(err)
	}
	if err := errors.Join(os.Lchown(".", 12345, 12345), Write("a", nil, 0o600)); err != nil {
		t.Error(err)
	}
}
