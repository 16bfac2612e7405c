// SPDX-License-Identifier: Apache-2.0

package trustcli

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/cli"
	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/scaffold/commandtest"
)

// TestHelp: each verb has an example, its help shows few flags or all of them, and no title of flags is for none.
func TestHelp(t *testing.T) {
	used := map[string]bool{"version": true}
	shows := regexp.MustCompile(`(?m)^  (?:    |-\w, )--([\w-]+)`)
	commandtest.Verbs(Command(), func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Runnable() && c.HasParent() && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		help := func(flag string) string {
			code, out := run(command.Env{}, append(strings.Fields(c.CommandPath())[1:], flag)...)
			if code != 0 {
				t.Errorf("%s: exit %d\n%s", c.CommandPath(), code, out)
			}
			out, _, _ = strings.Cut(out, "\nExamples:\n")
			return out
		}
		if n := len(shows.FindAllString(help("--help"), -1)); n > command.MaxFlags {
			t.Errorf("%s --help shows %d flags", c.CommandPath(), n)
		}
		all := shows.FindAllStringSubmatch(help("--help-all"), -1)
		check := func(f *pflag.Flag) {
			if used[f.Name] = true; f.Hidden || f.Name == "help" || f.Name == "help-all" {
				return
			}
			if !slices.ContainsFunc(all, func(m []string) bool { return m[1] == f.Name }) {
				t.Errorf("%s --help-all does not show --%s: which group is it of?", c.CommandPath(), f.Name)
			}
		}
		c.NonInheritedFlags().VisitAll(check)
		c.InheritedFlags().VisitAll(check)
	})
	commandtest.Verbs(cli.Command(), func(c *cobra.Command) {
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) { used[f.Name] = true })
	})
	for _, name := range command.GroupedFlags() {
		if !used[name] {
			t.Errorf("a group of flags has --%s, which no command has", name)
		}
	}
}
