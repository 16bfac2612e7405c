// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// Verified is what the verification of a bundle established, in plain values.
type Verified struct {
	Root    string          // name of the trusted root under which it verified
	Signer  policy.Identity // who signed, by that root: of a key its id
	KeyID   string          // of the key that signed; "" for a certificate
	Times   []Time          // at least one
	Entries []LogEntry      // none if the evidence is unlogged
	// NotBefore and NotAfter are the window of the certificate; zero for a key, and for a
	// certificate that is not Fulcio's: no log shows when that was made.
	NotBefore, NotAfter time.Time
}

// Time is one trusted time of a signature.
type Time struct {
	Time   time.Time // UTC
	Source string    // "log" for a signed entry timestamp, "tsa" for an RFC 3161 time stamp
	URI    string    // the log or authority, as the trusted root names it
}

// LogEntry is the place of a verified log entry. Only values that a signature
// or proof covers are in it (DESIGN 6).
type LogEntry struct {
	LogID  string // hex of the log's key id
	Origin string // of the checkpoint; "" without one
	Proven bool   // included under a signed checkpoint
	// TreeIndex and TreeSize are what the inclusion proof covers; -1 without one.
	TreeIndex, TreeSize int64
	// PromisedIndex is the index that the signed entry timestamp of a Rekor v1
	// log covers, counted over all its shards; -1 without one.
	PromisedIndex int64
	// Generation is 1 for Rekor v1, 2 for Rekor v2.
	Generation int
	// Time is what the signed entry timestamp covers; zero without one.
	Time     time.Time
	Body     string // hex SHA-256 of the canonical body
	LeafHash string // hex hash of the leaf (RFC 6962, section 2.1)
	// Readable says that, of an entry that a workflow's certificate signed, those
	// who read the log see as much as those who have the bundle.
	Readable bool
	// Checkpoint is the one that the inclusion proof ends at; nil without one.
	Checkpoint *Checkpoint
}

// Place returns the entry as chains of versions are judged by: its index is the
// one that proof or promise covers; negative where neither does.
func (v *Verified) Place(e LogEntry) policy.Entry {
	out := policy.Entry{Log: e.LogID, Index: e.TreeIndex, Time: e.Time, NotBefore: v.NotBefore, NotAfter: v.NotAfter}
	if e.Generation == 1 {
		out.Index = e.PromisedIndex
	}
	return out
}

// Placed is an entry that has a place in the order of its log.
type Placed struct {
	LogEntry
	At policy.Entry
}

// Placed returns the entries that have a place in the order of their logs. An
// entry of Rekor v1 whose promise is missing has none.
func (v *Verified) Placed() []Placed {
	var out []Placed
	for _, e := range v.Entries {
		if at := v.Place(e); at.Index >= 0 {
			out = append(out, Placed{e, at})
		}
	}
	return out
}

// Verification returns the result in the policy's terms. Each entry that has a
// place is in it once; one without stands for nothing but that there is an entry,
// and perhaps a proof, so that a chain of versions refuses evidence that has no
// other (SPEC 8.4).
func (v *Verified) Verification() policy.Verification {
	out := policy.Verification{Logged: len(v.Entries) > 0, NotBefore: v.NotBefore}
	proven := map[policy.Entry]bool{}
	for _, p := range v.Placed() {
		if _, twice := proven[p.At]; !twice {
			out.Entries = append(out.Entries, p.At)
		}
		proven[p.At] = proven[p.At] || p.Proven
	}
	for _, e := range out.Entries {
		if !proven[e] {
			out.Promised = append(out.Promised, e)
		}
	}
	for _, t := range v.Times {
		out.Times = append(out.Times, t.Time)
	}
	for _, e := range v.Entries {
		out.Proven = out.Proven || e.Proven
	}
	return out
}
