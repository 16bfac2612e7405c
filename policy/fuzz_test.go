// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"fmt"
	"net/url"
	"os/exec"
	"path"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// keyPaths returns the path of every key and list item of what the library read.
func keyPaths(path string, v any, out map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			p := join(path, k)
			out[p] = true
			keyPaths(p, x, out)
		}
	case []any:
		for i, x := range v {
			p := fmt.Sprintf("%s[%d]", path, i)
			out[p] = true
			keyPaths(p, x, out)
		}
	}
}

// FuzzParse: what is accepted is accepted again with the same content, the
// places are those of exactly the keys that the TOML library sees, and neither
// a key more nor a key misspelt is accepted.
func FuzzParse(f *testing.F) {
	for _, v := range vectors.Read(f, "policy") {
		f.Add(v.Body)
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
		keys := map[string]bool{}
		keyPaths("", raw, keys)
		for k := range keys {
			if _, ok := doc.at[k]; !ok {
				t.Fatalf("the key %q has no place", k)
			}
		}
		for k, pos := range doc.at {
			if !keys[k] {
				t.Fatalf("the place %s is that of %q, which the library does not see", pos, k)
			}
		}
		if len(src)+20 < spelling.MaxPolicyBytes {
			if _, err := Parse(append([]byte("surprise = true\n"), src...)); err == nil {
				t.Fatal("an unknown key is accepted")
			}
			for k, pos := range doc.at {
				if strings.HasSuffix(k, "]") {
					continue
				}
				lines := strings.SplitAfter(string(src), "\n")
				line := []rune(lines[pos.Line-1])
				at := pos.Column - 1
				if line[at] == '[' { // a header: its own place is its bracket
					continue
				}
				lines[pos.Line-1] = string(line[:at]) + "q" + string(line[at:])
				if _, err := Parse([]byte(strings.Join(lines, ""))); err == nil {
					t.Fatalf("%q may be misspelt", k)
				}
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
	for _, v := range vectors.Read(f, "pattern") {
		f.Add(v.Field("pattern"), v.Field("name"))
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

// FuzzPatternOverlap: two patterns overlap if and only if some name is matched by
// both, which for short ones is found by trying all names.
func FuzzPatternOverlap(f *testing.F) {
	names := []string{""}
	for i := 0; len(names) < 6000; i++ {
		for _, c := range "ab/" {
			names = append(names, names[i]+string(c))
		}
	}
	for i := 1; i < len(names) && len(names[i]) <= 3; i++ {
		f.Add(names[i], "a*")
		f.Add("*b", names[i])
	}
	f.Add("a*b", "*ab")
	f.Add("*/b", "a/*")
	f.Add("a*a", "a")
	f.Fuzz(func(t *testing.T, p, q string) {
		if len(p) > 4 || len(q) > 4 || strings.Trim(p+q, "ab/*") != "" {
			return
		}
		a, errA := ParsePattern(p)
		b, errB := ParsePattern(q)
		if errA != nil || errB != nil {
			return
		}
		both := false
		for _, n := range names {
			if a.Match(n) && b.Match(n) {
				both = true
				break
			}
		}
		if a.overlaps(b) != both || b.overlaps(a) != both {
			t.Fatalf("%q and %q: %v, want %v", p, q, a.overlaps(b), both)
		}
	})
}

// FuzzOverlap: two patterns that both match a name overlap.
func FuzzOverlap(f *testing.F) {
	f.Add("v*", "v1.*", "v1.2")
	f.Add("a*b", "*ab", "aab")
	f.Add("widget_*.tar.gz", "*_linux_amd64.tar.gz", "widget_1_linux_amd64.tar.gz")
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
	for _, v := range vectors.Read(f, "locator") {
		f.Add(v.Field("input"))
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
		if !ok || strings.ToLower(l.Host()) != l.Host() || rest != l.Host()+"/"+l.Path() ||
			strings.ContainsAny(rest, "@?#%\\ ") ||
			strings.Contains(rest, "//") {
			t.Fatalf("%q from %q", l, s)
		}
		name, port, _ := strings.Cut(l.Host(), ":")
		if !strings.Contains(s, "://") {
			if host, _, ok := strings.Cut(strings.TrimPrefix(s, "git@"), ":"); ok && strings.ToLower(host) != name ||
				!ok && name != "github.com" {
				t.Fatalf("%q became another host: %q", s, l)
			}
			return
		}
		u, err := url.Parse(s)
		if err != nil {
			t.Fatalf("%q is no URL: %v", s, err)
		}
		want := u.Port()
		if p := map[string]string{"https": "443", "http": "80", "ssh": "22"}[u.Scheme]; want == p || want == "443" {
			want = ""
		}
		if strings.ToLower(u.Hostname()) != name || want != port || u.RawQuery != "" || u.Fragment != "" {
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
	for _, v := range vectors.Read(f, "refname") {
		f.Add(v.Field("tag"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) || len(s) > spelling.MaxRefBytes-len("refs/tags/") {
			if spelling.ValidTag(s) {
				t.Fatal("NUL or too long")
			}
			return
		}
		plain := true
		for i := range len(s) {
			plain = plain && s[i] > ' ' && s[i] < 0x7f
		}
		ok := exec.Command(git, "check-ref-format", "refs/tags/"+s).Run() == nil
		if got := spelling.ValidTag(s); got != (ok && plain) {
			t.Fatalf("%q: %v, git says %v", s, got, ok)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, v := range vectors.Read(b, "policy") {
		if v.Name != "all-workflow-keys" && v.Name != "two-maintainers" {
			continue
		}
		b.Run(v.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(v.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// hostile returns what is meant to cost the most in 64 KiB.
func hostile() map[string][]byte {
	const n = spelling.MaxPolicyBytes
	fill := func(s string) []byte { return []byte(strings.Repeat(s, n/len(s))) }
	keys := &bytes.Buffer{}
	for i := 0; keys.Len() < n-40; i++ {
		keys.WriteString(strings.Repeat("k", 10) + strings.Repeat("-x", i%20) + " = [[[[1,2,3]]]]\n")
	}
	inner := "[" + strings.Repeat("1,", maxListItems-1) + "1],"
	lines := func(format string) []byte {
		var b bytes.Buffer
		for i := 0; b.Len() < n-40; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.Bytes()
	}
	patterns := func(rule string) string {
		list := strings.Repeat("'"+rule+strings.Repeat("a", 20)+"*',", maxListItems)
		return "[[release]]\nartifacts = \"any\"\ntags = [" + list + "]\n"
	}
	return map[string][]byte{
		"nesting": fill(
			"[",
		), "header": append([]byte("["), fill("a.")[:n-2]...), "tables": fill("[[a]]\n"),
		"items": append([]byte("a = ["), fill("1,")[:n-8]...),
		"string": append(
			[]byte(`a = "`),
			fill("x")[:n-8]...), "comment": fill("#"), "keys": keys.Bytes(), "lines": fill("\n"), "rules": fill("[[release]]\n"),
		"nested headers": fill("[[a]]\n[[a.b]]\n[[a.b.c]]\n[[a.b.c.d]]\n"),
		"lists in a line": []byte(
			"a = [" + strings.Repeat(inner, n/len(inner)) + "]",
		), "keys in a line": append(append([]byte("a = {"), lines("k%d=1,")...), "z=1}"...),
		"many keys": lines(
			"k%d=1\n",
		), "many tables": lines("[k%d]\n"), "many lists of tables": lines("[[k%d]]\n"), "sub-tables": lines("[k%d.a.b.c]\n"),
		"unknown keys": append(
			[]byte("[[release]]\n"),
			bytes.Repeat([]byte("[[release]]\nenviroment=1\nworkflw=1\ntrigers=1\n"), 1000)...),
		"patterns": []byte(
			patterns("a") + patterns("b"),
		), "escapes": append([]byte(`a = "`), fill(`\u0061`)[:n-8]...), "quotes": fill(`"`), "not UTF-8": fill("\xff"),
		"members": []byte(
			"[maintainers]\nthreshold = 1\n" + strings.Repeat(
				"[[maintainers.member]]\nname = \"a\"\nidentities=[{email=\"a@b\",issuer=\"https://c\"}]\n", 700,
			),
		),
	}
}

// TestHostile is cases 9 and 28: hostile texts are refused, and cheaply. The
// bounds leave room for a busy machine; the benchmark shows what it really takes.
func TestHostile(t *testing.T) {
	for name, src := range hostile() {
		if len(src) > spelling.MaxPolicyBytes {
			src = src[:spelling.MaxPolicyBytes]
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := Parse(src)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if mem := after.TotalAlloc - before.TotalAlloc; took > 2*time.Second || mem > 64<<20 {
			t.Errorf("%s: %v and %d bytes", name, took, mem)
		}
	}
}

// BenchmarkParseHostile: each far below 100 ms and 64 MiB.
func BenchmarkParseHostile(b *testing.B) {
	for name, src := range hostile() {
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

// BenchmarkMatch stands beside path.Match, which matches the same language and
// more.
func BenchmarkMatch(b *testing.B) {
	const pattern, name = "widget_*_linux_*.tar.gz", "widget_1.2.3_linux_amd64.tar.gz"
	p, err := ParsePattern(pattern)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Pattern", func(b *testing.B) {
		for b.Loop() {
			if !p.Match(name) {
				b.Fatal("no match")
			}
		}
	})
	b.Run("path.Match", func(b *testing.B) {
		for b.Loop() {
			if ok, _ := path.Match(pattern, name); !ok {
				b.Fatal("no match")
			}
		}
	})
}

// FuzzUnboundWorkflow: what is taken for a workflow file of the repository, put together again, is
// the name that the certificate has.
func FuzzUnboundWorkflow(f *testing.F) {
	for _, uri := range []string{
		"https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1",
		"https://github.com/ACME/widget/.github/workflows/a@b.yaml@refs/tags/v1",
		"https://gitlab.com/acme/widget//.gitlab-ci.yml@refs/tags/v1",
		"https://gitlab.com/acme/widget//.github/workflows/x.yml@refs/tags/v1",
		"https://github.com/acme/widget-2/.github/workflows/release.yml@refs/tags/v1",
	} {
		f.Add(uri, "refs/tags/v1")
	}
	f.Fuzz(func(t *testing.T, uri, ref string) {
		for _, text := range []string{"https://github.com/acme/widget", "https://gitlab.com/acme/widget"} {
			repo, err := ParseLocator(text)
			if err != nil {
				t.Fatal(err)
			}
			w := newUnboundRule(repo).Workflow
			path, ok := w.fileOf(repo, uri, ref)
			if !ok {
				continue
			}
			if !repo.equalPath(uri, w.slash(path)+"@"+ref) || !isConfigPath(path) || ref == "" {
				t.Errorf("%q for %q is %q of %s", uri, ref, path, repo)
			}
			if w.Path = path; !w.signedBy(repo, uri, ref) {
				t.Errorf("%q is not by %q", uri, path)
			}
			of, ok := repo.WorkflowOf(Identity{Value: uri, BuildConfigURI: uri, SourceRepositoryRef: ref})
			if !ok || of.Path != path || of.Caller != path || repo.Unbound(Ids{}, of) == nil {
				t.Errorf("%q cannot be pinned as %+v", uri, of)
			}
		}
	})
}
