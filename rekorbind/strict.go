// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/strictjson"
)

const (
	maxDepth = strictjson.MaxDepth
	// opaqueBundle is the key below which a document of another format stands, whose
	// own parser judges its keys.
	opaqueBundle = "bundle"
)

// strictDoc reads a document of ours into v.
func strictDoc(data []byte, limit int, v any, known ...string) error {
	if len(data) > limit {
		return fmt.Errorf("%d bytes, at most %d are read", len(data), limit)
	}
	return strictRules(known).Decode(data, v)
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

// strictRules refuse what encoding/json would take in more than one way.
func strictRules(known []string) strictjson.Rules {
	return strictjson.Rules{Known: known, Opaque: opaqueBundle}
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80]
	}
	return s
}
