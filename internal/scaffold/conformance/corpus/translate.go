// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

// translation is what one neutral policy became: one policy file for each
// repository, as a renamed repository would have one version for each name.
type translation struct {
	neutral *neutral
	files   []*file
	cannot  []inexpressible
}

// file is one policy file of a translation.
type file struct {
	place
	text    string
	trusted *policy.Trusted
	// strict is the same without set-only, which the neutral form does not know.
	strict *policy.Trusted
}

// place is the file that a rule stands in. The id is no text of the policy: it
// is what the repository's genesis would have pinned.
type place struct{ repository, id string }

func (p place) ids() policy.Ids { return policy.Ids{Repository: p.id} }

// placedRule is a rule and the file that it stands in.
type placedRule struct {
	place
	ruleText
}

// inexpressible is something that the language does not express: why, and whose
// verdict that can change.
type inexpressible struct {
	what, reason string
	concerns     func(policy.Identity) bool
}

// translate writes a neutral policy in the policy language. Where the neutral
// form has a pattern and the language is exact, every identity of the corpus
// that the pattern takes is listed, as a maintainer would list them.
func (c *corpus) translate(n *neutral) *translation {
	tr := &translation{neutral: n}
	rules := map[place][]ruleText{}
	for _, r := range n.Releasers {
		for _, p := range c.releaser(tr, n, r) {
			rules[p.place] = merge(rules[p.place], p.ruleText)
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(rules), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.repository, b.repository), cmp.Compare(a.id, b.id))
	}) {
		f := &file{place: p}
		var err error
		if f.text, f.trusted, err = pinned(p, rules[p]); err == nil {
			for i := range rules[p] {
				rules[p][i].setOnly = false
			}
			_, f.strict, err = pinned(p, rules[p])
		}
		if err != nil { // every rule was parsed before: too many of them
			tr.leaveOut(p.repository, err, func(policy.Identity) bool { return true })
			continue
		}
		tr.files = append(tr.files, f)
	}
	return tr
}

// pinned writes, parses and pins a policy file.
func pinned(p place, rules []ruleText) (string, *policy.Trusted, error) {
	d := newDocument(p.repository)
	for _, rt := range rules {
		d.rule(rt)
	}
	doc, err := policy.Parse([]byte(d.text()))
	if err != nil {
		return "", nil, err
	}
	return d.text(), doc.Pin(p.ids()), nil
}

// merge adds a rule, or only its refs where a rule differs in nothing else.
func merge(rules []ruleText, rt ruleText) []ruleText {
	text := func(r ruleText) string { r.refs = nil; return fmt.Sprint(r) }
	for i := range rules {
		if text(rules[i]) != text(rt) || (len(rules[i].refs) == 0) != (len(rt.refs) == 0) {
			continue
		}
		for _, ref := range rt.refs {
			if !slices.Contains(rules[i].refs, ref) {
				rules[i].refs = append(slices.Clone(rules[i].refs), ref)
			}
		}
		return rules
	}
	return append(rules, rt)
}

func (tr *translation) leaveOut(what string, why error, concerns func(policy.Identity) bool) {
	tr.cannot = append(tr.cannot, inexpressible{what, why.Error(), concerns})
}

// excuse returns why the language cannot give an identity the verdict that the
// neutral policy gives it, "" if it can.
func (tr *translation) excuse(id policy.Identity) string {
	for _, x := range tr.cannot {
		if x.concerns(id) {
			return x.reason
		}
	}
	return ""
}

// laxer returns why the language gives an identity a verdict that the neutral
// policy does not give it, "" if it should not.
func (tr *translation) laxer(id policy.Identity) string {
	for _, r := range tr.neutral.Releasers {
		if reason := r.laxer(id); reason != "" {
			return reason
		}
	}
	return ""
}

// releaser returns the rules of one releaser and lists what cannot be said.
func (c *corpus) releaser(tr *translation, n *neutral, r releaser) []placedRule {
	fail := func(err error) []placedRule {
		tr.leaveOut(n.ID+": "+r.String(), err, r.matches)
		return nil
	}
	base := ruleText{artifacts: c.artifactPatterns(n, r), setOnly: true}
	if r.Versions != "" && len(base.artifacts) == 0 {
		return fail(errors.New("no artifact of the corpus shows where the version stands in its name"))
	}
	if r.Since != nil {
		base.since = *r.Since
	}
	if r.Until != nil {
		base.until = *r.Until
	}
	var matched []policy.Identity
	for _, id := range c.identities() {
		if r.matches(id) {
			matched = append(matched, id)
		}
	}
	if !r.workflow() && (r.SAN != "" || !slices.ContainsFunc(matched, isWorkflow)) {
		p, err := r.people(base, n, matched)
		if err == nil {
			err = p.check()
		}
		if err != nil {
			return fail(err)
		}
		return []placedRule{p}
	}

	var out []placedRule
	var why error
	if p, ok := r.literal(base, matched); ok {
		if why = p.sayable(tr, n, r); why == nil {
			out = append(out, p)
		}
	}
	for _, id := range matched {
		if slices.ContainsFunc(out, func(p placedRule) bool { return p.takes(id) }) {
			continue
		}
		p, err := workflowRule(base, r, id)
		if err == nil {
			err = p.sayable(tr, n, r)
		}
		if err == nil && !p.takes(id) {
			err = p.mismatch(id)
		}
		if err != nil {
			tr.leaveOut(n.ID+": "+id.Value, err, func(o policy.Identity) bool { return o == id })
			continue
		}
		out = append(out, p)
	}
	if len(out) == 0 && len(matched) == 0 {
		return fail(cmp.Or(why, errNobody))
	}
	return out
}

// check parses the rule alone.
func (p *placedRule) check() error {
	_, _, err := pinned(p.place, []ruleText{p.ruleText})
	return err
}

// sayable checks the rule and drops triggers that no rule may name, unless none
// is left.
func (p *placedRule) sayable(tr *translation, n *neutral, r releaser) error {
	err := p.check()
	if err == nil || len(r.Triggers) == 0 {
		return err
	}
	var good []string
	for _, t := range r.Triggers {
		alone := *p
		alone.triggers = []string{t}
		if why := alone.check(); why == nil {
			good = append(good, t)
		} else {
			left := func(id policy.Identity) bool { return r.matches(id) && id.Trigger() == t }
			tr.leaveOut(n.ID+": "+r.String()+" on "+t, why, left)
		}
	}
	if len(good) == 0 {
		return err
	}
	p.triggers = good
	return p.check()
}

// results returns what the rule makes of an identity.
func (p *placedRule) results(id policy.Identity) []policy.RuleResult {
	_, t, err := pinned(p.place, []ruleText{p.ruleText})
	if err != nil {
		return nil
	}
	d, final := t.Precheck(policy.Request{Now: time.Now()}, policy.Claims{Signer: id})
	if !final {
		return []policy.RuleResult{{}}
	}
	return d.Rules
}

func (p *placedRule) takes(id policy.Identity) bool {
	return slices.ContainsFunc(p.results(id), policy.RuleResult.IdentityMatches)
}

// mismatch says why a rule that was written for an identity does not take it.
func (p *placedRule) mismatch(id policy.Identity) error {
	var codes []string
	for _, r := range p.results(id) {
		for _, m := range r.Mismatches {
			codes = append(codes, fmt.Sprintf("%s %q %s", m.Code(), m.Got, m.Hint))
		}
	}
	return fmt.Errorf("no rule takes it: %s", strings.Join(codes, ", "))
}
