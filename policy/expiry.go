// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// expiryNotice is how long before a policy expires people are told.
const expiryNotice = 60 * 24 * time.Hour

// ExpiresSoon reports whether the policy has expired at a moment, or expires within
// [expiryNotice], and in how many whole days; none if it has. A tombstone never does: nothing will
// renew it.
func (f *File) ExpiresSoon(now time.Time) (days int, soon bool) {
	left := f.Expires.Sub(now)
	if f.Tombstone || left > expiryNotice {
		return 0, false
	}
	return int(max(0, left) / (24 * time.Hour)), true
}

// JudgesUntil returns when nothing can be judged any more by a policy that nobody renews (SPEC 8.5).
func (f *File) JudgesUntil() time.Time { return f.Expires.Add(grace) }
