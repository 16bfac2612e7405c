// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth is how deep composite actions may use each other.
const maxDepth = 9

// metadata is the file action.yml of a composite action.
//
// Source: https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax.
type metadata struct {
	Inputs map[string]struct {
		Default  string
		Required bool
	}
	Outputs map[string]struct{ Value string }
	Runs    struct {
		Using string
		Steps []struct {
			ID, Name, If, Run, Uses, Shell string
			Dir                            string `yaml:"working-directory"`
			With, Env                      map[string]string
		}
	}
}

// composite runs an action that is written in steps: of a repository of the
// forge at a ref, or in the job's directory.
func (r *runner) composite(ctx context.Context, step Step, s scope, vars map[string]string) (map[string]any, error) {
	dir, err := r.fetch(step.Uses)
	if err != nil {
		return nil, fmt.Errorf("uses: %s: the sandbox does not have this action: %w", step.Uses, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "action.yml"))
	if err != nil {
		return nil, fmt.Errorf("uses: %s: %w", step.Uses, err)
	}
	var m metadata
	if err := yaml.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("uses: %s: %w", step.Uses, err)
	}
	if m.Runs.Using != "composite" {
		return nil, fmt.Errorf("uses: %s: the sandbox does not run %q", step.Uses, m.Runs.Using)
	}
	if r.depth++; r.depth > maxDepth {
		return nil, errors.New("composite actions are nested too deep")
	}
	defer func() { r.depth-- }()

	github := map[string]any{}
	if outer, ok := s["github"].(map[string]any); ok {
		maps.Copy(github, outer)
	}
	github["action_path"] = dir
	inner := scope{"github": github, "runner": s["runner"], "env": s["env"], "steps": map[string]any{}}
	inputs := map[string]any{}
	for name, in := range m.Inputs {
		value, given := step.With[name]
		if !given {
			if in.Required && in.Default == "" {
				return nil, fmt.Errorf("uses: %s: input %s is required", step.Uses, name)
			}
			if value, err = expand(in.Default, inner, status{}); err != nil {
				return nil, err
			}
		}
		inputs[name] = value
	}
	for name := range step.With {
		if _, ok := m.Inputs[name]; !ok { // GitHub warns; here it is a mistake
			return nil, fmt.Errorf("uses: %s: it has no input %s", step.Uses, name)
		}
	}
	inner["inputs"] = inputs
	var steps []Step
	for i, st := range m.Runs.Steps {
		if st.Run != "" && st.Shell == "" {
			return nil, fmt.Errorf("uses: %s: step %d names no shell", step.Uses, i+1)
		}
		steps = append(steps, Step{ID: st.ID, Name: st.Name, Uses: st.Uses, Run: st.Run, With: st.With, Env: st.Env, condition: st.If, shell: st.Shell, dir: st.Dir})
	}
	env := maps.Clone(vars)
	env["GITHUB_ACTION_PATH"] = dir
	st, failure := r.run(ctx, steps, inner, env)
	outputs := map[string]any{}
	for name, o := range m.Outputs {
		if outputs[name], err = expand(o.Value, inner, st); err != nil {
			return outputs, errors.Join(failure, err)
		}
	}
	return outputs, failure
}

// fetch returns the directory of an action.
func (r *runner) fetch(uses string) (string, error) {
	if local, ok := strings.CutPrefix(uses, "./"); ok {
		return filepath.Join(r.dir, local), nil
	}
	where, ref, _ := strings.Cut(uses, "@")
	parts := strings.SplitN(where, "/", 3)
	if len(parts) < 2 {
		return "", errors.New("not owner/name")
	}
	repo, err := r.j.forge.Find(parts[0] + "/" + parts[1])
	if err != nil {
		return "", err
	}
	commit, err := r.j.forge.resolve(repo.ID, ref)
	if err != nil {
		return "", fmt.Errorf("no such ref: %w", err)
	}
	dir := filepath.Join(r.base, "_actions", parts[0], parts[1], commit)
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		if _, err := git(dir, nil, "clone", "--quiet", "--no-checkout", r.j.forge.bare(repo.ID), "."); err != nil {
			return "", err
		}
		if _, err := git(dir, nil, "checkout", "--quiet", "--detach", commit); err != nil {
			return "", err
		}
		// A downloaded action is an archive, not a clone.
		if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
			return "", err
		}
	}
	if len(parts) == 3 {
		dir = filepath.Join(dir, parts[2])
	}
	return dir, nil
}
