// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault of a policy file, or one piece of advice about it.
type Problem struct {
	Pos    Pos
	Path   string // for example "release[0].tags"; may be empty
	Reason Reason
	Msg    string
	Hint   string // what to write instead; may be empty
}

// String returns "line:column: path: message".
func (p Problem) String() string {
	var b strings.Builder
	if p.Pos != (Pos{}) {
		fmt.Fprintf(&b, "%s: ", p.Pos)
	}
	if p.Path != "" {
		fmt.Fprintf(&b, "%s: ", p.Path)
	}
	b.WriteString(p.Msg)
	return b.String()
}

// ParseError is the error of [Parse]: at least one problem, in the order of
// their places in the file.
type ParseError struct{ Problems []Problem }

// Error returns the first problem and how many others there are.
func (e *ParseError) Error() string {
	if len(e.Problems) == 0 {
		return "invalid policy"
	}
	if n := len(e.Problems) - 1; n > 0 {
		return fmt.Sprintf("%s (and %d more)", e.Problems[0], n)
	}
	return e.Problems[0].String()
}

// Reason returns the code of the first problem, and [PolicyNewerFormat] only if there is no
// other: what is wrong for this program is so for every newer one.
func (e *ParseError) Reason() Reason {
	if len(e.Problems) == 0 {
		return Internal
	}
	return e.Problems[max(0, slices.IndexFunc(e.Problems, Problem.wrong))].Reason
}

// wrong reports whether no newer program takes what has the problem.
func (p Problem) wrong() bool { return p.Reason != PolicyNewerFormat }
