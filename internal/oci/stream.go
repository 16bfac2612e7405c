// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/web"
)

// Open returns the content of a blob of any size from a byte on, or from its first where the registry sends
// no parts; start says which. Nothing of it is verified: who reads it compares it with a digest, and reads
// no more than there is. The client of the repository must be one of [web.Stream].
func (r *Repository) Open(ctx context.Context, d Descriptor, from int64) (body io.ReadCloser, start int64, err error) {
	ref := r.Remote.Reference
	scheme := "https"
	if r.Remote.PlainHTTP {
		scheme = "http"
	}
	address := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", scheme, ref.Host(), ref.Repository, d.Digest)
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, err
	}
	web.Range(req, from)
	resp, err := r.Remote.Client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		if start, err = web.StartOf(resp, from, d.Size); err == nil {
			return resp.Body, start, nil
		}
	case http.StatusNotFound:
		err = errdef.ErrNotFound
	case http.StatusRequestedRangeNotSatisfiable:
		if from > 0 {
			resp.Body.Close()
			return r.Open(ctx, d, 0)
		}
		fallthrough
	default:
		err = &web.StatusError{URL: address, Code: resp.StatusCode}
	}
	resp.Body.Close()
	return nil, 0, fmt.Errorf("%s: %w", d.Digest, err)
}

// Open returns the content of a blob of any size from a byte on. Nothing of it is verified but its size.
func (l *Layout) Open(ctx context.Context, d Descriptor, from int64) (body io.ReadCloser, start int64, err error) {
	f, err := l.open(d)
	if err != nil {
		return nil, 0, err
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		f.Close()
		return nil, 0, err
	}
	return struct {
		io.Reader
		io.Closer
	}{contextReader{ctx, f}, f}, from, nil
}
