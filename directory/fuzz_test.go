// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"testing"

	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// FuzzWithoutProof: what is kept of an entry of Rekor v1 is read as the entry is, and
// keeping it again changes nothing.
func FuzzWithoutProof(f *testing.F) {
	f.Add(
		[]byte(
			`{"body":"e30=","integratedTime":1,"logID":"00","logIndex":2,"verification":{"signedEntryTimestamp":"AA==",` +
				`"inclusionProof":{"hashes":[]}},"attestation":{}}`,
		),
	)
	f.Add([]byte(`{"BODY":"e30=","logIndex":9223372036854775807}`))
	f.Add([]byte(`{"body":null,"body":"e30="}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		kept, err := withoutProof(raw)
		if err != nil {
			return
		}
		before, beforeErr := sigstore.ParseEntryV1(raw)
		after, afterErr := sigstore.ParseEntryV1(kept)
		if (beforeErr == nil) != (afterErr == nil) || before.LeafHash != after.LeafHash || before.Signer != after.Signer {
			t.Errorf("%q: %v, %q: %v", raw, beforeErr, kept, afterErr)
		}
		again, err := withoutProof(kept)
		if err != nil || string(again) != string(kept) {
			t.Errorf("%q becomes %q: %v", kept, again, err)
		}
	})
}
