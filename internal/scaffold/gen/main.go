// SPDX-License-Identifier: Apache-2.0

// Gen writes what is generated from the programs themselves: docs/errors.md from the
// table of reason codes, docs/policy.md from the schema of the policy file, and the manual pages
// from the trees of commands.
//
//	go generate ./...
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/trustcli"
	"github.com/repopolicy/repopolicy/policy"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen ROOT")
		os.Exit(2)
	}
	for _, f := range []func(string) error{errorsPage, policyPage, manPages} {
		if err := f(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
}

const errorsHead = `# Exit codes and reasons

<!-- Generated from policy/reason.go by "go generate ./...". Do not edit. -->

A command exits with the code of its verdict's class. The class follows from the
reason, which text output prints in brackets and JSON output under ` + "`reason`" + `. Of
several artifacts the worst class decides: any other than OK wins over OK.

| exit | class | when |
|---|---|---|
`

func errorsPage(root string) error {
	var b bytes.Buffer
	b.WriteString(errorsHead)
	for _, c := range policy.Classes() {
		fmt.Fprintf(&b, "| %d | %s | %s |\n", c.Exit(), c, c.Meaning())
	}
	b.WriteString("\n## Reasons\n\n| reason | class | meaning | what to do |\n|---|---|---|---|\n")
	for _, r := range policy.Reasons() {
		hint := r.Hint()
		if hint == "" {
			hint = "-"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r, r.Class(), cell(r.Text()), cell(hint))
	}
	return os.WriteFile(filepath.Join(root, "docs", "errors.md"), b.Bytes(), 0o644)
}

// cell writes text for a cell of a Markdown table.
func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "<", "&lt;") }

func manPages(root string) error {
	dir := filepath.Join(root, "docs", "man")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	date := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	// The page of repopolicy-trust takes the place of that of `repopolicy trust`, which has that
	// name, too, and only lists commands with pages of their own.
	for _, program := range []*cobra.Command{cli.Command(), trustcli.Command()} {
		program.DisableAutoGenTag = true
		program.InitDefaultCompletionCmd()
		header := &doc.GenManHeader{
			Title: strings.ToUpper(program.Name()), Section: "1", Source: "repopolicy", Manual: "repopolicy", Date: &date,
		}
		if err := doc.GenManTree(program, header, dir); err != nil {
			return err
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		if err := addSections(page); err != nil {
			return err
		}
	}
	return nil
}

// addSections adds to a manual page what is the same for every command.
func addSections(page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	var more strings.Builder
	section := func(title, intro string, of []command.Named) {
		more.WriteString(".SH " + title + "\n" + intro + "\n")
		for _, n := range of {
			more.WriteString(".TP\n\\fB" + roff(n.Name) + "\\fP\n" + roff(n.Text) + "\n")
		}
		more.WriteString("\n\n")
	}
	section("EXIT STATUS", "The class of the verdict, or of what was in the way. Commands that judge nothing exit 0 if they did "+
		"what was asked.", command.ExitCodes())
	section("ENVIRONMENT", "No variable makes anything trusted.", command.Environment)
	section("FILES", "On other systems than Linux the directories of the user are elsewhere.", command.Files)
	head, also, _ := strings.Cut(string(text), ".SH SEE ALSO")
	if also != "" {
		more.WriteString(".SH SEE ALSO" + also)
	}
	return os.WriteFile(page, []byte(head+more.String()), 0o644)
}

// roff writes text for a manual page, in which no line is a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
