// SPDX-License-Identifier: Apache-2.0

package propose

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxWorkflowBytes is the largest workflow file that is looked at.
const MaxWorkflowBytes = 1 << 20

// tagTriggers are events whose run can be about a tag, in the order in which
// they are proposed.
var tagTriggers = []string{"push", "release", "workflow_dispatch", "create", "deployment"}

// file is what is read of a workflow file.
type file struct {
	on   map[string]any // events with their filters
	jobs []job
}

type job struct {
	id          string
	token       bool   // may have ID tokens
	uses        string // reusable workflow; "" for a job with steps
	environment string // "" for none and for one that is computed
	computed    bool   // the environment is an expression
	npm         bool   // publishes to npm
}

// parse reads a workflow file; false if it is none.
func parse(data []byte) (*file, bool) {
	var doc map[string]any
	if len(data) > MaxWorkflowBytes || yaml.Unmarshal(data, &doc) != nil {
		return nil, false
	}
	jobs, ok := doc["jobs"].(map[string]any)
	if !ok {
		return nil, false
	}
	f := &file{on: map[string]any{}}
	switch on := doc["on"].(type) {
	case string:
		f.on[on] = nil
	case []any:
		for _, e := range on {
			f.on[fmt.Sprint(e)] = nil
		}
	case map[string]any:
		f.on = on
	}
	outer := grants(doc["permissions"])
	for _, id := range sorted(jobs) {
		m, ok := jobs[id].(map[string]any)
		if !ok {
			continue
		}
		j := job{id: id, token: outer}
		if own, ok := m["permissions"]; ok {
			j.token = grants(own)
		}
		j.uses, _ = m["uses"].(string)
		switch env := m["environment"].(type) {
		case string:
			j.environment = env
		case map[string]any:
			j.environment, _ = env["name"].(string)
		}
		if strings.Contains(j.environment, "${{") {
			j.environment, j.computed = "", true
		}
		steps, _ := m["steps"].([]any)
		for _, s := range steps {
			step, _ := s.(map[string]any)
			run, _ := step["run"].(string)
			j.npm = j.npm || strings.Contains(run, "npm publish")
		}
		f.jobs = append(f.jobs, j)
	}
	return f, true
}

// grants reports whether permissions include id-token: write.
func grants(permissions any) bool {
	switch p := permissions.(type) {
	case string:
		return p == "write-all"
	case map[string]any:
		return p["id-token"] == "write"
	}
	return false
}

// starts returns what of on can start a release: triggers, none if nothing can,
// and the branches if nothing but pushes to exactly these can.
func (f *file) starts() (triggers, branches []string) {
	push, isPush := f.on["push"]
	filter, _ := push.(map[string]any)
	onlyBranches := isPush && (filter["branches"] != nil || filter["branches-ignore"] != nil) && filter["tags"] == nil && filter["tags-ignore"] == nil
	for _, t := range tagTriggers {
		if _, ok := f.on[t]; ok && !(t == "push" && onlyBranches) {
			triggers = append(triggers, t)
		}
	}
	if !onlyBranches || slices.ContainsFunc(triggers, func(t string) bool { return t != "workflow_dispatch" }) {
		return triggers, nil
	}
	list, _ := filter["branches"].([]any)
	for _, b := range list {
		name := fmt.Sprint(b)
		if ref := "refs/heads/" + name; policy.ValidRef(ref) && !strings.ContainsAny(name, "*?+[]!") {
			branches = append(branches, ref)
		}
	}
	if branches == nil {
		return triggers, nil
	}
	return []string{"push"}, branches
}

// signer is a job that can sign.
type signer struct {
	path string // of the file that started
	rule Rule
	note string // why it is no rule; "" if it is one
	npm  bool
}

// signers returns the jobs that can sign, in the order of their files.
func signers(workflows map[string][]byte) []signer {
	files := map[string]*file{}
	for path, data := range workflows {
		if f, ok := parse(data); ok && path != binding.Workflow {
			files[path] = f
		}
	}
	var out []signer
	for _, path := range sorted(files) {
		f := files[path]
		triggers, branches := f.starts()
		for _, j := range f.jobs {
			if !j.token {
				continue
			}
			s := signer{path: path, npm: j.npm, rule: Rule{Workflow: path, Environment: j.environment, Triggers: triggers, Branches: branches}}
			_, called := f.on["workflow_call"]
			switch {
			case called && len(f.on) == 1:
				continue // stands with those who call it
			case len(triggers) == 0:
				s.note = "no rule: none of its events can release a tag"
			case j.uses != "":
				s.note = s.rule.calls(j.uses, path, files)
			}
			if j.computed && s.note == "" {
				s.note = "no rule: its environment is computed; name it with --environment and the file with --workflow"
			}
			out = append(out, s)
		}
	}
	return out
}

// calls makes the rule one for a reusable workflow, whose certificate names the
// callee. It returns why that cannot be.
func (r *Rule) calls(uses, path string, files map[string]*file) string {
	r.Caller = path
	if local, ok := strings.CutPrefix(uses, "./"); ok {
		r.Workflow, r.Environment = local, ""
		if f := files[local]; f != nil {
			for _, j := range f.jobs {
				if j.environment != "" {
					r.Environment = j.environment
				}
			}
		}
		return ""
	}
	where, ref, ok := strings.Cut(uses, "@")
	if !ok || strings.Count(where, "/") < 3 || ref == "" {
		return "no rule: " + uses + " is not owner/name/.github/workflows/file.yml@ref"
	}
	r.Workflow = "https://github.com/" + where
	switch {
	case len(ref) == 40 && strings.Trim(ref, "0123456789abcdef") == "":
		r.SignerDigest = ref
	case strings.HasPrefix(ref, "refs/"):
		r.SignerRef = ref
	case ref[0] >= '0' && ref[0] <= '9', len(ref) > 1 && ref[0] == 'v' && ref[1] >= '0' && ref[1] <= '9':
		r.SignerRef = "refs/tags/" + ref
	default:
		r.SignerRef = "refs/heads/" + ref
	}
	return ""
}

// rules proposes a rule for each job that can sign a release. Where workflows
// are started by tags, those of branches are left out: every push to a branch
// could release by them.
func (p *Proposal) rules(proj Project, o Options) {
	all := signers(proj.Workflows)
	if o.Workflow != "" {
		p.named(proj, o, all)
		return
	}
	byTag := slices.ContainsFunc(all, func(s signer) bool { return s.note == "" && s.rule.Branches == nil })
	for _, s := range all {
		what := fmt.Sprintf("%s with id-token: write", s.path)
		switch {
		case s.note != "":
			p.found(what, "%s", s.note)
		case byTag && s.rule.Branches != nil:
			p.found(what, "no rule: pushes to a branch start it; name it with --workflow if it releases")
		default:
			p.add(proj, o, s, what)
		}
	}
	if len(p.Rules) == 0 && len(all) == 0 {
		p.found("no workflow with id-token: write", "no rule: nothing may be released until the policy has one")
	}
}

// named proposes a rule for the workflow that the user named.
func (p *Proposal) named(proj Project, o Options, all []signer) {
	for _, s := range all {
		if s.path == o.Workflow && (s.note == "" || o.Environment != "") {
			p.add(proj, o, s, s.path+" with id-token: write")
		}
	}
	if len(p.Rules) == 0 {
		s := signer{path: o.Workflow, rule: Rule{Workflow: o.Workflow}}
		p.add(proj, o, s, "--workflow "+o.Workflow)
	}
}

func (p *Proposal) add(proj Project, o Options, s signer, what string) {
	r := s.rule
	if o.Environment != "" {
		r.Environment = o.Environment
	}
	r.Artifacts = o.Artifacts
	if r.Artifacts == nil {
		r.Artifacts = artifacts(proj.Repository)
		if pattern, ok := npmPackage(proj.Package); ok && s.npm {
			r.Artifacts = []string{pattern}
			what += " and npm publish"
		}
	}
	if same := slices.IndexFunc(p.Rules, func(q Rule) bool { return q.key() == r.key() }); same >= 0 {
		for _, a := range r.Artifacts {
			if !slices.Contains(p.Rules[same].Artifacts, a) {
				p.Rules[same].Artifacts = append(p.Rules[same].Artifacts, a)
			}
		}
		return
	}
	r.Name = p.name(s.path)
	detail := ""
	if r.SignerRef != "" {
		detail = ", signed by a reusable workflow at " + r.SignerRef
	} else if r.SignerDigest != "" {
		detail = ", signed by a reusable workflow at commit " + r.SignerDigest
	}
	if r.Environment != "" {
		detail += ", environment " + r.Environment
	}
	p.found(what, "rule %s%s", r.Name, detail)
	p.Rules = append(p.Rules, r)
}

// key is what makes a rule another one, but for the artifacts.
func (r *Rule) key() string {
	return strings.Join([]string{r.Workflow, r.Caller, r.SignerRef, r.SignerDigest, r.Environment, strings.Join(r.Triggers, " "), strings.Join(r.Branches, " ")}, "\n")
}

// name returns a name for a rule, from that of its file.
func (p *Proposal) name(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".yml"), ".yaml")
	base = strings.Trim(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, base), "-._")
	if base == "" || len(base) > 60 {
		base = "release"
	}
	name := base
	for n := 2; slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Name == name }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}
