// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// Error is why a document is refused.
type Error struct {
	Line, Column int    // from 1, the column in characters; 0 if it is of the document as a whole, or of the wire
	Path         string // such as verificationMaterial.tlogEntries[0].logIndex; "" for the document
	TooLarge     bool   // whether a limit is exceeded
	Err          error
}

// Error returns the place and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	return b.String() + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func tooLarge(format string, args ...any) error {
	return &Error{TooLarge: true, Err: fmt.Errorf(format, args...)}
}

// under puts a step before the path of an error: the name of a field, or an index in brackets.
func under(step string, err error) error {
	e := asError(err)
	if e.Path != "" && e.Path[0] != '[' {
		step += "."
	}
	e.Path = step + e.Path
	return e
}

func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Err: err}
	}
	return e
}

// Parse reads a bundle of at most [MaxBytes] in JSON, of any version. It takes what the JSON of
// protocol buffers allows (https://protobuf.dev/programming-guides/json), but numbers in one
// spelling (SPEC 5.11), without sign, fraction or exponent, and base64 without line breaks and
// spare bits. A field that is unknown or stands twice is an error. The error is an [*Error].
func Parse(data []byte) (*Bundle, error) {
	b := &Bundle{}
	return parsed(b, parse(data, MaxBytes, MaxValues, b.form()))
}

// ParseEntry reads a log entry of at most [MaxBytes] in JSON, as [Parse] reads a bundle.
func ParseEntry(data []byte) (*Entry, error) {
	e := &Entry{}
	return parsed(e, parse(data, MaxBytes, MaxValues, e.form()))
}

// ParseTrustedRoot reads a trusted root of at most [MaxRootBytes] in JSON, as [Parse] reads a
// bundle.
func ParseTrustedRoot(data []byte) (*TrustedRoot, error) {
	r := &TrustedRoot{}
	return parsed(r, parse(data, MaxRootBytes, MaxRootValues, r.form()))
}

// ParseSigningConfig reads a signing config of at most [MaxBytes] in JSON, as [Parse] reads a
// bundle.
func ParseSigningConfig(data []byte) (*SigningConfig, error) {
	c := &SigningConfig{}
	return parsed(c, parse(data, MaxBytes, MaxValues, c.form()))
}

func parsed[T any](v *T, err error) (*T, error) {
	if err != nil {
		return nil, asError(err)
	}
	return v, nil
}

func parse(data []byte, limit, values int, form message) error {
	if len(data) > limit {
		return tooLarge("%d bytes, at most %d are read", len(data), limit)
	}
	if n := strictjson.Size(data); n > values {
		return tooLarge("some %d values, at most %d are read", n, values)
	}
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	// A Buffer is not copied. What stands twice is looked for by field, whatever it is called.
	p := &parser{data: data, dec: jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))}
	if err := form.readJSON(p); err != nil {
		return p.located(err)
	}
	rest := bytes.TrimLeft(data[p.dec.InputOffset():], white)
	if p.start = len(data) - len(rest); len(rest) > 0 {
		return p.located(errors.New("something follows the document"))
	}
	return nil
}

// parser is a document that is being read.
type parser struct {
	data  []byte
	dec   *jsontext.Decoder
	start int // where the token begins that is looked at
}

// white is the white space of JSON.
const white = " \t\r\n"

// next returns where the next token begins.
func (p *parser) next() int {
	at := int(p.dec.InputOffset())
	return at + len(p.data[at:]) - len(bytes.TrimLeft(p.data[at:], white+",:"))
}

// token reads the next token.
func (p *parser) token() (jsontext.Token, error) {
	p.start = p.next()
	return p.dec.ReadToken()
}

// more reports whether an object or a list goes on.
func (p *parser) more() bool {
	kind := p.dec.PeekKind()
	return kind != '}' && kind != ']'
}

// text reads text.
func (p *parser) text() (string, error) {
	tok, err := p.token()
	if err != nil {
		return "", err
	}
	if tok.Kind() != '"' {
		return "", errors.New("not text")
	}
	return tok.String(), nil
}

// located adds to an error where in the document it is.
func (p *parser) located(err error) error {
	at := p.start
	var syntax *jsontext.SyntacticError
	unread := errors.As(err, &syntax)
	if unread {
		at = p.next()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || unread && at >= len(p.data) {
		at, err = len(p.data), &Error{Path: asError(err).Path, Err: errors.New("the document ends too early")}
	} else if unread { // without its own words about the place
		err = &Error{Path: asError(err).Path, Err: syntax.Err}
	}
	e := asError(err)
	before := p.data[:min(at, len(p.data))]
	e.Line = bytes.Count(before, []byte("\n")) + 1
	e.Column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return e
}

// delim reads a bracket.
func (p *parser) delim(want jsontext.Kind) error {
	tok, err := p.token()
	if err == nil && tok.Kind() != want {
		err = fmt.Errorf("expected %q", string(want))
	}
	return err
}

func (m message) readJSON(p *parser) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	var oneofs [content + 1]bool
	for p.more() {
		name, err := p.text()
		if err != nil {
			return err
		}
		f, ok := m.field(name)
		if !ok {
			return fmt.Errorf("unknown field %.80q", name)
		}
		if seen[f.name] {
			return fmt.Errorf("the field %s stands twice", f.name)
		}
		seen[f.name] = true
		if p.null() {
			if _, err := p.token(); err != nil {
				return err
			}
			continue
		}
		if f.oneof != alone && oneofs[f.oneof] {
			return fmt.Errorf("%s stands beside another of which one is allowed", f.name)
		}
		oneofs[f.oneof] = true
		if err := f.readJSON(p); err != nil {
			return under(f.name, err)
		}
	}
	return p.delim('}')
}

func (m message) field(name string) (field, bool) {
	for _, f := range m {
		if f.called(name) {
			return f, true
		}
	}
	return field{}, false
}

// null reports whether the value that comes next begins as null does, which means that the
// field is not there.
func (p *parser) null() bool {
	at := p.next()
	return at < len(p.data) && p.data[at] == 'n'
}

func (v *pointerValue[T]) readJSON(p *parser) error {
	*v.to = new(T)
	return v.form(*v.to).readJSON(p)
}

func (v *listValue[T]) readJSON(p *parser) error {
	if err := p.delim('['); err != nil {
		return err
	}
	for i := 0; p.more(); i++ {
		p.start = p.next()
		element, err := v.add()
		if err == nil {
			err = element.readJSON(p)
		}
		if err != nil {
			return under(fmt.Sprintf("[%d]", i), err)
		}
	}
	return p.delim(']')
}

func (v *textValue) readJSON(p *parser) error {
	s, err := p.text()
	*v = textValue(s)
	return err
}

func (v *bytesValue) readJSON(p *parser) error {
	s, err := p.text()
	if err != nil {
		return err
	}
	raw, err := decode64(s)
	if err != nil {
		return err
	}
	return v.set(raw)
}

// number reads a number, which may be text.
func (p *parser) number() (int64, error) {
	tok, err := p.token()
	if err != nil {
		return 0, err
	}
	if kind := tok.Kind(); kind != '0' && kind != '"' {
		return 0, errors.New("not a number")
	}
	return canonical.ParseNumber(tok.String())
}

func (v *numberValue) readJSON(p *parser) error {
	n, err := p.number()
	*v = numberValue(n)
	return err
}

func (v *countValue) readJSON(p *parser) error {
	n, err := p.number()
	if err == nil && n > math.MaxUint32 {
		err = fmt.Errorf("more than %d", math.MaxUint32)
	}
	*v = countValue(n)
	return err
}

func (v *enumValue) readJSON(p *parser) error {
	tok, err := p.token()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case '0':
		*v.to, err = v.names.number(tok.String())
	case '"':
		*v.to, err = v.names.named(tok.String())
	default:
		err = errors.New("neither a name nor a number")
	}
	return err
}

func (v *timeValue) readJSON(p *parser) error {
	s, err := p.text()
	if err != nil {
		return err
	}
	t, err := parseTime(s)
	*v = timeValue(t)
	return err
}
