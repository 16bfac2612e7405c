// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

func TestMeant(t *testing.T) {
	const page = "https://github.com/acme/widget/releases/tag/"
	for in, want := range map[string]string{
		"ghcr.io/acme/widget:v1":                                    "oci://ghcr.io/acme/widget:v1",
		"docker://ghcr.io/acme/widget:v1":                           "oci://ghcr.io/acme/widget:v1",
		"oci:ghcr.io/acme/widget:v1":                                "oci://ghcr.io/acme/widget:v1",
		"localhost:5000/widget":                                     "oci://localhost:5000/widget:latest",
		"ghcr.io/acme/widget@sha256:" + hex:                         "oci://ghcr.io/acme/widget@sha256:" + hex,
		"docker://alpine:3":                                         "oci://docker.io/library/alpine:3",
		"alpine:3":                                                  "oci://docker.io/library/alpine:3",
		"npm:widget@1.2.3":                                          "pkg:npm/widget@1.2.3",
		"npm:@acme/widget@1.2.3":                                    "pkg:npm/%40acme/widget@1.2.3",
		"npm:widget":                                                "pkg:npm/widget@VERSION",
		"@acme/widget@1.2.3":                                        "pkg:npm/%40acme/widget@1.2.3",
		"acme/widget":                                               page + "TAG",
		"acme/widget@v1.2.3":                                        page + "v1.2.3",
		"gh:acme/widget":                                            page + "TAG",
		"github.com/acme/widget":                                    page + "TAG",
		"github.com/acme/widget/releases/tag/v1":                    page + "v1",
		"https://github.com/acme/widget":                            page + "TAG",
		"https://github.com/acme/widget.git":                        page + "TAG",
		"https://github.com/acme/widget/tree/main":                  page + "TAG",
		"https://github.com/acme/widget/releases":                   page + "TAG",
		"https://github.com/acme/widget/releases/latest":            page + "TAG",
		"https://github.com/acme/widget/releases/latest/download/w": "https://github.com/acme/widget/releases/download/TAG/w",
		"https://github.com/acme/widget/archive/refs/tags/v1.2.3.tar.gz": page + "v1.2.3",
		"https://github.com/acme/widget/releases/tag/v1?x=y":             page + "v1",
		"https://gitlab.com/acme/widget":                                 "https://gitlab.com/acme/widget/-/releases/TAG",
		"https://www.npmjs.com/package/@acme/widget/v/1.2.3":             "pkg:npm/%40acme/widget@1.2.3",
		"https://www.npmjs.com/package/widget":                           "pkg:npm/widget@VERSION",
		"https://hub.docker.com/r/acme/widget":                           "oci://docker.io/acme/widget:latest",
		"oci-layout:dir":                                                 "dir",
	} {
		if got := Meant(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{
		"pypi:widget", "crates:widget", "widget.tar.gz", "v1.2.3", "", "@", "dist/widget.tar.gz", "./acme/widget",
		"eps://github.com/acme/widget", "https://", "npm:", "docker://", "a/b/c", "https://pypi.org/project/x/",
	} {
		if got := Meant(in); got != "" {
			t.Errorf("%s: %q", in, got)
		}
	}
}

var hex = strings.Repeat("ab", 32)

// FuzzMeant: what is proposed can be asked for, once the parts in capitals are filled in.
func FuzzMeant(f *testing.F) {
	for _, s := range []string{"ghcr.io/a/b:v1", "npm:x@1", "a/b@v1", "https://github.com/a/b/tree/x", "alpine:3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		out := Meant(arg)
		switch {
		case out == "" || !strings.Contains(out, ":"):
		case IsImage(out):
			if err := CheckImage(out); err != nil {
				t.Errorf("%q: %q: %v", arg, out, err)
			}
		case strings.HasPrefix(out, "pkg:npm/"), strings.HasPrefix(arg, "oci-"), strings.HasPrefix(arg, "file:"),
			strings.HasPrefix(arg, "path:"):
		case IsURL(out):
			if a, err := ParseAddress(out); err == nil && !spelling.ValidTag(a.Tag) {
				t.Errorf("%q: %q", arg, out)
			}
		}
	})
}
