// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
)

// Claims is what a piece of evidence says about itself. Nobody has checked a
// signature: it may be looked at to refuse early and to find what to check, and
// it can never allow anything.
type Claims struct {
	Signer Identity
	// Tags are the spellings of the one tag that the signed content names, none
	// where it names no tag. The version in a package URL has two: first as it is
	// written, then with a leading 'v'.
	Tags          []string
	TagSource     string // where Tags stand: "package URL", or another text for messages
	GitHubRelease *GitHubRelease
	// Target is what a trust root lists with the artifact's length and digests, instead of a
	// signature: Signer is then nobody (SPEC 5.13). Version and Expires are of the metadata of the
	// role that lists it.
	Target        *RootTarget
	TargetVersion int64
	TargetExpires time.Time
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
	// Entries are the log entries whose places are known, in any order: a chain of
	// versions is judged by them, and allows nothing that is logged and has none.
	// NotBefore is that of the certificate, zero for a bare key.
	Entries   []Entry
	NotBefore time.Time
	// Promised are those of Entries that no proof covers, whatever Proven says of
	// another one.
	Promised []Entry
	// Moments say when a log of Entries had been how large, by place proofs beside the
	// evidence. They only bound its place: without them more versions may have to allow it.
	Moments []Moment
}

// Evidence is a claim whose signature, certificate chain, log entry and time
// were verified under one trusted root. The zero value allows nothing.
type Evidence struct {
	claims       Claims
	verification Verification
	verified     bool
}

// Verified declares that the signature over c was verified with result v. It
// is to be called where that happens and nowhere else.
func (c Claims) Verified(v Verification) Evidence {
	v.Times = slices.Clone(v.Times)
	// Lists have no order, and copies mean nothing (SPEC 8).
	v.Entries = slices.Clone(v.Entries)
	arrange.By(v.Entries, Entry.Compare)
	v.Entries = slices.CompactFunc(v.Entries, func(a, b Entry) bool { return a.Compare(b) == 0 })
	v.Promised, v.Moments = slices.Clone(v.Promised), slices.Clone(v.Moments)
	return Evidence{c, v, true}
}

// Claims returns what the evidence says, now verified.
func (e Evidence) Claims() Claims { return e.claims }

// Verification returns what was established.
func (e Evidence) Verification() Verification { return e.verification }

// Unfit returns the denial of what nobody verified, or verified without a time: no policy
// takes it. It is false for evidence that can be judged.
func (e Evidence) Unfit() (Decision, bool) {
	if !e.verified {
		return Decision{Reason: Internal, Detail: "the evidence was not verified"}, true
	}
	if ts := e.verification.Times; len(ts) == 0 || slices.ContainsFunc(ts, time.Time.IsZero) {
		return Decision{Reason: EvidenceUntimed}, true
	}
	return Decision{}, false
}

// At returns the evidence as it counts at one of its places, where nothing may prove its
// inclusion although something does elsewhere.
func (e Evidence) At(place Entry) Evidence {
	e.verification.Proven = e.verification.Proven && !e.verification.PromisedOnly(place)
	return e
}

// PromisedOnly reports whether nothing but the log's word says that it has the
// entry at its place. A proof of another entry is none of this one.
func (v *Verification) PromisedOnly(e Entry) bool {
	return slices.ContainsFunc(v.Promised, e.Same)
}

// Bounds returns the earliest and the latest trusted time.
func (v *Verification) Bounds() (lower, upper time.Time) {
	return slices.MinFunc(v.Times, time.Time.Compare), slices.MaxFunc(v.Times, time.Time.Compare)
}
