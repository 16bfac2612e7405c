// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// value is a place in a struct, as it is read from JSON and written.
type value interface {
	empty() bool
	readJSON(p *parser) error
	appendJSON(to []byte) []byte
}

// field is a field of a message.
type field struct {
	name  string // in lowerCamelCase
	num   uint64
	oneof int // alone, or the oneof that it is of
	value
}

// message is a list of fields. As a value it is a message that has no struct of its own.
type message []field

func (f field) of(oneof int) field {
	f.oneof = oneof
	return f
}

// called reports whether name is that of the field, as it is in JSON or in the .proto file.
func (f field) called(name string) bool {
	return name == f.name || strings.Contains(name, "_") && name == snake(f.name)
}

// snake returns the name of a field in its .proto file, where the one name with a capital
// letter is payloadType.
func snake(name string) string {
	if name == "payloadType" {
		return name
	}
	var b strings.Builder
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

func text(name string, num uint64, to *string) field {
	return field{name: name, num: num, value: (*textValue)(to)}
}

func data(name string, num uint64, to *[]byte) field {
	return field{name: name, num: num, value: &bytesValue{to: to}}
}

// der is data of at most MaxDERBytes.
func der(name string, num uint64, to *[]byte) field {
	return field{name: name, num: num, value: &bytesValue{to: to, limit: MaxDERBytes}}
}

// document is data that is JSON of at most MaxValues.
func document(name string, num uint64, to *[]byte) field {
	return field{name: name, num: num, value: &bytesValue{to: to, values: MaxValues}}
}

func number(name string, num uint64, to *int64) field {
	return field{name: name, num: num, value: (*numberValue)(to)}
}

func count(name string, num uint64, to *uint32) field {
	return field{name: name, num: num, value: (*countValue)(to)}
}

func enum(name string, num uint64, to *string, names enumeration) field {
	return field{name: name, num: num, value: &enumValue{to, names}}
}

func moment(name string, num uint64, to *time.Time) field {
	return field{name: name, num: num, value: (*timeValue)(to)}
}

func inline(name string, num uint64, fields ...field) field {
	return field{name: name, num: num, value: message(fields)}
}

func object[T any](name string, num uint64, to **T, form func(*T) message) field {
	return field{name: name, num: num, value: pointer(to, form)}
}

func pointer[T any](to **T, form func(*T) message) value { return &pointerValue[T]{to, form} }

// list is a repeated field of at most limit elements, as many as there are if it is 0.
func list[T any](name string, num uint64, to *[]T, limit int, element func(*T) value) field {
	return field{name: name, num: num, value: &listValue[T]{to, limit, element}}
}

type (
	textValue   string
	numberValue int64
	countValue  uint32
	timeValue   time.Time
)

type bytesValue struct {
	to            *[]byte
	limit, values int // 0 for none
}

type enumValue struct {
	to    *string
	names enumeration
}

type pointerValue[T any] struct {
	to   **T
	form func(*T) message
}

type listValue[T any] struct {
	to      *[]T
	limit   int
	element func(*T) value
}

func (v *textValue) empty() bool       { return *v == "" }
func (v *numberValue) empty() bool     { return *v == 0 }
func (v *countValue) empty() bool      { return *v == 0 }
func (v *timeValue) empty() bool       { return time.Time(*v).IsZero() }
func (v *bytesValue) empty() bool      { return len(*v.to) == 0 }
func (v *enumValue) empty() bool       { return *v.to == "" }
func (v *pointerValue[T]) empty() bool { return *v.to == nil }
func (v *listValue[T]) empty() bool    { return len(*v.to) == 0 }
func (m message) empty() bool {
	return !slices.ContainsFunc(m, func(f field) bool { return !f.empty() })
}

// set takes what was decoded, if it is not too large.
func (v *bytesValue) set(raw []byte) error {
	if v.limit > 0 && len(raw) > v.limit {
		return tooLarge("%d bytes, at most %d are read", len(raw), v.limit)
	}
	if v.values > 0 {
		if n := strictjson.Size(raw); n > v.values {
			return tooLarge("some %d values, at most %d are read", n, v.values)
		}
	}
	*v.to = raw
	return nil
}

// add returns the place of one more element.
func (v *listValue[T]) add() (value, error) {
	if v.limit > 0 && len(*v.to) == v.limit {
		return nil, tooLarge("at most %d elements are read", v.limit)
	}
	var zero T
	*v.to = append(*v.to, zero)
	return v.element(&(*v.to)[len(*v.to)-1]), nil
}

// Base64 in the JSON of protocol buffers is of either alphabet, with padding or without.
// Unlike protojson, decode64 takes neither line breaks nor bits that encode nothing.
func decode64(s string) ([]byte, error) {
	enc := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.URLEncoding
	}
	if len(s)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	raw, err := enc.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("not base64")
	}
	return raw, nil
}

// maxEnum is the largest number of an enum.
const maxEnum = 1<<31 - 1

// number returns the name of a number, which is the number itself where it has none.
func (e enumeration) number(s string) (string, error) {
	n, err := canonical.ParseNumber(s)
	if err != nil || n > maxEnum {
		return "", fmt.Errorf("not a decimal number from 0 to %d", maxEnum)
	}
	if n == 0 {
		return "", nil
	}
	if name, ok := e[n]; ok {
		return name, nil
	}
	return s, nil
}

func (e enumeration) named(name string) (string, error) {
	for n, known := range e {
		switch {
		case name != known:
		case n == 0:
			return "", nil
		default:
			return name, nil
		}
	}
	return "", fmt.Errorf("unknown value %.80q", name)
}

const (
	toSecond    = "2006-01-02T15:04:05"
	maxFraction = 9 // digits of a second
)

// parseTime reads a time of RFC 3339 that a Timestamp can have. The zero time of Go, which
// means none here, is no such time.
//
// Range: https://protobuf.dev/reference/protobuf/google.protobuf/#timestamp.
func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	_, fraction, _ := strings.Cut(s, ".")
	if err != nil || !strings.HasPrefix(s, t.Format(toSecond)) || s[len(toSecond)] == ',' ||
		strings.IndexAny(fraction, "Z+-") > maxFraction {
		return t, errors.New("not a time of RFC 3339") // time.Parse takes short hours and commas
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 || t.IsZero() {
		return t, errors.New("a time outside of the years 1 to 9999")
	}
	return t, nil
}

func (v *textValue) appendJSON(to []byte) []byte {
	return append(to, strictjson.Compact(string(*v))...)
}

func (v *numberValue) appendJSON(to []byte) []byte {
	return append(strconv.AppendInt(append(to, '"'), int64(*v), 10), '"')
}

func (v *countValue) appendJSON(to []byte) []byte { return strconv.AppendUint(to, uint64(*v), 10) }

func (v *timeValue) appendJSON(to []byte) []byte {
	return append(time.Time(*v).UTC().AppendFormat(append(to, '"'), time.RFC3339Nano), '"')
}

func (v *bytesValue) appendJSON(to []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(to, '"'), *v.to), '"')
}

// appendJSON writes a name; what [enumeration.number] read as a number is one again.
func (v *enumValue) appendJSON(to []byte) []byte {
	if _, err := canonical.ParseNumber(*v.to); err == nil {
		return append(to, *v.to...)
	}
	return append(to, strictjson.Compact(*v.to)...)
}

func (v *pointerValue[T]) appendJSON(to []byte) []byte { return v.form(*v.to).appendJSON(to) }

func (v *listValue[T]) appendJSON(to []byte) []byte {
	to = append(to, '[')
	for i := range *v.to {
		if i > 0 {
			to = append(to, ',')
		}
		to = v.element(&(*v.to)[i]).appendJSON(to)
	}
	return append(to, ']')
}

// appendJSON writes the fields that are not empty. A oneof of which two are set has no JSON:
// the first is written.
func (m message) appendJSON(to []byte) []byte {
	to = append(to, '{')
	first := true
	for _, f := range m {
		if f.empty() {
			continue
		}
		if !first {
			to = append(to, ',')
		}
		first = false
		to = append(append(append(to, '"'), f.name...), `":`...)
		to = f.appendJSON(to)
	}
	return append(to, '}')
}
