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
	maxFollowed = 5   // how deep scripts are followed that call each other
	maxScripts  = 500 // of one job
)

// command is one command that a step runs, also by a script of the clone.
type command struct {
	words    []string
	env      map[string][]string
	assigned map[string]string // by the script
	where    string            // the script that has it; "" for the workflow itself
}

// follower finds the commands behind scripts, targets and tasks.
type follower struct {
	clone *clone.Clone
	seen  map[string]bool
	done  int // scripts that were followed
}

// commands returns what a step runs.
func (f *follower) commands(s ci.Step) (out []command) {
	for _, c := range ci.Commands(s.Run) {
		out = append(out, command{words: c.Words, env: with(s.Env, c.Env)})
		for _, d := range f.behind(c.Words, s.Dir, 0) {
			d.env = with(s.Env, d.assigned)
			out = append(out, d)
		}
	}
	return out
}

// with adds what is assigned to an environment.
func with(env map[string][]string, assigned map[string]string) map[string][]string {
	if len(assigned) == 0 {
		return env
	}
	out := maps.Clone(env)
	if out == nil {
		out = map[string][]string{}
	}
	for k, v := range assigned {
		out[k] = substitute([]string{v}, env)
	}
	return out
}

// behind returns what a command runs in its turn.
func (f *follower) behind(words []string, dir string, depth int) (out []command) {
	if depth > maxFollowed {
		return nil
	}
	for _, script := range f.scripts(words, dir) {
		if f.done++; f.seen[script.name] || f.done > maxScripts {
			continue
		}
		f.seen[script.name] = true
		for _, c := range script.commands {
			out = append(out, command{words: c.Words, assigned: c.Env, where: script.name})
			out = append(out, f.behind(c.Words, dir, depth+1)...)
		}
		delete(f.seen, script.name)
	}
	return out
}

type script struct {
	name     string
	commands []ci.Command
}

// scripts returns what a command runs: a target, a script of package.json, a task or a file.
func (f *follower) scripts(words []string, dir string) (out []script) {
	args := operands(words[1:])
	switch words[0] {
	case "make", "gmake":
		return f.targets(args, dir)
	case "npm", "pnpm", "yarn", "bun", "pn":
		if len(args) > 0 && slices.Contains([]string{"run", "run-script"}, args[0]) {
			args = args[1:]
		}
		if len(args) > 0 {
			if text := names.Script(f.clone, dir, args[0]); text != "" {
				return []script{{"package.json: " + args[0], ci.Commands(text)}}
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
	text := string(data)
	switch {
	case data == nil:
		return script{}, false
	case isProgram:
		return script{name, ci.Loose(text)}, true
	case isShell || strings.HasPrefix(text, "#!") && strings.Contains(firstLine(text), "sh"):
		return script{name, ci.Commands(text)}, true
	case strings.HasPrefix(text, "#!"):
		return script{name, ci.Loose(text)}, true
	}
	return script{}, false
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// targets returns the recipes of targets of a Makefile, with those that they need.
func (f *follower) targets(wanted []string, dir string) (out []script) {
	name, data := f.clone.First(
		path.Join(dir, "Makefile"),
		path.Join(dir, "makefile"),
		path.Join(dir, "GNUmakefile"),
		"Makefile",
	)
	recipes := recipesOf(string(data))
	done := map[string]bool{}
	for len(wanted) > 0 {
		target := wanted[0]
		wanted = wanted[1:]
		r, ok := recipes[target]
		if !ok || done[target] {
			continue
		}
		done[target] = true
		out = append(out, script{name + ": " + target, ci.Commands(r.text)})
		wanted = append(wanted, r.needs...)
	}
	return out
}

type recipe struct {
	text  string
	needs []string
}

// recipesOf reads the rules of a Makefile that are written out.
func recipesOf(text string) map[string]recipe {
	out := map[string]recipe{}
	current := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "\t") {
			r := out[current]
			r.text += line[1:]
			out[current] = r
			continue
		}
		target, needs, ok := strings.Cut(line, ":")
		if ok && !strings.HasPrefix(needs, "=") && !strings.ContainsAny(target, "#=$") {
			current = strings.TrimSpace(target)
			r := out[current]
			r.needs = append(r.needs, strings.Fields(needs)...)
			out[current] = r
		}
	}
	return out
}

// tasks returns the commands of a task of Taskfile.yml, a justfile or a magefile.
func (f *follower) tasks(runner string, wanted []string) (out []script) {
	if runner == "just" {
		name, data := f.clone.First("justfile", "Justfile", ".justfile")
		recipes := recipesOf(strings.ReplaceAll(string(data), "\n    ", "\n\t"))
		for _, w := range wanted {
			if r, ok := recipes[w]; ok {
				out = append(out, script{name + ": " + w, ci.Commands(r.text)})
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
			out = append(out, script{name + ": " + w, taskCommands(&n)})
		}
	}
	return out
}

// taskCommands returns the commands of a task, however they are written.
func taskCommands(n *yaml.Node) (out []ci.Command) {
	var body struct {
		Cmd  string      `yaml:"cmd"`
		Cmds []yaml.Node `yaml:"cmds"`
	}
	if n.Kind == yaml.ScalarNode {
		return ci.Commands(n.Value)
	}
	if n.Kind == yaml.SequenceNode {
		_ = n.Decode(&body.Cmds)
	} else {
		_ = n.Decode(&body)
	}
	out = ci.Commands(body.Cmd)
	for i := range body.Cmds {
		var call struct {
			Cmd  string `yaml:"cmd"`
			Task string `yaml:"task"`
		}
		if c := &body.Cmds[i]; c.Kind == yaml.ScalarNode {
			out = append(out, ci.Commands(c.Value)...)
		} else if c.Decode(&call) == nil {
			out = append(out, ci.Commands(call.Cmd)...)
			if call.Task != "" {
				out = append(out, ci.Command{Words: []string{"task", call.Task}})
			}
		}
	}
	return out
}
