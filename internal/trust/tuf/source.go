// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"github.com/repopolicy/repopolicy/internal/web"
)

// Source is where a TUF repository's files come from. What is missing is an error that is fs.ErrNotExist.
//
// Nothing that a source returns is trusted. Names are as in the metadata: the
// first is one path element, whatever characters a role's name has in it, and a
// source encodes what its own addresses cannot hold.
type Source interface {
	// "3.root.json", "timestamp.json", "7.snapshot.json"
	Metadata(ctx context.Context, name string, limit int64) ([]byte, error)
	// "<sha256>.name" with the hash prefix in the last path element
	Target(ctx context.Context, path string, limit int64) ([]byte, error)
}

// HTTP returns the source of a repository whose metadata and targets lie below
// the base URLs of two clients, which may be the same one.
func HTTP(metadata, targets *web.Client) Opener { return &httpSource{metadata, targets} }

type httpSource struct{ metadata, targets *web.Client }

func (s *httpSource) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	return get(ctx, s.metadata, url.PathEscape(name), limit)
}

func (s *httpSource) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	return get(ctx, s.targets, escaped(path), limit)
}

// Open implements [Opener].
func (s *httpSource) Open(ctx context.Context, path string, from, size int64) (io.ReadCloser, int64, error) {
	d, start, err := s.targets.OpenAt(ctx, escaped(path), from, size)
	if err != nil {
		return nil, 0, gone(err)
	}
	return d, start, nil
}

// escaped is a path of a target in a URL.
func escaped(path string) string {
	elements := strings.Split(path, "/")
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return strings.Join(elements, "/")
}

func get(ctx context.Context, c *web.Client, path string, limit int64) ([]byte, error) {
	data, err := c.Get(ctx, path, limit)
	return data, gone(err)
}

// gone takes 403 for 404: object storage answers so where names are not listed,
// and who may answer the one may answer the other.
func gone(err error) error {
	var status *web.StatusError
	if errors.As(err, &status) && (status.Missing() || status.Code == 403 && !status.Limited) {
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return err
}

// FS returns the source of a repository whose metadata and targets are files,
// such as a directory's (file.FS, in which no device or pipe is opened). Names of metadata are percent-encoded where
// they are not file names.
func FS(metadata, targets fs.FS) Opener { return &fsSource{metadata, targets} }

type fsSource struct{ metadata, targets fs.FS }

func (s *fsSource) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	return open(ctx, s.metadata, url.PathEscape(name), limit)
}

func (s *fsSource) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	return open(ctx, s.targets, path, limit)
}

// Open implements [Opener].
func (s *fsSource) Open(ctx context.Context, path string, from, _ int64) (io.ReadCloser, int64, error) {
	f, err := regular(ctx, s.targets, path)
	if err != nil {
		return nil, 0, err
	}
	if seeker, ok := f.(io.Seeker); ok {
		if _, err := seeker.Seek(from, io.SeekStart); err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, from, nil
	}
	return f, 0, nil
}

// regular opens a regular file.
func regular(ctx context.Context, from fs.FS, name string) (fs.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := from.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func open(ctx context.Context, from fs.FS, name string, limit int64) ([]byte, error) {
	f, err := regular(ctx, from, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: %w: more than %d bytes", name, web.ErrTooLarge, limit)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
