// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
)

// maxIncluded is how many files a Makefile may include.
const maxIncluded = 20

// makefile is what a Makefile says that is written out.
type makefile struct {
	recipes  map[string]recipe
	fixed    map[string][]string // variables, whatever the environment says
	defaults map[string][]string // those that it may set
}

func newMakefile() *makefile {
	return &makefile{map[string]recipe{}, map[string][]string{}, map[string][]string{}}
}

type recipe struct {
	text  string
	needs []string
}

// targets returns the recipes of targets of a Makefile, with those that they need.
func (f *follower) targets(c command, dir string) (out []script) {
	a := act{command: c}
	if into, ok := a.option("-C", "--directory"); ok {
		dir = path.Join(dir, into)
	}
	file, _ := a.option("-f", "--file", "--makefile")
	name, m := f.makefile(dir, file)
	given := map[string][]string{}
	var wanted []string
	for _, w := range operands(c.words[1:]) {
		if key, value, assigns := strings.Cut(w, "="); assigns {
			given[strings.TrimSuffix(key, ":")] = substitute([]string{value}, c.env)
			continue
		}
		wanted = append(wanted, substitute([]string{w}, c.env)...)
	}
	vars := m.variables(c.env, given)
	done := map[string]bool{}
	for len(wanted) > 0 {
		target := wanted[0]
		wanted = wanted[1:]
		r, ok := m.recipes[target]
		if !ok || done[target] {
			continue
		}
		done[target] = true
		recipe := shellScript(name+": "+target, shellOf(r.text))
		recipe.given = vars
		out = append(out, recipe)
		wanted = append(wanted, r.needs...)
	}
	return out
}

// variables returns what a recipe sees: what the command line gives wins, then the file, then the
// environment, then what the file sets unless it is set.
func (m *makefile) variables(env, given map[string][]string) map[string][]string {
	out := maps.Clone(m.defaults)
	for name := range out {
		if len(env[name]) > 0 {
			delete(out, name)
		}
	}
	maps.Copy(out, m.fixed)
	maps.Copy(out, given)
	return out
}

// makefile returns the file of a directory, or the one that is named, with those that it includes.
func (f *follower) makefile(dir, file string) (string, *makefile) {
	names := []string{path.Join(dir, file), path.Clean(file)}
	if file == "" {
		names = []string{
			path.Join(dir, "Makefile"), path.Join(dir, "makefile"), path.Join(dir, "GNUmakefile"), "Makefile",
		}
	}
	name, data := f.clone.First(names...)
	if m := f.makes[name]; m != nil {
		return name, m
	}
	m := newMakefile()
	more := m.read(string(data))
	for n := 0; len(more) > 0 && n < maxIncluded; n++ {
		included := f.clone.Read(path.Join(path.Dir(name), more[0]))
		more = append(more[1:], m.read(string(included))...)
	}
	f.makes[name] = m
	return name, m
}

// read adds the rules and variables of a text, and returns what it includes.
func (m *makefile) read(text string) (included []string) {
	current := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if strings.HasPrefix(line, "\t") {
			r := m.recipes[current]
			r.text += line[1:]
			m.recipes[current] = r
			continue
		}
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) > 1 && strings.HasSuffix(words[0], "include"):
			included = append(included, words[1:]...)
		case !m.assign(line):
			if target, needs, ok := strings.Cut(line, ":"); ok && !strings.ContainsAny(target, "=$") {
				current = strings.TrimSpace(target)
				r := m.recipes[current]
				r.needs = append(r.needs, strings.Fields(needs)...)
				m.recipes[current] = r
			}
		}
	}
	return included
}

// assign adds the variable that a line sets; false if it sets none.
func (m *makefile) assign(line string) bool {
	name, value, ok := strings.Cut(line, "=")
	words := strings.Fields(strings.TrimRight(name, "?:+ \t"))
	for len(words) > 1 && (words[0] == "export" || words[0] == "override") {
		words = words[1:]
	}
	if !ok || len(words) != 1 || strings.ContainsAny(words[0], ":$()") {
		return false
	}
	to := m.fixed
	if strings.HasSuffix(name, "?") {
		to = m.defaults
	}
	value = withoutCalls(shellOf(strings.TrimSpace(value)))
	if key := words[0]; !slices.Contains(to[key], value) && len(to[key]) < maxSubstituted {
		to[key] = append(to[key], value)
	}
	return true
}

// withoutCalls puts a Hole for what functions of Make, or the shell, make of a part of a text.
func withoutCalls(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$(")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		open := 1
		end := strings.IndexFunc(rest, func(r rune) bool {
			open += strings.Count(string(r), "(") - strings.Count(string(r), ")")
			return open == 0
		})
		b.WriteRune(ci.Hole)
		if end < 0 {
			return b.String()
		}
		text = rest[end+1:]
	}
}

// shellOf writes the text of a recipe or variable as one of the shell: Make's variables become the
// shell's, and what Make lets the shell print is a substitution.
func shellOf(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "(shell "):
			b.WriteString("$(")
			text = rest[len("(shell "):]
		case closed && rest[0] == '(' && isName(name):
			b.WriteString("${" + name + "}")
			text = after
		default:
			b.WriteByte('$')
			text = rest
		}
	}
}

// isName reports whether a text is the name of a variable.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// justRecipes reads the recipes of a justfile that are written out.
func justRecipes(text string) map[string]recipe {
	m := newMakefile()
	m.read(strings.ReplaceAll(text, "\n    ", "\n\t"))
	return m.recipes
}
