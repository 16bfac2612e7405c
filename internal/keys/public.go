// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// Public is a public key that signs what is logged, in its one form.
type Public struct {
	Key       crypto.PublicKey
	DER       []byte // SubjectPublicKeyInfo
	ID        string // hex SHA-256 of DER
	Algorithm Algorithm
}

// Unknown is the error of a key whose algorithm the registry does not know: a newer
// program may.
type Unknown struct{ OID string }

// Error implements error.
func (e *Unknown) Error() string {
	return fmt.Sprintf("a key of the algorithm %s, which this program does not know", e.OID)
}

// Parse reads the one PEM block "PUBLIC KEY" in text, of a key by which whatever is logged
// can be signed (SPEC 3.3). The error is an [*Error], or [*Unknown].
func Parse(text []byte) (*Public, error) {
	der, err := block(text)
	if err != nil {
		return nil, err
	}
	pub, err := ParseDER(der)
	if err != nil {
		return nil, err
	}
	a, err := Of(pub)
	if err != nil {
		return nil, err
	}
	return &Public{pub, der, ID(der), a}, nil
}

// ParsePublic reads the one PEM block "PUBLIC KEY" in text. How strong the key is [Of] and
// [OfTUF] say. The error is an [*Error], or [*Unknown].
func ParsePublic(text []byte) (crypto.PublicKey, error) {
	der, err := block(text)
	if err != nil {
		return nil, err
	}
	return ParseDER(der)
}

// ID returns the hex SHA-256 of a SubjectPublicKeyInfo in DER.
func ID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// IDOf returns the id of a key.
func IDOf(pub crypto.PublicKey) (string, error) {
	der, err := marshal(pub)
	return ID(der), err
}

func marshal(pub crypto.PublicKey) ([]byte, error) { return x509.MarshalPKIXPublicKey(pub) }

// block returns what is in the one PEM block "PUBLIC KEY".
func block(text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, &Error{Text: `a key is a PEM block "PUBLIC KEY"`}
	}
	if block.Type != "PUBLIC KEY" {
		return nil, otherBlock(block.Type)
	}
	if !bytes.HasPrefix(text, []byte("-----BEGIN")) || len(bytes.TrimSpace(rest)) > 0 || len(block.Headers) > 0 {
		return nil, &Error{Text: "a key is one PEM block and nothing else"}
	}
	return block.Bytes, nil
}

// otherBlock says what to do with a PEM block that is no public key.
func otherBlock(name string) error {
	hint := map[string]string{
		"CERTIFICATE":    "openssl x509 -in FILE -noout -pubkey",
		"RSA PUBLIC KEY": "openssl rsa -RSAPublicKey_in -in FILE -pubout",
	}[name]
	if private(name) {
		hint = "this is a private key, which stays where it is: openssl pkey -in FILE -pubout"
	}
	return &Error{fmt.Sprintf(`a key is a PEM block "PUBLIC KEY", not %q`, name), hint}
}

// ParseDER reads a SubjectPublicKeyInfo that is written in its one form: RFC 5480, 8410 and
// 3279, with a named curve, an uncompressed point, and nothing after it. It says nothing of
// how strong the key is. The error is an [*Error], or [*Unknown].
func ParseDER(der []byte) (crypto.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil || !isOurs(pub) {
		return nil, unparsed(der)
	}
	if again, err := marshal(pub); err != nil || !bytes.Equal(again, der) {
		return nil, &Error{"the key is written in another way than the one", "openssl pkey -pubin -in FILE -pubout"}
	}
	return pub, nil
}

// isOurs reports whether a key is of a kind that this package knows. The library reads further
// ones with each of its versions, and what it reads is not known for that.
func isOurs(pub crypto.PublicKey) bool {
	switch pub.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// info is a SubjectPublicKeyInfo (RFC 5280, section 4.1).
type info struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

// refused are the algorithms of which it is known that keys of them sign nothing here.
var refused = map[string]Error{
	"1.2.840.113549.1.1.1": {"the RSA key cannot be parsed", ""},
	"1.2.840.113549.1.1.10": {
		"an RSA key for PSS alone: the logs take PKCS #1 v1.5", "make an RSA key without restrictions, or one on P-256",
	},
	"1.2.840.10045.2.1": {
		"an ECDSA key on another curve than P-256, P-384 or P-521, or with explicit parameters or a compressed point",
		"make a key on P-256, or write it again: " +
			"openssl ec -pubin -in FILE -pubout -param_enc named_curve -conv_form uncompressed",
	},
	"1.2.840.10040.4.1":    {"DSA is too weak", "make a key on P-256"},
	"1.2.840.113549.1.3.1": {"a key of Diffie-Hellman signs nothing", "make a key on P-256"},
	"1.3.101.110":          {"a key of X25519 signs nothing", "make one of Ed25519"},
	"1.3.101.111":          {"a key of X448 signs nothing", "make one of Ed25519"},
	"1.3.101.112":          {"the Ed25519 key cannot be parsed", ""},
}

// unparsed says why a SubjectPublicKeyInfo is not read. Only one that is whole, and of an
// algorithm that nobody here has heard of, can be for a newer program.
func unparsed(der []byte) error {
	var i info
	if rest, err := asn1.Unmarshal(der, &i); err != nil || len(rest) > 0 || i.Key.BitLength == 0 {
		return &Error{Text: "the key cannot be parsed"}
	}
	oid := i.Algorithm.Algorithm.String()
	if why, known := refused[oid]; known {
		return &why
	}
	return &Unknown{oid}
}

// Hint returns what the error of a key advises; "" for nothing.
func Hint(err error) string {
	var e *Error
	var u *Unknown
	switch {
	case errors.As(err, &e):
		return e.Hint
	case errors.As(err, &u):
		return "update repopolicy, or make a key on P-256"
	}
	return ""
}
