// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Environment variables in which a CI hands out ID tokens.
const (
	EnvToken        = "SIGSTORE_ID_TOKEN" // a token with audience "sigstore": GitLab's id_tokens and others
	EnvRequestURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	EnvRequestToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// ErrNoToken is the error of [Ambient] where the environment has no token.
var ErrNoToken = errors.New("the environment offers no ID token")

// Ambient returns the ID token that the environment offers for an audience. In
// GitHub Actions it is requested with get, which sends bearer as authorization
// and returns the body; elsewhere it is in SIGSTORE_ID_TOKEN.
//
// https://docs.github.com/actions/reference/openid-connect-reference
func Ambient(ctx context.Context, getenv func(string) string, get func(ctx context.Context, address, bearer string) ([]byte, error), audience string) (string, error) {
	if token := getenv(EnvToken); token != "" {
		return token, nil
	}
	address, bearer := getenv(EnvRequestURL), getenv(EnvRequestToken)
	if address == "" || bearer == "" {
		return "", ErrNoToken
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("%s is not a URL", EnvRequestURL)
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	body, err := get(ctx, u.String(), bearer)
	if err != nil {
		return "", fmt.Errorf("requesting an ID token: %w", err)
	}
	var reply struct{ Value string }
	if err := json.Unmarshal(body, &reply); err != nil || reply.Value == "" {
		return "", errors.New("requesting an ID token: the reply holds none")
	}
	return reply.Value, nil
}

// Claims are what a token says about itself. Nobody has checked a signature:
// they are shown, and decide only about refusing.
type Claims struct {
	Issuer        string
	Subject       string
	Email         string
	EmailVerified bool
	Visibility    string // repository_visibility or project_visibility; "" if none
	Connector     string // issuer behind a federating provider; "" if none
}

// UnverifiedClaims reads the claims of a JSON Web Token (RFC 7519).
func UnverifiedClaims(token string) (Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, errors.New("not a JSON Web Token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, errors.New("not a JSON Web Token")
	}
	var c struct {
		Iss, Sub, Email string
		EmailVerified   any    `json:"email_verified"` // some providers write text
		Repository      string `json:"repository_visibility"`
		Project         string `json:"project_visibility"`
		Federated       struct {
			Connector string `json:"connector_id"`
		} `json:"federated_claims"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return Claims{}, errors.New("the token's claims are malformed")
	}
	return Claims{c.Iss, c.Sub, c.Email, c.EmailVerified == true || c.EmailVerified == "true", c.Repository + c.Project, c.Federated.Connector}, nil
}
