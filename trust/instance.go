// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
	"github.com/repopolicy/repopolicy/trust/tuf"
)

// The targets of a TUF repository that is a trust root.
const (
	TrustedRootTarget     = "trusted_root.json"
	SigningConfigTarget   = "signing_config.v0.2.json"          // services of Rekor v1
	SigningConfigV2Target = "signing_config_rekor_v2.v0.2.json" // services of Rekor v2
	ForgesTarget          = rekorbind.ForgesTarget              // optional
)

// cacheAge is how long a trust root is used without asking for a newer one.
const cacheAge = 24 * time.Hour

// Instance is one of Sigstore's own deployments.
type Instance string

// The instances whose TUF root is built in.
const (
	PublicGood Instance = "public-good"
	Staging    Instance = "staging"
)

// The built-in roots are the ones that sigstore-go v1.3.0 embeds: root 14 of the
// public instance, and root 13 of the staging one.
var (
	//go:embed pinned/public-good.root.json
	publicGoodRoot []byte
	//go:embed pinned/staging.root.json
	stagingRoot []byte
)

// pin returns the root that an instance is followed from, and its address.
func (i Instance) pin() (root []byte, address string, err error) {
	switch i {
	case PublicGood, "":
		return publicGoodRoot, "https://tuf-repo-cdn.sigstore.dev", nil
	case Staging:
		return stagingRoot, "https://tuf-repo-cdn.sigstage.dev", nil
	}
	return nil, "", fmt.Errorf("%q is no instance", string(i))
}

// open follows the TUF repository of an instance to its newest metadata.
func (i Instance) open(ctx context.Context, o Options) (*tuf.Client, error) {
	root, address, err := i.pin()
	if err != nil {
		return nil, &sigstore.Error{Reason: policy.Internal, Err: err}
	}
	opts := tuf.Options{Root: root, Cache: o.Cache, MaxAge: cacheAge, Now: o.Now}
	if !o.Offline {
		client, err := web.New(address, nil, o.UserAgent)
		if err != nil {
			return nil, &sigstore.Error{Reason: policy.Internal, Err: err}
		}
		client = client.Via() // redirects stay on the host
		targets, err := web.New(address+"/targets", nil, o.UserAgent)
		if err != nil {
			return nil, &sigstore.Error{Reason: policy.Internal, Err: err}
		}
		opts.Source = tuf.HTTP(client, targets.Via())
	}
	c, err := tuf.New(opts)
	if err == nil {
		err = c.Refresh(ctx)
	}
	if err != nil && o.Offline {
		err = fmt.Errorf("not fetched: --offline: %w", err)
	}
	if err != nil {
		return nil, missing(err)
	}
	return c, nil
}

func (i Instance) root(ctx context.Context, o Options) (Root, error) {
	c, err := i.open(ctx, o)
	if err != nil {
		return Root{}, err
	}
	return Read(ctx, i.name(), c)
}

// Read returns the trusted root of a TUF repository, which is called name, and
// its forge table if it has one. The client must have been refreshed. The error is
// a [*sigstore.Error].
func Read(ctx context.Context, name string, c *tuf.Client) (Root, error) {
	data, err := c.Target(ctx, TrustedRootTarget)
	if err != nil {
		return Root{}, missing(err)
	}
	var out Root
	if out.Root, err = sigstore.ParseRoot(name, data); err != nil {
		return Root{}, err
	}
	data, err = c.Target(ctx, ForgesTarget)
	switch {
	case errors.Is(err, tuf.ErrNoTarget):
		return out, nil
	case err != nil:
		return Root{}, missing(err)
	}
	if out.Forges, err = rekorbind.ParseForges(data); err != nil {
		return Root{}, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: err}
	}
	return out, nil
}
