// SPDX-License-Identifier: Apache-2.0

//go:build unix

package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// scratch opens the directory beside a file and fills a file of it.
func scratch(t *testing.T, path, content string) (*Scratch, *os.File) {
	t.Helper()
	s, err := OpenScratch(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Open("partial")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return s, f
}

// TestScratch: content grows in a private directory through several runs, and gets its name in one step.
func TestScratch(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	s, _ := scratch(t, "artifact", "con")
	info, err := os.Stat(filepath.Dir(s.Path("partial")))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := s.Write("partial.sigstore.json", []byte("{}")); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = OpenScratch(t.Context(), "artifact")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Only("partial"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Path("partial.sigstore.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	f, err := s.Open("partial")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(3, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("tent"); err != nil {
		t.Fatal(err)
	}
	if there, err := s.There(); there != nil || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if err := s.Give("partial", f, false); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Remove(), s.Close()); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(".")
	data, rerr := os.ReadFile("artifact")
	if err != nil || rerr != nil || len(entries) != 1 || string(data) != "content" {
		t.Errorf("%v, %q, %v, %v", entries, data, err, rerr)
	}
	if info, err := os.Stat("artifact"); err != nil || info.Mode().Perm()&0o044 != 0o044 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestScratchGive: nothing is replaced that is not to be, and nothing given that is not what was open.
func TestScratchGive(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(s *Scratch) error
		replace bool
		want    error // nil for a [*Refused] unless ok is set
		ok      bool
	}{
		"new": {func(*Scratch) error { return nil }, false, nil, true},
		"taken": {
			func(*Scratch) error { return os.WriteFile("artifact", []byte("mine"), 0o600) }, false, fs.ErrExist, false,
		},
		"taken by a link": {func(*Scratch) error { return os.Symlink("x", "artifact") }, false, fs.ErrExist, false},
		"replaces": {
			func(*Scratch) error { return os.WriteFile("artifact", []byte("mine"), 0o600) }, true, nil, true,
		},
		"replaces no link": {func(*Scratch) error { return os.Symlink("x", "artifact") }, true, nil, false},
		"replaces no tree": {func(*Scratch) error { return os.Mkdir("artifact", 0o700) }, true, nil, false},
		"another file": {func(s *Scratch) error {
			return errors.Join(os.Remove(s.Path("partial")), os.WriteFile(s.Path("partial"), []byte("evil"), 0o600))
		}, false, nil, false},
		"a link meanwhile": {func(s *Scratch) error {
			return errors.Join(os.Remove(s.Path("partial")), os.Symlink("/etc/passwd", s.Path("partial")))
		}, true, nil, false},
		"removed meanwhile": {func(s *Scratch) error { return os.Remove(s.Path("partial")) }, false, fs.ErrNotExist, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			s, f := scratch(t, "artifact", "content")
			defer s.Close()
			if err := c.before(s); err != nil {
				t.Fatal(err)
			}
			err := s.Give("partial", f, c.replace)
			refused := errors.As(err, new(*Refused))
			if (err == nil) != c.ok || c.want != nil && !errors.Is(err, c.want) || c.want == nil && !c.ok && !refused {
				t.Errorf("%v", err)
			}
			data, _ := os.ReadFile("artifact")
			if (string(data) == "content") != c.ok {
				t.Errorf("there is %q", data)
			}
		})
	}
}

// TestScratchRefused: the directory is this user's own, and the file one that can be written.
func TestScratchRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	s, _ := scratch(t, "artifact", "")
	name := filepath.Base(filepath.Dir(s.Path("x")))
	if err := errors.Join(s.Remove(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for what, make := range map[string]func() (path string, err error){
		"a link": func() (string, error) { return "artifact", os.Symlink(".", name) },
		"a file": func() (string, error) { return "artifact", os.WriteFile(name, nil, 0o600) },
		"open to others": func() (string, error) {
			return "artifact", errors.Join(os.Mkdir(name, 0o700), os.Chmod(name, 0o777))
		},
		"a lock elsewhere": func() (string, error) {
			return "artifact", errors.Join(os.Mkdir(name, 0o700), os.Symlink("/dev/null", name+"/lock"))
		},
		"a device":        func() (string, error) { return "/dev/null", nil },
		"standard output": func() (string, error) { return "/dev/stdout", nil },
		"a directory":     func() (string, error) { return "d", os.Mkdir("d", 0o700) },
		"a link there":    func() (string, error) { return "l", os.Symlink("x", "l") },
		"nothing":         func() (string, error) { return "", nil },
	} {
		path, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := OpenScratch(t.Context(), path); !errors.As(err, new(*Refused)) {
			t.Errorf("%s: %v", what, err)
			if s != nil {
				s.Close()
			}
		}
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestScratchWaits: one run at a time has the directory, and who waits for it finds it new.
func TestScratchWaits(t *testing.T) {
	t.Chdir(t.TempDir())
	first, _ := scratch(t, "artifact", "x")
	type result struct {
		s   *Scratch
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := OpenScratch(t.Context(), "artifact")
		done <- result{s, err}
	}()
	select {
	case <-done:
		t.Fatal("two have it")
	case <-time.After(50 * time.Millisecond):
	}
	if err := errors.Join(first.Remove(), first.Close()); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.s.Close()
	if err := r.s.Write("x", nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.s.Path("x")); err != nil {
		t.Error(err)
	}
}
