// SPDX-License-Identifier: Apache-2.0

package file

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Refused is the error about a path at which nothing is written: what is there was
// put there by somebody else, or is no file.
type Refused struct{ Path, Why string }

// Error names the path and says what is there.
func (e *Refused) Error() string { return e.Path + ": " + e.Why }

const isLink = "it is a symbolic link, through which nothing is written; name the file that is meant"

// Write puts a file at a path that the user named: a new one, or in the place of a
// regular file of the user's own, in one step. A character device and standard
// output (/dev/stdout, /dev/fd/N) are written to. Everything else that is there is
// [Refused], and so is a link on the way below the working directory or below the
// top of a Git work tree: whoever wrote the repository may have put it there.
func Write(path string, data []byte, perm fs.FileMode) error { return Copy(path, perm, whole(data)) }

// Copy is [Write] for content that write writes, of any size. A file is not there before it returned
// nil; a device and standard output may have got a part.
func Copy(path string, perm fs.FileMode, write func(io.Writer) error) error {
	if stream, done := streamOf(path); stream != nil {
		return errors.Join(write(stream), done())
	}
	p, err := placeOf(path, "", 0)
	if err != nil {
		return err
	}
	defer p.dir.Close()
	return p.write(write, perm)
}

func whole(data []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(data); return err }
}

// Check returns why [Write] would write nothing to a path; what only the attempt shows
// is left to it.
func Check(path string) error {
	if stream, done := streamOf(path); stream != nil {
		return done()
	}
	p, err := placeOf(path, "", 0)
	if err != nil {
		return err
	}
	return p.check()
}

// CheckDir returns why nothing could be written below a directory, which need not be
// there yet; what only the attempt shows is left to it.
func CheckDir(path string) error {
	return climb(filepath.Join(path, "x"), func(path string) (*place, error) { return placeOf(path, "", 0) })
}

// CheckIn returns why [WriteIn] would write nothing to a name below a directory; what
// only the attempt shows is left to it.
func CheckIn(dir, name string) error {
	return climb(
		filepath.FromSlash(name),
		func(name string) (*place, error) { return descend(dir, filepath.Join(dir, name), 0) },
	)
}

// CheckBelow is [CheckIn] for [WriteBelow].
func CheckBelow(dir, name string) error {
	return climb(
		filepath.Join(dir, filepath.FromSlash(name)),
		func(path string) (*place, error) { return placeOf(path, dir, 0) },
	)
}

// climb checks a path, or the first directory on the way to it that has to be made.
func climb(path string, find func(string) (*place, error)) error {
	for {
		p, err := find(path)
		if up := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && up != path && up != "." {
			path = up
			continue
		}
		if err != nil {
			return err
		}
		defer p.dir.Close()
		return p.check()
	}
}

// check returns why nothing could be written to a place. A file is made beside it and
// removed again: permissions, quotas and file systems that cannot be written to say so.
func (p *place) check() error {
	info, err := p.look()
	if err != nil || info != nil && device(info) {
		return err
	}
	tmp := ".repopolicy-" + rand.Text() + ".tmp"
	f, err := p.dir.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), p.dir.Remove(tmp))
}

// WriteBelow is [Write] for a name below a directory that the user named. No link in
// the directory is followed, and directories are made.
func WriteBelow(dir, name string, data []byte, perm fs.FileMode) error {
	p, err := placeOf(filepath.Join(dir, filepath.FromSlash(name)), dir, dirMode(perm))
	if err != nil {
		return err
	}
	defer p.dir.Close()
	return p.write(whole(data), perm)
}

// CopyBelow is [WriteBelow] for content that write writes, of any size. Nothing is there before it returned nil.
func CopyBelow(dir, name string, perm fs.FileMode, write func(io.Writer) error) error {
	p, err := placeOf(filepath.Join(dir, filepath.FromSlash(name)), dir, dirMode(perm))
	if err != nil {
		return err
	}
	defer p.dir.Close()
	if info, err := p.look(); err != nil {
		return err
	} else if info != nil && device(info) {
		return p.refuse(info)
	}
	return p.fill(write, perm, p.dir.Rename)
}

// Update is [WriteBelow] for a file that all may read, and leaves one alone that has these bytes.
func Update(dir, name string, data []byte) error {
	old, err := Read(filepath.Join(dir, filepath.FromSlash(name)), int64(len(data)))
	if err == nil && string(old) == string(data) {
		return nil
	}
	return WriteBelow(dir, name, data, 0o644)
}

// Create is [Write] for a file that must not be there; else the error is
// [fs.ErrExist].
func Create(path string, data []byte, perm fs.FileMode) error {
	p, err := placeOf(path, "", 0)
	if err != nil {
		return err
	}
	defer p.dir.Close()
	return p.fill(whole(data), perm, p.give)
}

// WriteIn writes a file below a directory that is reached as the user set it up, such
// as the program's state or the top of a work tree: only links below it are not
// followed. Directories are made.
func WriteIn(dir, name string, data []byte, perm fs.FileMode) error {
	p, err := placeIn(dir, name, perm)
	if err != nil {
		return err
	}
	defer p.dir.Close()
	return p.write(whole(data), perm)
}

// CreateIn is [WriteIn] for a file that must not be there; else the error is
// [fs.ErrExist].
func CreateIn(dir, name string, data []byte, perm fs.FileMode) error {
	p, err := placeIn(dir, name, perm)
	if err != nil {
		return err
	}
	defer p.dir.Close()
	return p.fill(whole(data), perm, p.give)
}

// Append lets add write at the end of a regular file, which it may also read, or of a
// new one, or to a device. Links are treated as by [Write].
func Append(path string, perm fs.FileMode, add func(*os.File) error) error {
	if stream, done := streamOf(path); stream != nil {
		return errors.Join(add(stream), done())
	}
	p, err := placeOf(path, "", 0)
	if err != nil {
		return err
	}
	defer p.dir.Close()
	var f *os.File
	info, err := p.dir.Lstat(p.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f, err = p.dir.OpenFile(p.name, os.O_APPEND|os.O_CREATE|os.O_EXCL|os.O_RDWR, perm)
	case err != nil:
	case device(info):
		f, err = p.open(info, os.O_WRONLY)
	case info.Mode().IsRegular():
		f, err = p.open(info, os.O_APPEND|os.O_RDWR)
	default:
		err = p.refuse(info)
	}
	if err != nil {
		return err
	}
	return errors.Join(add(f), f.Close())
}

// Dir opens a directory in which files are to be written, and makes it if it is not
// there. Links are treated as by [Write].
func Dir(path string, perm fs.FileMode) (*os.Root, error) {
	p, err := placeOf(filepath.Join(path, "x"), "", perm)
	if err != nil {
		return nil, err
	}
	return p.dir, nil
}

// DirBelow is [Dir] for a directory below one that the user named, in which no link is
// followed.
func DirBelow(dir, name string, perm fs.FileMode) (*os.Root, error) {
	p, err := placeOf(filepath.Join(dir, filepath.FromSlash(name), "x"), dir, perm)
	if err != nil {
		return nil, err
	}
	return p.dir, nil
}

// place is a name in a directory that is held open, so that nothing can be put in
// its way meanwhile.
type place struct {
	dir  *os.Root
	name string
	path string // for messages
}

// placeOf finds a path without following links that a repository may have brought.
// Directories are made if mode is not 0.
func placeOf(path, within string, mode fs.FileMode) (*place, error) {
	if path == "" {
		return nil, &Refused{`""`, "it is no path"}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if os.IsPathSeparator(path[len(path)-1]) || abs == filepath.Dir(abs) {
		return nil, &Refused{path, "it is a directory"}
	}
	top, err := topOf(abs, within)
	if err != nil {
		return nil, err
	}
	if mode != 0 {
		if err := os.MkdirAll(top, mode); err != nil {
			return nil, err
		}
	}
	p, err := descend(top, abs, mode)
	if p != nil {
		p.path = path
	}
	return p, err
}

func placeIn(dir, name string, perm fs.FileMode) (*place, error) {
	if err := os.MkdirAll(dir, dirMode(perm)); err != nil {
		return nil, err
	}
	return descend(dir, filepath.Join(dir, filepath.FromSlash(name)), dirMode(perm))
}

// topOf returns the highest directory above a file below which links are not to be
// trusted: the working directory, the directory that was named, or one that holds
// .git. Without any it is the one that the file is in.
func topOf(abs, within string) (string, error) {
	top := filepath.Dir(abs)
	take := func(dir string) {
		if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) && dir != filepath.Dir(dir) &&
			len(dir) < len(top) {
			top = dir
		}
	}
	if wd, err := os.Getwd(); err == nil {
		take(wd)
	}
	if within != "" {
		dir, err := filepath.Abs(within)
		if err != nil {
			return "", err
		}
		take(dir)
	}
	for dir := filepath.Dir(abs); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			take(dir)
		}
	}
	return top, nil
}

// descend opens the directory of a path step by step from a directory above it.
func descend(top, path string, mode fs.FileMode) (*place, error) {
	rel, err := filepath.Rel(top, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if !filepath.IsLocal(rel) {
		return nil, &Refused{path, "it is outside of " + top}
	}
	dir, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	at := top
	for part := range strings.SplitSeq(rel, string(filepath.Separator)) {
		if part == "." {
			continue
		}
		at = filepath.Join(at, part)
		next, err := enter(dir, part, at, mode)
		dir.Close()
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return &place{dir, filepath.Base(path), path}, nil
}

func enter(dir *os.Root, name, path string, mode fs.FileMode) (*os.Root, error) {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) && mode != 0 {
		if err := dir.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		info, err = dir.Lstat(name)
	}
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, &Refused{
			path, "it is a symbolic link, through which nothing is written; name the directory that is meant",
		}
	case !info.IsDir():
		return nil, &Refused{path, "it is not a directory"}
	}
	next, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	now, err := next.Stat(".")
	if err == nil && !os.SameFile(info, now) {
		err = &Refused{path, "it was replaced meanwhile"}
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

// write replaces what is there, or writes to it, if that may be.
func (p *place) write(write func(io.Writer) error, perm fs.FileMode) error {
	info, err := p.look()
	if err != nil {
		return err
	}
	if info == nil || !device(info) {
		return p.fill(write, perm, p.dir.Rename)
	}
	f, err := p.open(info, os.O_WRONLY)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// look returns what is there and may be replaced or written to; nil if nothing is.
func (p *place) look() (fs.FileInfo, error) {
	info, err := p.dir.Lstat(p.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil || device(info):
		return info, err
	case !info.Mode().IsRegular():
		return nil, p.refuse(info)
	}
	dir, err := p.dir.Stat(".")
	if err == nil && foreign(info, dir) {
		err = &Refused{p.path, "it belongs to another user, and is not replaced"}
	}
	return info, err
}

// fill lets write write a file under another name, and lets it have its own.
func (p *place) fill(
	write func(io.Writer) error, perm fs.FileMode, give func(from, to string) error,
) error {
	tmp := ".repopolicy-" + rand.Text() + ".tmp"
	f, err := p.dir.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	err = write(f)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = give(tmp, p.name)
	}
	if rerr := p.dir.Remove(tmp); err == nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = rerr
	}
	return err
}

func (p *place) give(from, to string) error { return Give(p.dir, from, to) }

// Give gives a file another name in its directory without replacing what has it;
// the error is then [fs.ErrExist].
func Give(dir *os.Root, from, to string) error {
	err := dir.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without links, where there is no one step that does it.
	if _, serr := dir.Lstat(to); serr == nil {
		return fs.ErrExist
	} else if !errors.Is(serr, fs.ErrNotExist) {
		return err
	}
	return dir.Rename(from, to)
}

// open opens what was looked at, and nothing that took its place.
func (p *place) open(info fs.FileInfo, flag int) (*os.File, error) {
	f, err := p.dir.OpenFile(p.name, flag, 0)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(info, now) {
		err = &Refused{p.path, "it was replaced meanwhile"}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (p *place) refuse(info fs.FileInfo) error {
	switch m := info.Mode(); {
	case m&fs.ModeSymlink != 0:
		return &Refused{p.path, isLink}
	case m.IsDir():
		return &Refused{p.path, "it is a directory"}
	case m&fs.ModeNamedPipe != 0:
		return &Refused{p.path, "it is a named pipe, which is not written to; /dev/stdout is"}
	}
	return &Refused{p.path, "it is not a regular file"}
}

func device(info fs.FileInfo) bool { return info.Mode()&fs.ModeCharDevice != 0 }

// streamOf returns the open file that a path is another name of, and what closes it;
// nil for other paths. The program's own outputs stay open.
func streamOf(path string) (*os.File, func() error) {
	stays := func() error { return nil }
	if runtime.GOOS == "windows" {
		return nil, stays
	}
	switch clean := filepath.Clean(path); clean {
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
		return os.Stdout, stays
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2":
		return os.Stderr, stays
	default:
		if dir := filepath.Dir(clean); dir != "/dev/fd" && dir != "/proc/self/fd" {
			return nil, stays
		}
		f, err := os.OpenFile(clean, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return nil, stays
		}
		return f, f.Close
	}
}

// dirMode is the mode of directories for files of a mode.
func dirMode(perm fs.FileMode) fs.FileMode { return perm | perm>>2&0o111 }
