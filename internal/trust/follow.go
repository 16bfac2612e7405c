// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

const (
	// cacheAge is how long a trust root is used without asking for a newer one.
	cacheAge = 24 * time.Hour

	maxFetched = 1000 // delegations that are followed for a copy
)

// follow follows a TUF repository from a root to its newest metadata and calls use,
// after which the repository is not asked any more. The address is a URL below which
// metadata lies, and targets in "targets"; a directory of that shape; or a reference of
// package oci.
func follow(ctx context.Context, root []byte, address string, o Options, use func(*tuf.Client) error) error {
	c, done, err := followed(ctx, root, address, o)
	if err != nil {
		return err
	}
	defer done()
	return naming(address, use(c))
}

// followed is follow for who asks the repository until done.
func followed(
	ctx context.Context, root []byte, address string, o Options,
) (_ *tuf.Client, done func(), err error) {
	done = func() {}
	defer func() {
		if err != nil {
			done()
		}
	}()
	opts := tuf.Options{Root: root, Cache: o.Cache, MaxAge: cacheAge, Now: o.Now, KeyTypes: o.keyTypes}
	if o.Fresh {
		opts.MaxAge = 0
	}
	s, close, err := opened(ctx, address, o)
	if err != nil {
		return nil, done, missing(err)
	}
	opts.Source, done = s, close
	c, err := tuf.New(opts)
	if err == nil && o.Record != nil {
		o.Record(false, fmt.Sprintf("%d.root.json", c.Root().Version), root)
	}
	if err == nil {
		err = c.Refresh(ctx)
	}
	if err != nil && opts.Source == nil {
		err = fmt.Errorf("not fetched: --offline: %w", err)
	}
	if err != nil {
		return nil, done, naming(address, missing(err))
	}
	if o.Followed != nil {
		o.Followed(c.Expires())
	}
	return c, done, nil
}

// opened returns where the files of a repository come from; nil for from what is kept. Done ends
// its use.
func opened(ctx context.Context, address string, o Options) (s tuf.Source, done func(), err error) {
	done = func() {}
	switch {
	case o.Source != nil:
		s = o.Source
	case !o.Offline || local(address):
		if s, done, err = source(ctx, address, o); err != nil {
			return nil, nil, err
		}
	}
	if o.Record != nil && s != nil {
		s = recorder{s, o.Record}
	}
	return s, done, nil
}

// naming says at which address it was that a root could not be had.
func naming(address string, err error) error {
	var e *sigstore.Error
	if !errors.As(err, &e) || strings.Contains(err.Error(), address) {
		return err
	}
	return about(address, err)
}

// about says of what an error is, which stays one with its reason.
func about(what string, err error) error {
	var e *sigstore.Error
	if !errors.As(err, &e) {
		return err
	}
	return &sigstore.Error{Reason: e.Reason, Err: fmt.Errorf("%s: %w", what, err)}
}

// recorder passes on what a source returns.
type recorder struct {
	tuf.Source
	record func(target bool, name string, data []byte)
}

func (r recorder) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := r.Source.Metadata(ctx, name, limit)
	if err == nil {
		r.record(false, name, data)
	}
	return data, err
}

func (r recorder) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	data, err := r.Source.Target(ctx, path, limit)
	if err == nil {
		r.record(true, path, data)
	}
	return data, err
}

// local reports whether an address is on this machine.
func local(address string) bool {
	return strings.HasPrefix(address, oci.SchemeLayout) || !oci.IsReference(address) && !strings.Contains(address, "://")
}

// source opens what an address names; done ends its use.
func source(ctx context.Context, address string, o Options) (_ tuf.Source, done func(), err error) {
	switch {
	case oci.IsReference(address):
		ref, err := oci.ParseReference(address)
		if err != nil {
			return nil, nil, err
		}
		s, err := oci.Open(ctx, ref, oci.Options{
			Transport: o.Transport, Agent: o.UserAgent, Credential: o.Credential, Hosts: o.Hosts,
		})
		if err != nil {
			return nil, nil, err
		}
		return s, func() { _ = s.Close() }, nil
	case local(address):
		return tuf.FS(file.FS(address), file.FS(filepath.Join(address, "targets"))), func() {}, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	if u.Scheme != "https" && !web.Loopback(u.Host) {
		return nil, nil, fmt.Errorf("%q: a trust root is fetched by https", address)
	}
	base := strings.TrimSuffix(address, "/")
	metadata, err := web.New(base, o.Transport, o.UserAgent)
	if err != nil {
		return nil, nil, err
	}
	targets, err := web.New(base+"/targets", o.Transport, o.UserAgent)
	if err != nil {
		return nil, nil, err
	}
	return tuf.HTTP(metadata.Via(), targets.Via()), func() {}, nil // redirects stay on the host
}

// Open returns a root of the configuration by its name, whatever it introduces. Its initial
// metadata is read from a file, whose path is relative to the directory of the
// configuration. The error is a [*sigstore.Error].
func (c *Config) Open(ctx context.Context, name string, o Options) (Root, error) {
	return c.OpenFor(ctx, name, policy.Locator{}, o)
}

// Complete adds to a root of the configuration, or that of the public instance, what the
// root beside it says: a directory and a forge table, of each only where the root has none
// itself. Beside that of the public instance is this project's own unless the configuration
// names another. Nothing stands beside a root that was introduced, unless it is one of the
// configuration's. Errors are those of [Config.Open]: if the root beside it cannot be asked, it
// is not known what it demands.
func (c *Config) Complete(ctx context.Context, name string, r Root, o Options) (Root, error) {
	if len(r.By) > 0 {
		if name = r.Own; name == "" {
			return r, nil
		}
	}
	use := func(client *tuf.Client) error { return r.more(ctx, client) }
	var err error
	if by := c.Beside(name); by != "" {
		err = c.with(ctx, by, o, func(_ []byte, client *tuf.Client) error { return use(client) })
	} else if name == string(PublicGood) && HasProject() {
		o.keyTypes = Identities(ctx, string(PublicGood), o.Identities)
		err = follow(ctx, project.root, project.address, o, use)
	}
	if err != nil {
		return Root{}, err
	}
	return r, nil
}

// SigningConfigs returns the signing configs, at least one, of what judges a repository: a
// root of the configuration, or the one that it introduces. Errors are those of [Config.Open].
func (c *Config) SigningConfigs(
	ctx context.Context, name string, repo policy.Locator, o Options,
) ([][]byte, error) {
	var out [][]byte
	err := c.judging(ctx, name, repo, o, func(j *judge) error {
		for _, target := range []string{SigningConfigTarget, SigningConfigV2Target} {
			data, err := j.client.Target(ctx, target)
			switch {
			case err == nil:
				out = append(out, data)
			case !errors.Is(err, tuf.ErrNoTarget):
				return missing(err)
			}
		}
		if len(out) == 0 {
			return missing(fmt.Errorf("%s: %w", SigningConfigTarget, tuf.ErrNoTarget))
		}
		return nil
	})
	return out, err
}

// with follows a root of the configuration to its newest metadata and calls use.
func (c *Config) with(
	ctx context.Context, name string, o Options, use func(pin []byte, client *tuf.Client) error,
) error {
	named, ok := c.Root(name)
	if !ok {
		return missing(fmt.Errorf("no root %q is configured", name))
	}
	pin, address, o, err := c.place(ctx, &named, o)
	if err != nil {
		return err
	}
	return follow(ctx, pin, address, o, func(client *tuf.Client) error { return use(pin, client) })
}

// place returns what a root of the configuration is followed from, and where and how.
func (c *Config) place(
	ctx context.Context, r *NamedRoot, o Options,
) (pin []byte, address string, _ Options, err error) {
	if pin, err = r.pin(c.Dir); err != nil {
		return nil, "", o, invalid(err)
	}
	o.keyTypes = r.keyTypes(ctx, o)
	return pin, c.address(r), o, nil
}

// address is where a root of the configuration is followed from.
func (c *Config) address(r *NamedRoot) string {
	if dir, ok := strings.CutPrefix(r.URL, oci.SchemeLayout); ok {
		return oci.SchemeLayout + c.path(dir)
	}
	if local(r.URL) {
		return c.path(r.URL)
	}
	return r.URL
}

// keyTypes returns the types of keys that sign for the root beside those that are built in.
func (r *NamedRoot) keyTypes(ctx context.Context, o Options) map[string]tuf.KeyType {
	return Identities(ctx, cmp.Or(r.Identities, string(PublicGood)), o.Identities)
}

// Identities returns the type of keys that are OIDC identities; see [OIDCKeys]. The trusted
// root of that name is opened when the first of them is met. Without open there are none.
func Identities(
	ctx context.Context, name string, open func(ctx context.Context, name string) (*sigstore.Root, error),
) map[string]tuf.KeyType {
	if open == nil {
		return nil
	}
	var root *sigstore.Root
	return map[string]tuf.KeyType{KeyTypeOIDC: func(k tuf.Key) (tuf.Verifier, error) {
		if root == nil {
			var err error
			if root, err = open(ctx, name); err != nil {
				return nil, fmt.Errorf("trusted root %s: %w", name, err)
			}
		}
		return OIDCKeys(root)[KeyTypeOIDC](k)
	}}
}

// Begins returns why a root cannot be followed from metadata: it is malformed, or not signed
// by its own keys. Open is that of [Identities].
func Begins(
	ctx context.Context, initial []byte, now func() time.Time,
	open func(ctx context.Context, name string) (*sigstore.Root, error),
) error {
	_, err := tuf.New(tuf.Options{Root: initial, Now: now, KeyTypes: Identities(ctx, string(PublicGood), open)})
	return err
}

// Anchor returns what the root that anchors a repository says of it; nil without such a
// root, or if it says nothing. Errors are those of [Config.Open]: what cannot be read is
// never taken for nothing.
func (c *Config) Anchor(ctx context.Context, repo policy.Locator, o Options) (a *Anchor, err error) {
	name := c.SuperOf(repo)
	if name == "" {
		return nil, nil
	}
	use := func(client *tuf.Client) error {
		a, err = FindAnchor(ctx, client, repo)
		return err
	}
	if name == string(PublicGood) {
		err = PublicGood.with(ctx, o, use)
	} else {
		err = c.with(ctx, name, o, func(_ []byte, client *tuf.Client) error { return use(client) })
	}
	return a, err
}

// pin reads the metadata that a root is followed from.
func (r *NamedRoot) pin(dir string) ([]byte, error) {
	path := r.Initial
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	data, err := file.Read(path, sigstore.MaxRootBytes)
	if err != nil {
		return nil, err
	}
	if r.SHA256 != "" && spelling.Sum(data) != r.SHA256 {
		return nil, fmt.Errorf("%s: its digest is sha256:%s, not the one that is configured", path, spelling.Sum(data))
	}
	return data, nil
}

// path returns where a path of the configuration leads.
func (c *Config) path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.Dir, path)
}

// ReadConfig reads the configuration in a file; nil if there is none. One that others
// can write to is an error.
func ReadConfig(path string) (*Config, error) {
	data, info, err := file.ReadStat(path, MaxConfigBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if file.Writable(info) {
		return nil, fmt.Errorf("%s can be written to by others; `chmod 600` it", path)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.Dir = filepath.Dir(path)
	return c, nil
}

// Fetch follows a root of the configuration and reads every target of it and of the roles
// that it delegates to, succinct bins included, so that Record sees all of them. A file that
// a role lists and no client would find, because another role has it or nobody hands it
// down, is left out. Errors are those of [Config.Open].
func (c *Config) Fetch(ctx context.Context, name string, o Options) error {
	use := func(client *tuf.Client) error {
		asked := map[string]bool{}
		err := client.Walk(ctx, maxFetched, func(t *tuf.Targets) error {
			for _, path := range slices.Sorted(maps.Keys(t.Files)) {
				if asked[path] {
					continue
				}
				asked[path] = true
				_, err := client.Target(ctx, path)
				if err != nil && !errors.Is(err, tuf.ErrNoTarget) && !errors.Is(err, tuf.ErrTooManyRoles) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return missing(err)
		}
		return nil
	}
	if name == string(PublicGood) {
		return PublicGood.with(ctx, o, use)
	}
	return c.with(ctx, name, o, func(_ []byte, client *tuf.Client) error { return use(client) })
}
