// SPDX-License-Identifier: Apache-2.0

package author

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/file"
)

// Version is a version of a policy in the terms of TUF: those who may change it are the
// keys of the root, and what it allows whom is delegated by the targets.
type Version struct {
	Number   int64
	Expires  time.Time
	People   Setup
	Target   string // path of the policy
	Policy   []byte
	Releases []Release
}

// Release is what some may release, by patterns of names.
type Release struct {
	Name     string
	Patterns []string
	Setup
}

// chain is the metadata of a version.
type chain struct {
	root    *metadata.Metadata[metadata.RootType]
	targets *metadata.Metadata[metadata.TargetsType]
}

// build returns the metadata of a version, which nobody has signed.
func (v Version) build() (*chain, error) {
	r := &Repository{root: metadata.Root(), targets: map[string]*metadata.Metadata[metadata.TargetsType]{Targets: metadata.Targets()}, staged: map[string]bool{}}
	for _, role := range Roles {
		if err := r.assign(role, v.People); err != nil {
			return nil, err
		}
	}
	c := &chain{r.root, r.targets[Targets]}
	c.root.Signed.Version, c.root.Signed.Expires = v.Number, v.Expires
	c.targets.Signed.Version, c.targets.Signed.Expires = v.Number, v.Expires
	info, err := metadata.TargetFile().FromBytes(v.Target, v.Policy, "sha256")
	if err != nil {
		return nil, err
	}
	c.targets.Signed.Targets[v.Target] = info
	for _, d := range v.Releases {
		role := metadata.DelegatedRole{Name: d.Name, Threshold: d.Threshold, Paths: d.Patterns}
		if c.targets.Signed.Delegations == nil {
			c.targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		}
		for _, k := range d.Keys {
			role.KeyIDs = append(role.KeyIDs, k.id)
			c.targets.Signed.Delegations.Keys[k.id] = k.tuf
		}
		c.targets.Signed.Delegations.Roles = append(c.targets.Signed.Delegations.Roles, role)
	}
	return c, nil
}

// WriteChain writes the root and targets metadata of versions that follow one another
// into a directory, N.root.json and N.targets.json, and lets a signer, unless it is nil, sign what of
// it its key is for: a root also as the version before it demands. Signatures that are there
// over the same content stay. It returns the files that were signed, and the files that
// still lack signatures with how many. The error wraps [ErrNotWanted] if nothing is for the key.
// Nothing is written then; else each file is once it is signed, and the others at last.
func WriteChain(ctx context.Context, dir string, versions []Version, s Signer) (signed []string, missing map[string]int, err error) {
	missing = map[string]int{}
	known := s == nil
	type written struct {
		name string
		data []byte
	}
	var files []written
	for i, v := range versions {
		c, err := v.build()
		if err != nil {
			return nil, nil, fmt.Errorf("version %d: %w", v.Number, err)
		}
		groups := []Setup{v.People}
		if i > 0 {
			groups = append(groups, versions[i-1].People)
		}
		root, targets := wrap(Root, c.root), wrap(Targets, c.targets)
		for _, x := range []struct {
			name   string
			doc    *document
			groups []Setup
		}{{rootName(v.Number), root, groups}, {versioned(v.Number, Targets), targets, groups[:1]}} {
			name := x.name
			did, need, mine, err := signDocument(ctx, filepath.Join(dir, name), x.doc, x.groups, s)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			if did {
				signed = append(signed, name)
			}
			if need > 0 {
				missing[name] = need
			}
			known = known || mine
			data, err := x.doc.bytes()
			if err != nil {
				return nil, nil, err
			}
			data = append(data, '\n')
			if files = append(files, written{name, data}); did { // the signature may be public
				if err := file.Update(dir, name, data); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	if !known {
		return nil, nil, fmt.Errorf("no version: %w", ErrNotWanted)
	}
	for _, f := range files {
		if err := file.Update(dir, f.name, f.data); err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(signed)
	return signed, missing, nil
}

// signDocument takes over the signatures of an earlier run and adds one. It reports whether it
// did, how many are missing, and whether the key is one of those that sign.
func signDocument(ctx context.Context, path string, d *document, groups []Setup, s Signer) (did bool, need int, mine bool, err error) {
	content, err := d.canonical()
	if err != nil {
		return false, 0, false, err
	}
	if err := takeOver(path, d, content); err != nil {
		return false, 0, false, err
	}
	has := func(id string) bool {
		return slices.ContainsFunc(*d.signatures, func(x metadata.Signature) bool { return x.KeyID == id })
	}
	if _, certified := s.(*IdentitySigner); certified { // a certificate is not asked for in vain
		left := false
		for _, g := range groups {
			for _, k := range g.Keys {
				oidc := k.tuf.Type == keyTypeOIDC
				left, mine = left || oidc && !has(k.id), mine || oidc && has(k.id)
			}
		}
		if !left {
			s = nil
		} else {
			mine = false
		}
	}
	if s != nil {
		sig, err := s.Sign(ctx, content, func(id string) bool {
			ours := slices.ContainsFunc(groups, func(g Setup) bool {
				return slices.ContainsFunc(g.Keys, func(k Key) bool { return k.id == id })
			})
			mine = mine || ours
			return ours && !has(id)
		})
		if err == nil {
			*d.signatures = append(*d.signatures, sig)
			did = true
		} else if !errors.Is(err, ErrNotWanted) {
			return false, 0, false, err
		}
	}
	for _, g := range groups {
		n := 0
		for _, k := range g.Keys {
			if has(k.id) {
				n++
			}
		}
		need = max(need, g.Threshold-n)
	}
	return did, need, mine, nil
}

// takeOver keeps the signatures in a file that is there, if they are over the same.
func takeOver(path string, d *document, content []byte) error {
	var old *document
	if d.role == Root {
		m, err := parse[metadata.RootType](path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		old = wrap(d.role, m)
	} else {
		m, err := parse[metadata.TargetsType](path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		old = wrap(d.role, m)
	}
	was, err := old.canonical()
	if err == nil && string(was) == string(content) {
		*d.signatures = *old.signatures
	}
	return err
}
