// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strings"
)

// maxPatternBytes is the longest pattern that a policy may hold.
const maxPatternBytes = 512

// Pattern is a pattern over tags, refs or artifact names (SPEC 4): anchored at
// both ends, every byte stands for itself except '*', which stands for zero or
// more bytes other than '/'. There is no escape. The zero value matches
// nothing.
type Pattern struct{ text string }

// ParsePattern checks s against the rules for patterns: printable ASCII, at
// most maxPatternBytes, no "**", none of the bytes `?[]{}()|\^$!` that other
// matchers give a meaning to, no empty segment, and a literal byte at the
// beginning or at the end. The error says which rule s breaks.
func ParsePattern(s string) (Pattern, error) {
	switch {
	case s == "":
		return Pattern{}, errors.New("a pattern must not be empty")
	case len(s) > maxPatternBytes:
		return Pattern{}, fmt.Errorf("a pattern has at most %d bytes", maxPatternBytes)
	case strings.Contains(s, "**"):
		return Pattern{}, errors.New("'**' is not part of the pattern language: '*' stays inside one segment")
	case s[0] == '*' && s[len(s)-1] == '*':
		return Pattern{}, errors.New("a pattern must begin or end with a literal character")
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f:
			return Pattern{}, errors.New("a pattern consists of printable ASCII without spaces")
		case strings.IndexByte(`?[]{}()|\^$!`, c) >= 0:
			return Pattern{}, fmt.Errorf("%q has no meaning in a pattern: only '*' is special", c)
		case c == '/' && (i == 0 || i == len(s)-1 || s[i-1] == '/'):
			return Pattern{}, errors.New("a pattern must not have an empty segment")
		}
	}
	return Pattern{text: s}, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether the whole of name is matched by p. It takes time
// proportional to len(p) × len(name) at worst.
func (p Pattern) Match(name string) bool {
	if p.text == "" {
		return false
	}
	pat := p.text
	pi, ni := 0, 0
	star, mark := -1, 0 // last '*' seen and where in name its run ends so far
	for ni < len(name) {
		switch {
		case pi < len(pat) && pat[pi] == '*':
			star, mark = pi, ni
			pi++
		case pi < len(pat) && pat[pi] == name[ni]:
			pi++
			ni++
		case star >= 0 && name[mark] != '/':
			mark++
			pi, ni = star+1, mark
		default:
			return false
		}
	}
	for pi < len(pat) && pat[pi] == '*' {
		pi++
	}
	return pi == len(pat)
}

// overlaps reports whether some string is matched by both patterns.
func (p Pattern) overlaps(q Pattern) bool {
	a, b := p.text, q.text
	if a == "" || b == "" {
		return false
	}
	// Reachable pairs of positions in the product of the two matchers.
	seen := make([]bool, (len(a)+1)*(len(b)+1))
	var walk func(i, j int) bool
	walk = func(i, j int) bool {
		if k := i*(len(b)+1) + j; seen[k] {
			return false
		} else {
			seen[k] = true
		}
		if i == len(a) && j == len(b) {
			return true
		}
		starA, starB := i < len(a) && a[i] == '*', j < len(b) && b[j] == '*'
		if starA && walk(i+1, j) || starB && walk(i, j+1) {
			return true
		}
		switch {
		case i == len(a) || j == len(b) || starA && starB:
			return false
		case starA:
			return b[j] != '/' && walk(i, j+1)
		case starB:
			return a[i] != '/' && walk(i+1, j)
		default:
			return a[i] == b[j] && walk(i+1, j+1)
		}
	}
	return walk(0, 0)
}

// PatternSet is the value of `tags`, `refs` and `artifacts`: a list of
// patterns, or one of the words "any" and (tags only) "semver". The zero value
// matches nothing.
type PatternSet struct {
	any    bool
	semver bool
	list   []Pattern
}

// Any reports whether the set is the word "any".
func (s PatternSet) Any() bool { return s.any }

// Semver reports whether the set is the word "semver".
func (s PatternSet) Semver() bool { return s.semver }

// Patterns returns the patterns of the set, none for a word.
func (s PatternSet) Patterns() []Pattern { return append([]Pattern(nil), s.list...) }

func (s PatternSet) isZero() bool { return !s.any && !s.semver && len(s.list) == 0 }

// Match reports whether name is matched by the set. The empty name is matched
// by nothing, not even by "any": a name that is not known is not a name.
func (s PatternSet) Match(name string) bool {
	if name == "" {
		return false
	}
	if s.any || s.semver && isSemver(name) {
		return true
	}
	for _, p := range s.list {
		if p.Match(name) {
			return true
		}
	}
	return false
}

// String returns the set as it would stand in a message.
func (s PatternSet) String() string {
	switch {
	case s.any:
		return "any"
	case s.semver:
		return "semver (1.2.3 or v1.2.3)"
	}
	t := make([]string, len(s.list))
	for i, p := range s.list {
		t[i] = p.text
	}
	return strings.Join(t, ", ")
}

func (s PatternSet) overlaps(o PatternSet) bool {
	if s.isZero() || o.isZero() {
		return false
	}
	if s.any || o.any {
		return true
	}
	for _, p := range s.spread() {
		for _, q := range o.spread() {
			if p.overlaps(q) {
				return true
			}
		}
	}
	return false
}

// spread returns patterns that match at least what the set matches; for
// "semver" that is a little more than its language.
func (s PatternSet) spread() []Pattern {
	if s.semver {
		return []Pattern{{"v*.*.*"}, {"*.*.*"}}
	}
	return s.list
}

// isSemver reports whether s is a version of Semantic Versioning 2.0.0,
// optionally preceded by one 'v'.
func isSemver(s string) bool {
	s = strings.TrimPrefix(s, "v")
	s, build, hasBuild := strings.Cut(s, "+")
	if hasBuild && !dotted(build, false) {
		return false
	}
	core, pre, hasPre := strings.Cut(s, "-")
	if hasPre && !dotted(pre, true) {
		return false
	}
	n := strings.Split(core, ".")
	return len(n) == 3 && isNumber(n[0]) && isNumber(n[1]) && isNumber(n[2])
}

// dotted reports whether s is a dot-separated list of non-empty identifiers of
// ASCII letters, digits and '-'; with strict set, numbers have no leading zero.
func dotted(s string, strict bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		digits := true
		for i := range len(id) {
			c := id[i]
			if c < '0' || c > '9' {
				digits = false
				if c != '-' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
					return false
				}
			}
		}
		if id == "" || strict && digits && !isNumber(id) {
			return false
		}
	}
	return true
}

// isNumber reports whether s is `0|[1-9][0-9]*`.
func isNumber(s string) bool {
	if s == "" || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
