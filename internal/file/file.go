// SPDX-License-Identifier: Apache-2.0

// Package file reads files of which nothing is known: regular ones only, and
// never more than a caller can hold.
package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrTooLarge is the error of [Read] for a file that is larger than allowed.
var ErrTooLarge = errors.New("the file is too large")

// ErrNotRegular is wrapped by the error about a file that is a device, a pipe, a
// directory or a link where none may be.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file. Opening a device or a pipe could block or never
// end, so they are an error. Every fact about the file is one of what was opened,
// never of what stood under its name before.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path) // a device may do something when it is opened
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = irregular(path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenNoFollow is [Open] for a name that nobody typed: a link is an error.
func OpenNoFollow(path string) (*os.File, error) {
	return named(
		path, fs.FileMode.IsRegular, func() (fs.FileInfo, error) { return os.Lstat(path) },
		func() (*os.File, error) { return os.OpenFile(path, os.O_RDONLY|nonblock|nofollow, 0) },
	)
}

// OpenIn opens a regular file below a directory. A link is an error, wherever it
// leads.
func OpenIn(root *os.Root, name string) (*os.File, error) {
	return openIn(root, name, fs.FileMode.IsRegular)
}

// OpenDirIn opens a directory below a directory, to list it. A link is an error.
func OpenDirIn(root *os.Root, name string) (*os.File, error) {
	return openIn(root, name, fs.FileMode.IsDir)
}

func openIn(root *os.Root, name string, want func(fs.FileMode) bool) (*os.File, error) {
	return named(
		name, want, func() (fs.FileInfo, error) { return root.Lstat(name) },
		func() (*os.File, error) { return root.OpenFile(name, os.O_RDONLY|nonblock, 0) },
	)
}

// replacements is how often a file may be replaced while it is opened: programs put a
// new one in the place of an old one in one step, and rarely twice.
const replacements = 20

// named opens what has a name itself, and not what a link leads to: what was opened is
// what was looked at. A file that was replaced by another one meanwhile is looked at again.
func named(
	path string, want func(fs.FileMode) bool, look func() (fs.FileInfo, error), open func() (*os.File, error),
) (*os.File, error) {
	for range replacements {
		before, err := look()
		if err != nil {
			return nil, err
		}
		if !want(before.Mode()) {
			return nil, irregular(path)
		}
		f, err := open()
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && want(info.Mode()) && os.SameFile(before, info) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, &Refused{path, "it is replaced all the time"}
}

func irregular(path string) error { return fmt.Errorf("%s is %w", path, ErrNotRegular) }

// Read returns the content of a regular file of at most limit bytes; a larger
// one is an error.
func Read(path string, limit int64) ([]byte, error) {
	data, _, err := ReadStat(path, limit)
	return data, err
}

// ReadStat is [Read], and says which file it was that was read.
func ReadStat(path string, limit int64) ([]byte, fs.FileInfo, error) {
	f, err := Open(path)
	return read(f, path, limit, err)
}

// ReadNoFollow is [Read] for a name that nobody typed: a link is an error.
func ReadNoFollow(path string, limit int64) ([]byte, error) {
	f, err := OpenNoFollow(path)
	data, _, err := read(f, path, limit, err)
	return data, err
}

// ReadIn is [Read] for a file below a directory. A link is an error, wherever it leads.
func ReadIn(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := OpenIn(root, name)
	data, _, err := read(f, name, limit, err)
	return data, err
}

func read(f *os.File, path string, limit int64, err error) ([]byte, fs.FileInfo, error) {
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	var buf bytes.Buffer
	buf.Grow(int(max(0, min(info.Size(), limit))) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, nil, err
	}
	data := buf.Bytes()
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, path, limit)
	}
	return data, info, nil
}

// FS returns the files below a directory, each opened as by [Open].
func FS(dir string) fs.FS { return files(dir) }

type files string

// Open implements [fs.FS].
func (f files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	path, err := filepath.Localize(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return Open(filepath.Join(string(f), path))
}

// Private makes a directory for the user alone, if it is not there. A link, or a
// directory that others may write to, is an error.
func Private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if Writable(info) {
		return fmt.Errorf("%s can be written to by others; `chmod 700` it", dir)
	}
	return nil
}
