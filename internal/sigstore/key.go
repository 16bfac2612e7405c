// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/keys"
)

// This file is about what signs a bundle, and by which algorithms: a bare key by the one that
// the registry has for it (SPEC 3.6), whatever a bundle or log entry says.

// Key is a public key that may have signed a bundle, with its lifetime.
type Key struct {
	id         string
	der        []byte // SubjectPublicKeyInfo
	pub        crypto.PublicKey
	alg        keys.Algorithm
	start, end time.Time // zero for no bound
}

// ID returns the hex SHA-256 of the key's DER SubjectPublicKeyInfo.
func (k *Key) ID() string { return k.id }

// ParseKey reads a PEM public key that is valid from start to end, both
// inclusive; a zero time is no bound. The error is one of [keys.Parse].
func ParseKey(pem []byte, start, end time.Time) (*Key, error) {
	pub, err := keys.Parse(pem)
	if err != nil {
		return nil, err
	}
	return &Key{pub.ID, pub.DER, pub.Key, pub.Algorithm, start, end}, nil
}

// validAt reports whether the key was valid at a moment.
func (k *Key) validAt(t time.Time) bool {
	return (k.start.IsZero() || !t.Before(k.start)) && (k.end.IsZero() || !t.After(k.end))
}

// pae is the pre-authentication encoding of an envelope (DSSE v1.0.2).
func pae(kind string, payload []byte) []byte {
	out := make([]byte, 0, len(kind)+len(payload)+64)
	return append(fmt.Appendf(out, "DSSEv1 %d %s %d ", len(kind), kind, len(payload)), payload...)
}

// input returns what an algorithm signs of the bundle: a digest, or the envelope as it is.
func (b *Bundle) input(a keys.Algorithm) []byte {
	if b.message != nil {
		return b.form.Message.Digest.Digest
	}
	return a.Input(b.pae())
}

func (b *Bundle) pae() []byte { return pae(b.form.Envelope.PayloadType, b.form.Envelope.Payload) }

// madeBy reports whether the key made the bundle's signature, over the digest or the statement.
// Whatever else is wrong with a bundle, one that another key signed says nothing about this one.
func (b *Bundle) madeBy(key *Key) bool {
	return key.alg.Verify(key.pub, b.input(key.alg), b.signature())
}

// certificateAlgorithms are those by which the key of a Fulcio certificate may have signed: its one
// of the registry, Ed25519 as it is for an envelope, and SHA-256 with the larger curves, as clients
// made it until 2025.
func certificateAlgorithms(pub crypto.PublicKey, envelope bool) []keys.Algorithm {
	a, err := keys.Of(pub)
	switch {
	case err != nil:
		return nil
	case a.Key == "Ed25519" && envelope:
		return []keys.Algorithm{keys.Named("PKIX_ED25519")}
	case a.Key == "ECDSA P-384" || a.Key == "ECDSA P-521":
		old := keys.Algorithm{Name: "SHA-256 with " + a.Key, Key: a.Key, Hash: crypto.SHA256}
		return []keys.Algorithm{a, old}
	}
	return []keys.Algorithm{a}
}

// madeByLeaf reports whether the key of the bundle's own certificate made its signature.
func (b *Bundle) madeByLeaf() bool {
	for _, a := range certificateAlgorithms(b.leaf.PublicKey, b.message == nil) {
		if a.Verify(b.leaf.PublicKey, b.input(a), b.signature()) {
			return true
		}
	}
	return false
}

// namesKey reports whether the envelope calls its key as clients do, by the fingerprint of SSH, or
// not at all.
func (b *Bundle) namesKey(pub crypto.PublicKey) bool {
	return b.message != nil || b.form.Envelope.Signatures[0].KeyID == "" ||
		b.form.Envelope.Signatures[0].KeyID == fingerprint(pub)
}

// fingerprint returns the SHA-256 of a key in the form of SSH (RFC 4253, section 6.6, RFC 5656,
// section 3.1, RFC 8709, section 4); "" for keys that have none.
func fingerprint(pub crypto.PublicKey) string {
	var out []byte
	add := func(parts ...[]byte) {
		for _, p := range parts {
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(p))), p...)
		}
	}
	positive := func(n *big.Int) []byte { return append(make([]byte, (n.BitLen()+8)/8-(n.BitLen()+7)/8), n.Bytes()...) }
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			return ""
		}
		curve := "nistp" + strconv.Itoa(pub.Params().BitSize)
		add([]byte("ecdsa-sha2-"+curve), []byte(curve), point)
	case *rsa.PublicKey:
		add([]byte("ssh-rsa"), positive(big.NewInt(int64(pub.E))), positive(pub.N))
	case ed25519.PublicKey:
		add([]byte("ssh-ed25519"), pub)
	default:
		return ""
	}
	sum := sha256.Sum256(out)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// signing returns what a log has to show of the bundle's signature.
func (b *Bundle) signing(key *Key) *signing {
	s := &signing{leaf: b.leaf, key: key, signature: b.signature()}
	if key != nil {
		s.alg = key.alg
	} else if a, err := keys.Of(b.leaf.PublicKey); err == nil {
		s.alg = a
	}
	if b.message != nil {
		s.hash, s.digest = rekordHashes[b.message.Alg], b.form.Message.Digest.Digest
		return s
	}
	sum := sha256.Sum256(b.form.Envelope.Payload)
	s.payload, s.pae = hex.EncodeToString(sum[:]), b.pae
	return s
}

// shownBy returns what an entry has to show of a signature. Rekor v1 shows statements by some
// algorithms as if they were files; it is an error if it shows one in another kind of entry.
func (s *signing) shownBy(alg keys.Algorithm, e *logged) (*signing, error) {
	if s.digest != nil || e.body.generation == 2 || alg.RekorV1 != keys.HashedRekord {
		return s, nil
	}
	if e.body.kind != string(alg.RekorV1) {
		return nil, fmt.Errorf("an entry %s, and Rekor v1 shows a statement by %s as %s", clip.Text(e.body.kind),
			alg.Name, alg.RekorV1)
	}
	out := *s
	out.hash, out.digest = alg.Hash, alg.Input(s.pae())
	return &out, nil
}
