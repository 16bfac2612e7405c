// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// liar is an issuer that says of itself what a test wants, and whoever else is asked.
type liar struct {
	issuer string
	doc    map[string]any
	device string // answer to a request for a code
	status int    // of that answer, and where it redirects
	to     string
	asked  []string
}

func (h *liar) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked = append(h.asked, r.Method+" "+r.URL.Scheme+"://"+r.URL.Host+r.URL.Path)
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
	}
	text := "{}"
	switch {
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		data, err := json.Marshal(h.doc)
		if err != nil {
			return nil, err
		}
		text = string(data)
	case strings.HasSuffix(r.URL.Path, "/device"):
		if text = h.device; h.to != "" {
			resp.StatusCode = h.status
			resp.Header.Set("Location", h.to)
		}
	}
	resp.Body = io.NopCloser(strings.NewReader(text))
	return resp, nil
}

func honest(issuer string) map[string]any {
	return map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
		"jwks_uri":                      issuer + "/keys",
		"device_authorization_endpoint": issuer + "/device", "code_challenge_methods_supported": []string{"S256"},
	}
}

const aCode = `{"device_code":"x","user_code":"ABCD","verification_uri":"%s","expires_in":60,"interval":1}`

// TestEndpoints: an issuer's discovery document leads nobody to an address that others
// can listen at, and neither do its redirects.
func TestEndpoints(t *testing.T) {
	for _, issuer := range []string{"https://issuer.example", "http://127.0.0.1:1"} {
		bad := []any{
			"http://evil.example/x", "http://10.0.0.1/x", "http://127.0.0.1.example/x", "https://u:p@issuer.example/x",
			"ftp://issuer.example/x", "file:///etc/passwd", "javascript:x", "issuer.example/x", "//issuer.example", "", nil, 1,
			":",
		}
		if strings.HasPrefix(issuer, "https") {
			bad = append(bad, "http://127.0.0.1/x", "http://localhost:1/x", "HTTP://issuer.example/x")
		}
		for _, device := range []bool{false, true} {
			names := []string{"token_endpoint", "jwks_uri", "authorization_endpoint"}
			if device {
				names[2] = "device_authorization_endpoint"
			}
			for _, name := range names {
				for _, value := range bad {
					h := &liar{issuer: issuer, doc: maps.Clone(honest(issuer))}
					h.doc[name] = value
					opened := ""
					_, err := SignIn(t.Context(), issuer, device, h, func(string) {}, func(u string) error {
						opened = u
						return io.EOF
					})
					if err == nil || opened != "" || len(h.asked) > 1 ||
						name != "" && value == "http://evil.example/x" && !strings.Contains(err.Error(), name) {
						t.Errorf("%s, %s %v: %v; asked %q, opened %q", issuer, name, value, err, h.asked, opened)
					}
				}
			}
		}
		h := &liar{issuer: issuer, doc: honest(issuer)}
		if _, err := SignIn(t.Context(), issuer, false, h, nil, func(string) error { return io.EOF }); !errors.Is(err,
			io.EOF) {
			t.Errorf("an honest one: %v", err)
		}
		for address, good := range map[string]bool{
			issuer + "/go": true, "https://other.example/go": true, "http://evil.example/go": false, "": false,
			"javascript:x": false,
		} {
			said := ""
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			h := &liar{issuer: issuer, doc: honest(issuer), device: fmt.Sprintf(aCode, address)}
			_, err := SignIn(ctx, issuer, true, h, func(s string) { said += s }, nil)
			cancel()
			if err == nil || (said != "") != good {
				t.Errorf("%s, a code for %s: %v, said %q", issuer, address, err, said)
			}
		}
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, to := range []string{"http://evil.example/device", "https://evil.example/device", issuer + "/elsewhere"} {
				h := &liar{issuer: issuer, doc: honest(issuer), device: fmt.Sprintf(aCode, issuer), status: status, to: to}
				if _, err := SignIn(t.Context(), issuer, true, h, func(string) {}, nil); err == nil || len(h.asked) != 2 ||
					slices.ContainsFunc(h.asked, func(s string) bool { return strings.Contains(s, "evil") }) {
					t.Errorf("%d to %s: %v; asked %q", status, to, err, h.asked)
				}
			}
		}
	}
	// Numbers that a clock cannot take.
	for _, device := range []string{
		`{"device_code":"x","user_code":"A","verification_uri":"https://issuer.example","interval":-5}`,
		`{"device_code":"x","user_code":"A","verification_uri":"https://issuer.example","interval":9223372036854775807}`,
		`{"device_code":"x","user_code":"A","verification_uri":"https://issuer.example","expires_in":-1}`, `null`, `[]`,
		`{"user_code":"` + strings.Repeat("A", 100) + `","verification_uri":"https://issuer.example"}`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		h := &liar{doc: honest("https://issuer.example"), device: device}
		if _, err := SignIn(ctx, "https://issuer.example", true, h, func(string) {}, nil); err == nil {
			t.Errorf("signed in with %s", device)
		}
		cancel()
	}
}

// TestPKCE: nobody signs in where whoever listens could take the code, and the code is bound by
// a challenge that hides what it is bound to.
func TestPKCE(t *testing.T) {
	const issuer = "https://issuer.example"
	for name, x := range map[string]struct {
		methods any
		auth    string
		ok      bool
	}{
		"S256":                   {[]string{"plain", "S256"}, issuer + "/auth", true},
		"plain":                  {[]string{"plain"}, issuer + "/auth", false},
		"none":                   {[]string{}, issuer + "/auth", false},
		"missing":                {nil, issuer + "/auth", false},
		"in lower case":          {[]string{"s256"}, issuer + "/auth", false},
		"Microsoft":              {nil, "https://login.microsoftonline.com/x/authorize", true},
		"Microsoft of the state": {nil, "https://LOGIN.microsoftonline.us/x/authorize", true},
		"a name like it":         {nil, "https://login.microsoftonline.com.example/authorize", false},
		"text":                   {"S256", issuer + "/auth", false},
	} {
		for _, device := range []bool{false, true} {
			h := &liar{issuer: issuer, doc: honest(issuer)}
			h.doc["authorization_endpoint"], h.doc["code_challenge_methods_supported"] = x.auth, x.methods
			opened := ""
			_, err := SignIn(t.Context(), issuer, device, h, func(string) {}, func(u string) error {
				opened = u
				return io.EOF
			})
			asked := opened != "" || len(h.asked) > 1
			if err == nil || asked != x.ok {
				t.Errorf("%s, device %v: %v; asked %q, opened %q", name, device, err, h.asked, opened)
			}
			if u, err := url.Parse(opened); opened != "" && (err != nil || u.Query().Get("code_challenge_method") != "S256" ||
				len(u.Query().Get("code_challenge")) != 43 || u.Query().Has("code_verifier")) {
				t.Errorf("%s: opened %q", name, opened)
			}
		}
	}
}
