// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"testing"
)

// TestCheck: a target is what has its length and every hash that is announced.
func TestCheck(t *testing.T) {
	data := []byte("content")
	short, long := sha256.Sum256(data), sha512.Sum512(data)
	other := sha512.Sum512(nil)
	sums := func(s ...[]byte) map[string][]byte {
		out := map[string][]byte{}
		for i, name := range []string{"sha256", "sha512"}[:len(s)] {
			out[name] = s[i]
		}
		return out
	}
	for name, c := range map[string]struct {
		length int64
		hashes map[string][]byte
		ok     bool
	}{
		"one hash":            {7, sums(short[:]), true},
		"two hashes":          {7, sums(short[:], long[:]), true},
		"one of two is wrong": {7, sums(short[:], other[:]), false},
		"no hash":             {7, nil, false},
		"shorter":             {6, sums(short[:]), false},
		"longer":              {8, sums(short[:]), false},
		"too long":            {MaxTarget + 1, sums(short[:]), false},
	} {
		if err := (TargetFile{Name: "a", Length: c.length, Hashes: c.hashes}).Check(data); (err == nil) != c.ok ||
			err != nil && !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
