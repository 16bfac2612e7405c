// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/repopolicy/repopolicy/internal/file"
)

const (
	refreshMark = "refreshed" // the file with the time of the last refresh
	maxMark     = 64
)

// store is the cache of one repository: a private directory, in which every file
// was verified before it was written, and is verified anew when it is read.
// Whoever can write there can make the client forget, never trust. "" keeps
// nothing.
type store string

func openStore(cache, root string) (store, error) {
	if cache == "" {
		return "", nil
	}
	dir := filepath.Join(cache, root)
	return store(dir), file.Private(dir)
}

// The files of a cache, by paths with slashes.
const (
	timestampFile = "timestamp.json"
	snapshotFile  = "snapshot.json"
)

func rootFile(version int64) string { return "roots/" + strconv.FormatInt(version, 10) + ".root.json" }

// targetsFile escapes the name of a delegated role, which may be anything.
func targetsFile(role string) string {
	if role == roleTargets {
		return "targets.json"
	}
	const most = 200 // bytes of a file's name
	name := url.QueryEscape(role)
	if len(name) > most {
		name = fmt.Sprintf("%x", sha256.Sum256([]byte(role)))
	}
	return "delegated/" + name + ".json"
}

func contentFile(sum string) string { return "content/" + sum }

func (s store) path(name string) string { return filepath.Join(string(s), filepath.FromSlash(name)) }

func (s store) load(name string, limit int64) ([]byte, error) {
	if s == "" {
		return nil, fs.ErrNotExist
	}
	return file.ReadNoFollow(s.path(name), limit)
}

func (s store) keep(name string, data []byte) error {
	if s == "" {
		return nil
	}
	if info, err := os.Lstat(s.path(name)); err == nil && !info.Mode().IsRegular() {
		_ = os.Remove(s.path(name)) // a cache heals; what cannot be removed is refused
	}
	return file.WriteIn(string(s), name, data, 0o600)
}

func (s store) forget(names ...string) error {
	if s == "" {
		return nil
	}
	for _, name := range names {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// fresh reports whether the last refresh was less than age ago.
func (s store) fresh(now time.Time, age time.Duration) bool {
	data, err := s.load(refreshMark, maxMark)
	if err != nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, string(data))
	since := now.Sub(at)
	return err == nil && since >= 0 && since < age
}

func (s store) refreshed(now time.Time) error {
	return s.keep(refreshMark, []byte(now.UTC().Format(time.RFC3339)))
}

// lock keeps other processes from refreshing at the same time, so that none
// writes what is older than what another wrote.
func (s store) lock(ctx context.Context) (unlock func(), err error) {
	if s == "" {
		return func() {}, nil
	}
	type result struct {
		unlock func()
		err    error
	}
	done := make(chan result, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(filepath.Join(string(s), "lock")).Lock()
		done <- result{unlock, err}
	}()
	select {
	case r := <-done:
		return r.unlock, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.unlock()
			}
		}()
		return nil, ctx.Err()
	}
}
