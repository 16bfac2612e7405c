// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rhysd/actionlint"

	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// Event is something that starts workflows.
type Event struct {
	// Name is push, pull_request, repository_dispatch, schedule or
	// workflow_dispatch.
	Name       string
	Repository string // owner/name
	// Ref is the full ref that was pushed, for which a workflow is dispatched, or
	// of the branch of this repository that a pull request asks to merge. The
	// other events always run on the default branch.
	Ref string
	// Before is the commit before a push; without it every file counts as
	// changed.
	Before string
	// Action is the type of a repository_dispatch or the cron line of a schedule.
	Action   string
	Workflow string // file of a workflow_dispatch
	Inputs   map[string]string
	Payload  map[string]any // client_payload of a repository_dispatch
	Actor    string         // default: the owner
}

// Run is one workflow that an event started.
type Run struct {
	ID       int64
	Workflow string // path of the file
	Commit   string
	Jobs     []Result
	// Err is why the file is invalid; then no job ran.
	Err error
}

// Result is how a job ended.
type Result struct {
	Job     string // id; caller/callee for the job of a called workflow
	Outcome string // success, failure or skipped
	Err     error
}

// Job is a job that is being run.
type Job struct {
	ID      string
	Claims  claims.GitHub // what its tokens say
	IDToken bool          // whether it may have tokens
	// Contents is what its own token may do with the repository's content: read,
	// write or nothing. Steps find the token in github.token, as
	// sandbox-contents-read and so on; it opens nothing here.
	Contents string
	// Env is its environment: GITHUB_*, RUNNER_*, the env of workflow and job
	// and, where it may have tokens, ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN.
	Env   map[string]string
	Steps []Step
	// Outputs of the job, which later jobs read as needs.<id>.outputs; those that
	// the file declares are computed after Shell.
	Outputs map[string]string
	// Summary is what the steps wrote for people, after Shell.
	Summary string

	forge *Forge
	repo  Repository
	scope scope
	job   *actionlint.Job
}

// Step is a step of a job.
type Step struct {
	ID, Name  string
	Uses, Run string // one of both
	With, Env map[string]string

	condition string
	shell     string
	dir       string
}

// Trigger runs what an event starts, as GitHub would: the workflow files of the
// commit that the event is about, with their filters, conditions, environments
// and permissions. Each job is handed to run, one after the other; (*Job).Shell
// is one that executes the steps. It is an error if the event itself is
// impossible; what is wrong with a file or a job is in the result.
func (f *Forge) Trigger(ctx context.Context, e Event, run func(context.Context, *Job) error) ([]Run, error) {
	repo, err := f.Find(e.Repository)
	if err != nil {
		return nil, err
	}
	switch e.Name {
	case "push", "workflow_dispatch", "pull_request":
		if !strings.HasPrefix(e.Ref, "refs/heads/") && !strings.HasPrefix(e.Ref, "refs/tags/") {
			return nil, fmt.Errorf("forge: %s needs a branch or a tag, not %q", e.Name, e.Ref)
		}
	case "repository_dispatch", "schedule":
		e.Ref = "refs/heads/" + repo.DefaultBranch
	default:
		return nil, fmt.Errorf("forge: the sandbox knows no event %q", e.Name)
	}
	commit, err := f.resolve(repo.ID, e.Ref)
	if err != nil {
		return nil, fmt.Errorf("forge: %s has no %s", repo.Path, e.Ref)
	}
	files, err := f.workflows(repo.ID, commit)
	if err != nil {
		return nil, err
	}
	if e.Name == "workflow_dispatch" {
		if !slices.Contains(files, e.Workflow) {
			return nil, fmt.Errorf("forge: %s has no %s at %s", repo.Path, e.Workflow, e.Ref)
		}
		files = []string{e.Workflow}
	}
	var runs []Run
	for _, file := range files {
		r, err := f.start(ctx, repo, e, file, commit, run)
		if err != nil {
			return runs, err
		}
		if r != nil {
			runs = append(runs, *r)
		}
	}
	if e.Name == "workflow_dispatch" && len(runs) == 0 {
		return nil, fmt.Errorf("forge: %s cannot be dispatched", e.Workflow)
	}
	return runs, nil
}

// start runs one file, if the event starts it.
func (f *Forge) start(ctx context.Context, repo Repository, e Event, file, commit string, run func(context.Context, *Job) error) (*Run, error) {
	data, err := f.show(repo.ID, commit, file)
	if err != nil {
		return nil, err
	}
	r := &Run{Workflow: file, Commit: commit}
	w, err := parse(file, data)
	if err != nil { // GitHub shows a failed run for an invalid file
		r.Err = err
		return r, nil
	}
	var changed []string
	if e.Name == "push" {
		before := e.Before
		if before == "" {
			before = "4b825dc642cb6eb9a060e54bf8d69288fbee4904" // the empty tree
		}
		if changed, err = f.changed(repo.ID, before, commit); err != nil {
			return nil, err
		}
	}
	if yes, err := starts(w, e, changed); err != nil || !yes {
		r.Err = err
		if err == nil {
			r = nil
		}
		return r, nil
	}
	f.mu.Lock()
	r.ID = f.state.NextRun
	f.state.NextRun++
	err = f.save()
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	name := file
	if w.Name != nil {
		name = w.Name.Value
	}
	owner, _, _ := strings.Cut(repo.Path, "/")
	actor := e.Actor
	if actor == "" {
		actor = owner
	}
	base := claims.GitHub{
		Repository: repo.Path, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Visibility: repo.Visibility, Ref: e.Ref, SHA: commit,
		Workflow: file, WorkflowName: name, WorkflowRef: e.Ref, WorkflowSHA: commit, Event: e.Name, RunID: r.ID, Actor: actor,
	}
	if e.Name == "pull_request" {
		base.HeadRef, base.BaseRef = strings.TrimPrefix(e.Ref, "refs/heads/"), repo.DefaultBranch
		base.Ref = "refs/pull/1/merge"
		base.WorkflowRef = base.Ref
	}
	inputs := map[string]any{}
	for k, v := range e.Inputs {
		inputs[k] = v
	}
	x := &execution{forge: f, repo: repo, event: e, base: base, run: run, result: r}
	if err := x.jobs(ctx, w, level{inputs: inputs, allowed: permissionsOf(w.Permissions, nil), file: file}); err != nil {
		r.Err = err
	}
	return r, nil
}

// execution is one run while it runs.
type execution struct {
	forge  *Forge
	repo   Repository
	event  Event
	base   claims.GitHub
	run    func(context.Context, *Job) error
	result *Run
}

// level is a workflow file in a run: the one that started, or one that it calls.
type level struct {
	file    string
	prefix  string // of job ids
	inputs  map[string]any
	allowed permissions // of a job that declares none
	called  bool
	limit   permissions // of a called workflow: those of the job that calls it
	// Of a called workflow, where it is from.
	owner  Repository
	commit string
	ref    string // owner/name/file@ref, as the token says
}

func (x *execution) jobs(ctx context.Context, w *actionlint.Workflow, l level) error {
	ids, err := order(w.Jobs)
	if err != nil {
		return err
	}
	needs := map[string]any{}
	outcomes := map[string]string{}
	for _, id := range ids {
		job := w.Jobs[id]
		st := status{}
		for _, need := range job.Needs {
			st.failed = st.failed || outcomes[need.Value] != "success"
		}
		s := scope{"github": x.github(), "inputs": l.inputs, "needs": needs, "vars": map[string]any{}, "secrets": map[string]any{}, "env": map[string]any{}}
		outputs, result := x.job(ctx, w, job, l, s, st)
		outcomes[id] = result.Outcome
		values := map[string]any{}
		for k, v := range outputs {
			values[k] = v
		}
		needs[id] = map[string]any{"result": result.Outcome, "outputs": values}
		if job.WorkflowCall == nil || result.Outcome != "success" {
			x.result.Jobs = append(x.result.Jobs, result)
		}
	}
	return nil
}

// job runs one job, or the workflow that it calls.
func (x *execution) job(ctx context.Context, w *actionlint.Workflow, job *actionlint.Job, l level, s scope, st status) (map[string]string, Result) {
	r := Result{Job: l.prefix + job.ID.Value, Outcome: "failure"}
	condition := ""
	if job.If != nil {
		condition = job.If.Value
	}
	yes, err := holds(condition, s, st)
	if err != nil || !yes {
		r.Err = err
		if err == nil {
			r.Outcome = "skipped"
		}
		return nil, r
	}
	allowed := l.allowed
	if job.Permissions != nil {
		allowed = permissionsOf(job.Permissions, l.allowed)
		if l.called {
			if r.Err = within(allowed, l.limit); r.Err != nil {
				return nil, r
			}
		}
	}
	if job.WorkflowCall != nil {
		if r.Err = x.call(ctx, job, l, s, allowed); r.Err == nil {
			r.Outcome = "success"
		}
		return nil, r
	}
	j, end, err := x.prepare(w, job, l, s, allowed)
	if err != nil {
		r.Err = err
		return nil, r
	}
	defer end()
	if r.Err = x.run(ctx, j); r.Err == nil {
		r.Outcome = "success"
	}
	return j.Outputs, r
}
