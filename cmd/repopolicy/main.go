// SPDX-License-Identifier: Apache-2.0

// Repopolicy says who may release a repository and whether an artifact was
// released by them.
package main

import (
	"os"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
)

func main() { os.Exit(cli.Main(os.Args[1:], command.OS())) }
