// SPDX-License-Identifier: Apache-2.0

// Package settings says which settings of a forge a policy leans on. Of what it proposes to run
// nothing replaces or removes a setting: rulesets only add to those that are there. Policy in,
// text out.
package settings

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// Advice is one thing to do or to look at, and what it is good for.
type Advice struct {
	Protects string
	Command  string // that only adds; "" if there is something to look at
	Look     string // what, and where
}

// For returns what a policy leans on; branch is the default one.
func For(f *policy.File, branch string) []Advice {
	switch f.Repository.Host() {
	case "github.com":
		return github(f, branch)
	case "gitlab.com":
		return gitlab(f)
	}
	return nil
}

func github(f *policy.File, branch string) (out []Advice) {
	repo := f.Repository.Path()
	if patterns := tagPatterns(f); patterns != nil {
		out = append(out, Tags(f.Repository, patterns))
	}
	out = append(out, History(f.Repository, branch, []string{"deletion", "non_fast_forward"}), Advice{
		Protects: "a change of the policy or of a workflow that releases is read by a second person",
		Look: fmt.Sprintf(
			"whether %s demands reviews for .repopolicy and .github/workflows: https://github.com/%s/settings/rules",
			branch,
			repo,
		),
	})
	for _, env := range environments(f) {
		out = append(out, Advice{
			Protects: "nobody alone releases from environment " + env,
			Look: fmt.Sprintf(
				"its reviewers, and that it takes deployments from %s and from nothing else: "+
					"https://github.com/%s/settings/environments",
				sources(f, env),
				repo,
			),
		})
	}
	return append(out, Advice{
		Protects: "the workflow repopolicy.yml can bind",
		Look: "that workflow execution protections, if they are on, let it run by repository_dispatch and schedule: " +
			"https://github.com/" + repo + "/settings/actions",
	})
}

// Names of the rulesets that are proposed.
const (
	TagRuleset    = "release tags (repopolicy)"
	BranchRuleset = "default branch (repopolicy)"
)

// History keeps the history of a branch by the rules of a ruleset that it lacks.
func History(l policy.Locator, branch string, rules []string) Advice {
	return Advice{
		Protects: "the history of " + branch + " is not rewritten: releases of its commits can be told from others",
		Command:  add(l.Path(), ruleset{BranchRuleset, "branch", []string{"refs/heads/" + branch}, rules}),
	}
}

// Tags keeps tags of releases, as refs, where they are. Patterns without a dot may match a tag that
// the project moves, such as v1: that is left to who knows.
func Tags(l policy.Locator, patterns []string) Advice {
	repo := l.Path()
	a := Advice{Protects: "a tag that was released stays what it is: nobody moves or deletes it"}
	if slices.ContainsFunc(patterns, func(p string) bool { return !strings.Contains(p, ".") }) {
		a.Look = fmt.Sprintf(
			"whether a ruleset keeps tags %s from being moved or deleted: https://github.com/%s/settings/rules",
			plain(patterns),
			repo,
		)
		return a
	}
	a.Command = add(repo, ruleset{TagRuleset, "tag", patterns, []string{"deletion", "update"}})
	return a
}

// plain lists tags as people write them.
func plain(patterns []string) string {
	return strings.ReplaceAll(strings.Join(patterns, ", "), "refs/tags/", "")
}

type ruleset struct {
	name, target string
	include      []string
	rules        []string
}

// add returns the call that adds a ruleset. It can be run with a ruleset of the name there: the
// forge then refuses it.
//
// https://docs.github.com/rest/repos/rules#create-a-repository-ruleset
func add(repo string, r ruleset) string {
	type rule struct {
		Type string `json:"type"`
	}
	var body struct {
		Name        string `json:"name"`
		Target      string `json:"target"`
		Enforcement string `json:"enforcement"`
		Conditions  struct {
			Ref struct {
				Include []string `json:"include"`
				Exclude []string `json:"exclude"`
			} `json:"ref_name"`
		} `json:"conditions"`
		Rules []rule `json:"rules"`
	}
	body.Name, body.Target, body.Enforcement = r.name, r.target, "active"
	body.Conditions.Ref.Include, body.Conditions.Ref.Exclude = r.include, []string{}
	for _, t := range r.rules {
		body.Rules = append(body.Rules, rule{t})
	}
	data, err := json.Marshal(body)
	if err != nil {
		return "" // texts always are
	}
	return fmt.Sprintf(
		"printf %%s %s | gh api -X POST repos/%s/rulesets --input -", spelling.ShellWord(string(data)), repo,
	)
}

// Environment returns a command that makes an environment which takes deployments from the refs for
// which its rules let jobs run. It looks first that there is none: a PUT would replace it. "" if
// rules take every ref. An environment's name is ASCII in a policy, so that jq tells capitals, too.
//
// https://docs.github.com/rest/deployments/environments#create-or-update-an-environment
func Environment(f *policy.File, env string) string {
	refs := Refs(f, env)
	at := "repos/" + f.Repository.Path() + "/environments"
	name, err := json.Marshal(strings.ToLower(env))
	if refs == nil || err != nil {
		return ""
	}
	none := ".total_count <= 100 and ([.environments[].name | ascii_downcase] | index(" + string(name) + ") | not)"
	out := fmt.Sprintf(
		`test "$(gh api %s --jq %s)" = true && printf %%s %s | gh api -X PUT %s --input -`,
		spelling.ShellWord(at+"?per_page=100"), spelling.ShellWord(none), spelling.ShellWord(
			`{"deployment_branch_policy":{"protected_branches":false,"custom_branch_policies":true}}`,
		), spelling.ShellWord(at+"/"+url.PathEscape(env)),
	)
	for _, ref := range refs {
		out += " && " + Source(f.Repository, env, ref)
	}
	return out
}

// Source returns a command that lets an environment take deployments from a ref, too.
//
// https://docs.github.com/rest/deployments/branch-policies#create-a-deployment-branch-policy
func Source(l policy.Locator, env, ref string) string {
	kind, name := "branch", strings.TrimPrefix(ref, "refs/heads/")
	if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
		kind, name = "tag", tag
	}
	at := "repos/" + l.Path() + "/environments/" + url.PathEscape(env) + "/deployment-branch-policies"
	return fmt.Sprintf(
		"gh api -X POST %s -f %s -f type=%s", spelling.ShellWord(at), spelling.ShellWord("name="+name), kind,
	)
}

// Refs returns the refs for which rules let jobs run in an environment, as patterns of the forge;
// nil if a rule takes every ref.
func Refs(f *policy.File, env string) (out []string) {
	for i := range f.Rules {
		r := &f.Rules[i]
		if r.Workflow == nil || r.Workflow.Environment != env {
			continue
		}
		patterns := patternsOf(r)
		if len(r.Refs.Patterns()) > 0 {
			patterns = nil
			for _, p := range r.Refs.Patterns() {
				patterns = append(patterns, p.String())
			}
		}
		if r.Refs.Any() || len(patterns) == 0 {
			return nil
		}
		for _, p := range patterns {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// tagPatterns returns the tags that rules allow, as the forge writes patterns.
func tagPatterns(f *policy.File) (out []string) {
	for i := range f.Rules {
		r := &f.Rules[i]
		for _, p := range patternsOf(r) {
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// patternsOf returns the tags of a rule by which a certificate is told, as refs.
func patternsOf(r *policy.Rule) (out []string) {
	if r.Tags.Semver() {
		return []string{"refs/tags/*.*.*"}
	}
	for _, p := range r.Tags.Patterns() {
		out = append(out, "refs/tags/"+p.String())
	}
	return out
}

func environments(f *policy.File) (out []string) {
	for i := range f.Rules {
		if w := f.Rules[i].Workflow; w != nil && w.Environment != "" && !slices.Contains(out, w.Environment) {
			out = append(out, w.Environment)
		}
	}
	return out
}

// sources says for which refs the rules of an environment let jobs run.
func sources(f *policy.File, env string) string {
	var out []string
	for i := range f.Rules {
		r := &f.Rules[i]
		if r.Workflow == nil || r.Workflow.Environment != env {
			continue
		}
		from := "tags " + r.Tags.String()
		if patterns := r.Refs.Patterns(); len(patterns) > 0 {
			from = r.Refs.String()
		}
		if !slices.Contains(out, from) {
			out = append(out, from)
		}
	}
	return strings.Join(out, " and ")
}

func gitlab(f *policy.File) (out []Advice) {
	where := "https://gitlab.com/" + (&url.URL{Path: f.Repository.Path()}).EscapedPath() + "/-/settings/"
	out = append(out, Advice{
		Protects: "only the default branch binds the policy",
		Look: `that the environment "repopolicy" and the default branch are protected, ` +
			"and that Git pushes by job tokens are allowed: " + where + "ci_cd",
	})
	if patterns := tagPatterns(f); patterns != nil {
		out = append(out, Advice{
			Protects: "only maintainers make the tags that release",
			Look:     "that these tags are protected: " + plain(patterns) + ": " + where + "repository",
		})
	}
	for _, env := range environments(f) {
		out = append(out, Advice{
			Protects: "nobody alone releases from environment " + env,
			Look:     "that it is protected, with approvals: " + where + "ci_cd",
		})
	}
	return out
}
