// SPDX-License-Identifier: Apache-2.0

// Package malice is how the services of a sandbox can misbehave on request. A
// fault is plain data; Stack.Misbehave turns it on and its result turns it off.
//
// Tokens that lie are claims.Forged.
package malice

import (
	"net/http"
	"time"
)

// Fault is one way to misbehave.
type Fault interface{ fault() }

// Faults of the transport. They apply to every request of the service; On and
// Times narrow them.
type (
	// Delay answers honestly, but late.
	Delay struct{ By time.Duration }
	// Drop takes the request and never answers.
	Drop struct{}
	// Reset closes the connection with a TCP reset instead of answering.
	Reset struct{}
	// Truncate declares the honest answer's length, sends its first bytes and
	// closes the connection.
	Truncate struct{ After int }
	// Half answers with the first half of the honest body, as if it were all.
	Half struct{}
	// Empty answers 200 with nothing.
	Empty struct{}
	// Drip sends the honest answer byte by byte, with a pause after each.
	Drip struct{ Every time.Duration }
	// Status answers with an error, such as 500, 503 or 429.
	Status struct {
		Code       int
		RetryAfter time.Duration // header, whole seconds, where positive
	}
	// WrongType answers 200 with a web page, as captive portals do.
	WrongType struct{}
	// Endless answers with a body that does not end.
	Endless struct{}
	// GzipBomb answers with a small body that unpacks to Size bytes, by default
	// 1 GiB.
	GzipBomb struct{ Size int64 }
	// Redirect sends the client to another address.
	Redirect struct{ To string }
)

// Faults of a [Line] alone.
type (
	// Refuse listens nowhere.
	Refuse struct{}
	// Untrusted speaks TLS with a certificate that nobody vouches for.
	Untrusted struct{}
)

// Faults of logs and their index.
type (
	// Fork makes a second log with the same key out of the log's present state.
	// Requests for which Victim is true go there.
	Fork struct{ Victim func(*http.Request) bool }
	// StaleCheckpoint serves the present checkpoint for ever.
	StaleCheckpoint struct{}
	// OmitIndex lets the search index of Rekor v1 find at most Keep entries.
	OmitIndex struct{ Keep int }
	// FloodIndex puts that many entries that do not exist in front of what the
	// search index of Rekor v1 finds.
	FloodIndex struct{ Entries int }
)

// Faults of keys and certificates.
type (
	// ExpiredKey publishes a trusted root in which the service's key is no
	// longer valid; on the TUF repository, a timestamp that has expired.
	ExpiredKey struct{}
	// RotatedKey makes Fulcio, the TSA or the log sign with a key that no
	// trusted root names.
	RotatedKey struct{}
	// Aged makes Fulcio issue certificates as old as that. Beyond ten minutes
	// they have expired when they are issued, and entries with them are late.
	Aged struct{ By time.Duration }
)

// Withhold makes the forge hide a ref, so that what was logged has no statement
// that anyone can read.
type Withhold struct{ Ref string }

// On narrows a fault of the transport to paths with a prefix.
type On struct {
	Path  string
	Fault Fault
}

// Times lets a fault of the transport happen to the first N requests only.
type Times struct {
	N     int
	Fault Fault
}

func (Delay) fault()           {}
func (Drop) fault()            {}
func (Reset) fault()           {}
func (Truncate) fault()        {}
func (Half) fault()            {}
func (Empty) fault()           {}
func (Refuse) fault()          {}
func (Untrusted) fault()       {}
func (Drip) fault()            {}
func (Status) fault()          {}
func (WrongType) fault()       {}
func (Endless) fault()         {}
func (GzipBomb) fault()        {}
func (Redirect) fault()        {}
func (Fork) fault()            {}
func (StaleCheckpoint) fault() {}
func (OmitIndex) fault()       {}
func (FloodIndex) fault()      {}
func (ExpiredKey) fault()      {}
func (RotatedKey) fault()      {}
func (Aged) fault()            {}
func (Withhold) fault()        {}
func (On) fault()              {}
func (Times) fault()           {}
