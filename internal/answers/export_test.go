// SPDX-License-Identifier: Apache-2.0

package answers

import (
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/repopolicy/repopolicy/policy"
)

// SetTimeout sets how long a directory has.
func SetTimeout(d *Directory, limit time.Duration) { d.timeout = limit }

// SetHeld sets of how many pages an answer is held.
func SetHeld(d *Directory, pages int) { d.held = pages }

// CheckProofs verifies of an answer what no certificate is needed for: signatures of
// directory and log, the proofs of map and output log, and those of the entries.
func CheckProofs(d *Directory, a *Answer, repo policy.Locator) error {
	p := &proving{root: d.Root, descriptor: d.Descriptor, repo: repo}
	c, err := p.open(nil, a)
	if err != nil {
		return err
	}
	for _, r := range c.keys[0].Records {
		b, cp := r.Binding, c.trees[r.Binding.Log][0]
		err := proof.VerifyInclusion(
			rfc6962.DefaultHasher, uint64(b.Index), uint64(cp.Size), rfc6962.DefaultHasher.HashLeaf([]byte(b.Body)), b.Inclusion,
			cp.Root,
		)
		if err != nil {
			return err
		}
	}
	return nil
}
