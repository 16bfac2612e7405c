// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

var (
	oidFulcio          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
)

// certificates reads PEM blocks "CERTIFICATE" and nothing else.
func certificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	rest := bytes.TrimSpace(text)
	for len(rest) > 0 {
		block, after := pem.Decode(rest)
		if block == nil || !bytes.HasPrefix(rest, []byte("-----BEGIN")) {
			return nil, errors.New(`not PEM blocks "CERTIFICATE" and nothing else`)
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, fmt.Errorf(`a PEM block %q, not "CERTIFICATE" without headers`, clip.Text(block.Type))
		}
		if len(out) == maxCertificates || len(block.Bytes) > maxDERBytes {
			return nil, fmt.Errorf("at most %d certificates of %d bytes are read", maxCertificates, maxDERBytes)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		if slices.ContainsFunc(out, c.Equal) {
			return nil, fmt.Errorf("certificate %d stands twice", len(out)+1)
		}
		out = append(out, c)
		rest = bytes.TrimSpace(after)
	}
	if len(out) == 0 {
		return nil, errors.New("there are none")
	}
	return out, nil
}

// arrange takes the certificates of the authority: a root, perhaps renewed under the same name
// and key, and those that it issued to authorities below it.
func (a *Authority) arrange(certs []*x509.Certificate) error {
	for _, c := range certs {
		if err := checkAuthority(c); err != nil {
			return fmt.Errorf("certificates: %q: %w", clip.Text(c.Subject.String()), err)
		}
	}
	root := func(c *x509.Certificate) bool { return signed(c, c) }
	for _, c := range certs {
		if root(c) {
			a.certs = append(a.certs, c)
		}
	}
	if a.roots = len(a.certs); a.roots == 0 {
		return errors.New("certificates: none of them is a root, which signed itself")
	}
	a.rootPool, a.between = x509.NewCertPool(), x509.NewCertPool()
	for _, c := range a.certs {
		if !bytes.Equal(c.RawSubject, a.certs[0].RawSubject) || !keys.Same(c.PublicKey, a.certs[0].PublicKey) {
			return errors.New("certificates: two roots: each has an issuer of its own, unless one renews the other " +
				"under the same name and key")
		}
		a.rootPool.AddCert(c)
	}
	rest := slices.DeleteFunc(slices.Clone(certs), root)
	for len(rest) > 0 {
		i := slices.IndexFunc(rest, func(c *x509.Certificate) bool {
			return slices.ContainsFunc(a.certs, func(by *x509.Certificate) bool { return signed(by, c) })
		})
		if i < 0 {
			return fmt.Errorf("certificates: %q is issued by none of the others", clip.Text(rest[0].Subject.String()))
		}
		a.certs = append(a.certs, rest[i])
		a.between.AddCert(rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return nil
}

// checkAuthority refuses a certificate that may issue none, or of which part cannot be judged.
func checkAuthority(c *x509.Certificate) error {
	if err := checkIssuer(c, 0); err != nil {
		return err
	}
	if !slices.Contains(Algorithms, c.SignatureAlgorithm) {
		return fmt.Errorf("it is signed by %s", c.SignatureAlgorithm)
	}
	if err := keys.Sound(c.PublicKey); err != nil {
		return err
	}
	return checkExtensions(c)
}

// checkExtensions refuses what is Fulcio's, and name constraints that crypto/x509 passes over.
func checkExtensions(c *x509.Certificate) error {
	for _, e := range c.Extensions {
		if len(e.Id) >= len(oidFulcio) && e.Id[:len(oidFulcio)].Equal(oidFulcio) {
			return fmt.Errorf("the extension %s is Fulcio's: what it says, nobody checked", e.Id)
		}
		if e.Id.Equal(oidNameConstraints) {
			if err := checkConstraints(e.Value); err != nil {
				return fmt.Errorf("name constraints: %w", err)
			}
		}
	}
	return nil
}

// generalNames are the types of names whose constraints crypto/x509 applies (RFC 5280, 4.2.1.6).
var generalNames = map[int]string{1: "rfc822Name", 2: "dNSName", 6: "uniformResourceIdentifier", 7: "iPAddress"}

// checkConstraints refuses constraints on names of types that crypto/x509 does not apply, which
// are others of the form of RFC 5280, section 4.2.1.10, and bounds of a subtree.
func checkConstraints(der []byte) error {
	var seq asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) > 0 || seq.Tag != asn1.TagSequence ||
		seq.Class != asn1.ClassUniversal || !seq.IsCompound {
		return errors.New("malformed")
	}
	if len(seq.Bytes) == 0 {
		return errors.New("they constrain nothing")
	}
	for rest := seq.Bytes; len(rest) > 0; {
		var trees asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &trees); err != nil || trees.Class != asn1.ClassContextSpecific ||
			trees.Tag > 1 || !trees.IsCompound {
			return errors.New("malformed")
		}
		for in := trees.Bytes; len(in) > 0; {
			var tree, base asn1.RawValue
			if in, err = asn1.Unmarshal(in, &tree); err != nil || tree.Tag != asn1.TagSequence {
				return errors.New("malformed")
			}
			after, err := asn1.Unmarshal(tree.Bytes, &base)
			if err != nil || base.Class != asn1.ClassContextSpecific {
				return errors.New("malformed")
			}
			if generalNames[base.Tag] == "" {
				return fmt.Errorf("names of type %d cannot be judged", base.Tag)
			}
			if len(after) > 0 {
				return errors.New("a subtree with a minimum or maximum")
			}
		}
	}
	return nil
}

// checkProfile refuses a certificate that is not one of a signer: a certificate authority's, for
// other usages than digital signatures over code, with a critical extension that is not known or
// one of Fulcio's, or with a key that signs nothing that is logged.
func checkProfile(leaf *x509.Certificate) error {
	switch {
	case leaf.Version != 3:
		return fmt.Errorf("a certificate of version %d", leaf.Version)
	case leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return errors.New("the certificate is that of a certificate authority")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("the certificate is not for digital signatures: its key usage does not say so")
	case len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning):
		return errors.New("the extended key usages of the certificate do not name code signing")
	case len(leaf.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("the critical extension %s is not known", leaf.UnhandledCriticalExtensions[0])
	}
	if _, ok := leaf.PublicKey.(ed25519.PublicKey); ok {
		return errors.New("a certificate for a key of Ed25519: no log takes its signatures over statements")
	}
	if _, err := keys.Of(leaf.PublicKey); err != nil {
		return err
	}
	return checkExtensions(leaf)
}

// Identity returns whom a certificate names that a key of the authority signed: the issuer is
// the authority's, whatever the certificate says. The error has the reason CertificateBad.
func (a *Authority) Identity(leaf *x509.Certificate) (policy.Identity, error) {
	id, err := identity.FromCertificate(leaf) // exactly one name of a known type
	if err == nil {
		err = checkProfile(leaf)
	}
	if err == nil {
		err = a.covers(id.Kind, id.Value)
	}
	if err != nil {
		return policy.Identity{}, &Error{policy.CertificateBad, err}
	}
	return policy.Identity{Kind: id.Kind, Value: id.Value, Issuer: a.Issuer}, nil
}

// Paths returns the paths from a signer's certificate to a root of the authority on which all is
// as it must be at each of the times, at least one. The error has the reason CertificateBad or
// CertificateChain.
// Whether a certificate was revoked is another question: see [Authority.Revoked].
func (a *Authority) Paths(leaf *x509.Certificate, times []time.Time) ([][]*x509.Certificate, error) {
	if _, err := a.Identity(leaf); err != nil {
		return nil, err
	}
	if len(times) == 0 {
		return nil, refuse(policy.Internal, "no time")
	}
	for _, t := range times {
		switch {
		case !a.since.IsZero() && t.Before(a.since):
			return nil, refuse(policy.CertificateChain, "signed before the trust root trusts %s", a.Issuer)
		case !a.until.IsZero() && !t.Before(a.until):
			return nil, refuse(policy.CertificateChain, "signed after the trust root trusts %s", a.Issuer)
		}
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		CurrentTime: times[0], Roots: a.rootPool, Intermediates: a.between, KeyUsages: codeSigning,
	})
	if err != nil {
		return nil, refuse(policy.CertificateChain, "%s: %w", a.Issuer, err)
	}
	for _, t := range times {
		paths = slices.DeleteFunc(paths, func(p []*x509.Certificate) bool {
			why := CheckPath(p, t)
			if why != nil {
				err = why
			}
			return why != nil
		})
	}
	if len(paths) == 0 {
		return nil, refuse(policy.CertificateChain, "%s: %w", a.Issuer, err)
	}
	return paths, nil
}
