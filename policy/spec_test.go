// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
)

// TestSpecLinks: every function that the specification names in a file is in that
// file, every name of vectors matches some, and every vector of a chain belongs
// to some section.
func TestSpecLinks(t *testing.T) {
	data, err := os.ReadFile("../schema/SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	sections := map[string]bool{}
	links := 0
	for _, paragraph := range strings.Split(string(data), "\n\n") {
		if m := regexp.MustCompile(`^##+ ([0-9.]+)`).FindStringSubmatch(paragraph); m != nil {
			sections[strings.TrimSuffix(m[1], ".")] = true
		}
		if !strings.HasPrefix(paragraph, "In the code:") {
			continue
		}
		text := strings.Join(strings.Fields(paragraph), " ")
		code, vecs, _ := strings.Cut(text, "Vectors:")
		var names []string
		named := regexp.MustCompile("`([A-Za-z]+)`|\\]\\(\\.\\./([a-z/_]+\\.go)\\)")
		for _, m := range named.FindAllStringSubmatch(code, -1) {
			if m[1] != "" {
				names = append(names, m[1])
				continue
			}
			src, err := os.ReadFile("../" + m[2])
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				links++
				if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + name + `\(`).Match(src) {
					t.Errorf("%s has no function %s", m[2], name)
				}
			}
			names = nil
		}
		if len(names) > 0 {
			t.Errorf("%q are in no file", names)
		}
		for _, m := range regexp.MustCompile("`([a-z]+/[a-z0-9*-]+)`").FindAllStringSubmatch(vecs, -1) {
			found, err := filepath.Glob("../schema/testdata/" + m[1] + ".txt")
			if err != nil || len(found) == 0 {
				t.Errorf("no vectors %s", m[1])
			}
			patterns = append(patterns, m[1])
		}
	}
	if links < 15 || len(patterns) < 50 {
		t.Errorf("%d functions, %d patterns", links, len(patterns))
	}
	for _, v := range vectors.Read(t, "chain") {
		ok := false
		for _, p := range patterns {
			match, err := path.Match(p, "chain/"+v.Name)
			ok = ok || match && err == nil
		}
		if s, cites := strings.CutPrefix(v.Header["source"], "SPEC "); cites && !sections[s] {
			t.Errorf("chain/%s cites section %s, which does not exist", v.Name, s)
		}
		if !ok {
			t.Errorf("chain/%s is linked from no section", v.Name)
		}
	}
}
