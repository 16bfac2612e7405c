// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// FuzzParse: what is accepted is accepted again with the same content, its keys
// are those that the TOML library sees, and one unknown key more is refused.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f, "policy") {
		f.Add(v.body)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		doc, err := Parse(src)
		if err != nil {
			if doc != nil {
				t.Fatal("a document beside an error")
			}
			return
		}
		again, err := Parse(bytes.Clone(src))
		if err != nil || !reflect.DeepEqual(doc.file, again.file) {
			t.Fatalf("not the same twice: %v", err)
		}
		var raw map[string]any
		if err := toml.Unmarshal(src, &raw); err != nil {
			t.Fatalf("the library refuses it: %v", err)
		}
		for k := range raw {
			if _, ok := doc.at[k]; !ok {
				t.Fatalf("the key %q has no place", k)
			}
		}
		if len(src)+20 < MaxPolicyBytes {
			if _, err := Parse(append([]byte("surprise = true\n"), src...)); err == nil {
				t.Fatal("an unknown key is accepted")
			}
		}
	})
}

// bruteMatch is the specification of a pattern, word by word.
func bruteMatch(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return bruteMatch(p[1:], s) || s != "" && s[0] != '/' && bruteMatch(p, s[1:])
	}
	return s != "" && s[0] == p[0] && bruteMatch(p[1:], s[1:])
}

// FuzzPattern compares the matcher with the brute-force one.
func FuzzPattern(f *testing.F) {
	for _, v := range vectors(f, "pattern") {
		f.Add(v.field("pattern"), v.field("name"))
	}
	f.Fuzz(func(t *testing.T, p, s string) {
		pat, err := ParsePattern(p)
		if err != nil || len(p) > 24 || len(s) > 24 {
			return
		}
		if got := pat.Match(s); got != bruteMatch(p, s) {
			t.Fatalf("%q on %q: %v", p, s, got)
		}
	})
}

// FuzzOverlap: two patterns that both match a name overlap.
func FuzzOverlap(f *testing.F) {
	f.Add("v*", "v1.*", "v1.2")
	f.Add("a*b", "*ab", "aab")
	f.Fuzz(func(t *testing.T, p, q, s string) {
		a, errA := ParsePattern(p)
		b, errB := ParsePattern(q)
		if errA != nil || errB != nil {
			return
		}
		if a.overlaps(b) != b.overlaps(a) {
			t.Fatal("not symmetric")
		}
		if a.Match(s) && b.Match(s) && !a.overlaps(b) {
			t.Fatalf("%q and %q both match %q", p, q, s)
		}
	})
}

// FuzzLocator: the result is canonical, and writing it differently in ways that
// mean the same gives the same.
func FuzzLocator(f *testing.F) {
	for _, v := range vectors(f, "locator") {
		f.Add(v.field("input"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := NormalizeLocator(s)
		if err != nil {
			if !l.IsZero() {
				t.Fatal("a locator beside an error")
			}
			return
		}
		if again, err := ParseLocator(l.String()); err != nil || again != l {
			t.Fatalf("%q is not canonical: %v", l, err)
		}
		rest, ok := strings.CutPrefix(l.String(), "https://")
		if !ok || strings.ToLower(l.Host()) != l.Host() || rest != l.Host()+"/"+l.Path() || strings.ContainsAny(rest, "@?#%\\ ") || strings.Contains(rest, "//") {
			t.Fatalf("%q from %q", l, s)
		}
		if !strings.Contains(strings.ToLower(s), strings.SplitN(l.Host(), ":", 2)[0]) && strings.Contains(s, "://") {
			t.Fatalf("%q became another host: %q", s, l)
		}
	})
}

// FuzzTagName compares with git check-ref-format.
func FuzzTagName(f *testing.F) {
	git, err := exec.LookPath("git")
	if err != nil {
		f.Skip("no git")
	}
	for _, v := range vectors(f, "refname") {
		f.Add(v.field("tag"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) || len(s) > MaxRefBytes-len("refs/tags/") {
			if ValidTag(s) {
				t.Fatal("NUL or too long")
			}
			return
		}
		plain := true
		for i := range len(s) {
			plain = plain && s[i] > ' ' && s[i] < 0x7f
		}
		ok := exec.Command(git, "check-ref-format", "refs/tags/"+s).Run() == nil
		if got := ValidTag(s); got != (ok && plain) {
			t.Fatalf("%q: %v, git says %v", s, got, ok)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	src := vectors(b, "policy")[0].body
	for b.Loop() {
		_, _ = Parse(src)
	}
}

// BenchmarkParseHostile parses what is meant to cost the most in 64 KiB.
func BenchmarkParseHostile(b *testing.B) {
	const n = MaxPolicyBytes
	fill := func(s string) []byte { return []byte(strings.Repeat(s, n/len(s))) }
	keys := &bytes.Buffer{}
	for i := 0; keys.Len() < n-40; i++ {
		keys.WriteString(strings.Repeat("k", 10) + strings.Repeat("-x", i%20) + " = [[[[1,2,3]]]]\n")
	}
	for name, src := range map[string][]byte{
		"nesting": fill("["), "header": append([]byte("["), fill("a.")[:n-2]...), "tables": fill("[[a]]\n"), "items": append([]byte("a = ["), fill("1,")[:n-8]...),
		"string": append([]byte(`a = "`), fill("x")[:n-8]...), "comment": fill("#"), "keys": keys.Bytes(), "lines": fill("\n"), "rules": fill("[[release]]\n"),
		"nested headers": fill("[[a]]\n[[a.b]]\n[[a.b.c]]\n[[a.b.c.d]]\n"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(src); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	p, err := ParsePattern("widget_*_linux_*.tar.gz")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p.Match("widget_1.2.3_linux_amd64.tar.gz")
	}
}
