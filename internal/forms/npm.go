// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"encoding/json"

	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// npmReader reads the document that npm's registry serves at
// /-/npm/v1/attestations/<package>@<version>.
// https://docs.npmjs.com/viewing-package-provenance
var npmReader = reader{
	form:     "npm attestations",
	suffixes: []string{".attestations.json", ".attestations"},
	read: func(src Source) ([]Piece, bool) {
		attestations, err := strictjson.List(src.object, "attestations")
		if err != nil || src.object["attestations"] == nil {
			return nil, false
		}
		return collect(attestations, func(raw json.RawMessage) Piece {
			m, err := strictjson.Members(raw)
			if err != nil {
				return badPiece("%s", err)[0]
			}
			return bundlePiece(m["bundle"])
		}), true
	},
}
