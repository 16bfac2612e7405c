// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"net/http"
	"strings"
	"testing"
)

type noRequest struct{ t *testing.T }

func (n noRequest) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("%s was asked", r.URL)
	return nil, http.ErrUseLastResponse
}

// TestSecret: neither an ID token nor a sign-in goes over http, but to the machine
// itself.
func TestSecret(t *testing.T) {
	for _, address := range []string{
		"http://fulcio.example", "http://10.0.0.1", "ftp://127.0.0.1", "fulcio.example", "https://u:p@fulcio.example",
		"http://127.0.0.1.example", "http://metadata.google.internal",
	} {
		if (Services{Fulcio: address}).Secret() == nil || (Services{Issuer: address}).Secret() == nil {
			t.Errorf("%s is taken for safe", address)
		}
		c := &Client{Services: Services{Fulcio: address}, Transport: noRequest{t}}
		if _, err := c.Draft(t.Context(), Content{Digest: make([]byte, 32)}, "token", nil); err == nil ||
			strings.Contains(err.Error(), "token ") && strings.Contains(err.Error(), "Bearer") {
			t.Errorf("%s: %v", address, err)
		}
		if _, err := SignIn(t.Context(), address, true, noRequest{t}, nil, nil); err == nil {
			t.Errorf("a sign-in at %s", address)
		}
	}
	for _, address := range []string{"", "https://fulcio.example", "http://127.0.0.1:1", "http://localhost"} {
		if err := (Services{Fulcio: address, Issuer: address}).Secret(); err != nil {
			t.Error(err)
		}
	}
}
