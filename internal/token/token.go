// SPDX-License-Identifier: Apache-2.0

// Package token verifies ID tokens: it fetches the keys of an issuer that trusted
// configuration names, from that issuer's own origin, and has go-oidc check the
// signature. It is the one place that makes a [policy.Run].
package token

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of what an issuer may reply.
const (
	maxDiscovery = 64 << 10
	maxKeys      = 1 << 20
	maxKeyCount  = 100
	minRSABits   = 2048

	discovery = ".well-known/openid-configuration"
)

// Verifier verifies tokens of the issuers that it lists.
type Verifier struct {
	Issuers   identity.Issuers
	Transport http.RoundTripper // nil for the default one
	Agent     string            // User-Agent
	Now       func() time.Time
}

// Verified is a token whose signature, issuer, audience and times were verified.
type Verified struct {
	*identity.Unverified // no longer
	Issuer               identity.Issuer
	Run                  policy.Run
}

// Verify verifies a token for an audience. The error is an [*identity.Refusal]: the
// token is malformed or not signed by its issuer (token-invalid), its issuer is
// not listed, or it is for somebody else or another time (token-refused), or the
// issuer's keys cannot be had (issuer-unreachable).
func (v *Verifier) Verify(ctx context.Context, raw, audience string) (*Verified, error) {
	t, err := identity.ParseToken(raw)
	if err != nil {
		return nil, err
	}
	issuer, ok := v.Issuers.Find(t.Issuer)
	if !ok {
		return nil, refusef(policy.TokenRefused, "%q is not an issuer that this program or the policy names",
			clip.Text(t.Issuer))
	}
	now := v.Now()
	if err := t.Check(issuer, audience, now); err != nil {
		return nil, err
	}
	keys, err := v.keys(ctx, issuer, t)
	if err != nil {
		return nil, err
	}
	verifier := gooidc.NewVerifier(t.Issuer, &gooidc.StaticKeySet{PublicKeys: keys}, &gooidc.Config{
		ClientID: audience, SupportedSigningAlgs: identity.Algorithms,
		// Of the times go-oidc knows only the issuer's: Check has compared them.
		Now: func() time.Time { return t.IssuedAt },
	})
	if _, err := verifier.Verify(ctx, raw); err != nil {
		return nil, refusef(policy.TokenInvalid, "%s did not sign it: %s", t.Issuer, err)
	}
	id, facts, err := t.Run(issuer)
	if err != nil {
		return nil, err
	}
	return &Verified{t, issuer, facts.Verified(id)}, nil
}

// keys returns the issuer's keys that the token can be signed with.
func (v *Verifier) keys(ctx context.Context, i identity.Issuer, t *identity.Unverified) ([]crypto.PublicKey, error) {
	unreachable := func(err error) error {
		return refusef(policy.IssuerUnreachable, "%s: %s", i.URL, err)
	}
	path, err := v.keysPath(ctx, i)
	if err != nil {
		return nil, unreachable(err)
	}
	data, err := v.get(ctx, i.KeysOrigin(), path, maxKeys)
	if err != nil {
		return nil, unreachable(err)
	}
	var set jose.JSONWebKeySet
	err = strictjson.Rules{Null: true}.Check(data)
	if err == nil {
		err = json.Unmarshal(data, &set)
	}
	if err != nil || len(set.Keys) > maxKeyCount {
		return nil, unreachable(errors.New("its keys are malformed"))
	}
	var out []crypto.PublicKey
	for _, k := range set.Keys {
		if k.KeyID == t.KeyID && canSign(k, t.Algorithm) {
			out = append(out, k.Key)
		}
	}
	if len(out) == 0 {
		return nil, refusef(policy.TokenInvalid, "%s has no key %q", i.URL, clip.Text(t.KeyID))
	}
	return out, nil
}

// keysPath returns where the issuer's keys lie on their origin, as its discovery document says.
func (v *Verifier) keysPath(ctx context.Context, i identity.Issuer) (string, error) {
	data, err := v.get(ctx, i.URL, discovery, maxDiscovery)
	if err != nil {
		return "", err
	}
	doc, err := strictjson.Members(data)
	if err != nil {
		return "", errors.New("its discovery document is not its own")
	}
	if issuer, err := strictjson.Text(doc, "issuer"); err != nil || issuer != i.URL {
		return "", errors.New("its discovery document is not its own")
	}
	keys, err := strictjson.Text(doc, "jwks_uri")
	if err != nil {
		return "", fmt.Errorf("its discovery document: %w", err)
	}
	u, err := url.Parse(keys)
	if err != nil || u.Scheme+"://"+u.Host != i.KeysOrigin() || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || u.Path == "" {
		return "", fmt.Errorf("its keys lie at %q, not on %s", clip.Text(keys), i.KeysOrigin())
	}
	return u.Path, nil
}

// canSign reports whether a key is a good one to verify signatures of an algorithm with.
func canSign(k jose.JSONWebKey, algorithm string) bool {
	return (k.Use == "" || k.Use == "sig") && (k.Algorithm == "" || k.Algorithm == algorithm) &&
		k.Valid() && k.IsPublic() && strong(k.Key)
}

func strong(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return !ok || k.N.BitLen() >= minRSABits
}

// get asks one origin, without redirects, with a cap and a deadline.
func (v *Verifier) get(ctx context.Context, base, path string, limit int64) ([]byte, error) {
	if u, err := url.Parse(base); err != nil || u.Scheme != "https" && !web.Loopback(u.Host) {
		return nil, errors.New("not an https URL")
	}
	c, err := web.New(base, v.Transport, v.Agent)
	if err != nil {
		return nil, err
	}
	return c.Get(ctx, path, limit)
}

func refusef(reason policy.Reason, format string, args ...any) error {
	return &identity.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}
