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

// TestBinaryReply: what is no JSON, such as a pack of Git, is not counted as if it were.
func TestBinaryReply(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("1,", maxReplyValues+1))
	}))
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for binary, want := range map[bool]error{false: ErrTooLarge, true: nil} {
		c := http.Client{Transport: &OneOrigin{Scheme: u.Scheme, Host: u.Host, Limit: 1 << 20, Binary: binary}}
		resp, err := c.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if !errors.Is(err, want) {
			t.Errorf("binary %v: %v, want %v", binary, err, want)
		}
	}
}
