// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/policy"
)

// shown returns every command that help lists.
func shown(t *testing.T) []*cobra.Command {
	t.Helper()
	var out []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		out = append(out, c)
		for _, sub := range c.Commands() {
			if !sub.Hidden && !sub.IsAdditionalHelpTopicCommand() {
				walk(sub)
			}
		}
	}
	walk(Command())
	return out
}

// helpText returns the help of a command on a terminal of that width.
func helpText(t *testing.T, c *cobra.Command, flag string, width int) string {
	t.Helper()
	args := append(strings.Fields(c.CommandPath())[1:], flag)
	text, code := run(t, command.Env{OutWidth: width}, args)
	if code != 0 {
		t.Errorf("%v: exit %d\n%s", args, code, text)
	}
	return text
}

// flagLines returns the flags that a help text shows.
func flagLines(text string) (names []string) {
	text, _, _ = strings.Cut(text, "\nExamples:\n")
	for _, m := range regexp.MustCompile(`(?m)^  (?:    |-\w, )--([\w-]+)`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// TestHelp: every command has words, a group and an example; its help shows few flags, or all of them each once,
// and fits on the terminal.
func TestHelp(t *testing.T) {
	known := map[string]bool{"version": true}
	for _, c := range shown(t) {
		path := c.CommandPath()
		if c.Runnable() && !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s has no example", path)
		}
		if r, _ := utf8.DecodeRuneInString(c.Short); r < 'a' || r > 'z' || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: %q is no text for a list", path, c.Short)
		}
		if c.Parent() == c.Root() && c.GroupID == "" {
			t.Errorf("%s is in no group", path)
		}
		if few := flagLines(helpText(t, c, "--help", 0)); len(few) > command.MaxFlags {
			t.Errorf("%s --help shows %d flags: %q", path, len(few), few)
		}
		all := helpText(t, c, "--help-all", 0)
		names := flagLines(all)
		want := 0
		check := func(f *pflag.Flag) {
			if known[f.Name] = true; f.Hidden || f.Name == "help" || f.Name == "help-all" {
				return
			}
			if want++; !slices.Contains(names, f.Name) {
				t.Errorf("%s --help-all does not show --%s: which group is it of?", path, f.Name)
			}
		}
		c.NonInheritedFlags().VisitAll(check)
		c.InheritedFlags().VisitAll(check)
		if len(names) != want {
			t.Errorf("%s --help-all shows %d flags of %d: %q", path, len(names), want, names)
		}
		for _, width := range []int{1, 40, 100, 500} {
			fits(t, path, helpText(t, c, "--help-all", width), min(max(width, 40), 110))
		}
	}
	grouped := command.GroupedFlags()
	for i, name := range grouped {
		if slices.Contains(grouped[:i], name) {
			t.Errorf("--%s is in two groups", name)
		}
	}
}

// fits checks the width of a help text. A word that is longer has a line of its own, and what begins with blanks
// in examples stays as it is.
func fits(t *testing.T, path, text string, width int) {
	t.Helper()
	body, _, _ := strings.Cut(text, "\nExamples:\n")
	verbatim := Command()
	if c, _, err := verbatim.Find(strings.Fields(path)[1:]); err == nil {
		verbatim = c
	}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 1 &&
			!strings.Contains(verbatim.Long, line) && !strings.HasPrefix(strings.TrimSpace(line), "-") {
			t.Errorf("%s at %d columns: %q", path, width, line)
		}
	}
}

// TestHelpOrder: what most people come for stands first.
func TestHelpOrder(t *testing.T) {
	text := helpText(t, Command(), "--help", 0)
	at := 0
	for _, want := range []string{
		"\nVerify:\n  verify ", "\n  explain ", "\n  inspect ", "\n  show ", "\n  log ", "\n  lock ",
		"\nKeep a policy:\n  init ",
		"\n  check ", "\n  edit ", "\n  renew ", "\n  sign ", "\n  bind ", "\n  status ", "\n  diff ", "\n  doctor ",
		"\nRelease:\n  authorize ", "\n  approve ", "\n  sign-release ", "\nTrust:\n  trust ", "\nOther:\n",
		"\n  completion ",
		"\n  help ", "\nTopics:\n", "\n  exit-codes ", "\n  environment ",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("%q is not there, or not in its place\n%s", want, text)
		}
		at += i
	}
	if n := strings.Count(text, "\nOther:\n"); n != 1 || strings.Contains(text, "nonsense") {
		t.Errorf("%d groups of other commands\n%s", n, text)
	}
}

// TestTopics: topics say what is so: every class, every variable that is read, every name of evidence.
func TestTopics(t *testing.T) {
	topic := func(name string) string {
		text, code := run(t, command.Env{}, []string{"help", name})
		if again, same := run(t, command.Env{}, []string{name, "--help"}); code != 0 || same != 0 || again != text {
			t.Errorf("help %s: exit %d and %d\n%s\n%s", name, code, same, text, again)
		}
		return text
	}
	codes := topic("exit-codes")
	for _, c := range policy.Classes() {
		if !strings.Contains(codes, fmt.Sprintf("\n  %-4d %s: %s\n", c.Exit(), c, c.Meaning())) {
			t.Errorf("exit-codes does not say what %d means\n%s", c.Exit(), codes)
		}
	}
	variables := topic("environment")
	read := regexp.MustCompile(`(?:(?:[gG]etenv|setting)\(|\benv\w+ *= |\bEnv(?:Output|Summary) *= )"([A-Z][A-Z0-9_]+)"`)
	found := 0
	for _, dir := range []string{"../command", ".", "../report", "../gate", "../token", "../find", "../../oidc"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(dir, err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range read.FindAllStringSubmatch(string(text), -1) {
				if found++; !strings.Contains(variables, m[1]) {
					t.Errorf("%s reads %s, of which help environment says nothing", f, m[1])
				}
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d places were found that read a variable", found)
	}
	evidence := topic("evidence")
	for _, suffix := range forms.Suffixes {
		if !strings.Contains(evidence, suffix) {
			t.Errorf("help evidence does not name %s", suffix)
		}
	}
}

// TestHelpAsked: what asks for help, and what only looks like it.
func TestHelpAsked(t *testing.T) {
	for args, c := range map[string]struct {
		exit int
		want string
	}{
		"help":                               {0, "Topics:"},
		"help verify":                        {0, "repopolicy verify --help-all"},
		"verify --help-all":                  {0, "--witness-policy"},
		"verify -R acme/widget --help-all x": {0, "--witness-policy"},
		"help trust audit":                   {0, "repopolicy trust audit"},
		"help nonsense":                      {2, "no command or topic"},
		"help verfy":                         {2, "did you mean verify?"},
		"help trust nonsense":                {2, "no command or topic"},
		"help verify nonsense":               {2, "no command or topic"},
		"--version":                          {0, "policy format repopolicy/v1"},
		"verify --version":                   {2, "unknown flag"},
		"verify --help-al":                   {2, "unknown flag"},
		"exit-codes":                         {0, "UNAVAILABLE"},
		"":                                   {2, "no command given"},
	} {
		text, code := run(t, command.Env{}, strings.Fields(args))
		if code != c.exit || !strings.Contains(text, c.want) {
			t.Errorf("%q: exit %d\n%s", args, code, text)
		}
	}
	long, _ := run(t, command.Env{}, []string{"version"})
	if short, _ := run(t, command.Env{}, []string{"--version"}); short != long {
		t.Errorf("--version prints %q, version %q", short, long)
	}
}

// TestSpellings: a flag has one name in all verbs. Those that some verb had before are accepted, and not shown.
func TestSpellings(t *testing.T) {
	kind := map[string]string{}
	for _, c := range shown(t) {
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			if f.Name == "repository" || f.Name == "json" {
				t.Errorf("%s shows --%s", c.CommandPath(), f.Name)
			}
			if s, there := kind[f.Name]; there && s != f.Shorthand {
				t.Errorf("%s: --%s is -%s here and -%s elsewhere", c.CommandPath(), f.Name, f.Shorthand, s)
			}
			kind[f.Name] = f.Shorthand
		})
	}
	env := place(t)
	for args, want := range map[string]string{
		"show --repository x:y":                      "error: --repo: ",
		"init --repository a/b --repo a/b":           "given twice",
		"init -R a/b --repository a/b":               "given twice",
		"trust audit public-good --json --format no": "must be one of text, json",
	} {
		if text, code := run(t, env, strings.Fields(args)); code != 2 || !strings.Contains(text, want) {
			t.Errorf("%s: exit %d\n%s", args, code, text)
		}
	}
}

// TestCompletion: shells are told tags, rules, roots, formats and files, of this machine alone.
func TestCompletion(t *testing.T) {
	env := place(t)
	write := func(name, data string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const id = "0123456789012345678901234567890123456789"
	write("clone/HEAD", "ref: refs/heads/main\n")
	write("clone/refs/heads/main", id+"\n")
	for _, tag := range []string{"v1.0.0", "v1.1.0", "w1", "v1$(x)"} {
		write("clone/refs/tags/"+tag, id+"\n")
	}
	if err := os.MkdirAll("clone/objects", 0o700); err != nil {
		t.Fatal(err)
	}
	write("config/trust.toml",
		"format = \"repopolicy-trust/v1\"\n[[root]]\nname = \"acme\"\nurl = \"https://tuf.example.com\"\n"+
			"initial = \"root.json\"\n")
	write("config/root.json", "{}")
	for args, want := range map[string]string{
		"verify --git clone --tag v1":                           "v1.1.0 v1.0.0 :4",
		"verify --git clone --tag ":                             "w1 v1.1.0 v1.0.0 :4",
		"verify --git nowhere --tag ":                           ":4",
		"verify --format ":                                      "text json sarif github vsa :4",
		"export --policy policy.toml --rule ":                   "binaries :4",
		"export --policy missing.toml --rule ":                  ":4",
		"verify --trust-config config/trust.toml --trust-root ": "public-good acme :4",
		"verify --forge ":                                       "github gitlab forgejo :4",
		"verify --policy ":                                      ":0",
		"verify --download ":                                    ":16",
		"verify --cooldown ":                                    ":4",
		"verify ":                                               ":0",
		"show ":                                                 ":4",
		"help trust ":                                           "show update export audit :4",
		"help trust audit ":                                     ":4",
		"authorize --stage ":                                    "sign publish :4",
		"init --maintainers ":                                   "repository :4",
		"verify --side-files ":                                  "openpgp signature certificate checksums :4",
	} {
		fields := strings.Split(args, " ")
		text, code := run(t, env, append([]string{"__complete"}, fields...))
		var got []string
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Completion ended") {
				word, _, _ := strings.Cut(line, "\t")
				got = append(got, word)
			}
		}
		if code != 0 || strings.Join(got, " ") != want || strings.Contains(text, `\x09`) {
			t.Errorf("%q: exit %d, %q, want %q\n%s", args, code, got, want, text)
		}
	}
}
