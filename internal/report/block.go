// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// isEvidence is how what vouches for something that was judged is counted.
const isEvidence = "evidence for what was judged"

// notJudged says what else there was: how much of each kind, and each by name
// where they are few.
func (p *Printer) notJudged(inputs []Input, full bool) {
	kind := func(x Input) string {
		switch {
		case x.Fate == "evidence":
			return isEvidence
		case x.Fate == "unverifiable-evidence":
			return "evidence that cannot be verified here"
		case x.Fate == "side-file":
			return "side files, which nobody vouches for"
		case x.Reason == policy.ArtifactMissing:
			return "listed and not there"
		}
		return "passed over"
	}
	counts, order := map[string]int{}, []string{}
	for _, x := range inputs {
		if k := kind(x); counts[k] == 0 {
			order = append(order, k)
		}
		counts[kind(x)]++
	}
	for _, k := range order {
		if k == isEvidence && !full {
			continue
		}
		p.Line("not judged: %d, %s", counts[k], k)
		if k == isEvidence || counts[k] > briefAfter {
			continue
		}
		for _, x := range inputs {
			if kind(x) == k {
				p.Line("  %s: %s", x.Input, x.Detail)
			}
		}
	}
}

// block prints all that is known of one artifact.
func (p *Printer) block(x *Artifact) {
	field := p.row
	if x.Permitted {
		rule := ""
		if x.Rule != "" {
			rule = " by rule " + x.Rule
		}
		p.Head(Good, x.Verdict, "%s%s: %s%s", pad(x.Verdict), Named(x.Artifact), x.Reason, rule)
	} else {
		p.Head(Bad, x.Verdict, "%s%s: %s [%s]", pad(x.Verdict), Named(x.Artifact), x.Message, x.Reason)
		field("because", "%s", x.Detail)
	}
	if ev := x.Evidence; ev != nil {
		p.evidence(ev, field)
	}
	field("tag", "%s", x.Tag)
	field("judged by", "%s", inForce(x.JudgedBy))
	if x.Nearest != nil && x.Rules == nil {
		p.rule("nearest rule", *x.Nearest)
	}
	for _, r := range x.Rules {
		p.rule("rule", r)
	}
	for _, n := range x.Notes {
		field("note", "%s", n.Text)
	}
	p.others(x.Others, "", "", 0)
	p.advice(x)
}

// line is what a person reads of it.
func (o *Other) line() string {
	text := o.Message
	if o.Detail != "" {
		text += ": " + o.Detail
	}
	return fmt.Sprintf("%s: %s [%s]", itemOf(o.Path, o.Item), text, o.Reason)
}

// itemOf names one of several pieces of evidence in a file.
func itemOf(path string, item int) string {
	if item == 0 {
		return path
	}
	return fmt.Sprintf("%s, item %d", path, item)
}

func (p *Printer) evidence(ev *Evidence, field func(string, string, ...any)) {
	path := itemOf(ev.Path, ev.Item)
	if ev.Form != "" {
		path += " (" + ev.Form + ")"
	}
	if ev.Via != "" {
		path += ", which signs " + ev.Via
	}
	field("evidence", "%s", path)
	if t := ev.Target; t != nil {
		p.target(t, ev.Verified, field)
		return
	}
	field("signed as", "%s", ev.Name)
	who := "signed by"
	if !ev.Verified {
		who = "claims"
	}
	s := ev.Signer
	if s.Kind == policy.KindKey {
		if s.Identity != "" {
			field(who, "key sha256:%s", s.Identity)
		}
	} else {
		field(who, "%s", s.Identity)
		field("issuer", "%s", s.Issuer)
	}
	if s.Repository != "" {
		field("source", "%s", strings.TrimSpace(s.Repository+" "+s.Ref+" "+s.Commit))
	} else if s.Ref != "" {
		field("source", "%s", strings.TrimSpace(s.Ref+" "+s.Commit))
	}
	var how []string
	for _, kv := range [][2]string{{"trigger", s.Trigger}, {"runner", s.Runner}, {"environment", s.Environment}} {
		if kv[1] != "" {
			how = append(how, kv[0]+" "+kv[1])
		}
	}
	field("run", "%s", strings.Join(how, ", "))
	for _, t := range ev.Times {
		field("time", "%s", strings.TrimSpace(t.Time.Format(time.RFC3339)+" "+t.URI))
	}
	for _, e := range ev.Log {
		switch {
		case e.Proven:
			field("log", "%s, entry %d of %d", e.Origin, *e.TreeIndex, *e.TreeSize)
		case e.PromisedIndex != nil:
			field("log", "%s, promised entry %d", e.LogID, *e.PromisedIndex)
		}
	}
	switch {
	case ev.Verified:
	case ev.Checked:
		field("", "the evidence's own words: they did not verify")
	default:
		field("", "the evidence's own words: not checked yet, since they do not suffice")
	}
}

// target says which trust root lists an artifact, or would have to.
func (p *Printer) target(t *Target, listed bool, field func(string, string, ...any)) {
	if !listed {
		field("", "a trust root has to list it, and no signature is judged")
		return
	}
	field("listed by", "role %s of %s, version %d, expires %s", t.Role, t.Root, t.Version, t.Expires.Format(time.RFC3339))
}

func (p *Printer) rule(title string, r Rule) {
	p.Line("  %-12s %s", title, r.Rule)
	if len(r.Mismatches) == 0 {
		p.Line("    matches")
	}
	for _, m := range r.Mismatches {
		ext := ""
		if m.Extension != "" {
			ext = " (" + m.Extension + ")"
		}
		got := m.Got
		if got == "" {
			got = "missing"
		}
		p.Line("    %s%s is %s", m.Field, ext, got)
		p.Line("      the rule says %s", m.Want)
		if m.Hint != "" {
			p.Line("      hint: %s", m.Hint)
		}
	}
}
