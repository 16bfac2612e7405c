// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"slices"
	"strings"
)

// Command is one command of a script.
type Command struct {
	Words []string
	Env   map[string][]string // what is assigned before the command
}

// Each stands before the value of a variable that takes one word of it after the other.
const Each = "\x02"

const (
	maxVariables = 200 // of a script
	maxValues    = 40  // of a variable
	maxNested    = 8   // how deep command substitutions are read that stand in each other
)

// Commands divides a shell script into commands of words, without quotes, and without the
// words that only lead to a command. It runs nothing: a variable has every value that the script
// assigns to it anywhere, and what a command prints is a Hole.
func Commands(script string) (out []Command, vars map[string][]string) {
	vars = map[string][]string{}
	var words []string
	flush := func() {
		c := bare(words)
		switch words = nil; {
		case len(c.Words) == 0:
			assign(vars, c.Env)
		case slices.Contains(declarations, c.Words[0]):
			assign(vars, bare(operands(c.Words[1:])).Env)
		case c.Words[0] == "for" && len(c.Words) > 3 && c.Words[2] == "in" && isVariable(c.Words[1]):
			assign(vars, map[string][]string{c.Words[1]: {Each + strings.Join(c.Words[3:], " ")}})
		default:
			out = append(out, c)
		}
	}
	for _, t := range tokens(script, 0) {
		if t.end {
			flush()
			continue
		}
		words = append(words, t.text)
	}
	flush()
	return out, vars
}

// declarations are commands that assign to variables.
var declarations = []string{"export", "local", "declare", "readonly", "typeset"}

// assign adds values to variables.
func assign(vars, values map[string][]string) {
	for name, texts := range values {
		if _, ok := vars[name]; !ok && len(vars) >= maxVariables {
			continue
		}
		for _, t := range texts {
			if !slices.Contains(vars[name], t) && len(vars[name]) < maxValues {
				vars[name] = append(vars[name], t)
			}
		}
	}
}

// operands are the words that are no options.
func operands(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "-") })
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
	nested  []string // substitutions in the command that is read
	depth   int
}

func (l *lexer) flush(end bool) {
	if l.started {
		l.out = append(l.out, token{text: l.word.String()})
	}
	l.word.Reset()
	if l.started = false; !end {
		return
	}
	l.out = append(l.out, token{end: true})
	nested := l.nested
	l.nested = nil
	for _, script := range nested {
		l.out = append(append(l.out, tokens(script, l.depth+1)...), token{end: true})
	}
}

// ends are characters that end a command.
const ends = "\n;&|()`"

func tokens(script string, depth int) []token {
	script = strings.ReplaceAll(script, "\\\n", " ")
	l := lexer{depth: depth}
	for i := 0; i < len(script); i++ {
		switch c := script[i]; {
		case c == '\'' || c == '"':
			end := closingQuote(script, i+1, c, 0)
			text := script[i+1 : end]
			if c == '"' {
				text = l.withoutSubstitutions(text)
			}
			l.word.WriteString(text)
			l.started, i = true, end
		case c == '#' && !l.started:
			if i += strings.IndexByte(script[i:]+"\n", '\n'); i < len(script) {
				i-- // the line's end ends the command, too
			}
		case c == ' ' || c == '\t' || c == '\r':
			l.flush(false)
		case c == '(' && l.opens():
			end := closing(script, i+1, '(', ')', 0)
			l.inner(script[i+1 : end])
			i = end
		case strings.IndexByte(ends, c) >= 0:
			l.flush(true)
		default:
			l.word.WriteByte(c)
			l.started = true
		}
	}
	l.flush(true)
	return l.out
}

// opens reports whether a parenthesis after the word that is read belongs to it: to a substitution,
// or to a list that is assigned.
func (l *lexer) opens() bool {
	return strings.HasSuffix(l.word.String(), "$") || strings.HasSuffix(l.word.String(), "=")
}

// inner goes on with what is in such parentheses. What a substitution prints is a Hole.
func (l *lexer) inner(script string) {
	word, prints := strings.CutSuffix(l.word.String(), "$")
	if !prints {
		l.list(script)
		return
	}
	l.word.Reset()
	l.word.WriteString(word)
	l.word.WriteRune(Hole)
	l.started = true
	if l.depth < maxNested {
		l.nested = append(l.nested, script)
	}
}

// withoutSubstitutions puts a Hole for each script in a text.
func (l *lexer) withoutSubstitutions(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$(")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		end := closing(rest, 0, '(', ')', 0)
		if l.depth < maxNested {
			l.nested = append(l.nested, rest[:end])
		}
		b.WriteRune(Hole)
		text = rest[min(end+1, len(rest)):]
	}
}

// list goes on with an assignment of several words, which are written as one text.
func (l *lexer) list(script string) {
	if l.depth >= maxNested {
		return
	}
	for _, t := range tokens(script, l.depth+1) {
		if !t.end {
			l.word.WriteString(t.text + " ")
		}
	}
}

// closingQuote returns where a quotation ends that began before i; the end of the text if it does not.
func closingQuote(s string, i int, quote byte, depth int) int {
	for ; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i
		case quote == '\'' || depth >= maxNested:
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], "$("):
			i = closing(s, i+2, '(', ')', depth+1)
		case strings.HasPrefix(s[i:], "${"):
			i = closing(s, i+2, '{', '}', depth+1)
		}
	}
	return len(s)
}

// closing returns where what was opened before i is closed, quotations left out; the end of the
// text if it is not.
func closing(s string, i int, opens, closes byte, depth int) int {
	for open := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == opens:
			open++
		case c == closes:
			if open--; open == 0 {
				return i
			}
		case (c == '\'' || c == '"') && depth < maxNested:
			i = closingQuote(s, i+1, c, depth+1)
		}
	}
	return len(s)
}

// leads are words before a command that change nothing of what it is.
var leads = []string{
	"do", "then", "else", "if", "while", "until", "!", "{", "sudo", "exec", "time", "command", "env", "nohup", "npx",
	"bunx", "uvx", "corepack", "retry", "-y", "--yes", "--", "@", "-",
}

// runners run the command that follows, by the first two words.
var runners = [][2]string{
	{"pnpm", "exec"}, {"pnpm", "dlx"}, {"yarn", "dlx"}, {"yarn", "exec"}, {"npm", "exec"}, {"bun", "x"}, {"uv", "run"},
	{"poetry", "run"}, {"pdm", "run"}, {"hatch", "run"}, {"pipx", "run"}, {"bundle", "exec"}, {"mise", "exec"},
	{"mise", "x"}, {"python", "-m"}, {"python3", "-m"}, {"go", "run"}, {"uv", "tool"}, {"vp", "exec"}, {"vp", "run"},
	{"rye", "run"}, {"pixi", "run"}, {"devbox", "run"},
}

// bare takes away what stands before a command.
func bare(words []string) Command {
	c := Command{Env: map[string][]string{}}
	for len(words) > 0 {
		name, value, assigns := strings.Cut(words[0], "=")
		switch {
		case assigns && isVariable(assigned(name)):
			c.Env[assigned(name)] = []string{value}
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

// assigned returns the variable that NAME=, NAME+= and, in a recipe of Make, @NAME= assign to.
func assigned(name string) string { return strings.TrimLeft(strings.TrimSuffix(name, "+"), "@-") }

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
