// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// markOverlaps says of rules that allow the same names that this is meant, such as of a signature
// and of provenance by another workflow. It says so of none that is laxer than a rule before it
// by its environment: there the advice of `repopolicy check` is what to hear.
func (p *Proposal) markOverlaps(repo policy.Locator) {
	for i := range p.Rules {
		if !p.flagged(repo, i) || p.laxer(i) {
			continue
		}
		if p.Rules[i].Overlaps = true; !p.flagged(repo, i) {
			continue
		}
		for j := range i {
			p.Rules[j].Overlaps = true
		}
	}
}

// laxer reports whether some of the rules up to n demand an environment, and some do not.
func (p *Proposal) laxer(n int) bool {
	for i := range n {
		if (p.Rules[i].Environment == "") != (p.Rules[n].Environment == "") {
			return true
		}
	}
	return false
}

// flagged reports whether the policy would get the advice that a rule overlaps one before it.
func (p *Proposal) flagged(repo policy.Locator, rule int) bool {
	a := Answers{Repository: repo, Expires: time.Unix(0, 0)}
	doc, err := policy.Parse([]byte(p.Policy(a)))
	if err != nil {
		return false // said to the user later
	}
	for _, problem := range doc.Lint(time.Unix(0, 0)) {
		if problem.Reason == "lint-overlap" && problem.Path == fmt.Sprintf("release[%d].tags", rule) {
			return true
		}
	}
	return false
}
