// SPDX-License-Identifier: Apache-2.0

// Package tuf is a client of TUF repositories (The Update Framework 1.0.31,
// section 5; TAP 12, 15): from a root that is pinned once it follows every
// rotation of keys, and returns the targets that the repository says are current.
//
// Signatures are verified over the bytes that came, in their canonical form, and
// what is read is read from the same; types of keys can be added. Names follow the
// specification.
package tuf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// Limits of files, in bytes, where the metadata states none, and whatever it states.
const (
	maxRoot      = 1 << 20
	maxTimestamp = 64 << 10
	maxSnapshot  = 8 << 20
	maxTargets   = 8 << 20
	MaxTarget    = 8 << 20 // largest target that is read
)

const (
	maxRotations = 256 // roots that are followed in one refresh
	maxRoles     = 32  // roles that are visited in search of a target
)

// Options say which repository to follow, and how.
type Options struct {
	Root   []byte // root metadata that is trusted from the start
	Source Source // nil for what is in the cache
	// Cache is the directory below which verified metadata and targets are kept,
	// in a directory for each root; "" keeps nothing.
	Cache string
	// MaxAge is how long after a refresh the cache is used without another one.
	MaxAge time.Duration
	// Now returns the time against which expiry is judged; it must be set.
	Now func() time.Time
	// KeyTypes adds to the types of keys that are built in, by "keytype".
	KeyTypes map[string]KeyType
}

// Client follows one repository. It is not for use by several goroutines.
type Client struct {
	options Options
	store   store
	initial *Root
	state   // of the last refresh; zero before
}

// state is a consistent set of verified metadata.
type state struct {
	root      *Root
	timestamp *listing
	snapshot  *listing
	targets   *Targets
	delegated map[[2]string]*Targets // by the delegating role and the role
	now       time.Time              // when the update started
	offline   bool                   // only the cache is asked
	kept      bool                   // the metadata is what was kept: the source was not asked
}

// New returns a client that trusts a root. The root must be signed by its own
// keys, and may have expired. Nothing is fetched.
func New(o Options) (*Client, error) {
	if o.Now == nil {
		return nil, errors.New("no clock")
	}
	c := &Client{options: o}
	d, root, err := c.readRoot(o.Root)
	if err == nil {
		err = c.verify("the pinned root", d, root.Roles[roleRoot], root.Keys)
	}
	if err != nil {
		return nil, err
	}
	c.initial = root
	sum := sha256.Sum256(o.Root)
	c.store, err = openStore(o.Cache, hex.EncodeToString(sum[:]))
	return c, err
}

func (c *Client) readRoot(data []byte) (*document, *Root, error) {
	d, err := read(data, roleRoot)
	if err != nil {
		return nil, nil, err
	}
	r, err := readRoot(d)
	return d, r, err
}

// Refresh brings the metadata up to date: root, timestamp, snapshot and the
// top-level targets. With a cache that was refreshed less than MaxAge ago and has
// not expired, nothing is fetched. The error wraps one of the errors of this
// package, or what the source said. After an error the client is what it was.
func (c *Client) Refresh(ctx context.Context) error {
	now := c.options.Now()
	if c.options.Source == nil || c.store.fresh(now, c.options.MaxAge) {
		err := c.update(ctx, now, true)
		if err == nil || c.options.Source == nil {
			return err
		}
	}
	unlock, err := c.store.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// Another process may have refreshed in the meantime.
	if c.store.fresh(now, c.options.MaxAge) && c.update(ctx, now, true) == nil {
		return nil
	}
	if err := c.update(ctx, now, false); err != nil {
		return err
	}
	return c.store.refreshed(now)
}

// Now returns the moment of the last refresh, against which expiry was judged.
func (c *Client) Now() time.Time { return c.now }

// Again asks the source although what is kept is fresh, and reports whether there is newer
// metadata than before. After a failure the client is what it was.
func (c *Client) Again(ctx context.Context) bool {
	if c.options.Source == nil || !c.kept || c.snapshot == nil {
		return false
	}
	unlock, err := c.store.lock(ctx)
	if err != nil {
		return false
	}
	defer unlock()
	now, before := c.options.Now(), c.snapshot.Version
	return c.update(ctx, now, false) == nil && c.store.refreshed(now) == nil && c.snapshot.Version != before
}

func (c *Client) update(ctx context.Context, now time.Time, offline bool) error {
	u := &Client{options: c.options, store: c.store, initial: c.initial, state: state{
		root: c.initial, now: now, offline: offline, kept: offline, delegated: map[[2]string]*Targets{},
	}}
	for _, step := range []func(context.Context) error{
		u.updateRoot, u.updateTimestamp, u.updateSnapshot, u.updateTargets,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	c.state = u.state
	c.offline = c.options.Source == nil // what else is needed may be fetched
	return nil
}

// updateRoot follows the chain of roots (5.3). Kept roots are verified like those
// that are fetched, each by the one before it.
func (c *Client) updateRoot(ctx context.Context) error {
	kept := true
	for range maxRotations {
		name := strconv.FormatInt(c.root.Version+1, 10) + ".root.json"
		if kept {
			data, err := c.store.load(rootFile(c.root.Version+1), maxRoot)
			if err == nil {
				if err = c.nextRoot(name, data); err == nil {
					continue
				}
			}
			kept = false
		}
		if c.offline {
			return c.root.current(roleRoot, c.now)
		}
		data, err := c.options.Source.Metadata(ctx, name, maxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			return c.root.current(roleRoot, c.now)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		before := c.root
		if err := c.nextRoot(name, data); err != nil {
			return err
		}
		// What an attacker signed with keys that are gone is forgotten first, so
		// that no interruption keeps it beside the new root.
		if c.rotated(roleTimestamp, before, c.root) || c.rotated(roleSnapshot, before, c.root) {
			if err := c.store.forget(timestampFile, snapshotFile); err != nil {
				return err
			}
		}
		if err := c.store.keep(rootFile(c.root.Version), data); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w: more than %d rotations", roleRoot, ErrMismatch, maxRotations)
}

// nextRoot takes a root that the root before it and its own keys signed.
func (c *Client) nextRoot(name string, data []byte) error {
	d, next, err := c.readRoot(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := c.verify(name, d, c.root.Roles[roleRoot], c.root.Keys); err != nil {
		return err
	}
	if err := c.verify(name+" by its own keys", d, next.Roles[roleRoot], next.Keys); err != nil {
		return err
	}
	if next.Version != c.root.Version+1 {
		return fmt.Errorf("%s: %w: it is version %d", name, ErrMismatch, next.Version)
	}
	c.root = next
	return nil
}

// updateTimestamp is 5.4. A kept timestamp only serves against rollback until it
// is known to be the newest.
func (c *Client) updateTimestamp(ctx context.Context) error {
	const name = roleTimestamp + ".json"
	if data, err := c.store.load(timestampFile, maxTimestamp); err == nil {
		c.timestamp, _ = c.readListing(data, roleTimestamp)
	}
	if !c.offline {
		data, err := c.options.Source.Metadata(ctx, name, maxTimestamp)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		next, err := c.readListing(data, roleTimestamp)
		if err != nil {
			return err
		}
		old := c.timestamp
		switch {
		case old == nil || next.Version > old.Version:
			if old != nil && next.snapshot().version < old.snapshot().version {
				return fmt.Errorf("%s: %w: it names snapshot %d after %d", name, ErrRollback, next.snapshot().version,
					old.snapshot().version)
			}
			if err := next.current(roleTimestamp, c.now); err != nil {
				return err
			}
			if err := c.store.keep(timestampFile, data); err != nil {
				return err
			}
			c.timestamp = next
		case next.Version < old.Version:
			return fmt.Errorf("%s: %w: version %d after %d", name, ErrRollback, next.Version, old.Version)
		}
	}
	if c.timestamp == nil {
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return c.timestamp.current(roleTimestamp, c.now)
}

func (l *listing) snapshot() fileInfo { return l.meta[roleSnapshot+".json"] }

// readListing reads timestamp or snapshot metadata that is signed as the root says.
func (c *Client) readListing(data []byte, role string) (*listing, error) {
	d, err := read(data, role)
	if err != nil {
		return nil, err
	}
	if err := c.verify(role, d, c.root.Roles[role], c.root.Keys); err != nil {
		return nil, err
	}
	return readListing(d, role)
}

// updateSnapshot is 5.5.
func (c *Client) updateSnapshot(ctx context.Context) error {
	const name = roleSnapshot + ".json"
	info := c.timestamp.snapshot()
	var old *listing
	if data, err := c.store.load(snapshotFile, maxSnapshot); err == nil {
		if old, _ = c.readListing(data, roleSnapshot); old != nil && old.Version == info.version &&
			info.check(name, data) == nil {
			c.snapshot = old
			return old.current(roleSnapshot, c.now)
		}
	}
	data, err := c.fetch(ctx, roleSnapshot, info, maxSnapshot)
	if err != nil {
		return err
	}
	next, err := c.readListing(data, roleSnapshot)
	if err != nil {
		return err
	}
	if next.Version != info.version {
		return fmt.Errorf("%s: %w: version %d, not %d", name, ErrMismatch, next.Version, info.version)
	}
	if old != nil {
		for file, was := range old.meta {
			if is, ok := next.meta[file]; !ok || is.version < was.version {
				return fmt.Errorf("%s: %w: %s was at version %d, is at %d", name, ErrRollback, clip.Text(file), was.version,
					is.version)
			}
		}
	}
	if err := next.current(roleSnapshot, c.now); err != nil {
		return err
	}
	c.snapshot = next
	return c.store.keep(snapshotFile, data)
}

// fetch returns metadata that is as long as was announced, with the hashes that
// were announced.
func (c *Client) fetch(ctx context.Context, role string, info fileInfo, limit int64) ([]byte, error) {
	name := role + ".json"
	if c.root.ConsistentSnapshot {
		name = strconv.FormatInt(info.version, 10) + "." + name
	}
	if info.length > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d are read", clip.Text(name), ErrMismatch, info.length, limit)
	}
	if info.length > 0 {
		limit = info.length
	}
	if c.offline {
		return nil, fmt.Errorf("%s: %w", clip.Text(name), fs.ErrNotExist)
	}
	data, err := c.options.Source.Metadata(ctx, name, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clip.Text(name), err)
	}
	return data, info.check(clip.Text(name), data)
}

// updateTargets is 5.6 for the top-level role.
func (c *Client) updateTargets(ctx context.Context) (err error) {
	c.targets, err = c.loadTargets(ctx, roleTargets, c.root.Roles[roleTargets], c.root.Keys)
	return err
}

// loadTargets returns the current targets metadata of a role, from the cache or
// the source.
func (c *Client) loadTargets(ctx context.Context, role string, by Role, keys map[string]Key) (*Targets, error) {
	name := role + ".json"
	info, ok := c.snapshot.meta[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w: the snapshot does not list it", clip.Text(name), ErrMismatch)
	}
	if data, err := c.store.load(targetsFile(role), maxTargets); err == nil && info.check(name, data) == nil {
		if t, err := c.readTargets(data, role, info, by, keys); err == nil {
			return t, nil
		}
	}
	data, err := c.fetch(ctx, role, info, maxTargets)
	if err != nil {
		return nil, err
	}
	t, err := c.readTargets(data, role, info, by, keys)
	if err != nil {
		return nil, err
	}
	return t, c.store.keep(targetsFile(role), data)
}

func (c *Client) readTargets(data []byte, role string, info fileInfo, by Role, keys map[string]Key) (*Targets, error) {
	d, err := read(data, roleTargets)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clip.Text(role), err)
	}
	if err := c.verify(clip.Text(role), d, by, keys); err != nil {
		return nil, err
	}
	if d.Version != info.version {
		return nil, fmt.Errorf("%s: %w: version %d, not %d", clip.Text(role), ErrMismatch, d.Version, info.version)
	}
	if err := d.current(clip.Text(role), c.now); err != nil {
		return nil, err
	}
	return readTargets(d, role)
}

// targetPath is where a source has a target (5.7.3).
func (c *Client) targetPath(t TargetFile) string {
	if !c.root.ConsistentSnapshot {
		return t.Name
	}
	dir, file := path.Split(t.Name)
	return dir + t.sum() + "." + file
}

// sum names a target by its content.
func (t TargetFile) sum() string {
	alg := "sha256"
	if t.Hashes[alg] == nil {
		alg = "sha512"
	}
	return hex.EncodeToString(t.Hashes[alg])
}
