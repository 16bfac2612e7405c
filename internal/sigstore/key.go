// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// This file is about signatures of bare keys: each key signs by the one algorithm that
// the registry has for it (SPEC 3.6), whatever a bundle or log entry says.

// Key is a public key that may have signed a bundle, with its lifetime.
type Key struct {
	id       string
	alg      keys.Algorithm
	expiring *root.ExpiringKey
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
	return &Key{pub.ID, pub.Algorithm, root.NewExpiringKey(verifier{pub}, start, end)}, nil
}

// verifier is a key as sigstore-go verifies with it.
type verifier struct{ key *keys.Public }

// PublicKey implements [signature.Verifier].
func (v verifier) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return v.key.Key, nil
}

// VerifySignature implements [signature.Verifier]. Of the options it takes the digest that is
// given instead of the message, and no hash.
func (v verifier) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	raw, err := io.ReadAll(sig)
	if err != nil {
		return err
	}
	var input []byte
	for _, o := range opts {
		o.ApplyDigest(&input)
	}
	if input == nil {
		text, err := io.ReadAll(message)
		if err != nil {
			return err
		}
		input = v.key.Algorithm.Input(text)
	}
	if !v.key.Algorithm.Verify(v.key.Key, input, raw) {
		return errors.New("no signature by the key and " + v.key.Algorithm.Name)
	}
	return nil
}

// madeBy reports whether the key made the bundle's signature, over the digest or the statement.
// Whatever else is wrong with a bundle, one that another key signed says nothing about this one.
func (b *Bundle) madeBy(key *Key, digest policy.Digest) (bool, error) {
	pub, err := key.expiring.PublicKey()
	if err != nil {
		return false, &Error{policy.Internal, err}
	}
	var input []byte
	if env := b.pb.GetDsseEnvelope(); env != nil {
		input = key.alg.Input(dsse.PAE(env.GetPayloadType(), env.GetPayload()))
	} else if input, err = hex.DecodeString(digest.Hex); err != nil {
		return false, &Error{policy.Internal, err}
	}
	return key.alg.Verify(pub, input, b.signature()), nil
}

// algorithms refuses a bundle of which a log entry names an algorithm that Sigstore's registry, as
// it is known here, does not have: a newer program may read it (SPEC 3.6).
func (b *Bundle) algorithms() error {
	for _, e := range b.pb.GetVerificationMaterial().GetTlogEntries() {
		var body struct {
			Spec struct {
				HashedRekordV002 struct {
					Signature struct{ Verifier struct{ KeyDetails any } }
				}
			}
		}
		if json.Unmarshal(e.GetCanonicalizedBody(), &body) != nil {
			continue // which is another fault
		}
		name, ok := body.Spec.HashedRekordV002.Signature.Verifier.KeyDetails.(string)
		if _, known := protocommon.PublicKeyDetails_value[name]; ok && name != "" && !known {
			return refuse(policy.NeedsNewerVersion, "signed by the algorithm %q, which this program does not know",
				clip.Text(name))
		}
	}
	return nil
}

// hashNumbers are the hashes of the registry in a bundle.
var hashNumbers = map[crypto.Hash]protocommon.HashAlgorithm{
	crypto.SHA256: protocommon.HashAlgorithm_SHA2_256,
	crypto.SHA384: protocommon.HashAlgorithm_SHA2_384,
	crypto.SHA512: protocommon.HashAlgorithm_SHA2_512,
}

// shownBy returns what an entry shows of a statement, if that is a digest; nil for the envelope
// itself. It is an error if Rekor v1 shows signatures by the algorithm in another kind of entry.
func (b *Bundle) shownBy(alg keys.Algorithm, entry *tlog.Entry) (verify.SignatureContent, error) {
	env := b.pb.GetDsseEnvelope()
	if env == nil || entry.IsRekorV2() || alg.RekorV1 != keys.HashedRekord {
		return nil, nil
	}
	var body struct{ Kind string }
	if err := json.Unmarshal(entry.TransparencyLogEntry().GetCanonicalizedBody(), &body); err != nil {
		return nil, err
	}
	if body.Kind != string(alg.RekorV1) {
		return nil, fmt.Errorf("an entry %s, and Rekor v1 shows a statement by %s as %s", clip.Text(body.Kind),
			alg.Name, alg.RekorV1)
	}
	digest := alg.Input(dsse.PAE(env.GetPayloadType(), env.GetPayload()))
	return bundle.NewMessageSignature(digest, hashNumbers[alg.Hash].String(), b.signature()), nil
}
