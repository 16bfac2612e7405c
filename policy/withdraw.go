// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// withdrawals are the revocations and yanks that apply.
type withdrawals struct {
	revoked []Withdrawal
	yanked  []yank
}

// yank is a yanked release with the version that says so.
type yank struct {
	selector
	by *File
}

// add is rule 6: what a version revokes and yanks adds to what those before it
// did, and only what it restores is lifted again, for itself and for those
// before it (SPEC 8.6).
func (w withdrawals) add(f *File) withdrawals {
	out := withdrawals{
		revoked: slices.Concat(w.revoked, f.Revoked),
		yanked:  slices.Clone(w.yanked),
	}
	for _, y := range f.Yanked {
		out.yanked = append(out.yanked, yank{y.selector, f})
	}
	out.revoked = slices.DeleteFunc(out.revoked, func(r Withdrawal) bool { return f.restores(r.selector) })
	out.yanked = slices.DeleteFunc(out.yanked, func(y yank) bool { return f.restores(y.selector) })
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

// yanksTag reports whether a yanked tag is that of the evidence, in whichever spelling. The
// version of a package URL is spelled by the rules that judge, and by those of the version
// that yanks it: it stays yanked when a tag-prefix comes or goes (SPEC 5.8).
func (t *Trusted) yanksTag(y *yank, req Request, c *Claims) bool {
	return slices.Contains(c.Tags, y.Tag) ||
		y.by.spells(y.Tag, c.version(), req.Names) || t.file.spells(y.Tag, c.version(), req.Names)
}
