// SPDX-License-Identifier: Apache-2.0

package rekor

import "filippo.io/torchwood"

// AddProof adds what somebody says to be a proof that one tree begins another.
func (t *Trees) AddProof(log, origin string, small, large int64, hashes [][]byte) {
	t.proofs = append(t.proofs, treeProof{log, origin, small, large, hashes})
}

// Policy returns what notes are opened with.
func (w *WitnessPolicy) Policy() torchwood.Policy { return w.policy }
