// SPDX-License-Identifier: Apache-2.0

// Package trustcli is the command line of repopolicy-trust, by which trust roots are made and
// kept: one file for each verb.
package trustcli

import (
	"github.com/spf13/cobra"

	"github.com/repopolicy/repopolicy/internal/command"
)

// app is one run of the program.
type app struct{ *command.Run }

// Main runs the program and returns its exit code (DESIGN 9).
func Main(args []string, env command.Env) int { return command.Main(args, env, tree) }

// Command returns the tree of commands for generators of documentation.
func Command() *cobra.Command { return command.Tree(tree) }

func tree(r *command.Run) *cobra.Command {
	a := &app{r}
	root := r.Program("repopolicy-trust", "make and keep a trust root of your own", "repopolicy-trust init --help")
	root.Long = `Repopolicy-trust makes a trust root, a TUF repository in a directory, and keeps it: what
changes is staged, signed by those who have the keys, each where the key is, and published.
What a machine trusts is another program's: repopolicy trust show, update and export.`
	root.AddCommand(
		a.initCommand(), a.addCommand(), a.addTargetCommand(), a.removeCommand(), a.delegateCommand(),
		a.rotateCommand(), a.signCommand(), a.publishCommand(),
		a.fromPolicyCommand(), a.VersionCommand("repopolicy-trust"))
	for _, verb := range []string{"show", "update", "export"} {
		root.AddCommand(command.Moved(verb, "repopolicy trust "+verb))
	}
	return root
}
