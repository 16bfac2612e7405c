// SPDX-License-Identifier: Apache-2.0

package export

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// githubRule records a rule for the script that github writes for the whole policy.
func (e *exporter) githubRule() {
	switch {
	case e.file.Repository.Host() != "github.com":
		e.leave("repository", "", "github has settings of repositories on github.com only")
	case e.rule.Workflow == nil:
		e.leave(e.at, "", "github has no setting for who signs without a workflow")
	}
}

// github writes a script that adds to the settings of a repository what the policy leans on. It
// takes nothing away: rulesets are added to those that are there, and an environment is made only
// where the list of them shows that there is none, because its PUT would replace one.
func (e *exporter) github() {
	repo := e.file.Repository.Path()
	e.out.WriteString("set -eu\n")
	fmt.Fprintf(&e.out, "test \"$(date -u +%%s)\" -lt %d\n", e.file.Expires.Unix())
	if tags := e.tagRefs(""); len(tags) > 0 {
		e.comment("nobody moves or deletes the tag of a release")
		fmt.Fprintf(&e.out, "rulesets=$(gh api --paginate %s --jq '.[].name')\n", quote("repos/"+repo+"/rulesets"))
		const name = "release tags (repopolicy)"
		fmt.Fprintf(&e.out, "if printf '%%s\\n' \"$rulesets\" | grep -Fxq -- %s; then\n", quote(name))
		fmt.Fprintf(&e.out, "  echo %s\nelse\n", quote("ruleset "+name+": is there, and stays as it is"))
		fmt.Fprintf(&e.out, "  echo %s | gh api --silent -X POST %s --input -\nfi\n", quote(document(map[string]any{
			"name": name, "target": "tag", "enforcement": "active",
			"conditions": map[string]any{"ref_name": map[string]any{"include": tags, "exclude": []string{}}},
			"rules":      []map[string]string{{"type": "deletion"}, {"type": "update"}},
		})), quote("repos/"+repo+"/rulesets"))
	}
	for i, env := range e.environments() {
		if i == 0 {
			fmt.Fprintf(&e.out, "environments=$(gh api --paginate %s --jq '.environments[].name')\n",
				quote("repos/"+repo+"/environments"))
		}
		e.environment(repo, env)
	}
}

// environment writes what makes an environment, unless there is one of that name.
func (e *exporter) environment(repo, env string) {
	at := "repos/" + repo + "/environments/" + url.PathEscape(env)
	page := e.file.Repository.String() + "/settings/environments"
	e.comment("only some refs deploy to environment %s", env)
	fmt.Fprintf(&e.out, "if printf '%%s\\n' \"$environments\" | grep -Fixq -- %s; then\n", quote(env))
	fmt.Fprintf(
		&e.out,
		"  echo %s\nelse\n",
		quote("environment "+env+": is there, and stays as it is; look at it: "+page),
	)
	fmt.Fprintf(&e.out, "  echo %s | gh api --silent -X PUT %s --input -\n", quote(document(map[string]any{
		"deployment_branch_policy": map[string]bool{"protected_branches": false, "custom_branch_policies": true},
	})), quote(at))
	post := func(ref, prefix, kind string) {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			fmt.Fprintf(
				&e.out,
				"  gh api --silent -X POST %s -f %s -f type=%s\n",
				quote(at+"/deployment-branch-policies"),
				quote("name="+name),
				kind,
			)
		}
	}
	for _, ref := range e.tagRefs(env) {
		post(ref, "refs/tags/", "tag")
	}
	for _, ref := range e.branchRefs(env) {
		post(ref, "refs/heads/", "branch")
	}
	fmt.Fprintf(&e.out, "  echo %s\nfi\n", quote("environment "+env+": made; add required reviewers: "+page))
}

// document returns a value as JSON.
func document(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "" // texts and truths always are
	}
	return string(data)
}

// chosen reports whether a rule is exported, and in an environment if one is named.
func (e *exporter) chosen(i int, env string) bool {
	r := &e.file.Rules[i]
	return r.Workflow != nil && (e.Rule == "" || r.Name == e.Rule) && (env == "" || r.Workflow.Environment == env)
}

func (e *exporter) environments() (out []string) {
	for i := range e.file.Rules {
		if env := e.envOf(i); env != "" && !slices.Contains(out, env) {
			out = append(out, env)
		}
	}
	return out
}

func (e *exporter) envOf(i int) string {
	if !e.chosen(i, "") {
		return ""
	}
	return e.file.Rules[i].Workflow.Environment
}

// tagRefs returns the tags for which rules let workflows run, as the forge writes patterns.
func (e *exporter) tagRefs(env string) (out []string) {
	for i := range e.file.Rules {
		r := &e.file.Rules[i]
		if !e.chosen(i, env) || len(r.Refs.Patterns()) > 0 {
			continue
		}
		var patterns []string
		for _, p := range r.Tags.Patterns() {
			patterns = append(patterns, p.String())
		}
		if r.Tags.Semver() {
			patterns = []string{"*.*.*"}
		}
		for _, p := range patterns {
			if p = "refs/tags/" + p; !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// branchRefs returns the refs that rules in an environment name.
func (e *exporter) branchRefs(env string) (out []string) {
	for i := range e.file.Rules {
		if !e.chosen(i, env) {
			continue
		}
		for _, p := range e.file.Rules[i].Refs.Patterns() {
			if !slices.Contains(out, p.String()) {
				out = append(out, p.String())
			}
		}
	}
	return out
}
