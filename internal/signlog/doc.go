// SPDX-License-Identifier: Apache-2.0

// Package signlog signs statements and logs them, step by step, with a journal: whoever is
// stopped in between and begins again makes no second log entry.
package signlog
