// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	maxKeyBytes = 16 << 10 // of a target that is a key
	firstRoot   = "1.root.json"
	initialDir  = "initial" // of the cache: first roots, by their digests
)

// Targets are those of a trust root that was followed to its current metadata. Only
// [Config.Current] makes one. Its methods may be called from several goroutines.
type Targets struct {
	mu      sync.Mutex
	client  *tuf.Client
	address string
	done    func()
}

// Listed is what a trust root says of a target: the role that the search ends at, as
// [spelling.RoleWay] writes the way to it, its metadata, and the file's length and digests, all of
// them.
type Listed struct {
	Role    string
	Version int64
	Expires time.Time
	Length  int64
	Digests []policy.Digest // in sha256, sha512 or both
}

// Current follows a trust root that a policy names (SPEC 5.12): "public-good", or "sha256:HEX" of
// the root metadata to begin with. That is a root of the configuration which begins with the same
// bytes, or else the one at url, whose first root has to have that digest. The error is a
// [*sigstore.Error].
func (c *Config) Current(ctx context.Context, root, url string, o Options) (*Targets, error) {
	if root == string(PublicGood) {
		return c.CurrentOf(ctx, root, o)
	}
	sum, ok := strings.CutPrefix(root, "sha256:")
	if !ok || !spelling.IsHash(sum) {
		return nil, missing(fmt.Errorf("%q is no digest of root metadata", root))
	}
	named, pin, err := c.beginning(sum)
	switch {
	case err != nil:
		return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: err}
	case named != nil:
		o.keyTypes = named.keyTypes(ctx, o)
		return open(ctx, pin, c.address(named), o)
	case url == "" && o.Source == nil:
		return nil, missing(fmt.Errorf(
			"no root of your trust.toml begins with %s, and the policy does not say where it is: list it there as a [[root]]",
			root,
		))
	}
	if pin, err = initial(ctx, sum, url, o); err != nil {
		return nil, naming(url, missing(err))
	}
	o.keyTypes = Identities(ctx, string(PublicGood), o.Identities)
	return open(ctx, pin, url, o)
}

// CurrentOf follows a root of the configuration, or that of the public instance, by its name.
// The error is a [*sigstore.Error].
func (c *Config) CurrentOf(ctx context.Context, name string, o Options) (*Targets, error) {
	if name == string(PublicGood) {
		pin, address, err := PublicGood.pin()
		if err != nil {
			return nil, &sigstore.Error{Reason: policy.Internal, Err: err}
		}
		return open(ctx, pin, address, o)
	}
	named, ok := c.Root(name)
	if !ok {
		return nil, missing(fmt.Errorf("no root %q is configured", name))
	}
	pin, err := named.pin(c.Dir)
	if err != nil {
		return nil, &sigstore.Error{Reason: policy.TrustRootInvalid, Err: err}
	}
	o.keyTypes = named.keyTypes(ctx, o)
	return open(ctx, pin, c.address(&named), o)
}

func open(ctx context.Context, pin []byte, address string, o Options) (*Targets, error) {
	client, done, err := followed(ctx, pin, address, o)
	if err != nil {
		return nil, err
	}
	return &Targets{client: client, address: address, done: done}, nil
}

// beginning returns the root of the configuration that begins with metadata of a digest; nil if
// there is none. It is an error if one should that cannot be read.
func (c *Config) beginning(sum string) (*NamedRoot, []byte, error) {
	if c == nil {
		return nil, nil, nil
	}
	for i := range c.Roots {
		r := &c.Roots[i]
		pin, err := r.pin(c.Dir)
		switch {
		case err == nil && spelling.Sum(pin) == sum:
			return r, pin, nil
		case err != nil && r.SHA256 == sum:
			return nil, nil, fmt.Errorf("root %q of the trust configuration: %w", r.Name, err)
		}
	}
	return nil, nil, nil
}

// initial returns the first root of a repository that begins with this digest. What was fetched
// once is kept: it stays the same whatever the repository says.
func initial(ctx context.Context, sum, address string, o Options) ([]byte, error) {
	name := sum + ".root.json"
	dir := filepath.Join(o.Cache, initialDir)
	if o.Cache != "" {
		if data, err := file.ReadNoFollow(filepath.Join(dir, name), sigstore.MaxRootBytes); err == nil &&
			spelling.Sum(data) == sum {
			return data, nil
		}
	}
	data, err := fetchFirst(ctx, address, o)
	if err != nil {
		return nil, err
	}
	if got := spelling.Sum(data); got != sum {
		return nil, fmt.Errorf("its %s has the digest sha256:%s, the policy names sha256:%s", firstRoot, got, sum)
	}
	if o.Cache == "" {
		return data, nil
	}
	if err := file.Private(dir); err != nil {
		return nil, err
	}
	return data, file.WriteIn(dir, name, data, 0o600)
}

func fetchFirst(ctx context.Context, address string, o Options) ([]byte, error) {
	switch {
	case o.Source != nil:
		return o.Source.Metadata(ctx, firstRoot, sigstore.MaxRootBytes)
	case o.Offline:
		return nil, errors.New("not fetched: --offline")
	}
	w, err := web.New(address, o.Transport, o.UserAgent)
	if err != nil {
		return nil, err
	}
	return w.Via().Get(ctx, firstRoot, sigstore.MaxRootBytes) // redirects stay on the host
}

// CheckPaths refuses a pattern of targets by which a role would list what the root itself says:
// its trusted root and services, and whatever begins with repopolicy/.
func CheckPaths(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil || strings.ContainsAny(pattern, `\`) || pattern == "" {
		return fmt.Errorf("%q is no pattern of paths", pattern)
	}
	first, _, more := strings.Cut(pattern, "/")
	if ok, _ := path.Match(first, "repopolicy"); ok && more {
		return fmt.Errorf("%q: what is below repopolicy/ is the root's own", pattern)
	}
	for _, own := range []string{
		TrustedRootTarget, SigningConfigTarget, SigningConfigV2Target, ForgesTarget, DirectoryTarget,
	} {
		if ok, _ := path.Match(pattern, own); ok {
			return fmt.Errorf("%q matches %s, which is the root's own", pattern, own)
		}
	}
	return nil
}

// Close ends the use of the repository.
func (t *Targets) Close() { t.done() }

// Find returns what the root says of a target; nil if no role of it that is asked lists one. The
// error is a [*sigstore.Error]: the role that would say so cannot be verified or had.
func (t *Targets) Find(ctx context.Context, path string) (*Listed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, err := t.client.Find(ctx, path)
	switch {
	case errors.Is(err, tuf.ErrNoTarget):
		return nil, nil
	case err != nil:
		return nil, naming(t.address, missing(err))
	}
	out := &Listed{Role: spelling.RoleWay(f.Via), Version: f.By.Version, Expires: f.By.Expires, Length: f.Length}
	for _, alg := range slices.Sorted(maps.Keys(f.Hashes)) {
		out.Digests = append(out.Digests, policy.Digest{Alg: alg, Hex: hex.EncodeToString(f.Hashes[alg])})
	}
	return out, nil
}

// Key returns what the root says of a target that rules take a key from.
func (t *Targets) Key(ctx context.Context, of policy.RootTarget) policy.RootFact {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, err := t.client.Find(ctx, of.Path)
	if errors.Is(err, tuf.ErrNoTarget) {
		return of.Unlisted()
	}
	var content []byte
	if err == nil && f.Length <= maxKeyBytes { // what is larger is no key
		content, err = t.client.Fetch(ctx, f)
	}
	if err != nil {
		return of.Unknown(policy.TrustRootMissing, naming(t.address, missing(err)).Error())
	}
	return of.Listed(status(f.Custom), content)
}

// Walk reads the metadata of every role that lists targets, for who records it.
func (t *Targets) Walk(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.client.Walk(ctx, maxFetched, func(*tuf.Targets) error { return nil }); err != nil {
		return naming(t.address, missing(err))
	}
	return nil
}

// status returns custom.sigstore.status as it is spelled; "" if there is none. The client has
// refused members that stand twice.
func status(custom json.RawMessage) string {
	raw := custom
	for _, name := range []string{"sigstore", "status"} {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return ""
		}
		raw = members[name]
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}
