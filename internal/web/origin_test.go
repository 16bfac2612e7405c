// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestOneOrigin: nothing goes to another origin, and no reply is larger than its
// limit.
func TestOneOrigin(t *testing.T) {
	const limit = 10
	asked := 0
	other := httptest.NewServer(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another origin was asked") }),
	)
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/self":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/agent":
			_, _ = io.WriteString(w, r.UserAgent())
		default:
			_, _ = io.WriteString(w, strings.Repeat("x", len(r.URL.Query().Get("n"))))
		}
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		url       string
		redirects bool
		want      string // "" for an error
		large     bool
	}{
		"full":                {srv.URL + "/?n=1234567890", false, "xxxxxxxxxx", false},
		"one more":            {srv.URL + "/?n=12345678901", false, "", true},
		"agent":               {srv.URL + "/agent", false, "test", false},
		"redirect":            {srv.URL + "/self", false, "", false},
		"redirect, followed":  {srv.URL + "/self?n=1", true, "", false},
		"redirect to another": {srv.URL + "/other", true, "", false},
		"another":             {other.URL, false, "", false},
		"another scheme":      {strings.Replace(srv.URL, "http:", "https:", 1), false, "", false},
	} {
		c := &http.Client{
			Transport: &OneOrigin{Scheme: u.Scheme, Host: u.Host, Limit: limit, Agent: "test", Redirects: x.redirects},
		}
		before := asked
		resp, err := c.Get(x.url)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if name == "redirect, followed" {
			if err != nil || asked != before+2 {
				t.Errorf("%s: %v, asked %d times", name, err, asked-before)
			}
			continue
		}
		if (err == nil) != (x.want != "") || err == nil && string(data) != x.want ||
			errors.Is(err, ErrTooLarge) != x.large {
			t.Errorf("%s: %q %v", name, data, err)
		}
	}
}
