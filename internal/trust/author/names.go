// SPDX-License-Identifier: Apache-2.0

package author

import (
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/repopolicy/repopolicy/internal/file"
)

// namesFile is where a repository's directory keeps what its keepers call keys. It is for people, is
// not published, and decides nothing: a file that cannot be read names none.
const (
	namesFile     = "names.json"
	maxNamesBytes = 1 << 20
)

// loadNames reads what keys are called, by their IDs.
func (r *Repository) loadNames() error {
	r.names = map[string]string{}
	data, err := file.Read(r.path(namesFile), maxNamesBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if json.Unmarshal(data, &r.names) != nil || r.names == nil {
		r.names = map[string]string{}
	}
	return nil
}

// learn keeps what keys are called.
func (r *Repository) learn(keys []Key) {
	for _, k := range keys {
		if k.label != "" && r.names[k.id] != k.label {
			r.names[k.id], r.named = k.label, true
		}
	}
}

// saveNames writes what keys are called, if that is new.
func (r *Repository) saveNames() error {
	if !r.named {
		return nil
	}
	data, err := json.MarshalIndent(r.names, "", "  ")
	if err != nil {
		return err
	}
	return file.Update(r.dir, namesFile, append(data, '\n'))
}
