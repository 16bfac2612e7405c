// SPDX-License-Identifier: Apache-2.0

package spelling

import "strings"

// MaxRefBytes is the longest ref name that is ever judged.
const MaxRefBytes = 1024

// ValidTag reports whether name can be a tag: refs/tags/<name> passes the rules
// of git-check-ref-format(1) and is printable ASCII of at most MaxRefBytes
// bytes (SPEC 4; Git itself would also take other bytes).
func ValidTag(name string) bool {
	return ValidRef("refs/tags/" + name)
}

// ValidRef reports whether ref is a full ref name under refs/ by the same
// rules as [ValidTag].
func ValidRef(ref string) bool {
	return len(ref) <= MaxRefBytes && strings.HasPrefix(ref, "refs/") && validRef(ref)
}

func validRef(ref string) bool {
	for i := range len(ref) {
		if c := ref[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`~^:?*[\`, c) >= 0 {
			return false
		}
	}
	for part := range strings.SplitSeq(ref, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.Contains(ref, "..") && !strings.Contains(ref, "@{") && !strings.HasSuffix(ref, ".")
}
