// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/policy"
)

// This file is about certificates of authorities that a trust root names beside Fulcio
// (SPEC 17.5). The key that signed a certificate says which authority judges it, never what the
// certificate says: no key is one of two authorities, nor of one and of Fulcio.

// private are the certificate authorities of a root that are no Fulcio.
type private struct {
	authorities *pki.Authorities

	mu sync.Mutex
	of map[[sha256.Size]byte]*pki.Authority // by hash of the certificate; nil for none
}

// WithPKI returns the root with certificate authorities beside Fulcio's. The error is an
// [*Error] with reason TrustRootInvalid: the two have a key in common.
func (r *Root) WithPKI(l *pki.Authorities) (*Root, error) {
	for _, a := range r.cas {
		for _, i := range a.issuers {
			for _, p := range l.All() {
				if slices.ContainsFunc(p.Certificates(), func(c *x509.Certificate) bool {
					return keys.Same(c.PublicKey, i.cert.PublicKey)
				}) {
					return nil, refuse(policy.TrustRootInvalid, "%s: %s has a key of one of Fulcio's certificate authorities",
						pki.Target, p.Issuer)
				}
			}
		}
	}
	out := *r
	out.private = &private{authorities: l, of: map[[sha256.Size]byte]*pki.Authority{}}
	return &out, nil
}

// PKI returns the certificate authorities that the root names beside Fulcio; nil without any.
func (r *Root) PKI() *pki.Authorities {
	if r.private == nil {
		return nil
	}
	return r.private.authorities
}

// privateOf returns the authority beside Fulcio that signed a certificate; nil for none.
func (r *Root) privateOf(leaf *x509.Certificate) *pki.Authority {
	p := r.private
	if p == nil || leaf == nil {
		return nil
	}
	sum := sha256.Sum256(leaf.Raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	a, known := p.of[sum]
	if !known {
		a = p.authorities.Of(leaf)
		if len(p.of) >= maxIssued {
			clear(p.of)
		}
		p.of[sum] = a
	}
	return a
}

// Certified returns whom a certificate names (DER) that an authority beside Fulcio issued, if a
// signature counts that it makes now. The error is an [*Error].
func (r *Root) Certified(der []byte, now time.Time) (policy.Identity, error) {
	none := policy.Identity{}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return none, &Error{policy.CertificateBad, err}
	}
	a := r.privateOf(cert)
	if a == nil {
		return none, refuse(policy.CertificateChain, "no certificate authority that the trusted root %s names beside Fulcio "+
			"issued the certificate of %q", r.name, clip.Text(cert.Issuer.String()))
	}
	at := []time.Time{now}
	paths, err := a.Paths(cert, at)
	if err == nil {
		err = a.Revoked(paths, at)
	}
	if err != nil {
		return none, ofPKI(err)
	}
	return a.Identity(cert)
}

// SignerUnder returns the identity that the certificate claims under a root. Of a certificate
// that an authority beside Fulcio signed, the issuer is the one of that authority.
func (b *Bundle) SignerUnder(r *Root) policy.Identity {
	id := b.signer
	if a := r.privateOf(b.leaf); a != nil {
		id = policy.Identity{Kind: id.Kind, Value: id.Value, Issuer: a.Issuer}
	}
	return id
}

// NamesIssuer reports whether what signed says itself who vouches for its identity: not so a bare
// key, and a certificate without an issuer, of which only a root knows.
func (b *Bundle) NamesIssuer() bool { return b.signer.Issuer != "" }

// ofPKI returns an error of package pki as one of ours.
func ofPKI(err error) *Error {
	var e *pki.Error
	if errors.As(err, &e) {
		return &Error{e.Reason, e.Err}
	}
	return &Error{policy.Internal, err}
}

// exactly verifies the signature by the one algorithm of the certificate's key (SPEC 3.6).
func (b *Bundle) exactly(alg keys.Algorithm) *Error {
	if b.message != nil && b.message.Alg != alg.HashName() {
		return refuse(policy.SignatureInvalid, "signed over a %s, and %s signs a %s", b.message.Alg, alg.Name,
			alg.HashName())
	}
	if !alg.Verify(b.leaf.PublicKey, b.input(alg), b.signature()) {
		return &Error{policy.SignatureInvalid, fmt.Errorf("not a signature by %s", alg.Name)}
	}
	return nil
}

// doubtful is the error of a signature that counts for nothing, or may, because of what an
// authority says of the certificate today. All else about it is as it must be.
type doubtful struct {
	err *Error
	but *Verified
}

// Error returns the text of the cause.
func (d *doubtful) Error() string { return d.err.Error() }

// Unwrap returns the [*Error].
func (d *doubtful) Unwrap() error { return d.err }

// Doubted returns what a bundle proves but for one thing: whether the certificate counts that an
// authority beside Fulcio issued. It is nil for every other error of [Bundle.Verify].
func Doubted(err error) *Verified {
	var d *doubtful
	if !errors.As(err, &d) {
		return nil
	}
	return d.but
}
