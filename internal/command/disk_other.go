// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package command

import "syscall"

// machineErrors are no fault of who runs the program: ERROR_TOO_MANY_OPEN_FILES,
// ERROR_WRITE_PROTECT, ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL and ERROR_IO_DEVICE.
var machineErrors = []error{
	syscall.Errno(4),
	syscall.Errno(19),
	syscall.Errno(39),
	syscall.Errno(112),
	syscall.Errno(1117),
}
