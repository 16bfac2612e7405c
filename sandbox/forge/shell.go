// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Shell runs a job's steps in an empty directory: those with run in bash, as
// GitHub does, actions/checkout by a clone, other actions by the function that
// actions has for them, by owner/name, and what is left as the composite action
// that a repository of the forge or the job's directory has. Output of the steps
// goes to w. The step's environment is the job's, PATH of this process, and env.
func (j *Job) Shell(ctx context.Context, w io.Writer, env map[string]string, actions map[string]func(ctx context.Context, dir string, s Step) error) (err error) {
	base, err := os.MkdirTemp("", "sandbox-job-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	r := &runner{j: j, w: w, base: base, dir: filepath.Join(base, "work"), actions: actions}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return err
	}
	event, err := json.Marshal(property(j.scope["github"], "event"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, "event.json"), event, 0o600); err != nil {
		return err
	}
	r.vars = map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": base, "GITHUB_WORKSPACE": r.dir, "GITHUB_EVENT_PATH": filepath.Join(base, "event.json"), "RUNNER_TEMP": base,
		"GITHUB_STEP_SUMMARY": filepath.Join(base, "summary"),
	}
	maps.Copy(r.vars, j.Env)
	maps.Copy(r.vars, env)
	s := scope{"steps": map[string]any{}, "runner": map[string]any{"temp": base, "os": "Linux", "arch": "X64", "environment": j.Claims.Runner}}
	maps.Copy(s, j.scope)
	st, failure := r.run(ctx, j.Steps, s, r.vars)
	if summary, err := os.ReadFile(filepath.Join(base, "summary")); err == nil {
		j.Summary = string(summary)
	}
	for name, o := range j.job.Outputs {
		v, err := expand(o.Value.Value, s, st)
		if err != nil {
			return errors.Join(failure, err)
		}
		j.Outputs[name] = v
	}
	return failure
}

// runner runs the steps of a job.
type runner struct {
	j         *Job
	w         io.Writer
	base, dir string
	vars      map[string]string
	actions   map[string]func(context.Context, string, Step) error
	depth     int // of composite actions
}

// run runs steps with the environment vars. What they put out is in s["steps"].
func (r *runner) run(ctx context.Context, steps []Step, s scope, vars map[string]string) (status, error) {
	var st status
	var failure error
	for i, step := range steps {
		yes, err := holds(step.condition, s, st)
		if err == nil && yes {
			err = r.step(ctx, step, s, st, vars)
		}
		if err != nil {
			name := step.Name
			if name == "" {
				name = fmt.Sprintf("step %d", i+1)
			}
			failure, st.failed = errors.Join(failure, fmt.Errorf("%s: %w", name, err)), true
		}
	}
	return st, failure
}

func (r *runner) step(ctx context.Context, step Step, s scope, st status, vars map[string]string) error {
	all := maps.Clone(vars)
	for k, v := range step.Env {
		text, err := expand(v, s, st)
		if err != nil {
			return err
		}
		all[k] = text
	}
	if step.Uses != "" {
		values, err := r.action(ctx, step, s, st, all)
		if step.ID != "" {
			s["steps"].(map[string]any)[step.ID] = map[string]any{"outputs": values}
		}
		return err
	}
	script, err := expand(step.Run, s, st)
	if err != nil {
		return err
	}
	shell, err := expand(step.shell, s, st)
	if err != nil {
		return err
	}
	dir, err := expand(step.dir, s, st)
	if err != nil {
		return err
	}
	output, file := filepath.Join(r.base, "output"), filepath.Join(r.base, "step.sh")
	if err := errors.Join(os.WriteFile(output, nil, 0o600), os.WriteFile(file, []byte(script), 0o600)); err != nil {
		return err
	}
	all["GITHUB_OUTPUT"] = output
	// As GitHub: pipefail only where bash is asked for.
	args := []string{"bash", "-e", file}
	switch shell {
	case "":
	case "bash":
		args = []string{"bash", "--noprofile", "--norc", "-eo", "pipefail", file}
	case "sh":
		args = []string{"sh", "-e", file}
	default:
		return fmt.Errorf("shell: %s: the sandbox has bash and sh", shell)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(r.dir, dir), r.w, r.w
	for k, v := range all {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	failed := cmd.Run()
	values, err := readOutput(output)
	if step.ID != "" { // also of a step that failed
		s["steps"].(map[string]any)[step.ID] = map[string]any{"outputs": values}
	}
	return errors.Join(failed, err)
}

// action runs the action that a step uses and returns its outputs.
func (r *runner) action(ctx context.Context, step Step, s scope, st status, vars map[string]string) (map[string]any, error) {
	name, _, pinned := strings.Cut(step.Uses, "@")
	if !pinned && !strings.HasPrefix(step.Uses, "./") {
		return nil, fmt.Errorf("uses: %s: without a version", step.Uses)
	}
	with := map[string]string{}
	for k, v := range step.With {
		text, err := expand(v, s, st)
		if err != nil {
			return nil, err
		}
		with[k] = text
	}
	step.With = with
	switch do := r.actions[name]; {
	case do != nil:
		return nil, do(ctx, r.dir, step)
	case name == "actions/checkout":
		return nil, r.j.checkout(r.dir, with)
	}
	return r.composite(ctx, step, s, vars)
}

// checkout clones a repository of the forge, as actions/checkout.
func (j *Job) checkout(dir string, with map[string]string) error {
	repo, at := j.repo, j.Claims.SHA
	if other := with["repository"]; other != "" {
		var err error
		if repo, err = j.forge.Find(other); err != nil {
			return err
		}
		at = "HEAD"
	}
	if ref := with["ref"]; ref != "" {
		at = ref
	}
	target := filepath.Join(dir, with["path"])
	if _, err := git(target, nil, "clone", "--quiet", "--no-checkout", j.forge.bare(repo.ID), "."); err != nil {
		return err
	}
	if _, err := git(target, nil, "remote", "set-url", "origin", j.forge.CloneURL(repo.Path)); err != nil {
		return err
	}
	if _, err := git(target, nil, "checkout", "--quiet", "--detach", at); err != nil {
		if _, err = git(target, nil, "checkout", "--quiet", "--detach", "origin/"+strings.TrimPrefix(at, "refs/heads/")); err != nil {
			return err
		}
	}
	// As the action: one ref unless the depth is 0, and no credentials to push
	// with but those of the job, if it keeps them.
	if with["fetch-depth"] != "0" {
		if err := onlyRef(target, repo.DefaultBranch); err != nil {
			return err
		}
	}
	if j.Contents != "write" || with["persist-credentials"] == "false" {
		_, err := git(target, nil, "remote", "set-url", "--push", "origin", "file:///nothing-to-push-with")
		return err
	}
	return nil
}

// onlyRef removes the remote branches but one from a clone.
func onlyRef(dir, branch string) error {
	refs, err := git(dir, nil, "for-each-ref", "--format=%(refname)", "refs/remotes/origin")
	if err != nil {
		return err
	}
	for _, ref := range strings.Fields(refs) {
		if name := strings.TrimPrefix(ref, "refs/remotes/origin/"); name != branch && name != "HEAD" {
			if _, err := git(dir, nil, "update-ref", "-d", ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// readOutput reads a GITHUB_OUTPUT file: name=value lines, and name<<DELIMITER
// for values of several lines.
func readOutput(file string) (map[string]any, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		name, value, plain := strings.Cut(lines[i], "=")
		if before, delimiter, ok := strings.Cut(lines[i], "<<"); ok && (!plain || len(before) < len(name)) {
			name = before
			var text []string
			for i++; i < len(lines) && lines[i] != delimiter; i++ {
				text = append(text, lines[i])
			}
			if i == len(lines) {
				return nil, fmt.Errorf("GITHUB_OUTPUT: no line %q ends %s", delimiter, name)
			}
			value, plain = strings.Join(text, "\n"), true
		}
		if plain {
			values[name] = value
		} else if lines[i] != "" {
			return nil, fmt.Errorf("GITHUB_OUTPUT: %q is not name=value", lines[i])
		}
	}
	return values, nil
}
