// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"encoding/json"
	"fmt"
)

// EachMember reads the object that comes next and calls read for the value of each member,
// which read takes from dec. A name that stands twice is an error.
func EachMember(dec *json.Decoder, read func(name string) error) error {
	if err := delim(dec, '{'); err != nil {
		return err
	}
	return RestOfObject(dec, read)
}

// RestOfObject is [EachMember] where the brace that begins the object was read.
func RestOfObject(dec *json.Decoder, read func(name string) error) error {
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string) // the decoder takes nothing else
		if seen[name] {
			return fmt.Errorf("the key %.80q stands twice", name)
		}
		seen[name] = true
		if err := read(name); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

// EachElement reads the array that comes next and calls read for each element.
func EachElement(dec *json.Decoder, read func() error) error {
	if err := delim(dec, '['); err != nil {
		return err
	}
	return RestOfArray(dec, read)
}

// RestOfArray is [EachElement] where the bracket that begins the array was read.
func RestOfArray(dec *json.Decoder, read func() error) error {
	for dec.More() {
		if err := read(); err != nil {
			return err
		}
	}
	return delim(dec, ']')
}

// Skip reads the value that comes next.
func Skip(dec *json.Decoder) error {
	var v json.RawMessage
	return dec.Decode(&v)
}

func delim(dec *json.Decoder, want json.Delim) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("expected %q", want.String())
	}
	return nil
}
