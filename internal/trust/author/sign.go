// SPDX-License-Identifier: Apache-2.0

package author

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// group are keys of which so many have to sign.
type group struct {
	keys      []Key
	threshold int
}

// groups returns who has to sign a role's metadata. A root is signed as the one
// before it says, and as it says itself.
func (r *Repository) groups(role string) ([]group, error) {
	of := func(keys map[string]*metadata.Key, ids []string, threshold int) (group, error) {
		g := group{threshold: threshold}
		for _, id := range ids {
			k := keys[id]
			if k == nil {
				return g, fmt.Errorf("%s: no key %s", role, id)
			}
			key, err := keyOf(k)
			if err != nil {
				return g, err
			}
			key.id = id
			g.keys = append(g.keys, key)
		}
		return g, nil
	}
	var out []group
	add := func(g group, err error) error {
		out = append(out, g)
		return err
	}
	if !slices.Contains(Roles, role) {
		for _, d := range r.delegations() {
			if d.Name == role {
				return out, add(of(r.targets[Targets].Signed.Delegations.Keys, d.KeyIDs, d.Threshold))
			}
		}
		return nil, nil // a role that nobody delegates to any more needs no signature
	}
	if role == Root && r.before != nil && r.before.Signed.Version < r.root.Signed.Version {
		to := r.before.Signed.Roles[role]
		if err := add(of(r.before.Signed.Keys, to.KeyIDs, to.Threshold)); err != nil {
			return nil, err
		}
	}
	to := r.root.Signed.Roles[role]
	return out, add(of(r.root.Signed.Keys, to.KeyIDs, to.Threshold))
}

// Sign lets a signer sign everything that is staged and that its key is for, and
// returns the roles. What it signed before is not signed again; each signature is kept
// before the next one is made. The error wraps [ErrNotWanted] if nothing staged is for the key.
func (r *Repository) Sign(ctx context.Context, s Signer) ([]string, error) {
	signed, known, err := r.sign(ctx, s, nil, r.save)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("nothing that is staged: %w", ErrNotWanted)
	}
	return signed, r.save()
}

// sign calls kept after each signature, which may be public by then.
func (r *Repository) sign(ctx context.Context, s Signer, only []string, kept func() error) (signed []string, known bool, err error) {
	_, certified := s.(*IdentitySigner)
	for _, d := range r.stagedDocuments() {
		if only != nil && !slices.Contains(only, d.role) {
			continue
		}
		groups, err := r.groups(d.role)
		if err != nil {
			return signed, known, err
		}
		left, people := map[string]bool{}, false // identities that have signed
		for _, g := range groups {
			for _, k := range g.keys {
				switch {
				case slices.ContainsFunc(*d.signatures, func(x metadata.Signature) bool { return x.KeyID == k.id }):
					people = people || k.tuf.Type == keyTypeOIDC
				case !certified || k.tuf.Type == keyTypeOIDC: // a certificate is not asked for in vain
					left[k.id] = true
				}
			}
		}
		if len(left) == 0 && certified {
			known = known || people
			continue
		}
		data, err := d.canonical()
		if err != nil {
			return signed, known, err
		}
		sig, err := s.Sign(ctx, data, func(id string) bool {
			known = known || slices.ContainsFunc(*d.signatures, func(x metadata.Signature) bool { return x.KeyID == id })
			return left[id]
		})
		if errors.Is(err, ErrNotWanted) {
			continue
		}
		if err != nil {
			return signed, known, fmt.Errorf("%s: %w", d.role, err)
		}
		*d.signatures = append(*d.signatures, sig)
		signed, known = append(signed, d.role), true
		if err := kept(); err != nil {
			return signed, known, err
		}
	}
	return signed, known, nil
}

// Status is how it stands with a role.
type Status struct {
	Role    string
	Version int64
	Expires time.Time
	Days    int  // for how long it is signed
	Staged  bool // not published yet
	// Missing are those of whom so many have to sign what is staged; nil if enough
	// have signed.
	Missing []Key
	Need    int
}

// Renew reports whether a role expires soon: when less than a quarter of the time
// that it is signed for is left.
func (s Status) Renew(now time.Time) bool {
	return !s.Staged && s.Expires.Sub(now) < time.Duration(s.Days)*day/4
}

// Status returns how it stands with every role.
func (r *Repository) Status() ([]Status, error) {
	out := []Status{{Role: Root, Version: r.root.Signed.Version, Expires: r.root.Signed.Expires}}
	for _, role := range r.targetRoles() {
		out = append(out, Status{Role: role, Version: r.targets[role].Signed.Version, Expires: r.targets[role].Signed.Expires})
	}
	if r.snapshot != nil {
		out = append(out, Status{Role: Snapshot, Version: r.snapshot.Signed.Version, Expires: r.snapshot.Signed.Expires})
	}
	if r.timestamp != nil {
		out = append(out, Status{Role: Timestamp, Version: r.timestamp.Signed.Version, Expires: r.timestamp.Signed.Expires})
	}
	docs := r.stagedDocuments()
	for i := range out {
		s := &out[i]
		s.Days = r.days(s.Role)
		at := slices.IndexFunc(docs, func(d *document) bool { return d.role == s.Role })
		if s.Staged = at >= 0; !s.Staged {
			continue
		}
		groups, err := r.groups(s.Role)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			var missing []Key
			for _, k := range g.keys {
				if !slices.ContainsFunc(*docs[at].signatures, func(x metadata.Signature) bool { return x.KeyID == k.id }) {
					missing = append(missing, k)
				}
			}
			if need := g.threshold - (len(g.keys) - len(missing)); need > 0 {
				s.Need = max(s.Need, need)
				for _, k := range missing {
					if !slices.ContainsFunc(s.Missing, func(m Key) bool { return m.id == k.id }) {
						s.Missing = append(s.Missing, k)
					}
				}
			}
		}
	}
	return out, nil
}

// Keys returns who signs for a role, as it is staged or published.
func (r *Repository) Keys(role string) ([]Key, int, error) {
	groups, err := r.groups(role)
	if err != nil || len(groups) == 0 {
		return nil, 0, err
	}
	g := groups[len(groups)-1]
	return g.keys, g.threshold, nil
}
