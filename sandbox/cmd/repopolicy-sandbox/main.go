// SPDX-License-Identifier: Apache-2.0

// Repopolicy-sandbox runs a real Sigstore on 127.0.0.1.
package main

import (
	"os"

	"github.com/repopolicy/repopolicy/sandbox/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Env{Name: "repopolicy-sandbox", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
}
