// SPDX-License-Identifier: Apache-2.0

// Package answers reads what a directory says of a repository, and proves it (SPEC 16): its
// descriptor, its map and output log, answers and pages, receipts. A directory that says what is
// not true leaves evidence that anybody can judge.
package answers
