// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// Loose says what a file of a form of evidence holds beside it, "" for nothing:
// members that no form knows, text around a certificate. A verdict may pass over
// them; that a file is evidence and nothing else may not.
func Loose(data []byte) string {
	if object, err := strictjson.Members(data); err == nil {
		return looseShape(object)
	}
	trimmed := bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(trimmed, []byte("[")):
		var elements []json.RawMessage
		if err := json.Unmarshal(trimmed, &elements); err != nil {
			return err.Error()
		}
		return looseElements(elements)
	case bytes.HasPrefix(trimmed, []byte("{")):
		return looseElements(lines(trimmed))
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN")):
		if block, rest := pem.Decode(data); block == nil || len(block.Headers) > 0 || len(rest) > 0 ||
			!bytes.Equal(bytes.TrimSpace(pem.EncodeToMemory(block)), trimmed) {
			return "more than one certificate in PEM"
		}
	default: // a signature, or a certificate, in base64
		raw, err := base64.StdEncoding.Strict().DecodeString(string(trimmed))
		if err != nil || base64.StdEncoding.EncodeToString(raw) != string(trimmed) {
			return "not one line of base64"
		}
	}
	return ""
}

// lines returns the lines that are not empty.
func lines(data []byte) (out []json.RawMessage) {
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			out = append(out, line)
		}
	}
	return out
}

func looseElements(elements []json.RawMessage) string {
	for i, e := range elements {
		if why := looseElement(i, e); why != "" {
			return why
		}
	}
	return ""
}

func looseElement(i int, raw []byte) string {
	m, err := strictjson.Members(raw)
	if err != nil {
		return itemText(i+1) + err.Error()
	}
	if why := looseShape(m); why != "" {
		return itemText(i+1) + why
	}
	return ""
}

func itemText(i int) string { return fmt.Sprintf("item %d: ", i) }

// shape is a JSON object that evidence consists of: the member that tells it,
// all that it may have, and what stands under some of them, alone or in a list.
type shape struct {
	mark   string
	known  []string
	inside map[string]*shape
}

var (
	cosignShape = &shape{mark: "base64Signature", known: []string{"base64Signature", "cert", "rekorBundle"},
		inside: map[string]*shape{
			"rekorBundle": {known: []string{"SignedEntryTimestamp", "Payload"}, inside: map[string]*shape{
				"Payload": {known: []string{"body", "integratedTime", "logIndex", "logID"}},
			}},
		}}
	dsseShape = &shape{mark: "payloadType", known: []string{"payload", "payloadType", "signatures"},
		inside: map[string]*shape{
			"signatures": {known: []string{"keyid", "sig", "cert"}},
		}}
	pypiShape = &shape{mark: "verification_material", known: []string{"version", "verification_material", "envelope"},
		inside: map[string]*shape{
			"verification_material": {known: []string{"certificate", "transparency_entries"}},
			"envelope":              {known: []string{"statement", "signature"}},
		}}
	provenanceShape = &shape{mark: "attestation_bundles", known: []string{"version", "attestation_bundles"},
		inside: map[string]*shape{
			"attestation_bundles": {known: []string{"publisher", "attestations"},
				inside: map[string]*shape{"attestations": pypiShape}},
		}}
	listShape = &shape{mark: "attestations", known: []string{"attestations"}, inside: map[string]*shape{
		"attestations": {known: []string{"bundle", "predicateType", "repository_id", "bundle_url", "initiator"}},
	}}
	shapes = []*shape{cosignShape, dsseShape, pypiShape, provenanceShape, listShape}
)

// looseShape checks an object by the form that a member tells. A Sigstore bundle
// is none of them: whoever parses it refuses what it does not know.
func looseShape(m map[string]json.RawMessage) string {
	if isBundle(m) {
		return ""
	}
	for _, o := range shapes {
		if m[o.mark] != nil {
			return o.loose(m)
		}
	}
	return "it is of no form of evidence"
}

func (o *shape) loose(m map[string]json.RawMessage) string {
	for name, raw := range m {
		if !slices.Contains(o.known, name) {
			return fmt.Sprintf("no form of evidence has a member %q there", clip.Text(name))
		}
		inner := o.inside[name]
		if inner == nil || string(raw) == "null" {
			continue
		}
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil {
			elements = []json.RawMessage{raw}
		}
		for _, e := range elements {
			in, err := strictjson.Members(e)
			if err != nil {
				return name + ": " + err.Error()
			}
			if why := inner.loose(in); why != "" {
				return why
			}
		}
	}
	return ""
}
