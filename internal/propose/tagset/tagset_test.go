// SPDX-License-Identifier: Apache-2.0

package tagset

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPatterns: the patterns of the families that release match nothing of the others.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		what, tags string
		only       []string // prefixes; all without
		want       string
	}{
		{"versions", "v1.0.0 v1.1.0 nightly", nil, "v*.*.*"},
		{"two parts", "v4.2 v4.1.3 v4.0", nil, "v*.*"},
		{"pre-releases of Python", "v4.2.0 v4.0.0rc1", nil, "v*.*.*"},
		{"without v", "1.0.0 1.1.0", nil, "semver"},
		{"with and without v", "1.0.0 v1.1.0", nil, "semver"},
		{"without v, not semantic", "2.0.0 2.0.0rc1 1.9.1", nil, "1*.*.* 2*.*.* 3*.*.*"},
		{"dates", "2026.07.22 2026.06.17 2025.1.31", nil, "2*.*.*"},
		{"two parts without v", "26.2 26.1.1 26.1 9.0", nil, "2*.* 9*.*"},
		{"one number", "v14 v13 v12", nil, "v*"},
		{"moving majors", "v2 v2.1.0 v2.0.0 v1 v1.0.0", nil, "v*.*.*"},
		{"moving majors and minors", "v2.1 v2 v2.1.0 v2.1.1 v2.0.0 v2.0 v1.9.0 v1.8.0 v1.7.0 v1.6.0 v1.5.0 " +
			"v1.4.0 v1.3.0 v1.2.0 v1.1.0 v1.0.0 v0.9.0 v0.8.0 v0.7.0 v0.6.0 v0.5.0 v0.4.0 v0.3.0", nil, "v*.*.*"},
		{"components", "core-v1.0.0 v2.0.0", nil, "core-v*.*.* v*.*.*"},
		{"components apart", "v1.2.3 vox-v1.2.3", []string{"v"}, "v1*.*.* v2*.*.*"},
		{"charts apart", "v1.16.0 kyverno-chart-3.9.0", []string{"v"}, "v*.*.*"},
		{"scopes", "@acme/a@1.0.0 b@1.0.0", nil, "@acme/a@*.*.* b@*.*.*"},
		{"directories", "cmd/a/v1.0.0 v1.0.0", []string{"v"}, "v*.*.*"},
		{"lines of maintenance", "3.1.0 3.1.x 3.0rc1", nil, "3*.* 4*.*"},
		{"a name with a digit", "k8s-v1.2.3", nil, "k8s-v*.*.*"},
		{"underscores", "R_2_6_0 R_2_5_0 R_2_10_1", nil, "R_*_*_*"},
		{"two parts with underscores", "REL_16_1 REL_15_4", nil, "REL_*_*"},
		{"dashes", "v1-2-3 v1-2-2", nil, "v*-*-*"},
		{"moments", "RELEASE.2024-01-16T16-07-38Z RELEASE.2023-12-01T07-53-03Z", nil, "RELEASE.*-*-*"},
		{"days", "2024-01-16 2023-12-01", nil, "2*-*-*"},
		{"a letter and a number", "b2134 b2133 latest", nil, "b*"},
		{"days between releases", "v1.0.0 weekly-2024-01-01", nil, "v*.*.*"},
		{"days of no release", "nightly-2024-01-01 weekly-2024-01-01", nil, ""},
		{"a version that a path goes on after", "v1.2/01 v1.2/02 v1.2", nil, "v*.* v1.2/*"},
		{"no versions", "nightly latest staging-2026-05 {1", nil, ""},
	} {
		tags := strings.Fields(c.tags)
		var families []Family
		for _, f := range Families(tags) {
			if c.only == nil || f.Prefix == c.only[0] {
				families = append(families, f)
			}
		}
		if d := cmp.Diff(c.want, strings.Join(Patterns(families, tags), " ")); d != "" {
			t.Errorf("%s: %s", c.what, d)
		}
	}
}

// FuzzPatterns: every pattern is one of the language, and every tag of a family is matched.
func FuzzPatterns(f *testing.F) {
	f.Add("v1.2.3 v2 1.0 a@1.2.3 x-2020-01-01 9")
	f.Add("v1.2/01 v1.2/3-4 1-2/x")
	f.Fuzz(func(t *testing.T, text string) {
		tags := strings.Fields(text)
		families := Families(tags)
		patterns := Patterns(families, tags)
		for _, family := range families {
			for _, tag := range family.Tags {
				matched := len(patterns) == 1 && patterns[0] == Semver && isSemver(tag)
				writable := false // with characters that no pattern can hold there is none
				for _, p := range patterns {
					if p != Semver && !valid(p) {
						t.Fatalf("%q", p)
					}
					matched = matched || matches(p, tag)
				}
				writable = valid(family.Prefix+"0*") || valid(family.Prefix+"*")
				if !matched && writable {
					t.Errorf("%q: %q of %q", tag, patterns, family.Prefix)
				}
			}
		}
	})
}
