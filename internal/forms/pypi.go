// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"encoding/json"
	"fmt"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// pypiReader reads what PEP 740 calls attestation and provenance objects.
// https://packaging.python.org/specifications/index-hosted-attestations/
var pypiReader = reader{
	form:     "PyPI attestations",
	suffixes: []string{".publish.attestation", ".slsa.attestation", ".attestation", ".provenance", ".provenance.json"},
	read: func(src Source) ([]Piece, bool) {
		switch {
		case isAttestation(src.object):
			return []Piece{attestationPiece(src.object)}, true
		case src.object["attestation_bundles"] == nil:
			return nil, false
		}
		bundles, err := strictjson.List(src.object, "attestation_bundles")
		if err == nil {
			err = versionOne(src.object)
		}
		if err != nil {
			return badPiece("provenance: %s", err), true
		}
		var all []json.RawMessage
		for _, raw := range bundles {
			b, err := strictjson.Members(raw)
			if err != nil {
				return badPiece("attestation bundle: %s", err), true
			}
			// The publisher that stands beside them is the index's word; the
			// certificates say who it really was.
			attestations, err := strictjson.List(b, "attestations")
			if err != nil {
				return badPiece("attestation bundle: %s", err), true
			}
			all = append(all, attestations...)
		}
		return collect(all, func(raw json.RawMessage) Piece {
			m, err := strictjson.Members(raw)
			if err != nil {
				return badPiece("attestation: %s", err)[0]
			}
			return attestationPiece(m)
		}), true
	},
}

func isAttestation(object map[string]json.RawMessage) bool {
	return object["verification_material"] != nil && object["envelope"] != nil
}

func versionOne(object map[string]json.RawMessage) error {
	if v := string(object["version"]); v != "1" {
		return fmt.Errorf("version %q, 1 is known", clip.Text(v))
	}
	return nil
}

// attestationPiece turns a PEP 740 attestation object into a bundle.
func attestationPiece(object map[string]json.RawMessage) Piece {
	bad := func(err error) Piece { return badPiece("attestation: %s", err)[0] }
	if err := versionOne(object); err != nil {
		return bad(err)
	}
	material, err := strictjson.Members(object["verification_material"])
	if err != nil {
		return bad(err)
	}
	envelope, err := strictjson.Members(object["envelope"])
	if err != nil {
		return bad(err)
	}
	return newBundle(map[string]any{
		"mediaType": mediaTypeV03,
		"verificationMaterial": map[string]any{
			"certificate": map[string]any{"rawBytes": material["certificate"]},
			"tlogEntries": material["transparency_entries"],
		},
		"dsseEnvelope": map[string]any{
			"payload":     envelope["statement"],
			"payloadType": payloadInToto,
			"signatures":  []any{map[string]any{"sig": envelope["signature"]}},
		},
	})
}
