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
	r := &Repository{
		root:    metadata.Root(),
		targets: map[string]*metadata.Metadata[metadata.TargetsType]{Targets: metadata.Targets()},
		staged:  map[string]bool{},
	}
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
func WriteChain(
	ctx context.Context, dir string, versions []Version, s Signer,
) (signed []string, missing map[string]int, err error) {
	files, err := chainFiles(versions)
	if err != nil {
		return nil, nil, err
	}
	missing = map[string]int{}
	known := s == nil
	for _, f := range files {
		did, mine, err := f.sign(ctx, dir, s)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f.name, err)
		}
		known = known || mine
		if need, _ := f.need(f.groups); need > 0 {
			missing[f.name] = need
		}
		if !did {
			continue
		}
		signed = append(signed, f.name)
		if err := f.write(dir); err != nil { // the signature may be public
			return nil, nil, err
		}
	}
	if !known {
		return nil, nil, fmt.Errorf("no version: %w", ErrNotWanted)
	}
	for _, f := range files {
		if err := f.write(dir); err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(signed)
	return signed, missing, nil
}

// chainFile is a file of metadata, and who has to sign it.
type chainFile struct {
	*document
	name   string
	groups []Setup
}

// chainFiles returns the metadata of versions that follow one another.
func chainFiles(versions []Version) ([]chainFile, error) {
	var files []chainFile
	for i, v := range versions {
		c, err := v.build()
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", v.Number, err)
		}
		groups := []Setup{v.People}
		if i > 0 {
			groups = append(groups, versions[i-1].People)
		}
		files = append(files, chainFile{wrap(Root, c.root), rootName(v.Number), groups},
			chainFile{wrap(Targets, c.targets), versioned(v.Number, Targets), groups[:1]})
	}
	return files, nil
}

// sign takes over the signatures of an earlier run and adds one, as [document.sign] does.
func (f chainFile) sign(ctx context.Context, dir string, s Signer) (did, mine bool, err error) {
	content, err := f.canonical()
	if err != nil {
		return false, false, err
	}
	if err := takeOver(filepath.Join(dir, f.name), f.document, content); err != nil || s == nil {
		return false, false, err
	}
	return f.document.sign(ctx, s, f.groups)
}

func (f chainFile) write(dir string) error {
	data, err := f.bytes()
	if err != nil {
		return err
	}
	return file.Update(dir, f.name, append(data, '\n'))
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
