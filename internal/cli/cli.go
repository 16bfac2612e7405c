// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of repopolicy: one file for each verb.
package cli

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
	root := r.Program("repopolicy", "who may release this repository, and was this artifact released by them?",
		"repopolicy verify --help")
	command.Group(root, "Verify", a.verifyCommand(), a.explainCommand(), a.inspectCommand(), a.showCommand(),
		a.logCommand(), a.lockCommand())
	command.Group(root, "Keep a policy", a.initCommand(), a.checkCommand(), a.editCommand(), a.renewCommand(),
		a.signCommand(), a.bindCommand(), a.statusCommand(), a.diffCommand(), a.doctorCommand())
	command.Group(root, "Release", a.authorizeCommand(), a.approveCommand(), a.signReleaseCommand())
	command.Group(root, "Trust", a.trustCommand(), a.evidenceCommand())
	command.Group(root, command.Other, a.getCommand(), a.exportCommand(), a.exportBundleCommand(), a.importCommand(),
		a.handInCommand(), a.VersionCommand("repopolicy"))
	root.AddCommand(a.assuranceTopic())
	return root
}
