// SPDX-License-Identifier: Apache-2.0

// Package strictjson reads documents of this project's own formats, and takes those of
// others apart. It refuses what encoding/json would take in more than one way, so that
// two readers of a document cannot understand it differently.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may be nested.
const MaxDepth = 32

// Rules say which documents of a format are read. A key that stands twice, text that
// is not UTF-8, deeper nesting than MaxDepth and anything after the document are
// always refused.
type Rules struct {
	// Known are the keys of all objects of the format, compared exactly; nil for any.
	Known []string
	// Opaque is the key below which a document of another format stands, whose own
	// parser judges its keys; "" for none.
	Opaque string
	// Null lets null be a value.
	Null bool
}

// Decode reads a document into v, which is unchanged if the document breaks a rule.
// A key that v has no field for is an error, too.
func (r Rules) Decode(data []byte, v any) error {
	if err := r.Check(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// Check returns an error if a document breaks a rule.
func (r Rules) Check(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := r.value(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the document")
	}
	return nil
}

func (r Rules) value(dec *json.Decoder, depth int) error {
	if depth > MaxDepth {
		return errors.New("nested too deeply")
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch {
	case tok == nil && !r.Null:
		return errors.New("null is no value")
	case tok == json.Delim('['):
		return RestOfArray(dec, func() error { return r.value(dec, depth+1) })
	case tok == json.Delim('{'):
		return RestOfObject(dec, func(key string) error { return r.member(dec, key, depth+1) })
	}
	return nil
}

func (r Rules) member(dec *json.Decoder, key string, depth int) error {
	if r.Known != nil && !slices.Contains(r.Known, key) {
		return fmt.Errorf("the key %.80q is not known", key)
	}
	if r.Opaque != "" && key == r.Opaque {
		r.Known = nil
	}
	return r.value(dec, depth)
}
