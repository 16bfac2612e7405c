// SPDX-License-Identifier: Apache-2.0

//go:build unix

package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestReplaced: whatever takes the place of a file while it is opened, nothing blocks,
// and only the file's own content is read; where no link may be, not what one leads to.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		syscall.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("dir"), 0o700), os.WriteFile(at("text"), []byte("text"), 0o600),
		os.WriteFile(at("secret"), []byte("secret"), 0o600), os.Symlink("secret", at("link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			_ = os.Symlink("secret", at("tmp"))
			if i%3 > 0 {
				_ = os.Remove(at("tmp"))
				_ = os.Link(at([]string{"", "pipe", "text"}[i%3]), at("tmp"))
			}
			_ = os.Rename(at("tmp"), at("x"))
		}
	}()
	own := func(err error) bool {
		return err == nil || errors.Is(err, ErrNotRegular) || errors.Is(err, fs.ErrNotExist) ||
			errors.Is(err, syscall.ELOOP) ||
			errors.As(err, new(*Refused))
	}
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
		for _, f := range []func() ([]byte, error){
			func() ([]byte, error) { return ReadIn(root, "x", 10) }, func() ([]byte, error) { return ReadNoFollow(at("x"), 10) },
		} {
			if data, err := f(); !own(err) || err == nil && string(data) != "text" {
				t.Fatalf("%q %v", data, err)
			}
		}
		if data, err := Read(at("x"), 10); !own(err) ||
			err == nil && string(data) != "text" && string(data) != "secret" {
			t.Fatalf("%q %v", data, err)
		}
	}
	stop.Store(true)
	<-done
	for name, regular := range map[string]bool{"dir": false, "text": true, "pipe": true, "link": true} {
		f, err := OpenDirIn(root, name)
		if (err != nil) != regular {
			t.Errorf("%s as a directory: %v", name, err)
		}
		if err == nil {
			f.Close()
		}
	}
	for name, want := range map[string]error{
		"text": nil, "link": nil, "pipe": ErrNotRegular, "dir": ErrNotRegular,
		"../" + filepath.Base(dir) + "/text": fs.ErrInvalid, "none": fs.ErrNotExist,
	} {
		if _, err := fs.ReadFile(FS(dir), name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRenamed: a file that others replace, as programs do, is read whole and always.
func TestRenamed(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := WriteIn(dir, "x", []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() {
		var err error
		for err == nil && !stop.Load() {
			err = errors.Join(
				os.WriteFile(filepath.Join(dir, "tmp"), []byte("text"), 0o600),
				os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "x")),
			)
		}
		done <- err
	}()
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
		for _, f := range []func() ([]byte, error){
			func() ([]byte, error) { return ReadIn(root, "x", 10) },
			func() ([]byte, error) { return ReadNoFollow(filepath.Join(dir, "x"), 10) },
		} {
			if data, err := f(); err != nil || string(data) != "text" {
				t.Fatalf("%q %v", data, err)
			}
		}
	}
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
