// SPDX-License-Identifier: Apache-2.0

package command

import (
	"os"

	"golang.org/x/term"

	"github.com/repopolicy/repopolicy/internal/report"
)

// columns is how wide a terminal is taken to be that does not say so.
const columns = 80

// widthOf returns how many columns a terminal has; 0 for what is none.
func widthOf(f *os.File) int {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return 0
	}
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		return width
	}
	return columns
}

// screens tells the printers what they write to. When is the value of --color; "" is auto: colours
// where there is a terminal that has some, unless NO_COLOR is set (https://no-color.org).
func (r *Run) screens(when string) {
	for _, s := range []struct {
		printer *report.Printer
		width   int
	}{{r.Out, r.OutWidth}, {r.Err, r.ErrWidth}} {
		colour := when == "always" || when != "never" && s.width > 0 && !r.dumb() && r.setting("NO_COLOR") == ""
		s.printer.Show(report.Terminal{Width: s.width, Colour: colour})
	}
}

// dumb reports whether the terminal has no colours and cannot go back in a line.
func (r *Run) dumb() bool { return r.setting("TERM") == "dumb" }

// setting returns a variable of the environment.
func (r *Run) setting(name string) string {
	if r.Getenv == nil {
		return ""
	}
	return r.Getenv(name)
}
