// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// maxRootsSearched is how many versions of a root are read to find the one with a digest.
const maxRootsSearched = 256

// customMember is the member of a target's custom metadata that is ours.
const customMember = "repopolicy"

// ReleaseOf is what a TUF repository says of a target (SPEC 18.6): it is a file of a release of this
// repository, by whose policy it is judged.
type ReleaseOf struct {
	Repository policy.Locator
	Tag        string // "" if it does not say
}

// Custom returns the custom metadata that says so.
func (r ReleaseOf) Custom() json.RawMessage {
	type doc struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag,omitempty"`
	}
	data, err := json.Marshal(map[string]doc{customMember: {r.Repository.String(), r.Tag}})
	if err != nil {
		panic(err) // it is text
	}
	return data
}

// ParseCustom returns what the custom metadata of a target says of its release; nil if it says nothing. What
// it says otherwise and nobody understands is an error: it might demand more.
func ParseCustom(custom json.RawMessage) (*ReleaseOf, error) {
	if custom == nil {
		return nil, nil
	}
	o, err := strictjson.Members(custom)
	if err != nil {
		return nil, fmt.Errorf("custom: %w", err)
	}
	raw, ok := o[customMember]
	if !ok {
		return nil, nil
	}
	at := "custom." + customMember
	if o, err = strictjson.Members(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	for name := range o {
		if name != "repository" && name != "tag" {
			return nil, fmt.Errorf("%s: a member %.80q is not known", at, name)
		}
	}
	text, err := strictjson.Text(o, "repository")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	out := &ReleaseOf{}
	if out.Repository, err = policy.ParseLocator(text); err != nil {
		return nil, fmt.Errorf("%s.repository: %w", at, err)
	}
	if _, ok := o["tag"]; !ok {
		return out, nil
	}
	if out.Tag, err = strictjson.Text(o, "tag"); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if !spelling.ValidTag(out.Tag) {
		return nil, fmt.Errorf("%s.tag: %.80q cannot be a tag", at, out.Tag)
	}
	return out, nil
}

// OfRoot reports whether a path is one of what trust roots say, which clients read by their own rules.
func OfRoot(path string) bool {
	switch path {
	case TrustedRootTarget, SigningConfigTarget, SigningConfigV2Target:
		return true
	}
	return strings.HasPrefix(path, "repopolicy/")
}

// At returns the names of the roots whose TUF repository lies at an address, whatever tag or digest either
// has: the root metadata is that of the repository.
func (c *Config) At(address string) []string {
	if c == nil {
		return nil
	}
	var out []string
	want := whereabouts(address, "")
	for _, r := range c.Roots {
		if whereabouts(r.URL, c.Dir) == want {
			out = append(out, r.Name)
		}
	}
	return out
}

// whereabouts is an address in one spelling. Paths start from dir, the working directory if that is "".
func whereabouts(address, dir string) string {
	layout := strings.HasPrefix(address, oci.SchemeLayout)
	switch {
	case oci.IsReference(address):
		ref, err := oci.ParseReference(address)
		if err != nil {
			return address
		}
		if !layout {
			return oci.SchemeRegistry + ref.Host + "/" + ref.Name
		}
		address = ref.Layout
	case !local(address):
		u, err := url.Parse(address)
		if err != nil {
			return address
		}
		return strings.ToLower(u.Scheme+"://"+u.Host) + strings.TrimRight(u.EscapedPath(), "/")
	}
	if !filepath.IsAbs(address) {
		address = filepath.Join(dir, address)
	}
	if abs, err := filepath.Abs(address); err == nil {
		address = abs
	}
	if layout {
		return oci.SchemeLayout + address
	}
	return address
}

// Follow follows the TUF repository of a root of the configuration to its newest metadata and calls use. It is
// read at address, or where the configuration says if that is "". The error is a [*sigstore.Error], or what
// use returned.
func (c *Config) Follow(
	ctx context.Context, name, address string, o Options, use func(*tuf.Client) error,
) error {
	if address != "" {
		s, done, err := source(ctx, address, o)
		if err != nil {
			return missing(err)
		}
		defer done()
		o.Source = s
	}
	return c.with(ctx, name, o, func(_ []byte, client *tuf.Client) error { return use(client) })
}

// FollowFrom follows the TUF repository at an address from root metadata that the user named, and calls use.
// Errors are those of [Config.Follow].
func FollowFrom(ctx context.Context, root []byte, address string, o Options, use func(*tuf.Client) error) error {
	o.keyTypes = Identities(ctx, string(PublicGood), o.Identities)
	return follow(ctx, root, address, o, use)
}

// PinOf returns the root metadata with a hex SHA-256 of the TUF repository at an address: whoever knows that
// digest trusts these bytes, wherever they come from. The error is a [*sigstore.Error].
func PinOf(ctx context.Context, sum, address string, o Options) ([]byte, error) {
	s, done, err := source(ctx, address, o)
	if err != nil {
		return nil, missing(err)
	}
	defer done()
	for version := range maxRootsSearched {
		name := fmt.Sprintf("%d.root.json", version+1)
		data, err := s.Metadata(ctx, name, sigstore.MaxRootBytes)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, missing(fmt.Errorf("%s: %w", name, err))
		}
		if spelling.Sum(data) == sum {
			return data, nil
		}
	}
	return nil, missing(fmt.Errorf("%s has no root metadata with the digest sha256:%s", address, sum))
}
