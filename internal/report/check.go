// SPDX-License-Identifier: Apache-2.0

package report

import "github.com/repopolicy/repopolicy/policy"

// Check is what check found in a policy file; its schema is schema/check-v1.json.
type Check struct {
	Schema   string        `json:"schema"`
	Verdict  string        `json:"verdict"`
	Exit     int           `json:"exit"`
	Reason   policy.Reason `json:"reason,omitempty"`
	File     string        `json:"file"`
	Digest   string        `json:"digest,omitempty"`
	Problems []Problem     `json:"problems"`
}

// Problem is one of them.
type Problem struct {
	Severity string        `json:"severity"` // "error" or "warning"
	Line     int           `json:"line,omitempty"`
	Column   int           `json:"column,omitempty"`
	Path     string        `json:"path,omitempty"`
	Code     policy.Reason `json:"code"`
	Message  string        `json:"message"`
	Hint     string        `json:"hint,omitempty"`
}

// Add takes problems of a severity, "error" or "warning".
func (c *Check) Add(severity string, ps []policy.Problem) {
	for _, p := range ps {
		c.Problems = append(c.Problems, Problem{severity, p.Pos.Line, p.Pos.Column, p.Path, p.Reason, p.Msg, p.Hint})
	}
}

// Text returns the message after the path that it is about.
func (p Problem) text() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Check prints what check found.
func (p *Printer) Check(c *Check) {
	for _, x := range c.Problems {
		place := c.File
		if pos := (policy.Pos{Line: x.Line, Column: x.Column}).String(); pos != "" {
			place += ":" + pos
		}
		p.Line("%s: %s: %s [%s]", place, x.Severity, x.text(), x.Code)
		if x.Hint != "" {
			p.Line("  hint: %s", x.Hint)
		}
	}
	p.checkTotal(c)
}

func (p *Printer) checkTotal(c *Check) {
	errs := 0
	for _, x := range c.Problems {
		if x.Severity == "error" {
			errs++
		}
	}
	if errs > 0 {
		p.Line("%s: %d %s: %s", c.File, errs, Plural(errs, "error"), c.Verdict)
		return
	}
	p.Line("%s: valid, %d %s: %s", c.File, len(c.Problems), Plural(len(c.Problems), "warning"), c.Verdict)
}

// Plural returns a word for so many things.
func Plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
