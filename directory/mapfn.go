// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// Bound is what the map function says of an entry that binds.
type Bound struct {
	Keys       []string // under which it is found, the locator first
	Repository policy.Locator
	Statement  string // what the entry shows of it, hex
	LeafHash   string // hex
}

// MapFn is the function from the entries of logs to what they bind (SPEC 16.1).
// There is one, [Function]; a test of the map's size has another.
type MapFn interface {
	// Claims reports whether an entry may bind under some trusted root: whether
	// its certificate says that a repository speaks. Only such entries are kept.
	Claims(generation int, entry []byte) bool
	// Bind returns what an entry binds; nil if nothing. The error is about a log
	// that answers something else than it signed.
	Bind(generation int, log string, index int64, entry []byte) (*Bound, error)
}

// Function is the map function under a trusted root and a forge table.
type Function struct {
	Root   *sigstore.Root
	Forges *bindings.Forges
}

// Claims implements [MapFn].
func (f Function) Claims(generation int, entry []byte) bool {
	var signer policy.Identity
	if generation == 2 {
		e, err := sigstore.ParseEntryV2(entry)
		if err != nil {
			return false
		}
		signer = e.Signer
	} else {
		e, err := sigstore.ParseEntryV1(entry)
		if err != nil {
			return false
		}
		signer = e.Signer
	}
	_, err := f.Forges.Authority(signer)
	return err == nil
}

// Bind implements [MapFn].
func (f Function) Bind(generation int, log string, index int64, entry []byte) (*Bound, error) {
	var leaf *sigstore.Leaf
	var by chain.Binding
	var err error
	if generation == 2 {
		leaf, by, err = bindings.Binds(f.Root, f.Forges, log, index, entry)
	} else {
		leaf, by, err = bindings.BindsV1(f.Root, f.Forges, entry)
		// What stands around the body is not in the log's tree.
		var lie *sigstore.Error
		if errors.As(err, &lie) && lie.Reason == policy.LogInvalid && f.Claims(generation, entry) {
			return nil, fmt.Errorf("entry %d does not verify: %w", index, err)
		}
		if err == nil && leaf.Place.Index != index {
			return nil, fmt.Errorf("entry %d was promised the place %d", index, leaf.Place.Index)
		}
	}
	if err != nil {
		return nil, nil // it binds nothing, whatever the reason
	}
	out := &Bound{Keys: bindings.Keys(by), Repository: by.Repository, Statement: leaf.PAE, LeafHash: leaf.LeafHash}
	if generation == 1 {
		out.Statement = leaf.Payload
	}
	return out, nil
}

// value returns what the map holds of a record.
func value(text string) prefixmap.Hash { return sha256.Sum256([]byte(text)) }
