// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/policy"
)

// Check is what check found in a policy file; its schema is schema/check-v1.json.
type Check struct {
	Schema   string        `json:"schema"`
	Verdict  string        `json:"verdict"`
	Exit     int           `json:"exit"`
	Reason   policy.Reason `json:"reason,omitempty"`
	File     string        `json:"file"`
	Digest   string        `json:"digest,omitempty"`
	Problems []Problem     `json:"problems"`
	Keys     []Key         `json:"keys,omitempty"` // of a valid policy, wherever they stand
}

// Key is a public key of a policy, with the algorithm by which it signs (SPEC 3.6).
type Key struct {
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	Path      string `json:"path"`
	Digest    string `json:"digest"`    // "sha256:" and its id
	Kind      string `json:"kind"`      // "ECDSA P-384"
	Algorithm string `json:"algorithm"` // in Sigstore's registry
	RekorV1   string `json:"rekor_v1"`  // the kind of entry that shows a statement by it
	TUF       string `json:"tuf,omitempty"`
}

// AddKeys takes the keys of a valid policy.
func (c *Check) AddKeys(d *policy.Document) {
	add := func(path string, ks []policy.Key) {
		for i, k := range ks {
			path, a := fmt.Sprintf("%s.keys[%d]", path, i), keys.Named(k.Algorithm)
			out := Key{
				Path: path, Digest: "sha256:" + k.ID, Kind: a.Key, Algorithm: a.Name, RekorV1: string(a.RekorV1),
			}
			if t, ok := keys.TUFOf(a.Key); ok {
				out.TUF = t.Scheme
			}
			pos := d.Pos(path)
			out.Line, out.Column = pos.Line, pos.Column
			c.Keys = append(c.Keys, out)
		}
	}
	f := d.Content()
	for i, m := range f.Maintainers.Members {
		add(fmt.Sprintf("maintainers.member[%d]", i), m.Keys)
	}
	for i, r := range f.Rules {
		add(fmt.Sprintf("release[%d]", i), r.Keys)
	}
}

// String says by what the key signs, and who takes that.
func (k Key) String() string {
	text := fmt.Sprintf("%s: %s signs by %s; Rekor v1 (%s) and Rekor v2 take it", k.Path, k.Kind, k.Algorithm, k.RekorV1)
	if k.TUF == "" {
		text += ", metadata of TUF does not"
	}
	return text
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
	for _, k := range c.Keys {
		p.Line("%s:%d:%d: note: %s", c.File, k.Line, k.Column, k)
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
