// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Binding is what a certificate proves by itself about the repository that
// signed with it (SPEC 7). The zero value proves nothing.
type Binding struct {
	Repository   policy.Locator
	RepositoryID string // extension .15
	OwnerID      string // extension .17
	// Ref, if set, is the branch that signed where the certificate cannot show
	// that it is the default branch. It then counts only if the forge advertises
	// it as such.
	Ref string
}

// IsZero reports whether nothing is proven.
func (b Binding) IsZero() bool { return b.Repository.IsZero() || b.RepositoryID == "" }

// SignatureFacts describe one signature over a statement, in one log entry. A
// signature that is in two logs is described twice.
type SignatureFacts struct {
	Statement string // hex digest of the payload
	Signer    policy.Identity
	Entry     policy.Entry
	// Doubt says why it completes no quorum although it verifies: CertificateRevoked or
	// RevocationUnknown, and why in words; "" for a signature that counts. Body is then the hex
	// SHA-256 of the canonical body of the log entry.
	Doubt     policy.Reason
	Why, Body string
}

// Signature is a signature over a statement of which signature, certificate
// chain, log entry and time were verified under one trusted root. The zero
// value counts for nothing.
type Signature struct {
	facts    SignatureFacts
	verified bool
}

// Verified declares that a signature was verified. It is to be called where
// that happens and nowhere else.
func (f SignatureFacts) Verified() Signature { return Signature{f, true} }

// LeafFacts describe one log entry whose certificate belongs to the trusted
// root.
type LeafFacts struct {
	// Payload or PAE, hex, is what the entry shows of its statement: the digest
	// of the payload in a Rekor v1 entry, of the pre-authentication encoding in
	// a Rekor v2 entry.
	Payload, PAE string
	Body         string  // hex SHA-256 of the entry's canonical body
	Binding      Binding // zero if the certificate proves no repository
	Entry        policy.Entry
}

// Leaf is a log entry of which signature, certificate chain and place in the log
// were verified under one trusted root. The zero value counts for nothing.
type Leaf struct {
	facts    LeafFacts
	verified bool
}

// Verified declares that a log entry was verified. It is to be called where that
// happens and nowhere else.
func (f LeafFacts) Verified() Leaf { return Leaf{f, true} }

// Facts returns what was verified.
func (l Leaf) Facts() LeafFacts { return l.facts }

// Kept is what an earlier run verified and kept. The zero value is a first use.
type Kept struct {
	// Chain lists the digests of the statements of the chain, genesis first.
	Chain []string `json:"chain,omitempty"`
}

// readTick says that a log had reached a moment by the entry at an index. The zero value says
// nothing.
type readTick struct {
	log   string
	index int64
	at    time.Time
}

// newTick declares that an entry up to that index of the log carries a certificate of the
// trusted root that was issued at that moment, as whoever read all of them found. It is to
// be called where that happens and nowhere else.
func newTick(log string, index int64, at time.Time) readTick { return readTick{log, index, at} }

// History is everything that is at hand about the policy of one repository.
// Order means nothing in any of its lists.
type History struct {
	Repository policy.Locator // that was asked for
	// MaintainersBind says that the host's certificates do not prove which repository spoke: the
	// maintainers' own entries bind then, and the genesis is no more than claimed. Elsewhere
	// only the repository's workflow binds.
	MaintainersBind bool
	// DefaultRefs are the refs that the forge advertises as the default branch;
	// only bindings with a Ref need them.
	DefaultRefs []string
	Logs        []policy.Log
	Statements  []Statement
	Signatures  []Signature
	Leaves      []Leaf
	Directory   *Directory // nil without one
	Moments     []policy.Moment
	clock       []readTick // what the view has read of the logs
	Kept        Kept
	Pin         string // hex digest of statement 1 that the user named; "" without
	Anchor      string // hex digest of statement 1 that a super root names; "" without
	// Ids are the numbers that the first version's repository must have: those that the user's lock
	// names, of when nothing was bound (SPEC 9.3). Zero for any.
	Ids  policy.Ids
	View View
	// LogForks say which logs contradict themselves, and how. None of them can
	// decide anything.
	LogForks []string
	// Unproven say of which logs nothing shows that what is at hand of them is of one
	// history although they were asked, Unasked where nobody could be.
	Unproven, Unasked []string
	// Lies say which directories signed what is not true, and how.
	Lies []string
	// Now is the moment of judging.
	Now time.Time
}

// View is how complete the entries at hand are, and as of when.
type View struct {
	Completeness Completeness
	AsOf         time.Time // zero if nothing says so
	// Inputs is when the newest of what was read was made, of the open log of which that is
	// the longest ago; zero if nothing says so.
	Inputs time.Time
}

// Completeness says what is known about entries that are not at hand (SPEC 9).
type Completeness string

// The levels, best first.
const (
	CompleteProven  Completeness = "proven"
	CompleteSigned  Completeness = "signed"
	CompleteScanned Completeness = "scanned"
	CompleteHinted  Completeness = "hinted"
	CompleteNone    Completeness = "none"
)

// Beats reports whether c says more than other does.
func (c Completeness) Beats(other Completeness) bool {
	return completenessRank[c] > completenessRank[other]
}

// Limits of a history. What exceeds them is not judged.
const (
	maxVersions   = spelling.MaxVersions
	maxStatements = 20_000
	maxEntries    = 200_000 // signatures and leaves

	maxGeneses  = 1000
	maxBindings = 1000 // of one statement in one log
)
