// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/spelling"
)

// Limits of the policy file (SPEC 3.1). Each is checked before the work that it
// bounds is done.
const (
	maxStringBytes = 4 << 10 // one string
	maxNesting     = 4       // arrays and inline tables within each other
	maxRules       = 200     // [[release]]
	maxMembers     = 100     // [[maintainers.member]]
	maxListItems   = 1000    // any other list, and all [tables] together
	maxKeys        = 100     // keys of one table
)

const (
	maxDigits   = 9  // of an integer
	maxKeyBytes = 64 // of one key
)

// Pos is a place in the policy file; both numbers count from 1 and Column
// counts characters. The zero value means that no place is known.
type Pos struct{ Line, Column int }

// String returns "line:column", or "" for the zero value.
func (p Pos) String() string {
	if p == (Pos{}) {
		return ""
	}
	return fmt.Sprintf("%d:%d", p.Line, p.Column)
}

// scanner checks that a text is in the policy language's subset of TOML before
// any library sees it, and remembers where every key and value stands. It
// accepts nothing that TOML 1.0 refuses; what a library then makes of the text
// is decoded by decode.go.
type scanner struct {
	src   string
	off   int
	line  int
	start int             // offset up to which column counts
	col   int             // column of start
	at    map[string]Pos  // path of a key or array element -> its place
	count map[string]int  // path of an array of tables -> elements so far
	named int             // tables and arrays of tables so far
	value map[string]bool // path of a key that has a value
}

// scan returns the places of all keys and array elements of src by path, for
// example "release[0].tags[1]".
func scan(src []byte) (map[string]Pos, *Problem) {
	if len(src) > spelling.MaxPolicyBytes {
		return nil, &Problem{
			Pos: Pos{1, 1}, Reason: PolicyTooLarge,
			Msg: fmt.Sprintf("a policy has at most %d bytes, this one has %d", spelling.MaxPolicyBytes, len(src)),
		}
	}
	if p := scanBytes(src); p != nil {
		return nil, p
	}
	s := &scanner{
		src: string(src), line: 1, col: 1, at: map[string]Pos{}, count: map[string]int{}, value: map[string]bool{},
	}
	table, keys := "", 0
	for s.off < len(s.src) {
		s.spaces()
		var p *Problem
		switch c := s.peek(); {
		case c == 0 || c == '\n' || c == '#':
		case c == '[':
			table, p = s.header()
			keys = 0
		default:
			if keys++; keys > maxKeys {
				return nil, s.fail(PolicyTooLarge, "a table has at most %d keys", maxKeys)
			}
			p = s.keyValue(table, 0)
		}
		if p == nil {
			p = s.endOfLine()
		}
		if p != nil {
			return nil, p
		}
	}
	return s.at, nil
}

// scanBytes refuses what must not stand anywhere in a policy.
func scanBytes(src []byte) *Problem {
	line, col := 1, 1
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		bad := ""
		switch {
		case r == utf8.RuneError && n == 1:
			bad = "is not UTF-8"
		case i == 0 && r == '\uFEFF':
			bad = "is a byte order mark"
		case r == '\r':
			bad = "is a carriage return; lines end with a line feed only"
		case r == '\t':
			bad = "is a tab; use spaces"
		case r != '\n' && forbiddenRune(r):
			bad = "is not allowed in a policy"
		}
		if bad != "" {
			what := fmt.Sprintf("character U+%04X", r)
			if r == utf8.RuneError && n == 1 {
				what = fmt.Sprintf("byte 0x%02x", src[i])
			}
			return &Problem{Pos: Pos{line, col}, Reason: PolicyBytes, Msg: what + " " + bad}
		}
		if r == '\n' {
			line, col = line+1, 0
		}
		col++
		i += n
	}
	return nil
}

// forbiddenRune reports whether r is a control, bidirectional or invisible
// character: text that a reader does not see as it is.
func forbiddenRune(r rune) bool {
	switch {
	case r < 0x20 || r >= 0x7f && r < 0xa0:
		return true
	case r == 0x00ad,
		r == 0x034f,
		r == 0x061c,
		r == 0x115f,
		r == 0x1160,
		r == 0x17b4,
		r == 0x17b5,
		r == 0x180e,
		r == 0x3164,
		r == 0xffa0:
		return true // soft hyphen, joiners, fillers, Arabic letter mark
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true // zero width, line separators, bidi embeddings and isolates
	case r >= 0xfe00 && r <= 0xfe0f, r == 0xfeff, r >= 0xfff0 && r <= 0xfffb:
		return true // variation selectors, BOM, interlinear marks
	case r >= 0xe000 && r <= 0xf8ff, r >= 0xe0000:
		return true // private use, tags
	case r&0xfffe == 0xfffe:
		return true // noncharacters
	}
	return false
}

func (s *scanner) peek() byte {
	if s.off < len(s.src) {
		return s.src[s.off]
	}
	return 0
}

// pos counts on from where it last counted, so that a long line costs no more
// than its length.
func (s *scanner) pos() Pos {
	s.col += utf8.RuneCountInString(s.src[s.start:s.off])
	s.start = s.off
	return Pos{s.line, s.col}
}

func (s *scanner) fail(reason Reason, format string, args ...any) *Problem {
	return &Problem{Pos: s.pos(), Reason: reason, Msg: fmt.Sprintf(format, args...)}
}

func (s *scanner) spaces() {
	for s.peek() == ' ' {
		s.off++
	}
}

func (s *scanner) newline() {
	s.off++
	s.line++
	s.start, s.col = s.off, 1
}

// endOfLine takes an optional comment and the end of the line.
func (s *scanner) endOfLine() *Problem {
	s.spaces()
	if s.peek() == '#' {
		s.comment()
	}
	switch {
	case s.off == len(s.src):
		return nil
	case s.peek() == '\n':
		s.newline()
		return nil
	}
	return s.fail(PolicySyntax, "unexpected %s after the value", s.found())
}

func (s *scanner) comment() {
	if i := strings.IndexByte(s.src[s.off:], '\n'); i >= 0 {
		s.off += i
	} else {
		s.off = len(s.src)
	}
}

// blank skips spaces, newlines and comments inside an array.
func (s *scanner) blank() {
	for {
		s.spaces()
		switch s.peek() {
		case '#':
			s.comment()
		case '\n':
			s.newline()
		default:
			return
		}
	}
}

// found describes the next character for a message.
func (s *scanner) found() string {
	if s.off >= len(s.src) {
		return "end of file"
	}
	if s.peek() == '\n' {
		return "end of line"
	}
	r, _ := utf8.DecodeRuneInString(s.src[s.off:])
	return fmt.Sprintf("%q", r)
}

// key takes one bare lower-case key.
func (s *scanner) key() (string, *Problem) {
	from := s.off
	for c := s.peek(); c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'; c = s.peek() {
		s.off++
	}
	key := s.src[from:s.off]
	switch c := s.peek(); {
	case len(key) > maxKeyBytes:
		return "", s.fail(PolicyTooLarge, "a key has at most %d characters", maxKeyBytes)
	case c == '"' || c == '\'':
		return "", s.fail(PolicySyntax, "quoted keys are not part of the policy language")
	case c >= 'A' && c <= 'Z' || c == '_':
		return "", s.fail(PolicySyntax, "keys consist of lower-case letters, digits and '-'")
	case key == "":
		return "", s.fail(PolicySyntax, "expected a key, found %s", s.found())
	}
	return key, nil
}

// header takes "[a.b]" or "[[a.b]]" and returns the path of the table.
func (s *scanner) header() (string, *Problem) {
	from := s.pos()
	s.off++
	array := s.peek() == '['
	if array {
		s.off++
	}
	path := ""
	for depth := 1; ; depth++ {
		if depth > maxNesting {
			return "", s.fail(PolicySyntax, "tables nest at most %d deep", maxNesting)
		}
		key, p := s.key()
		if p != nil {
			return "", p
		}
		path = join(path, key)
		if s.value[path] {
			return "", &Problem{
				Pos: from, Reason: PolicyDuplicate, Path: path,
				Msg: fmt.Sprintf("already has a value in line %d", s.at[path].Line),
			}
		}
		if s.peek() != '.' {
			break
		}
		s.off++
		if n := s.count[path]; n > 0 { // [x.y] belongs to the last [[x]]
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
	}
	for range 1 + btoi(array) {
		if s.peek() != ']' {
			return "", s.fail(PolicySyntax, "expected ']', found %s", s.found())
		}
		s.off++
	}
	if !array || s.count[path] == 0 {
		if s.named++; s.named > maxListItems {
			msg := fmt.Sprintf("a policy has at most %d tables", maxListItems)
			return "", &Problem{Pos: from, Reason: PolicyTooLarge, Msg: msg}
		}
	}
	if array {
		if s.count[path] == 0 {
			if _, dup := s.at[path]; dup {
				return "", &Problem{
					Pos: from, Reason: PolicyDuplicate, Path: path, Msg: "is already a table or a value",
				}
			}
			s.at[path] = from
		}
		n := s.count[path]
		s.count[path]++
		path = fmt.Sprintf("%s[%d]", path, n)
	}
	if first, dup := s.at[path]; dup {
		return "", &Problem{
			Pos: from, Reason: PolicyDuplicate, Path: path, Msg: fmt.Sprintf("already stands in line %d", first.Line),
		}
	}
	s.at[path] = from
	return path, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// keyValue takes `key = value`.
func (s *scanner) keyValue(table string, depth int) *Problem {
	from := s.pos()
	key, p := s.key()
	if p != nil {
		return p
	}
	path := join(table, key)
	if s.peek() == '.' {
		return s.fail(PolicySyntax, "dotted keys are not part of the policy language; write a [table]")
	}
	s.spaces()
	if s.peek() != '=' {
		return s.fail(PolicySyntax, "expected '=' after the key, found %s", s.found())
	}
	s.off++
	s.spaces()
	if first, dup := s.at[path]; dup {
		return &Problem{
			Pos: from, Reason: PolicyDuplicate, Path: path, Msg: fmt.Sprintf("already stands in line %d", first.Line),
		}
	}
	s.at[path], s.value[path] = from, true
	return s.any(path, depth)
}

// any takes one value.
func (s *scanner) any(path string, depth int) *Problem {
	switch c := s.peek(); {
	case c == '"' || c == '\'':
		return s.str(c)
	case c == '[':
		return s.array(path, depth+1)
	case c == '{':
		return s.inline(path, depth+1)
	default:
		return s.scalar()
	}
}

func (s *scanner) str(quote byte) *Problem {
	if strings.HasPrefix(s.src[s.off:], strings.Repeat(string(quote), 3)) {
		return s.fail(PolicySyntax, `multi-line strings are not part of the policy language; write \n in a string`)
	}
	open := *s
	s.off++
	for {
		switch c := s.peek(); {
		case c == 0 || c == '\n':
			return open.fail(PolicySyntax, "the string is not closed in its line")
		case c == quote:
			s.off++
			if s.off-open.off-2 > maxStringBytes {
				return open.fail(PolicyTooLarge, "a string has at most %d bytes", maxStringBytes)
			}
			return nil
		case c == '\\' && quote == '"':
			if s.off++; s.peek() == 0 || s.peek() == '\n' {
				return open.fail(PolicySyntax, "the string is not closed in its line")
			}
			if p := s.escape(); p != nil {
				return p
			}
		default:
			s.off++
		}
	}
}

// escape takes what follows a backslash: TOML 1.0 has no \e and no \x.
func (s *scanner) escape() *Problem {
	c := s.peek()
	if strings.IndexByte(`btnfr"\`, c) >= 0 {
		s.off++
		return nil
	}
	digits := map[byte]int{'u': 4, 'U': 8}[c]
	if digits == 0 {
		return s.fail(PolicySyntax, `there is no escape \%s; TOML 1.0 has \b \t \n \f \r \" \\ \uXXXX \UXXXXXXXX`,
			strings.Trim(s.found(), "'"))
	}
	s.off++
	text := s.src[s.off:min(s.off+digits, len(s.src))]
	n, err := strconv.ParseUint(text, 16, 32)
	if err != nil || len(text) < digits || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return s.fail(PolicySyntax, `\%c takes %d hex digits of a character`, c, digits)
	}
	s.off += digits
	return nil
}

func (s *scanner) array(path string, depth int) *Problem {
	if depth > maxNesting {
		return s.fail(PolicySyntax, "values nest at most %d deep", maxNesting)
	}
	s.off++
	for n := 0; ; n++ {
		s.blank()
		if s.peek() == ']' {
			break
		}
		if n >= maxListItems {
			return s.fail(PolicyTooLarge, "a list has at most %d items", maxListItems)
		}
		item := fmt.Sprintf("%s[%d]", path, n)
		s.at[item] = s.pos()
		if p := s.any(item, depth); p != nil {
			return p
		}
		s.blank()
		if s.peek() != ',' {
			break
		}
		s.off++
	}
	if s.peek() != ']' {
		return s.fail(PolicySyntax, "expected ',' or ']' in the list, found %s", s.found())
	}
	s.off++
	return nil
}

func (s *scanner) inline(path string, depth int) *Problem {
	if depth > maxNesting {
		return s.fail(PolicySyntax, "values nest at most %d deep", maxNesting)
	}
	s.off++
	s.spaces()
	if s.peek() == '}' {
		s.off++
		return nil
	}
	for n := 0; ; n++ {
		s.spaces()
		if n >= maxKeys {
			return s.fail(PolicyTooLarge, "a table has at most %d keys", maxKeys)
		}
		if p := s.keyValue(path, depth); p != nil {
			return p
		}
		s.spaces()
		if s.peek() != ',' {
			break
		}
		s.off++
	}
	if s.peek() != '}' {
		return s.fail(PolicySyntax, "expected ',' or '}' in the inline table, found %s", s.found())
	}
	s.off++
	return nil
}

// scalar takes true, false, an integer or a date-time.
func (s *scanner) scalar() *Problem {
	open := *s
	for c := s.peek(); c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c != 0 && strings.IndexByte("+-_.:", c) >= 0; c = s.peek() {
		s.off++
	}
	word := s.src[open.off:s.off]
	switch {
	case word == "":
		return s.fail(PolicySyntax, "expected a value, found %s", s.found())
	case word == "true" || word == "false":
		return nil
	case isNumber(word):
		if len(word) > maxDigits {
			return open.fail(PolicyValue, "an integer has at most %d digits", maxDigits)
		}
		return nil
	}
	if len(word) == len(timeFormat) && word[len(word)-1] == 'Z' {
		if _, err := time.Parse(timeFormat, word); err == nil {
			return nil
		}
	}
	if word[0] >= '0' && word[0] <= '9' && (strings.ContainsAny(word, ":T") || strings.Count(word, "-") == 2) {
		return open.fail(PolicySyntax, "%q is not a date-time; write YYYY-MM-DDTHH:MM:SSZ", word)
	}
	if strings.Trim(word, "0123456789+-_.xoabcdefABCDEF") == "" && strings.ContainsAny(word, "0123456789") {
		return open.fail(
			PolicySyntax, "%q is not an integer; write decimal digits without sign, leading zero or separator", word,
		)
	}
	return open.fail(
		PolicySyntax, "%q is not a value; write \"text\" in quotes, true, false, an integer or YYYY-MM-DDTHH:MM:SSZ",
		word,
	)
}

const timeFormat = "2006-01-02T15:04:05Z"
