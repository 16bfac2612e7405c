// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// Digest is a digest with its algorithm; comparable. The zero value is none.
type Digest struct {
	Alg string // "sha256", "sha384", "sha512", "sha1", "gitCommit" or "gitTag"
	Hex string // lower-case, of the algorithm's length
}

// String returns "alg:hex".
func (d Digest) String() string { return d.Alg + ":" + d.Hex }

// digestSizes are the algorithms that a policy or user may name, with the
// number of hex digits.
var digestSizes = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128, "gitCommit": 40}

// ParseDigest reads "alg:hex" with alg one of sha256, sha384, sha512 and
// gitCommit and lower-case hex of the algorithm's length.
func ParseDigest(s string) (Digest, error) {
	alg, hx, ok := strings.Cut(s, ":")
	size := digestSizes[alg]
	if !ok || size == 0 {
		algs := strings.Join(slices.Sorted(maps.Keys(digestSizes)), ", ")
		return Digest{}, fmt.Errorf(
			"%q is not a digest: write one of %s, a colon and the hex digits", clip.Text(s), algs)
	}
	if !spelling.IsHex(hx, size) {
		return Digest{}, fmt.Errorf("a %s digest has %d lower-case hex digits", alg, size)
	}
	return Digest{alg, hx}, nil
}
