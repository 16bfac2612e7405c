// SPDX-License-Identifier: Apache-2.0

//go:build unix

package command

import "syscall"

// machineErrors are no fault of who runs the program.
var machineErrors = []error{
	syscall.ENOSPC,
	syscall.EDQUOT,
	syscall.EFBIG,
	syscall.EIO,
	syscall.EROFS,
	syscall.EMFILE,
	syscall.ENFILE,
	syscall.ENOLCK,
	syscall.ENOMEM,
}
