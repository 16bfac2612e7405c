// SPDX-License-Identifier: Apache-2.0

package spelling

import "strings"

// ShellWord returns s as one word of a POSIX shell, in quotation marks where it needs them.
func ShellWord(s string) string {
	plain := s != ""
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte("-._/:@+,%", c) < 0 {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
