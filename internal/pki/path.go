// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
)

// Algorithms are those by which an issuer may have signed a certificate or a list of revoked ones.
var Algorithms = []x509.SignatureAlgorithm{
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.PureEd25519,
}

var codeSigning = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}

// CheckPath refuses a path, the signer's certificate first and the root last, on
// which one certificate may not have issued the one before it, or is not valid at
// t: the hybrid model of the Sigstore client specification, in which the whole
// path is judged by the moment of the signature. Signatures are not looked at.
func CheckPath(path []*x509.Certificate, t time.Time) error {
	if len(path) < 2 {
		return errors.New("a certificate without an issuer")
	}
	for i, c := range path {
		if t.Before(c.NotBefore) || t.After(c.NotAfter) {
			return errors.New("signed outside the validity of a certificate")
		}
		if !slices.Contains(Algorithms, c.SignatureAlgorithm) {
			return fmt.Errorf("a certificate signed by %s", c.SignatureAlgorithm)
		}
		if i == 0 {
			continue
		}
		if err := checkIssuer(c, i-1); err != nil {
			return err
		}
		if !bytes.Equal(path[i-1].RawIssuer, c.RawSubject) {
			return errors.New("a certificate names another issuer than the one above it")
		}
	}
	return nil
}

// checkIssuer refuses a certificate that may not issue others, or not with as
// many issuing certificates between it and the signer's.
func checkIssuer(c *x509.Certificate, between int) error {
	switch {
	case c.Version != 3 || !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("an issuing certificate is not that of a certificate authority")
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("an issuing certificate is not for signing certificates")
	case c.MaxPathLen >= 0 && c.MaxPathLen < between: // -1 is no limit
		return errors.New("an issuing certificate is too far from the signer's")
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("an issuing certificate has the critical extension %s", c.UnhandledCriticalExtensions[0])
	case len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning):
		return errors.New("an issuing certificate is not for code signing")
	}
	return keys.Strong(c.PublicKey)
}
