// SPDX-License-Identifier: Apache-2.0

//go:build unix

// Measure runs a command and writes the most memory that it held, in KiB, to a file. A
// large process cannot measure its children: on Linux they begin with its own figure.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

func main() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(126)
	}
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS == "darwin" { // counts bytes
		rss >>= 10
	}
	if err := os.WriteFile(os.Args[1], fmt.Append(nil, rss), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(126)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}
