// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Types of the wire format that log entries have.
//
// Source: https://protobuf.dev/programming-guides/encoding.
const (
	wireVarint   = 0
	wireBytes    = 2
	wireTypeBits = 3
)

var errWire = errors.New("not in the wire format of protocol buffers")

// ParseEntryWire reads a log entry of at most [MaxBytes] in the wire format of protocol
// buffers. Unlike other readers of that format it refuses fields that are unknown or stand
// twice, and negative numbers. The error is an [*Error] without a line.
func ParseEntryWire(data []byte) (*Entry, error) {
	e := &Entry{}
	if len(data) > MaxBytes {
		return parsed(e, tooLarge("%d bytes, at most %d are read", len(data), MaxBytes))
	}
	return parsed(e, e.form().readWire(wireValue{raw: data, kind: wireBytes}))
}

// wireValue is a value in the wire format: a number, or bytes.
type wireValue struct {
	kind   uint64
	number uint64
	raw    []byte
}

// wired is a [value] that the messages have which are read from the wire.
type wired interface{ readWire(w wireValue) error }

// nextWire takes the next field off data.
func nextWire(data []byte) (num uint64, w wireValue, rest []byte, err error) {
	tag, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, w, nil, errWire
	}
	v, m := binary.Uvarint(data[n:])
	if m <= 0 {
		return 0, w, nil, errWire
	}
	rest = data[n+m:]
	w = wireValue{kind: tag & (1<<wireTypeBits - 1), number: v}
	if w.kind == wireBytes {
		if v > uint64(len(rest)) {
			return 0, w, nil, errWire
		}
		w.raw, rest = rest[:v], rest[v:]
	}
	return tag >> wireTypeBits, w, rest, nil
}

func (m message) readWire(w wireValue) error {
	if w.kind != wireBytes {
		return errWire
	}
	seen := map[uint64]bool{}
	for data := w.raw; len(data) > 0; {
		num, member, rest, err := nextWire(data)
		if err != nil {
			return err
		}
		data = rest
		f, ok := m.numbered(num)
		if !ok {
			return fmt.Errorf("unknown field %d", num)
		}
		if _, repeated := f.value.(repeated); seen[num] && !repeated {
			return fmt.Errorf("the field %s stands twice", f.name)
		}
		seen[num] = true
		if err := f.value.(wired).readWire(member); err != nil {
			return under(f.name, err)
		}
	}
	return nil
}

// numbered returns the field with a number, if it is one that is read from the wire.
func (m message) numbered(num uint64) (field, bool) {
	for _, f := range m {
		if _, ok := f.value.(wired); ok && f.num == num {
			return f, true
		}
	}
	return field{}, false
}

// repeated is a [value] that may stand several times.
type repeated interface{ repeats() }

func (v *listValue[T]) repeats() {}

func (v *listValue[T]) readWire(w wireValue) error {
	element, err := v.add()
	if err != nil {
		return err
	}
	e, ok := element.(wired)
	if !ok {
		return errWire
	}
	return e.readWire(w)
}

func (v *pointerValue[T]) readWire(w wireValue) error {
	*v.to = new(T)
	return v.form(*v.to).readWire(w)
}

func (v *textValue) readWire(w wireValue) error {
	if w.kind != wireBytes || !utf8.Valid(w.raw) {
		return errors.New("not text")
	}
	*v = textValue(w.raw)
	return nil
}

func (v *bytesValue) readWire(w wireValue) error {
	if w.kind != wireBytes {
		return errors.New("not bytes")
	}
	return v.set(bytes.Clone(w.raw))
}

func (v *numberValue) readWire(w wireValue) error {
	if w.kind != wireVarint || w.number > math.MaxInt64 {
		return errors.New("not a number from 0 to 2^63-1")
	}
	*v = numberValue(w.number)
	return nil
}
