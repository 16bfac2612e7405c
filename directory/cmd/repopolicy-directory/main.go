// SPDX-License-Identifier: Apache-2.0

// Command repopolicy-directory keeps and serves a directory of policy bindings.
package main

import (
	"os"

	"github.com/repopolicy/repopolicy/directory/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], cli.OS())) }
