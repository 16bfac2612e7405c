// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"strings"
	"testing"
)

func TestIsHash(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 4)
	for s, want := range map[string]bool{
		hash: true, hash[1:]: false, hash + "0": false, "": false, strings.ToUpper(hash): false, hash[:63] + "g": false,
		hash[:63] + " ": false,
	} {
		if IsHash(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
