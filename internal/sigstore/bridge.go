// SPDX-License-Identifier: Apache-2.0

package sigstore

import "fmt"

const mediaType03 = "application/vnd.dev.sigstore.bundle.v0.3+json"

// pae is the pre-authentication encoding of an envelope (DSSE v1.0.2).
func pae(kind string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
}
