// SPDX-License-Identifier: Apache-2.0

// Package policy is the core of repopolicy: the policy file, the pattern
// matcher and the decision whether one file allows a release.
//
// It takes bytes and plain structs and returns values. It knows no network, no
// clock, no environment and no Sigstore type; schema/SPEC.md is its normative
// description and schema/testdata holds vectors for other implementations.
//
// Data that nobody has verified and data that somebody vouches for have
// different types: a [Document] parsed correctly but is not yet trusted, a
// [Trusted] policy is; [Claims] is what evidence says about itself, [Evidence]
// is what a signature, a certificate and a log have confirmed. [Trusted.Decide]
// takes only the second kind.
//
// The versions of a policy, and which of them judges, are policy/chain's.
package policy
