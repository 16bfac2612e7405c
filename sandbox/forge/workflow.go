// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rhysd/actionlint"
)

// parse reads a workflow file. The error lists every place where GitHub would
// call the file invalid.
func parse(path string, data []byte) (*actionlint.Workflow, error) {
	w, problems := actionlint.Parse(data)
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", path, p.Line, p.Column, p.Message))
	}
	if w != nil {
		for id, job := range w.Jobs {
			if job.Strategy != nil {
				errs = append(errs, fmt.Errorf("%s: job %s: the sandbox runs no matrix", path, id))
			}
			for _, need := range job.Needs {
				if w.Jobs[need.Value] == nil {
					errs = append(errs, fmt.Errorf("%s: job %s needs %s, which is no job", path, id, need.Value))
				}
			}
		}
	}
	return w, errors.Join(errs...)
}

// starts says whether an event starts a workflow. Changed are the files of a
// push to a branch.
func starts(w *actionlint.Workflow, e Event, changed []string) (bool, error) {
	for _, on := range w.On {
		if on.EventName() != e.Name {
			continue
		}
		switch on := on.(type) {
		case *actionlint.WebhookEvent:
			switch e.Name {
			case "push":
				return pushed(on, e.Ref, changed)
			case "pull_request":
				return true, nil
			}
		case *actionlint.RepositoryDispatchEvent:
			return len(on.Types) == 0 || slices.ContainsFunc(on.Types, func(t *actionlint.String) bool { return t.Value == e.Action }), nil
		case *actionlint.ScheduledEvent:
			return e.Action == "" || slices.ContainsFunc(on.Schedules, func(s *actionlint.ScheduleEntry) bool { return s.Cron.Value == e.Action }), nil
		case *actionlint.WorkflowDispatchEvent:
			return true, nil
		}
	}
	return false, nil
}

// pushed applies the filters of on.push. With a filter of branches only, tags
// start nothing, and the other way round.
func pushed(on *actionlint.WebhookEvent, ref string, changed []string) (bool, error) {
	set := func(f *actionlint.WebhookEventFilter) bool { return f != nil && !f.IsEmpty() }
	yes, no, other := on.Branches, on.BranchesIgnore, set(on.Tags) || set(on.TagsIgnore)
	name, branch := strings.CutPrefix(ref, "refs/heads/")
	if !branch {
		yes, no, other = on.Tags, on.TagsIgnore, set(on.Branches) || set(on.BranchesIgnore)
		name = strings.TrimPrefix(ref, "refs/tags/")
	}
	switch {
	case set(yes):
		if ok, err := filter(yes, name); !ok || err != nil {
			return false, err
		}
	case set(no):
		if hit, err := filter(no, name); hit || err != nil {
			return false, err
		}
	case other:
		return false, nil
	}
	if !branch || !set(on.Paths) && !set(on.PathsIgnore) {
		return true, nil
	}
	for _, file := range changed {
		f, want := on.Paths, true
		if !set(f) {
			f, want = on.PathsIgnore, false
		}
		if hit, err := filter(f, file); err != nil || hit == want {
			return err == nil, err
		}
	}
	return false, nil
}

// filter says whether the last pattern that matches a name is a positive one.
func filter(f *actionlint.WebhookEventFilter, name string) (bool, error) {
	hit := false
	for _, v := range f.Values {
		pattern, negative := strings.CutPrefix(v.Value, "!")
		if strings.ContainsAny(pattern, "?+[]\\") {
			return false, fmt.Errorf("pattern %q: the sandbox knows * and ** only", v.Value)
		}
		if match(pattern, name) {
			hit = !negative
		}
	}
	return hit, nil
}

// match matches * to anything but a slash and ** to anything.
func match(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if rest, ok := strings.CutPrefix(pattern, "**"); ok {
		rest, slash := strings.CutPrefix(rest, "/")
		if slash && match(rest, name) { // **/ also matches nothing
			return true
		}
		if slash {
			rest = "/" + rest
		}
		for i := range len(name) + 1 {
			if match(rest, name[i:]) {
				return true
			}
		}
		return false
	}
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		for i := range len(name) + 1 {
			if match(rest, name[i:]) {
				return true
			}
			if i < len(name) && name[i] == '/' {
				return false
			}
		}
		return false
	}
	return name != "" && pattern[0] == name[0] && match(pattern[1:], name[1:])
}

// permissions are a job's token permissions by scope. Nil is GitHub's default
// for new repositories, which reads the content and writes nothing.
type permissions map[string]string

func (p permissions) idToken() bool { return p["id-token"] == "write" }

func (p permissions) contents() string {
	if p == nil {
		return "read"
	}
	return p["contents"]
}

// permissionsOf returns what a file or a job declares; what it does not name it
// does not have. Without a declaration the outer permissions hold.
func permissionsOf(declared *actionlint.Permissions, outer permissions) permissions {
	if declared == nil {
		return outer
	}
	p := permissions{}
	if declared.All != nil {
		switch declared.All.Value {
		case "write-all":
			p["id-token"], p["contents"] = "write", "write"
		case "read-all":
			p["contents"] = "read"
		}
	}
	for name, s := range declared.Scopes {
		p[name] = s.Value.Value
	}
	return p
}

// within is the rule for called workflows: they can give up permissions of their
// caller, and are invalid if they ask for more.
func within(asked, allowed permissions) error {
	rank := map[string]int{"": 0, "none": 0, "read": 1, "write": 2}
	for _, scope := range []string{"id-token", "contents"} {
		if rank[asked[scope]] > rank[allowed[scope]] {
			return fmt.Errorf("the called workflow asks for %s: %s, the caller allows %q", scope, asked[scope], allowed[scope])
		}
	}
	return nil
}

// order returns the jobs so that each comes after those it needs.
func order(jobs map[string]*actionlint.Job) ([]string, error) {
	var out []string
	state := map[string]int{} // 1: being visited, 2: done
	var visit func(id string) error
	visit = func(id string) error {
		switch state[id] {
		case 1:
			return fmt.Errorf("job %s needs itself", id)
		case 2:
			return nil
		}
		state[id] = 1
		for _, need := range jobs[id].Needs {
			if err := visit(need.Value); err != nil {
				return err
			}
		}
		state[id] = 2
		out = append(out, id)
		return nil
	}
	ids := make([]string, 0, len(jobs))
	for id := range jobs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := visit(id); err != nil {
			return nil, err
		}
	}
	return out, nil
}
