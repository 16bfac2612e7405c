// SPDX-License-Identifier: Apache-2.0

// Repopolicy-trust makes and keeps trust roots.
package main

import (
	"os"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trustcli"
)

func main() { os.Exit(trustcli.Main(os.Args[1:], command.OS())) }
