// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"slices"
	"strings"
	"testing"
)

// TestRoleWay: two ways are never written alike, and what no search comes to is refused.
func TestRoleWay(t *testing.T) {
	seen := map[string][]string{}
	for _, way := range [][]string{
		nil, {"a"}, {"a", "b"}, {"a/b"}, {"a%2Fb"}, {"a%2fb"}, {"a%252Fb"}, {"a", "b/c"}, {"a/b", "c"}, {"a", "b", "c"},
		{"%"}, {"%25"}, {"ä"},
	} {
		s := RoleWay(way)
		if other, ok := seen[s]; ok {
			t.Errorf("%q and %q are both %s", way, other, s)
		}
		seen[s] = way
		if err := CheckRoleWay(s); err != nil {
			t.Errorf("%q: %s: %v", way, s, err)
		}
	}
	for _, s := range []string{
		"", "/", "/a", "a/", "a//b", "root", "snapshot", "timestamp", "a/root", "targets/a", "a/targets", "a%", "a%2", "a%2f",
		"a%41", "%", "%2525%",
	} {
		if CheckRoleWay(s) == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func FuzzRoleWay(f *testing.F) {
	f.Add("a", "b")
	f.Add("a/b", "%2F")
	f.Add("targets", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		way := []string{a, b}
		s := RoleWay(way)
		if a == "" || b == "" {
			if CheckRoleWay(s) == nil {
				t.Fatalf("%q: %q", way, s)
			}
			return
		}
		var back []string
		for n := range strings.SplitSeq(s, "/") {
			back = append(back, strings.NewReplacer("%25", "%", "%2F", "/").Replace(n))
		}
		if !slices.Equal(back, way) {
			t.Fatalf("%q, %q, %q", way, s, back)
		}
	})
}
