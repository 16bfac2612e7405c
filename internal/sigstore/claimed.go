// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// ClaimedEntry is an entry of a transparency log that a bundle says it has. Nothing of it is
// verified.
type ClaimedEntry struct {
	LogID string // hex of the log's key id
	Index int64
	Time  time.Time // when the log says it took it; zero if it does not say

	body string // hex SHA-256 of the canonical body
}

// Claimed returns the entries that the bundle says it has, without those that were verified; all
// of them for nil.
func (b *Bundle) Claimed(v *Verified) []ClaimedEntry {
	var out []ClaimedEntry
	for _, e := range b.entries {
		c := ClaimedEntry{
			LogID: e.log, Index: e.Index, body: spelling.Sum(e.Body),
		}
		if e.Time > 0 {
			c.Time = e.at()
		}
		same := func(l LogEntry) bool { return l.LogID == c.LogID && l.Body == c.body }
		if v == nil || !slices.ContainsFunc(v.Entries, same) {
			out = append(out, c)
		}
	}
	return out
}
