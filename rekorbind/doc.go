// SPDX-License-Identifier: Apache-2.0

// Package rekorbind ties the versions of a policy to their repository through a
// transparency log: the statement that is signed, which log entries prove that
// the repository spoke, and the evidence that remains when two of them
// contradict each other.
package rekorbind
