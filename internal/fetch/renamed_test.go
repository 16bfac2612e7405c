// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// TestRenamed: of GitHub's redirect for a repository that has another name now, its number is
// read and nothing else.
func TestRenamed(t *testing.T) {
	const listing = `{"tag_name":"v1","assets":[{"name":"a"}]}`
	const good = "https://api.github.com/repositories/42/releases/tags/v1"
	refused := errors.New("another number")
	for name, c := range map[string]struct {
		location string
		moved    error
		asked    string // last; "" for the first address alone
	}{
		"its number":        {location: good, asked: good},
		"another path":      {location: "https://api.github.com/repositories/42/contents/x?ref=y", asked: good},
		"relative":          {location: "/repositories/42/releases/tags/v1", asked: good},
		"another number":    {location: good, moved: refused},
		"its new name":      {location: "https://api.github.com/repos/acme/gadget/releases/tags/v1"},
		"another host":      {location: "https://evil.example/repositories/42/releases/tags/v1"},
		"a host before it":  {location: "https://api.github.com.evil.example/repositories/42/releases"},
		"a user":            {location: "https://u@api.github.com/repositories/42/releases"},
		"http":              {location: "http://api.github.com/repositories/42/releases"},
		"no number":         {location: "https://api.github.com/repositories/x/releases"},
		"an empty number":   {location: "https://api.github.com/repositories//releases"},
		"a path":            {location: "https://api.github.com/repositories/../user/releases"},
		"an escape":         {location: "https://api.github.com/repositories/4%32/releases"},
		"a leading zero":    {location: "https://api.github.com/repositories/042/releases"},
		"a number too long": {location: "https://api.github.com/repositories/" + strings.Repeat("9", 21) + "/releases"},
		"nothing below":     {location: "https://api.github.com/repositories/42"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newInternet(t, map[string]http.HandlerFunc{
				"api.github.com": func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Path, "/repos/") {
						http.Redirect(w, r, c.location, http.StatusMovedPermanently)
						return
					}
					answer(listing)(w, r)
				},
				"evil.example": answer(listing), "api.github.com.evil.example": answer(listing),
			})
			told := ""
			how := n.net()
			how.Moved = func(_ policy.Locator, number string) error { told = number; return c.moved }
			names, err := newRelease(t, how, "acme/widget", "v1").List(t.Context())
			first := "https://api.github.com/repos/acme/widget/releases/tags/v1"
			want := []string{first}
			if c.asked != "" {
				want = append(want, c.asked)
			}
			if (err == nil) != (c.asked != "") || c.moved != nil && !errors.Is(err, c.moved) || !slices.Equal(n.asked, want) {
				t.Errorf("%v %v: asked %v", names, err, n.asked)
			}
			if (c.asked != "" || c.moved != nil) != (told == "42") {
				t.Errorf("told %q", told)
			}
		})
	}
	// A second redirect is not followed, and without anybody to tell none is.
	n := newInternet(t, map[string]http.HandlerFunc{"api.github.com": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, good, http.StatusMovedPermanently)
	}})
	how := n.net()
	if _, err := newRelease(t, how, "acme/widget", "v1").List(t.Context()); err == nil || len(n.asked) != 1 {
		t.Errorf("%v: asked %v", err, n.asked)
	}
	how.Moved = func(policy.Locator, string) error { return nil }
	if _, err := newRelease(t, how, "acme/widget", "v1").List(t.Context()); err == nil || len(n.asked) != 3 {
		t.Errorf("%v: asked %v", err, n.asked)
	}
}
