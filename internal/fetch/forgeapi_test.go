// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// TestLookup: what forges say of a repository, the new name of one that was renamed, and answers
// that are none.
func TestLookup(t *testing.T) {
	const here, there = "https://github.com/acme/widget", "https://github.com/acme/gadget"
	const widget = `{"id":1001,"full_name":"Acme/Widget","owner":{"id":2002},"namespace":{"id":3}}`
	to := func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/repositories/") {
				fmt.Fprint(w, widget)
				return
			}
			http.Redirect(w, r, url, http.StatusMovedPermanently)
		}
	}
	for name, c := range map[string]struct {
		repo   string
		answer http.HandlerFunc
		want   string // the answer, or a part of the error
	}{
		"GitHub":       {here, answer(widget), "https://github.com/acme/widget 1001 2002"},
		"another name": {there, answer(widget), "https://github.com/acme/widget 1001 2002"},
		"sent on":      {there, to("/repositories/1001"), "https://github.com/acme/widget 1001 2002"},
		"sent away":    {there, to("https://example.com/repositories/1"), "redirects"},
		"to http":      {there, to("http://api.github.com/repositories/1"), "redirects"},
		"in circles":   {there, to("/repos/acme/gadget"), "redirects"},
		"no number": {
			"https://codeberg.org/acme/widget", answer(`{"full_name":"acme/widget"}`), "about no repository",
		},
		"a page":        {here, answer("sign in, please"), "about no repository"},
		"null":          {here, answer(`null`), "about no repository"},
		"a list":        {here, answer(`[]`), "about no repository"},
		"no name":       {here, answer(`{"id":1001}`), "about no repository"},
		"a number":      {here, answer(`{"id":-1,"full_name":"acme/widget"}`), "about no repository"},
		"steps":         {here, answer(`{"id":1,"full_name":"../../x"}`), "about no repository"},
		"a query":       {here, answer(`{"id":1,"full_name":"a/b?c"}`), "about no repository"},
		"too large":     {here, answer(`"` + strings.Repeat("x", maxListing) + `"`), "larger"},
		"nothing there": {here, http.NotFound, "404"},
		"GitLab": {
			"https://gitlab.com/acme/sub/widget",
			answer(`{"id":7,"path_with_namespace":"acme/sub/widget","owner":{"id":1},"namespace":{"id":8}}`),
			"https://gitlab.com/acme/sub/widget 7 8",
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newInternet(t, map[string]http.HandlerFunc{
				"api.github.com": c.answer, "gitlab.com": c.answer, "codeberg.org": c.answer,
			})
			repo := locator(t, c.repo)
			about, err := Lookup(t.Context(), repo, ForgeOf(repo.Host()), n.net())
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprintf("%s %s %s", about.Repository, about.ID, about.Owner)
			}
			if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
				t.Errorf("%s", got)
			}
			if n.asked[0] != "https://gitlab.com/api/v4/projects/acme%2Fsub%2Fwidget" && repo.Host() == "gitlab.com" {
				t.Errorf("%s", n.asked)
			}
			if missing := c.want == "404"; errors.Is(err, fs.ErrNotExist) != missing {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestLookupToken: a token is shown to who knows no such repository without it, and goes nowhere else.
func TestLookupToken(t *testing.T) {
	shown := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") == "":
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, "/gadget"):
			shown++
			http.Redirect(w, r, "/repositories/1001", http.StatusMovedPermanently)
		default:
			shown++
			fmt.Fprint(w, `{"id":1001,"full_name":"acme/widget"}`)
		}
	}))
	defer s.Close()
	to := strings.TrimPrefix(s.URL, "http://")
	n := Net{Agent: "test", Token: "secret", Transport: tripper(func(r *http.Request) (*http.Response, error) {
		c := r.Clone(r.Context())
		c.URL.Scheme, c.URL.Host = "http", to
		return http.DefaultTransport.RoundTrip(c)
	})}
	about, err := Lookup(t.Context(), locator(t, "https://github.com/acme/widget"), GitHub, n)
	if err != nil || about.ID != "1001" || shown != 1 {
		t.Errorf("%v %v, shown %d times", about, err, shown)
	}
	if _, err = Lookup(t.Context(), locator(t, "https://github.com/acme/gadget"), GitHub, n); err == nil || shown != 2 {
		t.Errorf("%v, shown %d times", err, shown)
	}
	if _, err = Lookup(t.Context(), locator(t, "https://codeberg.org/acme/widget"), Forgejo, n); err == nil || shown != 2 {
		t.Errorf("%v, shown %d times", err, shown)
	}
}

// FuzzParseAbout: what is taken of an answer is a repository of the host that was asked, with numbers.
func FuzzParseAbout(f *testing.F) {
	for _, s := range []string{
		`{"id":1001,"full_name":"acme/widget","owner":{"id":2}}`,
		`{"id":7,"path_with_namespace":"a/b/c","namespace":{"id":8}}`,
		`{"full_name":"@evil.example/a/b"}`, `{"full_name":"a/b","id":1e3}`, `{"full_name":"a/b\n"}`, `null`, `<html>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, host := range []string{"github.com", "codeberg.org"} {
			about, err := parseAbout(data, host)
			if err != nil {
				continue
			}
			again, err := policy.NormalizeLocator(about.Repository.String())
			if err != nil || again != about.Repository || again.Host() != host ||
				strings.Trim(about.ID+about.Owner, "0123456789") != "" {
				t.Fatalf("%+v out of %q", about, data)
			}
		}
	})
}

// TestPage: the page of a release is read back as its address, or as none.
func TestPage(t *testing.T) {
	for _, c := range []struct {
		repo, tag string
		forge     Forge
		page      string
		same      bool
	}{
		{"https://github.com/acme/widget", "v1", GitHub, "https://github.com/acme/widget/releases/tag/v1", true},
		{"https://github.com/acme/widget", "a/v1#2", GitHub, "https://github.com/acme/widget/releases/tag/a/v1%232", true},
		{"https://github.com/acme/widget", "v1%2f", GitHub, "https://github.com/acme/widget/releases/tag/v1%252f", true},
		{"https://github.com/acme/widget", "latest", GitHub, "https://github.com/acme/widget/releases/tag/latest", false},
		{"https://gitlab.com/a/b/c", "v1", GitLab, "https://gitlab.com/a/b/c/-/releases/v1", true},
		{"https://gitlab.com/a/b/c", "v1/downloads/x", GitLab, "https://gitlab.com/a/b/c/-/releases/v1/downloads/x", false},
	} {
		at := Address{Repository: locator(t, c.repo), Tag: c.tag}
		page := at.Page(c.forge)
		back, err := ParseAddress(page)
		if same := err == nil && back == at; page != c.page || same != c.same {
			t.Errorf("%s: %s, %+v %v", c.tag, page, back, err)
		}
	}
}
