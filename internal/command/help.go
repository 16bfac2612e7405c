// SPDX-License-Identifier: Apache-2.0

package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/policy"
)

// Widths of help texts, in columns.
const (
	defaultWidth = 80
	leastWidth   = 40
	mostWidth    = 110
	widestName   = 30 // of a flag beside its text
)

// MaxFlags is how many flags of a verb are shown without --help-all.
const MaxFlags = 12

// Verb is a verb of a program, and what makes it with all of its flags.
type Verb struct {
	Name string
	Make func() *cobra.Command
}

// Group is verbs that belong together. In help texts they stand under the title.
type Group struct {
	Title string
	Verbs []Verb
}

// Verbs adds the verbs of a program: all of them, or of a command line that begins with one that one alone.
// Making them all is a seventh of the time of a short run.
func (r *Run) Verbs(root *cobra.Command, groups ...Group) {
	one := slices.ContainsFunc(groups, func(g Group) bool { return slices.ContainsFunc(g.Verbs, r.typed) })
	root.CompletionOptions.DisableDefaultCmd = one
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.Title, Title: g.Title})
		for _, v := range g.Verbs {
			if one && !r.typed(v) {
				continue
			}
			cmd := v.Make()
			cmd.GroupID = g.Title
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommandGroupID(Other)
	root.SetCompletionCommandGroupID(Other)
}

// typed reports whether the command line begins with a verb.
func (r *Run) typed(v Verb) bool { return len(r.args) > 0 && r.args[0] == v.Name }

// Other is the group of what belongs to no other.
const Other = "Other"

// helping gives a program its help: texts, topics, the flags that ask for them, and completion.
func (r *Run) helping(root *cobra.Command) {
	cobra.EnableCommandSorting = false // verbs stand in the order in which they are used
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { r.Out.Text(r.helpOf(cmd)) })
	all := root.PersistentFlags().VarPF(&helpAll{r}, "help-all", "", "help with every flag")
	all.NoOptDefVal = "true"
	root.Flags().Bool("version", false, "print the version of this program")
	root.SetGlobalNormalizationFunc(oneSpelling)
	root.SetHelpCommand(r.helpCommand())
	for _, t := range topics {
		root.AddCommand(&cobra.Command{Use: t.name, Short: t.short, Long: t.text()})
	}
}

// formerSpellings are flags that had another name in some verb. Both are accepted; help shows one.
var formerSpellings = map[string]string{"repository": "repo"}

func oneSpelling(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(cmp.Or(formerSpellings[name], name))
}

// helpAll is the flag that shows all flags, whatever else is on the command line.
type helpAll struct{ r *Run }

func (*helpAll) String() string   { return "false" }
func (*helpAll) Type() string     { return "bool" }
func (*helpAll) IsBoolFlag() bool { return true }

func (h *helpAll) Set(string) error {
	h.r.allFlags = true
	return pflag.ErrHelp
}

// helpCommand returns the verb that shows the help of another one, or a topic.
func (r *Run) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND|TOPIC]",
		Short:   "show the help of a command, or a topic",
		Example: "  repopolicy help verify\n  repopolicy help exit-codes",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range found.Commands() {
				if !c.Hidden {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				f := &policy.Fault{
					Reason: policy.Usage, Text: fmt.Sprintf("no command or topic %q", strings.Join(args, " ")),
					Hint: "`" + root.Name() + " --help` lists them",
				}
				if near := root.SuggestionsFor(args[0]); len(near) > 0 {
					f.Hint = "did you mean " + strings.Join(near, ", ") + "?"
				}
				return f
			}
			return found.Help()
		},
	}
}

// page is a help text as it is written.
type page struct {
	b     strings.Builder
	width int
}

// helpOf returns the help text of a command.
func (r *Run) helpOf(cmd *cobra.Command) string {
	p := &page{width: defaultWidth}
	if r.OutWidth > 0 {
		p.width = min(max(r.OutWidth, leastWidth), mostWidth)
	}
	p.text(cmp.Or(cmd.Long, cmd.Short), "")
	if cmd.IsAdditionalHelpTopicCommand() {
		return p.b.String()
	}
	p.title("Usage")
	cmd.InitDefaultHelpFlag() // so that the line says that there are flags
	if cmd.HasAvailableSubCommands() {
		p.words(cmd.CommandPath()+" COMMAND [flags]", "  ", "      ")
		p.verbs(cmd)
	} else {
		p.words(cmd.UseLine(), "  ", "      ")
	}
	p.flags(cmd, r.allFlags)
	if cmd.Example != "" {
		p.title("Examples")
		p.b.WriteString(strings.TrimRight(cmd.Example, "\n") + "\n")
	}
	if !cmd.HasParent() {
		p.title("Topics")
		p.commands(slices.DeleteFunc(cmd.Commands(), func(c *cobra.Command) bool { return !c.IsAdditionalHelpTopicCommand() }))
		p.b.WriteString("\n")
		p.text(fmt.Sprintf("`%s help COMMAND` and `%[1]s help TOPIC` say more.", cmd.Name()), "")
	}
	return p.b.String()
}

func (p *page) title(s string) { p.b.WriteString("\n" + s + ":\n") }

// verbs lists the commands below one, in their groups.
func (p *page) verbs(cmd *cobra.Command) {
	shown := func(group string) (out []*cobra.Command) {
		for _, c := range cmd.Commands() {
			if c.GroupID == group && (c.IsAvailableCommand() || c.Name() == "help") && !c.IsAdditionalHelpTopicCommand() {
				out = append(out, c)
			}
		}
		return out
	}
	for _, g := range cmd.Groups() {
		p.title(g.Title)
		p.commands(shown(g.ID))
	}
	if rest := shown(""); len(rest) > 0 {
		title := Other
		if len(cmd.Groups()) == 0 {
			title = "Commands"
		}
		p.title(title)
		p.commands(rest)
	}
}

func (p *page) commands(cmds []*cobra.Command) {
	widest := 0
	for _, c := range cmds {
		widest = max(widest, len(c.Name()))
	}
	for _, c := range cmds {
		p.entry("  "+c.Name(), widest+4, c.Short)
	}
}

// flags lists the flags of a command in their groups: those that are used every day, or all.
func (p *page) flags(cmd *cobra.Command, all bool) {
	var own []*pflag.Flag
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && !isHelp(f) {
			own = append(own, f)
		}
	})
	inherited := 0
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Hidden || isHelp(f):
		case all:
			own = append(own, f)
		default:
			inherited++
		}
	})
	shown := own
	if !all {
		shown = Everyday(own)
	}
	widest := 0
	for _, f := range shown {
		if n := utf8.RuneCountInString(flagName(f)); n <= widestName {
			widest = max(widest, n)
		}
	}
	for _, g := range flagGroups {
		titled := false
		for _, name := range strings.Fields(g.names) {
			i := slices.IndexFunc(shown, func(f *pflag.Flag) bool { return f.Name == name })
			if i < 0 {
				continue
			}
			if !titled {
				p.title(g.title)
				titled = true
			}
			_, text := pflag.UnquoteUsage(shown[i])
			p.entry("  "+flagName(shown[i]), widest+4, text)
		}
	}
	if more := len(own) - len(shown) + inherited; more > 0 {
		p.b.WriteString("\n")
		p.text(fmt.Sprintf("%d more flags: `%s --help-all`", more, cmd.CommandPath()), "")
	}
}

// isHelp reports whether a flag asks for a text. Every command has those.
func isHelp(f *pflag.Flag) bool { return f.Name == "help" || f.Name == "help-all" }

// flagName returns a flag with its short form and its value.
func flagName(f *pflag.Flag) string {
	out := "    --" + f.Name
	if f.Shorthand != "" {
		out = "-" + f.Shorthand + ", --" + f.Name
	}
	if value, _ := pflag.UnquoteUsage(f); value != "" {
		out += " " + value
	}
	return out
}

// entry writes a name and beside it a text, from that column on.
func (p *page) entry(name string, column int, text string) {
	indent := strings.Repeat(" ", column)
	if n := utf8.RuneCountInString(name); n+1 < column {
		p.words(text, name+strings.Repeat(" ", column-n), indent)
		return
	}
	p.b.WriteString(name + "\n")
	p.words(text, indent, indent)
}

// text writes paragraphs. Lines that begin with a blank stay as they are.
func (p *page) text(s, indent string) {
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			p.words(strings.Join(paragraph, " "), indent, indent)
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(strings.Trim(s, "\n"), "\n") {
		switch {
		case line == "" || line[0] == ' ':
			flush()
			p.b.WriteString(line + "\n")
		default:
			paragraph = append(paragraph, line)
		}
	}
	flush()
}

// words breaks a text into lines of the page's width. A word that is wider has a line of its own.
func (p *page) words(text, first, indent string) {
	line, empty := first, true
	for _, w := range strings.Fields(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > p.width {
			p.b.WriteString(line + "\n")
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+w, false
	}
	p.b.WriteString(line + "\n")
}
