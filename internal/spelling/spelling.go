// SPDX-License-Identifier: Apache-2.0

// Package spelling says how what policies, logs and evidence name is spelled: digests, refs,
// hosts, issuers, keys, times and our own formats. It asks nothing but the text.
package spelling

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// IsHex reports whether s is n lower-case hex digits.
func IsHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// IsHash reports whether s is a SHA-256 in lower-case hex.
func IsHash(s string) bool { return IsHex(s, 2*sha256.Size) }

// Stamp returns a moment as messages write it.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Sum returns the hex SHA-256 of the data.
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// LowerASCII returns s with the letters A to Z in lower case and nothing else
// changed.
func LowerASCII(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lowerASCII(b[i])
	}
	return string(b)
}

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// EqualFold compares two strings without regard to the case of the ASCII letters.
// strings.EqualFold would also equate 'k' with the Kelvin sign.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}
