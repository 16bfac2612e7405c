// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

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
		leaf := *b.leaf // the library writes into the certificate that it is given
		if b.signedBy(&trusted{}, bundle.NewCertificate(&leaf)) {
			return SignedRight
		}
		return SignedWrong
	}
	content, err := b.lib.VerificationContent()
	if err != nil {
		return SignedWrong
	}
	own := b.loggedKeys()
	for _, k := range append(own, keys...) {
		if b.signedBy(&trusted{key: k}, content) {
			return SignedRight
		}
	}
	if len(own) > 0 {
		return SignedWrong
	}
	return SignedUnknown
}

func (b *Bundle) signedBy(tm *trusted, vc verify.VerificationContent) bool {
	sig, err := b.lib.SignatureContent()
	if err != nil {
		return false
	}
	if b.message == nil {
		return verify.VerifySignature(sig, vc, tm) == nil
	}
	raw, err := hex.DecodeString(b.message.Hex)
	if err != nil {
		return false
	}
	return verify.VerifySignatureWithArtifactDigests(sig, vc, tm, []verify.ArtifactDigest{
		{Algorithm: b.message.Alg, Digest: raw},
	}) == nil
}

// loggedKeys returns the public keys in the bodies of the log entries.
func (b *Bundle) loggedKeys() []*Key {
	var out []*Key
	add := func(text []byte) {
		if k, err := ParseKey(text, time.Time{}, time.Time{}); err == nil {
			out = append(out, k)
		}
	}
	type verifier struct{ PublicKey struct{ RawBytes []byte } }
	for _, e := range b.pb.GetVerificationMaterial().GetTlogEntries() {
		var body struct {
			Spec struct {
				Signature  struct{ PublicKey struct{ Content []byte } } // hashedrekord 0.0.1
				Signatures []struct{ Verifier []byte }                  // dsse 0.0.1
				Content    struct {                                     // intoto 0.0.2
					Envelope struct{ Signatures []struct{ PublicKey []byte } }
				}
				// Rekor v2:
				HashedRekordV002 struct{ Signature struct{ Verifier verifier } }
				DSSEV002         struct{ Signatures []struct{ Verifier verifier } }
			}
		}
		if json.Unmarshal(e.GetCanonicalizedBody(), &body) != nil {
			continue
		}
		add(body.Spec.Signature.PublicKey.Content)
		for _, s := range body.Spec.Signatures {
			add(s.Verifier)
		}
		for _, s := range body.Spec.Content.Envelope.Signatures {
			add(s.PublicKey)
		}
		ders := [][]byte{body.Spec.HashedRekordV002.Signature.Verifier.PublicKey.RawBytes}
		for _, s := range body.Spec.DSSEV002.Signatures {
			ders = append(ders, s.Verifier.PublicKey.RawBytes)
		}
		for _, der := range ders {
			if len(der) > 0 {
				add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
			}
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
		if pub, err := k.expiring.PublicKey(); err == nil && signedDigest(pub, digest, signature) {
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
