// SPDX-License-Identifier: Apache-2.0

package sigstoretest

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509util"
)

var (
	oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidSCT = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// publicOnly is a key of somebody else.
type publicOnly struct {
	crypto.Signer
	public crypto.PublicKey
}

// Public implements crypto.Signer.
func (p publicOnly) Public() crypto.PublicKey { return p.public }

// Certify returns, in PEM, the certificate of a request for a public key.
func (i *Instance) Certify(r Request, public crypto.PublicKey) string {
	r.Key = publicOnly{public: public}
	at := r.At
	if at.IsZero() {
		at = Now
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.leaf(r, at).Raw}))
}

// leaf issues the certificate of a request.
func (i *Instance) leaf(r Request, at time.Time) *x509.Certificate {
	i.t.Helper()
	nb := r.NotBefore
	if nb.IsZero() {
		nb = at.Add(-time.Minute)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: nb, NotAfter: nb.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	raw := r.RawSAN
	if raw == nil {
		raw = SAN(r.SAN)
	}
	tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, pkix.Extension{Id: oidSAN, Critical: true, Value: raw})
	if r.Issuer != "" {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, Extension(1, r.Issuer), Extension(8, r.Issuer))
	}
	for n := range 30 {
		if v, ok := r.Extensions[n]; ok {
			tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, Extension(n, v))
		}
	}
	tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, r.Extra...)
	if r.Template != nil {
		r.Template(tmpl)
	}
	if r.SelfSigned {
		tmpl.Subject = i.ca.Subject // issuer and subject are the CA's name
		return i.certify(tmpl, tmpl, r.Key.Public(), r.Key)
	}
	issuer := i
	if r.Issue != nil {
		issuer = r.Issue
	}
	cert := i.certify(tmpl, issuer.ca, r.Key.Public(), issuer.caKey)
	if r.NoSCT {
		return cert
	}
	by, when := issuer, r.SCTAt
	if r.SCTBy != nil {
		by = r.SCTBy
	}
	if when.IsZero() {
		when = at.Add(-time.Minute)
	}
	// What an SCT covers is the certificate as it would be without it.
	tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, by.sct(cert, issuer.ca, when))
	return i.certify(tmpl, issuer.ca, r.Key.Public(), issuer.caKey)
}

// sct returns the extension with the CT log's promise to log a certificate (RFC
// 6962, sections 3.2 and 3.3).
func (i *Instance) sct(cert, issuer *x509.Certificate, at time.Time) pkix.Extension {
	i.t.Helper()
	_, id := spki(i.t, i.ctKey.Public())
	sct := ct.SignedCertificateTimestamp{
		SCTVersion: ct.V1, LogID: ct.LogID{KeyID: [32]byte(id)}, Timestamp: uint64(at.UnixMilli()),
	}
	input, err := ct.SerializeSCTSignatureInput(
		sct,
		ct.LogEntry{Leaf: ct.MerkleTreeLeaf{TimestampedEntry: &ct.TimestampedEntry{
			EntryType: ct.PrecertLogEntryType,
			PrecertEntry: &ct.PreCert{
				IssuerKeyHash: sha256.Sum256(issuer.RawSubjectPublicKeyInfo), TBSCertificate: cert.RawTBSCertificate,
			},
		}}},
	)
	i.check(err)
	sig, err := cttls.CreateSignature(*i.ctKey, cttls.SHA256, input)
	i.check(err)
	sct.Signature = ct.DigitallySigned(sig)
	list, err := x509util.MarshalSCTsIntoSCTList([]*ct.SignedCertificateTimestamp{&sct})
	i.check(err)
	raw, err := cttls.Marshal(*list)
	i.check(err)
	der, err := asn1.Marshal(raw)
	i.check(err)
	return pkix.Extension{Id: oidSCT, Value: der}
}

// SAN returns a SubjectAltName extension with each of the names: a URI if it has
// a scheme, else an e-mail address.
func SAN(names ...string) []byte {
	var all []asn1.RawValue
	for _, n := range names {
		tag := 1
		if strings.Contains(n, "://") {
			tag = 6
		}
		all = append(all, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(n)})
	}
	out, err := asn1.Marshal(all)
	if err != nil {
		panic(err)
	}
	return out
}

// OtherName returns a SubjectAltName extension with one otherName, as Fulcio
// writes user names under its own type .7.
func OtherName(typ asn1.ObjectIdentifier, value string) []byte {
	name, err := asn1.MarshalWithParams(struct {
		Type  asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}{typ, value}, "tag:0")
	if err != nil {
		panic(err)
	}
	out, err := asn1.Marshal([]asn1.RawValue{{FullBytes: name}})
	if err != nil {
		panic(err)
	}
	return out
}

// FulcioOID is Fulcio's extension n.
func FulcioOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}
}

// Extension returns Fulcio's extension n as Fulcio writes it: raw text up to .6,
// a DER UTF8String from .8.
func Extension(n int, value string) pkix.Extension {
	e := pkix.Extension{Id: FulcioOID(n), Value: []byte(value)}
	if n >= 8 {
		der, err := asn1.MarshalWithParams(value, "utf8")
		if err != nil {
			panic(err)
		}
		e.Value = der
	}
	return e
}
