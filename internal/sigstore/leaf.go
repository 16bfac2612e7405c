// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/identity"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Log is a transparency log of a trusted root.
type Log struct {
	policy.Log
	URL string // base URL, as the trusted root gives it
}

// Logs returns the transparency logs of the root with the windows in which they
// are trusted, in a fixed order. The trusted root does not say of which generation
// a log is: a Rekor v1 log is named by the SHA-256 of its key, a Rekor v2 shard by
// that of its checkpoints' key (C2SP signed-note). A log that is taken for another
// generation than it is orders nothing.
func (r *Root) Logs() []Log {
	var out []Log
	for id, l := range r.logs {
		g := 2
		if l.ownID {
			g = 1
		}
		out = append(out, Log{policy.Log{ID: id, Generation: g, Start: l.start, End: l.end}, l.url})
	}
	arrange.By(out, func(a, b Log) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Leaf is a log entry that was verified without what was signed: its certificate
// chains to the trusted root and was in the certificate transparency log, and the
// log vouches for the entry.
type Leaf struct {
	Signer policy.Identity
	// Payload or PAE, hex, is what the entry shows of an envelope; see
	// [chain.LeafFacts].
	Payload, PAE string
	Body         string // hex SHA-256 of the canonical body
	LeafHash     string // hex
	Place        policy.Entry
}

// claimed reads a certificate and whom it claims to be for.
func claimed(der []byte) (*x509.Certificate, policy.Identity, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, policy.Identity{}, &Error{policy.CertificateBad, err}
	}
	id, err := identity.FromCertificate(cert)
	if err != nil {
		return nil, policy.Identity{}, &Error{policy.CertificateBad, err}
	}
	return cert, id, nil
}

// certified verifies a certificate at a moment.
func (r *Root) certified(cert *x509.Certificate, at time.Time) error {
	path, refused := r.issued(cert, at)
	if refused != nil {
		return refused
	}
	if len(r.ct) > 0 {
		if err := checkSCT(cert, path[1], r.ct); err != nil {
			return &Error{policy.SCTInvalid, err}
		}
	}
	return nil
}

// EntryV1 is an entry as Rekor v1 answers it, which nobody has verified.
type EntryV1 struct {
	Signer   policy.Identity // that the certificate claims
	LeafHash string          // hex
	entry    *logged
	leaf     Leaf
	cert     *x509.Certificate
}

// ParseEntryV1 reads an entry of Rekor v1. Entries of other kinds than dsse
// 0.0.1, and by bare keys, are errors, since they bind nothing; then too the hash
// of the leaf is returned. It is empty where what stands around the body is at
// fault, which says nothing about the body.
//
// API: https://github.com/sigstore/rekor/blob/main/openapi.yaml (LogEntry).
func ParseEntryV1(data []byte) (*EntryV1, error) {
	var e struct {
		Body           canonical.Bytes  `json:"body"`
		IntegratedTime canonical.Number `json:"integratedTime"`
		LogID          string           `json:"logID"`
		LogIndex       canonical.Number `json:"logIndex"`
		Verification   struct {
			Promise canonical.Bytes `json:"signedEntryTimestamp"`
		} `json:"verification"`
	}
	out := &EntryV1{}
	if err := json.Unmarshal(data, &e); err != nil {
		return out, &Error{policy.LogInvalid, err}
	}
	id, err := hex.DecodeString(e.LogID)
	if err != nil {
		return out, &Error{policy.LogInvalid, err}
	}
	out.LeafHash = LeafHash(e.Body)
	body, err := parseBodyV1(e.Body)
	if err != nil {
		return out, err
	}
	cert, signer, err := claimed(body.verifier)
	if err != nil {
		return out, err
	}
	out.Signer, out.cert = signer, cert
	entry := &bundle.Entry{
		Index: int64(e.LogIndex), LogID: id, Kind: body.kind, Version: body.version, Time: int64(e.IntegratedTime),
		Promise: e.Verification.Promise, Body: e.Body,
	}
	out.entry = &logged{Entry: entry, log: hex.EncodeToString(id), body: body}
	out.leaf = Leaf{
		Signer: out.Signer, Payload: body.payload, Body: spelling.Sum(e.Body), LeafHash: out.LeafHash,
		Place: policy.Entry{
			Log: e.LogID, Index: int64(e.LogIndex), Time: time.Unix(int64(e.IntegratedTime), 0).UTC(),
			NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		},
	}
	return out, nil
}

// parseBodyV1 reads the body of an entry of kind dsse that a certificate signed.
func parseBodyV1(data []byte) (*entryBody, error) {
	body, err := readBody(data)
	if err != nil {
		return nil, refuse(policy.LogInvalid, "%w", err)
	}
	if body.kind != "dsse" {
		return nil, refuse(policy.LogInvalid, "an entry of kind %q", clip.Text(body.kind))
	}
	if !body.certificate {
		return nil, refuse(policy.CertificateBad, "signed with a bare key")
	}
	return body, nil
}

// Index returns the place that the service claims for the entry.
func (e *EntryV1) Index() int64 { return e.leaf.Place.Index }

// NotBefore returns when the certificate begins that the entry claims.
func (e *EntryV1) NotBefore() time.Time { return e.leaf.Place.NotBefore }

// Issued returns why the certificate of an entry is none of this trusted root, at whatever
// moment it was used: of all that is around the body nothing is looked at.
func (r *Root) Issued(e *EntryV1) error {
	if e == nil || e.cert == nil {
		return refuse(policy.Internal, "no entry")
	}
	return r.certified(e.cert, e.cert.NotBefore)
}

// VerifyV1 verifies the log's promise over body, time and index of an entry, and
// the certificate at that time. The error is an [*Error]: CertificateChain or
// SCTInvalid if the certificate is not one of this trusted root, or not at that time,
// TimeInvalid if the log's key was not trusted then.
func (r *Root) VerifyV1(e *EntryV1) (*Leaf, error) {
	if e == nil || e.entry == nil {
		return nil, refuse(policy.Internal, "no entry")
	}
	at := e.leaf.Place
	log := r.logs[at.Log]
	if log == nil {
		return nil, refuse(policy.LogInvalid, "the log %s is not in the trusted root", clip.Text(at.Log))
	}
	// Whether the log says so comes first: of a time that it does not vouch for nothing follows.
	if err := log.checkPromise(e.entry); err != nil {
		return nil, &Error{policy.LogInvalid, err}
	}
	if !within(at.Time, log) {
		return nil, refuse(policy.TimeInvalid, "logged %s, when the trusted root did not trust this log's key",
			at.Time.Format(time.RFC3339))
	}
	if err := r.certified(e.cert, at.Time); err != nil {
		return nil, err
	}
	leaf := e.leaf
	return &leaf, nil
}

// EntryV2 is the body of an entry of Rekor v2, which nobody has verified.
type EntryV2 struct {
	Signer            policy.Identity // that the certificate claims
	cert              *x509.Certificate
	body              []byte
	digest, signature []byte
}

// ParseEntryV2 reads the body of an entry. Bodies of other kinds than hashedrekord
// 0.0.2, and by other signers than a certificate, are errors: they bind nothing.
//
// Format: https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md.
func ParseEntryV2(data []byte) (*EntryV2, error) {
	body, err := readBody(data)
	if err != nil {
		return nil, refuse(policy.LogInvalid, "%w", err)
	}
	if body.generation != 2 || !body.certificate || body.hash != crypto.SHA256 {
		return nil, refuse(policy.LogInvalid, "an entry of kind %q that no certificate signed over a SHA-256",
			clip.Text(body.kind))
	}
	cert, signer, err := claimed(body.verifier)
	if err != nil {
		return nil, err
	}
	return &EntryV2{signer, cert, data, body.digest, body.signature}, nil
}

// NotBefore returns when the certificate begins that the entry claims.
func (e *EntryV2) NotBefore() time.Time { return e.cert.NotBefore.UTC() }

// IssuedV2 returns why the certificate of an entry is none of this trusted root.
func (r *Root) IssuedV2(e *EntryV2) error { return r.certified(e.cert, e.cert.NotBefore) }

// VerifyV2 verifies an entry of a Rekor v2 log by its body: the signature over the
// digest that it shows, and the certificate, for a P-256 key, of which the log does
// not say when it signed. That the body is at that index of the log is for the
// caller to prove.
func (r *Root) VerifyV2(log string, index int64, e *EntryV2) (*Leaf, error) {
	if e == nil || e.cert == nil {
		return nil, refuse(policy.Internal, "no entry")
	}
	pub := p256(e.cert)
	if pub == nil {
		return nil, refuse(policy.CertificateBad, "the certificate is not for a P-256 key")
	}
	if !ecdsa.VerifyASN1(pub, e.digest, e.signature) {
		return nil, refuse(policy.SignatureInvalid, "the entry's signature does not verify")
	}
	if err := r.certified(e.cert, e.cert.NotBefore); err != nil {
		return nil, err
	}
	return &Leaf{
		Signer: e.Signer, PAE: hex.EncodeToString(e.digest), Body: spelling.Sum(e.body), LeafHash: LeafHash(e.body),
		Place: policy.Entry{Log: log, Index: index, NotBefore: e.cert.NotBefore.UTC(), NotAfter: e.cert.NotAfter.UTC()},
	}, nil
}

func p256(cert *x509.Certificate) *ecdsa.PublicKey {
	if pub, ok := cert.PublicKey.(*ecdsa.PublicKey); ok && pub.Curve == elliptic.P256() {
		return pub
	}
	return nil
}

// readable reports whether those who have only the log's body read the entry, by this certificate of a
// bundle, as [ParseEntryV1] and [Root.VerifyV2] do.
func readable(body *entryBody, leaf *x509.Certificate) bool {
	if body.by(leaf, nil) != nil {
		return false
	}
	if body.generation == 2 {
		return body.hash == crypto.SHA256 && p256(leaf) != nil
	}
	return body.kind == "dsse"
}

// LeafHash returns the hex hash of a leaf with that body (RFC 6962, section 2.1).
func LeafHash(body []byte) string {
	return hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(body))
}
