// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"encoding/json"
	"errors"

	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// dsseReader reads a bare DSSE envelope, as slsa-github-generator publishes its
// provenance: signatures carry their certificates, and the log entry is left for
// the verifier to search. https://github.com/secure-systems-lab/dsse
var dsseReader = reader{
	form: "bare DSSE envelope",
	read: func(src Source) ([]Piece, bool) {
		if !isDSSE(src.object) {
			return nil, false
		}
		return []Piece{dssePiece(src.object)}, true
	},
}

func isDSSE(object map[string]json.RawMessage) bool {
	return object["payloadType"] != nil && object["signatures"] != nil
}

// dssePiece turns an envelope into a bundle without log entry, so that it can be
// said who claims to have signed what.
func dssePiece(object map[string]json.RawMessage) Piece {
	bad := func(err error) Piece { return badPiece("envelope: %s", err)[0] }
	env, err := envelope(object)
	if err != nil {
		return bad(err)
	}
	signatures, err := strictjson.List(object, "signatures")
	if err != nil || len(signatures) != 1 {
		return bad(errors.New("an envelope has exactly one signature"))
	}
	m, err := strictjson.Members(signatures[0])
	if err != nil {
		return bad(err)
	}
	cert, err := strictjson.Text(m, "cert")
	if err != nil {
		return bad(err)
	}
	material := map[string]any{"publicKey": map[string]any{"hint": ""}}
	if cert != "" {
		block, err := decodePEM([]byte(cert))
		if err != nil {
			return bad(err)
		}
		material = map[string]any{"certificate": map[string]any{"rawBytes": block.Bytes}}
	}
	p := newBundle(map[string]any{"mediaType": mediaTypeV03, "verificationMaterial": material, "dsseEnvelope": env})
	p.Unproven = "the envelope comes without a log entry"
	return p
}

// envelope returns the envelope as it stands in a bundle.
func envelope(object map[string]json.RawMessage) (map[string]any, error) {
	signatures, err := strictjson.List(object, "signatures")
	if err != nil {
		return nil, err
	}
	var out []any
	for _, raw := range signatures {
		m, err := strictjson.Members(raw)
		if err != nil {
			return nil, err
		}
		s := map[string]any{"sig": m["sig"]}
		if m["keyid"] != nil {
			s["keyid"] = m["keyid"]
		}
		out = append(out, s)
	}
	return map[string]any{"payload": object["payload"], "payloadType": object["payloadType"], "signatures": out}, nil
}
