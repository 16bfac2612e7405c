// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestLyingAuthority: a certificate that is not the one that was asked for, or not of
// the trusted root, is refused, and nothing is logged under it.
func TestLyingAuthority(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const google = "https://accounts.google.com"
	alice := request{SAN: "alice@example.com", Issuer: google}
	certify := func(by *sigstoretest.Instance, f func(*request)) func(crypto.PublicKey) string {
		q := alice
		if f != nil {
			f(&q)
		}
		return func(key crypto.PublicKey) string { return by.Certify(q, key) }
	}
	for name, x := range map[string]struct {
		answer func(crypto.PublicKey) string
		reason policy.Reason
	}{
		"honest": {certify(inst, nil), ""},
		"another key": {
			func(crypto.PublicKey) string { return inst.Certify(alice, other.Public()) }, policy.CertificateBad,
		},
		"another address": {certify(inst, func(r *request) { r.SAN = "mallory@example.com" }), policy.CertificateBad},
		"in upper case":   {certify(inst, func(r *request) { r.SAN = "Alice@example.com" }), policy.CertificateBad},
		"another issuer": {
			certify(inst, func(r *request) { r.Issuer = "https://github.com/login/oauth" }), policy.CertificateBad,
		},
		"no issuer": {certify(inst, func(r *request) { r.Issuer = "" }), policy.CertificateBad},
		"of nobody": {certify(inst, func(r *request) { r.SAN = "" }), policy.CertificateBad},
		"another's workflow": {certify(inst, func(r *request) {
			*r = sigstoretest.Workflow("v1.0.0")
		}), policy.CertificateBad},
		"an authority's": {certify(inst, func(r *request) {
			r.Template = func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }
		}), policy.CertificateBad},
		"for no usage": {
			certify(inst, func(r *request) { r.Template = func(c *x509.Certificate) { c.ExtKeyUsage = nil } }),
			policy.CertificateBad,
		},
		"without SCT":          {certify(inst, func(r *request) { r.NoSCT = true }), policy.SCTInvalid},
		"an SCT of a stranger": {certify(inst, func(r *request) { r.SCTBy = stranger }), policy.SCTInvalid},
		"of a stranger":        {certify(stranger, nil), policy.CertificateChain},
	} {
		t.Run(name, func(t *testing.T) {
			logged := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path != "/api/v2/signingCert" {
					logged++
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				var ask struct {
					PublicKeyRequest struct{ PublicKey struct{ Content string } }
				}
				err := json.NewDecoder(q.Body).Decode(&ask)
				block, _ := pem.Decode([]byte(ask.PublicKeyRequest.PublicKey.Content))
				if err != nil || block == nil {
					t.Errorf("the request has no key: %v", err)
					return
				}
				key, err := x509.ParsePKIXPublicKey(block.Bytes)
				if err != nil {
					t.Error(err)
					return
				}
				_ = json.NewEncoder(w).Encode(map[string]any{
					"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": []string{x.answer(key)}}},
				})
			}))
			t.Cleanup(srv.Close)
			c := &Client{Services: Services{Fulcio: srv.URL, RekorV1: srv.URL}}
			token := "e30." +
				base64.RawURLEncoding.EncodeToString(
					[]byte(
						`{"iss":"https://accounts.google.com","sub":"1","aud":"sigstore","exp":1,"email":"alice@example.com",`+
							`"email_verified":true}`,
					),
				) + ".e30"
			d, err := c.Draft(t.Context(), Content{Statement: statementOf(goodSubject)}, token, nil)
			if err == nil {
				_, err = c.Log(t.Context(), r, d, 1, sigstoretest.Now)
			}
			var e *Error
			switch {
			case x.reason == "" && (err == nil || errors.As(err, &e) || logged == 0):
				t.Errorf("%v, %d requests to the log", err, logged)
			case x.reason != "" && (!errors.As(err, &e) || e.Reason != x.reason || logged > 0):
				t.Errorf("%v, %d requests to the log", err, logged)
			}
		})
	}
}

// TestDraftRefuses: nobody is asked for a certificate of what could not be signed or read.
func TestDraftRefuses(t *testing.T) {
	const token = "e30.eyJpc3MiOiJodHRwczovL3guZXhhbXBsZSIsInN1YiI6IjEifQ.e30"
	file := Content{Digest: make([]byte, 32)}
	for what, x := range map[string]struct {
		fulcio  string
		token   string
		content Content
		says    string
	}{
		"no authority":              {"", token, file, "no certificate authority"},
		"neither a token nor a key": {"https://ca.example", "", file, "neither"},
		"not a token":               {"https://ca.example", "x", file, "not a JSON Web Token"},
		"an empty statement":        {"https://ca.example", token, Content{Statement: []byte{}}, "statement: "},
		"a statement cut short": {
			"https://ca.example", token, Content{Statement: statementOf(goodSubject)[:40]}, "statement: ",
		},
		"a statement about nothing": {"https://ca.example", token, Content{Statement: statementOf("")}, "no subject"},
	} {
		c := &Client{Services: Services{Fulcio: x.fulcio}, Transport: noRequest{t}}
		if _, err := c.Draft(t.Context(), x.content, x.token, nil); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
