// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"oras.land/oras-go/v2/errdef"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// Files of a layout, and the one version that is known.
const (
	LayoutFile = "oci-layout"
	IndexFile  = "index.json"

	layoutVersion = "1.0.0"
)

// Layout is an image layout directory. No link leads out of it.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
type Layout struct{ Root *os.Root }

// IsLayout reports whether a directory says that it is a layout.
func IsLayout(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, LayoutFile))
	return err == nil && info.Mode().IsRegular()
}

// OpenLayout opens a layout of the known version. Whoever opens it closes it.
func OpenLayout(dir string) (*Layout, error) {
	root, err := os.OpenRoot(dir) // one directory, whatever a link on the way becomes
	if err != nil {
		return nil, err
	}
	l := &Layout{root}
	if err := l.checkVersion(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

func (l *Layout) checkVersion() error {
	data, err := file.ReadIn(l.Root, LayoutFile, MaxManifestBytes)
	if err != nil {
		return err
	}
	o, err := strictjson.Members(data)
	if err != nil {
		return fmt.Errorf("%s: %w", LayoutFile, err)
	}
	if v, err := strictjson.Text(o, "imageLayoutVersion"); err != nil || v != layoutVersion {
		return fmt.Errorf("%s: version %q, %s is known", LayoutFile, clip.Text(v), layoutVersion)
	}
	return nil
}

// Close ends the use of the layout.
func (l *Layout) Close() error { return l.Root.Close() }

// Index returns what the layout lists.
func (l *Layout) Index() ([]Descriptor, error) {
	data, err := file.ReadIn(l.Root, IndexFile, MaxManifestBytes)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err == nil && !m.IsIndex {
		err = errors.New("it lists no manifests")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", IndexFile, err)
	}
	return m.Manifests, nil
}

// BlobPath returns where a blob lies in a layout.
func BlobPath(d policy.Digest) string { return path.Join("blobs", d.Alg, d.Hex) }

// open opens a blob that has the size that is said.
func (l *Layout) open(d Descriptor) (*os.File, error) {
	name := BlobPath(d.Digest)
	f, err := file.OpenIn(l.Root, name)
	if errors.Is(err, fs.ErrNotExist) { // what is listed is not missing but lost
		return nil, fmt.Errorf("%s: %w", name, errdef.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != d.Size {
		err = fmt.Errorf("%s has %d bytes, the manifest says %d", name, info.Size(), d.Size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Describe returns the descriptor of a manifest, whether the layout lists it or not.
func (l *Layout) Describe(d policy.Digest) (Descriptor, error) {
	info, err := l.Root.Stat(BlobPath(d))
	if err != nil {
		return Descriptor{}, err
	}
	return Descriptor{MediaType: TypeImage, Digest: d, Size: info.Size()}, nil
}

// Manifest returns a manifest.
func (l *Layout) Manifest(ctx context.Context, d Descriptor) ([]byte, error) {
	return l.Blob(ctx, d, MaxManifestBytes)
}

// Blob returns a blob of at most limit bytes.
func (l *Layout) Blob(_ context.Context, d Descriptor, limit int64) ([]byte, error) {
	if err := d.fits(limit); err != nil {
		return nil, err
	}
	f, err := l.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f, d, limit)
}

// Check reads a blob of any size, and compares it with its descriptor.
func (l *Layout) Check(ctx context.Context, d Descriptor) error {
	f, err := l.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	v := d.verifier()
	if _, err := io.Copy(v, contextReader{ctx, f}); err != nil {
		return err
	}
	return d.verified(v)
}

// contextReader ends reading with a context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
