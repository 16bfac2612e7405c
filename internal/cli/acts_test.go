// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/report"
)

// commands are what runners of CIs take for a command in a log.
var commands = []string{
	"##[add-mask]x", "x ##[group]y", "::set-output name=verdict::OK", "  ::stop-commands::x", "x\n::error::y",
	"##vso[task.setvariable variable=a]b", "###[debug]x", "##teamcity[x]",
}

// acts reports whether a runner would act on a text. It knows no code of the program.
func acts(s string) bool {
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "::") || strings.HasPrefix(line, `"::`) {
			return true
		}
		for _, mark := range []string{"##[", "##vso[", "##teamcity["} {
			if strings.Contains(line, mark) {
				return true
			}
		}
	}
	return false
}

// TestActs: no form of output carries what strangers wrote to a runner as a command.
func TestActs(t *testing.T) {
	env := place(t)
	for i, name := range commands {
		name = strings.NewReplacer("/", "_", "\x00", "").Replace(name)
		if err := os.WriteFile(name, []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(
			testPolicy, `artifacts = ["widget_*"]`,
			"artifacts = [\"widget_*\"]\n"+`title = """`+"\n"+commands[i]+"\n"+`"""`, 1,
		)
		if err := os.WriteFile("bad.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := os.WriteFile(
			"named.toml",
			[]byte(strings.ReplaceAll(testPolicy, `name = "alice"`, "name = '"+strings.ReplaceAll(commands[i], "\n", "")+"'")),
			0o600,
		)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"verify", "--policy", "policy.toml", "--trusted-root", "root.json", name},
			{"explain", "--policy", "policy.toml", "--trusted-root", "root.json", name, "widget_1"},
			{"verify", "--policy", name, "--trusted-root", "root.json", "widget_1"}, {"verify", "--tag", name, "widget_1"},
			{"verify", "-R", name, "widget_1"}, {"verify", name}, {name}, {"verify", "--" + name},
			{"check", "bad.toml"}, {"check", "named.toml"}, {"check", name}, {"diff", name},
			{"export", "--to", "gh", "--policy", "named.toml"}, {"import", "aqua", name}, {"evidence", "show", name},
		} {
			forms := []string{"", "json", "sarif", "vsa"}
			if args[0] != "verify" && args[0] != "explain" {
				forms = []string{"", "json"}
			}
			for _, form := range forms {
				all := args
				if form != "" {
					all = append(append([]string{}, args...), "--format", form)
				}
				var out bytes.Buffer
				env.Stdout, env.Stderr = &out, &out
				if code := Main(all, env); code == 70 || acts(out.String()) {
					t.Errorf("%q: exit %d\n%s", all, code, out.String())
				}
			}
			if len(forms) > 2 {
				_ = os.Remove("report")
				Main(append(append([]string{}, args...), "--report", "report", "-q"), env)
				if data, err := os.ReadFile("report"); err == nil && acts(string(data)) {
					t.Errorf("%q: %s", args, data)
				}
			}
		}
		var out bytes.Buffer
		p := report.NewPrinter(&out)
		p.Ask(commands[i] + " [y/N]")
		p.Raw("\n")
		p.Text(commands[i])
		p.Raw("\n")
		p.Line("%s", commands[i])
		if err := p.Verbatim("a\n" + commands[i]); err == nil || acts(out.String()) {
			t.Errorf("%v\n%s", err, out.String())
		}
	}
}
