// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"slices"
	"strings"
)

// Command is one command of a script.
type Command struct {
	Words []string
	Env   map[string]string // what is assigned before it
}

// Commands divides a shell script into commands of words, without quotes, and without the
// words that only lead to a command. It runs nothing and follows no variable.
func Commands(script string) (out []Command) {
	var words []string
	flush := func() {
		if c := bare(words); len(c.Words) > 0 {
			out = append(out, c)
		}
		words = nil
	}
	for _, t := range tokens(script) {
		if t.end {
			flush()
			continue
		}
		words = append(words, t.text)
	}
	flush()
	return out
}

type token struct {
	text string
	end  bool // of a command
}

// lexer reads words and the ends of commands.
type lexer struct {
	out     []token
	word    strings.Builder
	started bool
}

func (l *lexer) flush(end bool) {
	if l.started {
		l.out = append(l.out, token{text: l.word.String()})
	}
	l.word.Reset()
	if l.started = false; end {
		l.out = append(l.out, token{end: true})
	}
}

// ends are characters that end a command.
const ends = "\n;&|()`"

func tokens(script string) []token {
	script = strings.ReplaceAll(script, "\\\n", " ")
	var l lexer
	for i := 0; i < len(script); i++ {
		switch c := script[i]; {
		case c == '\'' || c == '"':
			end := strings.IndexByte(script[i+1:], c)
			if end < 0 {
				end = len(script) - i - 1
			}
			l.word.WriteString(script[i+1 : i+1+end])
			l.started, i = true, i+1+end
		case c == '#' && !l.started:
			if i += strings.IndexByte(script[i:]+"\n", '\n'); i < len(script) {
				i-- // the line's end ends the command, too
			}
		case c == ' ' || c == '\t' || c == '\r':
			l.flush(false)
		case c == '(' && strings.HasSuffix(l.word.String(), "$"):
			l.word.Reset() // what a substitution is part of is not known
			l.started = false
			l.flush(true)
		case strings.IndexByte(ends, c) >= 0:
			l.flush(true)
		default:
			l.word.WriteByte(c)
			l.started = true
		}
	}
	l.flush(false)
	return l.out
}

// leads are words before a command that change nothing of what it is.
var leads = []string{
	"do", "then", "else", "if", "while", "until", "!", "{", "sudo", "exec", "time", "command", "env", "nohup", "npx",
	"bunx", "uvx", "corepack", "retry", "-y", "--yes", "--", "@", "-",
}

// runners run the command that follows, by the first two words.
var runners = [][2]string{
	{"pnpm", "exec"}, {"pnpm", "dlx"}, {"yarn", "dlx"}, {"yarn", "exec"}, {"npm", "exec"}, {"bun", "x"}, {"uv", "run"},
	{
		"poetry",
		"run",
	}, {"pdm", "run"}, {"hatch", "run"}, {"pipx", "run"}, {"bundle", "exec"}, {"mise", "exec"}, {"mise", "x"},
	{"python", "-m"}, {"python3", "-m"}, {"go", "run"}, {"uv", "tool"},
}

// bare takes away what stands before a command.
func bare(words []string) Command {
	c := Command{Env: map[string]string{}}
	for len(words) > 0 {
		name, value, assigns := strings.Cut(words[0], "=")
		switch {
		case assigns && isVariable(name):
			c.Env[name] = value
			words = words[1:]
		case slices.Contains(leads, words[0]):
			words = words[1:]
		case words[0] == "xargs":
			words = afterOptions(words[1:], "-I", "-n", "-P", "-L", "-d")
		case len(words) > 1 && slices.Contains(runners, [2]string{words[0], words[1]}):
			words = words[2:]
		default:
			c.Words = slices.Clone(words)
			c.Words[0] = strings.TrimLeft(c.Words[0], "@-")
			return c
		}
	}
	return c
}

// isVariable reports whether a word can be the name of a variable.
func isVariable(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
	return name != "" && strings.Trim(name, letters) == ""
}

// afterOptions leaves out leading options, and the values of those that have some.
func afterOptions(words []string, valued ...string) []string {
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		takes := slices.Contains(valued, words[0])
		if words = words[1:]; takes && len(words) > 0 {
			words = words[1:]
		}
	}
	return words
}

// Loose divides the text of a program in another language: what stands in quotes, brackets and
// calls become words, and a command may begin at any of them.
func Loose(program string) (out []Command) {
	const maxWords = 50_000
	breaks := strings.NewReplacer(
		"'",
		" ",
		`"`,
		" ",
		"`",
		" ",
		"(",
		" ",
		")",
		" ",
		"[",
		" ",
		"]",
		" ",
		",",
		" ",
		"{",
		" ",
		"}",
		" ",
	)
	total := 0
	for line := range strings.Lines(program) {
		if trimmed := strings.TrimSpace(line); strings.HasPrefix(trimmed, "//") || strings.HasPrefix(trimmed, "#") {
			continue
		}
		words := strings.Fields(breaks.Replace(line))
		if total += len(words) * len(words); total > maxWords {
			return out
		}
		for i := range words {
			out = append(out, Command{Words: words[i:]})
		}
	}
	return out
}
