// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func raw(claims string) string {
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func tokenOf(t testing.TB, key string, value any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/widget", "aud": "sigstore", key: value,
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw(string(text))
}

func TestUnverified(t *testing.T) {
	got, err := Unverified(
		raw(
			`{"iss":"https://oauth2.sigstore.dev/auth","sub":"CgU","aud":["sigstore"],"exp":1780315500,` +
				`"email":"alice@example.com","email_verified":"true","project_visibility":"private","project_id":"4711",` +
				`"federated_claims":{"connector_id":"https://github.com/login/oauth"}}`,
		),
	)
	want := Claims{
		"https://oauth2.sigstore.dev/auth", "CgU", "alice@example.com", true, "private",
		"https://github.com/login/oauth", "4711", []string{"sigstore"}, time.Unix(1780315500, 0).UTC(),
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	for v, want := range map[any]string{"1": "1", "": "", 1: "", true: ""} {
		if c, err := Unverified(tokenOf(t, "repository_id", v)); err != nil || c.RepositoryID != want {
			t.Errorf("repository %v is %q (%v)", v, c.RepositoryID, err)
		}
	}
	for _, v := range []any{nil, false, "false", "TRUE", 1, "1", []any{true}} {
		if c, err := Unverified(tokenOf(t, "email_verified", v)); err != nil || c.EmailVerified {
			t.Errorf("%v is verified (%v)", v, err)
		}
	}
}

// TestUnverifiedRefuses: what is no token, or longer than one is, gives nothing.
func TestUnverifiedRefuses(t *testing.T) {
	for name, token := range map[string]string{
		"nothing": "", "two parts": "a.e30", "four parts": "a.e30.b.c", "no base64": "a.*.b", "no JSON": raw("x"),
		"a date before 1970": raw(`{"exp":-1}`), "a date after 9999": raw(`{"exp":1e12}`), "a list": raw("[]"),
		"too long": raw(strings.Repeat(" ", MaxBytes)),
	} {
		if c, err := Unverified(token); err == nil || c.Issuer != "" || c.Audience != nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
