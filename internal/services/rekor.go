// SPDX-License-Identifier: Apache-2.0

package services

import (
	"fmt"

	"github.com/repopolicy/repopolicy/internal/bundle"
)

// Proposal is a signature that a log is asked to show.
type Proposal struct {
	// Envelope is what Rekor v1 shows as an entry of kind dsse; nil for one of kind hashedrekord.
	Envelope *bundle.Envelope
	Digest   []byte // what was signed; Rekor v2 shows only that
	// Signature is over the digest, or the envelope's.
	Signature   []byte
	Verifier    []byte // DER of the certificate or of the key
	Certificate bool   // which of them
	Details     string // name of the algorithm in PublicKeyDetails
}

// Exists is the error of a log that has an entry already: as Rekor v2 says, at an index.
type Exists struct{ Index int64 }

func (e *Exists) Error() string { return fmt.Sprintf("the log has the entry already, at %d", e.Index) }

func (p *Proposal) pem() []byte {
	if p.Certificate {
		return inPEM(pemCertificate, p.Verifier)
	}
	return inPEM(pemKey, p.Verifier)
}
