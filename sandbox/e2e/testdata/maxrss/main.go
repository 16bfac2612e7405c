// SPDX-License-Identifier: Apache-2.0

// Maxrss runs a command and writes the most memory that it held, in KiB, into a
// file. A large process cannot ask that about its own children: Linux counts the
// memory of who starts a process until the program is exchanged.
package main

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

func main() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	_ = cmd.Run() // the state says it
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok || os.WriteFile(os.Args[1], []byte(strconv.FormatInt(usage.Maxrss, 10)), 0o600) != nil {
		os.Exit(70)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}
