// SPDX-License-Identifier: Apache-2.0

// Package trust finds the trusted roots under which evidence is verified. Trust
// comes from the user's flags and the roots that are built in; nothing in the
// environment, the working directory or what is verified adds to it.
package trust

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// Root is a trusted root with what comes from the same place.
type Root struct {
	*sigstore.Root
	Forges    *bindings.Forges    // nil for the table that is built in
	Directory *answers.Descriptor // nil without one
	// Identity stays when the root changes: the name of the instance, or the hex digest
	// of the metadata that the root was followed from; "" for a file.
	Identity string
	// Newest is the hex digest of the newest root metadata; "" for a root that is not
	// followed by a configuration.
	Newest string
	// By names who introduced the root (SPEC 17.3), the nearest first; none for one that the
	// user named. Own is its name in the user's map then; "" if it has none there.
	By  []string
	Own string
	// Notes are what should be known of how the root was found, a line each.
	Notes []string
}

// Is reports whether two roots are the same one, as far as their metadata shows, or have a
// certificate authority in common: they do not count for two then.
func (r Root) Is(other Root) bool {
	return r.Identity != "" && r.Identity == other.Identity || r.Newest != "" && r.Newest == other.Newest ||
		r.Digest() == other.Digest() || r.Shares(other.Root)
}

// Plain returns the trusted roots alone.
func Plain(roots []Root) []*sigstore.Root {
	out := make([]*sigstore.Root, len(roots))
	for i, r := range roots {
		out[i] = r.Root
	}
	return out
}

// Options say where roots come from.
type Options struct {
	Files     []string // trusted_root.json files; if there are any, nothing else is trusted
	Instance  Instance // built-in instance otherwise; "" is the public-good one
	Cache     string   // directory for TUF metadata; "" keeps nothing
	Offline   bool     // do not use the network
	UserAgent string
	Now       func() time.Time  // for the expiry of TUF metadata
	Transport http.RoundTripper // nil for the default one
	// Credential returns how to log in at a registry; nil asks as anybody.
	Credential func(ctx context.Context, host string) (auth.Credential, error)
	Hosts      []string // beside a registry's own that it may send its clients to
	Fresh      bool     // ask for newer metadata, however new that in the cache is
	// Followed, if set, is called with the role whose metadata expires first.
	Followed func(role string, h tuf.Header)
	// Identities opens the trusted root of a name, under which keys that are OIDC
	// identities sign; nil if there are to be none.
	Identities func(ctx context.Context, name string) (*sigstore.Root, error)
	// Source, if set, is where the TUF repository's files come from, whatever its
	// address.
	Source tuf.Source
	// Record, if set, is called with each file of the TUF repository that was read, by
	// its name in the source.
	Record func(target bool, name string, data []byte)
	// Introduced, if set, returns the same two for a root that was introduced: the first
	// one's depth is 1. Without a source the root is asked where its introduction says.
	Introduced func(depth int) (tuf.Source, func(target bool, name string, data []byte))

	keyTypes map[string]tuf.KeyType // beside those that are built in
}

// Roots returns the trusted roots of the options. Each is to be used alone: a
// certificate of one with a log entry of another is worth nothing. The error is
// a [*sigstore.Error].
func Roots(ctx context.Context, o Options) ([]Root, error) {
	if len(o.Files) == 0 {
		r, err := o.Instance.root(ctx, o)
		if err != nil {
			return nil, err
		}
		return []Root{r}, nil
	}
	var out []Root
	for _, path := range o.Files {
		data, err := file.Read(path, sigstore.MaxRootBytes)
		if err != nil {
			return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: err}
		}
		lines := documents(data)
		for i, doc := range lines {
			name := path
			if len(lines) > 1 {
				name = fmt.Sprintf("%s:%d", path, i+1)
			}
			r, err := sigstore.ParseRoot(name, doc)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, Root{Root: r})
		}
	}
	return out, nil
}

// maxLines is how many trusted roots a file of JSON lines holds at most.
const maxLines = 16

// documents returns the documents of a file: its lines if it is JSON lines, as
// `gh attestation trusted-root` prints them, else the file.
func documents(data []byte) [][]byte {
	lines := bytes.SplitN(bytes.TrimSpace(data), []byte("\n"), maxLines+1)
	if len(lines) == 1 || len(lines) > maxLines ||
		slices.ContainsFunc(lines, func(line []byte) bool { return !json.Valid(line) || line[0] != '{' }) {
		return [][]byte{data}
	}
	return lines
}

// SigningConfigs returns the signing configs of an instance: the one that names
// the services of Rekor v1, and with v2 also the one that names those of Rekor v2.
// Errors are those of [Roots].
func SigningConfigs(ctx context.Context, o Options, v2 bool) ([][]byte, error) {
	names := []string{SigningConfigTarget}
	if v2 {
		names = append(names, SigningConfigV2Target)
	}
	var out [][]byte
	err := o.Instance.with(ctx, o, func(c *tuf.Client) error {
		for _, name := range names {
			data, err := c.Target(ctx, name)
			if err != nil {
				return missing(err)
			}
			out = append(out, data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func missing(err error) error { return &sigstore.Error{Reason: policy.TrustRootMissing, Err: err} }

// name is what a trusted root of an instance is called.
func (i Instance) name() string { return string(cmp.Or(i, PublicGood)) }
