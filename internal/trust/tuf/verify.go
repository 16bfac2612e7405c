// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
)

// What can be wrong with a repository, wrapped by the errors of [Client].
var (
	ErrMalformed = errors.New("malformed metadata")
	ErrUnsigned  = errors.New("too few signatures")
	ErrRollback  = errors.New("older than what was seen before")
	ErrExpired   = errors.New("expired")
	ErrMismatch  = errors.New("not what was announced")
	ErrNoTarget  = errors.New("no such target")
	// ErrTooManyRoles says that a target was not found before the search ended, which does
	// not say that there is none.
	ErrTooManyRoles = errors.New("too many roles")
)

func malformed(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrMalformed, err)
}

var hashes = map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}

// verify returns nil if as many principals of a role as its threshold signed a
// file. A key that is missing, malformed or of an unknown type counts for
// nothing, and so does a signature of a key that the role does not have.
func (c *Client) verify(what string, d *document, role Role, keys map[string]Key) error {
	signed := map[string]Signature{}
	for _, s := range d.signatures {
		signed[s.KeyID] = s
	}
	principals := map[string]bool{}
	var why []string
	for _, id := range role.KeyIDs {
		sig, ok := signed[id]
		if !ok {
			continue
		}
		principal, err := c.verifyOne(keys, id, d.signed, sig)
		switch {
		case err != nil:
			why = append(why, clip.Text(id)+": "+err.Error())
		case principals[principal]:
			why = append(why, clip.Text(id)+": the same key as another")
		default:
			principals[principal] = true
		}
	}
	if int64(len(principals)) >= role.Threshold {
		return nil
	}
	const most = 5 // reasons
	why = why[:min(len(why), most)]
	return fmt.Errorf("%s: %w: %d of %d%s", what, ErrUnsigned, len(principals), role.Threshold,
		strings.Join(append([]string{""}, why...), "; "))
}

func (c *Client) verifyOne(keys map[string]Key, id string, message []byte, sig Signature) (string, error) {
	key, ok := keys[id]
	if !ok {
		return "", errors.New("no such key")
	}
	v, err := c.verifier(key)
	if err != nil {
		return "", err
	}
	return v.Principal(), v.Verify(message, sig)
}

func (c *Client) verifier(key Key) (Verifier, error) {
	of, ok := keyTypes[key.Type]
	if !ok {
		of, ok = c.options.KeyTypes[key.Type]
	}
	if !ok {
		return nil, fmt.Errorf("keys of type %q are not known", clip.Text(key.Type))
	}
	return of(key)
}

// rotated reports whether next takes a key of a role away, so that what was
// signed with it may be an attacker's: TUF 5.3.11, fast-forward recovery.
func (c *Client) rotated(role string, old, next *Root) bool {
	now := c.principals(next, role)
	for p := range c.principals(old, role) {
		if !now[p] {
			return true
		}
	}
	return false
}

func (c *Client) principals(r *Root, role string) map[string]bool {
	out := map[string]bool{}
	for _, id := range r.Roles[role].KeyIDs {
		if v, err := c.verifier(r.Keys[id]); err == nil {
			out[v.Principal()] = true
		}
	}
	return out
}

// check compares a file with what was announced of it.
func check(what string, data []byte, length int64, sums map[string][]byte) error {
	if length != int64(len(data)) {
		return fmt.Errorf("%s: %w: %d bytes, not %d", what, ErrMismatch, len(data), length)
	}
	for _, alg := range slices.Sorted(maps.Keys(sums)) {
		h := hashes[alg]()
		h.Write(data)
		if !bytes.Equal(h.Sum(nil), sums[alg]) {
			return fmt.Errorf("%s: %w: another %s", what, ErrMismatch, alg)
		}
	}
	return nil
}

// check compares a metadata file with what was announced of it; length and
// hashes are optional there.
func (i fileInfo) check(what string, data []byte) error {
	length := i.length
	if length == 0 {
		length = int64(len(data))
	}
	return check(what, data, length, i.hashes)
}

// current returns nil if the file has not expired.
func (h Header) current(what string, now time.Time) error {
	if !now.Before(h.Expires) {
		return fmt.Errorf("%s: %w on %s", what, ErrExpired, h.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}
