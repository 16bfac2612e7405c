// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Bundle is the key below which our documents hold a bundle of Sigstore's, whose own parser
// judges its keys.
const Bundle = "bundle"

// Document reads a document of ours of at most limit bytes into v; known are all its keys.
func Document(data []byte, limit int, v any, known ...string) error {
	if len(data) > limit {
		return tooLong(data, limit)
	}
	return Rules{Known: known, Opaque: Bundle}.Decode(data, v)
}

// Canonical reads a document of ours that has to be exactly what [Compact] makes of it: without
// spaces, its keys in order and none twice, unknown or null.
func Canonical[T any](data []byte, limit int) (doc T, err error) {
	if len(data) > limit {
		return doc, tooLong(data, limit)
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return doc, err
	}
	if !bytes.Equal(Compact(doc), data) {
		return doc, errors.New("not in canonical form")
	}
	return doc, nil
}

func tooLong(data []byte, limit int) error {
	return fmt.Errorf("%d bytes, at most %d are read", len(data), limit)
}

// Compact returns a document of ours in JSON without spaces.
func Compact(v any) []byte { return bytes.TrimSuffix(encoded(v, ""), []byte("\n")) }

// Indented returns a document of ours as a file that people read.
func Indented(v any) []byte { return encoded(v, " ") }

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
