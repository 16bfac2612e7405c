// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"encoding/json"
)

// bundleReader reads a Sigstore bundle, as cosign, sigstore-python and GitHub's
// actions write it.
var bundleReader = reader{
	form:     "Sigstore bundle",
	suffixes: []string{".sigstore.json", ".sigstore", ".sigstore.bundle", ".bundle", ".bundle.json", ".cosign.bundle"},
	read: func(src source) ([]piece, bool) {
		if !isBundle(src.object) {
			return nil, false
		}
		return []piece{bundlePiece(src.data)}, true
	},
}

func isBundle(object map[string]json.RawMessage) bool {
	return object["verificationMaterial"] != nil
}

// collectionReader reads several bundles in one file: JSON lines, as `gh
// attestation download` and SLSA's source track write them, the answer of
// GitHub's attestation API, or a list.
var collectionReader = reader{
	form:     "collection of bundles",
	suffixes: []string{".sigstore.jsonl", ".intoto.jsonl", ".attestations.jsonl", ".jsonl"},
	read: func(src source) ([]piece, bool) {
		elements, ok := elements(src)
		if !ok {
			return nil, false
		}
		return collect(elements, anyPiece), true
	},
}

// elements returns what a collection holds, and false if src is none.
func elements(src source) ([]json.RawMessage, bool) {
	if raw := src.object["attestations"]; raw != nil {
		attestations, err := list(src.object, "attestations")
		var out []json.RawMessage
		for _, a := range attestations {
			m, err := members(a)
			if err != nil || m["bundle"] == nil || m["predicateType"] != nil {
				return nil, false
			}
			out = append(out, m["bundle"])
		}
		return out, err == nil
	}
	if src.object != nil {
		return nil, false
	}
	var out []json.RawMessage
	data := bytes.TrimSpace(src.data)
	if bytes.HasPrefix(data, []byte("[")) {
		out, err := array(data)
		return out, err == nil
	}
	lines := false
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if out = append(out, line); len(out) > MaxPieces {
			break // which collect refuses
		}
		if !lines {
			m, err := members(line)
			lines = err == nil && len(m) > 0
		}
	}
	return out, lines // lines that are something else are pieces that are not read
}

// anyPiece reads one element of a collection.
func anyPiece(raw json.RawMessage) piece {
	m, err := members(raw)
	switch {
	case err != nil:
		return badPiece("%s", err)[0]
	case isDSSE(m):
		return dssePiece(m)
	case isAttestation(m):
		return attestationPiece(m)
	}
	return bundlePiece(raw)
}
