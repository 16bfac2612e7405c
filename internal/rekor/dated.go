// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"time"

	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// Dated is when an entry of a log cannot have been made before: in which minute the certificate
// began that it claims. The zero value says nothing.
type Dated struct {
	Minute time.Time // UTC
	issued func(*sigstore.Root) error
}

// DateEntry reads the certificate of an entry, as whoever reads the log finds it: the body in
// Rekor v2, in Rekor v1 the entry as it is answered. Nothing is verified before [Dated.By].
func DateEntry(generation int, entry []byte) Dated {
	if generation == 2 {
		e, err := sigstore.ParseEntryV2(entry)
		if err != nil {
			return Dated{}
		}
		return Dated{e.NotBefore().Truncate(time.Minute), func(r *sigstore.Root) error { return r.IssuedV2(e) }}
	}
	e, err := sigstore.ParseEntryV1(entry)
	if err != nil {
		return Dated{}
	}
	return Dated{e.NotBefore().Truncate(time.Minute), func(r *sigstore.Root) error { return r.Issued(e) }}
}

// By reports whether the certificate is one of the trusted root.
func (d Dated) By(r *sigstore.Root) bool { return d.issued != nil && d.issued(r) == nil }
