// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatch(t *testing.T) {
	for _, row := range []struct {
		pattern, name string
		want          bool
	}{
		{"main", "main", true}, {"main", "mainline", false}, {"*", "main", true}, {"*", "feature/x", false}, {"**", "feature/x", true},
		{"feature/*", "feature/x", true}, {"feature/*", "feature/x/y", false}, {"feature/**", "feature/x/y", true}, {"v*", "v1.2.3", true},
		{"**/docs/**", "docs/a", true}, {"**/docs/**", "x/docs/a/b", true}, {"**/docs/**", "xdocs/a", false}, {"**.md", "a/b.md", true}, {"", "", true}, {"*", "", true},
	} {
		if got := match(row.pattern, row.name); got != row.want {
			t.Errorf("%q, %q: %t", row.pattern, row.name, got)
		}
	}
}

// FuzzMatch compares the matcher with a regular expression.
func FuzzMatch(f *testing.F) {
	f.Add("feature/**", "feature/x/y")
	f.Add("**/a*b", "x/acb")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 12 || len(name) > 40 || strings.Contains(pattern, "***") || !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return
		}
		e := regexp.QuoteMeta(pattern)
		e = strings.ReplaceAll(e, `\*\*/`, `(?:.*/)?`)
		e = strings.ReplaceAll(e, `\*\*`, `.*`)
		e = strings.ReplaceAll(e, `\*`, `[^/]*`)
		if want := regexp.MustCompile(`(?s)^` + e + `$`).MatchString(name); match(pattern, name) != want {
			t.Errorf("%q, %q: want %t", pattern, name, want)
		}
	})
}

func TestExpressions(t *testing.T) {
	s := scope{
		"github": map[string]any{"repository": "acme/widget", "ref": "refs/tags/v1", "event": map[string]any{"n": float64(3), "list": []any{"a", "b"}}},
		"needs":  map[string]any{"build": map[string]any{"result": "success", "outputs": map[string]any{"digest": "abc"}}},
	}
	for text, want := range map[string]string{
		"plain":                                       "plain",
		"${{ github.repository }}":                    "acme/widget",
		"a ${{ github.REF }} b ${{ 1 }}":              "a refs/tags/v1 b 1",
		"${{ github['repository'] }}":                 "acme/widget",
		"${{ github.nothing.at.all }}":                "",
		"${{ needs.build.outputs.digest || 'none' }}": "abc",
		"${{ needs.build.outputs.other || 'none' }}":  "none",
		"${{ github.repository == 'ACME/widget' }}":   "true",
		"${{ github.event.n == '3' && !false }}":      "true",
		"${{ github.event.n > 2.5 }}":                 "true",
		"${{ null == 0 }}":                            "true",
		"${{ 'a' == 0 }}":                             "false",
		"${{ contains(github.event.list, 'A') }}":     "true",
		"${{ contains(github.ref, 'TAGS') }}":         "true",
		"${{ startsWith(github.ref, 'refs/tags/') }}": "true",
		"${{ endsWith(github.ref, 'v2') }}":           "false",
		"${{ format('{0}-{1}', 'a', 2) }}":            "a-2",
		"${{ fromJSON('{\"a\":[1]}').a }}":            "[\n  1\n]",
	} {
		if got, err := expand(text, s, status{}); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"${{ }}", "${{ github", "${{ nothing }}", "${{ hashFiles('x') }}", "${{ contains('a') }}", "${{ fromJSON('{') }}", "${{ github.* }}"} {
		if got, err := expand(text, s, status{}); err == nil {
			t.Errorf("%s: %q", text, got)
		}
	}
	for text, want := range map[string][2]bool{ // without and with a failure before
		"": {true, false}, "always()": {true, true}, "failure()": {false, true}, "${{ !cancelled() }}": {true, true},
		"github.repository == 'acme/widget'": {true, false}, "success() || failure()": {true, true}, "false": {false, false},
	} {
		for i, failed := range []bool{false, true} {
			if got, err := holds(text, s, status{failed: failed}); err != nil || got != want[i] {
				t.Errorf("%q, failed %t: %t, %v", text, failed, got, err)
			}
		}
	}
}

// FuzzExpand demands that a text without an expression stays as it is, and that
// nothing panics.
func FuzzExpand(f *testing.F) {
	f.Add("${{ contains(github.ref, 'x') && 1 < 2 }}")
	f.Add("a ${{ github['a'].b }} c")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := expand(text, scope{"github": map[string]any{"ref": "x"}}, status{})
		if !strings.Contains(text, "${{") && (err != nil || got != text) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	})
}

// FuzzWorkflow demands that a file which is taken can be ordered, with every job
// after those that it needs.
func FuzzWorkflow(f *testing.F) {
	f.Add("on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{run: y}]\n  b:\n    needs: a\n    runs-on: x\n    steps: [{run: y}]\n")
	f.Add("on: {push: {branches: ['*']}}\npermissions: write-all\njobs: {a: {uses: ./x.yml}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := parse("w.yml", []byte(text))
		if err != nil {
			return
		}
		ids, err := order(w.Jobs)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, id := range ids {
			for _, need := range w.Jobs[id].Needs {
				if !seen[need.Value] {
					t.Errorf("%s runs before %s", id, need.Value)
				}
			}
			seen[id] = true
		}
		if len(seen) != len(w.Jobs) {
			t.Errorf("%d of %d jobs", len(seen), len(w.Jobs))
		}
		if _, err := starts(w, Event{Name: "push", Ref: "refs/heads/main"}, nil); err != nil {
			return
		}
		permissionsOf(w.Permissions, nil)
	})
}

func TestReadOutput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "output")
	for text, want := range map[string]map[string]any{
		"":                         {},
		"a=1\nb=x=y\n":             {"a": "1", "b": "x=y"},
		"a<<EOF\n1\n2\nEOF\nb=3\n": {"a": "1\n2", "b": "3"},
		"a<<EOF\n1\n":              nil,
		"nonsense\n":               nil,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readOutput(file)
		if (err == nil) != (want != nil) || err == nil && !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
