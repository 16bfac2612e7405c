// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/repopolicy/repopolicy/internal/file"
)

// Content is a target of any size, which is read when it is needed.
type Content struct {
	Size   int64
	SHA256 [sha256.Size]byte
	Open   func() (io.ReadCloser, error)
}

// Bytes returns content that is in memory.
func Bytes(data []byte) Content {
	return Content{int64(len(data)), sha256.Sum256(data), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

// Read returns the content, of at most limit bytes.
func (c Content) Read(limit int64) ([]byte, error) {
	if c.Size > limit {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", c.Size, limit)
	}
	var out bytes.Buffer
	err := c.copy(&out)
	return out.Bytes(), err
}

// copy writes the content. The error tells content of another length or digest.
func (c Content) copy(to io.Writer) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(r, c.Size+1))
	switch {
	case err != nil:
		return err
	case n != c.Size:
		return fmt.Errorf("it is not of %d bytes any more", c.Size)
	case [sha256.Size]byte(h.Sum(nil)) != c.SHA256:
		return fmt.Errorf("its digest is not %s any more", hex.EncodeToString(c.SHA256[:]))
	}
	return nil
}

// Is reports whether a file has this content.
func (c Content) Is(path string) bool {
	f, err := file.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != c.Size {
		return false
	}
	there := Content{c.Size, c.SHA256, func() (io.ReadCloser, error) { return io.NopCloser(f), nil }}
	return there.copy(io.Discard) == nil
}

// Update writes the content below a directory, unless it is there, in one step.
func (c Content) Update(dir, name string) error {
	if c.Is(filepath.Join(dir, filepath.FromSlash(name))) {
		return nil
	}
	return file.CopyBelow(dir, name, 0o644, c.copy)
}

// Link gives a file below a directory, which has the content, another name there, or writes a copy where there are no
// links. What has the name and is another file is replaced, unless it has the content.
func (c Content) Link(dir, from, to string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	source, err := root.Lstat(filepath.FromSlash(from))
	if err != nil || !source.Mode().IsRegular() {
		return c.Update(dir, to)
	}
	switch there, err := root.Lstat(filepath.FromSlash(to)); {
	case err == nil && os.SameFile(source, there):
		return nil
	case err == nil || root.Link(filepath.FromSlash(from), filepath.FromSlash(to)) != nil:
		return c.Update(dir, to)
	}
	return nil
}

// descriptor describes the content for a manifest.
func (c Content) descriptor(mediaType string) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: mediaType, Digest: digest.NewDigestFromBytes(digest.SHA256, c.SHA256[:]), Size: c.Size,
	}
}

// OnDisk returns the content of a file below a directory, of which size and digest are known.
func OnDisk(dir, name string, size int64, sum [sha256.Size]byte) Content {
	return Content{size, sum, func() (io.ReadCloser, error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return file.OpenIn(root, filepath.FromSlash(name))
	}}
}
