// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/jwt"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// Client signs and logs with the services of one Sigstore instance.
type Client struct {
	Services  Services
	Transport http.RoundTripper // nil for the default one
	Timeout   time.Duration     // of a request; 0 for 30 seconds
}

// Draft signs the content. With a token the key is fresh, and Fulcio certifies it;
// else key signs, by an algorithm of [keys.Of], perhaps in the name of a certificate. The time
// stamp is for [Client.Stamp] to add, once the draft is kept: a stamp can be had again, a
// certificate would be a second one.
//
// Fulcio is asked once, and not for a statement that nobody could read. Each certificate shows its
// name in a public log for ever, and one may have been issued whatever came back.
func (c *Client) Draft(ctx context.Context, content Content, token string, key *keys.Signer) (*Draft, error) {
	if content.Statement != nil {
		if _, err := parseStatement(content.Statement); err != nil {
			return nil, refuse(policy.StatementInvalid, "statement: %w", err)
		}
	}
	m := &bundle.Material{}
	switch {
	case token != "":
		var der []byte
		var err error
		if key, der, err = c.certified(ctx, token); err != nil {
			return nil, err
		}
		m.Certificate = &bundle.Certificate{Raw: der}
	case key == nil:
		return nil, errors.New("neither an ID token nor a key")
	case key.Certificate != nil:
		m.Certificate = &bundle.Certificate{Raw: key.Certificate}
	default:
		hint, err := hintOf(key.Public)
		if err != nil {
			return nil, err
		}
		m.PublicKey = &bundle.PublicKeyHint{Hint: hint}
	}
	digest, err := content.digest(key.Algorithm)
	if err != nil {
		return nil, err
	}
	sig, err := key.Sign(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return newDraft(m, content, key.Algorithm, digest, sig), nil
}

// certified returns a fresh key and the DER of Fulcio's certificate for it.
func (c *Client) certified(ctx context.Context, token string) (*keys.Signer, []byte, error) {
	address := c.Services.Fulcio
	if address == "" {
		return nil, nil, errors.New("the signing config names no certificate authority for now")
	}
	if !secret(address) {
		return nil, nil, fmt.Errorf("certificate: %s: a token is sent to an https URL only", address)
	}
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	key, err := keys.Local(fresh, keys.Of)
	if err != nil {
		return nil, nil, err
	}
	claims, err := jwt.Unverified(token)
	if err != nil {
		return nil, nil, fmt.Errorf("whom the certificate should be for is not known: %w", err)
	}
	name, err := subject(claims)
	if err != nil {
		return nil, nil, err
	}
	proof, err := key.Sign(ctx, key.Algorithm.Input([]byte(name))) // Fulcio sees by it who has the key
	if err != nil {
		return nil, nil, err
	}
	der, err := c.at(address).Certificate(ctx, token, key.Public, proof)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %s: %w", address, err)
	}
	return key, der, asked(der, &fresh.PublicKey, claims)
}

// subject returns whom a token is of: the address of a person, which the issuer has verified, and
// else the token's subject.
func subject(claims jwt.Claims) (string, error) {
	switch {
	case claims.Email != "" && !claims.EmailVerified:
		return "", errors.New("the issuer of the token has not verified its e-mail address")
	case claims.Email != "":
		return claims.Email, nil
	case claims.Subject == "":
		return "", errors.New("the token has no subject")
	}
	return claims.Subject, nil
}

// asked returns why a certificate is not the one that was asked for: it is for another
// key, or for somebody else than the token. What is logged under it would be public for
// ever.
func asked(der []byte, key *ecdsa.PublicKey, claims jwt.Claims) error {
	cert, id, err := claimed(der)
	if err != nil {
		return err
	}
	if !key.Equal(cert.PublicKey) {
		return refuse(policy.CertificateBad, "the certificate authority certified another key than was sent")
	}
	if id.Issuer == "" || id.Issuer != claims.Issuer && id.Issuer != claims.Connector ||
		id.Kind == policy.KindEmail && id.Value != claims.Email {
		return refuse(policy.CertificateBad, "the certificate authority certified %s by %s, and the token is of another",
			clip.Text(id.Value), clip.Text(id.Issuer))
	}
	return nil
}

// ErrTooLate is the error of logging a signature whose certificate has expired:
// the entry would prove nothing.
var ErrTooLate = errors.New("the certificate expired before the signature was logged; sign again")

// Log logs the draft in Rekor v1 or v2 and returns the bundle with that entry. A
// draft that is in the log already gives the entry that is there. It is checked
// under the root before it is returned, so that what is kept verifies.
func (c *Client) Log(ctx context.Context, r *Root, d *Draft, generation int, now time.Time) ([]byte, error) {
	cert, err := d.Certificate()
	if err != nil {
		return nil, err
	}
	if cert != nil && now.After(cert.NotAfter) {
		return nil, ErrTooLate
	}
	if err := r.Check(d, now); err != nil { // else it is logged, and then refused
		return nil, err
	}
	base := c.Services.RekorV1
	if generation == 2 {
		base = c.Services.RekorV2
	}
	if base == "" {
		return nil, fmt.Errorf("the instance has no Rekor v%d", generation)
	}
	proposal, err := d.proposal(generation, r.privateOf(cert) != nil)
	if err != nil {
		return nil, err
	}
	entry, err := c.entry(ctx, r, base, generation, proposal)
	if err != nil {
		return nil, fmt.Errorf("logging in %s: %w", base, err)
	}
	out, err := d.logged(r, entry)
	if err != nil {
		return nil, fmt.Errorf("what %s answered does not verify: %w", base, err)
	}
	return out, nil
}

// LogIn logs the draft in one of the root's Rekor v2 logs, whichever the signing config names,
// as [Client.Log] does.
func (c *Client) LogIn(ctx context.Context, r *Root, d *Draft, l Log, now time.Time) ([]byte, error) {
	at := *c
	at.Services.RekorV2 = l.URL
	out, err := at.Log(ctx, r, d, 2, now)
	if err != nil {
		return nil, err
	}
	if log, _, err := CheckpointOf(out); err != nil || log != l.ID {
		return nil, refuse(policy.LogInvalid, "what %s answered is of another log", l.URL)
	}
	return out, nil
}

// selfCheck verifies a bundle that was just made.
func selfCheck(r *Root, data []byte, d *Draft) error {
	b, err := ParseBundle(data)
	if err != nil {
		return err
	}
	var key *Key
	if b.leaf == nil {
		if key, err = ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: d.Signer()}), time.Time{},
			time.Time{}); err != nil {
			return err
		}
	}
	digest, message := b.Message()
	if !message {
		digest = b.statement.Subjects[0].Digests[0]
	}
	_, err = b.Verify(r, digest, key, Options{})
	return err
}
