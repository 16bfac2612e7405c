// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/internal/keys"
)

// Key is a key as metadata states it.
type Key struct {
	ID        string // under which the metadata lists it; nothing follows from its form
	Type      string // "keytype"
	Scheme    string
	Value     json.RawMessage // "keyval", as it is written
	Canonical []byte          // canonical form of the whole key
	// Words are further members of the key that are text. Nothing hangs on them.
	Words map[string]string
}

// Sum returns the SHA-256 of the key's canonical form in hex, which is the key ID
// that TUF recommends. TUF does not demand it (TAP 12), and Sigstore's root 11 has
// a key whose ID is another.
func (k Key) Sum() string {
	sum := sha256.Sum256(k.Canonical)
	return hex.EncodeToString(sum[:])
}

// PublicKey returns the SHA-256 of the PKIX form of a public key in hex, by whatever ID and with
// whatever words metadata lists it; "" for a key that is none, or of no use.
func (k Key) PublicKey() string {
	of, ok := keyTypes[k.Type]
	if !ok {
		return ""
	}
	v, err := of(k)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(v.Principal(), keyPrincipal)
}

// keyPrincipal begins the names of principals that are public keys.
const keyPrincipal = "key:"

// Signature is a signature as metadata carries it, not verified.
type Signature struct {
	KeyID string
	Sig   string          // "sig", mostly hex
	Raw   json.RawMessage // the whole object, as it is written
}

// Verifier verifies with one key.
type Verifier interface {
	// Principal names who signs with the key, so that one key under two key IDs
	// counts once. Names of different types of keys must not collide.
	Principal() string
	// Verify returns nil if sig is this key's signature of the canonical form of
	// the signed part of a metadata file.
	Verify(signed []byte, sig Signature) error
}

// KeyType makes the verifier of a key. An error says why the key is of no use;
// it then counts for nothing.
type KeyType func(Key) (Verifier, error)

// keyTypes are the types of keys that are built in, by "keytype". Those of
// ECDSA differ by who wrote the metadata: "ecdsa" is TUF's of today.
var keyTypes = map[string]KeyType{
	"rsa":                 rsaKey,
	"ed25519":             ed25519Key,
	"ecdsa":               ecdsaKey,
	"ecdsa-sha2-nistp256": ecdsaKey,
	"ecdsa-sha2-nistp384": ecdsaKey,
}

// publicKey is a verifier with a key of the standard library.
type publicKey struct {
	id     string // digest of its PKIX form
	verify func(message, sig []byte) bool
}

func newPublicKey(key any, verify func(message, sig []byte) bool) (Verifier, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return &publicKey{keyPrincipal + hex.EncodeToString(sum[:]), verify}, nil
}

func (k *publicKey) Principal() string { return k.id }

func (k *publicKey) Verify(signed []byte, sig Signature) error {
	raw, err := hex.DecodeString(sig.Sig)
	if err != nil {
		return errors.New("the signature is no hex")
	}
	if !k.verify(signed, raw) {
		return errors.New("the signature does not verify")
	}
	return nil
}

// public returns "public" of a key's value.
func (k Key) public() (string, error) {
	v, err := parse(k.Value)
	if err != nil {
		return "", err
	}
	f := &fields{}
	return f.text(f.object(v, "keyval")["public"], "keyval.public"), f.err
}

func rsaKey(k Key) (Verifier, error) {
	key, err := pemKey[*rsa.PublicKey](k)
	if err != nil {
		return nil, err
	}
	if err := keys.Sound(key); err != nil {
		return nil, err
	}
	if k.Scheme != "rsassa-pss-sha256" {
		return nil, fmt.Errorf("the scheme %q is not known", k.Scheme)
	}
	return newPublicKey(key, func(message, sig []byte) bool {
		sum := sha256.Sum256(message)
		return rsa.VerifyPSS(key, crypto.SHA256, sum[:], sig, nil) == nil
	})
}

func ed25519Key(k Key) (Verifier, error) {
	text, err := k.public()
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize || k.Scheme != "ed25519" {
		return nil, fmt.Errorf("not %d bytes in hex of scheme ed25519", ed25519.PublicKeySize)
	}
	if err := keys.Sound(ed25519.PublicKey(key)); err != nil {
		return nil, err
	}
	return newPublicKey(ed25519.PublicKey(key), func(message, sig []byte) bool {
		return ed25519.Verify(key, message, sig)
	})
}

func ecdsaKey(k Key) (Verifier, error) {
	var curve elliptic.Curve
	var hash func([]byte) []byte
	switch k.Scheme {
	case "ecdsa-sha2-nistp256":
		curve, hash = elliptic.P256(), func(m []byte) []byte { s := sha256.Sum256(m); return s[:] }
	case "ecdsa-sha2-nistp384":
		curve, hash = elliptic.P384(), func(m []byte) []byte { s := sha512.Sum384(m); return s[:] }
	default:
		return nil, fmt.Errorf("the scheme %q is not known", k.Scheme)
	}
	if k.Type != "ecdsa" && k.Type != k.Scheme {
		return nil, fmt.Errorf("a key of type %q with the scheme %q", k.Type, k.Scheme)
	}
	key, err := hexPoint(k, curve)
	if err != nil {
		return nil, err
	}
	if key == nil {
		if key, err = pemKey[*ecdsa.PublicKey](k); err != nil {
			return nil, err
		}
	}
	if key.Curve != curve {
		return nil, fmt.Errorf("a key on %s with the scheme %q", key.Curve.Params().Name, k.Scheme)
	}
	return newPublicKey(key, func(message, sig []byte) bool { return ecdsa.VerifyASN1(key, hash(message), sig) })
}

// hexPoint reads the form in which go-tuf wrote keys until 2022, and Sigstore's
// first four roots with it: an uncompressed point in hex. It is nil for a key in
// PEM.
func hexPoint(k Key, curve elliptic.Curve) (*ecdsa.PublicKey, error) {
	text, err := k.public()
	if err != nil || strings.HasPrefix(text, "-----BEGIN") {
		return nil, err
	}
	point, err := hex.DecodeString(text)
	if err != nil {
		return nil, errors.New("neither PEM nor hex")
	}
	return ecdsa.ParseUncompressedPublicKey(curve, point)
}

func pemKey[T any](k Key) (T, error) {
	var none T
	text, err := k.public()
	if err != nil {
		return none, err
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return none, errors.New("not one public key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return none, err
	}
	out, ok := key.(T)
	if !ok {
		return none, fmt.Errorf("a key of type %q that is %T", k.Type, key)
	}
	return out, nil
}
