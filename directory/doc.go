// SPDX-License-Identifier: Apache-2.0

// Package directory is the service of a directory (SPEC 16): it follows the logs
// of a trusted root, keeps a map of which repository bound what, commits to every
// state of the map in a log of its own, and writes answers that a client can check
// as files that any web server serves.
//
// All state is in one file, changed in transactions: a process that ends anywhere
// goes on where it was, and nothing is read twice or left out.
package directory
