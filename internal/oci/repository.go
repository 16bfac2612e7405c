// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/web"
)

// maxPages is how many pages of a list of referrers are read.
const maxPages = 10

// Repository is a repository of a registry.
type Repository struct{ Remote *remote.Repository }

// Connect returns the repository that a reference names, whatever tag or digest it has.
// Credential says how to log in at a host; nil reads as anybody.
func Connect(ref registry.Reference, client *http.Client, credential auth.CredentialFunc) *Repository {
	return &Repository{&remote.Repository{
		Reference: registry.Reference{Registry: ref.Registry, Repository: ref.Repository},
		PlainHTTP: web.Loopback(ref.Host()),
		Client:    &auth.Client{Client: client, Cache: auth.NewCache(), Credential: credential},

		MaxMetadataBytes: MaxManifestBytes, ReferrerListMaxPages: maxPages, SkipReferrersGC: true,
	}}
}

// ParseReference reads REGISTRY/NAME, with a tag or a digest or without one.
func ParseReference(text string) (registry.Reference, error) {
	ref, err := registry.ParseReference(text)
	if err != nil {
		return ref, err
	}
	// The library looks at it in a URL of no known scheme, of which net/url asks less.
	if u, err := url.Parse("https://" + ref.Registry); err != nil || u.Host != ref.Registry {
		return registry.Reference{}, fmt.Errorf("%q is no registry", clip.Text(ref.Registry))
	}
	return ref, nil
}

// Resolve returns the manifest that a tag or digest names, and its descriptor. The error wraps
// errdef.ErrNotFound if there is none.
func (r *Repository) Resolve(ctx context.Context, reference string) (Descriptor, []byte, error) {
	found, body, err := r.Remote.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return Descriptor{}, nil, err
	}
	defer body.Close()
	d, err := fromRemote(found)
	if err != nil {
		return Descriptor{}, nil, err
	}
	data, err := Read(body, d, MaxManifestBytes)
	return d, data, err
}

// Manifest returns a manifest.
func (r *Repository) Manifest(ctx context.Context, d Descriptor) ([]byte, error) {
	return r.fetch(ctx, d, MaxManifestBytes, r.Remote.Manifests().Fetch)
}

// Blob returns a blob of at most limit bytes.
func (r *Repository) Blob(ctx context.Context, d Descriptor, limit int64) ([]byte, error) {
	return r.fetch(ctx, d, limit, r.Remote.Blobs().Fetch)
}

type fetcher func(context.Context, ocispec.Descriptor) (io.ReadCloser, error)

func (r *Repository) fetch(ctx context.Context, d Descriptor, limit int64, fetch fetcher) ([]byte, error) {
	if err := d.fits(limit); err != nil {
		return nil, err
	}
	body, err := fetch(ctx, toRemote(d))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return Read(body, d, limit)
}

// Referrers returns the wanted ones of what is attached to a manifest, as the registry lists
// it; each of them has still to say that it is. It returns at most so many, and with more of
// them an error, too.
func (r *Repository) Referrers(
	ctx context.Context, to Descriptor, most int, wanted func(artifactType string) bool,
) (out []Descriptor, err error) {
	err = r.Remote.Referrers(ctx, toRemote(to), "", func(page []ocispec.Descriptor) error {
		for _, found := range page {
			if !wanted(found.ArtifactType) {
				continue
			}
			if len(out) == most {
				return fmt.Errorf("more than %d referrers", most)
			}
			d, err := fromRemote(found)
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		return nil
	})
	return out, err
}

func fromRemote(d ocispec.Descriptor) (Descriptor, error) {
	sum, err := ParseDigest(d.Digest.String())
	return Descriptor{
		MediaType: d.MediaType, ArtifactType: d.ArtifactType, Digest: sum, Size: d.Size, Annotations: d.Annotations,
	}, err
}

func toRemote(d Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest.String()), Size: d.Size}
}

// LoginRefused reports whether an error is that a registry or its token service shows something to
// nobody who is not logged in, or not to who is.
func LoginRefused(err error) bool {
	var answer *errcode.ErrorResponse
	var status *web.StatusError
	code := 0
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return true
	case errors.As(err, &answer):
		code = answer.StatusCode
	case errors.As(err, &status) && !status.Limited:
		code = status.Code
	}
	return code == http.StatusUnauthorized || code == http.StatusForbidden
}
