// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestValues: a reply of so many values that what is made of it would not fit is too
// large, however few bytes it has, through every client that reads for a library or
// reads JSON itself.
func TestValues(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"few":              {`[` + strings.Repeat(`{},`, 1000) + `{}]`, true},
		"as many as may":   {strings.Repeat(`,`, maxReplyValues-1), true},
		"many in a string": {`"` + strings.Repeat(`{},`, maxReplyValues) + `"`, true},
		"many":             {`[` + strings.Repeat(`{},`, maxReplyValues) + `{}]`, false},
		"nested":           {strings.Repeat(`[`, maxReplyValues+2), false},
	} {
		s := httptest.NewServer(
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.body) }),
		)
		host := strings.TrimPrefix(s.URL, "http://")
		direct, err := New(s.URL, nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		for how, get := range map[string]func() error{
			"a client": func() error {
				_, err := direct.Fetch(t.Context(), "p", nil, "application/json", 16<<20)
				return err
			},
			"a fence": func() error { return readOf(Fence(nil, "test", host), s.URL) },
			"one origin": func() error {
				return readOf(&http.Client{Transport: &OneOrigin{Scheme: "http", Host: host, Limit: 16 << 20}}, s.URL)
			},
		} {
			if err := get(); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
		s.Close()
	}
}

func readOf(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
