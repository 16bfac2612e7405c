// SPDX-License-Identifier: Apache-2.0

// Package chain is the history of one repository's policy, and the verdict by it: which
// versions the logs show, which of them was in force where a release was logged, and whether
// that one allows it (SPEC 6 to 9 and 12).
//
// It takes what was verified elsewhere as a [History] and knows no network, no clock and no
// environment. [Evaluate] orders it into a [Chain]; [Chain.Trusted] is what releases are
// judged by. How one file judges is package policy's concern, which knows of no chain: what
// a file needs to know of the others is handed down as values.
package chain
