// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/policy"
)

// rootOptions are the flags that say what is trusted.
type rootOptions struct {
	roots             []string // trusted_root.json files
	rootName, rootMap typed
}

const rootUsage = "trust this trusted_root.json `FILE` instead of Sigstore's public instance"

// rootFlags defines the flags; more is what several files mean.
func (o *rootOptions) rootFlags(cmd *cobra.Command, more string) {
	f := cmd.Flags()
	o.rootName.name, o.rootMap.name = "NAME", "FILE"
	f.StringArrayVar(&o.roots, "trusted-root", nil, rootUsage+more)
	f.Var(&o.rootName, "trust-root", "trust the root of this name in your trust.toml alone")
	f.Var(&o.rootMap, "trust-config", "read this file instead of trust.toml in your configuration directory")
}

// configDir returns where the user's own configuration is; "" if the user is not listed
// or has no home. The system's list of users says so: a variable of the environment
// must not lead to other roots. Where there are user numbers, [user.Current] may ask
// the environment about one that is not listed.
func configDir() (string, error) {
	if uid := os.Getuid(); uid >= 0 {
		return configOf(user.LookupId(strconv.Itoa(uid)))
	}
	return configOf(user.Current())
}

// configOf returns the same of what the system's list says. That it cannot be read says
// nothing about the user, and is an error; that there is none says that nobody is listed.
func configOf(u *user.User, err error) (string, error) {
	var unlisted user.UnknownUserIdError
	switch {
	case errors.As(err, &unlisted) || errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case u.HomeDir == "":
		return "", nil
	}
	return filepath.Join(u.HomeDir, ".config", "repopolicy"), nil
}

// trustConfig reads the user's map; nil if there is none.
func (a *app) trustConfig(o *rootOptions) (*trust.Config, error) {
	path := o.rootMap.value
	if !o.rootMap.set {
		if a.ConfigDir == nil {
			return nil, nil
		}
		dir, err := a.ConfigDir()
		if err != nil { // there may be one, with other roots
			return nil, &policy.Fault{Reason: policy.TrustRootMissing, Text: fmt.Sprintf("trust configuration: where yours is cannot be found out: %s", err), Hint: "try again, or name the file with --trust-config"}
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
	case c == nil && o.rootMap.set:
		return nil, policy.Faultf(policy.Usage, "--trust-config: %s does not exist", path)
	}
	return c, nil
}

// scopes returns which roots judge a repository, in the order in which they are asked.
// Files that are named with --trusted-root are no scope: there is none then.
func (a *app) scopes(o *rootOptions, repo policy.Locator) ([]trust.Scope, *trust.Config, error) {
	if len(o.roots) > 0 {
		if o.rootName.set {
			return nil, nil, policy.Faultf(policy.Usage, "--trusted-root and --trust-root contradict each other")
		}
		return nil, nil, nil
	}
	c, err := a.trustConfig(o)
	if err != nil {
		return nil, nil, err
	}
	if !o.rootName.set {
		return c.For(repo), c, nil
	}
	name := o.rootName.value
	if _, ok := c.Root(name); !ok && name != string(trust.PublicGood) {
		return nil, nil, &policy.Fault{Reason: policy.Usage, Text: "--trust-root: no root " + name + " is configured", Hint: "list it as a [[root]] of trust.toml"}
	}
	if !c.SpeaksFor(name, repo) {
		return nil, nil, &policy.Fault{Reason: policy.Usage, Text: "--trust-root: " + name + " does not speak for " + repo.String() + ", whose certificates Sigstore's public instance issues", Hint: "a [[scope]] of trust.toml can say that it does"}
	}
	return []trust.Scope{{Roots: []string{name}, Threshold: 1}}, c, nil
}

// openRoot returns a root of the user's map, with what the root beside it says. Errors are
// those of [trust.Roots].
func (a *app) openRoot(ctx context.Context, c *trust.Config, name string, o *repoOptions) (trust.Root, error) {
	how := trust.Options{Offline: o.offline, Fresh: o.fresh && !o.offline, Record: o.record}
	beside := trust.Options{Offline: how.Offline, Fresh: how.Fresh, Record: o.recordBeside}
	if b := o.carried; b != nil { // each is followed from the pin that this machine has
		moment := cmp.Or(o.moment, a.Now())
		carried := trust.Options{Offline: true, Now: func() time.Time { return moment }}
		if len(b.Metadata) > 0 {
			how, how.Source = carried, carriedTrust{b.Metadata, b.Targets}
		}
		if len(b.BesideMetadata) > 0 {
			beside, beside.Source = carried, carriedTrust{b.BesideMetadata, b.BesideTargets}
		}
	}
	r, err := a.open(ctx, c, name, how)
	if err != nil {
		return r, err
	}
	return c.Complete(ctx, name, r, a.named(c, beside))
}

func (a *app) open(ctx context.Context, c *trust.Config, name string, how trust.Options) (trust.Root, error) {
	if name != string(trust.PublicGood) {
		return c.Open(ctx, name, a.named(c, how))
	}
	roots, err := a.Root(ctx, how)
	if err == nil && len(roots) != 1 {
		err = errors.New("the public instance has one root")
	}
	if err != nil {
		return trust.Root{}, err
	}
	return roots[0], nil
}

// named says how a root of the user's map is followed.
func (a *app) named(c *trust.Config, how trust.Options) trust.Options {
	how.UserAgent, how.Transport, how.Credential = userAgent(), a.Transport, a.Credential
	if how.Now == nil {
		how.Now = a.Now
	}
	identities := trust.Options{Offline: how.Offline, Now: how.Now}
	how.Identities = func(ctx context.Context, name string) (*sigstore.Root, error) {
		r, err := a.open(ctx, c, name, identities)
		return r.Root, err
	}
	if dir, err := a.StateDir(); err == nil && how.Source == nil && how.Record == nil {
		how.Cache = filepath.Join(dir, "tuf") // else the whole chain is read
	}
	return how
}

// anchor returns what the user's super root says of a repository: the hex digest of its
// first statement, and the root's name; "" without one.
func (a *app) anchor(ctx context.Context, o *repoOptions, repo policy.Locator) (statement, by string, err error) {
	c, err := a.trustConfig(&o.rootOptions)
	if err != nil {
		return "", "", err
	}
	if by = c.SuperOf(repo); by == "" {
		return "", "", nil
	}
	how := trust.Options{Offline: o.offline}
	if !o.moment.IsZero() {
		how.Now = func() time.Time { return o.moment }
	}
	if by == string(trust.PublicGood) {
		how = publicInstance(how)
	} else {
		how = a.named(c, how)
	}
	found, err := c.Anchor(ctx, repo, how)
	if err != nil {
		return "", "", rootFault(err)
	}
	if found == nil {
		a.err.line("note: %s anchors no policy of %s", by, repo)
		return "", "", nil
	}
	return found.Statement, by, nil
}

// rootFault turns the error of opening a root into one with its class.
func rootFault(err error) error {
	var se *sigstore.Error
	if errors.As(err, &se) {
		return policy.Faultf(se.Reason, "%s", se)
	}
	return err
}

// anyRoots returns the roots of which any may verify what belongs to no repository: the files
// that are named, the root that is named, or that of the public instance.
func (a *app) anyRoots(ctx context.Context, o *rootOptions, how trust.Options) ([]trust.Root, error) {
	switch {
	case len(o.roots) > 0 && o.rootName.set:
		return nil, policy.Faultf(policy.Usage, "--trusted-root and --trust-root contradict each other")
	case len(o.roots) > 0:
		return trust.Roots(ctx, trust.Options{Files: o.roots})
	case !o.rootName.set:
		return a.Root(ctx, how)
	}
	c, err := a.trustConfig(o)
	if err != nil {
		return nil, err
	}
	r, err := a.openRoot(ctx, c, o.rootName.value, &repoOptions{offline: how.Offline, fresh: how.Fresh})
	if err != nil {
		return nil, err
	}
	return []trust.Root{r}, nil
}

// rootOf names the one root that judges a repository; "" for a file that was named.
func (a *app) rootOf(o *rootOptions, repo policy.Locator) (string, *trust.Config, error) {
	scopes, c, err := a.scopes(o, repo)
	switch {
	case err != nil:
		return "", nil, err
	case len(scopes) == 0:
		return "", nil, nil
	case len(scopes[0].Roots) > 1:
		return "", nil, &policy.Fault{Reason: policy.Usage, Text: "trust.toml names several roots for " + repo.String() + ", and this command works under one", Hint: "name it with --trust-root; `repopolicy verify` joins them"}
	}
	return scopes[0].Roots[0], c, nil
}

// oneRoot returns the trusted root under which a repository's chain is judged: there
// is always exactly one.
func (a *app) oneRoot(ctx context.Context, o *repoOptions, repo policy.Locator) (trust.Root, error) {
	if o.open != nil {
		roots, err := o.open(ctx)
		if err != nil {
			return trust.Root{}, rootFault(err)
		}
		return roots[0], nil
	}
	name, c, err := a.rootOf(&o.rootOptions, repo)
	if err != nil {
		return trust.Root{}, err
	}
	if name != "" {
		r, err := a.openRoot(ctx, c, name, o)
		return r, rootFault(err)
	}
	roots, err := a.anyRoots(ctx, &o.rootOptions, trust.Options{Offline: o.offline, Fresh: o.fresh && !o.offline})
	if err == nil && len(roots) != 1 {
		err = policy.Faultf(policy.Usage, "a repository's policy is judged under exactly one trusted root, not %d", len(roots))
	}
	if err != nil {
		return trust.Root{}, rootFault(err)
	}
	return roots[0], nil
}
