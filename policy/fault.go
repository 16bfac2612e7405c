// SPDX-License-Identifier: Apache-2.0

package policy

import "fmt"

// Fault is an error that ends a question before anything could be decided, with the
// reason whose class is the verdict.
type Fault struct {
	Reason Reason
	Text   string   // what is wrong, on one line
	More   []string // further lines
	Hint   string   // what to do, in the words of the command line; "" for that of the reason
}

// Error returns the text.
func (f *Fault) Error() string { return f.Text }

// Faultf returns a fault whose text is formatted.
func Faultf(r Reason, format string, args ...any) *Fault {
	return &Fault{Reason: r, Text: fmt.Sprintf(format, args...)}
}
