// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/policy"
)

// Printer writes lines in which no character can move the cursor, change
// colours or reorder text: names come from artifacts, certificates and servers.
// It remembers the first error.
type Printer struct {
	mu       sync.Mutex
	w        io.Writer
	err      error
	terminal Terminal
}

// NewPrinter returns a printer.
func NewPrinter(w io.Writer) *Printer { return &Printer{w: w} }

// Err returns the first error of writing.
func (p *Printer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Write implements io.Writer for help texts of the flag library.
func (p *Printer) Write(b []byte) (int, error) {
	p.Text(string(b))
	return len(b), p.err
}

// Line prints one line; line feeds in it are escaped too.
func (p *Printer) Line(format string, args ...any) { p.show(Plain, "", fmt.Sprintf(format, args...)) }

// Line returns s as one line that is shown and does nothing. A CI's runner would take
// one that begins with "::" for a command.
func line(s string) string {
	s = Escape(s)
	if rest := strings.TrimLeft(s, " "); strings.HasPrefix(rest, "::") {
		s = s[:len(s)-len(rest)] + `\x3a` + rest[1:]
	}
	return s
}

// Ask prints a question, after which the answer stands in the same line.
func (p *Printer) Ask(question string) { p.Raw(line(question) + " ") }

// Verbatim prints text that is to be used as it is, in which nothing can be escaped.
// The error tells that it holds what line and text would escape.
func (p *Printer) Verbatim(s string) error {
	for l := range strings.SplitSeq(s, "\n") {
		if strings.HasPrefix(strings.TrimSpace(l), "::") || commandAt(l) >= 0 {
			return &policy.Fault{
				Reason: policy.PolicyValue, Text: "a CI's runner would take this line for a command: " + strings.TrimSpace(l),
				Hint: "nothing was printed; take \"::\" or \"##[\" out of the name",
			}
		}
	}
	p.Raw(s)
	return nil
}

// Text prints text of our own of several lines.
func (p *Printer) Text(s string) {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = line(lines[i])
	}
	p.Raw(strings.Join(lines, "\n"))
}

func (p *Printer) Raw(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

// Escape returns s with everything that a terminal would not show as one plain
// character written as \xNN or \u{NNNN}. A backslash that begins such a
// sequence in s itself is doubled, so that nothing can pose as an escape. What begins a
// command of a CI's runner anywhere in a line is escaped, too.
func Escape(s string) string {
	mayNeed := func(r rune) bool { return r < ' ' || r >= 0x7f || r == '\\' || r == '#' }
	if !strings.ContainsFunc(s, mayNeed) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strings.HasPrefix(s, `\x`), strings.HasPrefix(s, `\u`):
			b.WriteString(`\\`)
		case r == '#' && isCommand(s):
			b.WriteString(`\x23`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case isOneCell(r):
			b.WriteString(s[:n])
		default:
			fmt.Fprintf(&b, `\u{%04x}`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// isOneCell reports whether a terminal shows a character by itself, not on the one before it.
func isOneCell(r rune) bool {
	return r < 0x7f || unicode.IsPrint(r) && !unicode.Is(unicode.Mn, r) && !unicode.Is(unicode.Me, r)
}

// isCommand reports whether s begins as a command does that runners find anywhere in a
// line: "##[" (GitHub), "##vso[" (Azure), "##teamcity[".
func isCommand(s string) bool {
	rest, ok := strings.CutPrefix(s, "##")
	return ok && strings.HasPrefix(strings.TrimLeftFunc(rest, unicode.IsLetter), "[")
}

// commandAt returns where such a command begins, -1 if there is none.
func commandAt(s string) int {
	for i := range len(s) {
		if isCommand(s[i:]) {
			return i
		}
	}
	return -1
}

// JSON prints v as one indented document of ASCII.
func (p *Printer) JSON(v any) error {
	if r, ok := v.(*Report); ok {
		return r.write(rawWriter{p})
	}
	doc, err := document(v)
	if err == nil {
		p.Raw(doc)
	}
	return err
}

// rawWriter writes what is printed as it is.
type rawWriter struct{ p *Printer }

func (w rawWriter) Write(b []byte) (int, error) {
	w.p.Raw(string(b))
	return len(b), nil
}

func document(v any) (string, error) { return indented(v, "") }

// indented returns a document of which all lines but the first begin with prefix.
func indented(v any, prefix string) (string, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, "  ")
	err := enc.Encode(v)
	return asciiJSON(buf.Bytes()), err
}

// WriteJSON writes a document into a file, in one step.
func WriteJSON(path string, v any) error {
	if r, ok := v.(*Report); ok {
		return file.Copy(path, 0o644, r.write)
	}
	doc, err := document(v)
	if err == nil {
		err = file.Write(path, []byte(doc), 0o644)
	}
	return err
}

// asciiJSON replaces every character beyond ASCII in a JSON document, where it
// can only stand in a string, by its \u escape; and so the first of what a CI's runner
// could take for a command: "::", and what isCommand says.
func asciiJSON(doc []byte) string {
	var b strings.Builder
	text := string(doc)
	for i, r := range text {
		switch {
		case r == '#' && isCommand(text[i:]), r == ':' && strings.HasPrefix(text[i:], "::"):
			fmt.Fprintf(&b, `\u%04x`, r)
		case r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		}
	}
	return b.String()
}

// Status overwrites the current line of a terminal.
func (p *Printer) Status(format string, args ...any) {
	p.mu.Lock()
	t := p.terminal
	p.mu.Unlock()
	text := Escape(fmt.Sprintf(format, args...))
	if t.Width > 0 && cells(text) >= t.Width { // what is wider could not be overwritten
		text = string([]rune(text)[:t.Width/2])
	}
	p.Raw("\r\x1b[K" + text)
}
