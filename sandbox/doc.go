// SPDX-License-Identifier: Apache-2.0

// Package sandbox runs a real Sigstore on 127.0.0.1, in one process: an OpenID
// provider, Fulcio, the certificate transparency log TesseraCT, shards of Rekor
// v2, a time-stamping authority, witnesses, a TUF repository and a small forge,
// and on request Rekor v1 (package rekorv1). Services are the upstream ones;
// certificates name the real issuers, such as
// https://token.actions.githubusercontent.com, and only the trusted root keeps
// them apart from real ones.
//
//	stack, err := sandbox.Start(ctx, dir, sandbox.Options{})
//	defer stack.Close()
//	token, err := stack.Token(claims.GitHub{Repository: "acme/widget", Ref: "refs/tags/v1"})
//
// Everything that clients know a stack by, keys and ports, is kept in its
// directory: a stack started there again, also after it was killed, is the same.
// Package malice lists the ways in which its services can misbehave.
package sandbox
