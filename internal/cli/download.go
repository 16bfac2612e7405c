// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/release"
)

// downloads is a place whose files are kept in a directory as they are read: the
// bytes that are judged are those that are written.
type downloads struct {
	release.Place
	dir string // "" keeps nothing

	mu   sync.Mutex
	kept map[string]string // name to temporary file, of what was read to its end
}

// Open implements release.Place.
func (d *downloads) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	content, err := d.Place.Open(ctx, name)
	if err != nil || d.dir == "" {
		return content, err
	}
	f, err := os.CreateTemp(d.dir, ".repopolicy-*")
	if err != nil {
		content.Close()
		return nil, err
	}
	return &download{content: content, file: f, done: func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.kept == nil {
			d.kept = map[string]string{}
		}
		if before := d.kept[name]; before != "" {
			os.Remove(before)
		}
		d.kept[name] = f.Name()
	}}, nil
}

// download writes what is read.
type download struct {
	content io.ReadCloser
	file    *os.File
	done    func()
	whole   bool
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.content.Read(p)
	if n > 0 {
		if _, werr := d.file.Write(p[:n]); werr != nil {
			return n, werr
		}
	}
	d.whole = err == io.EOF
	return n, err
}

func (d *download) Close() error {
	err := errors.Join(d.content.Close(), d.file.Chmod(0o644), d.file.Sync(), d.file.Close())
	if err != nil || !d.whole {
		os.Remove(d.file.Name())
		return err
	}
	d.done()
	return nil
}

// vacant makes sure that nothing is in the way of what would be written.
func vacant(dir string, artifacts []*release.Artifact) error {
	if dir == "" {
		return nil
	}
	if !slices.ContainsFunc(artifacts, func(a *release.Artifact) bool { return a.Place != nil || a.Err != nil }) {
		return faultf(policy.Usage, "--download: no argument is the URL of a release or a package")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return faultf(policy.Usage, "--download: %s", err)
	}
	for _, a := range artifacts {
		if a.Place == nil {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, a.Name)); !errors.Is(err, fs.ErrNotExist) {
			return faultf(policy.Usage, "--download: %s is there already", filepath.Join(dir, a.Name))
		}
	}
	return nil
}

// deliver gives what was allowed its names, if ok, and removes the rest.
func (p *publication) deliver(ok bool) error {
	var errs []error
	for _, d := range p.all {
		for name, tmp := range d.kept {
			if ok {
				errs = append(errs, give(tmp, filepath.Join(d.dir, name)))
			}
			if err := os.Remove(tmp); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return faultf(policy.ArtifactRead, "--download: %s", err)
	}
	return nil
}

// give gives a file its name, without replacing what has it.
func give(tmp, path string) error {
	err := os.Link(tmp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without links, where there is no one step that does it.
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fs.ErrExist
	}
	return os.Rename(tmp, path)
}
