// SPDX-License-Identifier: Apache-2.0

// Package keys is the registry of signature algorithms (SPEC 3.6): which keys sign, with
// which one hash and padding, and in which files people keep them.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the registry
	_ "crypto/sha512"
	"fmt"
	"slices"
)

// Algorithm is one way to sign. The zero value is none, and verifies nothing.
type Algorithm struct {
	// Name is that of Sigstore's registry: a value of PublicKeyDetails.
	// https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_common.proto
	Name string
	Key  string      // the keys that it is for, as [Kind] calls them
	Hash crypto.Hash // of what is signed; 0 if that is signed as it is
	PSS  bool        // RSA with the padding PSS, with a salt as long as the hash, not PKCS #1 v1.5
	// RekorV1 is the kind of entry that shows a statement in Rekor v1; "" for an algorithm
	// that signs none, nor files.
	RekorV1 Entry
	Scheme  string // of TUF; "" for an algorithm that signs none of its metadata
}

// Entry is a kind of log entry.
type Entry string

// The kinds in which Rekor v1 shows a statement. It verifies dsse with SHA-256 alone, and
// Ed25519 there without a hash; keys that sign otherwise are shown as hashedrekord over
// the pre-authentication encoding.
const (
	DSSE         Entry = "dsse"
	HashedRekord Entry = "hashedrekord"
)

// registry are the algorithms that are known, in the order of Sigstore's registry.
var registry = []Algorithm{
	{Name: "PKIX_RSA_PKCS1V15_2048_SHA256", Key: "RSA 2048", Hash: crypto.SHA256, RekorV1: DSSE},
	{Name: "PKIX_RSA_PKCS1V15_3072_SHA256", Key: "RSA 3072", Hash: crypto.SHA256, RekorV1: DSSE},
	{Name: "PKIX_RSA_PKCS1V15_4096_SHA256", Key: "RSA 4096", Hash: crypto.SHA256, RekorV1: DSSE},
	{Name: "PKIX_RSA_PSS_2048_SHA256", Key: "RSA 2048", Hash: crypto.SHA256, PSS: true, Scheme: "rsassa-pss-sha256"},
	{Name: "PKIX_RSA_PSS_3072_SHA256", Key: "RSA 3072", Hash: crypto.SHA256, PSS: true, Scheme: "rsassa-pss-sha256"},
	{Name: "PKIX_RSA_PSS_4096_SHA256", Key: "RSA 4096", Hash: crypto.SHA256, PSS: true, Scheme: "rsassa-pss-sha256"},
	{
		Name: "PKIX_ECDSA_P256_SHA_256", Key: "ECDSA P-256", Hash: crypto.SHA256, RekorV1: DSSE,
		Scheme: "ecdsa-sha2-nistp256",
	},
	{
		Name: "PKIX_ECDSA_P384_SHA_384", Key: "ECDSA P-384", Hash: crypto.SHA384, RekorV1: HashedRekord,
		Scheme: "ecdsa-sha2-nistp384",
	},
	{Name: "PKIX_ECDSA_P521_SHA_512", Key: "ECDSA P-521", Hash: crypto.SHA512, RekorV1: HashedRekord},
	{Name: "PKIX_ED25519", Key: "Ed25519", Scheme: "ed25519"},
	{Name: "PKIX_ED25519_PH", Key: "Ed25519", Hash: crypto.SHA512, RekorV1: HashedRekord},
}

// Registry returns the algorithms that are known.
func Registry() []Algorithm { return slices.Clone(registry) }

// Named returns the algorithm of that name; the zero value for one that is not known.
func Named(name string) Algorithm {
	i := slices.IndexFunc(registry, func(a Algorithm) bool { return a.Name == name })
	if i < 0 {
		return Algorithm{}
	}
	return registry[i]
}

// TUFOf returns the algorithm by which keys of a kind sign metadata of TUF, and whether they do.
func TUFOf(kind string) (Algorithm, bool) {
	i := slices.IndexFunc(registry, func(a Algorithm) bool { return a.Key == kind && a.Scheme != "" })
	if i < 0 {
		return Algorithm{}, false
	}
	return registry[i], true
}

// Kind returns what a key is called in the registry, such as "RSA 2048", "ECDSA P-384" or
// "Ed25519"; "" for a key of another type.
func Kind(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + pub.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", pub.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return ""
}

// Of returns the algorithm by which a key signs whatever is logged: statements, approvals
// and files. The error is an [*Error].
func Of(pub crypto.PublicKey) (Algorithm, error) {
	return find(pub, "Rekor v2 takes none of its signatures", func(a Algorithm) bool { return a.RekorV1 != "" })
}

// OfTUF returns the algorithm by which a key signs metadata of TUF (SPEC 17.1). The error
// is an [*Error].
func OfTUF(pub crypto.PublicKey) (Algorithm, error) {
	return find(pub, "it signs no metadata of TUF", func(a Algorithm) bool { return a.Scheme != "" })
}

func find(pub crypto.PublicKey, why string, fits func(Algorithm) bool) (Algorithm, error) {
	if err := Sound(pub); err != nil {
		return Algorithm{}, err
	}
	kind := Kind(pub)
	i := slices.IndexFunc(registry, func(a Algorithm) bool { return a.Key == kind && fits(a) })
	if i >= 0 {
		return registry[i], nil
	}
	hint := "make a key on P-256"
	if _, ok := pub.(*rsa.PublicKey); ok {
		hint = "make one of 2048, 3072 or 4096 bits, or a key on P-256"
	}
	return Algorithm{}, &Error{fmt.Sprintf("a key %s: %s", kind, why), hint}
}

// Input returns what is signed of a message: its digest, or itself.
func (a Algorithm) Input(message []byte) []byte {
	if a.Hash == 0 {
		return message
	}
	h := a.Hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// HashName returns the name of the hash in policies, "sha256" for one; "" without a hash.
func (a Algorithm) HashName() string {
	return map[crypto.Hash]string{crypto.SHA256: "sha256", crypto.SHA384: "sha384", crypto.SHA512: "sha512"}[a.Hash]
}

// Verify reports whether sig is a signature by this algorithm over an input, as
// [Algorithm.Input] returns it. A key of another kind, and a digest of another length,
// verify nothing. A signature of ECDSA is in DER.
func (a Algorithm) Verify(pub crypto.PublicKey, input, sig []byte) bool {
	if a.Name == "" || Kind(pub) != a.Key || a.Hash != 0 && len(input) != a.Hash.Size() {
		return false
	}
	ok := false
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, input, sig)
	case *rsa.PublicKey:
		if a.PSS {
			ok = rsa.VerifyPSS(pub, a.Hash, input, sig, nil) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(pub, a.Hash, input, sig) == nil
		}
	case ed25519.PublicKey:
		ok = ed25519.VerifyWithOptions(pub, input, sig, &ed25519.Options{Hash: a.Hash}) == nil
	}
	return ok
}

// sign signs an input.
func (a Algorithm) sign(private crypto.Signer, input []byte) ([]byte, error) {
	var opts crypto.SignerOpts = a.Hash // of Ed25519 this chooses between its two algorithms, too
	if a.PSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.Hash}
	}
	return private.Sign(rand.Reader, input, opts)
}

// curves are those of ECDSA.
var curves = []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}

// Limits of RSA keys, whoever uses them. Larger ones only cost time.
const (
	minRSABits = 2048
	maxRSABits = 8192
	exponent   = 65537
)

// Sound returns why a key is too weak, or of another type than those that sign. The error
// is an [*Error].
func Sound(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if !slices.Contains(curves, pub.Curve) {
			return &Error{fmt.Sprintf("the curve %s is too weak", pub.Params().Name), "make a key on P-256"}
		}
	case *rsa.PublicKey:
		bits := pub.N.BitLen()
		switch {
		case bits < minRSABits:
			return &Error{fmt.Sprintf("an RSA key has at least %d bits, not %d", minRSABits, bits), "make one of 3072 bits"}
		case bits > maxRSABits:
			return &Error{fmt.Sprintf("an RSA key of %d bits is too large", bits), "make one of 3072 bits"}
		case pub.E != exponent:
			return &Error{fmt.Sprintf("an RSA key has the exponent %d, not %d", exponent, pub.E), "make one of 3072 bits"}
		case pub.N.Bit(0) == 0:
			return &Error{Text: "the modulus of an RSA key is odd"}
		}
	case ed25519.PublicKey:
		return soundPoint(pub)
	default:
		return &Error{Text: "a key is ECDSA, Ed25519 or RSA"}
	}
	return nil
}

// Error is why a key is refused.
type Error struct {
	Text string
	Hint string // what to do instead; may be empty
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Same reports whether two public keys are one.
func Same(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Strong returns why a key of a certificate authority, or one that may have made a bare
// signature, is too weak; those that sign what counts are as [Sound] wants them.
func Strong(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if !slices.Contains(curves, pub.Curve) {
			return fmt.Errorf("the curve %s is too weak", pub.Params().Name)
		}
	case *rsa.PublicKey:
		if pub.N.BitLen() < minRSABits {
			return fmt.Errorf("an RSA key of %d bits is too weak", pub.N.BitLen())
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("keys of type %T are not supported", pub)
	}
	return nil
}
