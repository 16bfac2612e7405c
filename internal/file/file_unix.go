// SPDX-License-Identifier: Apache-2.0

//go:build unix

package file

import (
	"os"
	"syscall"
)

// nonblock lets a pipe that nobody writes to be opened, and then refused.
const nonblock = syscall.O_NONBLOCK

// Writable reports whether group or others may write to what info describes.
func Writable(info os.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
