// SPDX-License-Identifier: Apache-2.0

// Package issuer is the OpenID provider of the sandbox. One listener serves
// three issuers, told apart by the host that was asked: the sandbox's own, where
// people sign in, GitHub Actions and gitlab.com.
//
// Specifications: OpenID Connect Discovery 1.0, RFC 6749 (code), RFC 7636 (PKCE),
// RFC 8628 (device).
package issuer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/repopolicy/repopolicy/sandbox/claims"
)

const (
	// Audience is what Fulcio demands of a token.
	Audience = "sigstore"

	lifetime    = 10 * time.Minute
	maxBody     = 64 << 10
	maxSessions = 10_000
)

// Issuer is the provider of one stack.
type Issuer struct {
	url  string
	keys func() (*keys, error)

	mu      sync.Mutex
	codes   map[string]login   // authorization codes
	devices map[string]*device // by device code
	jobs    map[string]job     // by request token
}

// New returns the provider that is reached at url and signs with a key, which is
// asked for when it is needed: by RS256, as GitHub, GitLab and Google do, since
// clients such as cosign take no other token.
func New(url string, key func() (*rsa.PrivateKey, error)) *Issuer {
	return &Issuer{
		url: url, codes: map[string]login{}, devices: map[string]*device{}, jobs: map[string]job{},
		keys: sync.OnceValues(func() (*keys, error) {
			private, err := key()
			if err != nil {
				return nil, err
			}
			public := jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.RS256), Use: "sig"}
			thumb, err := public.Thumbprint(crypto.SHA256)
			if err != nil {
				return nil, err
			}
			public.KeyID = fmt.Sprintf("%x", thumb[:8])
			signer, err := newSigner(private, public.KeyID)
			return &keys{signer, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}}, err
		}),
	}
}

// keys are what tokens are signed with and what is published of it.
type keys struct {
	signer jose.Signer
	public jose.JSONWebKeySet
}

func newSigner(key *rsa.PrivateKey, id string) (jose.Signer, error) {
	return jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id))
}

// Mint returns a token with these claims. An aud that the claims do not set is
// audience.
func (i *Issuer) Mint(c claims.Claims, audience string) (string, error) {
	m, err := c.Claims()
	if err != nil {
		return "", err
	}
	k, err := i.keys()
	if err != nil {
		return "", err
	}
	now := time.Now()
	for name, value := range map[string]any{
		"aud": audience, "iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(lifetime).Unix(), "jti": rand.Text(),
	} {
		if _, ok := m[name]; !ok {
			m[name] = value
		}
	}
	if m["iss"] == "" {
		m["iss"] = i.url
	}
	signer := k.signer
	if f, ok := c.(claims.Forged); ok && f.ForeignKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", err
		}
		if signer, err = newSigner(key, k.public.Keys[0].KeyID); err != nil {
			return "", err
		}
	}
	return jwt.Signed(signer).Claims(m).Serialize()
}

// ServeHTTP serves discovery and keys for all three issuers, and the flows of
// the sandbox's own.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	switch r.Host {
	case "token.actions.githubusercontent.com":
		i.serveForeign(w, r, claims.GitHubIssuer, "/.well-known/jwks")
		return
	case "gitlab.com":
		i.serveForeign(w, r, claims.GitLabIssuer, "/oauth/discovery/keys")
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		reply(w, http.StatusOK, map[string]any{
			"issuer": i.url, "authorization_endpoint": i.url + "/auth", "token_endpoint": i.url + "/token", "jwks_uri": i.url + "/keys",
			"device_authorization_endpoint":         i.url + "/device/code",
			"response_types_supported":              []string{"code"},
			"grant_types_supported":                 []string{"authorization_code", deviceGrant},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
			"code_challenge_methods_supported":      []string{"S256"},
			"scopes_supported":                      []string{"openid", "email"},
			"claims_supported":                      []string{"iss", "sub", "aud", "exp", "iat", "email", "email_verified", "nonce", "federated_claims"},
		})
	case "/keys":
		i.serveKeys(w)
	case "/auth":
		i.serveAuth(w, r)
	case "/token":
		i.serveToken(w, r)
	case "/device/code":
		i.serveDeviceCode(w, r)
	case "/device":
		i.serveDevice(w, r)
	case actionsPath:
		i.serveActions(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (i *Issuer) serveForeign(w http.ResponseWriter, r *http.Request, issuer, keys string) {
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		reply(w, http.StatusOK, map[string]any{
			"issuer": issuer, "jwks_uri": issuer + keys, "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public", "pairwise"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			"scopes_supported": []string{"openid"},
		})
	case keys:
		i.serveKeys(w)
	default:
		http.NotFound(w, r)
	}
}

func (i *Issuer) serveKeys(w http.ResponseWriter) {
	k, err := i.keys()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, k.public)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away
}

// oauthError is the error of RFC 6749, section 5.2.
func oauthError(w http.ResponseWriter, status int, code, description string) {
	reply(w, status, map[string]string{"error": code, "error_description": description})
}

// Verifier returns a function that checks a token as a relying party does, for
// the given audience, fetching the keys through the given transport.
func Verifier(transport http.RoundTripper, audience string) func(ctx context.Context, token string) (*oidc.IDToken, error) {
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var mu sync.Mutex
	verifiers := map[string]*oidc.IDTokenVerifier{}
	return func(ctx context.Context, token string) (*oidc.IDToken, error) {
		issuer, err := unverifiedIssuer(token)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		v, ok := verifiers[issuer]
		mu.Unlock()
		if !ok {
			p, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
			if err != nil {
				return nil, err
			}
			v = p.Verifier(&oidc.Config{ClientID: audience})
			mu.Lock()
			verifiers[issuer] = v
			mu.Unlock()
		}
		return v.Verify(ctx, token)
	}
}

func unverifiedIssuer(token string) (string, error) {
	t, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return "", err
	}
	var c jwt.Claims
	if err := t.UnsafeClaimsWithoutVerification(&c); err != nil {
		return "", err
	}
	return c.Issuer, nil
}

// Transport sends requests for the hosts that the sandbox plays to its own
// address, and all others on.
type Transport struct {
	Base http.RoundTripper
	// Hosts leads from a host's name, or from name/segment for what begins with
	// that segment of a path, to 127.0.0.1:port.
	Hosts map[string]string
}

// RoundTrip does what http.RoundTripper demands.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	host := strings.ToLower(r.URL.Host)
	segment, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	to, ok := t.Hosts[host+"/"+segment]
	if !ok {
		to, ok = t.Hosts[host]
	}
	if !ok {
		return t.Base.RoundTrip(r)
	}
	clone := r.Clone(r.Context())
	clone.Host = r.URL.Host
	clone.URL = &url.URL{Scheme: "http", Host: to, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	resp, err := t.Base.RoundTrip(clone)
	if err == nil {
		resp.Request = r // clients compare it with whom they asked
	}
	return resp, err
}
