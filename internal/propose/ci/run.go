// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose/clone"
)

// Start is one way in which an event can start a run.
type Start struct {
	Event string
	Ref   string // refs/tags/… or refs/heads/…
}

// Tag returns the tag for which the run is; "" if it is for a branch.
func (s Start) Tag() string {
	tag, ok := strings.CutPrefix(s.Ref, "refs/tags/")
	if !ok {
		return ""
	}
	return tag
}

// Job is a job that a start may reach, with what is known of it.
type Job struct {
	Caller      string  // file that the event started
	File        string  // file of this repository that holds the job; "" if Foreign is set
	Pinned      string  // the ref at which File is called, if that is not the run's
	Foreign     Foreign // a workflow of another repository that the job calls
	ID          string
	Token       bool   // it may have an ID token
	Refused     bool   // its permissions are said, and an ID token is not among them
	Environment string // "" for none, or if it is computed
	Computed    string // the expression of an environment that is not known
	May         []string
	SelfHosted  bool
	Steps       []Step
	With        map[string][]string // of a foreign workflow
	Unsure      []string            // conditions that were not decided
	Inputs      []string            // texts of the inputs that are bound
}

// Step is a step that may run. Texts have a Hole for what is not known.
type Step struct {
	Uses, Run string
	With      map[string][]string
	Env       map[string][]string
	Dir       string
	Unsure    string // its condition, if that was not decided
}

const (
	maxCalls  = 6   // how deep workflows and actions may call each other
	maxCalled = 500 // workflows and actions that one run calls
)

// Repository is what conditions ask about the repository.
type Repository struct {
	Path    string // owner/name
	Default string // branch
}

// Reader walks the workflows of a clone.
type Reader struct {
	clone  *clone.Clone
	repo   Repository
	Files  []*Workflow // in the order of their names
	called int         // workflows and actions, by the run
	asked  bool        // a condition asked for the tag of the run
	inText bool        // the text of a step is filled in
}

// Read reads the workflows of a clone but for those that are left out.
func Read(c *clone.Clone, repo Repository, except ...string) *Reader {
	const dir, most = ".github/workflows", 500
	r := &Reader{clone: c, repo: repo}
	names := c.Names(dir)
	slices.Sort(names)
	for _, base := range names {
		name := dir + "/" + base
		if ext := path.Ext(base); ext != ".yml" && ext != ".yaml" || slices.Contains(except, name) ||
			len(r.Files) >= most {
			continue
		}
		if w := Parse(name, c.Read(name)); w != nil {
			r.Files = append(r.Files, w)
		}
	}
	return r
}

// file returns a workflow of the clone.
func (r *Reader) file(name string) *Workflow {
	for _, w := range r.Files {
		if w.Path == name {
			return w
		}
	}
	return nil
}

// frame is one file of a run, with what its expressions may ask for.
type frame struct {
	*Reader
	start  Start
	caller string
	file   *Workflow
	inputs map[string]value
	token  grant
	unsure []string
	depth  int

	written  map[string][]string // by steps, as outputs
	deciding bool                // a condition is evaluated
	ran      map[string]bool     // jobs whose steps were looked at for their outputs
}

// on returns a frame for a file that runs for the same start.
func (r *Reader) on(w *Workflow, start Start, caller string, inputs map[string]value) *frame {
	return &frame{
		Reader: r, start: start, caller: caller, file: w, inputs: inputs,
		written: map[string][]string{}, ran: map[string]bool{},
	}
}

// calling returns a frame for a workflow of the repository that a job calls.
func (f *frame) calling(called *Workflow, j *job, look scope, token grant, unsure []string) *frame {
	g := f.Reader.on(called, f.start, f.caller, called.bound(j.with, look))
	g.token, g.unsure, g.depth = token, unsure, f.depth+1
	return g
}

// Jobs returns the jobs that a start of a workflow may reach, and whether that depends on which
// tag the run is for.
func (r *Reader) Jobs(w *Workflow, start Start) (jobs []Job, depends bool) {
	r.asked, r.called = false, 0
	jobs = r.on(w, start, w.Path, w.dispatched(start.Event)).jobs()
	return jobs, r.asked
}

// dispatched returns the inputs of a run that somebody starts: their defaults, or anything.
func (w *Workflow) dispatched(event string) map[string]value {
	out := map[string]value{}
	if event != "workflow_dispatch" {
		return out
	}
	inputs := mappingOf(mappingOf(w.events.values[event]).values["inputs"])
	for _, name := range inputs.keys {
		m := mappingOf(inputs.values[name])
		out[strings.ToLower(name)] = value{may: list(m.values["options"])}
		if d := scalar(m.values["default"]); d != "" && m.values["options"] == nil {
			out[strings.ToLower(name)] = value{may: []string{d}}
		}
	}
	return out
}

func (f *frame) jobs() (out []Job) {
	possible := map[string]bool{}
	for i := range f.file.jobs {
		f.reachable(i, possible, 0)
	}
	for i := range f.file.jobs {
		j := &f.file.jobs[i]
		if !possible[j.id] {
			continue
		}
		look := f.scope(j, j.env, nil)
		unsure := f.unsure
		if j.cond != "" && f.holds(j.cond, look) == maybe {
			unsure = append(slices.Clip(unsure), j.cond)
		}
		out = append(out, f.job(j, look, unsure)...)
	}
	return out
}

// holds evaluates a condition. What steps are seen to write decides none: they may write more.
func (f *frame) holds(cond string, look scope) truth {
	before := f.deciding
	f.deciding = true
	defer func() { f.deciding = before }()
	return condition(cond, look)
}

// reachable finds out whether a job may run: its condition, and that of the jobs it needs.
func (f *frame) reachable(i int, possible map[string]bool, depth int) bool {
	j := &f.file.jobs[i]
	if done, ok := possible[j.id]; ok || depth > maxDepth {
		return done
	}
	possible[j.id] = false // of a circle nothing runs
	ok := f.holds(j.cond, f.scope(j, j.env, nil)) != no
	if waits := strings.Contains(j.cond, "always()") || strings.Contains(j.cond, "cancelled()"); !waits {
		for k := range f.file.jobs {
			if slices.Contains(j.needs, f.file.jobs[k].id) && !f.reachable(k, possible, depth+1) {
				ok = false
			}
		}
	}
	possible[j.id] = ok
	return ok
}

// job returns a job with steps, or those of the workflow that it calls.
func (f *frame) job(j *job, look scope, unsure []string) []Job {
	token := f.may(j)
	out := Job{
		Caller: f.caller, File: f.file.Path, ID: j.id, Token: token == granted, Refused: token == refused, Unsure: unsure,
	}
	for _, v := range f.inputs {
		out.Inputs = append(out.Inputs, v.texts()...)
	}
	slices.Sort(out.Inputs)
	if j.uses == "" {
		f.environment(&out, j, look)
		out.SelfHosted = slices.Contains(j.runsOn, "self-hosted")
		out.Steps = f.steps(j.steps, j, f.file.env, j.env, nil, 0)
		return []Job{out}
	}
	if name, ok := localPath(j.uses); ok {
		if called := f.Reader.file(name); called != nil && f.calls(f.depth) {
			return f.calling(called, j, look, token, unsure).jobs()
		}
		return nil
	}
	if out.Foreign, _ = foreignOf(j.uses); out.Foreign.Ref == "" {
		return nil
	}
	if strings.EqualFold(out.Foreign.Repository, f.repo.Path) {
		return f.pinned(j, look, unsure, token, out.Foreign)
	}
	out.File, out.With = "", map[string][]string{}
	for k, v := range j.with {
		out.With[k] = fill(v, look)
	}
	return []Job{out}
}

// calls reports whether a workflow or an action may call one more.
func (r *Reader) calls(depth int) bool {
	r.called++
	return depth < maxCalls && r.called <= maxCalled
}

// pinned returns the jobs of a workflow of this repository that is called at a ref of its own,
// which the certificate then names. Its file is taken to be what it is in the clone.
func (f *frame) pinned(j *job, look scope, unsure []string, token grant, at Foreign) []Job {
	called := f.Reader.file(at.Path)
	if called == nil || !f.calls(f.depth) {
		return nil
	}
	out := f.calling(called, j, look, token, unsure).jobs()
	for i := range out {
		if out[i].File == at.Path && out[i].Pinned == "" {
			out[i].Pinned = at.Ref
		}
	}
	return out
}

// may is what the job's permissions come to. A workflow that is called has at most those of
// the job that calls it; where that names none, its own count.
func (f *frame) may(j *job) grant {
	own := j.token
	if own == unsaid {
		own = f.file.token
	}
	switch {
	case f.depth == 0 || f.token == unsaid:
		return own
	case f.token == refused || own == unsaid:
		return f.token
	}
	return own
}

func (f *frame) environment(out *Job, j *job, look scope) {
	if j.environment == "" {
		return
	}
	texts := fill(j.environment, look)
	if len(texts) == 1 && !strings.ContainsRune(texts[0], Hole) && !mayBeOther(j.environment, look) {
		out.Environment = texts[0]
		return
	}
	out.Computed = j.environment
	for _, t := range texts {
		if t != "" && !strings.ContainsRune(t, Hole) && !slices.Contains(out.May, t) {
			out.May = append(out.May, t)
		}
	}
}

// mayBeOther reports whether a text holds an expression whose value is not known for sure.
func mayBeOther(text string, look scope) bool {
	for {
		_, rest, found := strings.Cut(text, "${{")
		expr, after, closed := strings.Cut(rest, "}}")
		if !found || !closed {
			return found
		}
		if v := evaluate(expr, look); !v.known {
			return true
		}
		text = after
	}
}

// bound returns the inputs of a called workflow.
func (w *Workflow) bound(with map[string]string, look scope) map[string]value {
	out := map[string]value{}
	inputs := mappingOf(mappingOf(w.events.values["workflow_call"]).values["inputs"])
	for _, name := range inputs.keys {
		out[strings.ToLower(name)] = known(typed(scalar(mappingOf(inputs.values[name]).values["default"])))
	}
	for name, text := range with {
		out[strings.ToLower(name)] = valueOf(text, look)
	}
	return out
}

// typed makes booleans of the texts that YAML takes for some.
func typed(text string) any {
	switch text {
	case "true":
		return true
	case "false":
		return false
	case "":
		return nil
	}
	return text
}

// valueOf evaluates a text that may be one expression, or have some in it.
func valueOf(text string, look scope) value {
	if inner, ok := strings.CutPrefix(strings.TrimSpace(text), "${{"); ok {
		if inner, ok = strings.CutSuffix(inner, "}}"); ok && !strings.Contains(inner, "${{") {
			return evaluate(inner, look)
		}
	}
	switch all := fill(text, look); len(all) {
	case 1:
		return known(typed(all[0]))
	default:
		return value{may: all}
	}
}

// steps returns the steps that may run, those of composite actions of the clone in their place.
func (f *frame) steps(
	nodes []*yaml.Node,
	j *job,
	outer, inner map[string]string,
	bound map[string]value,
	depth int,
) (out []Step) {
	for _, n := range nodes {
		m := mappingOf(n)
		env := texts(m.values["env"])
		owner, _, _ := strings.Cut(f.repo.Path, "/")
		merged := map[string]string{"GITHUB_REPOSITORY": f.repo.Path, "GITHUB_REPOSITORY_OWNER": owner}
		for _, from := range []map[string]string{outer, inner, env} {
			for k, v := range from {
				merged[k] = v
			}
		}
		look := f.scope(j, merged, bound)
		cond := scalar(m.values["if"])
		may := f.holds(cond, look)
		if may == no {
			continue
		}
		f.inText = true
		s := Step{
			Uses: scalar(m.values["uses"]), Run: strings.Join(fill(scalar(m.values["run"]), look), "\n"),
			With: filled(texts(m.values["with"]), look), Env: filled(merged, look),
		}
		s.Dir = strings.Join(fill(scalar(m.values["working-directory"]), look)[:1], "")
		f.inText = false
		if may == maybe {
			s.Unsure = cond
		}
		if dir, ok := localPath(s.Uses); ok && f.calls(depth) {
			inside := f.composite(dir, texts(m.values["with"]), look, j, merged, depth)
			for _, x := range inside {
				outer = exported(x, outer)
			}
			out = append(out, inside...)
			continue
		}
		out = append(out, s)
		outer = exported(s, outer)
		f.outputs(j, scalar(m.values["id"]), s)
	}
	return out
}

// alternative parts texts of which a variable has one.
const alternative = "\x03"

// exported adds what a step writes for the steps after it with echo "NAME=value" >> $GITHUB_ENV.
// A step that may not run leaves the old value as an alternative.
func exported(s Step, env map[string]string) map[string]string {
	lines := echoed(s, "GITHUB_ENV")
	if len(lines) == 0 {
		return env
	}
	out := maps.Clone(env)
	if out == nil {
		out = map[string]string{}
	}
	seen := map[string]bool{}
	for _, w := range lines {
		old, has := out[w.name]
		keeps := has && (seen[w.name] || s.Unsure != "")
		switch seen[w.name] = true; {
		case !keeps:
			out[w.name] = w.text
		case !slices.Contains(strings.Split(old, alternative), w.text) && strings.Count(old, alternative) < maxTexts:
			out[w.name] = old + alternative + w.text
		}
	}
	return out
}

type written struct{ name, text string }

// echoed returns what a script writes to a file of the runner with echo "NAME=value".
func echoed(s Step, file string) (out []written) {
	if !strings.Contains(s.Run, file) {
		return nil
	}
	env := maps.Clone(s.Env)
	_, vars := Commands(s.Run)
	for range 2 { // variables of variables
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			if values := vars[name]; len(values) == 1 && !strings.HasPrefix(values[0], Each) && env != nil {
				env[name] = []string{printed(values[0], env)}
			}
		}
	}
	for line := range strings.Lines(s.Run) {
		words := strings.Fields(strings.NewReplacer(`"`, "", "'", "").Replace(line))
		elsewhere := strings.Contains(line, ">") && !strings.Contains(line, file)
		if len(words) < 2 || words[0] != "echo" || elsewhere {
			continue
		}
		if name, text, ok := strings.Cut(words[1], "="); ok && isVariable(strings.ReplaceAll(name, "-", "_")) {
			out = append(out, written{name, printed(text, env)})
		}
	}
	return out
}

// printed puts values of the environment into a text of the shell, and a Hole for what is not known.
func printed(text string, env map[string][]string) string {
	var b strings.Builder
	for {
		i := strings.IndexAny(text, "$`")
		if i < 0 {
			return b.String() + text
		}
		b.WriteString(text[:i])
		name, rest, braced := strings.Cut(strings.TrimPrefix(text[i+1:], "{"), "}")
		if text[i] == '`' || strings.HasPrefix(text[i+1:], "(") || strings.HasPrefix(text[i+1:], "{") && !braced {
			return b.String() + string(Hole)
		}
		if !strings.HasPrefix(text[i+1:], "{") {
			end := strings.IndexFunc(text[i+1:], func(r rune) bool { return !isVariable(string(r)) })
			if end < 0 {
				end = len(text) - i - 1
			}
			name, rest = text[i+1:i+1+end], text[i+1+end:]
		}
		name, small := strings.CutSuffix(name, ",,")
		switch values := env[name]; {
		case len(values) != 1:
			b.WriteRune(Hole)
		case small:
			b.WriteString(strings.ToLower(values[0]))
		default:
			b.WriteString(values[0])
		}
		text = rest
	}
}

// outputs remembers what a step writes for others to ask for: names with a slash alone, such as
// those of images. Of what conditions ask for, a step may write more than is seen.
func (f *frame) outputs(j *job, id string, s Step) {
	for _, w := range echoed(s, "GITHUB_OUTPUT") {
		key := outputKey(j.id, id, w.name)
		if strings.Contains(w.text, "/") && !slices.Contains(f.written[key], w.text) && len(f.written[key]) < maxTexts {
			f.written[key] = append(f.written[key], w.text)
		}
	}
}

func outputKey(job, step, name string) string { return job + "\n" + step + "\n" + name }

// needed is the output of another job, as far as its steps say it.
func (f *frame) needed(id, name string) value {
	i := slices.IndexFunc(f.file.jobs, func(j job) bool { return j.id == id })
	if i < 0 || f.file.jobs[i].outputs[name] == "" {
		return unknown
	}
	j := &f.file.jobs[i]
	if !f.ran[id] {
		f.ran[id] = true
		inText := f.inText
		f.steps(j.steps, j, f.file.env, j.env, nil, 0)
		f.inText = inText
	}
	var texts []string
	for _, t := range fill(j.outputs[name], f.scope(j, j.env, nil)) {
		if strings.Contains(t, "/") {
			texts = append(texts, t)
		}
	}
	return value{may: texts}
}

func filled(m map[string]string, look scope) map[string][]string {
	out := map[string][]string{}
	for k, v := range m {
		for one := range strings.SplitSeq(v, alternative) {
			out[k] = append(out[k], fill(one, look)...)
		}
	}
	return out
}

// composite returns the steps of an action of the clone.
func (f *frame) composite(
	dir string,
	with map[string]string,
	look scope,
	j *job,
	env map[string]string,
	depth int,
) []Step {
	_, data := f.clone.First(path.Join(dir, "action.yml"), path.Join(dir, "action.yaml"))
	top := mappingOf(document(data))
	bound := map[string]value{}
	inputs := mappingOf(top.values["inputs"])
	for _, name := range inputs.keys {
		bound[strings.ToLower(name)] = valueOf(scalar(mappingOf(inputs.values[name]).values["default"]), look)
	}
	for name, text := range with {
		bound[strings.ToLower(name)] = valueOf(text, look)
	}
	steps := resolved(mappingOf(top.values["runs"]).values["steps"])
	if steps == nil || steps.Kind != yaml.SequenceNode {
		return nil
	}
	return f.steps(steps.Content, j, env, nil, bound, depth+1)
}
