// SPDX-License-Identifier: Apache-2.0

// Package jwt reads what a JSON Web Token says of itself, before or without a check of its
// signature (RFC 7519).
package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxBytes is the longest token that is read.
const MaxBytes = 64 << 10

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

// Unverified reads the claims of a JSON Web Token (RFC 7519).
func Unverified(token string) (Claims, error) {
	if len(token) > MaxBytes {
		return Claims{}, fmt.Errorf("a token of %d bytes, at most %d are read", len(token), MaxBytes)
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
		Issuer:       c.Iss, Subject: c.Sub, Email: c.Email,
		EmailVerified: c.EmailVerified == true || c.EmailVerified == "true",
		Visibility:    c.Repository + c.Project, Connector: c.Federated.Connector, Audience: c.Aud,
		Expires: time.Unix(int64(c.Exp), 0).UTC(),
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
