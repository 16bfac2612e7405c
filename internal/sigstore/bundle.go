// SPDX-License-Identifier: Apache-2.0

// Package sigstore is the one adapter to sigstore-go: it reads bundles and
// trusted roots, verifies the first under one of the second, and returns plain
// values. No other package of repopolicy sees a Sigstore type.
package sigstore

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of a bundle (SECURITY 5), checked before any signature is.
const (
	MaxBundleBytes = 4 << 20
	maxLogEntries  = 32
	maxTimestamps  = 32
	maxCertChain   = 10
	maxProofHashes = 64
	maxDERBytes    = 64 << 10 // of a certificate or time stamp
	// maxValues is how many JSON values a bundle or the body of a log entry has at
	// most: each becomes some hundred bytes, however few it has in the text.
	maxValues = 10_000
)

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
	pb        *protobundle.Bundle
	unchecked bool // v0.1 with an inclusion proof but no checkpoint to check it against
	lib       *bundle.Bundle
	entries   []*tlog.Entry

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
// BundleInvalid, CertificateBad or StatementInvalid.
//
// Bundle format: https://github.com/sigstore/protobuf-specs.
func ParseBundle(data []byte) (*Bundle, error) {
	if len(data) > MaxBundleBytes {
		return nil, refuse(policy.BundleTooLarge, "bundle of %d bytes, at most %d are read", len(data), MaxBundleBytes)
	}
	if n := strictjson.Size(data); n > maxValues {
		return nil, refuse(policy.BundleTooLarge, "a bundle of some %d values, at most %d are read", n, maxValues)
	}
	pb := &protobundle.Bundle{}
	if err := protojson.Unmarshal(data, pb); err != nil {
		return nil, refuse(policy.BundleInvalid, "not a bundle: %s", cleanProto(err))
	}
	b := &Bundle{pb: pb, results: map[resultKey]*verification{}}
	if err := b.caps(); err != nil {
		return nil, err
	}
	if err := b.algorithms(); err != nil {
		return nil, err
	}
	b.dropUncheckable()
	// sigstore-go checks version, key material and log entries against each other.
	var err error
	if b.lib, err = bundle.NewBundle(b.pb); err != nil {
		return nil, refuse(policy.BundleInvalid, "not a valid bundle: %w", err)
	}
	if b.entries, err = b.lib.TlogEntries(); err != nil {
		return nil, refuse(policy.BundleInvalid, "log entry: %w", err)
	}
	if err := b.keyMaterial(); err != nil {
		return nil, err
	}
	if err := b.content(); err != nil {
		return nil, err
	}
	return b, nil
}

// cleanProto removes the non-breaking spaces that protobuf puts into errors to
// keep programs from matching them.
func cleanProto(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: "), "\n", " ")
}

func (b *Bundle) caps() error {
	vm := b.pb.GetVerificationMaterial()
	if n := len(vm.GetTlogEntries()); n > maxLogEntries {
		return refuse(policy.BundleTooLarge, "%d log entries, at most %d are read", n, maxLogEntries)
	}
	if n := len(vm.GetTimestampVerificationData().GetRfc3161Timestamps()); n > maxTimestamps {
		return refuse(policy.BundleTooLarge, "%d time stamps, at most %d are read", n, maxTimestamps)
	}
	if n := len(vm.GetX509CertificateChain().GetCertificates()); n > maxCertChain {
		return refuse(policy.BundleTooLarge, "%d certificates, at most %d are read", n, maxCertChain)
	}
	for _, c := range append(vm.GetX509CertificateChain().GetCertificates(), vm.GetCertificate()) {
		if n := len(c.GetRawBytes()); n > maxDERBytes {
			return refuse(policy.BundleTooLarge, "a certificate of %d bytes, at most %d are read", n, maxDERBytes)
		}
	}
	for _, s := range vm.GetTimestampVerificationData().GetRfc3161Timestamps() {
		if n := len(s.GetSignedTimestamp()); n > maxDERBytes {
			return refuse(policy.BundleTooLarge, "a time stamp of %d bytes, at most %d are read", n, maxDERBytes)
		}
	}
	for _, e := range vm.GetTlogEntries() {
		if n := len(e.GetInclusionProof().GetHashes()); n > maxProofHashes {
			return refuse(policy.BundleTooLarge, "%d hashes in an inclusion proof, at most %d are read", n, maxProofHashes)
		}
		if n := strictjson.Size(e.GetCanonicalizedBody()); n > maxValues {
			return refuse(policy.BundleTooLarge, "the body of a log entry has some %d values, at most %d are read", n, maxValues)
		}
		if e.GetIntegratedTime() < 0 {
			return refuse(policy.BundleInvalid, "a log entry with a negative time")
		}
	}
	return nil
}

// dropUncheckable removes inclusion proofs that come without a checkpoint from
// v0.1 bundles: nothing signs their root, so they show nothing. What is left
// rests on the log's promise alone, and only rules with set-only take it.
func (b *Bundle) dropUncheckable() {
	if !strings.HasSuffix(b.pb.GetMediaType(), "version=0.1") {
		return
	}
	for i, e := range b.pb.GetVerificationMaterial().GetTlogEntries() {
		if e.GetInclusionProof() == nil || e.GetInclusionProof().GetCheckpoint().GetEnvelope() != "" ||
			len(e.GetInclusionPromise().GetSignedEntryTimestamp()) == 0 {
			continue
		}
		if !b.unchecked {
			b.pb = proto.Clone(b.pb).(*protobundle.Bundle)
			b.unchecked = true
		}
		b.pb.VerificationMaterial.TlogEntries[i].InclusionProof = nil
	}
}

func (b *Bundle) keyMaterial() error {
	vc, err := b.lib.VerificationContent()
	if err != nil {
		return refuse(policy.CertificateBad, "key material: %w", err)
	}
	if k := vc.PublicKey(); k != nil {
		b.keyHint = k.Hint()
		b.signer = policy.Identity{Kind: policy.KindKey}
		return nil
	}
	b.leaf = vc.Certificate()
	if b.leaf == nil {
		return refuse(policy.BundleInvalid, "neither a certificate nor a key")
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

// hashNames are the digest algorithms of a message signature.
var hashNames = map[protocommon.HashAlgorithm]string{
	protocommon.HashAlgorithm_SHA2_256: "sha256",
	protocommon.HashAlgorithm_SHA2_384: "sha384",
	protocommon.HashAlgorithm_SHA2_512: "sha512",
}

func (b *Bundle) content() error {
	if env := b.pb.GetDsseEnvelope(); env != nil {
		if n := len(env.GetSignatures()); n != 1 {
			return refuse(policy.BundleInvalid, "an envelope has exactly one signature, not %d", n)
		}
		if env.GetPayloadType() != payloadInToto {
			return refuse(policy.StatementInvalid, "payload type %q is not %q", env.GetPayloadType(), payloadInToto)
		}
		st, err := parseStatement(env.GetPayload())
		if err != nil {
			return refuse(policy.StatementInvalid, "statement: %w", err)
		}
		b.statement = st
		return nil
	}
	msg := b.pb.GetMessageSignature()
	alg, ok := hashNames[msg.GetMessageDigest().GetAlgorithm()]
	if !ok {
		return refuse(policy.BundleInvalid, "digest algorithm %s is not supported", msg.GetMessageDigest().GetAlgorithm())
	}
	d := policy.Digest{Alg: alg, Hex: hex.EncodeToString(msg.GetMessageDigest().GetDigest())}
	if len(d.Hex) != digestHexLen[alg] {
		return refuse(policy.BundleInvalid, "a %s digest of %d bytes", alg, len(d.Hex)/2)
	}
	if len(msg.GetSignature()) == 0 {
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
func (b *Bundle) Payload() []byte { return b.pb.GetDsseEnvelope().GetPayload() }

// signature returns the signature, which a time stamp is over.
func (b *Bundle) signature() []byte {
	if env := b.pb.GetDsseEnvelope(); env != nil {
		return env.GetSignatures()[0].GetSig()
	}
	return b.pb.GetMessageSignature().GetSignature()
}

// Body returns the canonical body of the first entry in a log, by its hex id; nil
// if there is none.
func (b *Bundle) Body(log string) []byte {
	for _, e := range b.pb.GetVerificationMaterial().GetTlogEntries() {
		if hex.EncodeToString(e.GetLogId().GetKeyId()) == log {
			return e.GetCanonicalizedBody()
		}
	}
	return nil
}

// Checkpoints returns the signed notes under which it proves its log entries. Nothing of them
// is verified.
func (b *Bundle) Checkpoints() (notes [][]byte) {
	for _, e := range b.pb.GetVerificationMaterial().GetTlogEntries() {
		if note := e.GetInclusionProof().GetCheckpoint().GetEnvelope(); note != "" {
			notes = append(notes, []byte(note))
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
func (b *Bundle) MediaType() string { return b.pb.GetMediaType() }
