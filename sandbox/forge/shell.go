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
// GitHub does, actions/checkout by a clone, and other actions by the function
// that actions has for them, by owner/name. Output of the steps goes to w. The
// step's environment is the job's, PATH of this process, and env.
func (j *Job) Shell(ctx context.Context, w io.Writer, env map[string]string, actions map[string]func(ctx context.Context, dir string, s Step) error) (err error) {
	base, err := os.MkdirTemp("", "sandbox-job-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	dir := filepath.Join(base, "work")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	event, err := json.Marshal(property(j.scope["github"], "event"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, "event.json"), event, 0o600); err != nil {
		return err
	}
	vars := map[string]string{"PATH": os.Getenv("PATH"), "HOME": base, "GITHUB_WORKSPACE": dir, "GITHUB_EVENT_PATH": filepath.Join(base, "event.json"), "RUNNER_TEMP": base}
	maps.Copy(vars, j.Env)
	maps.Copy(vars, env)
	steps := map[string]any{}
	s := scope{"steps": steps}
	maps.Copy(s, j.scope)
	var st status
	var failure error
	for i, step := range j.Steps {
		yes, err := holds(step.condition, s, st)
		if err == nil && yes {
			err = j.step(ctx, w, base, dir, step, vars, s, st, steps, actions)
		}
		if err != nil {
			name := step.Name
			if name == "" {
				name = fmt.Sprintf("step %d", i+1)
			}
			failure, st.failed = errors.Join(failure, fmt.Errorf("%s: %w", name, err)), true
		}
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

func (j *Job) step(ctx context.Context, w io.Writer, base, dir string, step Step, vars map[string]string, s scope, st status, steps map[string]any,
	actions map[string]func(context.Context, string, Step) error,
) error {
	all := maps.Clone(vars)
	for k, v := range step.Env {
		text, err := expand(v, s, st)
		if err != nil {
			return err
		}
		all[k] = text
	}
	if step.Uses != "" {
		return j.action(ctx, dir, step, s, st, actions)
	}
	script, err := expand(step.Run, s, st)
	if err != nil {
		return err
	}
	if step.shell != "" && step.shell != "bash" && step.shell != "sh" {
		return fmt.Errorf("shell: %s: the sandbox has bash and sh", step.shell)
	}
	output := filepath.Join(base, "output")
	file := filepath.Join(base, "step.sh")
	if err := errors.Join(os.WriteFile(output, nil, 0o600), os.WriteFile(file, []byte(script), 0o600)); err != nil {
		return err
	}
	all["GITHUB_OUTPUT"], all["GITHUB_STEP_SUMMARY"] = output, filepath.Join(base, "summary")
	// As GitHub: pipefail only where bash is asked for.
	args := []string{"bash", "-e", file}
	switch step.shell {
	case "bash":
		args = []string{"bash", "--noprofile", "--norc", "-eo", "pipefail", file}
	case "sh":
		args = []string{"sh", "-e", file}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(dir, step.dir), w, w
	for k, v := range all {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if err := cmd.Run(); err != nil {
		return err
	}
	values, err := readOutput(output)
	if step.ID != "" {
		steps[step.ID] = map[string]any{"outputs": values, "outcome": "success", "conclusion": "success"}
	}
	return err
}

func (j *Job) action(ctx context.Context, dir string, step Step, s scope, st status, actions map[string]func(context.Context, string, Step) error) error {
	name, _, pinned := strings.Cut(step.Uses, "@")
	if !pinned && !strings.HasPrefix(step.Uses, "./") {
		return fmt.Errorf("uses: %s: without a version", step.Uses)
	}
	with := map[string]string{}
	for k, v := range step.With {
		text, err := expand(v, s, st)
		if err != nil {
			return err
		}
		with[k] = text
	}
	step.With = with
	if do, ok := actions[name]; ok {
		return do(ctx, dir, step)
	}
	if name != "actions/checkout" {
		return fmt.Errorf("uses: %s: the sandbox does not have this action", step.Uses)
	}
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
