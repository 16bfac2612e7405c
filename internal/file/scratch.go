// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"
)

const (
	scratchPrefix = ".repopolicy-get-"
	scratchLock   = "lock"
)

// Scratch is a private directory beside a file that is to be written, on the same file system, in which its
// content grows through as many runs as it takes. One run uses it at a time.
type Scratch struct {
	to     *place
	dir    *os.Root
	name   string // of the directory
	unlock func()
}

// OpenScratch opens the directory for a file that [Write] could write, and makes it if it is not there. It
// waits for another run that uses it. The error is a [*Refused] for a path at which no regular file can be
// written, and for a directory that somebody else made.
func OpenScratch(ctx context.Context, path string) (*Scratch, error) {
	if stream, done := streamOf(path); stream != nil {
		return nil, errors.Join(&Refused{path, "it is no regular file"}, done())
	}
	p, err := placeOf(path, "", 0)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(p.name))
	s := &Scratch{to: p, name: scratchPrefix + hex.EncodeToString(sum[:8])}
	if err := s.open(ctx); err != nil {
		p.dir.Close()
		return nil, err
	}
	return s, nil
}

func (s *Scratch) open(ctx context.Context) error {
	if info, err := s.to.look(); err != nil {
		return err
	} else if info != nil && device(info) {
		return s.to.refuse(info)
	}
	for range replacements { // whoever had it before may have removed it
		if err := s.enter(); err != nil {
			return err
		}
		unlock, err := lockFile(ctx, filepath.Join(s.dir.Name(), scratchLock))
		if err == nil {
			now, nerr := s.to.dir.Lstat(s.name)
			is, ierr := s.dir.Stat(".")
			if nerr == nil && ierr == nil && os.SameFile(now, is) {
				s.unlock = unlock
				return nil
			}
			unlock()
		}
		s.dir.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return &Refused{filepath.Join(filepath.Dir(s.to.path), s.name), "it is replaced all the time"}
}

// enter opens the directory, which must be this user's own.
func (s *Scratch) enter() error {
	path := filepath.Join(filepath.Dir(s.to.path), s.name)
	dir, err := enter(s.to.dir, s.name, path, 0o700)
	if err != nil {
		return err
	}
	info, err := dir.Stat(".")
	if err == nil {
		above, aerr := s.to.dir.Stat(".")
		if err = aerr; err == nil && (foreign(info, above) || Writable(info)) {
			err = &Refused{path, "somebody else can write to it; remove it"}
		}
	}
	if err == nil {
		if lock, lerr := dir.Lstat(scratchLock); lerr == nil && !lock.Mode().IsRegular() {
			err = &Refused{path, "its lock is not a regular file; remove it"}
		}
	}
	if err != nil {
		dir.Close()
		return err
	}
	s.dir = dir
	return nil
}

func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	type result struct {
		unlock func()
		err    error
	}
	done := make(chan result, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(path).Lock()
		done <- result{unlock, err}
	}()
	select {
	case r := <-done:
		return r.unlock, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.unlock()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// Open opens a file of the directory for reading and writing, or makes it.
func (s *Scratch) Open(name string) (*os.File, error) {
	info, err := s.dir.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, irregular(s.Path(name))
	}
	return s.dir.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

// Write writes a file of the directory.
func (s *Scratch) Write(name string, data []byte) error {
	if err := s.dir.RemoveAll(name); err != nil {
		return err
	}
	return s.dir.WriteFile(name, data, 0o600)
}

// Path is the path of a file of the directory.
func (s *Scratch) Path(name string) string { return filepath.Join(s.dir.Name(), name) }

// Only removes everything else than these files.
func (s *Scratch) Only(names ...string) error {
	dir, err := s.dir.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	all, err := dir.Readdirnames(-1)
	for _, name := range all {
		keep := name == scratchLock
		for _, k := range names {
			keep = keep || name == k
		}
		if !keep {
			err = errors.Join(err, s.dir.RemoveAll(name))
		}
	}
	return err
}

// There opens the file that is to be written, if it is there; nil otherwise.
func (s *Scratch) There() (*os.File, error) {
	f, err := OpenIn(s.to.dir, s.to.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// Give gives a file of the directory, which is open as f, its name in one step. The error is [fs.ErrExist] if
// something has the name and replace is not set, and a [*Refused] if the file is no longer the one that is
// open.
func (s *Scratch) Give(name string, f *os.File, replace bool) error {
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	now, err := s.dir.Lstat(name)
	if err != nil {
		return err
	}
	is, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, is) {
		return &Refused{s.Path(name), "it was replaced meanwhile"}
	}
	from := s.name + "/" + name
	if !replace {
		return Give(s.to.dir, from, s.to.name)
	}
	if info, err := s.to.look(); err != nil {
		return err
	} else if info != nil && device(info) {
		return s.to.refuse(info)
	}
	return s.to.dir.Rename(from, s.to.name)
}

// Remove removes the directory with all that is in it.
func (s *Scratch) Remove() error {
	if err := s.to.dir.RemoveAll(s.name); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// Close ends the use of the directory, which is left to the next run.
func (s *Scratch) Close() error {
	s.unlock()
	return errors.Join(s.dir.Close(), s.to.dir.Close())
}
