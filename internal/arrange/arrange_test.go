// SPDX-License-Identifier: Apache-2.0

package arrange

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBy(t *testing.T) {
	type pair struct{ key, place int }
	byKey := func(a, b pair) int { return a.key - b.key }
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		all := make([]pair, n)
		for i := range all {
			all[i] = pair{r.IntN(n/3 + 1), i}
		}
		want := slices.Clone(all)
		slices.SortStableFunc(want, byKey)
		if By(all, byKey); !slices.Equal(all, want) {
			t.Fatalf("%v, want %v", all, want)
		}
	}
}
