// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// TestExpiresSoon: people are told from 60 days before, until somebody renews the policy, and never of
// a tombstone, which nobody renews.
func TestExpiresSoon(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct {
		left      time.Duration
		tombstone bool
		days      int
		soon      bool
	}{
		{61 * day, false, 0, false},
		{60*day + time.Second, false, 0, false},
		{60 * day, false, 60, true},
		{30*day - time.Second, false, 29, true},
		{time.Second, false, 0, true},
		{0, false, 0, true},
		{-100 * day, false, 0, true},
		{day, true, 0, false},
	} {
		f := &policy.File{Expires: now.Add(c.left), Tombstone: c.tombstone}
		if days, soon := f.ExpiresSoon(now); days != c.days || soon != c.soon {
			t.Errorf("%s: %d, %v", c.left, days, soon)
		}
		if until := f.JudgesUntil(); until.Sub(f.Expires) != 90*day {
			t.Error(until)
		}
	}
}
