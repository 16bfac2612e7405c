// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/sha256"
	"errors"
)

// Prefixes of what a Merkle tree hashes, RFC 9162 section 2.1.1.
const (
	leafPrefix = 0
	nodePrefix = 1
)

func leafHash(body []byte) []byte {
	sum := sha256.Sum256(append([]byte{leafPrefix}, body...))
	return sum[:]
}

func nodeHash(left, right []byte) []byte {
	sum := sha256.Sum256(append(append([]byte{nodePrefix}, left...), right...))
	return sum[:]
}

// checkInclusion verifies that the tree of that size and root has the leaf at
// the index, RFC 9162 section 2.1.3.2.
func checkInclusion(leaf []byte, index, size int64, proof [][]byte, root []byte) error {
	if index < 0 || index >= size {
		return errors.New("the index is not in the tree")
	}
	fn, sn, r := uint64(index), uint64(size-1), leaf
	for _, p := range proof {
		if sn == 0 {
			return errors.New("the inclusion proof is too long")
		}
		if fn&1 == 1 || fn == sn {
			r = nodeHash(p, r)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = nodeHash(r, p)
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 {
		return errors.New("the inclusion proof is too short")
	}
	if !bytes.Equal(r, root) {
		return errors.New("the inclusion proof leads to another root")
	}
	return nil
}
