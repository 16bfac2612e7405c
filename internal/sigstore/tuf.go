// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/policy"
)

const (
	targetTrustedRoot = "trusted_root.json"
	// targetSigningConfig names the services of Rekor v1.
	targetSigningConfig = "signing_config.v0.2.json"
	maxMetadataBytes    = 8 << 20
	requestTimeout      = 20 * time.Second
	cacheDays           = 1
)

// Instance is one of Sigstore's own deployments.
type Instance string

// The instances whose first TUF root is built in.
const (
	PublicGood Instance = "public-good"
	Staging    Instance = "staging"
)

// TUFOptions say where a trusted root is fetched from and kept.
type TUFOptions struct {
	Instance  Instance
	Cache     string // directory; "" keeps nothing
	Offline   bool   // use the cache only
	UserAgent string
}

// FetchRoot returns the trusted root of an instance by following its TUF
// repository from the built-in root, and keeps the metadata in the cache
// directory. The error is an [*Error] with reason TrustRootMissing, or
// TrustRootInvalid for a root that cannot be parsed.
func FetchRoot(ctx context.Context, o TUFOptions) (*Root, error) {
	data, err := fetchTarget(ctx, o, targetTrustedRoot)
	if err != nil {
		return nil, err
	}
	return ParseRoot(string(cmp.Or(o.Instance, PublicGood)), data)
}

// FetchSigningConfig returns the signing config of an instance, which names the
// services of Rekor v1; see [ParseSigningConfigs]. Errors are those of
// [FetchRoot].
func FetchSigningConfig(ctx context.Context, o TUFOptions) ([]byte, error) {
	return fetchTarget(ctx, o, targetSigningConfig)
}

func fetchTarget(ctx context.Context, o TUFOptions, target string) ([]byte, error) {
	opts := &tuf.Options{
		Root:              tuf.DefaultRoot(),
		RepositoryBaseURL: tuf.DefaultMirror,
		CachePath:         o.Cache,
		DisableLocalCache: o.Cache == "",
		CacheValidity:     cacheDays,
		ForceCache:        o.Offline,
		Context:           ctx,
	}
	if o.Instance == Staging {
		opts.Root, opts.RepositoryBaseURL = tuf.StagingRoot(), tuf.StagingMirror
	}
	base, err := url.Parse(opts.RepositoryBaseURL)
	if err != nil {
		return nil, &Error{policy.Internal, err}
	}
	opts.Fetcher = &fetcher{ctx: ctx, base: base, offline: o.Offline, agent: o.UserAgent}
	client, err := tuf.New(opts)
	if err != nil {
		return nil, &Error{policy.TrustRootMissing, err}
	}
	data, err := client.GetTarget(target)
	if err != nil {
		return nil, &Error{policy.TrustRootMissing, err}
	}
	return data, nil
}

// fetcher downloads TUF metadata: one origin, no redirect to another, a cap and
// a deadline on every reply.
type fetcher struct {
	ctx     context.Context
	base    *url.URL
	offline bool
	agent   string
}

var errOffline = errors.New("not fetched: --offline")

// DownloadFile implements go-tuf's fetcher.
func (f *fetcher) DownloadFile(address string, maxLength int64, _ time.Duration) ([]byte, error) {
	if f.offline {
		return nil, errOffline
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme != f.base.Scheme || u.Host != f.base.Host {
		return nil, fmt.Errorf("%s is not on %s", u.Redacted(), f.base.Host)
	}
	ctx, cancel := context.WithTimeout(f.ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", f.agent)
	client := &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || r.URL.Scheme != f.base.Scheme || r.URL.Host != f.base.Host {
			return errors.New("redirected to another origin")
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: address}
	}
	limit := min(maxLength, maxMetadataBytes)
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s is larger than %d bytes", address, limit)}
	}
	return data, nil
}
