// SPDX-License-Identifier: Apache-2.0

package author

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What a key of TAP 18 is called.
const (
	keyTypeOIDC   = "sigstore-oidc"
	keySchemeOIDC = "Fulcio"
)

const minRSABits = 2048

// Key is a key that metadata lists: a public key, or an identity.
type Key struct {
	id   string
	tuf  *metadata.Key
	name string
}

// ID returns the SHA-256 of the key's canonical form, in hex.
func (k Key) ID() string { return k.id }

// String returns the identity and its issuer, or the key's ID.
func (k Key) String() string { return k.name }

func newKey(k *metadata.Key, name string) (Key, error) {
	id, err := k.ID()
	if name == "" {
		name = "key " + id
	}
	return Key{id, k, name}, err
}

// PublicKey returns the key of TUF for a public key: ECDSA on P-256, Ed25519, or
// RSA of at least 2048 bits.
func PublicKey(pub crypto.PublicKey) (Key, error) {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("a key on %s: of ECDSA only keys on P-256 are read by every client", p.Params().Name)
		}
	case *rsa.PublicKey:
		if p.N.BitLen() < minRSABits {
			return Key{}, fmt.Errorf("RSA of %d bits, at least %d are needed", p.N.BitLen(), minRSABits)
		}
	case ed25519.PublicKey:
	default:
		return Key{}, fmt.Errorf("keys of type %T are not supported", pub)
	}
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		return Key{}, err
	}
	return newKey(k, "")
}

// ParsePublicKey reads a PEM public key.
func ParsePublicKey(data []byte) (Key, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return Key{}, errors.New("not one PEM public key")
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(data)
	if err != nil {
		return Key{}, errors.New("not a public key that is read")
	}
	return PublicKey(pub)
}

// Identity returns the key of TAP 18 for whom Fulcio certifies under this name: an
// email address or URI, and the issuer of the token.
func Identity(identity, issuer string) (Key, error) {
	for _, s := range []string{identity, issuer} {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			return Key{}, fmt.Errorf("%q is no identity or issuer", s)
		}
	}
	if !strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(issuer, "http://") {
		return Key{}, fmt.Errorf("the issuer %q is no URL", issuer)
	}
	// "public" is empty but there: every library that parses keys expects it, and
	// the key's ID covers it.
	return newKey(&metadata.Key{Type: keyTypeOIDC, Scheme: keySchemeOIDC, Value: metadata.KeyVal{
		UnrecognizedFields: map[string]any{"identity": identity, "issuer": issuer},
	}}, identity+" of "+issuer)
}

// keyOf returns a key that metadata lists.
func keyOf(k *metadata.Key) (Key, error) {
	if k.Type == keyTypeOIDC {
		identity, _ := k.Value.UnrecognizedFields["identity"].(string)
		issuer, _ := k.Value.UnrecognizedFields["issuer"].(string)
		return newKey(k, identity+" of "+issuer)
	}
	return newKey(k, "")
}

// Signer makes signatures for one key or identity.
type Signer interface {
	// Sign returns a signature over the canonical form of metadata by a key whose ID
	// is wanted. [ErrNotWanted] says that the signer has none of these; nothing was
	// signed then.
	Sign(ctx context.Context, canonical []byte, wanted func(id string) bool) (metadata.Signature, error)
}

// ErrNotWanted is the error of a signer whose key is not one of the role's.
var ErrNotWanted = errors.New("the key is not among those that have to sign")

// keySigner signs with a private key at hand.
type keySigner struct {
	key    Key
	signer signature.Signer
}

// NewSigner returns the signer of a private key; see [PublicKey] for the kinds.
func NewSigner(private crypto.Signer) (Signer, error) {
	key, err := PublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	s, err := load(private)
	return &keySigner{key, s}, err
}

func load(private crypto.PrivateKey) (signature.Signer, error) {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		return signature.LoadRSAPSSSigner(k, crypto.SHA256, nil)
	case ed25519.PrivateKey:
		return signature.LoadED25519Signer(k)
	}
	return signature.LoadSigner(private, crypto.SHA256)
}

// ParsePrivateKey reads a PEM private key, PKCS #8 or SEC 1.
func ParsePrivateKey(data []byte) (crypto.Signer, error) {
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(data, cryptoutils.SkipPassword)
	if err != nil {
		return nil, errors.New("not a private key that is read") // never what it holds
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("not a private key that signs")
	}
	return s, nil
}

// Sign implements [Signer].
func (s *keySigner) Sign(_ context.Context, canonical []byte, wanted func(string) bool) (metadata.Signature, error) {
	if !wanted(s.key.id) {
		return metadata.Signature{}, fmt.Errorf("%s: %w", s.key, ErrNotWanted)
	}
	sig, err := s.signer.SignMessage(strings.NewReader(string(canonical)))
	return metadata.Signature{KeyID: s.key.id, Signature: sig}, err
}

// remoteSigner is an ECDSA key that somebody else has.
type remoteSigner struct {
	key  Key
	sign func(ctx context.Context, digest [sha256.Size]byte) ([]byte, error)
}

// NewRemoteSigner returns the signer of an ECDSA key that somebody else has: sign
// returns the ASN.1 signature over a SHA-256, which the caller has verified.
func NewRemoteSigner(
	public crypto.PublicKey, sign func(ctx context.Context, digest [sha256.Size]byte) ([]byte, error),
) (Signer, error) {
	if _, ok := public.(*ecdsa.PublicKey); !ok {
		return nil, fmt.Errorf("keys of type %T are not supported", public)
	}
	key, err := PublicKey(public)
	return &remoteSigner{key, sign}, err
}

// Sign implements [Signer].
func (s *remoteSigner) Sign(
	ctx context.Context, canonical []byte, wanted func(string) bool,
) (metadata.Signature, error) {
	if !wanted(s.key.id) {
		return metadata.Signature{}, fmt.Errorf("%s: %w", s.key, ErrNotWanted)
	}
	sig, err := s.sign(ctx, sha256.Sum256(canonical))
	return metadata.Signature{KeyID: s.key.id, Signature: sig}, err
}

// IdentitySigner signs as whom a certificate names.
type IdentitySigner struct {
	// May are the identities that a certificate could name; if none of them is wanted, Log is not
	// called, since to certify makes a name public.
	May []Key
	// Log signs a SHA-256, logs that, and returns the v0.3 bundle and whom its certificate names.
	// Before it logs what it has just signed it asks wanted about them; by then nothing is public
	// but the certificate.
	Log func(ctx context.Context, digest [sha256.Size]byte, wanted func(Key) error) (bundle []byte, by Key, err error)
}

// Sign implements [Signer].
func (s *IdentitySigner) Sign(
	ctx context.Context, canonical []byte, wanted func(string) bool,
) (metadata.Signature, error) {
	var none metadata.Signature
	if !slices.ContainsFunc(s.May, func(k Key) bool { return wanted(k.id) }) {
		return none, fmt.Errorf("who signs in: %w", ErrNotWanted)
	}
	check := func(k Key) error {
		if !wanted(k.id) {
			return fmt.Errorf("%s: %w", k, ErrNotWanted)
		}
		return nil
	}
	bundle, key, err := s.Log(ctx, sha256.Sum256(canonical), check)
	if err == nil {
		err = check(key)
	}
	if err != nil {
		return none, err
	}
	return OIDCSignature(key, bundle)
}

// OIDCSignature returns the signature object of TAP 18 for a bundle with a message
// signature. Its "sig" is the bundle's signature in hex, as in every other
// signature; a verifier reads the bundle alone.
func OIDCSignature(key Key, bundle []byte) (metadata.Signature, error) {
	var b struct {
		MessageSignature struct{ Signature []byte }
	}
	if err := json.Unmarshal(bundle, &b); err != nil || len(b.MessageSignature.Signature) == 0 {
		return metadata.Signature{}, errors.New("the bundle has no message signature")
	}
	var whole map[string]any
	if err := json.Unmarshal(bundle, &whole); err != nil {
		return metadata.Signature{}, err
	}
	return metadata.Signature{
		KeyID: key.id, Signature: b.MessageSignature.Signature, UnrecognizedFields: map[string]any{"bundle": whole},
	}, nil
}
