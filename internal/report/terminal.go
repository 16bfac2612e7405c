// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"

	"golang.org/x/text/width"
)

// Terminal is what is known of what a printer writes to. The zero value is a file or a pipe: lines
// are as long as they are, and nothing has a colour.
type Terminal struct {
	Width  int  // in cells; 0 breaks no line
	Colour bool // ECMA-48 colours are understood
}

// Show lets the printer write for a terminal.
func (p *Printer) Show(t Terminal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.terminal = t
}

// Style is how the beginning of a line looks where there are colours: parameters of ECMA-48's SGR.
type Style string

// The styles.
const (
	Plain Style = ""
	Bold  Style = "1"
	Good  Style = "1;32" // green
	Bad   Style = "1;31" // red
	Alert Style = "1;33" // yellow
)

// Head prints one line as Line does, which begins with a word of our own in a style.
func (p *Printer) Head(s Style, head, format string, args ...any) {
	p.show(s, head, fmt.Sprintf(format, args...))
}

// show prints one line, which is broken between words where it is wider than the terminal.
func (p *Printer) show(s Style, head, rest string) {
	p.mu.Lock()
	t := p.terminal
	p.mu.Unlock()
	text := line(head + rest)
	lines := wrap(text, t.Width, hang(text))
	if t.Colour && s != Plain && strings.HasPrefix(lines[0], head) {
		lines[0] = "\x1b[" + string(s) + "m" + head + "\x1b[0m" + lines[0][len(head):]
	}
	p.Raw(strings.Join(lines, "\n") + "\n")
}

// leastIndent is by how much what goes on in a further line is set in.
const leastIndent = 2

// hang returns the column at which a line goes on in the next one: that of its second column, which
// two blanks set apart from the first, or a little more than its own indentation.
func hang(text string) int {
	rest := strings.TrimLeft(text, " ")
	indent := len(text) - len(rest)
	for _, end := range []string{"error: ", "hint: ", "note: ", "next: ", "alarm: "} {
		if strings.HasPrefix(rest, end) {
			return indent + len(end)
		}
	}
	first, second, apart := strings.Cut(rest, "  ")
	column := indent + cells(first) + 2 + len(second) - len(strings.TrimLeft(second, " "))
	if apart && column <= mostHang {
		return column
	}
	return indent + leastIndent
}

// mostHang is the last column at which a line goes on in the next one.
const mostHang = 24

// wrap breaks a line between words so that no part is wider than width, if no word is. Width 0
// breaks nothing.
func wrap(text string, width, indent int) []string {
	if width <= 0 || cells(text) <= width {
		return []string{text}
	}
	var lines []string
	var b strings.Builder
	at := 0 // cells in b
	for i, word := range strings.SplitAfter(text, " ") {
		n := cells(strings.TrimRight(word, " "))
		if i > 0 && n > 0 && at+n > width && strings.TrimSpace(b.String()) != "" {
			lines = append(lines, strings.TrimRight(b.String(), " "))
			b.Reset()
			at = indent
			if indent+n > width { // a digest, or an address
				at = leastIndent
				if own := len(text) - len(strings.TrimLeft(text, " ")); own+at+n <= width {
					at += own
				}
			}
			b.WriteString(strings.Repeat(" ", at))
		}
		b.WriteString(word)
		at += cells(word)
	}
	return append(lines, strings.TrimRight(b.String(), " "))
}

// cells returns how many cells of a terminal a text takes that was escaped: no character of it
// takes none.
func cells(s string) int {
	n := len(s)
	for _, r := range s {
		switch {
		case r < 0x80:
		case isWide(r):
			n += 2 - len(string(r))
		default:
			n += 1 - len(string(r))
		}
	}
	return n
}

func isWide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// Command prints a command to paste after a label. Where it is wider than the terminal it goes on
// in the next line, as a shell lets it.
func (p *Printer) Command(label string, words []string) {
	p.mu.Lock()
	t := p.terminal
	p.mu.Unlock()
	const more = " \\"
	var lines []string
	current, first := label, true
	for _, w := range words {
		switch {
		case first:
			current += w
		case t.Width > 0 && cells(current)+1+cells(w)+len(more) > t.Width:
			lines = append(lines, current+more)
			current = strings.Repeat(" ", len(label)) + w
		default:
			current += " " + w
		}
		first = false
	}
	for _, l := range append(lines, current) {
		p.Raw(line(l) + "\n")
	}
}
