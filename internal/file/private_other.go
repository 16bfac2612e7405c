// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package file

import "os"

// writable reports false: permissions of other systems are not in the mode.
func writable(os.FileInfo) bool { return false }
