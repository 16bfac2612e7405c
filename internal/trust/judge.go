// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxIntroduced is how many roots one after the other are introduced at most: what the last
// one introduces is refused.
const MaxIntroduced = 3

// judge is a root that was followed to its newest metadata, and how it came to judge.
type judge struct {
	name   string
	own    bool     // it is one of the user's map
	by     []string // who introduced it, the nearest first
	within []string // patterns that it was introduced for; nil for no bound but the user's
	pin    []byte
	client *tuf.Client
	notes  []string
}

// String returns the name with how the root came to judge.
func (j *judge) String() string {
	if len(j.by) == 0 {
		return j.name
	}
	name := j.name
	if j.own {
		name += " of trust.toml"
	}
	return name + ", introduced by " + strings.Join(j.by, ", introduced by ")
}

// OpenFor returns what judges a repository: a root of the configuration, or the one that it
// introduces for it (SPEC 17.3). If that one cannot be had there is none: the introducer does
// not judge in its place. The zero repository is nobody's. Errors are those of [Config.Open].
func (c *Config) OpenFor(ctx context.Context, name string, repo policy.Locator, o Options) (out Root, err error) {
	if name == string(PublicGood) {
		return PublicGood.root(ctx, o)
	}
	err = c.judging(ctx, name, repo, o, func(j *judge) error {
		if out, err = Read(ctx, j.String(), j.client); err != nil {
			return err
		}
		out.Identity, out.Newest = spelling.Sum(j.pin), j.client.Root().Digest
		out.By, out.Notes = j.by, j.notes
		if j.own {
			out.Own = j.name
		}
		return nil
	})
	if err != nil {
		return Root{}, err
	}
	return out, nil
}

// Introduces reports whether what a root introduces for a repository judges it: that of a
// root which a scope of the user's names for the repository, and not on a host that belongs
// to the public instance.
func (c *Config) Introduces(name string, repo policy.Locator) bool {
	return c.introduces(name, repo) && !slices.Contains(publicHosts, repo.Host())
}

// Introductions returns what a root of the configuration introduces, for people; see
// [ListIntroductions].
func (c *Config) Introductions(ctx context.Context, name string, o Options) (
	out []ListedIntroduction, err error,
) {
	err = c.with(ctx, name, o, func(_ []byte, client *tuf.Client) error {
		out, err = ListIntroductions(ctx, client)
		return err
	})
	return out, err
}

func (c *Config) introduces(name string, repo policy.Locator) bool {
	if _, ok := c.Root(name); !ok || repo.IsZero() {
		return false
	}
	return slices.ContainsFunc(c.For(repo), func(s Scope) bool { return slices.Contains(s.Roots, name) })
}

// judging follows a root of the configuration and the one that it introduces for a
// repository, and so on, and calls use with the last of them.
func (c *Config) judging(
	ctx context.Context, name string, repo policy.Locator, o Options, use func(*judge) error,
) error {
	return c.with(ctx, name, o, func(pin []byte, client *tuf.Client) error {
		j := &judge{name: name, own: true, pin: pin, client: client}
		switch {
		case c.Introduces(name, repo):
			return c.introduced(ctx, repo, o, []*judge{j}, use)
		case c.introduces(name, repo):
			if path := listed(ctx, client, repo); path != "" {
				j.notes = append(j.notes, fmt.Sprintf("%s judges %s itself: no introduced root speaks for %s, as %s would let one",
					name, repo, repo.Host(), path))
			}
		}
		return use(j)
	})
}

// introduced calls use with the last of some roots of which each introduces the next one for
// a repository, or goes on with the one that the last introduces.
func (c *Config) introduced(
	ctx context.Context, repo policy.Locator, o Options, path []*judge, use func(*judge) error,
) error {
	last := path[len(path)-1]
	in, err := FindIntroduction(ctx, last.client, repo)
	if err == nil && in == nil {
		return use(last)
	}
	if err == nil && last.within != nil {
		if err = in.within(last.within); err != nil {
			err = invalid(fmt.Errorf("introduces %s: %w", in.Name, err))
		}
	}
	if err == nil && len(path) > MaxIntroduced {
		err = invalid(fmt.Errorf("introduces %s for %s: at most %d are introduced one after the other", in.Name, repo,
			MaxIntroduced))
	}
	if err != nil {
		return about("root "+last.String(), err)
	}
	next := &judge{
		name: in.Name, by: append([]string{last.name}, last.by...), within: in.Repositories, pin: in.Initial,
		notes: last.notes,
	}
	further := false
	address, how, err := c.placeOf(ctx, in, next, last, o, len(path))
	if err == nil {
		err = follow(ctx, next.pin, address, how, func(client *tuf.Client) error {
			next.client = client
			if slices.ContainsFunc(path, next.is) {
				return invalid(fmt.Errorf("for %s it is introduced, in the end, by itself", repo))
			}
			further = true
			return c.introduced(ctx, repo, o, append(path, next), use)
		})
	}
	if err != nil && !further { // what was wrong later says itself of whom it is
		err = about("root "+next.String(), err)
	}
	return err
}

// is reports whether two roots that were followed are one, from whatever version on.
func (j *judge) is(other *judge) bool {
	return spelling.Sum(j.pin) == spelling.Sum(other.pin) || j.client.Root().Digest == other.client.Root().Digest
}

// placeOf returns where and how a root is followed that another one introduced. One of the
// user's of the same name comes in its place, with what the user says of it.
func (c *Config) placeOf(
	ctx context.Context, in *Introduction, next, last *judge, o Options, depth int,
) (address string, how Options, err error) {
	how = o
	how.Source, how.Record = nil, nil
	if o.Introduced != nil {
		how.Source, how.Record = o.Introduced(depth)
	}
	if named, ok := c.Root(in.Name); ok {
		next.own = true
		next.notes = append(slices.Clip(last.notes), fmt.Sprintf(
			"%s introduces a root %s; yours of that name, in trust.toml, comes in its place", last.name, in.Name))
		next.pin, address, how, err = c.place(ctx, &named, how)
		return address, how, err
	}
	how.Credential = nil // that somebody names a registry is no reason to log in there
	open := o.Identities
	if in.ByIntroducer && open != nil {
		open = func(ctx context.Context, _ string) (*sigstore.Root, error) {
			r, err := Read(ctx, last.String(), last.client)
			return r.Root, err
		}
	}
	how.keyTypes = Identities(ctx, string(PublicGood), open)
	return in.URL, how, nil
}
