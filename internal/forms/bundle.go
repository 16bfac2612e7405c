// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"bytes"
	"encoding/json"

	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// bundleReader reads a Sigstore bundle, as cosign, sigstore-python and GitHub's
// actions write it.
var bundleReader = reader{
	form:     "Sigstore bundle",
	suffixes: []string{".sigstore.json", ".sigstore", ".sigstore.bundle", ".bundle", ".bundle.json", ".cosign.bundle"},
	read: func(src Source) ([]Piece, bool) {
		if !isBundle(src.object) {
			return nil, false
		}
		return []Piece{bundlePiece(src.Data)}, true
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
	read: func(src Source) ([]Piece, bool) {
		elements, ok := elements(src)
		if !ok {
			return nil, false
		}
		return collect(elements, anyPiece), true
	},
}

// elements returns what a collection holds, and false if src is none.
func elements(src Source) ([]json.RawMessage, bool) {
	if raw := src.object["attestations"]; raw != nil {
		attestations, err := strictjson.List(src.object, "attestations")
		var out []json.RawMessage
		for _, a := range attestations {
			m, err := strictjson.Members(a)
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
	data := bytes.TrimSpace(src.Data)
	if bytes.HasPrefix(data, []byte("[")) {
		out, err := strictjson.Array(data)
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
			m, err := strictjson.Members(line)
			lines = err == nil && len(m) > 0
		}
	}
	return out, lines // lines that are something else are pieces that are not read
}

// anyPiece reads one element of a collection.
func anyPiece(raw json.RawMessage) Piece {
	m, err := strictjson.Members(raw)
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

const (
	mediaTypeV01  = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	mediaTypeV03  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	payloadInToto = "application/vnd.in-toto+json"
)

// newBundle reads a bundle that was put together from another form.
func newBundle(v map[string]any) Piece {
	data, err := json.Marshal(v)
	if err != nil {
		return badPiece("%s", err)[0]
	}
	return bundlePiece(data)
}
