// SPDX-License-Identifier: Apache-2.0

// Package bundle reads and writes the JSON of Sigstore's bundles, trusted roots and signing
// configs in one way only. It gives plain structs; nothing of them is verified.
//
// Formats: https://github.com/sigstore/protobuf-specs, in the JSON of protocol buffers.
package bundle

import "time"

// Bundle is a dev.sigstore.bundle.v1.Bundle. Exactly one of Envelope and Message is set, or
// none; so it is with Certificate, Chain and PublicKey of its material.
type Bundle struct {
	MediaType string
	Material  *Material
	Envelope  *Envelope
	Message   *Message
}

// Material is what a signature is verified with.
type Material struct {
	Certificate *Certificate // media types from 0.3
	Chain       *Chain       // media types up to 0.2; leaf first
	PublicKey   *PublicKeyHint
	Entries     []*Entry
	Stamps      [][]byte // RFC 3161, DER of a TimeStampResp
}

// Certificate is one in DER.
type Certificate struct{ Raw []byte }

// Chain are certificates in DER, the signer's first.
type Chain struct{ Certificates [][]byte }

// PublicKeyHint names a key that does not stand in the bundle.
type PublicKeyHint struct{ Hint string }

// Envelope is a DSSE envelope.
type Envelope struct {
	Payload     []byte
	PayloadType string
	Signatures  []Signature
}

// Signature is one of an envelope.
type Signature struct {
	Sig   []byte
	KeyID string
}

// Message is a signature over the digest of a file.
type Message struct {
	Digest    *Digest
	Signature []byte
}

// Digest is a HashOutput. Algorithm is the name of a HashAlgorithm, such as SHA2_256.
type Digest struct {
	Algorithm string
	Digest    []byte
}

// Entry is a dev.sigstore.rekor.v1.TransparencyLogEntry.
type Entry struct {
	Index   int64
	LogID   []byte
	Kind    string // of the canonical body, with its version
	Version string
	Time    int64  // integrated, in seconds since 1970; 0 for none
	Promise []byte // signed entry timestamp
	Proof   *Proof
	Body    []byte // canonicalized
}

// Proof is an inclusion proof.
type Proof struct {
	Index      int64
	Root       []byte
	Size       int64
	Hashes     [][]byte
	Checkpoint string // a signed note
}

// TrustedRoot is a dev.sigstore.trustroot.v1.TrustedRoot.
type TrustedRoot struct {
	MediaType string
	Logs      []*Log
	CTLogs    []*Log
	Fulcio    []*Authority
	Stampers  []*Authority
}

// Log is a TransparencyLogInstance.
type Log struct {
	URL          string
	Hash         string // name of a HashAlgorithm
	Key          *PublicKey
	ID           []byte
	CheckpointID []byte
	Operator     string
}

// PublicKey is a key with the window in which it is trusted.
type PublicKey struct {
	Raw     []byte
	Details string // name of a PublicKeyDetails
	Valid   *Window
}

// Window is a time range; a zero end is open.
type Window struct{ Start, End time.Time }

// Authority is a CertificateAuthority, of Fulcio or of time stamps.
type Authority struct {
	Organization string
	CommonName   string
	URI          string
	Chain        [][]byte // DER, the root last
	Valid        *Window
	Operator     string
}

// SigningConfig is a dev.sigstore.trustroot.v1.SigningConfig of version 0.2.
type SigningConfig struct {
	MediaType              string
	CAs, OIDC, Rekor, TSA  []Service
	RekorSelect, TSASelect Select
}

// Service is where a service answers, and when.
type Service struct {
	URL      string
	Major    uint32
	Valid    *Window
	Operator string
}

// Select says how many services are used.
type Select struct {
	Selector string // name of a ServiceSelector
	Count    uint32
}

// Contains reports whether a moment is in the window, its ends included; nil has no ends.
func (w *Window) Contains(t time.Time) bool {
	return w == nil || (w.Start.IsZero() || !t.Before(w.Start)) && (w.End.IsZero() || !t.After(w.End))
}
