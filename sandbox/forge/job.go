// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rhysd/actionlint"
)

// call runs a reusable workflow, of this repository at this commit or of
// another one at a ref.
func (x *execution) call(ctx context.Context, job *actionlint.Job, l level, s scope, allowed permissions) error {
	if l.called {
		return errors.New("the sandbox calls workflows one level deep")
	}
	uses := job.WorkflowCall.Uses.Value
	next := level{prefix: l.prefix + job.ID.Value + "/", called: true, allowed: allowed, limit: allowed, inputs: map[string]any{}}
	if local, ok := strings.CutPrefix(uses, "./"); ok {
		next.file, next.owner, next.commit = local, x.repo, x.base.SHA
		next.ref = x.repo.Path + "/" + local + "@" + x.base.Ref
	} else {
		where, ref, ok := strings.Cut(uses, "@")
		parts := strings.SplitN(where, "/", 3)
		if !ok || len(parts) < 3 {
			return fmt.Errorf("uses: %s: not owner/name/file@ref", uses)
		}
		owner, err := x.forge.Find(parts[0] + "/" + parts[1])
		if err != nil {
			return fmt.Errorf("uses: %s: %w", uses, err)
		}
		full := ref
		for _, candidate := range []string{"refs/tags/" + ref, "refs/heads/" + ref, ref} {
			if next.commit, err = x.forge.resolve(owner.ID, candidate); err == nil {
				full = candidate
				break
			}
		}
		if err != nil {
			return fmt.Errorf("uses: %s: no such ref", uses)
		}
		next.file, next.owner, next.ref = parts[2], owner, owner.Path+"/"+parts[2]+"@"+full
	}
	data, err := x.forge.show(next.owner.ID, next.commit, next.file)
	if err != nil {
		return fmt.Errorf("uses: %s: %w", uses, err)
	}
	w, err := parse(next.file, data)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(w.On, func(e actionlint.Event) bool { return e.EventName() == "workflow_call" }) {
		return fmt.Errorf("uses: %s: it has no on: workflow_call", uses)
	}
	for name, in := range job.WorkflowCall.Inputs {
		v, err := expand(in.Value.Value, s, status{})
		if err != nil {
			return err
		}
		next.inputs[name] = v
	}
	if err := defaults(w, next.inputs); err != nil {
		return fmt.Errorf("uses: %s: %w", uses, err)
	}
	if w.Permissions != nil {
		asked := permissionsOf(w.Permissions, allowed)
		if err := within(asked, allowed); err != nil {
			return err
		}
		next.allowed = asked
	}
	before := len(x.result.Jobs)
	if err := x.jobs(ctx, w, next); err != nil {
		return err
	}
	for _, r := range x.result.Jobs[before:] {
		if r.Outcome == "failure" {
			return fmt.Errorf("job %s failed", r.Job)
		}
	}
	return nil
}

// defaults fills in the inputs of a called workflow that its caller left out.
func defaults(w *actionlint.Workflow, inputs map[string]any) error {
	for _, on := range w.On {
		event, ok := on.(*actionlint.WorkflowCallEvent)
		if !ok {
			continue
		}
		declared := map[string]bool{}
		for _, in := range event.Inputs {
			declared[in.ID] = true
			if _, given := inputs[in.ID]; given {
				if in.Type == actionlint.WorkflowCallEventInputTypeBoolean {
					inputs[in.ID] = inputs[in.ID] == "true"
				}
				continue
			}
			switch {
			case in.IsRequired():
				return fmt.Errorf("input %s is required", in.ID)
			case in.Type == actionlint.WorkflowCallEventInputTypeBoolean:
				inputs[in.ID] = in.Default != nil && in.Default.Value == "true"
			case in.Default != nil:
				inputs[in.ID] = in.Default.Value
			default:
				inputs[in.ID] = ""
			}
		}
		for name := range inputs {
			if !declared[name] {
				return fmt.Errorf("it has no input %s", name)
			}
		}
	}
	return nil
}

// prepare derives the claims and the environment of a job from its file.
func (x *execution) prepare(w *actionlint.Workflow, job *actionlint.Job, l level, s scope, allowed permissions) (*Job, func(), error) {
	c := x.base
	if l.called {
		c.JobWorkflow, c.JobWorkflowAt = l.ref, l.commit
	}
	if job.Environment != nil {
		name, err := expand(job.Environment.Name.Value, s, status{})
		if err != nil {
			return nil, nil, err
		}
		c.Environment = name
	}
	if job.RunsOn != nil && slices.ContainsFunc(job.RunsOn.Labels, func(l *actionlint.String) bool { return l.Value == "self-hosted" }) {
		c.Runner = "self-hosted"
	} else {
		c.Runner = "github-hosted"
	}
	j := &Job{ID: l.prefix + job.ID.Value, Claims: c, IDToken: allowed.idToken(), Contents: allowed.contents(), Env: map[string]string{}, Outputs: map[string]string{}, forge: x.forge, repo: x.repo, scope: s, job: job}
	values := x.github()
	for k, v := range values {
		if text, ok := v.(string); ok {
			j.Env["GITHUB_"+strings.ToUpper(k)] = text
		}
	}
	values["token"] = "sandbox-contents-" + j.Contents
	s["github"] = values
	maps.Copy(j.Env, map[string]string{"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_JOB": job.ID.Value, "RUNNER_ENVIRONMENT": c.Runner, "RUNNER_OS": "Linux"})
	env := map[string]any{}
	for _, e := range []*actionlint.Env{w.Env, job.Env} {
		if e == nil {
			continue
		}
		for _, v := range e.Vars {
			text, err := expand(v.Value.Value, s, status{})
			if err != nil {
				return nil, nil, err
			}
			j.Env[v.Name.Value], env[v.Name.Value] = text, text
		}
	}
	s["env"] = env
	for _, step := range job.Steps {
		st := Step{With: map[string]string{}, Env: map[string]string{}}
		text := func(s *actionlint.String) string {
			if s == nil {
				return ""
			}
			return s.Value
		}
		st.ID, st.Name, st.condition = text(step.ID), text(step.Name), text(step.If)
		switch e := step.Exec.(type) {
		case *actionlint.ExecRun:
			st.Run, st.shell, st.dir = text(e.Run), text(e.Shell), text(e.WorkingDirectory)
		case *actionlint.ExecAction:
			st.Uses = text(e.Uses)
			for name, in := range e.Inputs {
				st.With[name] = text(in.Value)
			}
		}
		if step.Env != nil {
			for _, v := range step.Env.Vars {
				st.Env[v.Name.Value] = v.Value.Value
			}
		}
		j.Steps = append(j.Steps, st)
	}
	end := func() {}
	if j.IDToken {
		url, token, stop, err := x.forge.tokens.ActionsJob(c)
		if err != nil {
			return nil, nil, err
		}
		j.Env["ACTIONS_ID_TOKEN_REQUEST_URL"], j.Env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"], end = url, token, stop
	}
	return j, end, nil
}

// github is the context of that name.
func (x *execution) github() map[string]any {
	c := x.base
	owner, _, _ := strings.Cut(c.Repository, "/")
	kind, name := "branch", strings.TrimPrefix(c.Ref, "refs/heads/")
	if tag, ok := strings.CutPrefix(c.Ref, "refs/tags/"); ok {
		kind, name = "tag", tag
	}
	inputs := map[string]any{}
	for k, v := range x.event.Inputs {
		inputs[k] = v
	}
	event := map[string]any{
		"repository": map[string]any{"id": float64(c.RepositoryID), "full_name": c.Repository, "default_branch": x.repo.DefaultBranch},
		"action":     x.event.Action, "client_payload": x.event.Payload, "inputs": inputs, "ref": c.Ref, "before": x.event.Before, "schedule": x.event.Action,
	}
	if x.event.Payload == nil {
		event["client_payload"] = map[string]any{}
	}
	return map[string]any{
		"repository": c.Repository, "repository_id": fmt.Sprint(c.RepositoryID), "repository_owner": owner, "repository_owner_id": fmt.Sprint(c.OwnerID),
		"ref": c.Ref, "ref_name": name, "ref_type": kind, "sha": c.SHA, "event_name": c.Event, "actor": c.Actor, "triggering_actor": c.Actor,
		"workflow": c.WorkflowName, "workflow_ref": c.Repository + "/" + c.Workflow + "@" + c.WorkflowRef, "workflow_sha": c.WorkflowSHA,
		"run_id": fmt.Sprint(c.RunID), "run_number": fmt.Sprint(c.RunID), "run_attempt": "1",
		"server_url": "https://github.com", "api_url": "https://api.github.com", "event": event,
	}
}
