// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"time"

	"github.com/transparency-dev/merkle/compact"
)

// SetLimit sets how many unknown entries are looked at in one run.
func (h *Hint) SetLimit(limit int) { h.limit = limit }

// SetTimeout sets how long an index has.
func (h *Hint) SetTimeout(limit time.Duration) { h.timeout = limit }

// SetTimeout sets how long a scan has, and SetEvery after how many entries it is saved.
func (s *Scan) SetTimeout(limit time.Duration) { s.timeout = limit }

// SetEvery is described there.
func (s *Scan) SetEvery(entries int64) { s.every = entries }

// RootOf returns the root that a kept cursor stands for.
func RootOf(c Cursor) (string, error) {
	r, err := c.reading()
	if err != nil {
		return "", err
	}
	root, err := r.root()
	if err != nil {
		panic(err) // a cursor that is read has a root
	}
	return root, nil
}

// Take reads a body.
func (r *reading) Take(body []byte, keys []string) error { return r.take(body, keys) }

// Tree returns the hashes so far and their root.
func (r *reading) Hashes() (*compact.Range, string, error) {
	root, err := r.root()
	return r.tree, root, err
}
