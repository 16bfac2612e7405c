// SPDX-License-Identifier: Apache-2.0

//go:build unix

package file

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestIrregular: what could block or never end is refused at once.
func TestIrregular(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		syscall.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("dir"), 0o700), os.Symlink("/dev/zero", at("zero")),
		os.Symlink("pipe", at("link")), os.WriteFile(at("file"), []byte("text"), 0o600), os.Symlink("file", at("to-file")),
	)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"pipe", "dir", "zero", "link"} {
		if _, err := Read(at(name), 100); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := OpenIn(root, name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s below a directory: %v", name, err)
		}
	}
	if data, err := Read(at("to-file"), 4); err != nil || string(data) != "text" {
		t.Errorf("%q %v", data, err)
	}
	if _, err := OpenIn(root, "to-file"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a link below a directory: %v", err)
	}
	if f, err := OpenIn(root, "file"); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	if _, err := Read(at("file"), 3); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// TestSwapped: a pipe that takes the place of a file while it is opened does not
// block either.
func TestSwapped(t *testing.T) {
	dir := t.TempDir()
	name, pipe, text := filepath.Join(dir, "x"), filepath.Join(dir, "pipe"), filepath.Join(dir, "text")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(text, nil, 0o600), os.Link(text, name)); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			tmp := filepath.Join(dir, "tmp")
			if os.Link([]string{pipe, text}[i%2], tmp) == nil {
				_ = os.Rename(tmp, name)
				_ = os.Remove(tmp)
			}
		}
	}()
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
		if _, err := Read(name, 10); err != nil && !errors.Is(err, ErrNotRegular) {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	<-done
}
