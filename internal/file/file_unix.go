// SPDX-License-Identifier: Apache-2.0

//go:build unix

package file

import (
	"os"
	"syscall"
)

// nonblock lets a pipe that nobody writes to be opened, and then refused.
const nonblock = syscall.O_NONBLOCK

// nofollow lets a link in the place of a file not be opened.
const nofollow = syscall.O_NOFOLLOW

// Writable reports whether group or others may write to what info describes.
func Writable(info os.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// foreign reports whether a file belongs neither to the user nor to the owner of its
// directory, who can put there what they want anyway.
func foreign(info, dir os.FileInfo) bool {
	file, ok := info.Sys().(*syscall.Stat_t)
	in, okDir := dir.Sys().(*syscall.Stat_t)
	return !ok || !okDir || int(file.Uid) != os.Geteuid() && file.Uid != in.Uid
}
