// SPDX-License-Identifier: Apache-2.0

package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// Typed is a command line as somebody typed it, from which one to type next is made. Of flags it has
// no others than were typed or are put in.
type Typed struct {
	program string
	parts   []typedPart
}

// typedPart is a flag with its value, an argument, or what separates arguments from flags.
type typedPart struct {
	flag  string // its name; "" for what is none
	words []string
}

// TypedFor reads the arguments of a program whose verb has these flags. They were parsed before.
func TypedFor(program string, args []string, flags *pflag.FlagSet) *Typed {
	t := &Typed{program: program}
	for len(args) > 0 {
		if args[0] == "--" {
			t.parts = append(t.parts, typedPart{words: slices.Clone(args)})
			break
		}
		name, n := flagOf(args[0], flags)
		n = min(n, len(args))
		t.parts = append(t.parts, typedPart{name, slices.Clone(args[:n])})
		args = args[n:]
	}
	return t
}

// Typed returns the command line of this run, of a verb.
func (r *Run) Typed(cmd *cobra.Command) *Typed {
	return TypedFor(cmd.Root().Name(), r.args, cmd.Flags())
}

// flagOf returns the name of the flag that an argument is, the last one of several letters, and how
// many arguments it takes with its value.
func flagOf(arg string, flags *pflag.FlagSet) (name string, n int) {
	if !strings.HasPrefix(arg, "-") || arg == "-" {
		return "", 1
	}
	if long, ok := strings.CutPrefix(arg, "--"); ok {
		long, _, inside := strings.Cut(long, "=")
		return long, 1 + after(flags.Lookup(long), inside)
	}
	for i, letter := range arg[1:] {
		f := flags.ShorthandLookup(string(letter))
		if f == nil {
			return "", 1
		}
		if name = f.Name; f.NoOptDefVal == "" {
			return name, 1 + after(f, i+2 < len(arg))
		}
	}
	return name, 1
}

// after returns how many arguments after its own a flag takes.
func after(f *pflag.Flag, inside bool) int {
	if f == nil || inside || f.NoOptDefVal != "" {
		return 0
	}
	return 1
}

// Verb returns the command line with another verb in the place of the one that was typed.
func (t *Typed) Verb(before, now string) *Typed {
	out := t.clone()
	for i, p := range out.parts {
		if p.flag == "" && p.words[0] == before {
			out.parts[i].words = []string{now}
			break
		}
	}
	return out
}

// Without returns the command line without a flag.
func (t *Typed) Without(flag string) *Typed {
	out := t.clone()
	out.parts = slices.DeleteFunc(out.parts, func(p typedPart) bool { return p.flag == flag })
	return out
}

// With returns the command line with a flag of this value, in the place of the same flag if it was
// typed, else behind the verb.
func (t *Typed) With(flag, value string) *Typed {
	out := t.clone()
	p := typedPart{flag, []string{"--" + flag, value}}
	if strings.HasPrefix(value, "-") {
		p.words = []string{"--" + flag + "=" + value}
	}
	if i := slices.IndexFunc(out.parts, func(p typedPart) bool { return p.flag == flag }); i >= 0 {
		out.parts[i] = p
		return out
	}
	i := slices.IndexFunc(out.parts, func(p typedPart) bool { return p.flag == "" })
	out.parts = slices.Insert(out.parts, i+1, p)
	return out
}

// Arguments returns the command line with these arguments in the place of those that were typed.
func (t *Typed) Arguments(args ...string) *Typed {
	out := t.clone()
	verb := true
	out.parts = slices.DeleteFunc(out.parts, func(p typedPart) bool {
		first := verb
		verb = verb && p.flag != ""
		return p.flag == "" && !first
	})
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			a = "./" + a
		}
		out.parts = append(out.parts, typedPart{words: []string{a}})
	}
	return out
}

func (t *Typed) clone() *Typed { return &Typed{t.program, slices.Clone(t.parts)} }

// Words returns the command line as words of a POSIX shell, the program first; nil where a word
// cannot be shown as it is, so that whoever pastes what is shown would type something else.
func (t *Typed) Words() []string {
	out := []string{t.program}
	for _, p := range t.parts {
		for _, w := range p.words {
			if report.Escape(w) != w || strings.ContainsAny(w, "\r\n") {
				return nil
			}
			out = append(out, spelling.ShellWord(w))
		}
	}
	return out
}
