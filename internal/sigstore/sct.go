// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	maxSCTs     = 16
	precertType = 1 // of what is logged: a certificate without its SCTs
	hashSHA256  = 4 // RFC 5246, section 7.4.1.4.1
	signedRSA   = 1
	signedECDSA = 3
)

var oidSCTList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// sctListDER is the content of the same in DER.
const sctListDER = "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x02"

// checkSCT refuses a certificate that no log for certificates promised to log
// which was trusted at the moment of its promise (RFC 6962, section 3.2).
func checkSCT(leaf, issuer *x509.Certificate, logs map[string]*logKey) error {
	list, err := sctsOf(leaf)
	if err != nil {
		return err
	}
	tbs, err := withoutSCTs(leaf.RawTBSCertificate)
	if err != nil {
		return err
	}
	var all []sct
	for !list.Empty() {
		var raw cryptobyte.String
		if len(all) == maxSCTs || !list.ReadUint16LengthPrefixed(&raw) {
			return errors.New("the list of SCTs is malformed or too long")
		}
		one, ok := readSCT(raw)
		if !ok {
			return errors.New("an SCT is malformed")
		}
		all = append(all, one)
	}
	if !slices.ContainsFunc(all, func(s sct) bool { return s.vouches(tbs, issuer, logs) }) {
		return errors.New("no log for certificates that the trusted root names promised to log the certificate")
	}
	return nil
}

// vouches reports whether an SCT is one of a log over the certificate.
// RFC 6962 has logs sign with P-256 or RSA, of 2048 bits at least.
func (s sct) vouches(tbs []byte, issuer *x509.Certificate, logs map[string]*logKey) bool {
	log := logs[hex.EncodeToString(s.log)]
	if log == nil || s.version != 0 || s.hash != hashSHA256 || s.at >= 1<<62 ||
		!within(time.UnixMilli(int64(s.at)), log) || keys.Strong(log.key) != nil {
		return false
	}
	signed, err := s.signed(tbs, issuer)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(signed)
	switch pub := log.key.(type) {
	case *ecdsa.PublicKey:
		return s.algorithm == signedECDSA && pub.Curve == elliptic.P256() && ecdsa.VerifyASN1(pub, sum[:], s.sig)
	case *rsa.PublicKey:
		return s.algorithm == signedRSA && rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], s.sig) == nil
	}
	return false
}

// sct is a signed certificate timestamp.
type sct struct {
	version    uint8 // 0 for version 1
	hash       uint8
	log        []byte
	at         uint64 // milliseconds
	extensions cryptobyte.String
	algorithm  uint8
	sig        cryptobyte.String
}

func readSCT(in cryptobyte.String) (s sct, ok bool) {
	ok = in.ReadUint8(&s.version) && in.ReadBytes(&s.log, sha256.Size) && in.ReadUint64(&s.at) &&
		in.ReadUint16LengthPrefixed(&s.extensions) && in.ReadUint8(&s.hash) &&
		in.ReadUint8(&s.algorithm) && in.ReadUint16LengthPrefixed(&s.sig) && in.Empty()
	return s, ok
}

// signed returns what the time stamp of a certificate is over.
func (s sct) signed(tbs []byte, issuer *x509.Certificate) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 64+len(tbs)+len(s.extensions)))
	b.AddUint8(0) // version 1
	b.AddUint8(0) // the signature is over a certificate's time
	b.AddUint64(s.at)
	b.AddUint16(precertType)
	key := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	b.AddBytes(key[:])
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(tbs) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s.extensions) })
	return b.Bytes()
}

// sctsOf returns the list of SCTs in a certificate.
func sctsOf(leaf *x509.Certificate) (list cryptobyte.String, err error) {
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(oidSCTList) {
			continue
		}
		var inner cryptobyte.String
		value := cryptobyte.String(e.Value)
		if !value.ReadASN1(&inner, cryptobyteasn1.OCTET_STRING) || !value.Empty() || !inner.ReadUint16LengthPrefixed(&list) ||
			!inner.Empty() {
			return nil, errors.New("the list of SCTs is malformed")
		}
		return list, nil
	}
	return nil, errors.New("the certificate has no SCT")
}

// withoutSCTs returns the signed part of a certificate without its SCTs: what its
// precertificate would have without the mark of one.
func withoutSCTs(raw []byte) ([]byte, error) {
	malformed := errors.New("the certificate's extensions are malformed")
	tagExtensions := cryptobyteasn1.Tag(3).ContextSpecific().Constructed()
	in := cryptobyte.String(raw)
	var tbs, element, extensions, list cryptobyte.String
	if !in.ReadASN1(&tbs, cryptobyteasn1.SEQUENCE) || !in.Empty() {
		return nil, malformed
	}
	before := tbs
	for !tbs.Empty() && !tbs.PeekASN1Tag(tagExtensions) {
		var tag cryptobyteasn1.Tag
		if !tbs.ReadAnyASN1Element(&element, &tag) {
			return nil, malformed
		}
	}
	before = before[:len(before)-len(tbs)]
	if !tbs.ReadASN1(&extensions, tagExtensions) || !tbs.Empty() || !extensions.ReadASN1(&list, cryptobyteasn1.SEQUENCE) ||
		!extensions.Empty() {
		return nil, malformed
	}
	kept := make([]byte, 0, len(list))
	for !list.Empty() {
		if !list.ReadASN1Element(&element, cryptobyteasn1.SEQUENCE) {
			return nil, malformed
		}
		var id cryptobyte.String
		inner := element
		if !inner.ReadASN1(&inner, cryptobyteasn1.SEQUENCE) || !inner.ReadASN1(&id, cryptobyteasn1.OBJECT_IDENTIFIER) {
			return nil, malformed
		}
		if string(id) != sctListDER {
			kept = append(kept, element...)
		}
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(raw)))
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(before)
		b.AddASN1(tagExtensions, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(kept) })
		})
	})
	return b.Bytes()
}
