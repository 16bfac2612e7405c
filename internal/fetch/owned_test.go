// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// lister answers as the API of github.com does.
type lister func(path, page string) (status int, body string)

func (l lister) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := l(r.URL.Host+r.URL.Path, r.URL.Query().Get("page"))
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// TestOwned: what is listed of an owner is the owner's, and there is an end to it.
func TestOwned(t *testing.T) {
	t.Parallel()
	const orgs, users = "api.github.com/orgs/acme/repos", "api.github.com/users/acme/repos"
	full := func(archived bool, page string) string {
		var rows []string
		for i := range 100 {
			rows = append(rows, fmt.Sprintf(`{"full_name":"acme/r%s-%d","archived":%t}`, page, i, archived))
		}
		return "[" + strings.Join(rows, ",") + "]"
	}
	for what, c := range map[string]struct {
		owner string
		api   lister
		want  int    // repositories
		err   string // part of it; "" for none
	}{
		"one page": {"acme", func(path, _ string) (int, string) {
			return map[string]int{orgs: 200}[path],
				`[{"full_name":"acme/a"},{"full_name":"Acme/B"},{"full_name":"acme/c","fork":true}]`
		}, 2, ""},
		"a user": {"acme", func(path, _ string) (int, string) {
			if path == users {
				return 200, `[{"full_name":"acme/a"}]`
			}
			return 404, ""
		}, 1, ""},
		"two pages": {"acme", func(_, page string) (int, string) {
			if page == "1" {
				return 200, full(false, page)
			}
			return 200, `[]`
		}, 100, ""},
		"too many": {"acme", func(_, page string) (int, string) { return 200, full(false, page) }, 0,
			"more than 250 "},
		"without an end": {"acme", func(_, page string) (int, string) { return 200, full(true, page) }, 0,
			"more than 5000"},
		"another's": {"acme", func(string, string) (int, string) {
			return 200, `[{"full_name":"acme/a"},{"full_name":"mallory/a"}]`
		}, 0, "not asked for"},
		"a name before ours": {"acme", func(string, string) (int, string) {
			return 200, `[{"full_name":"acme-inc/a"}]`
		}, 0, "not asked for"},
		"a path": {"acme", func(string, string) (int, string) {
			return 200,
				`[{"full_name":"acme/../mallory/a"}]`
		}, 0, "not asked for"},
		"no list":        {"acme", func(string, string) (int, string) { return 200, `{}` }, 0, "no list"},
		"null":           {"acme", func(string, string) (int, string) { return 200, `null` }, 0, "no list"},
		"nobody":         {"acme", func(string, string) (int, string) { return 404, "" }, 0, "listing"},
		"not allowed":    {"acme", func(string, string) (int, string) { return 403, "" }, 0, "403"},
		"no owner":       {"a b", nil, 0, "no owner"},
		"more than one":  {"a/b", nil, 0, "no owner"},
		"nothing":        {"", nil, 0, "no owner"},
		"a host instead": {"https://evil.example", nil, 0, "no owner"},
	} {
		out, err := Owned(t.Context(), c.owner, 250, Net{Transport: c.api, Agent: "test"})
		if len(out) != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(),
			c.err) {
			t.Errorf("%s: %v, %v", what, out, err)
		}
	}
}

// FuzzParseOwned: what is taken of a list is the owner's.
func FuzzParseOwned(f *testing.F) {
	for _, s := range []string{`[{"full_name":"acme/a"}]`, `[{"full_name":"acme/../b"}]`, `[{"full_name":"ACME/%2e"}]`, `[]`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, _, err := parseOwned(data, "https://github.com/acme/")
		for _, l := range out {
			if err != nil || !strings.HasPrefix(l.String(), "https://github.com/acme/") || strings.Count(l.Path(),
				"/") != 1 {
				t.Errorf("%s, %v", l, err)
			}
		}
	})
}
