// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"slices"
	"strings"
)

// scope returns what expressions of a job may ask for. Bound are the inputs of a composite
// action, which hide those of the workflow.
func (f *frame) scope(j *job, env map[string]string, bound map[string]value) scope {
	depth := 0
	var look scope
	look = func(path []string) value {
		if len(path) < 2 {
			return unknown
		}
		key := strings.ToLower(path[1])
		switch strings.ToLower(path[0]) {
		case "github":
			return f.github(path)
		case "inputs":
			return f.input(key, bound)
		case "steps", "needs":
			return f.output(j, path)
		case "matrix":
			return value{may: fillAll(j.matrix[strings.Join(path[1:], ".")], look, &depth)}
		case "env":
			text, ok := env[path[1]]
			if !ok {
				text, ok = f.file.env[path[1]]
			}
			if depth++; !ok || depth > maxDepth {
				depth--
				return unknown
			}
			defer func() { depth-- }()
			if some := strings.Split(text, alternative); len(some) > 1 {
				return value{may: fillAll(some, look, &depth)}
			}
			return valueOf(text, look)
		}
		return unknown
	}
	return look
}

// output is what a step of the job, or a job that it needs, is seen to write.
func (f *frame) output(j *job, path []string) value {
	if len(path) != 4 || path[2] != "outputs" || f.deciding {
		return unknown
	}
	if path[0] == "needs" {
		return f.needed(path[1], path[3])
	}
	return value{may: f.written[outputKey(j.id, path[1], path[3])]}
}

// fillAll fills in the values of a dimension of a matrix.
func fillAll(texts []string, look scope, depth *int) (out []string) {
	if *depth++; *depth > maxDepth {
		return nil
	}
	defer func() { *depth-- }()
	for _, t := range texts {
		out = append(out, fill(t, look)...)
	}
	return out
}

func (f *frame) input(name string, bound map[string]value) value {
	if bound != nil {
		if v, ok := bound[name]; ok {
			return v
		}
		return known(nil)
	}
	if v, ok := f.inputs[name]; ok {
		return v
	}
	return known(nil)
}

// github is the context of that name.
func (f *frame) github(path []string) value {
	short := strings.TrimPrefix(strings.TrimPrefix(f.start.Ref, "refs/heads/"), "refs/tags/")
	owner, _, _ := strings.Cut(f.repo.Path, "/")
	switch strings.ToLower(path[1]) {
	case "event_name":
		return known(f.start.Event)
	case "ref":
		return f.named(f.start.Ref)
	case "ref_name":
		return f.named(short)
	case "ref_type":
		if f.start.Tag() != "" {
			return known("tag")
		}
		return known("branch")
	case "repository":
		return known(f.repo.Path)
	case "repository_owner":
		return known(owner)
	case "server_url":
		return known("https://github.com")
	case "head_ref", "base_ref":
		if !strings.HasPrefix(f.start.Event, "pull_request") {
			return known("")
		}
	case "event":
		return f.payload(path[2:], short)
	}
	return unknown
}

// named returns the name of the run's ref. Whoever asks for it outside of a step's text may do
// something else for another tag.
func (f *frame) named(ref string) value {
	if f.start.Tag() == "" {
		return known(ref)
	}
	f.asked = f.asked || !f.inText
	return ofTag(known(ref))
}

// payload is what an event says of itself.
func (f *frame) payload(path []string, short string) value {
	if len(path) == 0 {
		return unknown
	}
	switch name := strings.ToLower(strings.Join(path, ".")); {
	case path[0] == "inputs" && len(path) == 2:
		return f.input(strings.ToLower(path[1]), nil)
	case name == "repository.default_branch":
		return known(f.repo.Default)
	case name == "repository.full_name":
		return known(f.repo.Path)
	case name == "repository.fork":
		return known(false)
	case name == "action":
		return f.activity()
	case name == "release.tag_name" && f.start.Event == "release":
		return f.named(short)
	case name == "release.draft":
		return known(false)
	case name == "ref" && f.start.Event == "push":
		return f.named(f.start.Ref)
	case foreignTo(path[0], f.start.Event):
		return known(nil)
	}
	return unknown
}

// activity is what happened to what the event is about: one of the types that the file waits for.
func (f *frame) activity() value {
	if slices.Contains([]string{"push", "workflow_dispatch", "schedule", "create"}, f.start.Event) {
		return known(nil)
	}
	started := f.Reader.file(f.caller)
	if started == nil {
		return unknown
	}
	switch types, _ := started.filters(f.start.Event, "types"); len(types) {
	case 0:
		return unknown
	case 1:
		return known(types[0])
	default:
		return value{may: types}
	}
}

// foreignTo reports whether only other events have this part of the payload.
func foreignTo(part, event string) bool {
	of := map[string][]string{
		"pull_request": {"pull_request", "pull_request_target", "pull_request_review"}, "release": {"release"},
		"inputs": {"workflow_dispatch"}, "issue": {"issues", "issue_comment"}, "workflow_run": {"workflow_run"},
		"client_payload": {"repository_dispatch"}, "schedule": {"schedule"}, "head_commit": {"push"}, "commits": {"push"},
	}[part]
	return of != nil && !slices.Contains(of, event)
}
