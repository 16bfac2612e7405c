// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"fmt"
	"slices"
	"testing"
)

// merkle returns the root of the leaves and the proof for one of them, by the
// recursive definitions of RFC 9162 sections 2.1.1 and 2.1.3.1.
func merkle(leaves [][]byte, index int) (root []byte, proof [][]byte) {
	if len(leaves) == 1 {
		return leafHash(leaves[0]), nil
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	if index < k {
		left, proof := merkle(leaves[:k], index)
		right, _ := merkle(leaves[k:], 0)
		return nodeHash(left, right), append(proof, right)
	}
	left, _ := merkle(leaves[:k], 0)
	right, proof := merkle(leaves[k:], index-k)
	return nodeHash(left, right), append(proof, left)
}

func TestInclusion(t *testing.T) {
	var leaves [][]byte
	for size := 1; size <= 33; size++ {
		leaves = append(leaves, fmt.Appendf(nil, "leaf %d", size))
		for i := range leaves {
			root, proof := merkle(leaves, i)
			check := func(leaf []byte, index, size int, proof [][]byte) error {
				return checkInclusion(leafHash(leaf), int64(index), int64(size), proof, root)
			}
			if err := check(leaves[i], i, size, proof); err != nil {
				t.Fatalf("leaf %d of %d: %s", i, size, err)
			}
			bad := map[string]error{
				"another leaf": check([]byte("x"), i, size, proof),
				"longer":       check(leaves[i], i, size, append(slices.Clone(proof), root)),
				"negative":     check(leaves[i], -1, size, proof),
				"beyond":       check(leaves[i], size, size, proof),
			}
			if len(proof) > 0 {
				bad["shorter"] = check(leaves[i], i, size, proof[:len(proof)-1])
				bad["another index"] = check(leaves[i], (i+1)%size, size, proof)
			}
			for what, err := range bad {
				if err == nil {
					t.Errorf("leaf %d of %d: %s is accepted", i, size, what)
				}
			}
		}
	}
}
