// SPDX-License-Identifier: Apache-2.0

// Package rekorbind is what others need to read and write the statements by which a log binds
// the versions of a policy to their repository (SPEC 6.1). Which entries bind, and what they show
// together, package repopolicy finds out.
package rekorbind
