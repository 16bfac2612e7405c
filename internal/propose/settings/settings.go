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
		out = append(out, tags(repo, patterns))
	}
	out = append(out, Advice{
		Protects: "the history of " + branch + " is not rewritten: releases of its commits can be told from others",
		Command: add(
			repo,
			ruleset{
				"default branch (repopolicy)",
				"branch",
				[]string{"refs/heads/" + branch},
				[]string{"deletion", "non_fast_forward"},
			},
		),
	}, Advice{
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

// tags keeps tags of releases where they are. Patterns without a dot may match a tag that the
// project moves, such as v1: that is left to who knows.
func tags(repo string, patterns []string) Advice {
	a := Advice{Protects: "a tag that was released stays what it is: nobody moves or deletes it"}
	if slices.ContainsFunc(patterns, func(p string) bool { return !strings.Contains(p, ".") }) {
		a.Look = fmt.Sprintf(
			"whether a ruleset keeps tags %s from being moved or deleted: https://github.com/%s/settings/rules",
			plain(patterns),
			repo,
		)
		return a
	}
	a.Command = add(repo, ruleset{"release tags (repopolicy)", "tag", patterns, []string{"deletion", "update"}})
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

// tagPatterns returns the tags that rules allow, as the forge writes patterns.
func tagPatterns(f *policy.File) (out []string) {
	for i := range f.Rules {
		r := &f.Rules[i]
		patterns := []string{}
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
