// SPDX-License-Identifier: Apache-2.0

// Package sums reads checksum files: lists of digests and names, in the forms in which
// sha256sum, shasum, BSD's sha256, OpenSSL and release tools write them. A list is understood
// as a whole or not at all: one of which a line was skipped would vouch for less than it
// seems to (SPEC 20.1).
package sums

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxBytes is the largest checksum file that is read.
const MaxBytes = 24 << 20

// MaxEntries is how many files a list names at most.
const MaxEntries = 100_000

// maxRows is how many lines have a digest: each file may be listed by two algorithms.
const maxRows = 2 * MaxEntries

// List is a checksum file of which every line was understood.
type List struct {
	Entries []Entry // in the order in which the names stand first
	// Plain says that there is nothing but lines of digests that confirm something, in the forms
	// of sha256sum and OpenSSL: no title, no comment, no column in another place.
	Plain bool

	byName map[string]int   // of the entries
	byBase map[string][]int // of those that name a file in a directory
}

// Entry is what a list says about one name.
type Entry struct {
	Name    string          // a relative path without dot segments, with slashes
	Line    int             // the first that names it, from 1
	Digests []policy.Digest // of different algorithms, all of which the file must have
	Weak    string          // if there are none: what confirms nothing, such as "SHA-1"
}

// Parse reads a list. Called is the name of the file: the digest alone in widget.sha256 is
// that of widget. The error has the line.
func Parse(called string, data []byte) (*List, error) {
	if why := encoding(data); why != "" {
		return nil, fmt.Errorf("%s", why)
	}
	p := parser{list: &List{Plain: true, byName: map[string]int{}, byBase: map[string][]int{}}}
	n := 0
	for text := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		n++
		if err := p.read(n, strings.TrimSuffix(text, "\r")); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(p.rows) == 0 {
		if p.title > 0 {
			return nil, fmt.Errorf("line %d: %w", p.title, errForm)
		}
		return nil, fmt.Errorf("it lists nothing")
	}
	if stem, ok := bare(called, p.rows); ok {
		p.rows[0].forward, p.rows[0].err = reading{name: stem, digest: p.rows[0].alone, standard: true}, nil
	}
	return p.close()
}

// encoding says why bytes are no text that can be read; "" if they are some.
func encoding(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "it begins with a byte order mark (EF BB BF), which would be part of the first line"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "it is UTF-16 with a byte order mark, and must be UTF-8"
	case bytes.IndexByte(data, 0) >= 0:
		return "it has NUL bytes, as UTF-16 has, and must be UTF-8"
	case !utf8.Valid(data):
		return "it is not UTF-8"
	}
	return ""
}

// errForm is what is wrong with a line that is none of a list.
var errForm = fmt.Errorf(`not "<hex>  <name>", "SHA256 (<name>) = <hex>" or "<name>  <hex>"`)

// parser collects the lines of a list.
type parser struct {
	list  *List
	rows  []row
	title int  // the last title, until a digest follows it
	mid   bool // the line before was one of digests
}

// row is a line with a digest and what it says, read in either direction.
type row struct {
	line              int
	forward, backward reading
	err, backErr      error
	alone             string // the digest, if there is nothing else
}

// reading is what a line says, read in one direction.
type reading struct {
	name, label, digest string
	escaped             bool // the name stands with escapes
	standard            bool // in a form that only the standard tools write
}

// read reads a line.
func (p *parser) read(n int, text string) error {
	switch {
	case text == "":
		p.mid = false
		return nil
	case strings.HasPrefix(text, "#"):
		p.mid, p.list.Plain = false, false
		return nil
	}
	r := row{line: n}
	r.forward, r.err = forward(text)
	r.backward, r.backErr = backward(text)
	if isDigest(text) {
		r.alone = text
	}
	switch {
	case r.err == nil, r.backErr == nil, r.alone != "":
		p.rows, p.title, p.mid = append(p.rows, r), 0, true
		if len(p.rows) > maxRows {
			return fmt.Errorf("it has more than %d lines", maxRows)
		}
		return nil
	case !p.mid && (isTitle(text) || p.title == n-1 && isUnderline(text)):
		p.title, p.list.Plain = n, false
		return nil
	case strings.HasPrefix(text, "\ufeff"):
		return fmt.Errorf("a byte order mark")
	}
	return r.err
}

// close decides in which direction the list is to be read, the same for all lines.
func (p *parser) close() (*List, error) {
	if p.title > 0 {
		return nil, fmt.Errorf("line %d: %w", p.title, errForm)
	}
	turned := false
	if slices.ContainsFunc(p.rows, func(r row) bool { return r.err != nil }) {
		turned = !slices.ContainsFunc(p.rows, func(r row) bool { return r.backErr != nil })
	}
	for _, r := range p.rows {
		x, err := r.forward, r.err
		if turned {
			x, err, p.list.Plain = r.backward, nil, false
		} else if err == nil && !x.standard && r.backErr == nil && r.backward.digest != x.digest {
			err = fmt.Errorf("which of the two is the name cannot be told")
		}
		if err == nil {
			err = p.add(r.line, x)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", r.line, err)
		}
	}
	return p.list, nil
}

// add adds what a line says.
func (p *parser) add(line int, x reading) error {
	name, err := x.path()
	if err != nil {
		return err
	}
	digest, weak, err := x.sum()
	if err != nil {
		return err
	}
	i, known := p.list.byName[name]
	if !known {
		i = len(p.list.Entries)
		if i >= MaxEntries {
			return fmt.Errorf("it lists more than %d files", MaxEntries)
		}
		p.list.byName[name] = i
		if base := path.Base(name); base != name {
			p.list.byBase[base] = append(p.list.byBase[base], i)
		}
		p.list.Entries = append(p.list.Entries, Entry{Name: name, Line: line, Weak: weak})
	}
	e := &p.list.Entries[i]
	if weak != "" {
		p.list.Plain = false
		return nil
	}
	for _, d := range e.Digests {
		if d == digest {
			return nil
		}
		if d.Alg == digest.Alg {
			return fmt.Errorf("%q stands twice, with different digests", clip.Text(name))
		}
	}
	e.Digests, e.Weak = append(e.Digests, digest), ""
	return nil
}

// forward reads "<hex>  <name>" and the forms in which the algorithm stands first.
func forward(text string) (reading, error) {
	text, escaped := strings.CutPrefix(text, `\`)
	if r, ok := labelled(text); ok {
		r.escaped = escaped
		return r, nil
	}
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return reading{}, errForm
	}
	r := reading{digest: text[:i], escaped: escaped}
	if alg, hex, ok := strings.Cut(r.digest, ":"); ok {
		r.label, r.digest = alg, hex
	}
	if !isDigest(r.digest) {
		return reading{}, errForm
	}
	switch rest := text[i:]; {
	case strings.HasPrefix(rest, "  "), strings.HasPrefix(rest, " *"):
		r.name, r.standard = rest[2:], true
	case rest[0] == '\t':
		r.name = strings.TrimLeft(rest, "\t")
	default:
		r.name = rest[1:]
	}
	return r, nil
}

// labelled reads "SHA256 (<name>) = <hex>" and OpenSSL's "SHA2-256(<name>)= <hex>".
func labelled(text string) (reading, bool) {
	alg, rest, ok := strings.Cut(text, "(")
	end := strings.LastIndexByte(rest, ')')
	if !ok || end < 0 {
		return reading{}, false
	}
	hex, isTag := strings.CutPrefix(rest[end+1:], " = ")
	if !isTag {
		hex, ok = strings.CutPrefix(rest[end+1:], "= ")
	}
	alg = strings.TrimSuffix(alg, " ")
	if !ok || alg == "" || strings.ContainsFunc(alg, notOfLabel) || !isHex(hex) {
		return reading{}, false
	}
	return reading{name: rest[:end], label: alg, digest: hex, standard: true}, true
}

func notOfLabel(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '/'
}

// backward reads "<name>  <hex>".
func backward(text string) (reading, error) {
	i := strings.LastIndexAny(text, " \t")
	if i < 0 || !isDigest(text[i+1:]) || strings.HasPrefix(text, `\`) {
		return reading{}, errForm
	}
	name := strings.TrimRight(text[:i], " \t")
	if name == "" || strings.HasSuffix(name, ":") || strings.HasSuffix(name, "=") {
		return reading{}, errForm
	}
	return reading{name: name, digest: text[i+1:]}, nil
}

// bare returns the name of the file whose digest is all that a list has which is called
// after it.
func bare(called string, rows []row) (string, bool) {
	if len(rows) != 1 || rows[0].alone == "" {
		return "", false
	}
	stem, _ := stemOf(called)
	return stem, stem != ""
}

// path returns the name that a line gives, as a relative path.
func (r *reading) path() (string, error) {
	name := r.name
	if r.escaped {
		var err error
		if name, err = unescape(name); err != nil {
			return "", err
		}
	} else {
		// sha256sum would have written a backslash of the name with an escape.
		name = strings.ReplaceAll(name, `\`, "/")
		if strings.ContainsFunc(name, unicode.IsControl) {
			return "", fmt.Errorf("%q has a control character", clip.Text(name))
		}
	}
	if name == "" || strings.TrimSpace(name) != name {
		return "", fmt.Errorf("%q: a name that is empty, or begins or ends with a blank", clip.Text(name))
	}
	name = strings.TrimPrefix(name, "./")
	if strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':' || filepath.VolumeName(name) != "" {
		return "", fmt.Errorf("%q is not a relative path", clip.Text(name))
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return "", fmt.Errorf("%q is not a plain path", clip.Text(name))
		}
	}
	return name, nil
}

// unescape reads a name as sha256sum writes it in a line that begins with a backslash.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		at := -1
		if i < len(s) {
			at = strings.IndexByte(`\nr`, s[i])
		}
		if at < 0 {
			return "", fmt.Errorf(`an escape that is none of \\, \n and \r`)
		}
		b.WriteByte("\\\n\r"[at])
	}
	return b.String(), nil
}

// algorithms are those whose digests confirm something, by the number of hex digits.
var algorithms = map[int]string{64: "sha256", 96: "sha384", 128: "sha512"}

// weak are those that confirm nothing.
var weak = map[int]string{32: "MD5", 40: "SHA-1", 56: "SHA-224"}

// labels are how tools call the algorithms, in lower case.
var labels = map[string]string{
	"sha256": "sha256", "sha-256": "sha256", "sha2-256": "sha256",
	"sha384": "sha384", "sha-384": "sha384", "sha2-384": "sha384",
	"sha512": "sha512", "sha-512": "sha512", "sha2-512": "sha512",
}

// sum returns the digest that a line gives, or how an algorithm is called that confirms
// nothing.
func (r *reading) sum() (d policy.Digest, confirmsNothing string, err error) {
	hex := strings.ToLower(r.digest)
	alg := algorithms[len(hex)]
	if r.label != "" {
		named := labels[strings.ToLower(r.label)]
		if named == "" && len(hex)%2 == 0 && len(hex) >= 32 {
			return d, clip.Text(r.label), nil
		}
		if named == "" || named != alg {
			return d, "", fmt.Errorf("not a digest of the algorithm %s", clip.Text(r.label))
		}
	}
	if alg == "" {
		return d, weak[len(hex)], nil
	}
	return policy.Digest{Alg: alg, Hex: hex}, "", nil
}

// isDigest reports whether a word is a digest by its length.
func isDigest(s string) bool {
	return (algorithms[len(s)] != "" || weak[len(s)] != "") && isHex(s)
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == "" }

// Looks reports whether the beginning of a file is that of a list: its first line that is no
// title and no comment has a digest.
func Looks(head []byte) bool {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	if IsJSON(head) || !utf8.Valid(bytes.TrimRightFunc(head, func(r rune) bool { return r == utf8.RuneError })) {
		return false
	}
	for text := range strings.Lines(string(head)) {
		text = strings.TrimRight(text, "\r\n")
		if text == "" || strings.HasPrefix(text, "#") || isTitle(text) || isUnderline(text) {
			continue
		}
		r, err := backward(text)
		return IsLine(text) || isDigest(text) || err == nil && algorithms[len(r.digest)] != ""
	}
	return false
}

// IsLine reports whether a line is one that stands in no other file: a digest, then a name.
func IsLine(text string) bool {
	_, err := forward(text)
	return err == nil
}

// IsJSON reports whether a file is JSON, which no list is.
func IsJSON(data []byte) bool {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	return bytes.HasPrefix(trimmed, []byte("{")) || bytes.HasPrefix(trimmed, []byte("["))
}

// Find returns the entry for a name, nil if there is none, and the entries for a file of that
// name in some directory.
func (l *List) Find(name string) (exact *Entry, elsewhere []*Entry) {
	if i, ok := l.byName[name]; ok {
		exact = &l.Entries[i]
	}
	for _, i := range l.byBase[name] {
		elsewhere = append(elsewhere, &l.Entries[i])
	}
	return exact, elsewhere
}
