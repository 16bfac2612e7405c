// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package file

import "os"

// nonblock is not needed: pipes of other systems are no files.
const nonblock = 0

// nofollow has no counterpart: what was opened is compared with what was looked at.
const nofollow = 0

// Writable reports false: permissions of other systems are not in the mode.
func Writable(os.FileInfo) bool { return false }

// foreign reports false: other systems say no owner in the mode.
func foreign(_, _ os.FileInfo) bool { return false }
