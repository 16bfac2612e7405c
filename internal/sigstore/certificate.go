// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// This file says what a certificate must be before anything is believed because
// of it. Libraries verify signatures and build chains as well; each of them lets
// something through that Fulcio's certificate specification forbids, so that none
// is the only one who looks.
//
// Certificates: https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md,
// paths: RFC 5280, section 6.

const (
	maxLeafRSA  = 4096
	rsaExponent = 65537
)

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// checkProfile refuses a certificate that is not one of a signer, whoever issued
// it: not version 3, a certificate authority's, for other usages than digital
// signatures over code, with another number of names than one, with a key that is
// too weak, or with a critical extension that nobody here reads, as a
// precertificate has.
func checkProfile(leaf *x509.Certificate) error {
	_, err := identity.FromCertificate(leaf) // exactly one name of a known type
	switch {
	case err != nil:
		return err
	case leaf.Version != 3:
		return fmt.Errorf("a certificate of version %d", leaf.Version)
	case leaf.IsCA:
		return errors.New("the certificate is that of a certificate authority")
	case leaf.KeyUsage != x509.KeyUsageDigitalSignature:
		return errors.New("the key usage is not digital signature alone")
	case len(leaf.UnknownExtKeyUsage) > 0 || !slices.Equal(leaf.ExtKeyUsage, codeSigning):
		return errors.New("the extended key usage is not code signing alone")
	}
	for _, e := range leaf.UnhandledCriticalExtensions {
		if !e.Equal(oidSAN) { // crypto/x509 reads no otherName, and oidc does
			return fmt.Errorf("the critical extension %s is not known", e)
		}
	}
	if pub, ok := leaf.PublicKey.(*rsa.PublicKey); ok && (pub.N.BitLen() > maxLeafRSA || pub.E != rsaExponent) {
		return fmt.Errorf("an RSA key of %d bits with exponent %d", pub.N.BitLen(), pub.E)
	}
	return keys.Sound(leaf.PublicKey)
}

// issued returns the path from a signer's certificate to one of the root's
// certificate authorities on which all is as it must be at t. The error is an
// [*Error] with reason CertificateBad or CertificateChain.
func (r *Root) issued(leaf *x509.Certificate, t time.Time) ([]*x509.Certificate, *Error) {
	if err := checkProfile(leaf); err != nil {
		return nil, &Error{policy.CertificateBad, err}
	}
	err := errors.New("the trusted root has none")
	for _, ca := range r.cas {
		var path []*x509.Certificate
		if path, err = ca.path(leaf, t); err == nil {
			return path, nil
		}
	}
	return nil, refuse(policy.CertificateChain, "no certificate authority of the trusted root issued it: %w", err)
}

// handled returns the certificate without the note that crypto/x509 did not read
// its name, which it does not of otherNames: checkProfile has.
func handled(leaf *x509.Certificate) *x509.Certificate {
	out := *leaf
	out.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), oidSAN.Equal)
	return &out
}
