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
	flagged := p.flagged(repo)
	for i := range p.Rules {
		if !flagged[i] || p.laxer(i) {
			continue
		}
		p.Rules[i].Overlaps = true
		if flagged = p.flagged(repo); !flagged[i] {
			continue
		}
		for j := range i {
			p.Rules[j].Overlaps = true
		}
		flagged = p.flagged(repo)
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

// flagged returns the rules of which the policy would get the advice that they overlap one before;
// none if there are more rules, or longer ones, than a policy has, which is said to the user later.
func (p *Proposal) flagged(repo policy.Locator) map[int]bool {
	out := map[int]bool{}
	doc, err := policy.Parse([]byte(p.Policy(Answers{Repository: repo, Expires: time.Unix(0, 0)})))
	if err != nil {
		return out
	}
	for _, problem := range doc.Lint(time.Unix(0, 0)) {
		var rule int
		if _, err := fmt.Sscanf(problem.Path, "release[%d].tags", &rule); err == nil && problem.Reason == "lint-overlap" {
			out[rule] = true
		}
	}
	return out
}
