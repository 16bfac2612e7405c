// SPDX-License-Identifier: Apache-2.0

// Package file reads files of which nothing is known: regular ones only, and
// never more than a caller can hold.
package file

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooLarge is the error of [Read] for a file that is larger than allowed.
var ErrTooLarge = errors.New("the file is too large")

// ErrNotRegular is wrapped by the error about a file that is a device, a pipe, a
// directory or a link where none may be.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file. Opening a device or a pipe could block or never
// end, so they are an error.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	return checked(f, path, err)
}

// OpenIn opens a regular file below a directory. A link is an error, wherever it
// leads.
func OpenIn(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(name)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	return checked(f, name, err)
}

// checked returns an opened file that is regular: what stood there before it was
// opened may have been another one.
func checked(f *os.File, path string, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = irregular(path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func irregular(path string) error { return fmt.Errorf("%s is %w", path, ErrNotRegular) }

// Read returns the content of a regular file of at most limit bytes; a larger
// one is an error.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, path, limit)
	}
	return data, nil
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
