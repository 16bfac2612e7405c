// SPDX-License-Identifier: Apache-2.0

// Package form holds the small questions of form that the policy file and the chain of
// versions have in common.
package form

import (
	"strings"
	"time"
)

// maxClip is how much of a text of unknown length a message repeats.
const maxClip = 80

// Clip returns as much of a text as a message repeats.
func Clip(s string) string { return s[:min(len(s), maxClip)] }

// IsHex reports whether s is n lower-case hex digits.
func IsHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// Stamp returns a moment as messages write it.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
