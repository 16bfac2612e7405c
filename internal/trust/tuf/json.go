// SPDX-License-Identifier: Apache-2.0

package tuf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/repopolicy/repopolicy/internal/strictjson"
)

const (
	maxDepth  = 32      // of nested arrays and objects
	maxValues = 300_000 // of a document; each takes a hundred times the bytes of the shortest
)

// value is a JSON value and the bytes that it was read from. Its data is an
// object, a []value, a string, an int64, a bool or nil.
type value struct {
	raw  []byte
	data any
}

type object map[string]value

// parse reads a document strictly: a key that stands twice, a number that is no
// integer of 64 bits, text that is not UTF-8, too deep nesting, and anything
// after the document are errors. So whatever is read of a document is a function
// of its canonical form, which is what signatures are over.
func parse(data []byte) (value, error) {
	if !utf8.Valid(data) {
		return value{}, errors.New("not UTF-8")
	}
	if n := strictjson.Size(data); n > maxValues {
		return value{}, fmt.Errorf("some %d values, at most %d are read", n, maxValues)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := parseValue(dec, data, 0)
	if err != nil {
		return value{}, fmt.Errorf("offset %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return value{}, errors.New("something follows the document")
	}
	return v, nil
}

func parseValue(dec *json.Decoder, data []byte, depth int) (v value, err error) {
	if depth > maxDepth {
		return v, errors.New("nested too deeply")
	}
	start := dec.InputOffset()
	tok, err := dec.Token()
	if err != nil {
		return v, err
	}
	if t, ok := tok.(json.Number); ok {
		v.data, err = parseInteger(t)
	} else {
		v.data, err = parseRest(dec, tok, data, depth)
	}
	if err != nil {
		return v, err
	}
	v.raw = bytes.TrimLeft(data[start:dec.InputOffset()], " \t\r\n,:")
	return v, nil
}

// parseRest returns the data of a value that begins with tok, which is no number.
func parseRest(dec *json.Decoder, tok json.Token, data []byte, depth int) (any, error) {
	switch tok {
	case json.Delim('['):
		var out []value
		err := strictjson.RestOfArray(dec, func() error {
			v, err := parseValue(dec, data, depth+1)
			out = append(out, v)
			return err
		})
		return out, err
	case json.Delim('{'):
		out := object{}
		return out, strictjson.RestOfObject(dec, func(key string) (err error) {
			out[key], err = parseValue(dec, data, depth+1)
			return err
		})
	}
	return tok, nil // string, bool, nil
}

func parseInteger(text json.Number) (int64, error) {
	n, err := strconv.ParseInt(text.String(), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text.String() {
		return 0, fmt.Errorf("%s is no integer of canonical JSON", text)
	}
	return n, nil
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// appendCanonical appends OLPC canonical JSON: no space, keys ordered by their
// bytes, integers only, and of a string's characters only \ and " escaped, unlike
// RFC 8785 (JCS), which escapes control characters and orders by UTF-16.
func (v value) appendCanonical(b []byte) []byte {
	switch d := v.data.(type) {
	case string:
		return appendText(b, d)
	case int64:
		return strconv.AppendInt(b, d, 10)
	case bool:
		return strconv.AppendBool(b, d)
	case []value:
		b = append(b, '[')
		for i, e := range d {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.appendCanonical(b)
		}
		return append(b, ']')
	case object:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(d)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, key), ':')
			b = d[key].appendCanonical(b)
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	b = append(b, escape.Replace(s)...)
	return append(b, '"')
}

// Canonical returns the OLPC canonical form of a JSON document, which is what
// TUF's signatures and key IDs are over.
func Canonical(document []byte) ([]byte, error) {
	v, err := parse(document)
	if err != nil {
		return nil, err
	}
	return v.appendCanonical(nil), nil
}

// fields takes values apart and keeps the first thing that is wrong with them.
type fields struct{ err error }

func (f *fields) fail(at, want string) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: %s", at, want)
	}
}

func as[T any](f *fields, v value, at, want string) T {
	out, ok := v.data.(T)
	if !ok {
		f.fail(at, "it is no "+want)
	}
	return out
}

func (f *fields) object(v value, at string) object { return as[object](f, v, at, "object") }
func (f *fields) array(v value, at string) []value { return as[[]value](f, v, at, "array") }
func (f *fields) text(v value, at string) string   { return as[string](f, v, at, "string") }
func (f *fields) flag(v value, at string) bool     { return as[bool](f, v, at, "boolean") }

func (f *fields) number(v value, at string, least int64) int64 {
	n := as[int64](f, v, at, "number")
	if n < least {
		f.fail(at, fmt.Sprintf("it is less than %d", least))
	}
	return n
}

func (f *fields) texts(v value, at string, most int) []string {
	list := f.array(v, at)
	if len(list) > most {
		f.fail(at, fmt.Sprintf("it has more than %d elements", most))
		return nil
	}
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = f.text(e, at)
	}
	return out
}
