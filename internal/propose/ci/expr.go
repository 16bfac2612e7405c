// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"encoding/json"
	"strconv"
	"strings"
)

// scope says what a context such as github.ref or inputs.tag holds.
type scope func(path []string) value

// maxDepth is how deep an expression may nest.
const maxDepth = 40

// parser evaluates an expression of GitHub Actions while it reads it.
//
// https://docs.github.com/actions/reference/workflows-and-actions/expressions
type parser struct {
	text  string
	pos   int
	depth int
	look  scope
	bad   bool
}

// evaluate returns what is known of an expression. What cannot be read is not known.
func evaluate(text string, look scope) value {
	p := &parser{text: text, look: look}
	v := p.or()
	if p.space(); p.bad || p.pos < len(p.text) {
		return unknown
	}
	return v
}

func (p *parser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *parser) accept(tokens ...string) string {
	p.space()
	for _, t := range tokens {
		if strings.HasPrefix(p.text[p.pos:], t) {
			p.pos += len(t)
			return t
		}
	}
	return ""
}

func (p *parser) or() value {
	if p.depth++; p.depth > maxDepth {
		p.bad = true
		return unknown
	}
	defer func() { p.depth-- }()
	v := p.and()
	for p.accept("||") != "" {
		v = or(v, p.and())
	}
	return v
}

func (p *parser) and() value {
	v := p.comparison()
	for p.accept("&&") != "" {
		v = and(v, p.comparison())
	}
	return v
}

func (p *parser) comparison() value {
	v := p.unary()
	for {
		op := p.accept("==", "!=", "<=", ">=", "<", ">")
		if op == "" {
			return v
		}
		v = compare(op, v, p.unary())
	}
}

func compare(op string, a, b value) value {
	switch op {
	case "==":
		return value{truth: equal(a, b)}.decided()
	case "!=":
		return not(value{truth: equal(a, b)})
	}
	if !a.known || !b.known {
		return unknown
	}
	x, y := number(a.v), number(b.v)
	return known(op == "<" && x < y || op == ">" && x > y || op == "<=" && x <= y || op == ">=" && x >= y)
}

// decided makes a condition a known boolean where its truth is known.
func (x value) decided() value {
	if x.truth == maybe {
		return unknown
	}
	return known(x.truth == yes)
}

func (p *parser) unary() value {
	p.space()
	if strings.HasPrefix(p.text[p.pos:], "!") && !strings.HasPrefix(p.text[p.pos:], "!=") {
		p.pos++
		if p.depth++; p.depth > maxDepth {
			p.bad = true
			return unknown
		}
		defer func() { p.depth-- }()
		return not(p.unary())
	}
	return p.primary()
}

func (p *parser) primary() value {
	if p.accept("(") != "" {
		v := p.or()
		p.bad = p.bad || p.accept(")") == ""
		return v
	}
	if p.pos >= len(p.text) {
		p.bad = true
		return unknown
	}
	switch c := p.text[p.pos]; {
	case c == '\'':
		return p.quoted()
	case c >= '0' && c <= '9' || c == '-' || c == '+':
		return p.number()
	case isName(c):
		return p.name()
	}
	p.bad = true
	return unknown
}

func (p *parser) quoted() value {
	var b strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		if p.text[p.pos] != '\'' {
			b.WriteByte(p.text[p.pos])
			continue
		}
		if p.pos++; p.pos >= len(p.text) || p.text[p.pos] != '\'' {
			return known(b.String())
		}
		b.WriteByte('\'')
	}
	p.bad = true
	return unknown
}

func (p *parser) number() value {
	start := p.pos
	for p.pos < len(p.text) && strings.IndexByte("0123456789.+-xeabcdfABCDEF", p.text[p.pos]) >= 0 {
		p.pos++
	}
	f, err := strconv.ParseFloat(p.text[start:p.pos], 64)
	if err != nil {
		return unknown
	}
	return known(f)
}

func isName(c byte) bool {
	return c == '_' || c == '-' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (p *parser) word() string {
	start := p.pos
	for p.pos < len(p.text) && isName(p.text[p.pos]) {
		p.pos++
	}
	return p.text[start:p.pos]
}

// name reads a literal, a call, or a path into a context.
func (p *parser) name() value {
	first := p.word()
	switch strings.ToLower(first) {
	case "true":
		return known(true)
	case "false":
		return known(false)
	case "null":
		return known(nil)
	}
	if p.accept("(") != "" {
		return p.selects(call(strings.ToLower(first), p.arguments()))
	}
	path := []string{first}
	for {
		switch p.accept(".", "[") {
		case ".":
			if p.accept("*") != "" {
				path = append(path, "*")
				continue
			}
			path = append(path, p.word())
		case "[":
			v := p.or()
			p.bad = p.bad || p.accept("]") == ""
			s, ok := v.text()
			if !ok {
				s = "*"
			}
			path = append(path, s)
		default:
			return p.look(path)
		}
	}
}

// selects reads what is taken out of the result of a call, which is not known.
func (p *parser) selects(v value) value {
	for {
		switch p.accept(".", "[") {
		case ".":
			p.word()
		case "[":
			p.or()
			p.bad = p.bad || p.accept("]") == ""
		default:
			return v
		}
		v = unknown
	}
}

func (p *parser) arguments() (out []value) {
	if p.accept(")") != "" {
		return nil
	}
	for !p.bad {
		out = append(out, p.or())
		switch p.accept(",", ")") {
		case ")":
			return out
		case "":
			p.bad = true
		}
	}
	return out
}

// call is a function of GitHub's; those that ask how a run went so far take it to go well.
func call(name string, args []value) value {
	switch name {
	case "always", "success":
		return known(true)
	case "failure", "cancelled":
		return known(false)
	case "startswith":
		return onTexts(args, func(a, b string) bool { return strings.HasPrefix(a, b) })
	case "endswith":
		return onTexts(args, func(a, b string) bool { return strings.HasSuffix(a, b) })
	case "contains":
		return contains(args)
	case "fromjson":
		return fromJSON(args)
	case "format":
		return format(args)
	}
	return unknown
}

func onTexts(args []value, test func(a, b string) bool) value {
	if len(args) != 2 {
		return unknown
	}
	a, ok1 := args[0].text()
	b, ok2 := args[1].text()
	if !ok1 || !ok2 {
		return unknown
	}
	return known(test(strings.ToLower(a), strings.ToLower(b)))
}

func contains(args []value) value {
	if len(args) != 2 || !args[0].known {
		return unknown
	}
	list, ok := args[0].v.([]any)
	if !ok {
		return onTexts(args, strings.Contains)
	}
	out := no
	for _, x := range list {
		switch equal(known(x), args[1]) {
		case yes:
			return known(true)
		case maybe:
			out = maybe
		}
	}
	return value{truth: out}.decided()
}

func fromJSON(args []value) value {
	if len(args) != 1 {
		return unknown
	}
	s, ok := args[0].text()
	var v any
	if !ok || json.Unmarshal([]byte(s), &v) != nil {
		return unknown
	}
	if _, object := v.(map[string]any); object {
		return unknown
	}
	return known(v)
}

func format(args []value) value {
	if len(args) == 0 {
		return unknown
	}
	s, ok := args[0].text()
	if !ok {
		return unknown
	}
	for i, a := range args[1:] {
		t, ok := a.text()
		if !ok {
			t = string(Hole)
		}
		s = strings.ReplaceAll(s, "{"+strconv.Itoa(i)+"}", t)
	}
	return known(s)
}

// Hole stands in a text for a part that is not known before the workflow runs.
const Hole = '\uFFFD'

// maxTexts is how many readings of one text are kept.
const maxTexts = 40

// fill puts what is known into a text with ${{ }}: all texts that it may be, with a Hole for
// each part of which nothing is known.
func fill(text string, look scope) []string {
	out := []string{""}
	for {
		before, rest, found := strings.Cut(text, "${{")
		out = product(out, []string{before})
		if !found {
			return out
		}
		expr, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return product(out, []string{string(Hole)})
		}
		parts := evaluate(expr, look).texts()
		if len(parts) == 0 {
			parts = []string{string(Hole)}
		}
		out, text = product(out, parts), after
	}
}

func product(left, right []string) []string {
	var out []string
	for _, a := range left {
		for _, b := range right {
			if len(out) < maxTexts {
				out = append(out, a+b)
			}
		}
	}
	return out
}

// condition evaluates an `if`, with or without ${{ }} around it.
func condition(text string, look scope) truth {
	text = strings.TrimSpace(text)
	if text == "" {
		return yes
	}
	if inner, ok := strings.CutPrefix(text, "${{"); ok {
		if inner, ok = strings.CutSuffix(inner, "}}"); ok && !strings.Contains(inner, "${{") {
			return evaluate(inner, look).truth
		}
	}
	if strings.Contains(text, "${{") {
		return maybe
	}
	return evaluate(text, look).truth
}
