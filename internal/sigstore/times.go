// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/proto"

	"github.com/repopolicy/repopolicy/policy"
)

// This file finds every trusted time of a signature (SPEC 5.7). The library keeps
// one of each time stamping authority and of each log, the first; a rule with
// bounds would then depend on the order in which a bundle lists them.

const (
	sourceLog = "log"
	sourceTSA = "tsa"
)

// untimed is what signed, valid at any moment: which times there are is to be
// found before it is judged by them.
type untimed struct{ verify.VerificationContent }

// ValidAtTime implements [verify.VerificationContent].
func (untimed) ValidAtTime(time.Time, root.TrustedMaterial) bool { return true }

// vouched returns the entries, without copies, for which a log of the root vouches
// and that are about this signature; the others count as absent. The error says
// why the last of those is one of them.
func (b *Bundle) vouched(e *entity, tm *trusted) (out []*tlog.Entry, why *Error) {
	one := &entity{Bundle: e.Bundle, content: untimed{e.content}}
	for i, entry := range b.entries {
		copied := func(o *tlog.Entry) bool { return proto.Equal(o.TransparencyLogEntry(), entry.TransparencyLogEntry()) }
		if slices.ContainsFunc(b.entries[:i], copied) {
			continue
		}
		if err := checkFields(entry); err != nil {
			why = &Error{policy.LogFields, err}
			continue
		}
		shown, err := b.shownBy(tm.alg, entry)
		if err != nil {
			why = &Error{policy.LogInvalid, err}
			continue
		}
		one.entries, one.shown = []*tlog.Entry{entry}, shown
		if _, err := verify.VerifyTlogEntry(one, tm, 1, true); err != nil {
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
func (b *Bundle) trustedTimes(r *Root, entries []*tlog.Entry) ([]Time, *Error) {
	var out []Time
	for _, e := range entries {
		if e.HasInclusionPromise() {
			out = append(out, Time{e.IntegratedTime().UTC(), sourceLog, r.logOf(e).BaseURL})
		}
	}
	err := errors.New("no trusted time")
	for _, stamp := range b.pb.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
		for _, a := range r.stampers {
			t, refused := a.Verify(stamp.GetSignedTimestamp(), b.signature())
			if refused != nil {
				cause, _, _ := strings.Cut(refused.Error(), " {") // parameters of a parser
				err = errors.New("no trusted time: time stamp: " + cause)
				continue
			}
			out = append(out, Time{t.Time.UTC(), sourceTSA, t.URI})
			break
		}
	}
	if len(out) == 0 {
		return nil, &Error{policy.TimeInvalid, err}
	}
	slices.SortFunc(out, func(a, b Time) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), a.Time.Compare(b.Time), cmp.Compare(a.URI, b.URI))
	})
	return slices.CompactFunc(out, func(a, b Time) bool {
		return a.Source == b.Source && a.URI == b.URI && a.Time.Equal(b.Time)
	}), nil
}

// validAt refuses a certificate or key that is not valid at each of the times, and
// a certificate that is in no log for such.
func (b *Bundle) validAt(r *Root, key *Key, times []Time) *Error {
	if a := r.privateOf(b.leaf); a != nil {
		if _, err := a.Paths(b.leaf, momentsOf(times)); err != nil {
			return ofPKI(err)
		}
		return nil
	}
	for i, t := range times {
		at := t.Time.Format(time.RFC3339)
		if key != nil {
			if !key.expiring.ValidAtTime(t.Time) {
				return refuse(policy.TimeInvalid, "signed %s, when the key was not valid", at)
			}
			continue
		}
		if t.Source == sourceLog && (t.Time.Before(b.leaf.NotBefore) || t.Time.After(b.leaf.NotAfter)) {
			return refuse(policy.TimeInvalid, "logged %s, outside the validity of the certificate", at)
		}
		path, refused := r.issued(b.leaf, t.Time)
		if refused != nil {
			return refused
		}
		if logs := r.material.CTLogs(); i == 0 && len(logs) > 0 { // no time of the signature matters
			if err := checkSCT(b.leaf, path[1], logs); err != nil {
				return &Error{policy.SCTInvalid, err}
			}
		}
	}
	return nil
}

// inWindow returns the entries whose logs were trusted at each of the times. The
// error is why another one was not taken.
func (b *Bundle) inWindow(r *Root, entries []*tlog.Entry, times []Time) (out []LogEntry, why *Error) {
	for _, entry := range entries {
		log := r.logOf(entry)
		i := slices.IndexFunc(times, func(t Time) bool { return !within(t.Time, log) })
		if i >= 0 {
			why = refuse(policy.TimeInvalid, "signed %s, when the trusted root did not trust this log's key",
				times[i].Time.Format(time.RFC3339))
			continue
		}
		le := logEntry(entry)
		if b.leaf != nil && len(b.leaf.URIs) > 0 {
			le.Readable = readable(le.Generation, entry.TransparencyLogEntry().GetCanonicalizedBody())
		}
		out = append(out, le)
	}
	slices.SortFunc(out, func(a, b LogEntry) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.LogID, b.LogID),
			cmp.Compare(a.PromisedIndex, b.PromisedIndex),
			cmp.Compare(a.TreeIndex, b.TreeIndex), cmp.Compare(a.TreeSize, b.TreeSize), a.Time.Compare(b.Time),
			cmp.Compare(a.LeafHash, b.LeafHash))
	})
	return out, why
}

// within reports whether the log's key was trusted at t; the end is inclusive.
// sigstore-go checks this for signed entry timestamps only.
func within(t time.Time, log *root.TransparencyLog) bool {
	return !t.Before(log.ValidityPeriodStart) && (log.ValidityPeriodEnd.IsZero() || !t.After(log.ValidityPeriodEnd))
}

// logOf returns the log of an entry, nil if the root has none.
func (r *Root) logOf(e *tlog.Entry) *root.TransparencyLog {
	return r.material.RekorLogs()[hex.EncodeToString([]byte(e.LogKeyID()))]
}

// momentsOf returns the moments of times.
func momentsOf(times []Time) (out []time.Time) {
	for _, t := range times {
		out = append(out, t.Time)
	}
	return out
}

// moments are trusted times in the guise of an authority: a time stamp is the
// number of one of them.
type moments []time.Time

// Verify implements root.TimestampingAuthority.
func (m moments) Verify(stamp, _ []byte) (*root.Timestamp, error) {
	if len(stamp) != 1 || int(stamp[0]) >= len(m) {
		return nil, errors.New("no moment")
	}
	// The library keeps one of each address.
	return &root.Timestamp{Time: m[stamp[0]], URI: fmt.Sprint(stamp[0])}, nil
}
