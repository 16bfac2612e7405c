// SPDX-License-Identifier: Apache-2.0

// Package memory keeps what a machine remembers between runs: chains, heads of logs, cursors,
// the floor under its clock, unfinished signatures, evidence and receipts. It stores documents
// by name, each swapped for the one that was read, so that runs side by side lose nothing.
package memory
