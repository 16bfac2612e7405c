// SPDX-License-Identifier: Apache-2.0

// Package tufrepo authors the TUF repository of the sandbox, with go-tuf:
// consistent snapshots, one key for each role, a new root key at each rotation.
//
// Specification: https://theupdateframework.github.io/specification/latest/.
package tufrepo

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const (
	rootYears = 10
	validity  = 365 * 24 * time.Hour
	renewal   = 30 * 24 * time.Hour // a start this close to the end signs anew
)

// Store is where the repository keeps its files and keys.
type Store interface {
	Path(elem ...string) string
	Write(name string, data []byte) error
	ECDSA(name string) (*ecdsa.PrivateKey, error)
}

// Repository is one TUF repository, in the directory tuf of its store.
type Repository struct {
	store Store

	mu        sync.Mutex
	root      *metadata.Metadata[metadata.RootType]
	targets   *metadata.Metadata[metadata.TargetsType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	expired   bool
}

// Open opens the repository, which is made at first use and holds nothing then.
func Open(store Store) (*Repository, error) {
	r := &Repository{store: store}
	load := func(name string) ([]byte, error) { return os.ReadFile(store.Path("tuf", name)) }
	version := int64(1)
	for {
		_, err := os.Stat(store.Path("tuf", fmt.Sprintf("%d.root.json", version)))
		if errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return nil, err
		}
		version++
	}
	if version == 1 {
		return r, r.init()
	}
	data, err := load(fmt.Sprintf("%d.root.json", version-1))
	if err == nil {
		r.root, err = metadata.Root().FromBytes(data)
	}
	if err != nil {
		return nil, err
	}
	// The timestamp is written last: without it nothing was ever published.
	data, err = load("timestamp.json")
	if errors.Is(err, fs.ErrNotExist) {
		return r, r.fresh()
	}
	if err == nil {
		r.timestamp, err = metadata.Timestamp().FromBytes(data)
	}
	if err == nil {
		data, err = load(fmt.Sprintf("%d.snapshot.json", r.timestamp.Signed.Meta["snapshot.json"].Version))
	}
	if err == nil {
		r.snapshot, err = metadata.Snapshot().FromBytes(data)
	}
	if err == nil {
		data, err = load(fmt.Sprintf("%d.targets.json", r.snapshot.Signed.Meta["targets.json"].Version))
	}
	if err == nil {
		r.targets, err = metadata.Targets().FromBytes(data)
	}
	return r, err
}

func (r *Repository) init() error {
	r.root = metadata.Root(time.Now().UTC().AddDate(rootYears, 0, 0))
	for role, name := range map[string]string{"root": rootKey(1), "targets": "tuf-targets", "snapshot": "tuf-snapshot", "timestamp": "tuf-timestamp"} {
		key, err := r.key(name)
		if err != nil {
			return err
		}
		if err := r.root.Signed.AddKey(key, role); err != nil {
			return err
		}
	}
	if err := r.sign(r.root.Sign, rootKey(1)); err != nil {
		return err
	}
	if err := r.writeRoot(); err != nil {
		return err
	}
	return r.fresh()
}

func (r *Repository) fresh() error {
	r.targets, r.snapshot, r.timestamp = metadata.Targets(), metadata.Snapshot(), metadata.Timestamp()
	r.targets.Signed.Version, r.snapshot.Signed.Version, r.timestamp.Signed.Version = 0, 0, 0
	return nil
}

func rootKey(version int64) string { return fmt.Sprintf("tuf-root-%d", version) }

func (r *Repository) key(name string) (*metadata.Key, error) {
	k, err := r.store.ECDSA(name)
	if err != nil {
		return nil, err
	}
	return metadata.KeyFromPublicKey(k.Public())
}

func (r *Repository) sign(sign func(signature.Signer) (*metadata.Signature, error), key string) error {
	k, err := r.store.ECDSA(key)
	if err != nil {
		return err
	}
	s, err := signature.LoadSigner(k, crypto.SHA256)
	if err != nil {
		return err
	}
	_, err = sign(s)
	return err
}

func (r *Repository) writeRoot() error {
	data, err := r.root.ToBytes(false)
	if err != nil {
		return err
	}
	return r.store.Write(filepath.Join("tuf", fmt.Sprintf("%d.root.json", r.root.Signed.Version)), data)
}

// Publish makes these the repository's targets. What is published already is
// left as it is.
func (r *Repository) Publish(targets map[string][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	files := map[string]*metadata.TargetFiles{}
	same := len(targets) == len(r.targets.Signed.Targets) && r.timestamp.Signed.Version > 0 &&
		!r.timestamp.Signed.IsExpired(time.Now().Add(renewal))
	for name, data := range targets {
		info, err := metadata.TargetFile().FromBytes(name, data, "sha256")
		if err != nil {
			return err
		}
		files[name] = info
		old := r.targets.Signed.Targets[name]
		same = same && old != nil && old.Equal(*info)
		if err := r.store.Write(filepath.Join("tuf", "targets", info.Hashes["sha256"].String()+"."+name), data); err != nil {
			return err
		}
	}
	if same {
		return nil
	}
	r.targets.Signed.Targets = files
	r.targets.Signed.Version++
	return r.release()
}

// Expire makes the timestamp look as if it had expired; Expire(false) is honest
// again.
func (r *Repository) Expire(yes bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expired = yes
	return r.release()
}

// release signs and writes targets, snapshot and timestamp, in this order. The
// caller holds mu.
func (r *Repository) release() error {
	expires := time.Now().UTC().Add(validity).Truncate(time.Second)
	r.targets.Signed.Expires, r.snapshot.Signed.Expires, r.timestamp.Signed.Expires = expires, expires, expires
	if r.expired {
		r.timestamp.Signed.Expires = time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	}
	r.snapshot.Signed.Version++
	r.timestamp.Signed.Version++
	r.snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": metadata.MetaFile(r.targets.Signed.Version)}
	r.timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": metadata.MetaFile(r.snapshot.Signed.Version)}
	r.targets.ClearSignatures()
	r.snapshot.ClearSignatures()
	r.timestamp.ClearSignatures()
	for _, role := range []struct {
		key, file string
		sign      func(signature.Signer) (*metadata.Signature, error)
		bytes     func(bool) ([]byte, error)
	}{
		{"tuf-targets", fmt.Sprintf("%d.targets.json", r.targets.Signed.Version), r.targets.Sign, r.targets.ToBytes},
		{"tuf-snapshot", fmt.Sprintf("%d.snapshot.json", r.snapshot.Signed.Version), r.snapshot.Sign, r.snapshot.ToBytes},
		{"tuf-timestamp", "timestamp.json", r.timestamp.Sign, r.timestamp.ToBytes},
	} {
		if err := r.sign(role.sign, role.key); err != nil {
			return err
		}
		data, err := role.bytes(false)
		if err != nil {
			return err
		}
		if err := r.store.Write(filepath.Join("tuf", role.file), data); err != nil {
			return err
		}
	}
	return nil
}

// RotateRoot replaces the root key: the next version of root.json is signed by
// the old and the new one.
func (r *Repository) RotateRoot() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := rootKey(r.root.Signed.Version)
	for _, id := range append([]string(nil), r.root.Signed.Roles["root"].KeyIDs...) {
		if err := r.root.Signed.RevokeKey(id, "root"); err != nil {
			return err
		}
	}
	r.root.Signed.Version++
	r.root.Signed.Expires = time.Now().UTC().AddDate(rootYears, 0, 0).Truncate(time.Second)
	next := rootKey(r.root.Signed.Version)
	key, err := r.key(next)
	if err != nil {
		return err
	}
	if err := r.root.Signed.AddKey(key, "root"); err != nil {
		return err
	}
	r.root.ClearSignatures()
	for _, k := range []string{old, next} {
		if err := r.sign(r.root.Sign, k); err != nil {
			return err
		}
	}
	return r.writeRoot()
}

// Pinned returns the first root.json, the one that a client ships with.
func (r *Repository) Pinned() ([]byte, error) { return os.ReadFile(r.store.Path("tuf", "1.root.json")) }

// Handler serves the repository.
func (r *Repository) Handler() http.Handler { return http.FileServer(http.Dir(r.store.Path("tuf"))) }
