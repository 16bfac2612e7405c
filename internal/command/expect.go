// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/policy"
)

// A certificate puts the name of whoever asks for it into a public log for ever. So
// the ID token is compared with who may sign before it is sent anywhere: nobody has
// verified it by then, and it only decides about refusing.

// Expectation is whom the user expects to sign; nil for anybody.
type Expectation struct{ value, issuer string } // issuer is "" for any

// ExpectFlag defines --expect-identity.
func (o *Signing) ExpectFlag(cmd *cobra.Command) {
	o.Expect.Kind = "IDENTITY[=ISSUER]"
	cmd.Flags().Var(&o.Expect, "expect-identity", "sign only as this e-mail address or URI, such as"+
		" alice@example.com=https://accounts.google.com; by default as anybody who may sign here")
}

// Expected reads --expect-identity; nil without it.
func (o *Signing) Expected() (*Expectation, error) {
	if !o.Expect.Given {
		return nil, nil
	}
	e := &Expectation{value: o.Expect.Value}
	if i := max(strings.LastIndex(e.value, "=https://"), strings.LastIndex(e.value, "=http://")); i >= 0 {
		e.value, e.issuer = e.value[:i], e.value[i+1:]
	}
	if !strings.Contains(e.value, "@") && !strings.Contains(e.value, "://") ||
		strings.ContainsAny(e.value+e.issuer, " \t\r\n") {
		return nil, &policy.Fault{
			Reason: policy.Usage, Text: "--expect-identity: neither an e-mail address nor a URI",
			Hint: "write it like alice@example.com or alice@example.com=https://accounts.google.com",
		}
	}
	return e, nil
}

// Check refuses a token that is of nobody who is expected.
func (e *Expectation) Check(may []policy.Identity) error {
	if e == nil || slices.ContainsFunc(may, func(id policy.Identity) bool {
		return id.Value == e.value && (e.issuer == "" || id.Issuer == e.issuer)
	}) {
		return nil
	}
	want := e.value
	if e.issuer != "" {
		want += " by " + e.issuer
	}
	return &policy.Fault{
		Reason: policy.TokenRefused,
		Text:   fmt.Sprintf("the ID token is of %s, and --expect-identity names %s", Whoever(may), want),
		Hint:   "no certificate was asked for, and nothing was logged; sign in as who is meant",
	}
}

// Whoever names whom a token is of, for a person.
func Whoever(ids []policy.Identity) string {
	if len(ids) == 0 {
		return "nobody who can be certified"
	}
	return NameOf(ids[0])
}

// Candidates returns the identities that a certificate for the token could name: where
// a provider speaks for another one, who of the two depends on the certificate
// authority. The issuers are those of the policy and where people sign in.
func Candidates(raw string, f *policy.File, signIn string) ([]policy.Identity, error) {
	claims, err := jwt.Unverified(raw)
	if err != nil {
		return nil, policy.Faultf(policy.LoginNeeded, "%s", err)
	}
	var out []policy.Identity
	if t, err := identity.ParseToken(raw); err == nil {
		if issuer, ok := identity.TrustedIssuers(f, signIn).Find(t.Issuer); ok {
			if id, _, err := t.Run(issuer); err == nil {
				out = append(out, id)
			}
		}
	}
	id := policy.Identity{
		Kind:         policy.KindEmail,
		Value:        claims.Email,
		Issuer:       claims.Issuer,
		TokenSubject: claims.Subject,
	}
	if claims.Email == "" && len(out) > 0 {
		return out, nil
	}
	if claims.Email == "" {
		id.Kind, id.Value = policy.KindURI, claims.Subject
	}
	out = append(out, id)
	if claims.Connector != "" && claims.Connector != claims.Issuer {
		id.Issuer = claims.Connector
		out = append(out, id)
	}
	return out, nil
}

// NameOf names an identity for a person.
func NameOf(id policy.Identity) string {
	if id.Kind == policy.KindKey {
		return "key sha256:" + id.Value
	}
	return id.Value + " by " + id.Issuer
}
