// SPDX-License-Identifier: Apache-2.0

// Package bindings knows which log entries bind a version of a policy to its repository
// (SPEC 7), reads the files that carry them, and resolves what files and look-ups show together
// into a chain. What contradicts itself leaves evidence (SPEC 12).
package bindings
