// SPDX-License-Identifier: Apache-2.0

// Package timestamp reads answers of time stamp authorities and verifies who signed them, in DER
// and nothing else. Whom to believe is for the caller to say.
//
// Time stamps: RFC 3161 and RFC 5816, their signatures: RFC 5652.
package timestamp

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // of messages, certificates and signatures
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/repopolicy/repopolicy/internal/keys"
)

// MaxBytes is the largest answer that is read.
const MaxBytes = 64 << 10

// Limits of what an answer holds.
const (
	maxCertificates = 10
	maxAttributes   = 16
)

var (
	oidSignedData   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidDigest       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSigningCert  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	oidSigningCert2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}

	tag0 = der.Tag(0).ContextSpecific().Constructed()
	tag1 = der.Tag(1).ContextSpecific().Constructed()
	tag4 = der.Tag(4).ContextSpecific().Constructed()
)

// hashes are those of messages and signatures; SHA-1 is too weak.
var hashes = []struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
}{
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA256},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA384},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, crypto.SHA512},
}

// signature is an algorithm by which authorities sign, with its one hash.
type signature struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
	alg  x509.SignatureAlgorithm
}

// signatures are those algorithms. rsaEncryption leaves the hash to the digest algorithm
// (RFC 3370, section 3.2).
var signatures = []signature{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, crypto.SHA256, x509.ECDSAWithSHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, crypto.SHA384, x509.ECDSAWithSHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, crypto.SHA512, x509.ECDSAWithSHA512},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA256, x509.SHA256WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, crypto.SHA384, x509.SHA384WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, crypto.SHA512, x509.SHA512WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, crypto.SHA256, x509.SHA256WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, crypto.SHA384, x509.SHA384WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, crypto.SHA512, x509.SHA512WithRSA},
	{asn1.ObjectIdentifier{1, 3, 101, 112}, crypto.SHA512, x509.PureEd25519}, // RFC 8419, section 3.1
}

// Token is a time stamp that was read and not verified.
type Token struct {
	Time         time.Time // UTC
	Certificates [][]byte  // DER, in its order; none if it carries none

	hash           crypto.Hash // of the message
	imprint        []byte
	tsa            []byte // DER of a Name; nil if it names none
	issuer, serial []byte // DER, of the signer's certificate
	alg            x509.SignatureAlgorithm
	attributes     []byte // DER of a SET: what is signed
	signature      []byte
	signed         time.Time // by the attribute; zero without it
	certIDs        []certID
}

// certID is a hash of the signer's certificate among what is signed (RFC 5816).
type certID struct {
	hash           crypto.Hash
	sum            []byte
	issuer, serial []byte // DER; nil without
}

// Parse reads a TimeStampResp that grants a time stamp.
func Parse(data []byte) (*Token, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxBytes)
	}
	in := cryptobyte.String(data)
	var resp, status, token cryptobyte.String
	if !in.ReadASN1(&resp, der.SEQUENCE) || !in.Empty() || !resp.ReadASN1(&status, der.SEQUENCE) {
		return nil, errors.New("not an answer of a time stamp authority")
	}
	if err := granted(status); err != nil {
		return nil, err
	}
	var kind asn1.ObjectIdentifier
	var content, signed cryptobyte.String
	if !resp.ReadASN1(&token, der.SEQUENCE) || !resp.Empty() || !token.ReadASN1ObjectIdentifier(&kind) ||
		!kind.Equal(oidSignedData) || !token.ReadASN1(&content, tag0) || !token.Empty() ||
		!content.ReadASN1(&signed, der.SEQUENCE) || !content.Empty() {
		return nil, errors.New("the answer has no signed data")
	}
	t := &Token{}
	info, err := t.readSignedData(signed)
	if err != nil {
		return nil, err
	}
	if err := t.readInfo(info); err != nil {
		return nil, err
	}
	return t, nil
}

// granted reads a PKIStatusInfo (RFC 3161, section 2.4.2).
func granted(in cryptobyte.String) error {
	var status int
	if !in.ReadASN1Integer(&status) {
		return errors.New("the answer has no status")
	}
	if status != 0 {
		return fmt.Errorf("the authority answered with status %d", status)
	}
	var texts, text cryptobyte.String
	if in.PeekASN1Tag(der.SEQUENCE) && !in.ReadASN1(&texts, der.SEQUENCE) {
		return errors.New("the status is malformed")
	}
	for !texts.Empty() {
		if !texts.ReadASN1(&text, der.UTF8String) {
			return errors.New("the status is malformed")
		}
	}
	if !in.Empty() {
		return errors.New("a time stamp that was granted with a failure")
	}
	return nil
}

// readSignedData reads a SignedData with one signer (RFC 5652, section 5.1) and returns its TSTInfo.
func (t *Token) readSignedData(in cryptobyte.String) (info cryptobyte.String, err error) {
	malformed := errors.New("the signed data are malformed")
	var version int
	var digests, encap, explicit, signers, signer cryptobyte.String
	if !in.ReadASN1Integer(&version) || version != 3 {
		return nil, errors.New("signed data of another version than 3")
	}
	if !in.ReadASN1(&digests, der.SET) {
		return nil, malformed
	}
	digest, ok := readHash(&digests)
	if !ok || !digests.Empty() {
		return nil, errors.New("signed data by another digest algorithm than SHA-2, or several")
	}
	var kind asn1.ObjectIdentifier
	if !in.ReadASN1(&encap, der.SEQUENCE) || !encap.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(oidTSTInfo) ||
		!encap.ReadASN1(&explicit, tag0) || !encap.Empty() || !explicit.ReadASN1(&info, der.OCTET_STRING) ||
		!explicit.Empty() {
		return nil, errors.New("the signed data are no time stamp")
	}
	if t.Certificates, ok = readCertificates(&in); !ok {
		return nil, errors.New("the certificates of the time stamp are malformed or too many")
	}
	if !in.ReadASN1(&signers, der.SET) || !in.Empty() { // lists of revoked certificates are none of its own
		return nil, malformed
	}
	if !signers.ReadASN1(&signer, der.SEQUENCE) || !signers.Empty() {
		return nil, errors.New("another number of signers than one")
	}
	return info, t.readSigner(signer, digest, info)
}

// readCertificates reads the optional certificates, which are not taken apart.
func readCertificates(in *cryptobyte.String) (out [][]byte, ok bool) {
	if !in.PeekASN1Tag(tag0) {
		return nil, true
	}
	var set, cert cryptobyte.String
	if !in.ReadASN1(&set, tag0) { // the authority of the public instance writes an empty one
		return nil, false
	}
	for !set.Empty() {
		if len(out) == maxCertificates || !set.ReadASN1Element(&cert, der.SEQUENCE) {
			return nil, false
		}
		out = append(out, cert)
	}
	return out, true
}

// readHash reads an AlgorithmIdentifier of a hash, without parameters or with NULL.
func readHash(in *cryptobyte.String) (crypto.Hash, bool) {
	oid, ok := readAlgorithm(in)
	if !ok {
		return 0, false
	}
	for _, h := range hashes {
		if h.oid.Equal(oid) {
			return h.hash, true
		}
	}
	return 0, false
}

func readAlgorithm(in *cryptobyte.String) (oid asn1.ObjectIdentifier, ok bool) {
	var seq, null cryptobyte.String
	if !in.ReadASN1(&seq, der.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) {
		return nil, false
	}
	if seq.Empty() {
		return oid, true
	}
	return oid, seq.ReadASN1(&null, der.NULL) && null.Empty() && seq.Empty()
}

// readSigner reads a SignerInfo (RFC 5652, section 5.3), whose digest has to be that of the content.
func (t *Token) readSigner(in cryptobyte.String, digest crypto.Hash, content []byte) error {
	malformed := errors.New("the signer of the time stamp is malformed")
	var version int
	var sid, attributes, sig cryptobyte.String
	if !in.ReadASN1Integer(&version) || version != 1 {
		return errors.New("a signer that is not named by issuer and serial number")
	}
	if !in.ReadASN1(&sid, der.SEQUENCE) || !sid.ReadASN1Element((*cryptobyte.String)(&t.issuer), der.SEQUENCE) ||
		!sid.ReadASN1Element((*cryptobyte.String)(&t.serial), der.INTEGER) || !sid.Empty() {
		return malformed
	}
	if hash, ok := readHash(&in); !ok || hash != digest {
		return errors.New("the digest algorithm of the signer is another one than that of the data")
	}
	if !in.ReadASN1Element(&attributes, tag0) {
		return errors.New("no signed attributes")
	}
	oid, ok := readAlgorithm(&in)
	if !ok || !in.ReadASN1(&sig, der.OCTET_STRING) || !in.Empty() {
		return malformed // or attributes that nobody signed
	}
	i := slices.IndexFunc(signatures, func(s signature) bool { return s.oid.Equal(oid) && s.hash == digest })
	if i < 0 {
		return fmt.Errorf("signed by the algorithm %s with %s", oid, digest)
	}
	t.alg, t.signature = signatures[i].alg, sig
	t.attributes = slices.Clone(attributes)
	t.attributes[0] = byte(der.SET) // RFC 5652, section 5.4
	return t.readAttributes(attributes, digest, content)
}

// readInfo reads a TSTInfo (RFC 3161, section 2.4.2).
func (t *Token) readInfo(in cryptobyte.String) error {
	malformed := errors.New("the time stamp is malformed")
	var seq, imprint, value, extensions cryptobyte.String
	var version int
	var policy asn1.ObjectIdentifier
	if !in.ReadASN1(&seq, der.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(&version) || version != 1 ||
		!seq.ReadASN1ObjectIdentifier(&policy) || !seq.ReadASN1(&imprint, der.SEQUENCE) {
		return malformed
	}
	var ok bool
	if t.hash, ok = readHash(&imprint); !ok {
		return errors.New("a time stamp over another digest than of SHA-2")
	}
	if !imprint.ReadASN1((*cryptobyte.String)(&t.imprint), der.OCTET_STRING) || !imprint.Empty() ||
		len(t.imprint) != t.hash.Size() || !seq.ReadASN1(&value, der.INTEGER) || len(value) == 0 {
		return malformed
	}
	if t.Time, ok = readTime(&seq); !ok {
		return errors.New("the moment of the time stamp is malformed")
	}
	if !readAccuracy(&seq) {
		return malformed
	}
	if seq.PeekASN1Tag(der.BOOLEAN) {
		var ordered bool
		if !seq.ReadASN1Boolean(&ordered) || !ordered { // the default is not written
			return malformed
		}
	}
	if seq.PeekASN1Tag(der.INTEGER) && !seq.ReadASN1(&value, der.INTEGER) {
		return malformed
	}
	if seq.PeekASN1Tag(tag0) {
		if !seq.ReadASN1(&value, tag0) {
			return malformed
		}
		if t.tsa, ok = readName(value); !ok {
			return malformed
		}
	}
	if seq.PeekASN1Tag(tag1) {
		if !seq.ReadASN1(&extensions, tag1) || !noneCritical(extensions) {
			return errors.New("the time stamp has an extension that is malformed or not known")
		}
	}
	if !seq.Empty() {
		return malformed
	}
	return nil
}

// readTime reads a GeneralizedTime of DER: in UTC, with the digits of a fraction that there are.
func readTime(in *cryptobyte.String) (time.Time, bool) {
	var text cryptobyte.String
	const layout = "20060102150405.999999999Z"
	if !in.ReadASN1(&text, der.GeneralizedTime) {
		return time.Time{}, false
	}
	t, err := time.Parse(layout, string(text))
	return t, err == nil && t.Format(layout) == string(text)
}

// readAccuracy reads the optional accuracy, of which nothing depends.
func readAccuracy(in *cryptobyte.String) bool {
	if !in.PeekASN1Tag(der.SEQUENCE) {
		return true
	}
	var seq cryptobyte.String
	ok := in.ReadASN1(&seq, der.SEQUENCE)
	for _, tag := range []der.Tag{der.INTEGER, der.Tag(0).ContextSpecific(), der.Tag(1).ContextSpecific()} {
		ok = ok && seq.SkipOptionalASN1(tag)
	}
	return ok && seq.Empty()
}

// readName returns the Name in a GeneralName, nil if it is of another kind.
func readName(in cryptobyte.String) ([]byte, bool) {
	var name, element cryptobyte.String
	var tag der.Tag
	if !in.PeekASN1Tag(tag4) {
		return nil, in.ReadAnyASN1(&element, &tag) && in.Empty()
	}
	ok := in.ReadASN1(&name, tag4) && in.Empty() && name.ReadASN1Element(&element, der.SEQUENCE) && name.Empty()
	return element, ok
}

// noneCritical reads Extensions, of which none may be critical, as none is known.
func noneCritical(in cryptobyte.String) bool {
	for !in.Empty() {
		var ext, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !in.ReadASN1(&ext, der.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&oid) ||
			!ext.ReadASN1(&value, der.OCTET_STRING) || !ext.Empty() { // a BOOLEAN before it says critical
			return false
		}
	}
	return true
}

// By reports whether the token says that the certificate is its signer's.
func (t *Token) By(cert *x509.Certificate) bool {
	var serial cryptobyte.Builder
	serial.AddASN1BigInt(cert.SerialNumber)
	raw, err := serial.Bytes()
	return err == nil && bytes.Equal(t.issuer, cert.RawIssuer) && bytes.Equal(t.serial, raw)
}

// Verify returns nil if the certificate's key signed the token, and the token is over data. It
// does not say whether that certificate is one of an authority.
func (t *Token) Verify(cert *x509.Certificate, data []byte) error {
	h := t.hash.New()
	h.Write(data)
	switch {
	case !bytes.Equal(h.Sum(nil), t.imprint):
		return errors.New("the time stamp is over something else")
	case !t.By(cert):
		return errors.New("the time stamp is signed with another certificate")
	case t.tsa != nil && !bytes.Equal(t.tsa, cert.RawSubject):
		return errors.New("the time stamp names another authority than its certificate")
	case !t.signed.IsZero() && (t.signed.Before(cert.NotBefore) || t.signed.After(cert.NotAfter)):
		return errors.New("the time stamp was signed outside the validity of its certificate")
	}
	for _, id := range t.certIDs {
		if err := id.of(cert); err != nil {
			return err
		}
	}
	if err := keys.Strong(cert.PublicKey); err != nil {
		return err
	}
	if err := cert.CheckSignature(t.alg, t.attributes, t.signature); err != nil {
		return errors.New("the signature of the time stamp does not verify")
	}
	return nil
}

// of returns why an id is not that of the certificate.
func (id certID) of(cert *x509.Certificate) error {
	h := id.hash.New()
	h.Write(cert.Raw)
	if !bytes.Equal(h.Sum(nil), id.sum) {
		return errors.New("the time stamp is for another certificate")
	}
	var serial cryptobyte.Builder
	serial.AddASN1BigInt(cert.SerialNumber)
	raw, err := serial.Bytes()
	if id.serial != nil && (err != nil || !bytes.Equal(id.serial, raw) || !bytes.Equal(id.issuer, cert.RawIssuer)) {
		return errors.New("the time stamp is for a certificate of another issuer")
	}
	return nil
}
