// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"

	"github.com/repopolicy/repopolicy/internal/keys"
)

// Signed says whether the key that comes with a bundle made its signature. It says
// nothing about whose key that is: no root, log or time is looked at. What it says
// may only decide whether a file is evidence at all, never whether it counts.
type Signed int

// The answers.
const (
	SignedUnknown Signed = iota // no key comes with the bundle, and none of those given signed it
	SignedRight
	SignedWrong
)

// Signed checks the signature with the bundle's own certificate; of a bundle that
// a bare key signed, with the keys given and with those in its log entries. A
// message signature is checked over the digest that the bundle itself names.
func (b *Bundle) Signed(keys []*Key) Signed {
	if b.leaf != nil {
		if b.madeByLeaf() && b.namesKey(b.leaf.PublicKey) {
			return SignedRight
		}
		return SignedWrong
	}
	own := b.loggedKeys()
	for _, k := range append(own, keys...) {
		if b.madeBy(k) && b.namesKey(k.pub) {
			return SignedRight
		}
	}
	if len(own) > 0 {
		return SignedWrong
	}
	return SignedUnknown
}

// loggedKeys returns the public keys in the bodies of the log entries.
func (b *Bundle) loggedKeys() []*Key {
	var out []*Key
	for _, e := range b.entries {
		if k := e.body.key(); k != nil {
			out = append(out, k)
		}
	}
	return out
}

// BareSigned reports whether the certificate (DER), or one of the keys if there is
// none, made a signature over content with that hex SHA-256. Like [Bundle.Signed]
// it says nothing about whose key that is.
func BareSigned(certificate, signature []byte, sha256 string, keys []*Key) bool {
	digest, err := hex.DecodeString(sha256)
	if err != nil || len(digest) != crypto.SHA256.Size() {
		return false
	}
	if certificate != nil {
		cert, err := x509.ParseCertificate(certificate)
		if err != nil || !bytes.Equal(cert.Raw, certificate) {
			return false
		}
		return signedDigest(cert.PublicKey, digest, signature)
	}
	for _, k := range keys {
		if signedDigest(k.pub, digest, signature) {
			return true
		}
	}
	return false
}

// signedDigest verifies a signature over a SHA-256 digest, as cosign makes it with
// ECDSA and RSA.
func signedDigest(pub crypto.PublicKey, digest, signature []byte) bool {
	if keys.Strong(pub) != nil {
		return false
	}
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, digest, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, signature) == nil
	}
	return false
}
