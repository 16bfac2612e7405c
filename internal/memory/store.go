// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/repopolicy/repopolicy/internal/file"
)

// Store is where a [State] is kept. Names are relative paths with slashes. Its methods may
// be called from several goroutines, and by several processes.
type Store interface {
	// Load returns what is kept under a name; nil if there is nothing.
	Load(name string) ([]byte, error)
	// Swap keeps next under a name if old is what is kept there, nil for nothing, and
	// reports whether it was. It happens as a whole or not at all.
	Swap(name string, old, next []byte) (bool, error)
}

// folder is a store in a directory. Files are private, and written atomically under a lock.
type folder string

func (f folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }

// Load implements [Store].
func (f folder) Load(name string) ([]byte, error) {
	data, err := file.ReadNoFollow(f.path(name), maxStateBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

// Swap implements [Store].
func (f folder) Swap(name string, old, next []byte) (bool, error) {
	unlock, err := lockedfile.MutexAt(f.path("lock")).Lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	now, err := f.Load(name)
	if err != nil || !bytes.Equal(now, old) || (now == nil) != (old == nil) {
		return false, err
	}
	return true, file.WriteIn(string(f), filepath.FromSlash(name), next, 0o600)
}

// kept stores a document under a name of its own, whatever was there.
func (s *State) kept(name string, data []byte) (string, error) {
	for range 10 { // others may store the same
		old, err := s.store.Load(name)
		if err != nil {
			return "", err
		}
		if ok, err := s.store.Swap(name, old, data); ok || err != nil {
			return s.path(name), err
		}
	}
	return "", fmt.Errorf("%s: others write it all the time", name)
}
