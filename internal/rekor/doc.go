// SPDX-License-Identifier: Apache-2.0

// Package rekor reads logs that may lie: the tiles of Rekor v2, the index of Rekor v1. Of each
// log there is one tree (SPEC 9.1): it demands proofs that all checkpoints of a run are of one
// history, keeps what contradicts that as evidence, takes witnesses at their word, and makes
// every proven time a floor under the clock (SPEC 9.2).
package rekor
