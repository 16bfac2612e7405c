// SPDX-License-Identifier: Apache-2.0

package sums

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var (
	h, g = strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	h512 = strings.Repeat("ab", 64)
	sha1 = strings.Repeat("ab", 20)
)

// show writes a list in one line: names with digests, by their algorithms and first digits.
func show(l *List) string {
	var out []string
	for _, e := range l.Entries {
		what := e.Weak
		for _, d := range e.Digests {
			what += d.Alg + ":" + d.Hex[:2]
		}
		out = append(out, fmt.Sprintf("%q %s", e.Name, what))
	}
	if l.Plain {
		out = append(out, "plain")
	}
	return strings.Join(out, ", ")
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{h + "  a\n", `"a" sha256:ab, plain`},
		{h + " *a\n" + g + "  b/c\n", `"a" sha256:ab, "b/c" sha256:cd, plain`},
		{strings.ToUpper(h) + "  a", `"a" sha256:ab, plain`},
		{h512 + "  ./a", `"a" sha512:ab, plain`},
		{h + " a\n", `"a" sha256:ab, plain`},
		{h + "\ta\r\n" + g + "\tb c\r\n", `"a" sha256:ab, "b c" sha256:cd, plain`},
		{"SHA256 (a (b) c) = " + h + "\n", `"a (b) c" sha256:ab, plain`},
		{"SHA2-256(a)= " + h + "\n", `"a" sha256:ab, plain`},
		{"sha256:" + h + "  a\n", `"a" sha256:ab, plain`},
		{"# comment\n\n" + h + "  a\n", `"a" sha256:ab`},
		{"SHA256\n" + h + "  a\n", `"a" sha256:ab`},
		{"SHA-256 checksums for widget v1.2.3-rc.1:\n=====\n" + h + "  a\n\nSHA512:\n" + h512 + "  a\n",
			`"a" sha256:absha512:ab`},
		{h + "  a\n" + h512 + "  a\n", `"a" sha256:absha512:ab, plain`},
		{h + "  a\n" + h + "  ./a\n", `"a" sha256:ab, plain`},
		{sha1 + "  a\n" + h + "  a\n", `"a" sha256:ab`},
		{h + "  a\n" + sha1 + "  b\n", `"a" sha256:ab, "b" SHA-1`},
		{"BLAKE2b-256 (a) = " + h + "\n", `"a" BLAKE2b-256`},
		{"SHA3-256 (a) = " + h + "\nSHA256 (a) = " + g + "\n", `"a" sha256:cd`},
		{"a " + h + "\nb c  " + g + "\n", `"a" sha256:ab, "b c" sha256:cd`},
		{`\` + h + `  a\nb\\c` + "\n", `"a\nb\\c" sha256:ab, plain`},
		{`\SHA256 (a\\b) = ` + h + "\n", `"a\\b" sha256:ab, plain`},
		{h + `  dist\a` + "\n", `"dist/a" sha256:ab, plain`},
		{h + "  " + g + "\n", `"` + g + `" sha256:ab, plain`},

		{"", "it lists nothing"},
		{"\n\n", "it lists nothing"},
		{"SHA256\n", "line 1: not "},
		{h + "\n", "line 1: not "},
		{h + "  \n", "line 1: "},
		{h + "   a\n", `line 1: " a": a name that is empty, or begins or ends with a blank`},
		{h + "  a \n", "line 1: "},
		{"zz" + h[2:] + "  a\n", "line 1: not "},
		{h[2:] + "  a\n", "line 1: not "},
		{h + "  a\n" + g + "  a\n", `line 2: "a" stands twice, with different digests`},
		{h + "  /etc/passwd\n", "line 1: "}, {h + "  ../a\n", "line 1: "}, {h + "  a/../b\n", "line 1: "},
		{h + "  a//b\n", "line 1: "}, {h + `  C:\a` + "\n", "line 1: "}, {h + `  ..\a` + "\n", "line 1: "},
		{`\` + h + `  a\t` + "\n", "line 1: an escape"}, {`\` + h + `  a\`, "line 1: an escape"},
		{"SHA512 (a) = " + h + "\n", "line 1: not a digest of the algorithm SHA512"},
		{"sha512:" + h + "  a\n", "line 1: not a digest of the algorithm sha512"},
		{h + "  a\ngarbage\n", "line 2: not "},
		{h + "  a\nSHA256\n" + h + "  b\n", "line 2: not "}, // a title between lines, which may be half of one
		{"sha256 abcdef widget.tar.gz\n" + h + "  a\n", "line 1: not "},
		{h + "  a\nb " + h + "\n", "line 2: not "},
		{h + " " + g + "\n", "line 1: which of the two is the name cannot be told"},
		{h + "  a\x01b\n", "line 1: "}, {h + "  \xff\n", "it is not UTF-8"},
		{"\xef\xbb\xbf" + h + "  a\n", "it begins with a byte order mark (EF BB BF)"},
		{h + "  a\n\ufeff" + h + "  b\n", "line 2: a byte order mark"},
		{"\xff\xfea\x00", "it is UTF-16 with a byte order mark"}, {"a\x00b\x00", "it has NUL bytes"},
	} {
		l, err := Parse("SHA256SUMS", []byte(c.in))
		switch {
		case err != nil:
			if !strings.HasPrefix(err.Error(), c.want) || strings.Contains(c.want, " sha256:") {
				t.Errorf("%q: %v, want %s", c.in, err, c.want)
			}
		case show(l) != c.want:
			t.Errorf("%q: %s, want %s", c.in, show(l), c.want)
		}
	}
}

// TestBare reads a list with the digest alone, which is that of the file it is called after.
func TestBare(t *testing.T) {
	for _, c := range []struct{ called, in, want string }{
		{"a.sha256", h + "\n", `"a" sha256:ab, plain`}, {"a.SHA256.txt", h, `"a" sha256:ab, plain`},
		{"a.sha512", h512, `"a" sha512:ab, plain`}, {"a.sha256", sha1, `"a" SHA-1`},
		{"a.txt", h, ""}, {".sha256", h, ""}, {"a.sha256", h + "\n" + g, ""}, {"a.sha256", h + "\nx", ""},
	} {
		l, err := Parse(c.called, []byte(c.in))
		if (err != nil) != (c.want == "") || err == nil && show(l) != c.want {
			t.Errorf("%s %q: %v", c.called, c.in, err)
		}
	}
}

func TestCalled(t *testing.T) {
	for name, want := range map[string][2]bool{
		"SHA256SUMS": {true, true}, "sha256sum.txt": {true, true}, "checksums.txt": {true, true},
		"widget_1.0_checksums.txt": {true, true}, "widget-SHA512SUMS": {true, true}, "SHASUMS256.txt": {true, true},
		"SHA2-256SUMS": {true, true}, "SHA2-512SUMS": {true, true}, "sha256sums": {true, true},
		"sha256.sum": {true, false}, "checksum.txt": {true, false}, "checksums.sha256": {true, false},
		"checksums_sha256.txt": {true, false}, "checksums-sha256.txt": {true, false}, "sha256sums-v1.2.3.txt": {true, false},
		"SHA256SUM-1.2.3": {true, false}, "sha256checksums.txt": {true, true}, "digests.txt": {true, false},
		"a.sha256": {true, false}, "a.tar.gz.SHA512.txt": {true, false}, "hashes": {true, false}, "go.sum": {true, false},
		"sha256.txt": {true, false}, "widget-2.0-rc1-sha-256.txt": {true, false}, "a.sha256sums": {true, true},

		"checksums.sh": {}, "SHA256SUMS.exe": {}, "widget.txt": {}, "sha256sums.sigstore.json": {}, "SHA256SUMS.asc": {},
		"": {}, ".": {}, ".txt": {}, "-": {}, "install": {}, "checksums.json": {}, "rechecksums.bin": {}, "256": {},
	} {
		if got := [2]bool{Called(name), Named(name)}; got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestLooks(t *testing.T) {
	for in, want := range map[string]bool{
		h + "  a\n": true, "SHA256\n" + h + "  a\nx": true, "# c\n\n" + h: true, "\xef\xbb\xbf" + h + "  a": true,
		"a  " + h: true, h + "  " + strings.Repeat("ü", 3) + "\xc3": true,
		"": false, "#!/bin/sh\nexit": false, "{}": false, `["` + h + `"]`: false, "\x7fELF\x02": false, "SHA256\n": false,
	} {
		if Looks([]byte(in)) != want {
			t.Errorf("%q: %t", in, !want)
		}
	}
}

func TestFind(t *testing.T) {
	l, err := Parse("", []byte(h+"  a\n"+g+"  x/a\n"+h+"  y/a\n"+h+"  b/c\n"))
	if err != nil {
		t.Fatal(err)
	}
	exact, elsewhere := l.Find("a")
	if exact != &l.Entries[0] || !reflect.DeepEqual(elsewhere, []*Entry{&l.Entries[1], &l.Entries[2]}) {
		t.Errorf("%v %v", exact, elsewhere)
	}
	if exact, elsewhere := l.Find("b"); exact != nil || elsewhere != nil {
		t.Errorf("%v %v", exact, elsewhere)
	}
}

// FuzzParse demands of what is understood: every line with a digest has an entry, names are
// local paths, and the list is understood in the same way when it is written as sha256sum
// writes it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		h + "  a\n", "SHA256 (a) = " + h + "\n", "a  " + h, `\` + h + `  a\nb`,
		"SHA256:\n" + h + "\ta\n", h + "  dist\\a\r\n",
	} {
		f.Add("SHA256SUMS", []byte(s))
	}
	f.Add("a.sha256", []byte(h))
	f.Fuzz(func(t *testing.T, called string, data []byte) {
		l, err := Parse(called, data)
		if err != nil {
			if l != nil {
				t.Fatal("a list with an error")
			}
			return
		}
		var again strings.Builder
		for _, e := range l.Entries {
			if e.Name == "" || strings.HasPrefix(e.Name, "/") || strings.Contains("/"+e.Name+"/", "/../") {
				t.Fatalf("name %q", e.Name)
			}
			if (len(e.Digests) == 0) != (e.Weak != "") {
				t.Fatalf("%+v", e)
			}
			name := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(e.Name)
			for _, d := range e.Digests {
				if e.Name != name {
					again.WriteByte('\\')
				}
				again.WriteString(d.Hex + "  " + name + "\n")
			}
		}
		if again.Len() == 0 {
			return
		}
		m, err := Parse("", []byte(again.String()))
		if err != nil {
			t.Fatalf("%q: %v", again.String(), err)
		}
		n := 0
		for _, e := range l.Entries {
			if e.Weak != "" {
				continue
			}
			if x := m.Entries[n]; x.Name != e.Name || !reflect.DeepEqual(x.Digests, e.Digests) {
				t.Fatalf("%+v became %+v", e, x)
			}
			n++
		}
	})
}
