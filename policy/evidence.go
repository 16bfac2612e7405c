// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"
)

// Claims is what a piece of evidence says about itself. Nobody has checked a
// signature: it may be looked at to refuse early and to find what to check, and
// it can never allow anything.
type Claims struct {
	Signer Identity
	// Tags are the spellings of the one tag that the signed content names, none
	// where it names no tag. The version in a package URL has two: with and
	// without a leading 'v'.
	Tags          []string
	TagSource     string // where Tags stand, for messages
	GitHubRelease *GitHubRelease
}

// GitHubRelease is the predicate of GitHub's immutable-release attestations,
// https://in-toto.io/attestation/release/v0.1.
type GitHubRelease struct {
	Repository   string // "owner/name"
	RepositoryID string
	OwnerID      string
	Tag          string
}

// Verification is what the checks of signature, certificate, log and time
// established.
type Verification struct {
	Times  []time.Time // every trusted time; at least one
	Logged bool        // a transparency log's signature over the entry was verified
	Proven bool        // inclusion was proven under a signed checkpoint, not only promised
	// Entries are the log entries, where their places are known: a chain of
	// versions is judged by them. NotBefore is that of the certificate, zero for a
	// bare key.
	Entries   []Entry
	NotBefore time.Time
}

// Evidence is a claim whose signature, certificate chain, log entry and time
// were verified under one trusted root. The zero value allows nothing.
type Evidence struct {
	claims       Claims
	verification Verification
	verified     bool
}

// NewEvidence declares that the signature over c was verified with result v. It
// is to be called where that happens and nowhere else.
func NewEvidence(c Claims, v Verification) Evidence {
	v.Times = slices.Clone(v.Times)
	v.Entries = slices.Clone(v.Entries)
	return Evidence{c, v, true}
}

// Claims returns what the evidence says, now verified.
func (e Evidence) Claims() Claims { return e.claims }

// Verification returns what was established.
func (e Evidence) Verification() Verification { return e.verification }

// bounds returns the earliest and the latest trusted time.
func (v *Verification) bounds() (lower, upper time.Time) {
	return slices.MinFunc(v.Times, time.Time.Compare), slices.MaxFunc(v.Times, time.Time.Compare)
}
