// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

const maxProblems = 100 // reported at once

// Parse reads a policy file. The error is a [*ParseError]: what is wrong and
// where. A document is returned only if everything in it is understood and
// every value is allowed; nothing is ignored and nothing is repaired.
func Parse(src []byte) (*Document, error) {
	at, p := scan(src)
	if p != nil {
		return nil, &ParseError{[]Problem{*p}}
	}
	raw := map[string]any{}
	if err := toml.Unmarshal(src, &raw); err != nil {
		return nil, &ParseError{[]Problem{libraryProblem(err)}}
	}
	d := &decoder{at: at}
	doc := &Document{bytes: bytes.Clone(src), sum: Digest{"sha256", spelling.Sum(src)}, at: at}
	d.file(d.node("", raw), &doc.file)
	if len(d.problems) > 0 {
		arrange.By(d.problems, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
		})
		return nil, &ParseError{d.problems}
	}
	return doc, nil
}

// libraryProblem turns what the TOML library says into a problem. It only sees
// texts that the scanner took, so this is rare: an escape that does not exist,
// a table that is also a value.
func libraryProblem(err error) Problem {
	p := Problem{Pos: Pos{1, 1}, Reason: PolicySyntax, Msg: strings.TrimPrefix(err.Error(), "toml: ")}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		p.Pos.Line, p.Pos.Column = de.Position()
	}
	return p
}

// nearest returns the place of path, or of the closest thing around it, or the
// beginning of the file.
func nearest(at map[string]Pos, path string) Pos {
	for path != "" {
		if p, ok := at[path]; ok {
			return p
		}
		path = path[:max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['), 0)]
	}
	return Pos{1, 1}
}

type decoder struct {
	at       map[string]Pos
	problems []Problem
	roots    map[string]string // the trust roots that rules name, and their urls
	targets  int               // of trust roots that rules take keys from
}

func (d *decoder) report(path string, reason Reason, hint, format string, args ...any) {
	p := Problem{nearest(d.at, path), path, reason, fmt.Sprintf(format, args...), hint}
	switch {
	case len(d.problems) < maxProblems:
		d.problems = append(d.problems, p)
	case p.wrong() && !slices.ContainsFunc(d.problems, Problem.wrong): // it decides the reason
		d.problems[maxProblems-1] = p
	}
}

// node is one table. Every key that is asked for counts as known; finish
// reports the others.
type node struct {
	d     *decoder
	path  string
	m     map[string]any
	known []string
}

func (d *decoder) node(path string, m map[string]any) *node { return &node{d: d, path: path, m: m} }

func (n *node) key(k string) string { return join(n.path, k) }

func (n *node) get(k string) (any, bool) {
	n.known = append(n.known, k)
	v, ok := n.m[k]
	return v, ok
}

func (n *node) has(k string) bool { _, ok := n.m[k]; return ok }

// finish reports every key that nobody asked for.
func (n *node) finish() {
	for _, k := range slices.Sorted(maps.Keys(n.m)) {
		if len(n.d.problems) >= maxProblems {
			return
		}
		if !slices.Contains(n.known, k) {
			hint := ""
			if s := closest(k, n.known); s != "" {
				hint = fmt.Sprintf("did you mean %q?", s)
			}
			n.d.report(n.key(k), PolicyUnknownKey, hint, "unknown key")
		}
	}
}

func (n *node) missing(k, hint string) {
	n.d.report(n.key(k), PolicyMissing, hint, "is missing")
}

func (n *node) typ(k, want string, got any) {
	n.d.report(n.key(k), PolicyType, "", "must be %s, is %s", want, typeName(got))
}

// bad reports a value that is not allowed.
func (n *node) bad(k, hint, format string, args ...any) {
	n.d.report(n.key(k), PolicyValue, hint, format, args...)
}

func (n *node) conflict(k, hint, format string, args ...any) {
	n.d.report(n.key(k), PolicyConflict, hint, format, args...)
}

func typeName(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case int64:
		return "an integer"
	case bool:
		return "true or false"
	case time.Time:
		return "a date-time"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprintf("a %T", v)
}

// str returns the text at k, "" if there is none. Text is never empty and, but
// for line feeds where lines is set, has no character that a reader cannot see.
func (n *node) str(k string, lines bool) string {
	v, ok := n.get(k)
	if !ok {
		return ""
	}
	return n.text(k, v, lines)
}

func (n *node) text(k string, v any, lines bool) string {
	s, ok := v.(string)
	if !ok {
		n.typ(k, "text", v)
		return ""
	}
	if s == "" {
		n.bad(k, "leave the key out to demand nothing", "must not be empty")
		return ""
	}
	for _, r := range s {
		if forbiddenRune(r) && (r != '\n' || !lines) {
			n.d.report(n.key(k), PolicyBytes, "", "contains the character U+%04X, which is not allowed", r)
			return ""
		}
	}
	return s
}

// ascii returns text of printable ASCII, with spaces if allowed.
func (n *node) ascii(k string, v any, spaces bool) string {
	s := n.text(k, v, false)
	for i := range len(s) {
		if c := s[i]; c > 0x7e || c == ' ' && !spaces {
			n.bad(k, "", "must be printable ASCII%s", map[bool]string{false: " without spaces"}[spaces])
			return ""
		}
	}
	return s
}

func (n *node) asciiKey(k string, spaces bool) string {
	v, ok := n.get(k)
	if !ok {
		return ""
	}
	return n.ascii(k, v, spaces)
}

func (n *node) boolean(k string) bool {
	v, ok := n.get(k)
	if !ok {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		n.typ(k, "true or false", v)
	}
	return b
}

// flag is a boolean that is only ever written to switch something on.
func (n *node) flag(k string) bool {
	b := n.boolean(k)
	if n.has(k) && !b {
		if _, ok := n.m[k].(bool); ok {
			n.bad(k, "leave the key out", "false is the default and is not written")
		}
	}
	return b
}

func (n *node) integer(k string, least int64) int64 {
	v, ok := n.get(k)
	if !ok {
		n.missing(k, "")
		return 0
	}
	i, ok := v.(int64)
	if !ok {
		n.typ(k, "an integer", v)
		return 0
	}
	if i < least {
		n.bad(k, "", "must be at least %d", least)
		return 0
	}
	return i
}

func (n *node) time(k string, required bool) time.Time {
	v, ok := n.get(k)
	if !ok {
		if required {
			n.missing(k, "write YYYY-MM-DDTHH:MM:SSZ")
		}
		return time.Time{}
	}
	t, ok := v.(time.Time)
	if !ok {
		n.typ(k, "a date-time", v)
		return time.Time{}
	}
	if t.IsZero() || t.Year() < 1 {
		n.bad(k, "", "is not a time that can be judged")
	}
	return t.UTC()
}

// list returns the items at k; an empty list is an error.
func (n *node) list(k string, limit int) []any {
	v, ok := n.get(k)
	if !ok {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		n.typ(k, "a list", v)
		return nil
	}
	if len(l) == 0 {
		n.bad(k, "leave the key out to demand nothing", "must not be empty")
	}
	if len(l) > limit {
		n.d.report(n.key(k), PolicyTooLarge, "", "has at most %d items, here are %d", limit, len(l))
		return nil
	}
	return l
}

func item(k string, i int) string { return fmt.Sprintf("%s[%d]", k, i) }

// table returns the table at k, nil if there is none.
func (n *node) table(k string) *node {
	v, ok := n.get(k)
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		n.typ(k, "a table", v)
		return nil
	}
	return n.d.node(n.key(k), m)
}

// tables returns the tables of the list at k.
func (n *node) tables(k string, limit int) []*node {
	var out []*node
	for i, v := range n.list(k, limit) {
		m, ok := v.(map[string]any)
		if !ok {
			n.typ(item(k, i), "a table", v)
			continue
		}
		out = append(out, n.d.node(n.key(item(k, i)), m))
	}
	return out
}

// words returns a list of ASCII texts without repetition.
func (n *node) words(k string) []string {
	var out []string
	for i, v := range n.list(k, maxListItems) {
		s := n.ascii(item(k, i), v, false)
		if s != "" && slices.Contains(out, s) {
			n.d.report(n.key(item(k, i)), PolicyDuplicate, "", "%q stands twice", s)
		}
		out = append(out, s)
	}
	return out
}

// patterns returns the pattern set at k; words lists which words it may be.
func (n *node) patterns(k string, required bool, words ...string) PatternSet {
	v, ok := n.get(k)
	if !ok {
		if required {
			hint := "write a list of patterns"
			if len(words) > 0 {
				hint += fmt.Sprintf(`, or "%s" to allow every one`, words[0])
			}
			n.missing(k, hint)
		}
		return PatternSet{}
	}
	if s, ok := v.(string); ok {
		if !slices.Contains(words, s) {
			n.bad(k, fmt.Sprintf("write [%q] for a pattern", s), "must be a list of patterns%s", orWords(words))
		}
		return PatternSet{any: s == "any", semver: s == "semver"}
	}
	var set PatternSet
	for i, v := range n.list(k, maxListItems) {
		s, ok := v.(string)
		if !ok {
			n.typ(item(k, i), "text", v)
			continue
		}
		p, err := ParsePattern(s)
		if err != nil {
			n.bad(item(k, i), "", "%s", err)
			continue
		}
		if slices.Contains(set.list, p) {
			n.d.report(n.key(item(k, i)), PolicyDuplicate, "", "%q stands twice", s)
		}
		set.list = append(set.list, p)
	}
	return set
}

func orWords(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return ` or "` + strings.Join(words, `" or "`) + `"`
}

// closest returns the word of known that is at most two edits from k.
func closest(k string, known []string) string {
	best, word := 3, ""
	for _, w := range known {
		if d := distance(k, w, best); d < best {
			best, word = d, w
		}
	}
	return word
}

// distance returns the edit distance of a and b, or limit if it is not less.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0]++
		for j := range len(b) {
			d := diag + btoi(a[i] != b[j])
			diag = row[j+1]
			row[j+1] = min(d, row[j]+1, diag+1)
		}
	}
	return min(row[len(b)], limit)
}
