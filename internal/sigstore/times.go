// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// This file finds every trusted time of a signature (SPEC 5.7). With only one of each authority and
// of each log, the first, a rule with bounds would depend on the order in which a bundle lists them.

const (
	sourceLog = "log"
	sourceTSA = "tsa"
)

// vouched returns the entries, without copies, for which a log of the root vouches
// and that are about this signature; the others count as absent. The error says
// why the last of those is one of them. It is BundleInvalid, and none counts, if one is about
// another signature, and no log can have it.
func (b *Bundle) vouched(r *Root, s *signing, alg keys.Algorithm) (out []*logged, why *Error) {
	for i, entry := range b.entries {
		copied := func(o *logged) bool { return reflect.DeepEqual(o.Entry, entry.Entry) }
		if slices.ContainsFunc(b.entries[:i], copied) {
			continue
		}
		shown, err := s.shownBy(alg, entry)
		if err == nil {
			err = entry.shows(shown)
		}
		if err != nil && !entry.body.sound() {
			return nil, refuse(policy.BundleInvalid, "log entry: no log takes a signature that does not verify")
		}
		if err := checkFields(entry); err != nil {
			why = &Error{policy.LogFields, err}
			continue
		}
		if err == nil {
			err = r.vouch(entry)
		}
		if err != nil {
			why = &Error{policy.LogInvalid, err}
			continue
		}
		out = append(out, entry)
	}
	return out, why
}

// trustedTimes returns the time of every entry that a log promised and of every
// time stamp that verifies under an authority of the root, without copies and in a
// fixed order. It is an error if there is none.
func (b *Bundle) trustedTimes(r *Root, entries []*logged) ([]Time, *Error) {
	var out []Time
	for _, e := range entries {
		if e.promised() {
			out = append(out, Time{e.at(), sourceLog, r.logs[e.log].url})
		}
	}
	err := errors.New("no trusted time")
	for _, stamp := range b.form.Material.Stamps {
		at, by, refused := r.stampOver(stamp, b.signature())
		if refused != nil {
			err = fmt.Errorf("no trusted time: time stamp: %w", refused)
			continue
		}
		out = append(out, Time{at, sourceTSA, by.uri})
	}
	if len(out) == 0 {
		return nil, &Error{policy.TimeInvalid, err}
	}
	arrange.By(out, func(a, b Time) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), a.Time.Compare(b.Time), cmp.Compare(a.URI, b.URI))
	})
	return slices.CompactFunc(out, func(a, b Time) bool {
		return a.Source == b.Source && a.URI == b.URI && a.Time.Equal(b.Time)
	}), nil
}

// validAt refuses a certificate or key that is not valid at each of the times, and
// a certificate that is in no log for such.
func (b *Bundle) validAt(r *Root, key *Key, times []Time) *Error {
	if refused := b.inLifetime(key, times); refused != nil || key != nil {
		return refused
	}
	if a := r.privateOf(b.leaf); a != nil {
		if _, err := a.Paths(b.leaf, momentsOf(times)); err != nil {
			return ofPKI(err)
		}
		return nil
	}
	for i, t := range times {
		path, refused := r.issued(b.leaf, t.Time)
		if refused != nil {
			return refused
		}
		if i == 0 && len(r.ct) > 0 { // no time of the signature matters
			if err := checkSCT(b.leaf, path[1], r.ct); err != nil {
				return &Error{policy.SCTInvalid, err}
			}
		}
	}
	return nil
}

// inLifetime refuses a certificate or key that is not valid itself at each of the times.
func (b *Bundle) inLifetime(key *Key, times []Time) *Error {
	for _, t := range times {
		at := t.Time.Format(time.RFC3339)
		if key != nil && !key.validAt(t.Time) {
			return refuse(policy.TimeInvalid, "signed %s, when the key was not valid", at)
		}
		if key == nil && (t.Time.Before(b.leaf.NotBefore) || t.Time.After(b.leaf.NotAfter)) {
			return refuse(policy.TimeInvalid, "%s %s, outside the validity of the certificate", t.verb(), at)
		}
	}
	return nil
}

// inWindow returns the entries whose logs were trusted at each of the times. The
// error is why another one was not taken.
func (b *Bundle) inWindow(r *Root, entries []*logged, times []Time) (out []LogEntry, why *Error) {
	for _, entry := range entries {
		log := r.logs[entry.log]
		i := slices.IndexFunc(times, func(t Time) bool { return !within(t.Time, log) })
		if i >= 0 {
			why = refuse(policy.TimeInvalid, "signed %s, when the trusted root did not trust this log's key",
				times[i].Time.Format(time.RFC3339))
			continue
		}
		le := logEntry(entry)
		if b.leaf != nil && len(b.leaf.URIs) > 0 {
			le.Readable = readable(entry.body, b.leaf)
		}
		out = append(out, le)
	}
	arrange.By(out, func(a, b LogEntry) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.LogID, b.LogID),
			cmp.Compare(a.PromisedIndex, b.PromisedIndex),
			cmp.Compare(a.TreeIndex, b.TreeIndex), cmp.Compare(a.TreeSize, b.TreeSize), a.Time.Compare(b.Time),
			cmp.Compare(a.LeafHash, b.LeafHash))
	})
	return out, why
}

// momentsOf returns the moments of times.
func momentsOf(times []Time) (out []time.Time) {
	for _, t := range times {
		out = append(out, t.Time)
	}
	return out
}

// verb says what happened at a time.
func (t Time) verb() string {
	if t.Source == sourceLog {
		return "logged"
	}
	return "stamped"
}
