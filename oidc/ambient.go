// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxTokenBytes = 64 << 10
	// A clock may be so far ahead of the issuer's.
	maxClockSkew = time.Minute
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
// and returns the body; elsewhere it is in SIGSTORE_ID_TOKEN. A token that says
// of itself that it is for somebody else, about nobody or expired at now is an
// error: it is of no use, and must not be sent to whom it is not for.
//
// https://docs.github.com/actions/reference/openid-connect-reference
func Ambient(ctx context.Context, getenv func(string) string, get func(ctx context.Context, address, bearer string) ([]byte, error), audience string, now time.Time) (string, error) {
	token, err := ambient(ctx, getenv, get, audience)
	if err != nil {
		return "", err
	}
	c, err := UnverifiedClaims(token)
	if err == nil {
		err = c.refuse(audience, now)
	}
	if err != nil {
		return "", fmt.Errorf("the ID token of the environment: %w", err)
	}
	return token, nil
}

func ambient(ctx context.Context, getenv func(string) string, get func(ctx context.Context, address, bearer string) ([]byte, error), audience string) (string, error) {
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
	RepositoryID  string // repository_id or project_id; "" if none
	Audience      []string
	Expires       time.Time // whole seconds
}

func (c Claims) refuse(audience string, now time.Time) error {
	switch {
	case c.Issuer == "" || c.Subject == "":
		return errors.New("it names no issuer or no subject")
	case !slices.Contains(c.Audience, audience):
		return fmt.Errorf("it is for %q, not for %q", c.Audience, audience)
	case !now.Before(c.Expires.Add(maxClockSkew)):
		return fmt.Errorf("it expired at %s", c.Expires.Format(time.RFC3339))
	}
	return nil
}

// UnverifiedClaims reads the claims of a JSON Web Token (RFC 7519).
func UnverifiedClaims(token string) (Claims, error) {
	if len(token) > maxTokenBytes {
		return Claims{}, fmt.Errorf("a token of %d bytes, at most %d are read", len(token), maxTokenBytes)
	}
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
		Aud             audiences
		Exp             float64 // RFC 7519, section 2: NumericDate
		EmailVerified   any     `json:"email_verified"` // some providers write text
		Repository      string  `json:"repository_visibility"`
		Project         string  `json:"project_visibility"`
		RepositoryID    any     `json:"repository_id"` // text at GitHub and GitLab
		ProjectID       any     `json:"project_id"`
		Federated       struct {
			Connector string `json:"connector_id"`
		} `json:"federated_claims"`
	}
	if err := json.Unmarshal(raw, &c); err != nil || c.Exp < 0 || c.Exp > maxDate {
		return Claims{}, errors.New("the token's claims are malformed")
	}
	id, _ := c.RepositoryID.(string)
	if project, ok := c.ProjectID.(string); ok {
		id += project // no provider writes both
	}
	return Claims{
		RepositoryID: id,
		Issuer:       c.Iss, Subject: c.Sub, Email: c.Email, EmailVerified: c.EmailVerified == true || c.EmailVerified == "true",
		Visibility: c.Repository + c.Project, Connector: c.Federated.Connector, Audience: c.Aud, Expires: time.Unix(int64(c.Exp), 0).UTC(),
	}, nil
}

// maxDate is the end of the year 9999, the last that RFC 3339 can write.
const maxDate = 253402300799

// audiences is one text or a list of them (RFC 7519, section 4.1.3).
type audiences []string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *audiences) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}
