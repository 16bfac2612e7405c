// SPDX-License-Identifier: Apache-2.0

// Package trust finds the trusted roots under which evidence is verified. Trust
// comes from the user's flags and the roots that are built in; nothing in the
// environment, the working directory or what is verified adds to it.
package trust

import (
	"context"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Options say where roots come from.
type Options struct {
	Files     []string          // trusted_root.json files; if there are any, nothing else is trusted
	Instance  sigstore.Instance // built-in instance otherwise; "" is the public-good one
	Cache     string            // directory for TUF metadata; "" keeps nothing
	Offline   bool              // do not use the network
	UserAgent string
}

// Roots returns the trusted roots of the options. Each is to be used alone: a
// certificate of one with a log entry of another is worth nothing. The error is
// a [*sigstore.Error].
func Roots(ctx context.Context, o Options) ([]*sigstore.Root, error) {
	if len(o.Files) == 0 {
		if o.Instance == "" {
			o.Instance = sigstore.PublicGood
		}
		r, err := sigstore.FetchRoot(ctx, sigstore.TUFOptions{Instance: o.Instance, Cache: o.Cache, Offline: o.Offline, UserAgent: o.UserAgent})
		if err != nil {
			return nil, err
		}
		return []*sigstore.Root{r}, nil
	}
	var out []*sigstore.Root
	for _, path := range o.Files {
		data, err := file.Read(path, sigstore.MaxRootBytes)
		if err != nil {
			return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: err}
		}
		r, err := sigstore.ParseRoot(path, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, r)
	}
	return out, nil
}
