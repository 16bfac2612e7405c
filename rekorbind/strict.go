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

const (
	maxDepth = 32
	// opaqueBundle is the key below which a document of another format stands, whose
	// own parser judges its keys.
	opaqueBundle = "bundle"
)

// strictDoc reads a document of ours into v.
func strictDoc(data []byte, limit int, v any, known ...string) error {
	if len(data) > limit {
		return fmt.Errorf("%d bytes, at most %d are read", len(data), limit)
	}
	if err := strictJSON(data, known...); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// canonicalDoc reads a document of ours that has to be exactly what compactJSON makes
// of it: without spaces, its keys in order and none twice, unknown or null.
func canonicalDoc[T any](data []byte, limit int) (doc T, err error) {
	if len(data) > limit {
		return doc, fmt.Errorf("%d bytes, at most %d are read", len(data), limit)
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, err
	}
	if !bytes.Equal(compactJSON(doc), data) {
		return doc, errors.New("not in canonical form")
	}
	return doc, nil
}

// compactJSON returns a document of ours in JSON without spaces.
func compactJSON(v any) []byte { return bytes.TrimSuffix(encoded(v, ""), []byte("\n")) }

// indentedJSON returns a document of ours as a file that people read.
func indentedJSON(v any) []byte { return encoded(v, " ") }

func encoded(v any, indent string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return nil // text, numbers and raw messages that are JSON always encode
	}
	return buf.Bytes()
}

// strictJSON refuses what encoding/json would take in more than one way: keys
// that stand twice or that are not exactly one of those known, null, text that
// is not UTF-8, and anything after the document. What stands
// below the opaque key may have any keys, none of them twice.
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
			if key == opaqueBundle {
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
