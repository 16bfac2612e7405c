// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"strings"
)

// configReader reads a configuration file in the syntax of git-config(1). What Git refuses is
// refused. Values are texts; a key without a value has the empty one.
type configReader struct {
	left []byte
	line int // of the next byte, from 1
}

// readConfig calls do with section and key, in lower case, subsection and value of every
// setting, in order. Files that are included are not read.
func readConfig(data []byte, do func(section, subsection, key, value string) error) error {
	c := &configReader{left: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), line: 1}
	if bytes.IndexByte(data, 0) >= 0 {
		return malformed("config: a zero byte")
	}
	var section, subsection string
	for {
		switch b := c.next(); {
		case b == 0:
			return nil
		case b == '\n', space(b):
		case b == '#', b == ';':
			c.comment()
		case b == '[':
			var ok bool
			if section, subsection, ok = c.header(); !ok {
				return malformed("config: line %d: a section header", c.line)
			}
		default:
			line := c.line
			key, value, ok := c.setting(b)
			if !ok || section == "" {
				return malformed("config: line %d: neither a section nor a setting", line)
			}
			if err := do(section, subsection, key, value); err != nil {
				return err
			}
		}
	}
}

// next returns the next byte, 0 after the last one. A carriage return before a line feed is
// part of it.
func (c *configReader) next() byte {
	if len(c.left) == 0 {
		return 0
	}
	if bytes.HasPrefix(c.left, []byte("\r\n")) {
		c.left = c.left[1:]
	}
	b := c.left[0]
	c.left = c.left[1:]
	if b == '\n' {
		c.line++
	}
	return b
}

// comment passes over what is left of the line, but for its end.
func (c *configReader) comment() {
	if end := bytes.IndexByte(c.left, '\n'); end >= 0 {
		c.left = c.left[end:]
	} else {
		c.left = nil
	}
}

// header reads what follows a bracket: [section], [section "subsection"], or [section.subsection],
// as Git once wrote it.
func (c *configReader) header() (section, subsection string, ok bool) {
	var name []byte
	for {
		b := c.next()
		switch {
		case b == ']':
			section, subsection, _ = strings.Cut(lower(name), ".")
			return section, subsection, section != ""
		case space(b):
			section, ok = lower(name), len(name) > 0
			for ok && space(b) {
				b = c.next()
			}
			if !ok || b != '"' {
				return "", "", false
			}
			subsection, ok = c.quoted()
			return section, subsection, ok && c.next() == ']'
		case b != '.' && !keyByte(b):
			return "", "", false
		}
		name = append(name, b)
	}
}

// quoted reads the name of a subsection and the quote that ends it.
func (c *configReader) quoted() (string, bool) {
	var name []byte
	for {
		b := c.next()
		if b == '"' {
			return string(name), true
		}
		if b == '\\' {
			b = c.next()
		}
		if b == 0 || b == '\n' {
			return "", false
		}
		name = append(name, b)
	}
}

// setting reads a key that begins with b, and its value.
func (c *configReader) setting(b byte) (key, value string, ok bool) {
	if !letter(b) {
		return "", "", false
	}
	var name []byte
	for keyByte(b) {
		name = append(name, b)
		b = c.next()
	}
	for b == ' ' || b == '\t' {
		b = c.next()
	}
	switch b {
	case 0, '\n':
		return lower(name), "", true
	case '=':
		value, ok = c.value()
		return lower(name), value, ok
	}
	return "", "", false
}

// value reads a value until the end of its line. Blanks around it are not part of it.
func (c *configReader) value() (string, bool) {
	var out []byte
	blanks, quote := 0, false // at the end of out and not quoted
	for {
		b := c.next()
		switch {
		case b == 0, b == '\n':
			return string(out[:len(out)-blanks]), !quote
		case quote: // as it stands, but for quotes and escapes
		case space(b):
			if len(out) > 0 {
				out, blanks = append(out, b), blanks+1
			}
			continue
		case b == '#', b == ';':
			c.comment()
			continue
		}
		switch b {
		case '"':
			quote, blanks = !quote, 0
			continue
		case '\\':
			blanks = 0
			if b = c.next(); b == '\n' {
				continue
			}
			i := strings.IndexByte(`"\ntb`, b)
			if b == 0 || i < 0 {
				return "", false
			}
			b = "\"\\\n\t\b"[i]
		}
		out, blanks = append(out, b), 0
	}
}

func lower(name []byte) string { return string(bytes.ToLower(name)) }

func letter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

func keyByte(b byte) bool { return letter(b) || '0' <= b && b <= '9' || b == '-' }

// space reports whether Git counts b as blank, but for a line feed.
func space(b byte) bool { return b == ' ' || b == '\t' || b == '\r' }
