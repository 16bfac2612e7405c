// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
)

// TestWhy: a chain that is undecided says what is waited for.
func TestWhy(t *testing.T) {
	want := map[string]string{
		"pending-withheld": "its statement is not at hand, and the directory waits for what it binds",
		"pending-at-hand": "version 2 is bound, but not in force by the signatures and log " +
			"entries at hand, and the directory waits for what it binds",
		"signature-not-shown-yet":     "and the directory waits for what it binds",
		"signature-shown-not-at-hand": "a signature over version 2 that the directory shows is not at hand",
		"published-and-dropped":       "its statement is not at hand (leaf",
		"lapsed-but-kept":             "version 2 of the chain was seen before, and its binding lapsed",
		"gitlab-next-from-another-branch-withheld": "its statement is not at hand, from refs/heads/main, which is " +
			"not the default branch",
		"gitlab-default-branch": "",
		"undisclosed-between":   "",
	}
	for _, v := range vectors.Read(t, "chain") {
		text, named := want[v.Name]
		if !named {
			continue
		}
		problems := Evaluate(readChain(t, v).h).Problems()
		if text != "" &&
			!slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.Detail, text) }) {
			t.Errorf("%s: %v, not %q", v.Name, problems, text)
		}
		if text == "" && slices.ContainsFunc(problems, func(p Problem) bool {
			return strings.Contains(p.Detail, "directory") || strings.Contains(p.Detail, "branch")
		}) {
			t.Errorf("%s: %v", v.Name, problems)
		}
	}
}
