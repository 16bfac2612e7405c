// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/repopolicy/repopolicy"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// advice says what to do about a denial. A command to type is made of what was typed and of what was
// verified, and has no flag by which this very denial would not be one.
func (q *question) advice(full bool) report.Advice {
	typed := q.options.typed
	if typed == nil {
		return nil
	}
	return func(res *repopolicy.Result) (string, []string) {
		switch res.Decision.Reason {
		case policy.RuleMismatch:
			if !full {
				return "", typed.Verb("verify", "explain").Words()
			}
		}
		return "", nil
	}
}
