// SPDX-License-Identifier: Apache-2.0

// Package clip shortens what others wrote before it becomes a part of a message.
package clip

import "unicode/utf8"

// most is the number of bytes of such a text that a message shows.
const most = 80

// Text returns the beginning of s, at most 80 bytes.
func Text(s string) string { return To(s, most) }

// Bytes returns the beginning of b as text, at most 80 bytes.
func Bytes(b []byte) string { return Text(string(b[:min(len(b), most+1)])) }

// To returns the beginning of s, at most n bytes. It does not cut within a character.
func To(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i >= 0 && n-i < utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}
