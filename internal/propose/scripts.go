// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/internal/propose/clone"
	"github.com/repopolicy/repopolicy/internal/propose/names"
)

const (
	maxFollowed = 5      // how deep scripts are followed that call each other
	maxScripts  = 500    // of one job
	maxResolved = 50_000 // values of variables in these
)

// command is one command that a step runs, also by a script of the clone.
type command struct {
	words []string
	env   map[string][]string
	where string // the script that has it; "" for the workflow itself
}

// follower finds the commands behind scripts, targets and tasks.
type follower struct {
	clone *clone.Clone
	seen  map[string]bool
	done  int // scripts that were followed
	left  int // values of variables that may still be looked for
	makes map[string]*makefile
	files map[string]script // that were read
}

func newFollower(c *clone.Clone) *follower {
	return &follower{
		clone: c, seen: map[string]bool{}, left: maxResolved, makes: map[string]*makefile{}, files: map[string]script{},
	}
}

// commands returns what a step runs.
func (f *follower) commands(s ci.Step) []command {
	return f.run(shellScript("", s.Run), s.Env, s.Dir, 0)
}

// run returns the commands of a script, and what they run in their turn.
func (f *follower) run(s script, env map[string][]string, dir string, depth int) (out []command) {
	env = f.with(f.with(env, s.given), s.vars)
	for _, c := range s.commands {
		here := command{env: f.with(env, c.Env), where: s.name}
		here.words = named(c.Words, here.env)
		out = append(out, here)
		out = append(out, f.behind(here, dir, depth)...)
	}
	return out
}

// named puts the value of a variable in the place of the command's name; of one that is not known
// it takes the variable to be called after the program.
func named(words []string, env map[string][]string) []string {
	if len(words) == 0 || !strings.HasPrefix(words[0], "$") {
		return words
	}
	v, _ := variable(words[0][1:])
	program := strings.ToLower(v.name)
	if values := substitute(words[:1], env); len(values) == 1 && !strings.ContainsRune(values[0], ci.Hole) {
		program = values[0]
	}
	return append(strings.Fields(program), words[1:]...)
}

// with adds what is assigned to an environment. A variable that asks for itself has its old value.
func (f *follower) with(env map[string][]string, assigned map[string][]string) map[string][]string {
	if len(assigned) == 0 || f.left <= 0 {
		return env
	}
	out := maps.Clone(env)
	if out == nil {
		out = map[string][]string{}
	}
	done := map[string]bool{}
	var resolve func(name string, depth int) []string
	resolve = func(name string, depth int) []string {
		if texts, ok := assigned[name]; ok && !done[name] && depth < maxFollowed {
			done[name] = true
			out[name] = nil
			for _, t := range texts[:min(len(texts), max(f.left, 0))] {
				list, each := strings.CutPrefix(t, ci.Each)
				values := substituteBy([]string{list}, func(other string) []string {
					if other == name {
						return env[name]
					}
					return resolve(other, depth+1)
				})
				if each {
					values = strings.Fields(strings.Join(values, " "))
				}
				values = values[:min(len(values), maxSubstituted)]
				f.left -= len(values)
				out[name] = append(out[name], values...)
			}
		}
		return out[name]
	}
	for _, name := range sorted(assigned) {
		resolve(name, 0)
	}
	return out
}

// behind returns what a command runs in its turn.
func (f *follower) behind(c command, dir string, depth int) (out []command) {
	if depth > maxFollowed || len(c.words) == 0 || f.done > maxScripts {
		return nil
	}
	for _, script := range f.scripts(c, dir) {
		if f.done++; f.seen[script.name] || f.done > maxScripts {
			continue
		}
		f.seen[script.name] = true
		out = append(out, f.run(script, c.env, dir, depth+1)...)
		delete(f.seen, script.name)
	}
	return out
}

type script struct {
	name        string
	commands    []ci.Command
	given, vars map[string][]string // what it is given, and what it assigns
}

func shellScript(name, text string) script {
	s := script{name: name}
	s.commands, s.vars = ci.Commands(text)
	return s
}

// scripts returns what a command runs: a target, a script of package.json, a task or a file.
func (f *follower) scripts(c command, dir string) (out []script) {
	words := c.words
	args := operands(words[1:])
	switch words[0] {
	case "make", "gmake":
		return f.targets(c, dir)
	case "npm", "pnpm", "yarn", "bun", "pn":
		if len(args) > 0 && slices.Contains([]string{"run", "run-script"}, args[0]) {
			args = args[1:]
		}
		if len(args) > 0 {
			if text := names.Script(f.clone, dir, args[0]); text != "" {
				return []script{shellScript("package.json: "+args[0], text)}
			}
		}
		return nil
	case "task", "go-task", "just", "mage":
		return f.tasks(words[0], args)
	}
	for _, w := range words {
		if s, ok := f.file(w, dir); ok {
			out = append(out, s)
		}
	}
	return out
}

// operands are the words that are no options.
func operands(words []string) (out []string) {
	for _, w := range words {
		if !strings.HasPrefix(w, "-") {
			out = append(out, w)
		}
	}
	return out
}

// shells are endings of files that a shell runs; a file without ending is one if it says so.
var shells = []string{".sh", ".bash", ".zsh"}

// programs are endings of files of other languages.
var programs = []string{".js", ".mjs", ".cjs", ".ts", ".mts", ".py", ".rb", ".go", ".pl"}

// file returns the script of the clone that a word names.
func (f *follower) file(word, dir string) (script, bool) {
	ext := path.Ext(word)
	isShell, isProgram := slices.Contains(shells, ext), slices.Contains(programs, ext)
	if strings.ContainsAny(word, "$*{\n") || !isShell && !isProgram && !strings.Contains(word, "/") {
		return script{}, false
	}
	name, data := f.clone.First(path.Join(dir, word), path.Clean(word))
	if read, ok := f.files[name]; ok {
		return read, true
	}
	text := string(data)
	first := firstLine(text)
	switch {
	case data == nil:
		return script{}, false
	case isShell || !isProgram && strings.HasPrefix(first, "#!") && strings.Contains(first, "sh"):
		f.files[name] = shellScript(name, text)
	case isProgram || strings.HasPrefix(first, "#!"):
		f.files[name] = script{name: name, commands: ci.Loose(text)}
	default:
		return script{}, false
	}
	return f.files[name], true
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// tasks returns the commands of a task of Taskfile.yml, a justfile or a magefile.
func (f *follower) tasks(runner string, wanted []string) (out []script) {
	if runner == "just" {
		name, data := f.clone.First("justfile", "Justfile", ".justfile")
		recipes := justRecipes(string(data))
		for _, w := range wanted {
			if r, ok := recipes[w]; ok {
				out = append(out, shellScript(name+": "+w, r.text))
			}
		}
		return out
	}
	if runner == "mage" {
		return nil
	}
	name, data := f.clone.First("Taskfile.yml", "Taskfile.yaml", "taskfile.yml")
	var doc struct {
		Tasks map[string]yaml.Node `yaml:"tasks"`
	}
	if yaml.Unmarshal(data, &doc) != nil {
		return nil
	}
	for _, w := range wanted {
		if n, ok := doc.Tasks[w]; ok {
			out = append(out, taskScripts(name+": "+w, &n)...)
		}
	}
	return out
}

// taskScripts returns the commands of a task, however they are written.
func taskScripts(name string, n *yaml.Node) (out []script) {
	var body struct {
		Cmd  string      `yaml:"cmd"`
		Cmds []yaml.Node `yaml:"cmds"`
	}
	if n.Kind == yaml.ScalarNode {
		return []script{shellScript(name, n.Value)}
	}
	if n.Kind == yaml.SequenceNode {
		_ = n.Decode(&body.Cmds)
	} else {
		_ = n.Decode(&body)
	}
	texts := []string{body.Cmd}
	for i := range body.Cmds {
		var call struct {
			Cmd  string `yaml:"cmd"`
			Task string `yaml:"task"`
		}
		if c := &body.Cmds[i]; c.Kind == yaml.ScalarNode {
			texts = append(texts, c.Value)
		} else if c.Decode(&call) == nil {
			texts = append(texts, call.Cmd)
			if call.Task != "" {
				texts = append(texts, "task "+call.Task)
			}
		}
	}
	return []script{shellScript(name, strings.Join(texts, "\n"))}
}
