// SPDX-License-Identifier: Apache-2.0

package report

import "github.com/repopolicy/repopolicy/policy"

// Doctor is what doctor found of a repository; its schema is schema/doctor-v1.json.
type Doctor struct {
	Schema     string      `json:"schema"`
	Verdict    string      `json:"verdict"`
	Exit       int         `json:"exit"`
	Repository string      `json:"repository"`
	Version    int         `json:"version"`
	Digest     string      `json:"digest"` // of the policy
	Findings   []Diagnosis `json:"findings"`
}

// Diagnosis is what came of one check.
type Diagnosis struct {
	State   string        `json:"state"` // "ok", "wrong" or "unread"
	Check   string        `json:"check"`
	Subject string        `json:"subject,omitempty"`
	Code    policy.Reason `json:"code,omitempty"` // not for "ok"
	Line    int           `json:"line,omitempty"`
	Column  int           `json:"column,omitempty"`
	Path    string        `json:"path,omitempty"`
	Message string        `json:"message"`
	Do      string        `json:"do,omitempty"`
}

// Judge counts the findings into the verdict: what was not looked at is not OK.
func (d *Doctor) Judge() policy.Class {
	classes := make([]policy.Class, len(d.Findings))
	for i := range d.Findings {
		f := &d.Findings[i]
		classes[i] = policy.ClassOK
		if f.State = "ok"; f.Code != "" {
			classes[i], f.State = f.Code.Class(), "wrong"
		}
		if classes[i] == policy.ClassUnavailable {
			f.State = "unread"
		}
	}
	class := policy.Worst(classes...)
	d.Verdict, d.Exit = class.String(), class.Exit()
	return class
}

// Doctor prints what doctor found, and what to do.
func (p *Printer) Doctor(d *Doctor) {
	count := map[string]int{}
	for _, f := range d.Findings {
		count[f.State]++
		what := f.Check
		if f.Subject != "" {
			what += ", " + f.Subject
		}
		if f.Code == "" {
			p.Line("%-6s %s: %s", f.State, what, f.Message)
			continue
		}
		p.Line("%-6s %s: %s [%s]", f.State, what, f.Message, f.Code)
		if f.Do != "" {
			p.Line("       do: %s", f.Do)
		}
	}
	p.Line("%s, policy version %d: %d in order, %d wrong, %d not looked at: %s", d.Repository, d.Version, count["ok"],
		count["wrong"], count["unread"], d.Verdict)
}
