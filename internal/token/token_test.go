// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/policy"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// issuer is an OpenID provider that can lie.
type issuer struct {
	*httptest.Server
	keys      []jose.JSONWebKey
	discovery func(url string) string
	jwks      http.HandlerFunc
	asked     int
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	i.discovery = func(url string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, url, url+"/keys") }
	i.jwks = func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.asked++
		fmt.Fprint(w, i.discovery(i.URL))
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) { i.asked++; i.jwks(w, r) })
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) verifier() *Verifier {
	return &Verifier{
		Issuers: identity.Issuers{{URL: i.URL, Kind: identity.KindEmail}}, Agent: "test",
		Now: func() time.Time { return now },
	}
}

// sign returns a token of alice's with some claims changed.
func (i *issuer) sign(
	t testing.TB, key crypto.PrivateKey, alg jose.SignatureAlgorithm, kid string, change map[string]any,
) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{
		"iss": i.URL, "sub": "1", "aud": "repopolicy", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"email": "alice@example.com", "email_verified": true,
	}
	maps.Copy(claims, change)
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestVerify: a token of a listed issuer, by its keys, and every other one.
func TestVerify(t *testing.T) {
	i := newIssuer(t)
	key, stranger := rsaKey(t, 2048), rsaKey(t, 2048)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.keys = []jose.JSONWebKey{
		{Key: key.Public(), KeyID: "a", Algorithm: "RS256", Use: "sig"}, {Key: curve.Public(), KeyID: "b"},
		{Key: key.Public(), KeyID: "enc", Use: "enc"}, {Key: key.Public(), KeyID: "ps", Algorithm: "PS256"},
	}
	v := i.verifier()
	for name, raw := range map[string]string{
		"RS256": i.sign(t, key, jose.RS256, "a", nil),
		"ES256": i.sign(t, curve, jose.ES256, "b", nil),
	} {
		got, err := v.Verify(t.Context(), raw, "repopolicy")
		if err != nil || got.Run.Identity().Value != "alice@example.com" || got.Run.Identity().Issuer != i.URL {
			t.Errorf("%s: %v %+v", name, err, got)
		}
	}
	public, err := json.Marshal(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := i.sign(t, key, jose.RS256, "a", nil)
	flip := good[:len(good)-10] + string('A'+(good[len(good)-10]-'A'+1)%26) + good[len(good)-9:]
	for name, c := range map[string]struct {
		raw    string
		reason policy.Reason
	}{
		"another key":         {i.sign(t, stranger, jose.RS256, "a", nil), policy.TokenInvalid},
		"unknown key id":      {i.sign(t, key, jose.RS256, "z", nil), policy.TokenInvalid},
		"no key id":           {i.sign(t, key, jose.RS256, "", nil), policy.TokenInvalid},
		"key for encryption":  {i.sign(t, key, jose.RS256, "enc", nil), policy.TokenInvalid},
		"another algorithm":   {i.sign(t, key, jose.RS256, "ps", nil), policy.TokenInvalid},
		"HS256 with the key":  {i.sign(t, public, jose.HS256, "a", nil), policy.TokenInvalid},
		"one byte changed":    {flip, policy.TokenInvalid},
		"not a token":         {"x", policy.TokenInvalid},
		"Sigstore's audience": {i.sign(t, key, jose.RS256, "a", map[string]any{"aud": "sigstore"}), policy.TokenRefused},
		"expired": {
			i.sign(t, key, jose.RS256, "a", map[string]any{
				"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-55 * time.Minute).Unix(),
			}), policy.TokenRefused,
		},
		"not yet": {
			i.sign(t, key, jose.RS256, "a", map[string]any{"nbf": now.Add(time.Hour).Unix()}), policy.TokenRefused,
		},
		"address not verified": {
			i.sign(t, key, jose.RS256, "a", map[string]any{"email_verified": false}), policy.TokenRefused,
		},
		"issuer not listed":     {i.sign(t, key, jose.RS256, "a", map[string]any{"iss": i.URL + "/x"}), policy.TokenRefused},
		"issuer in another way": {i.sign(t, key, jose.RS256, "a", map[string]any{"iss": i.URL + "/"}), policy.TokenRefused},
	} {
		got, err := v.Verify(t.Context(), c.raw, "repopolicy")
		var r *identity.Refusal
		if got != nil || !errors.As(err, &r) || r.Reason != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
		if err != nil && len(c.raw) > 80 && strings.Contains(err.Error(), c.raw) {
			t.Errorf("%s: the message has the token", name)
		}
	}
}

// TestNobodyAsked: what a token names alone is asked nothing.
func TestNobodyAsked(t *testing.T) {
	i := newIssuer(t)
	key := rsaKey(t, 2048)
	v := i.verifier()
	v.Issuers = identity.TrustedIssuers(nil, "")
	for _, change := range []map[string]any{nil, {"aud": "sigstore"}} {
		if _, err := v.Verify(t.Context(), i.sign(t, key, jose.RS256, "a", change), "repopolicy"); err == nil {
			t.Error("taken")
		}
	}
	if i.asked != 0 {
		t.Errorf("asked %d times", i.asked)
	}
}

// TestLyingIssuer: whatever an issuer replies, a token is not taken, and nobody
// else is asked.
func TestLyingIssuer(t *testing.T) {
	key := rsaKey(t, 2048)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("another origin was asked")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "a"}}})
	}))
	defer elsewhere.Close()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this Go makes no weak keys: ", err)
	}
	for name, lie := range map[string]func(*issuer){
		"keys elsewhere": func(i *issuer) {
			i.discovery = func(u string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, u, elsewhere.URL+"/keys") }
		},
		"keys in a file": func(i *issuer) {
			i.discovery = func(u string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"file:///etc/passwd"}`, u) }
		},
		"keys with a query": func(i *issuer) {
			i.discovery = func(u string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, u, u+"/keys?x") }
		},
		"keys with a user": func(i *issuer) {
			i.discovery = func(u string) string {
				return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, u, strings.Replace(u, "//", "//a@", 1)+"/keys")
			}
		},
		"no keys named": func(i *issuer) { i.discovery = func(u string) string { return fmt.Sprintf(`{"issuer":%q}`, u) } },
		"another issuer": func(i *issuer) {
			i.discovery = func(u string) string {
				return fmt.Sprintf(`{"issuer":"https://evil.example","jwks_uri":%q}`, u+"/keys")
			}
		},
		"an issuer twice": func(i *issuer) {
			i.discovery = func(u string) string {
				return fmt.Sprintf(`{"issuer":"https://evil.example","issuer":%q,"jwks_uri":%q}`, u, u+"/keys")
			}
		},
		"an issuer by another key": func(i *issuer) {
			i.discovery = func(u string) string { return fmt.Sprintf(`{"Issuer":%q,"jwks_uri":%q}`, u, u+"/keys") }
		},
		"keys that are no text": func(i *issuer) {
			i.discovery = func(u string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":1}`, u) }
		},
		"keys twice": func(i *issuer) {
			keys := i.keys
			i.jwks = func(w http.ResponseWriter, _ *http.Request) {
				data, _ := json.Marshal(jose.JSONWebKeySet{Keys: keys})
				fmt.Fprint(w, strings.Replace(string(data), "{", `{"keys":[],`, 1))
			}
		},
		"discovery is HTML": func(i *issuer) { i.discovery = func(string) string { return "<!doctype html>" } },
		"endless discovery": func(i *issuer) {
			i.discovery = func(u string) string { return strings.Repeat(" ", maxDiscovery) + `{}` }
		},
		"keys redirect": func(i *issuer) { i.jwks = http.RedirectHandler(elsewhere.URL+"/keys", http.StatusFound).ServeHTTP },
		"keys are too large": func(i *issuer) {
			i.jwks = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", maxKeys+1)) }
		},
		"keys are malformed": func(i *issuer) {
			i.jwks = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[{"kty":"RSA"}]}`) }
		},
		"no keys": func(i *issuer) { i.keys = nil },
		"keys forbidden": func(i *issuer) {
			i.jwks = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusForbidden) }
		},
		"weak key":    func(i *issuer) { i.keys = []jose.JSONWebKey{{Key: weak.Public(), KeyID: "a"}} },
		"private key": func(i *issuer) { i.keys = []jose.JSONWebKey{{Key: key, KeyID: "a"}} },
		"secret key":  func(i *issuer) { i.keys = []jose.JSONWebKey{{Key: []byte(strings.Repeat("k", 32)), KeyID: "a"}} },
		"too many keys": func(i *issuer) {
			for range maxKeyCount {
				i.keys = append(i.keys, i.keys[0])
			}
		},
	} {
		i := newIssuer(t)
		i.keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: "a"}}
		raw := i.sign(t, key, jose.RS256, "a", nil)
		lie(i)
		got, err := i.verifier().Verify(t.Context(), raw, "repopolicy")
		var r *identity.Refusal
		if got != nil || !errors.As(err, &r) || r.Reason != policy.IssuerUnreachable && r.Reason != policy.TokenInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	// By http only this machine is asked.
	i := newIssuer(t)
	for _, url := range []string{"http://issuer.example", "ftp://issuer.example", "issuer.example"} {
		v := i.verifier()
		v.Issuers = identity.Issuers{{URL: url, Kind: identity.KindEmail}}
		v.Transport = tripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("%s was asked", r.URL)
			return nil, errors.New("no network")
		})
		if _, err := v.Verify(t.Context(), i.sign(t, key, jose.RS256, "a", map[string]any{"iss": url}),
			"repopolicy"); err == nil {
			t.Errorf("keys from %s", url)
		}
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// BenchmarkVerify verifies a token, with the two requests for the issuer's keys to
// a server on this machine.
func BenchmarkVerify(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	i := newIssuer(b)
	i.keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: "a"}}
	raw := i.sign(b, key, jose.RS256, "a", nil)
	v := i.verifier()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), raw, "repopolicy"); err != nil {
			b.Fatal(err)
		}
	}
}
