// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"slices"

	"github.com/repopolicy/repopolicy/policy"
)

// Unwritten is the fault of a file that could not be written or locked: by the
// machine, whose disk is full or broken, or because its path cannot be, which is a
// wrong command line.
func Unwritten(err error) *policy.Fault {
	f := usage(err)
	if slices.ContainsFunc(machineErrors, func(e error) bool { return errors.Is(err, e) }) {
		f.Reason = policy.WriteFailed
	}
	return f
}
