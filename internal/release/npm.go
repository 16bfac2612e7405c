// SPDX-License-Identifier: Apache-2.0

package release

import (
	"encoding/json"
)

// npmReader reads the document that npm's registry serves at
// /-/npm/v1/attestations/<package>@<version>.
// https://docs.npmjs.com/viewing-package-provenance
var npmReader = reader{
	form:     "npm attestations",
	suffixes: []string{".attestations.json", ".attestations"},
	read: func(src source) ([]piece, bool) {
		attestations, err := list(src.object, "attestations")
		if err != nil || src.object["attestations"] == nil {
			return nil, false
		}
		return collect(attestations, func(raw json.RawMessage) piece {
			m, err := members(raw)
			if err != nil {
				return badPiece("%s", err)[0]
			}
			return bundlePiece(m["bundle"])
		}), true
	},
}

// predicateNPMPublish is the predicate type of the attestation that npm's
// registry makes with its own key when it takes a package. It says that the
// registry has the package, not who released it, and is never evidence under a
// policy.
const predicateNPMPublish = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1"
