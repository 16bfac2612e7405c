// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/trustcli"
)

// foreign are flags of programs of others that guides name alone.
var foreign = []string{"--jq"}

// elsewhere returns the flags that the programs of the other modules define.
func elsewhere(t *testing.T) (out []string) {
	t.Helper()
	flag := regexp.MustCompile(`\(&[\w.\[\]]+, "([a-z-]+)", `)
	for _, module := range []string{"directory", "sandbox"} {
		err := filepath.WalkDir(filepath.Join(repository, module), func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range flag.FindAllStringSubmatch(string(text), -1) {
				out = append(out, "--"+m[1])
			}
			return err
		})
		if err != nil || len(out) == 0 {
			t.Fatal(module, err)
		}
	}
	return out
}

// flagsOf returns the flags of every command by its path, those that it inherits among them.
func flagsOf(programs ...*cobra.Command) map[string][]string {
	out := map[string][]string{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		add := func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			names := append(out[c.CommandPath()], "--"+f.Name)
			if f.Shorthand != "" {
				names = append(names, "-"+f.Shorthand)
			}
			out[c.CommandPath()] = names
		}
		out[c.CommandPath()] = []string{}
		c.NonInheritedFlags().VisitAll(add)
		c.InheritedFlags().VisitAll(add)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	for _, p := range programs {
		walk(p)
	}
	return out
}

var (
	// aFlag is a flag in a text: after a blank, a bracket or a sign of code.
	aFlag = regexp.MustCompile("(?:^|[\\s(\\[`|])(--[a-zA-Z][a-zA-Z0-9-]*|-[a-zA-Z]\\b)")
	// aSpan is code in a line.
	aSpan = regexp.MustCompile("`([^`\n]+)`")
)

// unknownFlags returns what a guide says of our programs' flags that is not so.
func unknownFlags(text string, of map[string][]string, except []string) (wrong []string) {
	anywhere := func(flag string) bool {
		for _, flags := range of {
			if slices.Contains(flags, flag) {
				return true
			}
		}
		return slices.Contains(except, flag)
	}
	for _, line := range commandsIn(text, of) {
		path, rest := commandOf(line, of)
		if path == "" {
			continue
		}
		for _, m := range aFlag.FindAllStringSubmatch(rest, -1) {
			if !slices.Contains(of[path], m[1]) {
				wrong = append(wrong, path+" "+m[1])
			}
		}
	}
	for _, span := range aSpan.FindAllStringSubmatch(text, -1) {
		flag, _, _ := strings.Cut(span[1], " ")
		flag, _, _ = strings.Cut(flag, "=")
		if strings.HasPrefix(flag, "--") && len(flag) > 2 && !anywhere(flag) {
			wrong = append(wrong, flag)
		}
	}
	return wrong
}

// commandsIn returns the lines of code blocks, joined where they go on, and code in lines; of a pipe or list the
// parts. A verb of ours alone, as in "`verify --report FILE`", is one in a line.
func commandsIn(text string, of map[string][]string) (out []string) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\\\n>", " "), "\\\n", " ")
	take := func(s string) {
		for _, part := range regexp.MustCompile(`\|\||&&|[;|>]`).Split(s, -1) {
			out = append(out, strings.TrimSpace(part))
		}
	}
	inBlock := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			inBlock = !inBlock
			continue
		}
		if inBlock || strings.HasPrefix(line, "    ") {
			line, _, _ = strings.Cut(line, " # ")
			take(line)
			continue
		}
		for _, m := range aSpan.FindAllStringSubmatch(line, -1) {
			if verb, _, ok := strings.Cut(m[1], " -"); ok && of["repopolicy "+verb] != nil {
				m[1] = "repopolicy " + m[1]
			}
			take(m[1])
		}
	}
	return out
}

// commandOf returns which command of ours a line runs, "" for none, and what stands behind it.
func commandOf(line string, of map[string][]string) (path, rest string) {
	i := regexp.MustCompile(`(?:^|[\s(])repopolicy(?:-trust)? `).FindStringIndex(line)
	if i == nil {
		return "", ""
	}
	words := strings.Fields(strings.TrimLeft(line[i[0]:], " ("))
	path = words[0]
	for len(words) > 1 && of[path+" "+words[1]] != nil {
		path, words = path+" "+words[1], words[1:]
	}
	return path, strings.Join(words[1:], " ")
}

// TestFlagsInGuides: every flag that a guide or an example names is there, in the command for which it is named.
func TestFlagsInGuides(t *testing.T) {
	of, except := flagsOf(cli.Command(), trustcli.Command()), append(elsewhere(t), foreign...)
	pages, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no guides: ", err)
	}
	for _, page := range append(pages, filepath.Join(repository, "README.md"), filepath.Join(repository, "SECURITY.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range unknownFlags(string(text), of, except) {
			t.Errorf("%s: %s: there is no such flag", page, wrong)
		}
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, wrong := range unknownFlags("```\n"+c.Example+"\n```\n", of, nil) {
			t.Errorf("example of %s: %s: there is no such flag", c.CommandPath(), wrong)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cli.Command())
	walk(trustcli.Command())
}

// TestUnknownFlags: the test above sees what it is for.
func TestUnknownFlags(t *testing.T) {
	of := flagsOf(cli.Command(), trustcli.Command())
	for text, want := range map[string]string{
		"```sh\nrepopolicy verify --polcy x file\n```\n":                        "repopolicy verify --polcy",
		"```console\n$ repopolicy show -R a/b \\\n>     --tags x\n```\n":        "repopolicy show --tags",
		"```sh\nx=$(repopolicy lock -R a/b --to x)\n```\n":                      "repopolicy lock --to",
		"```sh\nrepopolicy diff -R a/b | repopolicy check --json\n```\n":        "repopolicy check --json",
		"```sh\nrepopolicy trust audit x --since y\n```\n":                      "repopolicy trust audit --since",
		"With `verify --reprot FILE` and `--nowhere`.":                          "repopolicy verify --reprot, --nowhere",
		"```sh\nrepopolicy-trust publish d --key k --repo x\n```\n":             "repopolicy-trust publish --repo",
		"```sh\nrepopolicy verify -R a/b -q --timeout 1m x # --not-a-flag\n```": "",
		"```sh\ncosign verify-blob --bundle x\n```\nand `--help-all`":           "",
		"`init --repo` for `init --repository`":                                 "repopolicy init --repository",
	} {
		if got := strings.Join(unknownFlags(text, of, nil), ", "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
