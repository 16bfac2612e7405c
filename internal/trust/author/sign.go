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

// groups returns who has to sign a role's metadata. A root is signed as the one
// before it says, and as it says itself.
func (r *Repository) groups(role string) ([]Setup, error) {
	of := func(keys map[string]*metadata.Key, ids []string, threshold int) (Setup, error) {
		g := Setup{Threshold: threshold}
		for _, id := range ids {
			k := keys[id]
			if k == nil {
				return g, fmt.Errorf("%s: no key %s", role, id)
			}
			key, err := keyOf(k)
			if err != nil {
				return g, err
			}
			key.id, key.label = id, r.names[id]
			g.Keys = append(g.Keys, key)
		}
		return g, nil
	}
	var out []Setup
	add := func(g Setup, err error) error {
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
func (r *Repository) sign(
	ctx context.Context, s Signer, only []string, kept func() error,
) (signed []string, known bool, err error) {
	for _, d := range r.stagedDocuments() {
		if only != nil && !slices.Contains(only, d.role) {
			continue
		}
		groups, err := r.groups(d.role)
		if err != nil {
			return signed, known, err
		}
		did, mine, err := d.sign(ctx, s, groups)
		if known = known || mine; err != nil {
			return signed, known, fmt.Errorf("%s: %w", d.role, err)
		}
		if !did {
			continue
		}
		signed = append(signed, d.role)
		if err := kept(); err != nil {
			return signed, known, err
		}
	}
	return signed, known, nil
}

// sign adds the signature of a signer, if one of the groups waits for it. It reports whether it
// did, and whether the signer is one of those who sign, or have signed.
func (d *document) sign(ctx context.Context, s Signer, groups []Setup) (did, mine bool, err error) {
	left, people := d.waiting(groups, s)
	if _, certified := s.(*IdentitySigner); certified && len(left) == 0 { // not certified in vain
		return false, people, nil
	}
	data, err := d.canonical()
	if err != nil {
		return false, false, err
	}
	sig, err := s.Sign(ctx, data, func(id string) bool {
		mine = mine || d.signedBy(id)
		return left[id]
	})
	if errors.Is(err, ErrNotWanted) {
		return false, mine, nil
	}
	if err != nil {
		return false, mine, err
	}
	*d.signatures = append(*d.signatures, sig)
	return true, true, nil
}

// waiting returns the keys of the groups that have not signed and that a signer of this kind
// could be, and whether an identity has signed.
func (d *document) waiting(groups []Setup, s Signer) (left map[string]bool, people bool) {
	_, certified := s.(*IdentitySigner)
	left = map[string]bool{}
	for _, g := range groups {
		for _, k := range g.Keys {
			oidc := k.tuf.Type == keyTypeOIDC
			if d.signedBy(k.id) {
				people = people || oidc
			} else if oidc || !certified {
				left[k.id] = true
			}
		}
	}
	return left, people
}

// signedBy reports whether a key has signed.
func (d *document) signedBy(id string) bool {
	return slices.ContainsFunc(*d.signatures, func(s metadata.Signature) bool { return s.KeyID == id })
}

// need returns how many signatures are missing, and those of whom they could be.
func (d *document) need(groups []Setup) (need int, missing []Key) {
	for _, g := range groups {
		var left []Key
		for _, k := range g.Keys {
			if !d.signedBy(k.id) {
				left = append(left, k)
			}
		}
		n := g.Threshold - (len(g.Keys) - len(left))
		if n <= 0 {
			continue
		}
		need = max(need, n)
		for _, k := range left {
			if !slices.ContainsFunc(missing, func(m Key) bool { return m.id == k.id }) {
				missing = append(missing, k)
			}
		}
	}
	return need, missing
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
		out = append(
			out, Status{Role: role, Version: r.targets[role].Signed.Version, Expires: r.targets[role].Signed.Expires},
		)
	}
	if r.snapshot != nil {
		out = append(
			out, Status{Role: Snapshot, Version: r.snapshot.Signed.Version, Expires: r.snapshot.Signed.Expires},
		)
	}
	if r.timestamp != nil {
		out = append(
			out, Status{Role: Timestamp, Version: r.timestamp.Signed.Version, Expires: r.timestamp.Signed.Expires},
		)
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
		s.Need, s.Missing = docs[at].need(groups)
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
	return g.Keys, g.Threshold, nil
}
