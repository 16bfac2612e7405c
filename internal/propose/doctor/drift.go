// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose"
	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/policy"
)

// drift compares each rule with the workflows in the clone, and these with the rules.
func (e *exam) drift() {
	repo := ci.Repository{Path: e.File.Repository.Path(), Default: e.Branch}
	e.reader = ci.Read(e.clone, repo, binding.Workflow)
	for i := range e.File.Rules {
		r := &e.File.Rules[i]
		if r.Workflow == nil {
			continue
		}
		f := Finding{Check: Drift, Subject: "rule " + r.Name, Path: fmt.Sprintf("release[%d]", i)}
		jobs, why := e.jobs(r)
		if why == "" {
			jobs, why = fitting(r.Workflow, jobs)
		}
		if why == "" {
			f.Path, f.Text = "", fmt.Sprintf("job %s of %s may sign for it", jobs[0].ID, r.Workflow.Caller)
		} else {
			f.Reason, f.Text = policy.DoctorDrift, why
			f.Do = "mend the workflow, or let a new version say what it does: repopolicy edit"
		}
		e.add(f)
	}
	e.unruled()
}

// jobs returns the jobs that the rule's triggers may start, or why there are none.
func (e *exam) jobs(r *policy.Rule) (jobs []ci.Job, why string) {
	w := r.Workflow
	if e.File.Repository.Host() == "gitlab.com" {
		p := ci.ReadPipeline(e.clone, w.Caller, ci.Repository{Path: e.File.Repository.Path(), Default: e.Branch})
		if p == nil {
			return nil, "there is no pipeline " + w.Caller
		}
		for _, ref := range e.refs(r) {
			jobs = append(jobs, p.Jobs(ci.Start{Event: "push", Ref: ref})...)
		}
		return jobs, ""
	}
	i := slices.IndexFunc(e.reader.Files, func(f *ci.Workflow) bool { return f.Path == w.Caller })
	if i < 0 {
		return nil, "there is no workflow " + w.Caller
	}
	file := e.reader.Files[i]
	shared := slices.DeleteFunc(slices.Clone(w.Triggers), func(t string) bool {
		return !slices.Contains(file.Events(), t)
	})
	if len(shared) == 0 {
		return nil, fmt.Sprintf("%s runs by %s, and the rule allows %s", w.Caller, listed(file.Events()),
			listed(w.Triggers))
	}
	started := false
	for _, event := range shared {
		for _, ref := range e.refs(r) {
			if starts(file, event, ref) {
				started = true
				reached, _ := e.reader.Jobs(file, ci.Start{Event: event, Ref: ref})
				jobs = append(jobs, reached...)
			}
		}
	}
	if !started {
		return nil, fmt.Sprintf("no ref that the rule allows starts %s, such as %s", w.Caller, e.refs(r)[0])
	}
	return jobs, ""
}

// starts reports whether a file's filters let an event for a ref start it.
func starts(w *ci.Workflow, event, ref string) bool {
	if event != "push" {
		return true
	}
	filters, ok := w.PushedTags()
	name, isTag := strings.CutPrefix(ref, "refs/tags/")
	if !isTag {
		filters, ok = w.PushedBranches()
		name = strings.TrimPrefix(ref, "refs/heads/")
	}
	return ok && ci.Matches(filters, name)
}

// maxRefs is how many refs of a clone are tried for a rule.
const maxRefs = 8

// refs returns refs for which the rule lets a workflow run: the newest tags of the clone that it
// allows, or what its patterns look like.
func (e *exam) refs(r *policy.Rule) (out []string) {
	if refs := r.Refs.Patterns(); len(refs) > 0 {
		for _, p := range refs {
			out = append(out, strings.ReplaceAll(p.String(), "*", "1"))
		}
		return out
	}
	for _, t := range slices.Backward(e.Tags) {
		if r.Tags.Match(t) && len(out) < maxRefs {
			out = append(out, "refs/tags/"+t)
		}
	}
	if r.Refs.Any() && e.Branch != "" {
		out = append(out, "refs/heads/"+e.Branch)
	}
	if len(out) > 0 {
		return out
	}
	for _, p := range r.Tags.Patterns() {
		out = append(out, "refs/tags/"+ci.Sample(p.String(), "1.0.0"))
	}
	if len(out) == 0 {
		out = []string{"refs/tags/v1.0.0", "refs/tags/1.0.0"}
	}
	return out
}

// fitting returns the jobs whose certificates a rule takes, or what stops the last that are left.
func fitting(w *policy.Workflow, jobs []ci.Job) (left []ci.Job, why string) {
	for _, step := range []struct {
		fits func(j ci.Job) bool
		why  func(rest []ci.Job) string
	}{
		{func(j ci.Job) bool { return holds(w, j) }, func([]ci.Job) string {
			return fmt.Sprintf("no job of %s is in %s", w.Caller, signer(w))
		}},
		{func(j ci.Job) bool { return j.Token }, func([]ci.Job) string {
			return fmt.Sprintf("no job of %s may have an ID token (id-token: write)", signer(w))
		}},
		{func(j ci.Job) bool { return calledAt(w, j) }, func(rest []ci.Job) string {
			return fmt.Sprintf("%s is called at %s, the rule wants %s%s", signer(w), at(rest[0]), w.SignerRef, w.SignerDigest)
		}},
		{func(j ci.Job) bool { return inEnvironment(w, j) }, func(rest []ci.Job) string {
			return fmt.Sprintf("no job that may sign is in environment %s; %s", w.Environment, environments(rest))
		}},
		{func(j ci.Job) bool { return onRunner(w, j) }, func([]ci.Job) string {
			return "no job that may sign runs on a " + w.Runner + " runner"
		}},
	} {
		left = slices.DeleteFunc(slices.Clone(jobs), func(j ci.Job) bool { return !step.fits(j) })
		if len(left) == 0 {
			return nil, step.why(jobs)
		}
		jobs = left
	}
	return jobs, ""
}

// signer names the file that signs.
func signer(w *policy.Workflow) string {
	if w.Signer.IsZero() {
		return w.Path
	}
	return w.Signer.Path() + "/" + w.Path
}

func holds(w *policy.Workflow, j ci.Job) bool {
	if w.Signer.IsZero() {
		return j.File == w.Path
	}
	return strings.EqualFold(j.Foreign.Repository, w.Signer.Path()) && j.Foreign.Path == w.Path
}

// calledAt reports whether the file of a job is called at the ref that a rule names. A tag may
// lead to the commit that the rule pins.
func calledAt(w *policy.Workflow, j ci.Job) bool {
	ref := at(j)
	switch {
	case w.SignerRef == "" && w.SignerDigest == "":
		return ref == ""
	case ref == "":
		return true // that of the run, which the rule may name
	case w.SignerDigest != "" && isCommit(ref):
		return ref == w.SignerDigest
	}
	return w.SignerRef == "" || slices.Contains([]string{ref, "refs/tags/" + ref, "refs/heads/" + ref}, w.SignerRef)
}

// at returns the ref at which the file of a job is called; "" for that of the run.
func at(j ci.Job) string {
	if j.Foreign.Ref != "" {
		return j.Foreign.Ref
	}
	return j.Pinned
}

func inEnvironment(w *policy.Workflow, j ci.Job) bool {
	return w.Environment == "" || j.Environment == w.Environment || j.Computed != "" ||
		slices.Contains(j.May, w.Environment)
}

func onRunner(w *policy.Workflow, j ci.Job) bool {
	return w.Runner == "any" || j.Foreign.Ref != "" || j.SelfHosted == (w.Runner == "self-hosted")
}

// environments says in which environments jobs are.
func environments(jobs []ci.Job) string {
	var out []string
	for _, j := range jobs {
		if j.Environment != "" && !slices.Contains(out, j.Environment) {
			out = append(out, j.Environment)
		}
	}
	if len(out) == 0 {
		return "they are in none"
	}
	return "they are in " + listed(out)
}

func listed(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// unruled looks for jobs that publish and that no rule allows: their next release is denied.
func (e *exam) unruled() {
	p := propose.From(propose.Project{
		Repository: e.File.Repository, Default: e.Branch, Tags: e.Tags, Files: e.Files,
	}, propose.Options{})
	for _, r := range p.Rules {
		caller := r.Caller
		if caller == "" {
			caller = r.Workflow
		}
		if slices.ContainsFunc(e.File.Rules, func(have policy.Rule) bool { return covers(have.Workflow, &r, caller) }) {
			continue
		}
		in := ""
		if r.Environment != "" {
			in = " in environment " + r.Environment
		}
		e.wrong(Drift, caller, policy.DoctorDrift,
			"add a rule for it with `repopolicy edit`, or take id-token: write from the job",
			"a job%s publishes, and no rule allows it", in)
	}
}

// covers reports whether a rule is about the job for which another one was proposed.
func covers(w *policy.Workflow, r *propose.Rule, caller string) bool {
	if w == nil || w.Caller != caller || w.Environment != "" && w.Environment != r.Environment {
		return false
	}
	path := r.Workflow
	if !w.Signer.IsZero() {
		return path == w.Signer.String()+"/"+w.Path
	}
	return path == w.Path
}
