// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io/fs"
	"strings"
	"testing"
)

// TestGetAddress: what stands before the last // is the repository, and behind it a path and nothing else.
func TestGetAddress(t *testing.T) {
	for text, want := range map[string]getAddress{ // the zero value: refused
		"oci:r.example/p//a":                      {place: "oci:r.example/p", path: "a"},
		"oci:r.example:5000/p/q:v1//a/b.tar.gz":   {place: "oci:r.example:5000/p/q:v1", path: "a/b.tar.gz"},
		"oci:r.example/p@sha256:" + zeros + "//a": {place: "oci:r.example/p@sha256:" + zeros, path: "a"},
		"oci-layout:/a//b//c":                     {place: "oci-layout:/a//b", path: "c"},
		"https://h.example//a":                    {place: "https://h.example", path: "a"},
		"https://h.example:8443/t/u//a/b":         {place: "https://h.example:8443/t/u", path: "a/b"},
		"http://127.0.0.1:80//a":                  {place: "http://127.0.0.1:80", path: "a"},
		"./d//a":                                  {place: "./d", path: "a"},
		"d/e//a":                                  {place: "d/e", path: "a"},
		"/d//a":                                   {place: "/d", path: "a"},
		`C:\d//a`:                                 {place: `C:\d`, path: "a"},
		"acme//a/b":                               {root: "acme", path: "a/b"},
		"":                                        {},
		"//":                                      {},
		"//a":                                     {},
		"acme//":                                  {},
		"acme/a":                                  {},
		"acme///a":                                {},
		"d////a":                                  {},
		"acme//../a":                              {},
		"acme//a/../b":                            {},
		"acme//./a":                               {},
		"acme//a/":                                {},
		`acme//a\b`:                               {},
		"acme//a b":                               {},
		"acme//ä":                                 {},
		"acme//a\x00":                             {},
		"ac me//a":                                {},
		"äcme//a":                                 {},
		"acme//" + strings.Repeat("a", 1000):      {},
		"https://h.example/a":                     {},
		"https:////a":                             {},
		"https://u@h.example//a":                  {},
		"https://h.example?x//a":                  {},
		"https://h.example#x//a":                  {},
		"http://h.example//a":                     {},
		"ftp://h.example//a":                      {},
		"file:///x//a":                            {},
		"oci:r.example//a":                        {},
		"oci:r.example/P//a":                      {},
		"oci:r.example/p@sha512:0//a":             {},
		"oci-layout://a":                          {},
	} {
		got, err := parseGetAddress(text)
		if want == (getAddress{}) {
			if err == nil {
				t.Errorf("%q is read as %+v", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

var zeros = strings.Repeat("0", 64)

// TestPlainFile: a name that a repository chose is one everywhere, and hides nothing.
func TestPlainFile(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "widget_1.2.3.tar.gz": true, "a..b": true, "a+b~1": true, "com": true, "com10": true, "console.log": true,
		"CON": false, "nul": false, "nul.tar.gz": false, "COM1": false, "lpt9.x": false, "aux .x": false, "a.": false,
		"a:b": false, "a?b": false, "<a>": false, `a\b`: false, "a|b": false, `"a"`: false, ".bashrc": false, "-rf": false,
		"...": false, "conin$": false,
	} {
		if err := plainFile(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzGetAddress: what is read is written as it was, and its path stays below wherever it is put.
func FuzzGetAddress(f *testing.F) {
	for _, s := range []string{
		"oci:r.example/p:v1//a/b", "oci-layout:d//a", "https://h.example/t//a", "./d//a", "acme//a", "acme///a", "https:////",
		"oci:r.example/p@sha256:" + zeros + "//a", `a\//b`, "a//b//../c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseGetAddress(text)
		if err != nil {
			return
		}
		if a.String() != text {
			t.Fatalf("%q is written %q", text, a)
		}
		again, err := parseGetAddress(a.String())
		if err != nil || again != a {
			t.Fatalf("%+v is read again as %+v: %v", a, again, err)
		}
		if (a.root == "") == (a.place == "") || !fs.ValidPath(a.path) || a.path == "." ||
			strings.ContainsAny(a.path, "\\\x00 ") ||
			strings.Contains(a.path, "//") || a.base() == "" ||
			strings.Contains(a.base(), "/") {
			t.Fatalf("%q: %+v", text, a)
		}
	})
}
