// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/policy"
)

// Folder is where artifacts are kept that are downloaded to be judged: the bytes that
// are judged are those that are written. The zero value keeps nothing.
type Folder struct {
	dir  string
	root *os.Root // of dir, once files are written to it

	mu   sync.Mutex
	kept []*download // that were read to their end
}

// NewFolder returns a folder that keeps files in a directory; "" keeps none.
func NewFolder(dir string) *Folder { return &Folder{dir: dir} }

// Keep returns the place with every file kept that is opened. Each file can be
// opened once: what was judged and what was kept cannot be two readings.
func (f *Folder) Keep(p release.Place) release.Place {
	return &keeper{Place: p, folder: f, opened: map[string]bool{}}
}

// open opens the directory, or makes it.
func (f *Folder) open() (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.root == nil {
		f.root, err = file.Dir(f.dir, 0o755)
	}
	return err
}

// temporary makes a file that has no name yet.
func (f *Folder) temporary() (*os.File, error) {
	if err := f.open(); err != nil {
		return nil, err
	}
	return f.root.OpenFile(".repopolicy-"+rand.Text(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

func (d *download) remove() { _ = d.folder.root.Remove(filepath.Base(d.file.Name())) }

type keeper struct {
	release.Place
	folder *Folder

	mu     sync.Mutex
	opened map[string]bool
}

// Open implements release.Place.
func (k *keeper) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	k.mu.Lock()
	again := k.opened[name]
	k.opened[name] = true
	k.mu.Unlock()
	if again {
		return nil, fmt.Errorf("%s is read once", k.URL(name))
	}
	content, err := k.Place.Open(ctx, name)
	if err != nil || k.folder.dir == "" {
		return content, err
	}
	tmp, err := k.folder.temporary()
	if err != nil {
		content.Close()
		return nil, err
	}
	return &download{content: content, file: tmp, sum: sha256.New(), folder: k.folder, name: name, url: k.URL(name)}, nil
}

// download writes what is read.
type download struct {
	content   io.ReadCloser
	file      *os.File
	sum       hash.Hash
	folder    *Folder
	name, url string
	whole     bool
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.content.Read(p)
	if n > 0 {
		d.sum.Write(p[:n])
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
		d.remove()
		return err
	}
	d.folder.mu.Lock()
	defer d.folder.mu.Unlock()
	d.folder.kept = append(d.folder.kept, d)
	return nil
}

// Taken reports whether something has a name in the directory, which need not be there.
func (f *Folder) Taken(name string) bool {
	_, err := os.Lstat(filepath.Join(f.dir, name))
	return f.dir != "" && err == nil
}

// Vacant makes sure that nothing is in the way of what would be written, and that no
// two inputs would be written to one name.
func (f *Folder) Vacant(inputs []*release.Input) error {
	if f.dir == "" {
		return nil
	}
	if !slices.ContainsFunc(inputs, func(in *release.Input) bool {
		return in.Artifact.Place != nil || in.Artifact.Err != nil
	}) {
		return errors.New("no argument is the URL of a release or a package")
	}
	if err := f.open(); err != nil {
		return err
	}
	from := map[string]string{}
	for _, in := range inputs {
		a := in.Artifact
		if a.Place == nil {
			continue
		}
		url, path := a.Place.URL(a.Name), filepath.Join(f.dir, a.Name)
		if other := from[a.Name]; other != "" && other != url {
			return fmt.Errorf("%s and %s would both be written to %s", other, url, path)
		}
		from[a.Name] = url
		if _, err := f.root.Lstat(a.Name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already", path)
		}
	}
	return nil
}

// Deliver gives what was kept its names if the account allows everything, and
// removes it otherwise. A nil account allows nothing. Whatever was kept must be what
// a permitted verdict is about, by its SHA-256.
func (f *Folder) Deliver(a *Account) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		for _, d := range f.kept {
			d.remove()
		}
		if f.kept = nil; f.root != nil {
			f.root.Close()
			f.root = nil
		}
	}()
	if a == nil || a.Class() != policy.ClassOK {
		return nil
	}
	f.kept = slices.DeleteFunc(f.kept, func(d *download) bool {
		if a.isSide(d.url) {
			d.remove()
			return true
		}
		return false
	})
	for _, d := range f.kept {
		if !a.allows(d.url, hex.EncodeToString(d.sum.Sum(nil))) {
			return fmt.Errorf("%s: what was written is not what was allowed", d.url)
		}
	}
	for _, d := range f.kept {
		if err := file.Give(f.root, filepath.Base(d.file.Name()), d.name); err != nil {
			return err
		}
	}
	return nil
}

// isSide reports whether a file of a place is a side file, which nobody vouches for.
func (a *Account) isSide(url string) bool {
	return slices.ContainsFunc(a.entries, func(e Entry) bool {
		return e.Fate == SideFile && e.artifact.Place != nil && e.artifact.Place.URL(e.artifact.Name) == url
	})
}

// allows reports whether a file of a place was permitted with that hex SHA-256.
func (a *Account) allows(url, sum string) bool {
	return slices.ContainsFunc(a.entries, func(e Entry) bool {
		r := e.Result
		return e.Fate == Judged && r.Class() == policy.ClassOK && r.Artifact.Place != nil &&
			r.Artifact.Place.URL(r.Artifact.Name) == url &&
			slices.Contains(r.Digests, policy.Digest{Alg: "sha256", Hex: sum})
	})
}
