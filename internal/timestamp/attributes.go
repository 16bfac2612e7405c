// SPDX-License-Identifier: Apache-2.0

package timestamp

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // of certificates, in attributes that are signed by more
	"encoding/asn1"
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// readAttributes reads the signed attributes: each once, in DER's order, with one value. The type
// of the content, its digest and the signer's certificate have to be among them (RFC 5652,
// section 11, RFC 3161, section 2.4.2).
func (t *Token) readAttributes(raw cryptobyte.String, digest crypto.Hash, content []byte) error {
	var set, before cryptobyte.String
	if !raw.ReadASN1(&set, tag0) || !raw.Empty() {
		return errors.New("the signed attributes are malformed")
	}
	var typed, digested bool
	for n := 0; !set.Empty(); n++ {
		var element, seq, values, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if n == maxAttributes || !set.ReadASN1Element(&element, der.SEQUENCE) || bytes.Compare(before, element) >= 0 {
			return errors.New("the signed attributes are too many or not in order")
		}
		before = element
		if !element.ReadASN1(&seq, der.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) || !seq.ReadASN1(&values, der.SET) ||
			!seq.Empty() {
			return errors.New("a signed attribute is malformed")
		}
		ok := true
		switch value = values; {
		case oid.Equal(oidContentType):
			var kind asn1.ObjectIdentifier
			ok = !typed && value.ReadASN1ObjectIdentifier(&kind) && value.Empty() && kind.Equal(oidTSTInfo)
			typed = true
		case oid.Equal(oidDigest):
			var sum cryptobyte.String
			h := digest.New()
			h.Write(content)
			ok = !digested && value.ReadASN1(&sum, der.OCTET_STRING) && value.Empty() && bytes.Equal(sum, h.Sum(nil))
			digested = true
		case oid.Equal(oidSigningTime):
			ok = t.signed.IsZero() && t.readSigningTime(value)
		case oid.Equal(oidSigningCert), oid.Equal(oidSigningCert2):
			ok = t.readSigningCertificate(value, oid.Equal(oidSigningCert2))
		}
		if !ok {
			return errors.New("the signed attribute " + oid.String() + " is not that of the time stamp")
		}
	}
	if !typed || !digested || len(t.certIDs) == 0 {
		return errors.New("the type, the digest or the signer's certificate is not signed")
	}
	return nil
}

func (t *Token) readSigningTime(in cryptobyte.String) bool {
	var ok bool
	if in.PeekASN1Tag(der.GeneralizedTime) {
		t.signed, ok = readTime(&in)
		return ok && in.Empty()
	}
	var text cryptobyte.String
	const layout = "060102150405Z"
	if !in.ReadASN1(&text, der.UTCTime) || !in.Empty() {
		return false
	}
	at, err := time.Parse(layout, string(text))
	if at.Year() >= 2050 { // RFC 5280, section 4.1.2.5.1
		at = at.AddDate(-100, 0, 0)
	}
	t.signed = at
	return err == nil && at.Format(layout) == string(text)
}

// readSigningCertificate reads a SigningCertificate, or one of version 2. The first certificate
// is the signer's.
func (t *Token) readSigningCertificate(in cryptobyte.String, second bool) bool {
	var seq, ids, id cryptobyte.String
	if !in.ReadASN1(&seq, der.SEQUENCE) || !in.Empty() || !seq.ReadASN1(&ids, der.SEQUENCE) ||
		!seq.SkipOptionalASN1(der.SEQUENCE) || !seq.Empty() {
		return false
	}
	for n := 0; !ids.Empty(); n++ {
		if n == maxCertificates || !ids.ReadASN1(&id, der.SEQUENCE) {
			return false
		}
		read, ok := readCertID(id, second)
		if !ok {
			return false
		}
		if n == 0 {
			t.certIDs = append(t.certIDs, read)
		}
	}
	return len(t.certIDs) > 0
}

// readCertID reads an ESSCertID, or one of version 2, whose default hash is SHA-256.
func readCertID(in cryptobyte.String, second bool) (id certID, ok bool) {
	id.hash = crypto.SHA1
	if second {
		id.hash = crypto.SHA256
		if in.PeekASN1Tag(der.SEQUENCE) {
			if id.hash, ok = readHash(&in); !ok {
				return id, false
			}
		}
	}
	if !in.ReadASN1((*cryptobyte.String)(&id.sum), der.OCTET_STRING) || len(id.sum) != id.hash.Size() {
		return id, false
	}
	if in.Empty() {
		return id, true
	}
	var seq, names cryptobyte.String
	if !in.ReadASN1(&seq, der.SEQUENCE) || !in.Empty() || !seq.ReadASN1(&names, der.SEQUENCE) ||
		!seq.ReadASN1Element((*cryptobyte.String)(&id.serial), der.INTEGER) || !seq.Empty() {
		return id, false
	}
	id.issuer, ok = readName(names)
	return id, ok && id.issuer != nil
}
