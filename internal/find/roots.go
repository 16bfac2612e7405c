// SPDX-License-Identifier: Apache-2.0

package find

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// TrustConfig reads the user's map; nil if there is none.
func (f *Finder) TrustConfig(t *Trust) (*trust.Config, error) {
	path := t.Config
	if t.Config == "" {
		if f.ConfigDir == nil {
			return nil, nil
		}
		dir, err := f.ConfigDir()
		if err != nil { // there may be one, with other roots
			return nil, &policy.Fault{
				Reason: policy.TrustRootMissing,
				Text:   fmt.Sprintf("trust configuration: where yours is cannot be found out: %s", err),
				Hint:   "try again, or name the file with --trust-config",
			}
		}
		if dir == "" {
			return nil, nil
		}
		path = filepath.Join(dir, "trust.toml")
	}
	c, err := trust.ReadConfig(path)
	switch {
	case err != nil:
		return nil, policy.Faultf(policy.TrustRootInvalid, "trust configuration: %s", err)
	case c == nil && t.Config != "":
		return nil, policy.Faultf(policy.Usage, "--trust-config: %s does not exist", path)
	}
	return c, nil
}

// Scopes returns which roots judge a repository, in the order in which they are asked.
// Files that are named with --trusted-root are no scope: there is none then.
func (f *Finder) Scopes(t *Trust, repo policy.Locator) ([]trust.Scope, *trust.Config, error) {
	if len(t.Files) > 0 {
		if t.Name != "" {
			return nil, nil, policy.Faultf(policy.Usage, "--trusted-root and --trust-root contradict each other")
		}
		return nil, nil, nil
	}
	c, err := f.TrustConfig(t)
	if err != nil {
		return nil, nil, err
	}
	if t.Name == "" {
		return c.For(repo), c, nil
	}
	name := t.Name
	if _, ok := c.Root(name); !ok && name != string(trust.PublicGood) {
		return nil, nil, &policy.Fault{
			Reason: policy.Usage, Text: "--trust-root: no root " + name + " is configured",
			Hint: "list it as a [[root]] of trust.toml",
		}
	}
	if !c.SpeaksFor(name, repo) {
		return nil, nil, &policy.Fault{
			Reason: policy.Usage,
			Text: "--trust-root: " + name + " does not speak for " + repo.String() +
				", whose certificates Sigstore's public instance issues",
			Hint: "a [[scope]] of trust.toml can say that it does",
		}
	}
	return []trust.Scope{{Roots: []string{name}, Threshold: 1}}, c, nil
}

// OpenRoot returns what judges the repository of a question: a root of the user's map, or the
// one that it introduces for it, with what the root beside it says. Errors are those of
// [trust.Roots].
func (f *Finder) OpenRoot(ctx context.Context, c *trust.Config, name string, q *Query) (trust.Root, error) {
	how := trust.Options{
		Offline: q.Offline, Fresh: q.Fresh && !q.Offline, Record: q.Record,
	}
	beside := trust.Options{Offline: how.Offline, Fresh: how.Fresh, Record: q.RecordBeside}
	if q.RecordIntroduced != nil {
		how.Introduced = func(depth int) (tuf.Source, func(bool, string, []byte)) { return nil, q.RecordIntroduced(depth) }
	}
	if b := q.Carried; b != nil { // each is followed from the pin that this machine has
		moment := cmp.Or(q.Moment, f.Now())
		carried := trust.Options{Offline: true, Now: func() time.Time { return moment }}
		if len(b.Metadata) > 0 {
			how, how.Source = carried, carriedTrust{b.Metadata, b.Targets}
			how.Introduced = introducedIn(b)
		}
		if len(b.BesideMetadata) > 0 {
			beside, beside.Source = carried, carriedTrust{b.BesideMetadata, b.BesideTargets}
		}
	}
	r, err := f.openFor(ctx, c, name, q.Repository, how)
	if err != nil {
		return r, err
	}
	return c.Complete(ctx, name, r, f.Named(c, beside))
}

// Whatever may judge can be carried.
const _ = uint(airgap.MaxIntroduced - trust.MaxIntroduced)

// introducedIn returns where a file for the air gap has roots that were introduced.
func introducedIn(b *airgap.Bundle) func(int) (tuf.Source, func(bool, string, []byte)) {
	return func(depth int) (tuf.Source, func(bool, string, []byte)) {
		if r := b.Introduced[depth-1]; len(r.Metadata) > 0 {
			return carriedTrust{r.Metadata, r.Targets}, nil
		}
		return nil, nil
	}
}

// Open returns a root of the user's map, or that of the public instance. Errors are those of
// [trust.Roots].
func (f *Finder) Open(ctx context.Context, c *trust.Config, name string, how trust.Options) (trust.Root, error) {
	return f.openFor(ctx, c, name, policy.Locator{}, how)
}

func (f *Finder) openFor(
	ctx context.Context, c *trust.Config, name string, repo policy.Locator, how trust.Options,
) (trust.Root, error) {
	if name != string(trust.PublicGood) {
		return c.OpenFor(ctx, name, repo, f.Named(c, how))
	}
	roots, err := f.Public(ctx, how)
	if err == nil && len(roots) != 1 {
		err = errors.New("the public instance has one root")
	}
	if err != nil {
		return trust.Root{}, err
	}
	return roots[0], nil
}

// Public returns the trusted root of Sigstore's public instance. Errors are those of
// [trust.Roots].
func (f *Finder) Public(ctx context.Context, how trust.Options) ([]trust.Root, error) {
	if f.Instance != nil {
		return f.Instance(ctx, how)
	}
	return trust.Roots(ctx, f.Followed(how))
}

// GitHub returns the trusted root of GitHub's own instance. Errors are those of [trust.Roots].
func (f *Finder) GitHub(ctx context.Context, how trust.Options) ([]trust.Root, error) {
	if f.Recorded != nil {
		return f.Recorded(ctx, how)
	}
	how.Instance = trust.GitHub
	return trust.Roots(ctx, f.Followed(how))
}

// Followed says how the public instance's TUF repository is followed: what is fetched is kept.
func (f *Finder) Followed(how trust.Options) trust.Options {
	how.UserAgent, how.Transport = f.Agent, f.Transport
	if how.Now == nil {
		how.Now = f.Now
	}
	f.cache(&how)
	return how
}

// cache lets metadata be kept. Without it the whole chain is read.
func (f *Finder) cache(how *trust.Options) {
	if f.StateDir == nil || how.Source != nil || how.Record != nil {
		return
	}
	if dir, err := f.StateDir(); err == nil {
		how.Cache = filepath.Join(dir, "tuf")
	}
}

// Named says how a root of the user's map is followed.
func (f *Finder) Named(c *trust.Config, how trust.Options) trust.Options {
	how.UserAgent, how.Transport, how.Credential = f.Agent, f.Transport, f.Credential
	if how.Now == nil {
		how.Now = f.Now
	}
	identities := trust.Options{Offline: how.Offline, Now: how.Now}
	how.Identities = func(ctx context.Context, name string) (*sigstore.Root, error) {
		r, err := f.Open(ctx, c, name, identities)
		return r.Root, err
	}
	f.cache(&how)
	return how
}

// anchor returns what the user's super root says of a repository: the hex digest of its
// first statement, and the root's name; "" without one.
func (f *Finder) anchor(ctx context.Context, q *Query) (statement, by string, err error) {
	c, err := f.TrustConfig(&q.Trust)
	if err != nil {
		return "", "", err
	}
	if by = c.SuperOf(q.Repository); by == "" {
		return "", "", nil
	}
	how := trust.Options{Offline: q.Offline}
	if !q.Moment.IsZero() {
		how.Now = func() time.Time { return q.Moment }
	}
	if by == string(trust.PublicGood) {
		how = f.Followed(how)
	} else {
		how = f.Named(c, how)
	}
	found, err := c.Anchor(ctx, q.Repository, how)
	if err != nil {
		return "", "", RootFault(err)
	}
	if found == nil {
		f.say("note: %s anchors no policy of %s", by, q.Repository)
		return "", "", nil
	}
	return found.Statement, by, nil
}

// RootFault turns the error of opening a root into one with its class.
func RootFault(err error) error {
	var se *sigstore.Error
	if !errors.As(err, &se) {
		return err
	}
	f := policy.Faultf(se.Reason, "%s", se)
	if oci.LoginRefused(err) {
		f.Hint = policy.RegistryLogin.Hint()
	}
	return f
}

// AnyRoots returns the roots of which any may verify what belongs to no repository: the files
// that are named, the root that is named, or that of the public instance.
func (f *Finder) AnyRoots(ctx context.Context, t *Trust, how trust.Options) ([]trust.Root, error) {
	switch {
	case len(t.Files) > 0 && t.Name != "":
		return nil, policy.Faultf(policy.Usage, "--trusted-root and --trust-root contradict each other")
	case len(t.Files) > 0:
		return trust.Roots(ctx, trust.Options{Files: t.Files})
	case t.Name == "":
		return f.Public(ctx, how)
	}
	c, err := f.TrustConfig(t)
	if err != nil {
		return nil, err
	}
	r, err := f.OpenRoot(ctx, c, t.Name, &Query{Offline: how.Offline, Fresh: how.Fresh})
	if err != nil {
		return nil, err
	}
	return []trust.Root{r}, nil
}

// RootOf names the one root that judges a repository; "" for a file that was named.
func (f *Finder) RootOf(t *Trust, repo policy.Locator) (string, *trust.Config, error) {
	scopes, c, err := f.Scopes(t, repo)
	switch {
	case err != nil:
		return "", nil, err
	case len(scopes) == 0:
		return "", nil, nil
	case len(scopes[0].Roots) > 1:
		return "", nil, &policy.Fault{
			Reason: policy.Usage,
			Text:   "trust.toml names several roots for " + repo.String() + ", and this command works under one",
			Hint:   "name it with --trust-root; `repopolicy verify` joins them",
		}
	}
	return scopes[0].Roots[0], c, nil
}

// OneRoot returns the trusted root under which a repository's chain is judged: there
// is always exactly one.
func (f *Finder) OneRoot(ctx context.Context, q *Query) (trust.Root, error) {
	if q.Root != nil {
		r, err := q.Root(ctx)
		return r, RootFault(err)
	}
	name, c, err := f.RootOf(&q.Trust, q.Repository)
	if err != nil {
		return trust.Root{}, err
	}
	if name != "" {
		r, err := f.OpenRoot(ctx, c, name, q)
		return r, RootFault(err)
	}
	roots, err := f.AnyRoots(ctx, &q.Trust, trust.Options{Offline: q.Offline, Fresh: q.Fresh && !q.Offline})
	if err == nil && len(roots) != 1 {
		err = policy.Faultf(policy.Usage,
			"a repository's policy is judged under exactly one trusted root, not %d", len(roots))
	}
	if err != nil {
		return trust.Root{}, RootFault(err)
	}
	return roots[0], nil
}

// carriedTrust is a TUF repository in a file for the air gap.
type carriedTrust struct{ metadata, targets map[string][]byte }

// Metadata implements tuf.Source.
func (s carriedTrust) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	return within(s.metadata, name, limit)
}

// Target implements tuf.Source.
func (s carriedTrust) Target(_ context.Context, path string, limit int64) ([]byte, error) {
	return within(s.targets, path, limit)
}

func within(files map[string][]byte, name string, limit int64) ([]byte, error) {
	data, ok := files[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", name, len(data), limit)
	}
	return data, nil
}
