// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// place returns the request with what the chain knows about each approval: a version of the
// chain judges by that alone (SPEC 14.2).
func (t *Trusted) place(req policy.Request) policy.Request {
	if len(req.Approvals) == 0 || !t.DemandsApprovals() {
		return req
	}
	req.Approvals = slices.Clone(req.Approvals[:min(len(req.Approvals), spelling.MaxApprovals)])
	for i := range req.Approvals {
		req.Approvals[i] = t.chain.placed(req.Approvals[i])
	}
	return req
}

// placed returns the approval with what the chain knows about it. What it is for none of the
// versions needs no place.
func (c *Chain) placed(a policy.Approval) policy.Approval {
	named := slices.ContainsFunc(c.links, func(l *link) bool { return l.stmt.doc.Digest() == a.Facts().Policy })
	if !named {
		return a
	}
	id, v := a.Signer(), a.Verification()
	return a.Place(!c.sameAccount(&id), c.inForceAt(&v))
}

// sameAccount reports whether an identity is the account that the chain knows
// under its name, if it knows one.
func (c *Chain) sameAccount(id *policy.Identity) bool {
	if c.walk == nil {
		return true
	}
	known := c.walk.subjects[signerOf(id)]
	return known == "" || known == id.TokenSubject
}

// inForceAt returns, for each place where something was certainly logged, the versions that
// can have been in force there; nil stands for the time before version 1.
func (c *Chain) inForceAt(v *policy.Verification) [][]*policy.File {
	var out [][]*policy.File
	for _, e := range v.Entries {
		if !c.order.counts(e) || v.PromisedOnly(e) {
			continue
		}
		var at []*policy.File
		for _, i := range c.candidates(e) {
			if i == before {
				at = append(at, nil)
			} else {
				at = append(at, c.links[i].file())
			}
		}
		out = append(out, at)
	}
	return out
}

// MayApprove reports whether an approval by an identity, for a tag, would be
// counted by some rule of a version of the chain and of the newest one.
func (t *Trusted) MayApprove(version int, id policy.Identity, tag string) bool {
	if t == nil || t.chain == nil || version < 1 || version > len(t.chain.links) || !t.chain.sameAccount(&id) {
		return false
	}
	return t.version(version-1).MayApprove(id, tag)
}
