// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"strings"
	"testing"
)

// TestCheckpointSize: a checkpoint has one spelling.
func TestCheckpointSize(t *testing.T) {
	const sig = "\n\u2014 directory.example AAAAAAA=\n"
	text := "directory.example\n5\n" + strings.Repeat("A", 43) + "=\n"
	if n, err := checkpointSize(text + sig); err != nil || n != 5 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{
		"", text, strings.Replace(text, "5", "05", 1) + sig, strings.Replace(text, "5", "+5", 1) + sig,
		strings.Replace(text, "A=", "B=", 1) + sig,
		text + strings.Replace(sig, "A=", "B=", 1), "\n" + text + sig,
	} {
		if n, err := checkpointSize(bad); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}
