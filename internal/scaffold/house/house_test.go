// SPDX-License-Identifier: Apache-2.0

// Package house tests the repository as a whole: which room imports which, what
// workflows may do, and that documents name tests that are there.
package house

import (
	"fmt"
	"os"
	"testing"
)

// TestMain: all paths here begin at the root of the repository.
func TestMain(m *testing.M) {
	if err := os.Chdir("../../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
