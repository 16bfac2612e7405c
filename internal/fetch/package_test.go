// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/release"
)

// TestNPM: a package URL names one version, and everything that is asked for
// follows from it.
func TestNPM(t *testing.T) {
	const npm = "registry.npmjs.org"
	for purl, want := range map[string][]string{
		"pkg:npm/widget@1.2.3": {
			"pkg:npm/widget@1.2.3", "https://registry.npmjs.org/-/npm/v1/attestations/widget@1.2.3",
			"https://registry.npmjs.org/widget/-/widget-1.2.3.tgz",
		},
		"pkg:npm/%40acme/widget@1.2.3-rc.1": {
			"pkg:npm/%40acme/widget@1.2.3-rc.1", "https://registry.npmjs.org/-/npm/v1/attestations/@acme%2Fwidget@1.2.3-rc.1",
			"https://registry.npmjs.org/@acme/widget/-/widget-1.2.3-rc.1.tgz",
		},
		"pkg:npm/@acme/widget@1.2.3": {
			"pkg:npm/%40acme/widget@1.2.3", "https://registry.npmjs.org/-/npm/v1/attestations/@acme%2Fwidget@1.2.3",
			"https://registry.npmjs.org/@acme/widget/-/widget-1.2.3.tgz",
		},
		"pkg:npm/widget":                             nil,
		"pkg:npm/widget@":                            nil,
		"pkg:npm/widget@..":                          nil,
		"pkg:npm/..@1":                               nil,
		"pkg:npm/a%2Fb@1":                            nil,
		"pkg:npm/widget@1%2F2":                       nil,
		"pkg:npm/widget@1%3Fx":                       nil,
		"pkg:npm/widget@1?a=b":                       nil,
		"pkg:npm/widget@1#sub":                       nil,
		"pkg:npm/acme/widget@1":                      nil,
		"pkg:npm/%40a/b/widget@1":                    nil,
		"pkg:npm/widget@1%00":                        nil,
		"pkg:pypi/widget@1":                          nil,
		"pkg:npm/" + strings.Repeat("x", 300) + "@1": nil,
		"pkg:": nil,
		"":     nil,
	} {
		n := newInternet(t, map[string]http.HandlerFunc{npm: answer("content")})
		a, err := NPM(purl, NPMRegistry, n.net())
		if (err == nil) != (want != nil) {
			t.Errorf("%s: %v", purl, err)
		}
		if err != nil {
			continue
		}
		names, err := a.Place.List(t.Context())
		if err != nil || len(names) != 2 || names[0] != a.Name || a.Subject != want[0] {
			t.Errorf("%s: %v %v, %s", purl, names, err, a.Subject)
		}
		if data, err := a.Place.Read(t.Context(), names[1], 100); err != nil || string(data) != "content" {
			t.Errorf("%s: %q %v", purl, data, err)
		}
		d, err := a.Place.Open(t.Context(), a.Name)
		if err != nil {
			t.Fatalf("%s: %v", purl, err)
		}
		if data, err := io.ReadAll(d); err != nil || string(data) != "content" || d.Close() != nil {
			t.Errorf("%s: %q %v", purl, data, err)
		}
		for _, other := range []string{a.Name + ".sigstore.json", "x"} {
			if _, err := a.Place.Read(t.Context(), other, 100); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s: %v", purl, other, err)
			}
			if _, err := a.Place.Open(t.Context(), other); err == nil {
				t.Errorf("%s: %s was opened", purl, other)
			}
		}
		if !slices.Equal(n.asked, want[1:]) {
			t.Errorf("%s asked %v, want %v", purl, n.asked, want[1:])
		}
	}
	n := newInternet(t, map[string]http.HandlerFunc{npm: http.NotFound})
	a, err := NPM("pkg:npm/widget@1", NPMRegistry, n.net())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Place.Read(t.Context(), a.Name+attested, 100); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := a.Place.Open(t.Context(), a.Name); err == nil {
		t.Error("a tarball that is not there")
	}
	if _, err := NPM("pkg:npm/widget@1", "ftp://x", n.net()); err == nil {
		t.Error("a registry that is none")
	}
}

// TestPyPI: file names of distributions are asked for, others are nobody's
// business.
func TestPyPI(t *testing.T) {
	for name, c := range map[string]struct {
		sdists bool
		path   string // "" if nobody is to be asked
	}{
		"Wid_get.x-1.2.3-py3-none-any.whl":   {false, "wid-get-x/1.2.3/Wid_get.x-1.2.3-py3-none-any.whl"},
		"widget-1.2.3-1-py3-none-any.whl":    {false, "widget/1.2.3/widget-1.2.3-1-py3-none-any.whl"},
		"widget-1!2+local-py3-none-any.whl":  {false, "widget/1!2+local/widget-1!2+local-py3-none-any.whl"},
		"widget-1.2.3.tar.gz":                {true, "widget/1.2.3/widget-1.2.3.tar.gz"},
		"wid-get-1.2.3.tar.gz":               {true, "wid-get/1.2.3/wid-get-1.2.3.tar.gz"},
		"widget-1.2.4.tar.gz":                {false, ""},
		"widget.whl":                         {true, ""},
		"a-b-c-d-e-f-g.whl":                  {true, ""},
		"widget-..-py3-none-any.whl":         {true, ""},
		"..-1-py3-none-any.whl":              {true, ""},
		"-1-py3-none-any.whl":                {true, ""},
		"widget-1-py3-none-any\n.whl":        {true, ""},
		"widget-1?-py3-none-any.whl":         {true, ""},
		"widget.tar.gz":                      {true, ""},
		"widget_1.zip":                       {true, ""},
		"":                                   {true, ""},
		"größe-1.2.3-py3-none-any.whl":       {true, ""},
		"widget-1.2.3-py3-none-any.whl.json": {true, ""},
	} {
		for code, want := range map[int]struct {
			docs int
			err  bool
		}{200: {1, false}, 404: {0, false}, 403: {0, true}, 302: {0, true}} {
			n := newInternet(t, map[string]http.HandlerFunc{"pypi.org": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "https://evil.example/")
				w.WriteHeader(code)
				_, _ = io.WriteString(w, "{}")
			}})
			ask, err := PyPI(PyPIIndex, c.sdists, n.net())
			if err != nil {
				t.Fatal(err)
			}
			docs, err := ask(t.Context(), release.Wanted{Name: name})
			if c.path == "" {
				if docs != nil || err != nil || n.asked != nil {
					t.Errorf("%q: %v %v, asked %v", name, docs, err, n.asked)
				}
				continue
			}
			if len(docs) != want.docs || (err != nil) != want.err || len(n.asked) != 1 ||
				n.asked[0] != "https://pypi.org/integrity/"+c.path+"/provenance" {
				t.Errorf("%q, %d: %v %v, asked %v", name, code, docs, err, n.asked)
			}
		}
	}
}

// FuzzNames: names of packages and distributions ask below the registry's paths
// for them, and nowhere else.
func FuzzNames(f *testing.F) {
	for _, s := range []string{
		"pkg:npm/%40acme/widget@1.2.3", "pkg:npm/..@..", "widget-1.2.3-py3-none-any.whl", "a/b-1-x-y-z.whl",
		"x-%2e%2e.tar.gz", "pkg:npm/a@1#b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := NPM(s, NPMRegistry, Net{}); err == nil {
			if checkName(a.Name) != nil || !strings.HasPrefix(a.Subject, "pkg:npm/") {
				t.Fatalf("%q is %+v", s, a)
			}
			for _, name := range []string{a.Name, a.Name + attested} {
				u, err := url.Parse(a.Place.URL(name))
				if err != nil || u.Host != "registry.npmjs.org" || u.RawQuery != "" || u.Fragment != "" ||
					u.JoinPath().String() != u.String() {
					t.Fatalf("%q is at %s", s, a.Place.URL(name))
				}
			}
		}
		project, version, ok := parseDistribution(s, true)
		if ok &&
			(project == "" || strings.Contains(project, "--") || strings.ContainsAny(project+version, "/\\%?#\x00 ") ||
				normalize(project) != project) {
			t.Fatalf("%q is %q %q", s, project, version)
		}
	})
}
