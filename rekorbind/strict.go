// SPDX-License-Identifier: Apache-2.0

package rekorbind

func clip(s string) string {
	if len(s) > 80 {
		return s[:80]
	}
	return s
}
