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
func HTTP(metadata, targets *web.Client) Source { return &httpSource{metadata, targets} }

type httpSource struct{ metadata, targets *web.Client }

func (s *httpSource) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	return get(ctx, s.metadata, url.PathEscape(name), limit)
}

func (s *httpSource) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	elements := strings.Split(path, "/")
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return get(ctx, s.targets, strings.Join(elements, "/"), limit)
}

// get takes 403 for 404: object storage answers so where names are not listed,
// and who may answer the one may answer the other.
func get(ctx context.Context, c *web.Client, path string, limit int64) ([]byte, error) {
	data, err := c.Get(ctx, path, limit)
	var status *web.StatusError
	if errors.As(err, &status) && (status.Missing() || status.Code == 403 && !status.Limited) {
		return nil, fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return data, err
}

// FS returns the source of a repository whose metadata and targets are files,
// such as a directory's (file.FS, in which no device or pipe is opened). Names of metadata are percent-encoded where
// they are not file names.
func FS(metadata, targets fs.FS) Source { return &fsSource{metadata, targets} }

type fsSource struct{ metadata, targets fs.FS }

func (s *fsSource) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	return open(ctx, s.metadata, url.PathEscape(name), limit)
}

func (s *fsSource) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	return open(ctx, s.targets, path, limit)
}

func open(ctx context.Context, from fs.FS, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := from.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: %w: more than %d bytes", name, web.ErrTooLarge, limit)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
