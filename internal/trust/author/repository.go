// SPDX-License-Identifier: Apache-2.0

// Package author makes and keeps TUF repositories, with go-tuf. A repository is a
// directory in which
//
//   - repository/ is what clients read, as a web server would serve it: metadata,
//     and targets/ below it, with consistent snapshots;
//   - staged/ are the next versions of metadata, which lack signatures.
//
// Every change is staged first; those who have the keys sign it, each where he is;
// then it is published, if our own client accepts the result. Every file is written
// in one step, the timestamp last, and what was interrupted is run again.
//
// Specification: https://theupdateframework.github.io/specification/v1.0.31/, SPEC 18.
package author

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
)

// The top-level roles.
const (
	Root      = metadata.ROOT
	Targets   = metadata.TARGETS
	Snapshot  = metadata.SNAPSHOT
	Timestamp = metadata.TIMESTAMP
)

// Roles are the top-level roles.
var Roles = []string{Root, Targets, Snapshot, Timestamp}

const (
	treeDir    = "repository"
	stagedDir  = "staged"
	targetsDir = oci.TargetsDir
	lockFile   = ".lock"
	maxFile    = 8 << 20
	maxRoots   = 100_000
)

// Repository is a repository that is being authored.
type Repository struct {
	dir    string
	now    time.Time
	unlock func()

	first     []byte                                // 1.root.json, if it is published
	before    *metadata.Metadata[metadata.RootType] // newest that is published; nil for none
	root      *metadata.Metadata[metadata.RootType]
	targets   map[string]*metadata.Metadata[metadata.TargetsType] // by role
	snapshot  *metadata.Metadata[metadata.SnapshotType]           // published or staged
	timestamp *metadata.Metadata[metadata.TimestampType]
	published struct{ snapshot, timestamp int64 }
	listed    map[string]int64  // versions in the published snapshot, by file
	staged    map[string]bool   // roles
	names     map[string]string // what keys are called, by their IDs
	named     bool              // some of them are new
}

// ErrExists is the error of creating what is there.
var ErrExists = errors.New("there is a repository already")

// open locks the directory; Close unlocks it.
func open(dir string, now time.Time) (*Repository, error) {
	root, err := file.Dir(dir, 0o755)
	if err != nil {
		return nil, err
	}
	info, err := root.Lstat(lockFile)
	root.Close()
	if err == nil && !info.Mode().IsRegular() {
		return nil, &file.Refused{Path: filepath.Join(dir, lockFile), Why: "it is not a regular file"}
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(dir, lockFile)).Lock()
	if err != nil {
		return nil, err
	}
	r := &Repository{
		dir: dir, now: now.UTC().Truncate(time.Second), unlock: unlock,
		targets: map[string]*metadata.Metadata[metadata.TargetsType]{}, listed: map[string]int64{}, staged: map[string]bool{},
	}
	if err := r.load(); err != nil {
		unlock()
		return nil, err
	}
	return r, nil
}

// Open opens the repository in a directory for one change, which Close ends. The
// time is the one that expiry is counted from.
func Open(dir string, now time.Time) (*Repository, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	r, err := open(dir, now)
	if err == nil && r.root == nil {
		err = fmt.Errorf("%s: there is no repository", dir)
		r.Close()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close ends the use of the repository.
func (r *Repository) Close() { r.unlock() }

func (r *Repository) path(elem ...string) string {
	return filepath.Join(append([]string{r.dir}, elem...)...)
}

func (r *Repository) load() error {
	version := int64(0)
	for ; version < maxRoots; version++ {
		if _, err := os.Stat(r.path(treeDir, rootName(version+1))); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
	}
	var err error
	if version > 0 {
		if r.first, err = file.Read(r.path(treeDir, rootName(1)), maxFile); err != nil {
			return err
		}
		if r.before, err = parse[metadata.RootType](r.path(treeDir, rootName(version))); err != nil {
			return err
		}
		if r.root, err = parse[metadata.RootType](r.path(treeDir, rootName(version))); err != nil {
			return err
		}
		if err := r.loadTree(); err != nil {
			return err
		}
	}
	if err := r.loadNames(); err != nil {
		return err
	}
	return r.loadStaged()
}

// loadTree reads what the newest timestamp names. Without one nothing was ever
// published but perhaps a root.
func (r *Repository) loadTree() (err error) {
	r.timestamp, err = parse[metadata.TimestampType](r.path(treeDir, "timestamp.json"))
	if errors.Is(err, fs.ErrNotExist) {
		r.timestamp = nil
		return nil
	}
	if err != nil {
		return err
	}
	r.published.timestamp = r.timestamp.Signed.Version
	r.published.snapshot = r.timestamp.Signed.Meta["snapshot.json"].Version
	r.snapshot, err = parse[metadata.SnapshotType](r.path(treeDir, versioned(r.published.snapshot, Snapshot)))
	if err != nil {
		return err
	}
	for name, m := range r.snapshot.Signed.Meta {
		role := strings.TrimSuffix(name, ".json")
		if r.targets[role], err = parse[metadata.TargetsType](r.path(treeDir, versioned(m.Version, role))); err != nil {
			return err
		}
		r.listed[name] = m.Version
	}
	return nil
}

func (r *Repository) loadStaged() error {
	entries, err := os.ReadDir(r.path(stagedDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		role, err := url.PathUnescape(name)
		if !ok || err != nil || !e.Type().IsRegular() {
			continue
		}
		path := r.path(stagedDir, e.Name())
		switch role {
		case Root:
			var root *metadata.Metadata[metadata.RootType]
			if root, err = parse[metadata.RootType](path); err == nil && r.before != nil &&
				root.Signed.Version <= r.before.Signed.Version {
				continue // published by a run that was interrupted
			}
			r.root = root
		case Snapshot:
			r.snapshot, err = parse[metadata.SnapshotType](path)
		case Timestamp:
			r.timestamp, err = parse[metadata.TimestampType](path)
		default:
			r.targets[role], err = parse[metadata.TargetsType](path)
		}
		if err != nil {
			return err
		}
		r.staged[role] = true
	}
	if r.root != nil {
		r.forgetRoles()
	}
	return nil
}

func parse[T metadata.Roles](path string) (*metadata.Metadata[T], error) {
	data, err := file.Read(path, maxFile)
	if err != nil {
		return nil, err
	}
	m, err := new(metadata.Metadata[T]).FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func rootName(version int64) string { return fmt.Sprintf("%d.root.json", version) }

// versioned is the name of a file of metadata in the tree. The name of a role may
// be anything, that of a file not.
func versioned(version int64, role string) string {
	return fmt.Sprintf("%d.%s.json", version, url.PathEscape(role))
}

// document is metadata of any role.
type document struct {
	role       string
	signatures *[]metadata.Signature
	bytes      func() ([]byte, error)
}

func wrap[T metadata.Roles](role string, m *metadata.Metadata[T]) *document {
	return &document{role, &m.Signatures, func() ([]byte, error) { return m.ToBytes(false) }}
}

// canonical returns what is signed.
func (d *document) canonical() ([]byte, error) {
	data, err := d.bytes()
	if err != nil {
		return nil, err
	}
	var parts struct{ Signed json.RawMessage }
	if err := json.Unmarshal(data, &parts); err != nil {
		return nil, err
	}
	return tuf.Canonical(parts.Signed)
}

// stagedDocuments returns what is staged, root and targets first.
func (r *Repository) stagedDocuments() []*document {
	var out []*document
	if r.staged[Root] {
		out = append(out, wrap(Root, r.root))
	}
	for _, role := range r.targetRoles() {
		if r.staged[role] {
			out = append(out, wrap(role, r.targets[role]))
		}
	}
	if r.staged[Snapshot] {
		out = append(out, wrap(Snapshot, r.snapshot))
	}
	if r.staged[Timestamp] {
		out = append(out, wrap(Timestamp, r.timestamp))
	}
	return out
}

// targetRoles returns the roles that list targets, the top-level one first.
func (r *Repository) targetRoles() []string {
	out := []string{Targets}
	for _, role := range slices.Sorted(maps.Keys(r.targets)) {
		if role != Targets {
			out = append(out, role)
		}
	}
	return out
}

// save writes what is staged. Root comes last: only with it there is a repository.
//
// What cannot be written hinders nothing else: a signature in it may be public.
func (r *Repository) save() (err error) {
	err = r.saveNames()
	for _, d := range slices.Backward(r.stagedDocuments()) {
		data, e := d.bytes()
		if e == nil {
			e = file.Update(r.dir, stagedDir+"/"+url.PathEscape(d.role)+".json", append(data, '\n'))
		}
		err = errors.Join(err, e)
	}
	return err
}

// Files returns what is published: all roots, the current metadata, its targets, which are read when they
// are needed.
func (r *Repository) Files(ctx context.Context) (*oci.Files, error) {
	if r.published.timestamp == 0 {
		return nil, fmt.Errorf("%s: nothing is published yet", r.dir)
	}
	out := &oci.Files{Metadata: map[string][]byte{}, Targets: map[string]oci.Content{}}
	names := []string{"timestamp.json", versioned(r.published.snapshot, Snapshot)}
	for v := int64(1); v <= r.before.Signed.Version; v++ {
		names = append(names, rootName(v))
	}
	for name, version := range r.listed {
		names = append(names, versioned(version, strings.TrimSuffix(name, ".json")))
	}
	for _, name := range names {
		data, err := file.Read(r.path(treeDir, name), maxFile)
		if err != nil {
			return nil, err
		}
		key, err := url.PathUnescape(name)
		if err != nil {
			return nil, err
		}
		out.Metadata[key] = data
	}
	for name, version := range r.listed {
		t, err := parse[metadata.TargetsType](r.path(treeDir, versioned(version, strings.TrimSuffix(name, ".json"))))
		if err != nil {
			return nil, err
		}
		for path, info := range t.Signed.Targets {
			content, err := r.content(path, info)
			if err != nil {
				return nil, err
			}
			for _, at := range allNames(path, info) {
				out.Targets[at] = content
			}
		}
	}
	return out, ctx.Err()
}

// content is that of a target in the tree, unread.
func (r *Repository) content(path string, info *metadata.TargetFiles) (oci.Content, error) {
	sum := info.Hashes["sha256"]
	if len(sum) != sha256.Size {
		return oci.Content{}, fmt.Errorf("%s: its SHA-256 is not listed", path)
	}
	return oci.OnDisk(r.path(treeDir, targetsDir), hashed(path, info), info.Length, [sha256.Size]byte(sum)), nil
}

// hashed is the path of a target in the tree.
func hashed(path string, info *metadata.TargetFiles) string {
	return withHash(path, info.Hashes["sha256"].String())
}

// allNames are all paths of a target in the tree, [hashed] first: clients ask by any of the hashes that are listed
// (TUF 5.7.3), go-tuf's by one that it draws.
func allNames(path string, info *metadata.TargetFiles) []string {
	out := []string{hashed(path, info)}
	for _, alg := range slices.Sorted(maps.Keys(info.Hashes)) {
		if alg != "sha256" {
			out = append(out, withHash(path, info.Hashes[alg].String()))
		}
	}
	return out
}

func withHash(path, sum string) string {
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i+1], path[i+1:]
	}
	return dir + sum + "." + base
}
