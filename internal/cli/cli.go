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
	r.Verbs(root, a.verbs()...)
	root.AddCommand(a.assuranceTopic())
	return root
}

// verbs are those of the program, in the order in which they are used.
func (a *app) verbs() []command.Group {
	version := func() *cobra.Command { return a.VersionCommand("repopolicy") }
	return []command.Group{
		{Title: "Verify", Verbs: []command.Verb{
			{Name: "verify", Make: a.verifyCommand}, {Name: "explain", Make: a.explainCommand},
			{Name: "inspect", Make: a.inspectCommand}, {Name: "show", Make: a.showCommand},
			{Name: "log", Make: a.logCommand}, {Name: "lock", Make: a.lockCommand},
		}},
		{Title: "Keep a policy", Verbs: []command.Verb{
			{Name: "init", Make: a.initCommand}, {Name: "check", Make: a.checkCommand}, {Name: "edit", Make: a.editCommand},
			{Name: "renew", Make: a.renewCommand}, {Name: "sign", Make: a.signCommand}, {Name: "bind", Make: a.bindCommand},
			{Name: "status", Make: a.statusCommand}, {Name: "diff", Make: a.diffCommand},
			{Name: "doctor", Make: a.doctorCommand},
		}},
		{Title: "Release", Verbs: []command.Verb{
			{Name: "authorize", Make: a.authorizeCommand}, {Name: "approve", Make: a.approveCommand},
			{Name: "sign-release", Make: a.signReleaseCommand},
		}},
		{Title: "Trust", Verbs: []command.Verb{
			{Name: "trust", Make: a.trustCommand}, {Name: "evidence", Make: a.evidenceCommand},
		}},
		{Title: command.Other, Verbs: []command.Verb{
			{Name: "get", Make: a.getCommand}, {Name: "export", Make: a.exportCommand},
			{Name: "export-bundle", Make: a.exportBundleCommand}, {Name: "import", Make: a.importCommand},
			{Name: "hand-in", Make: a.handInCommand}, {Name: "version", Make: version},
		}},
	}
}
