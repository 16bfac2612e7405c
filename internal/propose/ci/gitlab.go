// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

// Pipeline is the configuration of GitLab CI, with the files of the clone that it includes.
type Pipeline struct {
	Path      string
	repo      Repository
	jobs      mapping
	variables map[string]string
	defaults  mapping
	rules     *yaml.Node // of workflow:
}

// notJobs are top-level keywords.
var notJobs = []string{
	"default",
	"include",
	"stages",
	"variables",
	"workflow",
	"image",
	"services",
	"cache",
	"before_script",
	"after_script",
	"spec",
}

// ReadPipeline reads a configuration; nil if there is none.
func ReadPipeline(c *clone.Clone, name string, repo Repository) *Pipeline {
	p := &Pipeline{
		Path:      name,
		repo:      repo,
		jobs:      mapping{values: map[string]*yaml.Node{}},
		variables: map[string]string{},
	}
	if !p.read(c, name, 0) {
		return nil
	}
	return p
}

func (p *Pipeline) read(c *clone.Clone, name string, depth int) bool {
	top := mappingOf(document(c.Read(name)))
	if len(top.keys) == 0 || depth > maxCalls {
		return false
	}
	for _, file := range localIncludes(top.values["include"]) {
		p.read(c, strings.TrimPrefix(file, "/"), depth+1)
	}
	for k, v := range texts(top.values["variables"]) {
		p.variables[k] = v
	}
	if w := mappingOf(top.values["workflow"]).values["rules"]; w != nil {
		p.rules = w
	}
	if d := mappingOf(top.values["default"]); len(d.keys) > 0 {
		p.defaults = d
	}
	for _, k := range top.keys {
		if slices.Contains(notJobs, k) {
			continue
		}
		if _, twice := p.jobs.values[k]; !twice {
			p.jobs.keys = append(p.jobs.keys, k)
		}
		p.jobs.values[k] = top.values[k]
	}
	return true
}

// localIncludes returns the files of the clone that are included.
func localIncludes(n *yaml.Node) (out []string) {
	n = resolved(n)
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode && !strings.Contains(n.Value, "://"):
		out = append(out, n.Value)
	case n.Kind == yaml.MappingNode:
		out = append(out, list(mappingOf(n).values["local"])...)
	case n.Kind == yaml.SequenceNode:
		for _, x := range n.Content {
			out = append(out, localIncludes(x)...)
		}
	}
	return out
}

// Stages returns the stages that a configuration names.
func Stages(data []byte) []string { return list(mappingOf(document(data)).values["stages"]) }

// Jobs returns the jobs that a pipeline for a ref may have.
func (p *Pipeline) Jobs(start Start) (out []Job) {
	vars := p.predefined(start)
	if ruled(p.rules, vars) == no {
		return nil
	}
	for _, id := range p.jobs.keys {
		if strings.HasPrefix(id, ".") {
			continue
		}
		m := p.extended(id, 0)
		if m.values["script"] == nil && m.values["run"] == nil || ruled(m.values["rules"], vars) == no ||
			!p.only(m, start) {
			continue
		}
		out = append(out, p.job(id, m, vars))
	}
	return out
}

// extended returns a job with what it extends, its own keys first.
func (p *Pipeline) extended(id string, depth int) mapping {
	own := mappingOf(p.jobs.values[id])
	out := mapping{keys: slices.Clone(own.keys), values: map[string]*yaml.Node{}}
	for k, v := range own.values {
		out.values[k] = v
	}
	if depth > maxCalls {
		return out
	}
	from := list(own.values["extends"])
	slices.Reverse(from) // the last of several wins
	for _, base := range from {
		for k, v := range p.extended(base, depth+1).values {
			if out.values[k] == nil {
				out.values[k] = v
			}
		}
	}
	return out
}

func (p *Pipeline) job(id string, m mapping, vars map[string]string) Job {
	tokens := mappingOf(m.values["id_tokens"])
	if len(tokens.keys) == 0 {
		tokens = mappingOf(p.defaults.values["id_tokens"])
	}
	j := Job{Caller: p.Path, File: p.Path, ID: id}
	for _, name := range tokens.keys {
		for _, aud := range list(mappingOf(tokens.values[name]).values["aud"]) {
			j.Token = j.Token || aud == "sigstore" || strings.Contains(aud, "npm") || strings.Contains(aud, "pypi")
		}
	}
	if j.Environment = scalar(m.values["environment"]); j.Environment == "" {
		j.Environment = scalar(mappingOf(m.values["environment"]).values["name"])
	}
	if strings.Contains(j.Environment, "$") {
		j.Environment, j.Computed = "", j.Environment
	}
	env := map[string][]string{}
	for _, from := range []map[string]string{vars, p.variables, texts(m.values["variables"])} {
		for k, v := range from {
			env[k] = []string{expand(v, vars)}
		}
	}
	script := append(p.lines(m.values["before_script"], 0), p.lines(m.values["script"], 0)...)
	j.Steps = []Step{{Run: strings.Join(script, "\n"), Env: env, With: map[string][]string{}}}
	return j
}

// lines returns the lines of a script. Lists in it are one list, and !reference names that of
// another job.
func (p *Pipeline) lines(n *yaml.Node, depth int) (out []string) {
	n = resolved(n)
	switch {
	case n == nil || depth > maxCalls:
	case n.Tag == "!reference" && len(n.Content) == 2:
		return p.lines(mappingOf(p.jobs.values[n.Content[0].Value]).values[n.Content[1].Value], depth+1)
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		out = append(out, n.Value)
	case n.Kind == yaml.SequenceNode:
		for _, x := range n.Content {
			out = append(out, p.lines(x, depth+1)...)
		}
	}
	return out
}

// expand puts GitLab's own variables into the value of another one.
func expand(text string, vars map[string]string) string {
	var pairs []string
	for name, value := range vars {
		pairs = append(pairs, "${"+name+"}", value)
	}
	text = strings.NewReplacer(pairs...).Replace(text)
	for {
		before, rest, found := strings.Cut(text, "$CI_")
		if !found {
			return text
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') })
		if end < 0 {
			end = len(rest)
		}
		text = before + vars["CI_"+rest[:end]] + rest[end:]
	}
}

// predefined are variables that GitLab sets.
func (p *Pipeline) predefined(start Start) map[string]string {
	vars := map[string]string{
		"CI_PIPELINE_SOURCE": start.Event, "CI_DEFAULT_BRANCH": p.repo.Default, "CI_PROJECT_PATH": p.repo.Path,
		"CI_REGISTRY": "registry.gitlab.com", "CI_REGISTRY_IMAGE": "registry.gitlab.com/" + strings.ToLower(p.repo.Path),
		"CI_PROJECT_NAME": p.repo.Path[strings.LastIndexByte(p.repo.Path, '/')+1:], "CI_SERVER_HOST": "gitlab.com",
	}
	if tag := start.Tag(); tag != "" {
		vars["CI_COMMIT_TAG"], vars["CI_COMMIT_REF_NAME"] = tag, tag
	} else {
		branch := strings.TrimPrefix(start.Ref, "refs/heads/")
		vars["CI_COMMIT_BRANCH"], vars["CI_COMMIT_REF_NAME"] = branch, branch
	}
	return vars
}

// ruled reports whether rules let a job be: the first whose condition holds decides.
func ruled(n *yaml.Node, vars map[string]string) truth {
	n = resolved(n)
	if n == nil || n.Kind != yaml.SequenceNode {
		return yes
	}
	out := no
	for _, x := range n.Content {
		m := mappingOf(x)
		may := yes
		if m.values["if"] != nil {
			may = labCondition(scalar(m.values["if"]), vars)
		}
		never := scalar(m.values["when"]) == "never"
		switch {
		case may == yes && never:
			return out
		case may == yes:
			return yes
		case may == maybe && !never:
			out = maybe
		}
	}
	return out
}

// only reports whether the older keywords only and except let a job be.
func (p *Pipeline) only(m mapping, start Start) bool {
	names := func(key string) []string {
		if refs := list(mappingOf(m.values[key]).values["refs"]); refs != nil {
			return refs
		}
		return list(m.values[key])
	}
	fits := func(word string) bool {
		switch {
		case word == "tags":
			return start.Tag() != ""
		case word == "branches":
			return start.Tag() == ""
		case strings.HasPrefix(word, "/"):
			return true
		}
		return start.Ref == "refs/heads/"+word
	}
	only, except := names("only"), names("except")
	if only != nil && !slices.ContainsFunc(only, fits) {
		return false
	}
	return !slices.ContainsFunc(except, func(w string) bool { return !strings.HasPrefix(w, "/") && fits(w) })
}

// labCondition evaluates the condition of a rule as far as it compares variables.
func labCondition(text string, vars map[string]string) truth {
	out := no
	for _, or := range strings.Split(text, "||") {
		all := yes
		for _, and := range strings.Split(or, "&&") {
			all = min2(all, labTerm(strings.Trim(strings.TrimSpace(and), "()"), vars))
		}
		if all == yes {
			return yes
		}
		if all == maybe {
			out = maybe
		}
	}
	return out
}

// min2 is the conjunction of two conditions.
func min2(a, b truth) truth {
	switch {
	case a == no || b == no:
		return no
	case a == maybe || b == maybe:
		return maybe
	}
	return yes
}

func labTerm(text string, vars map[string]string) truth {
	for _, op := range []string{"==", "!=", "=~", "!~"} {
		left, right, ok := strings.Cut(text, op)
		if !ok {
			continue
		}
		a, knownA := labValue(left, vars)
		if strings.HasSuffix(op, "~") {
			t := labMatch(a, strings.TrimSpace(right))
			if op == "!~" {
				return not(value{truth: t}).truth
			}
			return t
		}
		b, knownB := labValue(right, vars)
		if !knownA || !knownB {
			return maybe
		}
		return truthOf((a == b) == (op == "=="))
	}
	v, ok := labValue(text, vars)
	if !ok {
		return maybe
	}
	return truthOf(v != "")
}

// labValue returns a variable or a quoted text. GitLab's own variables that are not set are
// empty; of others nothing is known.
func labValue(text string, vars map[string]string) (string, bool) {
	text = strings.TrimSpace(text)
	name, isVariable := strings.CutPrefix(text, "$")
	if !isVariable {
		return strings.Trim(text, `"'`), text != "null" || true
	}
	v, ok := vars[name]
	return v, ok || name == "CI_COMMIT_TAG" || name == "CI_COMMIT_BRANCH" || strings.HasPrefix(name, "CI_MERGE_REQUEST")
}

// labMatch compares with the beginning that a regular expression demands, as far as it is literal.
func labMatch(text, expr string) truth {
	inner := strings.TrimPrefix(expr, "/")
	literal, anchored := strings.CutPrefix(inner, "^")
	if text == "" {
		return no
	}
	if !anchored {
		return maybe
	}
	if i := strings.IndexAny(literal, `\.[(*+?{|$/`); i >= 0 {
		if strings.IndexByte("*?{", literal[i]) >= 0 && i > 0 {
			i--
		}
		if strings.ContainsRune(literal, '|') {
			i = 0
		}
		literal = literal[:i]
	}
	if !strings.HasPrefix(text, literal) {
		return no
	}
	return maybe
}
