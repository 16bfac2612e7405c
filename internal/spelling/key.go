// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// KeyID returns the hex SHA-256 of the DER SubjectPublicKeyInfo of the one
// PEM block "PUBLIC KEY" in text. Weak keys are an error: RSA below 2048 bits,
// curves other than P-256, P-384, P-521 and Ed25519.
func KeyID(text []byte) (string, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return "", errors.New(`a key is a PEM block "PUBLIC KEY"`)
	}
	if !bytes.HasPrefix(text, []byte("-----BEGIN")) || len(bytes.TrimSpace(rest)) > 0 || len(block.Headers) > 0 {
		return "", errors.New("a key is one PEM block and nothing else")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return "", errors.New("the key cannot be parsed")
	}
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if c := pub.Curve; c != elliptic.P256() && c != elliptic.P384() && c != elliptic.P521() {
			return "", fmt.Errorf("the curve %s is too weak", pub.Params().Name)
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if pub.N.BitLen() < 2048 {
			return "", errors.New("an RSA key has at least 2048 bits")
		}
	default:
		return "", errors.New("a key is ECDSA, Ed25519 or RSA")
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:]), nil
}
