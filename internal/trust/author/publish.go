// SPDX-License-Identifier: Apache-2.0

package author

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
)

// Incomplete is the error of publishing what lacks signatures.
type Incomplete struct{ Roles []Status }

// Error names the roles.
func (e *Incomplete) Error() string {
	var roles []string
	for _, s := range e.Roles {
		roles = append(roles, s.Role)
	}
	return "too few signatures of " + strings.Join(roles, ", ")
}

// Publish publishes what is staged: the signers sign snapshot and timestamp, which
// are made anew where they have to be or expire soon. What clients would refuse is
// not published: our own verifies all of it first, from the first root on, with
// keyTypes beside those that it knows. The error is an [*Incomplete] if signatures
// are missing; what was signed stays staged.
func (r *Repository) Publish(ctx context.Context, signers []Signer, keyTypes map[string]tuf.KeyType) error {
	r.prepare()
	for _, s := range signers {
		if _, _, err := r.sign(ctx, s, []string{Snapshot, Timestamp}, func() error { return nil }); err != nil {
			return err
		}
	}
	if err := r.save(); err != nil {
		return err
	}
	status, err := r.Status()
	if err != nil {
		return err
	}
	if status = slices.DeleteFunc(status, func(s Status) bool { return s.Need == 0 }); len(status) > 0 {
		return &Incomplete{status}
	}
	if err := r.link(); err != nil {
		return err
	}
	if err := r.try(ctx, keyTypes); err != nil {
		return fmt.Errorf("clients would refuse this: %w", err)
	}
	return r.release()
}

// prepare stages snapshot and timestamp if those that are there do not do.
func (r *Repository) prepare() {
	r.forgetRoles()
	meta := map[string]*metadata.MetaFiles{}
	for role, t := range r.targets {
		meta[role+".json"] = metadata.MetaFile(t.Signed.Version)
	}
	for name, version := range r.listed { // of a role that is gone, too: clients demand it (TUF 5.5.5)
		if meta[name] == nil {
			meta[name] = metadata.MetaFile(version)
		}
	}
	if s := r.snapshot; s == nil || !sameVersions(s.Signed.Meta, meta) || r.stale(Snapshot, s.Signed.Expires) {
		r.snapshot = metadata.Snapshot(r.until(Snapshot))
		r.snapshot.Signed.Version, r.snapshot.Signed.Meta = r.published.snapshot+1, meta
		r.staged[Snapshot] = true
	}
	meta = map[string]*metadata.MetaFiles{"snapshot.json": metadata.MetaFile(r.snapshot.Signed.Version)}
	if t := r.timestamp; t == nil || !sameVersions(t.Signed.Meta, meta) || r.stale(Timestamp, t.Signed.Expires) {
		r.timestamp = metadata.Timestamp(r.until(Timestamp))
		r.timestamp.Signed.Version, r.timestamp.Signed.Meta = r.published.timestamp+1, meta
		r.staged[Timestamp] = true
	}
}

// forgetRoles drops the roles that nobody delegates to any more.
func (r *Repository) forgetRoles() {
	for _, role := range r.targetRoles() {
		asked := slices.ContainsFunc(r.delegations(), func(d metadata.DelegatedRole) bool { return d.Name == role })
		if role != Targets && !asked {
			delete(r.targets, role)
			delete(r.staged, role)
		}
	}
}

func sameVersions(a, b map[string]*metadata.MetaFiles) bool {
	return maps.EqualFunc(a, b, func(x, y *metadata.MetaFiles) bool { return x.Version == y.Version })
}

// stale reports whether a role of the machine is to be made anew: it expires soon, or the
// staged root gives it other keys.
func (r *Repository) stale(role string, expires time.Time) bool {
	if expires.Sub(r.now) < time.Duration(r.days(role))*day/4 {
		return true
	}
	if r.before == nil || !r.staged[Root] || r.staged[role] {
		return false
	}
	was, is := r.before.Signed.Roles[role], r.root.Signed.Roles[role]
	return was.Threshold != is.Threshold || !slices.Equal(was.KeyIDs, is.KeyIDs)
}

// candidate is the tree as it would be.
type candidate struct {
	files   map[string][]byte
	content tuf.Opener
}

// Metadata implements tuf.Source.
func (c *candidate) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if data, ok := c.files[name]; ok {
		if int64(len(data)) > limit {
			return nil, fmt.Errorf("%s has %d bytes, clients read at most %d", name, len(data), limit)
		}
		return data, nil
	}
	return c.content.Metadata(ctx, name, limit)
}

// Target implements tuf.Source.
func (c *candidate) Target(ctx context.Context, path string, limit int64) ([]byte, error) {
	return c.content.Target(ctx, path, limit)
}

// Open implements tuf.Opener.
func (c *candidate) Open(ctx context.Context, path string, from, size int64) (io.ReadCloser, int64, error) {
	return c.content.Open(ctx, path, from, size)
}

// try lets a client that trusts the first root read everything.
func (r *Repository) try(ctx context.Context, keyTypes map[string]tuf.KeyType) error {
	tree := file.FS(r.path(treeDir))
	c := &candidate{map[string][]byte{}, tuf.FS(tree, file.FS(r.path(treeDir, targetsDir)))}
	for _, d := range r.stagedDocuments() {
		data, err := d.bytes()
		if err != nil {
			return err
		}
		c.files[r.name(d.role)] = data
	}
	first := r.first
	if first == nil {
		first = c.files[rootName(1)]
	}
	client, err := tuf.New(tuf.Options{Root: first, Source: c, Now: func() time.Time { return r.now }, KeyTypes: keyTypes})
	if err != nil {
		return err
	}
	if err := client.Refresh(ctx); err != nil {
		return err
	}
	for _, role := range r.targetRoles() {
		var path []string
		if role != Targets {
			path = []string{role}
		}
		t, err := client.Targets(ctx, path...)
		if err != nil {
			return err
		}
		for _, f := range t.Files {
			resume := budget.Pause(ctx)
			err := client.Compare(ctx, f)
			resume()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// name is what a role's file is called.
func (r *Repository) name(role string) string {
	switch role {
	case Root:
		return rootName(r.root.Signed.Version)
	case Timestamp:
		return "timestamp.json"
	case Snapshot:
		return fmt.Sprintf("%d.snapshot.json", r.snapshot.Signed.Version)
	}
	return fmt.Sprintf("%d.%s.json", r.targets[role].Signed.Version, role)
}

// release writes the tree and then forgets what was staged.
func (r *Repository) release() error {
	files := map[string][]byte{}
	for _, d := range r.stagedDocuments() {
		data, err := d.bytes()
		if err != nil {
			return err
		}
		files[r.name(d.role)] = data
	}
	if err := (&oci.Files{Metadata: files}).WriteTree(r.path(treeDir)); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.path(stagedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := os.Remove(r.path(stagedDir, e.Name())); err != nil {
			return err
		}
	}
	r.staged, r.listed = map[string]bool{}, map[string]int64{}
	r.before = r.root
	r.published.snapshot, r.published.timestamp = r.snapshot.Signed.Version, r.timestamp.Signed.Version
	for name, m := range r.snapshot.Signed.Meta {
		r.listed[name] = m.Version
	}
	if r.first == nil {
		r.first, err = file.Read(r.path(treeDir, rootName(1)), maxFile)
	}
	return err
}

// Tree returns the directory that holds what is published.
func Tree(dir string) string { return filepath.Join(dir, treeDir) }
