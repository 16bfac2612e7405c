// SPDX-License-Identifier: Apache-2.0

// Package sigstore reads Sigstore's bundles and trusted roots, verifies the first under one of the
// second, and returns plain values.
package sigstore

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxBundleBytes is the largest bundle that is read.
const MaxBundleBytes = bundle.MaxBytes

const mediaType03 = "application/vnd.dev.sigstore.bundle.v0.3+json"

// bundleVersions are the media types of bundles, each with the minor number of its version.
var bundleVersions = map[string]int{
	"application/vnd.dev.sigstore.bundle+json;version=0.1": 1,
	"application/vnd.dev.sigstore.bundle+json;version=0.2": 2,
	"application/vnd.dev.sigstore.bundle+json;version=0.3": 3,
	"application/vnd.dev.sigstore.bundle.v0.1+json":        1,
	"application/vnd.dev.sigstore.bundle.v0.2+json":        2,
	mediaType03: 3,
}

// Error is why a bundle or trusted root is refused.
type Error struct {
	Reason policy.Reason
	Err    error
}

// Error returns the text of the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(r policy.Reason, format string, args ...any) *Error {
	return &Error{r, fmt.Errorf(format, args...)}
}

// Bundle is a Sigstore bundle that was parsed and not verified. All that its
// methods return are claims. A Bundle may be used by several goroutines.
type Bundle struct {
	form      *bundle.Bundle
	version   int  // 1 for media type version 0.1
	unchecked bool // v0.1 with an inclusion proof but no checkpoint to check it against
	entries   []*logged

	leaf      *x509.Certificate // nil if signed with a bare key
	signer    policy.Identity
	keyHint   string
	statement *Statement     // nil for a message signature
	message   *policy.Digest // nil for an envelope

	mu      sync.Mutex
	results map[resultKey]*verification
}

// ParseBundle reads a bundle in JSON, of media type version 0.1 to 0.3 in the
// old or the new spelling. The error is an [*Error]: BundleTooLarge,
// BundleInvalid, CertificateBad, StatementInvalid or NeedsNewerVersion.
//
// Bundle format: https://github.com/sigstore/protobuf-specs.
func ParseBundle(data []byte) (*Bundle, error) {
	form, err := bundle.Parse(data)
	if err != nil {
		var e *bundle.Error
		if errors.As(err, &e) && e.TooLarge {
			return nil, refuse(policy.BundleTooLarge, "bundle: %w", err)
		}
		return nil, refuse(policy.BundleInvalid, "not a bundle: %w", err)
	}
	b := &Bundle{form: form, results: map[resultKey]*verification{}}
	if err := b.whole(); err != nil {
		return nil, err
	}
	b.dropUncheckable()
	if err := b.readEntries(); err != nil {
		return nil, err
	}
	if err := b.keyMaterial(); err != nil {
		return nil, err
	}
	if err := b.content(); err != nil {
		return nil, err
	}
	return b, nil
}

// whole refuses a bundle of which a part is missing, or that has one that its version does not.
func (b *Bundle) whole() error {
	version, ok := bundleVersions[b.form.MediaType]
	m := b.form.Material
	switch {
	case !ok:
		return refuse(policy.BundleInvalid, "media type %q", clip.Text(b.form.MediaType))
	case b.form.Envelope == nil && b.form.Message == nil:
		return refuse(policy.BundleInvalid, "neither an envelope nor a signature")
	case m == nil || m.Certificate == nil && m.Chain == nil && m.PublicKey == nil:
		return refuse(policy.BundleInvalid, "neither a certificate nor a key")
	case version >= 3 && m.Chain != nil:
		return refuse(policy.BundleInvalid, "a chain of certificates in a bundle of version 0.3, which has one certificate")
	}
	b.version = version
	for _, e := range m.Entries {
		if e != nil && e.Time < 0 {
			return refuse(policy.BundleInvalid, "a log entry with a negative time")
		}
	}
	return nil
}

// dropUncheckable removes inclusion proofs that come without a checkpoint from
// v0.1 bundles: nothing signs their root, so they show nothing. What is left
// rests on the log's promise alone, and only rules with set-only take it.
func (b *Bundle) dropUncheckable() {
	if !strings.HasSuffix(b.form.MediaType, "version=0.1") {
		return
	}
	for _, e := range b.form.Material.Entries {
		if e != nil && e.Proof != nil && e.Proof.Checkpoint == "" && len(e.Promise) > 0 {
			e.Proof, b.unchecked = nil, true
		}
	}
}

// readEntries reads the log entries. Some one of them has a promise in version 0.1, a proof in
// later ones.
func (b *Bundle) readEntries() error {
	shown := false
	for _, e := range b.form.Material.Entries {
		read, err := readEntry(e)
		if err != nil {
			var e *Error
			if errors.As(err, &e) && e.Reason != policy.BundleInvalid {
				return e
			}
			return refuse(policy.BundleInvalid, "log entry: %w", err)
		}
		b.entries = append(b.entries, read)
		shown = shown || b.version == 1 && read.promised() || b.version > 1 && read.Proof != nil
	}
	if len(b.entries) > 0 && !shown {
		return refuse(policy.BundleInvalid, "no log entry with what version 0.%d demands: %s", b.version,
			map[bool]string{true: "a promise", false: "an inclusion proof"}[b.version == 1])
	}
	return nil
}

func (b *Bundle) keyMaterial() error {
	m := b.form.Material
	if m.PublicKey != nil {
		b.keyHint = m.PublicKey.Hint
		b.signer = policy.Identity{Kind: policy.KindKey}
		return nil
	}
	var raw []byte
	if m.Certificate != nil {
		raw = m.Certificate.Raw
	} else if len(m.Chain.Certificates) > 0 {
		raw = m.Chain.Certificates[0]
	}
	if len(raw) == 0 {
		return refuse(policy.CertificateBad, "no certificate")
	}
	var err error
	if b.leaf, err = x509.ParseCertificate(raw); err != nil {
		return refuse(policy.CertificateBad, "certificate: %w", err)
	}
	if b.leaf.IsCA {
		return refuse(policy.CertificateBad, "the bundle's first certificate is that of an authority, %q, and not a signer's",
			clip.Text(b.leaf.Subject.String()))
	}
	if err := keys.Sound(b.leaf.PublicKey); err != nil {
		var unknown *keys.Unknown
		if _, err := keys.ParseDER(b.leaf.RawSubjectPublicKeyInfo); errors.As(err, &unknown) {
			return refuse(policy.NeedsNewerVersion, "certificate: %w", err)
		}
		return refuse(policy.CertificateBad, "certificate: %w", err)
	}
	if b.signer, err = identity.FromCertificate(b.leaf); err != nil {
		return refuse(policy.CertificateBad, "certificate: %w", err)
	}
	return nil
}

// messageHashes are the digest algorithms of a message signature.
var messageHashes = map[string]string{"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}

func (b *Bundle) content() error {
	if env := b.form.Envelope; env != nil {
		if n := len(env.Signatures); n != 1 {
			return refuse(policy.BundleInvalid, "an envelope has exactly one signature, not %d", n)
		}
		if env.PayloadType != payloadInToto {
			return refuse(policy.StatementInvalid, "payload type %q is not %q", env.PayloadType, payloadInToto)
		}
		st, err := parseStatement(env.Payload)
		if err != nil {
			return refuse(policy.StatementInvalid, "statement: %w", err)
		}
		b.statement = st
		return nil
	}
	msg := b.form.Message
	if msg.Digest == nil {
		return refuse(policy.BundleInvalid, "a signature without the digest that it is over")
	}
	alg, ok := messageHashes[msg.Digest.Algorithm]
	if !ok {
		return refuse(policy.BundleInvalid, "digest algorithm %s is not supported", clip.Text(msg.Digest.Algorithm))
	}
	d := policy.Digest{Alg: alg, Hex: hex.EncodeToString(msg.Digest.Digest)}
	if len(d.Hex) != digestHexLen[alg] {
		return refuse(policy.BundleInvalid, "a %s digest of %d bytes", alg, len(d.Hex)/2)
	}
	if len(msg.Signature) == 0 {
		return refuse(policy.BundleInvalid, "an empty signature")
	}
	b.message = &d
	return nil
}

// Signer returns the identity that the certificate claims; of a bundle signed
// with a bare key only the kind is known.
func (b *Bundle) Signer() policy.Identity { return b.signer }

// KeyHint returns the hint by which the bundle names its key.
func (b *Bundle) KeyHint() string { return b.keyHint }

// Statement returns the claimed in-toto statement, nil for a message signature.
func (b *Bundle) Statement() *Statement { return b.statement }

// Payload returns the bytes that an envelope claims to sign, nil for a message
// signature. They must not be changed.
func (b *Bundle) Payload() []byte {
	if b.form.Envelope == nil {
		return nil
	}
	return b.form.Envelope.Payload
}

// signature returns the signature, which a time stamp is over.
func (b *Bundle) signature() []byte {
	if env := b.form.Envelope; env != nil {
		return env.Signatures[0].Sig
	}
	return b.form.Message.Signature
}

// Body returns the canonical body of the first entry in a log, by its hex id; nil
// if there is none.
func (b *Bundle) Body(log string) []byte {
	for _, e := range b.entries {
		if e.log == log {
			return e.Body
		}
	}
	return nil
}

// Checkpoints returns the signed notes under which it proves its log entries. Nothing of them
// is verified.
func (b *Bundle) Checkpoints() (notes [][]byte) {
	for _, e := range b.entries {
		if e.Proof != nil {
			notes = append(notes, []byte(e.Proof.Checkpoint))
		}
	}
	return notes
}

// Message returns the digest that a message signature claims to be over, and
// false for an envelope.
func (b *Bundle) Message() (policy.Digest, bool) {
	if b.message == nil {
		return policy.Digest{}, false
	}
	return *b.message, true
}

// Unchecked reports whether an inclusion proof was left aside because no
// checkpoint came with it.
func (b *Bundle) Unchecked() bool { return b.unchecked }

// MediaType returns the bundle's media type.
func (b *Bundle) MediaType() string { return b.form.MediaType }
