// SPDX-License-Identifier: Apache-2.0

package author

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// What a key of TAP 18 is called.
const (
	keyTypeOIDC   = "sigstore-oidc"
	keySchemeOIDC = "Fulcio"
)

// Key is a key that metadata lists: a public key, or an identity.
type Key struct {
	id    string
	tuf   *metadata.Key
	name  string
	label string // what its keepers call it; "" for nothing
}

// ID returns the SHA-256 of the key's canonical form, in hex.
func (k Key) ID() string { return k.id }

// String returns the identity and its issuer, or the key's ID, with what its keepers call it.
func (k Key) String() string {
	if k.label == "" {
		return k.name
	}
	return fmt.Sprintf("%s (key %.16s…)", k.label, k.id)
}

// Called returns the key with a name for those who keep the repository. It is never published.
func (k Key) Called(label string) Key {
	k.label = label
	return k
}

func newKey(k *metadata.Key, name string) (Key, error) {
	id, err := k.ID()
	if name == "" {
		name = "key " + id
	}
	return Key{id: id, tuf: k, name: name}, err
}

// PublicKey returns the key of TUF for a public key of [keys.OfTUF].
func PublicKey(pub crypto.PublicKey) (Key, error) {
	a, err := keys.OfTUF(pub)
	if err != nil {
		return Key{}, err
	}
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		return Key{}, err
	}
	k.Scheme = a.Scheme // the library gives every key of ECDSA that of P-256
	return newKey(k, "")
}

// ParsePublicKey reads a PEM public key.
func ParsePublicKey(data []byte) (Key, error) {
	pub, err := keys.ParsePublic(data)
	if err != nil {
		return Key{}, err
	}
	return PublicKey(pub)
}

// Identity returns the key of TAP 18 for whom Fulcio certifies under this name: an
// email address or URI, and the issuer of the token, or of the certificates (SPEC 17.5).
func Identity(identity, issuer string) (Key, error) {
	for _, s := range []string{identity, issuer} {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			return Key{}, fmt.Errorf("%q is no identity or issuer", s)
		}
	}
	url := strings.HasPrefix(issuer, "https://") || strings.HasPrefix(issuer, "http://")
	if spelling.CheckPKI(issuer) != nil && !url {
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

// keySigner signs with a key.
type keySigner struct {
	key  Key
	with *keys.Signer
}

// NewSigner returns the signer of a key by its algorithm of [keys.OfTUF].
func NewSigner(with *keys.Signer) (Signer, error) {
	key, err := PublicKey(with.Public)
	if err == nil && with.Algorithm.Scheme != key.tuf.Scheme {
		err = fmt.Errorf("%s signs no metadata", with.Algorithm.Name)
	}
	return &keySigner{key, with}, err
}

// Sign implements [Signer].
func (s *keySigner) Sign(ctx context.Context, canonical []byte, wanted func(string) bool) (metadata.Signature, error) {
	if !wanted(s.key.id) {
		return metadata.Signature{}, fmt.Errorf("%s: %w", s.key, ErrNotWanted)
	}
	sig, err := s.with.Sign(ctx, s.with.Algorithm.Input(canonical))
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
