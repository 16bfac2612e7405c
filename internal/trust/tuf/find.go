// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
)

var errNotRefreshed = errors.New("the metadata was not refreshed")

// Root returns the newest root that the last refresh verified, the one that is
// pinned before the first.
func (c *Client) Root() *Root {
	if c.root == nil {
		return c.initial
	}
	return c.root
}

// Expires returns when the first of the top-level metadata expires, and its role.
func (c *Client) Expires() (role string, h Header) {
	if c.targets == nil {
		return roleRoot, c.Root().Header
	}
	role, h = roleRoot, c.root.Header
	for name, other := range map[string]Header{
		roleTimestamp: c.timestamp.Header, roleSnapshot: c.snapshot.Header, roleTargets: c.targets.Header,
	} {
		if other.Expires.Before(h.Expires) || other.Expires.Equal(h.Expires) && name < role {
			role, h = name, other
		}
	}
	return role, h
}

// Targets returns the targets metadata of a delegated role, named by the roles
// that lead to it from the top: none for the top-level role. Files that a
// delegation on the way does not hand down are left out. Which role answers for a
// file where several list it, [Client.Find] says.
func (c *Client) Targets(ctx context.Context, roles ...string) (*Targets, error) {
	if c.targets == nil {
		return nil, errNotRefreshed
	}
	t, within := c.targets, func(string) bool { return true }
	for _, role := range roles {
		d, delegates, ok := t.named(role)
		if !ok {
			return nil, fmt.Errorf("%s: %w: %s does not delegate to it", clip.Text(role), ErrNoTarget, clip.Text(t.Role))
		}
		next, err := c.delegate(ctx, t, d)
		if err != nil {
			return nil, err
		}
		outer := within
		t, within = next, func(name string) bool { return outer(name) && delegates(name) }
	}
	out := *t
	out.Files = maps.Clone(t.Files)
	maps.DeleteFunc(out.Files, func(name string, _ TargetFile) bool { return !within(name) })
	return &out, nil
}

// Walk calls use with the top-level targets metadata and that of every role that it
// delegates to, breadth first: once for each role that delegates to a role, and with all
// files that are listed there, whether a delegation hands them down or not. Of succinct
// bins those are visited that the snapshot lists; others cannot be had. The error wraps
// ErrTooManyRoles beyond so many delegations.
func (c *Client) Walk(ctx context.Context, most int, use func(*Targets) error) error {
	if c.targets == nil {
		return errNotRefreshed
	}
	seen := map[[2]string]bool{}
	for left := []*Targets{c.targets}; len(left) > 0; left = left[1:] {
		from := left[0]
		if err := use(from); err != nil {
			return err
		}
		for _, d := range c.delegations(from) {
			at := [2]string{from.Role, d.Name}
			if seen[at] {
				continue
			}
			if seen[at] = true; len(seen) > most {
				return fmt.Errorf("%w: there are more than %d", ErrTooManyRoles, most)
			}
			t, err := c.delegate(ctx, from, d)
			if err != nil {
				return err
			}
			left = append(left, t)
		}
	}
	return nil
}

// delegations returns to whom a role delegates, of succinct bins those that the snapshot
// lists.
func (c *Client) delegations(t *Targets) []Delegation {
	if t.bins == nil {
		return t.Delegations
	}
	var out []Delegation
	for _, file := range slices.Sorted(maps.Keys(c.snapshot.meta)) {
		if role, ok := strings.CutSuffix(file, ".json"); ok && t.bins.has(role) {
			out = append(out, Delegation{Role: t.bins.Role, Name: role, Terminating: true})
		}
	}
	return out
}

// delegate returns the metadata of a role under the keys of the role that
// delegates to it.
func (c *Client) delegate(ctx context.Context, from *Targets, d Delegation) (*Targets, error) {
	at := [2]string{from.Role, d.Name}
	if t, ok := c.delegated[at]; ok {
		return t, nil
	}
	t, err := c.loadTargets(ctx, d.Name, d.Role, from.Keys)
	if err == nil {
		c.delegated[at] = t
	}
	return t, err
}

// Find returns what the repository says of a target: the word of the first role
// that lists it, in the order of the delegations, depth first (5.6.7). The error
// wraps ErrNoTarget if no role does, ErrTooManyRoles if not all that may were asked, and
// says why if a role on the way cannot be verified.
func (c *Client) Find(ctx context.Context, name string) (TargetFile, error) {
	var none TargetFile
	if c.targets == nil {
		return none, errNotRefreshed
	}
	if err := checkName(name); err != nil {
		return none, err
	}
	type visit struct {
		from *Targets
		via  []string // the roles that lead to from
		to   Delegation
	}
	visited := map[string]bool{roleTargets: true}
	var left []visit // the next one last
	var via []string
	for t := c.targets; ; {
		if f, ok := t.Files[name]; ok {
			f.Via = via
			return f, nil
		}
		var next []visit
		for _, d := range t.of(name) {
			next = append(next, visit{t, via, d})
			if d.Terminating {
				left = nil
				break
			}
		}
		slices.Reverse(next)
		left = append(left, next...)
		for len(left) > 0 && visited[left[len(left)-1].to.Name] {
			left = left[:len(left)-1]
		}
		if len(left) == 0 {
			return none, fmt.Errorf("%s: %w", clip.Text(name), ErrNoTarget)
		}
		v := left[len(left)-1]
		left = left[:len(left)-1]
		if len(visited) > maxRoles {
			return none, fmt.Errorf("%s: %w: it is not in the first %d", clip.Text(name), ErrTooManyRoles, maxRoles)
		}
		visited[v.to.Name] = true
		via = append(slices.Clip(v.via), v.to.Name)
		var err error
		if t, err = c.delegate(ctx, v.from, v.to); err != nil {
			return none, err
		}
	}
}

// Target returns the content of a target, verified, from the cache or the source.
func (c *Client) Target(ctx context.Context, name string) ([]byte, error) {
	t, err := c.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.Fetch(ctx, t)
}

// Check returns why data is not the content of the target: another length or
// another hash (TUF 5.7.3).
func (t TargetFile) Check(data []byte) error {
	if len(t.Hashes) == 0 || t.Length > MaxTarget {
		return fmt.Errorf("%s: %w: %d bytes, at most %d are read", clip.Text(t.Name), ErrMismatch, t.Length, MaxTarget)
	}
	return check(clip.Text(t.Name), data, t.Length, t.Hashes)
}

// Fetch returns the content of a target that [Client.Find] or [Client.Targets]
// returned.
func (c *Client) Fetch(ctx context.Context, t TargetFile) ([]byte, error) {
	if c.targets == nil {
		return nil, errNotRefreshed
	}
	if err := checkName(t.Name); err != nil {
		return nil, err
	}
	if len(t.Hashes) == 0 || t.Length > MaxTarget {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d are read", clip.Text(t.Name), ErrMismatch, t.Length, MaxTarget)
	}
	kept := contentFile(t.sum())
	if data, err := c.store.load(kept, t.Length); err == nil && t.Check(data) == nil {
		return data, nil
	}
	if c.offline {
		return nil, fmt.Errorf("%s: it is not in the cache", clip.Text(t.Name))
	}
	data, err := c.options.Source.Target(ctx, c.targetPath(t), t.Length)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clip.Text(t.Name), err)
	}
	if err := t.Check(data); err != nil {
		return nil, err
	}
	return data, c.store.keep(kept, data)
}
