// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string][3]string{
		"https://github.com/acme/widget/releases/tag/v1.2.3":   {"https://github.com/acme/widget", "v1.2.3", ""},
		"https://github.com/Acme/Widget/releases/tag/v1.2.3/":  {"https://github.com/acme/widget", "v1.2.3", ""},
		"http://github.com/acme/widget/releases/tag/v1":        {"https://github.com/acme/widget", "v1", ""},
		"https://github.com/acme/widget/releases/tag/cli/v1":   {"https://github.com/acme/widget", "cli/v1", ""},
		"https://github.com/acme/widget/releases/tag/cli%2Fv1": {"https://github.com/acme/widget", "cli/v1", ""},
		"https://github.com/acme/widget/releases/download/v1/a.tar.gz": {
			"https://github.com/acme/widget", "v1", "a.tar.gz",
		},
		"https://github.com/acme/widget/releases/download/cli/v1/a%20b": {
			"https://github.com/acme/widget", "cli/v1", "a b",
		},
		"https://github.com/releases/releases/releases/tag/releases": {
			"https://github.com/releases/releases", "releases", "",
		},
		"https://codeberg.org:8443/acme/widget/releases/tag/v1": {
			"https://codeberg.org:8443/acme/widget", "v1", "",
		},
		"https://gitlab.com/acme/deep/widget/-/releases/v1":        {"https://gitlab.com/acme/deep/widget", "v1", ""},
		"https://gitlab.com/acme/widget/-/releases/v1/downloads/a": {"https://gitlab.com/acme/widget", "v1", "a"},
		"https://gitlab.com/acme/widget/-/releases/downloads": {
			"https://gitlab.com/acme/widget", "downloads", "",
		},
		"https://github.com/acme/widget/releases/tag/latest":               {},
		"https://github.com/acme/widget/releases/latest":                   {},
		"https://github.com/acme/widget/releases/latest/download/a.tar.gz": {},
		"https://gitlab.com/acme/widget/-/releases/permalink/latest":       {},
		"https://github.com/acme/widget/releases":                          {},
		"https://github.com/acme/widget/releases/tag/":                     {},
		"https://github.com/acme/widget/releases/download/v1":              {},
		"https://github.com/acme/widget/releases/download/v1/%2e%2e":       {},
		"https://github.com/acme/widget/releases/download/v1/a%2Fb":        {},
		"https://github.com/acme/widget/releases/download/v1/a%00":         {},
		"https://github.com/acme/widget/releases/download/v1/..":           {},
		"https://github.com/acme/widget/releases/tag/v1%0a":                {},
		"https://github.com/acme/widget/releases/tag/../x":                 {},
		"https://github.com/acme/widget/releases/tag/v1?x=y":               {},
		"https://github.com/acme/widget/releases/tag/v1#x":                 {},
		"https://u:p@github.com/acme/widget/releases/tag/v1":               {},
		"https://github.com/acme/widget%2Fx/releases/tag/v1":               {},
		"https://github.com/acme/../widget/releases/tag/v1":                {},
		"https://github.com/acme/widget/deep/releases/tag/v1":              {},
		"https://github.com/acme/widget":                                   {},
		"https://github.com":                                               {},
		"ftp://github.com/acme/widget/releases/tag/v1":                     {},
		"https://gitlab.com/-/releases/v1":                                 {},
		"https://gitlab.com/acme/widget/-/releases":                        {},
		"https://gitlab.com/acme/widget/-/releases/":                       {},
		"https://gitlab.com/acme/widget/-/releases/v1/downloads/": {
			"https://gitlab.com/acme/widget", "v1/downloads", "",
		},
		"https://github.com/acme/widget/releases/tag":      {},
		"https://github.com/acme/widget/-/releases/latest": {"https://github.com/acme/widget", "latest", ""},
		"https://gitlab.com/acme/widget/-/issues/1":        {},
		"": {},
	} {
		a, err := ParseAddress(in)
		got := [3]string{a.Repository.String(), a.Tag, a.File}
		if (err == nil) != (want != [3]string{}) || err == nil && got != want {
			t.Errorf("%s: %q %v", in, got, err)
		}
	}
	for arg, want := range map[string]bool{
		"https://x": true, "HTTP://x": true, "ftp://x": false, "file": false, "pkg:npm/x@1": false, "oci://x": false,
		"://": false,
	} {
		if IsURL(arg) != want {
			t.Errorf("%s: %t", arg, !want)
		}
	}
}

// FuzzParseAddress: what a URL names is a canonical repository, a tag and a plain
// name, and the address that is asked for is on the repository's host, below it.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{
		"https://github.com/acme/widget/releases/tag/v1.2.3", "https://github.com/acme/widget/releases/download/v1/a",
		"https://gitlab.com/a/b/-/releases/v1/downloads/c",
		"https://h/a/b/releases/tag/%2e%2e/x", "https://h:1/a/b/releases/download/a/%2F", "https://h/a/b/releases/tag/a%5cb",
		"https://h/a/b/releases/tag/x%23", "https://h/a/b/-/releases/-",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if l, err := policy.ParseLocator(a.Repository.String()); err != nil || l != a.Repository ||
			!spelling.ValidTag(a.Tag) ||
			a.File != "" && checkName(a.File) != nil {
			t.Fatalf("%q: %+v", s, a)
		}
		for _, kind := range []Forge{GitHub, GitLab, Forgejo} {
			r, err := NewRelease(Address{Repository: a.Repository, Tag: a.Tag}, kind, Net{})
			if err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			u, err := url.Parse(r.URL("file"))
			if err != nil || u.Host != a.Repository.Host() || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
				t.Fatalf("%q asks %s", s, r.URL("file"))
			}
			if got := u.JoinPath().String(); got != u.String() || !strings.HasPrefix(got, a.Repository.String()+"/") ||
				!strings.HasSuffix(got, "/file") {
				t.Fatalf("%q asks %s", s, got)
			}
			if again, err := ParseAddress(r.URL("file")); err == nil &&
				(again.Repository != a.Repository || again.Tag != a.Tag) {
				t.Fatalf("%q: %+v is %+v again", s, a, again)
			}
		}
	})
}

// FuzzParseRelease: a listing that is taken has the names of files in one
// directory, each once, whatever the answer is.
func FuzzParseRelease(f *testing.F) {
	for _, s := range []string{
		`{"tag_name":"v1","assets":[{"name":"a"},{"name":"b"}]}`, `{"tag_name":"v1","assets":[{"name":"../a"}]}`,
		`{"tag_name":"v1","draft":true,"assets":[]}`,
		`{"tag_name":"v1","assets":{"links":[{"name":"a",` +
			`"direct_asset_url":"https://gitlab.com/a/b/-/releases/v1/downloads/a"}]}}`, `{"assets":null}`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func() ([]string, error){
			func() ([]string, error) { return parseRelease(data, "v1") },
			func() ([]string, error) {
				names, _, err := parseGitLab(data, "v1", "https://gitlab.com/a/b/-/releases/v1/downloads/")
				return names, err
			},
		} {
			names, err := parse()
			if err != nil {
				continue
			}
			sorted := slices.Sorted(slices.Values(names))
			if len(names) > maxAssets || len(slices.Compact(sorted)) != len(names) {
				t.Fatalf("%q", names)
			}
			for _, n := range names {
				if checkName(n) != nil || strings.ContainsAny(n, "/\\\x00\n\x1b") || n == ".." || n == "" {
					t.Fatalf("%q", n)
				}
			}
		}
	})
}

// FuzzParseAttestations: what an answer holds is at most a page of values, each of
// which stands in it, and an error where that is not all.
func FuzzParseAttestations(f *testing.F) {
	for _, s := range []string{
		`{"attestations":[{"bundle":{"a":1}}]}`, `{"attestations":[{"bundle":null}]}`, `{"attestations":[]}`, `{}`, `null`,
		`{"attestations":[{"bundle":"x"},{}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		bundles, err := parseAttestations(data)
		if len(bundles) > maxPageSize || len(bundles) == maxPageSize && err == nil {
			t.Fatalf("%d bundles, %v", len(bundles), err)
		}
		for _, a := range bundles {
			b := string(a.bundle)
			if (a.at == "") == (b == "") || b == "null" || !strings.Contains(string(data), b) {
				t.Fatalf("%+v out of %q", a, data)
			}
		}
	})
}

// FuzzParseReleases: what is taken of a list has a tag and a time, and is no more than was asked for.
func FuzzParseReleases(f *testing.F) {
	for _, s := range []string{
		`[{"tag_name":"v1","published_at":"2026-01-02T03:04:05Z"},{"tag_name":"v0","draft":true}]`, `[]`, `null`, `{}`,
		`[{"tag_name":"v1","released_at":"2026-01-02T03:04:05.678Z"}]`, `[{"tag_name":"v1"}]`,
		`[{"published_at":"2026-01-02T03:04:05Z"}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseReleases(data, 2)
		if len(list) > 2 || err != nil && list != nil {
			t.Fatalf("%v, %v", list, err)
		}
		for _, r := range list {
			if r.Tag == "" || r.Time.IsZero() {
				t.Fatalf("%+v", r)
			}
		}
	})
}

// TestParseReleases: lists of each forge, and what is none.
func TestParseReleases(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{
			`[{"tag_name":"v2","published_at":"2026-01-02T03:04:05Z"},` +
				`{"tag_name":"v1","published_at":"2025-01-01T00:00:00Z"}]`, "v2 v1",
		},
		{`[{"tag_name":"v3","draft":true},{"tag_name":"v2","released_at":"2026-01-02T03:04:05Z"}]`, "v2"},
		{`[]`, ""},
		{`null`, "no list of releases"}, {`{}`, "no list of releases"}, {`[{"tag_name":"v1"}]`, "no tag or no time"},
		{
			`[{"tag_name":"v1","published_at":"2026-01-02T03:04:05Z"},` +
				`{"tag_name":"v1","published_at":"2025-01-01T00:00:00Z"}]`, "listed twice",
		},
	} {
		list, err := parseReleases([]byte(c.data), 2)
		var got []string
		for _, r := range list {
			got = append(got, r.Tag)
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if s := strings.Join(got, " "); s != c.want && (err == nil || !strings.Contains(s, c.want)) {
			t.Errorf("%s: %s", c.data, s)
		}
	}
}
