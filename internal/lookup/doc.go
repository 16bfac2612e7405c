// SPDX-License-Identifier: Apache-2.0

// Package lookup finds bindings in the logs themselves: by the index of Rekor v1, which is a
// hint, or by reading a log of Rekor v2 from its beginning (SPEC 9).
package lookup
