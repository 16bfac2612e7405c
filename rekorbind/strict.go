// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

const maxDepth = 32

// strictJSON refuses what encoding/json would take in more than one way: keys
// that stand twice or that are not exactly one of those known, null, text that
// is not UTF-8, and anything after the document. Below the key "bundle" stands a
// document of another format, whose own parser judges its keys.
func strictJSON(data []byte, known ...string) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := strictValue(dec, known, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the document")
	}
	return nil
}

func strictValue(dec *json.Decoder, known []string, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deeply")
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch tok {
	case nil:
		return errors.New("null is no value")
	case json.Delim('['):
		for dec.More() {
			if err := strictValue(dec, known, depth+1); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		seen := map[string]bool{}
		for dec.More() {
			tok, err := dec.Token()
			if err != nil {
				return err
			}
			key, _ := tok.(string)
			switch {
			case seen[key]:
				return fmt.Errorf("the key %q stands twice", key)
			case known != nil && !slices.Contains(known, key):
				return fmt.Errorf("the key %q is not known", key)
			}
			seen[key] = true
			below := known
			if key == "bundle" {
				below = nil
			}
			if err := strictValue(dec, below, depth+1); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = dec.Token()
	return err
}
