// SPDX-License-Identifier: Apache-2.0

// Package arrange sorts short slices. slices.SortFunc is compiled anew for each type: of forty types
// that was a fortieth of the program.
package arrange

import "sort"

// By sorts s in place as cmp says; what is equal keeps its order.
func By[E any](s []E, cmp func(a, b E) int) {
	sort.SliceStable(s, func(i, j int) bool { return cmp(s[i], s[j]) < 0 })
}
