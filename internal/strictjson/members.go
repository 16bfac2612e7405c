// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxElements is how many elements of a JSON array, and members of an object, are taken
// apart: those of an index of 10,000 images are the most.
const MaxElements = 40_000

// Members returns the members of the one JSON object that data is, which may be of any
// format. A name that stands twice is an error: which of the two counts must not be a
// matter of the parser.
func Members(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	err := RestOfObject(dec, func(name string) error {
		if len(out) == MaxElements {
			return fmt.Errorf("more than %d members", MaxElements)
		}
		var v json.RawMessage
		err := dec.Decode(&v)
		out[name] = v
		return err
	})
	if err != nil {
		return nil, err
	}
	if dec.InputOffset() != int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, fmt.Errorf("something follows the JSON object")
	}
	return out, nil
}

// Text returns the text member of an object, "" if it has none.
func Text(object map[string]json.RawMessage, name string) (string, error) {
	raw, ok := object[name]
	if !ok {
		return "", nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is not text", name)
	}
	return s, nil
}

// List returns the elements of a member that is an array, none if the object has
// no such member.
func List(object map[string]json.RawMessage, name string) ([]json.RawMessage, error) {
	raw, ok := object[name]
	if !ok {
		return nil, nil
	}
	out, err := Array(raw)
	if err != nil || out == nil {
		return nil, fmt.Errorf("%s is not a list", name)
	}
	return out, nil
}

// Array returns the elements of a JSON array, no more than are looked at.
func Array(raw []byte) ([]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
		return nil, errors.New("not a list")
	}
	out := []json.RawMessage{}
	err := RestOfArray(dec, func() error {
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return err
		}
		if out = append(out, v); len(out) > MaxElements {
			return fmt.Errorf("more than %d elements", MaxElements)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if dec.InputOffset() != int64(len(bytes.TrimRight(raw, " \t\r\n"))) {
		return nil, errors.New("something follows the list")
	}
	return out, nil
}
