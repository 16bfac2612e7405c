// SPDX-License-Identifier: Apache-2.0

// Package pkitest is a certificate authority of an organisation, for tests only: certificates
// that live for years, lists of revoked ones, and the target of a trust root that names it.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// CA is a certificate authority.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// Begin is when its certificates begin; they end ten years later, those of signers two.
	Begin time.Time
	t     testing.TB
}

var serial atomic.Int64

// Key returns a fresh key on a curve.
func Key(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// New returns an authority that signed itself.
func New(t testing.TB, name string, begin time.Time, change ...func(*x509.Certificate)) *CA {
	t.Helper()
	c := &CA{Key: Key(t, elliptic.P256()), Begin: begin, t: t}
	c.Cert = c.authority(name, c, change)
	return c
}

// Below returns an authority that c issued.
func (c *CA) Below(name string, change ...func(*x509.Certificate)) *CA {
	c.t.Helper()
	out := &CA{Key: Key(c.t, elliptic.P256()), Begin: c.Begin, t: c.t}
	out.Cert = c.authority(name, out, change)
	return out
}

// Renewed returns the authority with a new certificate for the same name and key, by itself.
func (c *CA) Renewed(begin time.Time, change ...func(*x509.Certificate)) *CA {
	c.t.Helper()
	out := *c
	out.Begin = begin
	out.Cert = out.authority(c.Cert.Subject.CommonName, &out, change)
	return &out
}

// Again returns another certificate of an authority below c, for the same name and key.
func (c *CA) Again(of *CA) *x509.Certificate {
	c.t.Helper()
	return c.authority(of.Cert.Subject.CommonName, of, nil)
}

// authority has c certify another authority.
func (c *CA) authority(name string, of *CA, change []func(*x509.Certificate)) *x509.Certificate {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: name, Organization: []string{"Acme"}},
		NotBefore: of.Begin, NotAfter: of.Begin.AddDate(10, 0, 0), BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return c.sign(tmpl, of.Key.Public(), change)
}

func (c *CA) sign(tmpl *x509.Certificate, pub crypto.PublicKey, change []func(*x509.Certificate)) *x509.Certificate {
	c.t.Helper()
	for _, f := range change {
		f(tmpl)
	}
	parent := c.Cert
	if parent == nil || pub == c.Key.Public() || c.Key.Public().(*ecdsa.PublicKey).Equal(pub) {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, c.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// Leaf certifies a key of a signer: an e-mail address, or a URI if the name has a "://".
func (c *CA) Leaf(pub crypto.PublicKey, name string, change ...func(*x509.Certificate)) *x509.Certificate {
	c.t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "signer"},
		NotBefore: c.Begin, NotAfter: c.Begin.AddDate(2, 0, 0), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if u, err := url.Parse(name); err == nil && u.Host != "" {
		tmpl.URIs = []*url.URL{u}
	} else if name != "" {
		tmpl.EmailAddresses = []string{name}
	}
	return c.sign(tmpl, pub, change)
}

// Revoked is an entry about a certificate; reason is that of RFC 5280, 5.3.1, 0 for none.
func Revoked(c *x509.Certificate, at time.Time, reason int, invalid ...time.Time) x509.RevocationListEntry {
	e := x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: at, ReasonCode: reason}
	for _, t := range invalid {
		der, err := asn1.MarshalWithParams(t.UTC(), "generalized")
		if err != nil {
			panic(err)
		}
		e.ExtraExtensions = append(e.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: der})
	}
	return e
}

// CRL returns a list of the authority that was made at a moment, and is current for a week.
func (c *CA) CRL(made time.Time, entries ...x509.RevocationListEntry) []byte {
	c.t.Helper()
	return c.List(&x509.RevocationList{
		ThisUpdate: made, NextUpdate: made.AddDate(0, 0, 7), RevokedCertificateEntries: entries,
	})
}

// List signs a list.
func (c *CA) List(l *x509.RevocationList) []byte {
	c.t.Helper()
	if l.Number == nil {
		l.Number = big.NewInt(serial.Add(1))
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, c.Cert, c.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

// PEM returns certificates as PEM blocks.
func PEM(certs ...*x509.Certificate) string {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(out)
}

// Authority is an element of the document by its members, those of nil left out.
type Authority map[string]any

// Named returns an authority for the e-mail addresses and URIs of acme.example, with lists of
// those names, or without lists.
func Named(issuer string, certs []*x509.Certificate, crls ...string) Authority {
	a := Authority{
		"issuer": issuer, "certificates": PEM(certs...), "names": []string{"email", "uri"},
		"domains": []string{"acme.example"}, "revocation": "none",
	}
	if len(crls) > 0 {
		a["revocation"], a["crls"] = "crl", crls
	}
	return a
}

// With returns the authority with another member; nil leaves it out.
func (a Authority) With(name string, value any) Authority {
	out := Authority{}
	for k, v := range a {
		out[k] = v
	}
	if out[name] = value; value == nil {
		delete(out, name)
	}
	return out
}

// Document returns the target repopolicy/pki.json.
func Document(all ...Authority) []byte {
	if all == nil {
		all = []Authority{}
	}
	out, err := json.Marshal(map[string]any{
		"schema":      "https://raw.githubusercontent.com/repopolicy/repopolicy/main/schema/pki-v1.json",
		"authorities": all,
	})
	if err != nil {
		panic(err)
	}
	return out
}
