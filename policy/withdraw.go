// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// withdrawals are the revocations and yanks that apply.
type withdrawals struct {
	revoked []Withdrawal
	yanked  []Withdrawal
}

// add is rule 6: what a version revokes and yanks adds to what those before it
// did, and only what it restores is lifted again, for itself and for those
// before it (SPEC 8.6).
func (w withdrawals) add(f *File) withdrawals {
	out := withdrawals{
		revoked: slices.Concat(w.revoked, f.Revoked),
		yanked:  slices.Concat(w.yanked, f.Yanked),
	}
	out.revoked = slices.DeleteFunc(out.revoked, func(r Withdrawal) bool { return f.restores(r.selector) })
	out.yanked = slices.DeleteFunc(out.yanked, func(y Withdrawal) bool { return f.restores(y.selector) })
	return out
}

// restores reports whether the version lifts what the selector names.
func (f *File) restores(s selector) bool {
	return slices.ContainsFunc(f.Restored, func(r Withdrawal) bool {
		if (r.Identity == nil) != (s.Identity == nil) {
			return false
		}
		if r.Identity != nil {
			return *r.Identity == *s.Identity
		}
		return r.Rule == s.Rule && r.Key == s.Key && r.Tag == s.Tag && r.Digest == s.Digest
	})
}
