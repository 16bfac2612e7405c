// SPDX-License-Identifier: Apache-2.0

// Repopolicy-sandbox-rekorv1 is repopolicy-sandbox with Rekor v1, which makes it
// more than twice as large.
package main

import (
	"os"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/internal/cli"
	"github.com/repopolicy/repopolicy/sandbox/rekorv1"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Env{
		Name: "repopolicy-sandbox-rekorv1", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		RekorV1: func(postgres string) sandbox.LogV1 { return rekorv1.Log{Postgres: postgres} },
	}))
}
