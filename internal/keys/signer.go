// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"math/big"
)

// Signer signs by one algorithm with one key, which it holds or which a program has.
type Signer struct {
	Public    crypto.PublicKey
	Algorithm Algorithm
	// Certificate is the one in whose name the key signs, in DER; nil for a bare key.
	Certificate []byte
	sign        func(ctx context.Context, input []byte) ([]byte, error)
}

// Ask has a key sign: input is what [Algorithm.Input] returns. The answer is not trusted.
type Ask func(ctx context.Context, s *Signer, input []byte) ([]byte, error)

// Local returns the signer of a private key by an algorithm of [Of] or [OfTUF].
func Local(private crypto.Signer, by func(crypto.PublicKey) (Algorithm, error)) (*Signer, error) {
	a, err := by(private.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{Public: private.Public(), Algorithm: a, sign: func(_ context.Context, input []byte) ([]byte, error) {
		return a.sign(private, input)
	}}, nil
}

// Remote returns the signer of a key that somebody else has, by an algorithm of [Of] or
// [OfTUF].
func Remote(public crypto.PublicKey, by func(crypto.PublicKey) (Algorithm, error), ask Ask) (*Signer, error) {
	a, err := by(public)
	if err != nil {
		return nil, err
	}
	s := &Signer{Public: public, Algorithm: a}
	s.sign = func(ctx context.Context, input []byte) ([]byte, error) { return ask(ctx, s, input) }
	return s, nil
}

// ID returns the id of the key.
func (s *Signer) ID() string {
	id, err := IDOf(s.Public)
	if err != nil { // the algorithm was found, so that the key can be written
		return ""
	}
	return id
}

// Sign returns the signature over an input, as [Algorithm.Input] returns it. Nothing is
// returned that does not verify.
func (s *Signer) Sign(ctx context.Context, input []byte) ([]byte, error) {
	sig, err := s.sign(ctx, bytes.Clone(input))
	if err != nil {
		return nil, err
	}
	if !s.Algorithm.Verify(s.Public, input, sig) {
		return nil, errors.New("what the signer answered is no signature by the public key" + s.mistake(input, sig))
	}
	return sig, nil
}

// mistake says how a signature was made instead, where that can be told.
func (s *Signer) mistake(input, sig []byte) string {
	if len(sig) == 0 {
		return ": it is empty"
	}
	switch pub := s.Public.(type) {
	case *ecdsa.PublicKey:
		if n := (pub.Params().BitSize + 7) / 8; len(sig) == 2*n &&
			ecdsa.Verify(pub, input, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])) {
			return ": it is two numbers of fixed length, and wanted in ASN.1, " +
				"as --signature-format openssl of pkcs11-tool writes it"
		}
	case *rsa.PublicKey:
		switch {
		case s.Algorithm.PSS && rsa.VerifyPKCS1v15(pub, s.Algorithm.Hash, input, sig) == nil:
			return ": it has the padding of PKCS #1 v1.5, and PSS is wanted"
		case !s.Algorithm.PSS && rsa.VerifyPSS(pub, s.Algorithm.Hash, input, sig, nil) == nil:
			return ": it has the padding PSS, and that of PKCS #1 v1.5 is wanted"
		case rsa.VerifyPKCS1v15(pub, 0, input, sig) == nil:
			return ": it names no hash, so that the program has to write the DigestInfo before the digest"
		}
	case ed25519.PublicKey:
		if s.Algorithm.Hash != 0 && ed25519.Verify(pub, input, sig) {
			return ": it is Ed25519 over the digest, and Ed25519ph is wanted"
		}
	}
	return ""
}
