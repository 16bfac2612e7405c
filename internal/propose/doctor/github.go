// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/propose/settings"
	"github.com/repopolicy/repopolicy/policy"
)

// What to do where the forge does not say how a setting is: the permission that it asks for. A
// classic token needs the scope repo, and Administration is for administrators.
const (
	mayRead      = "run the command with a token in GITHUB_TOKEN that may see the repository: Metadata, read"
	mayAdminRead = "run the command with a token in GITHUB_TOKEN of an administrator: Administration, read"
	mayRunRead   = "run the command with a token in GITHUB_TOKEN that may read Actions and Environments"
)

// maxListed is how many rulesets or sources of deployments are looked at; GitHub lists them by the hundred.
const maxListed = 100

// settings looks at what of GitHub's settings the policy leans on.
//
// https://docs.github.com/rest/repos/rules, https://docs.github.com/rest/deployments/environments,
// https://docs.github.com/rest/actions/permissions
func (e *exam) settings(ctx context.Context) {
	e.workflowPermissions(ctx)
	e.actionsOn(ctx)
	e.rulesets(ctx)
	e.history(ctx)
	for _, env := range e.environments() {
		e.environment(ctx, env)
	}
}

// api returns the path of something of the repository in the forge's API.
func (e *exam) api(path string) string { return "repos/" + e.File.Repository.Path() + path }

// page returns the address of a page of the repository's settings.
func (e *exam) page(name string) string { return e.File.Repository.String() + "/settings/" + name }

// branch asks for the default branch where it is not known.
func (e *exam) branch(ctx context.Context) {
	var repo struct {
		Default  string `json:"default_branch"`
		Archived bool   `json:"archived"`
	}
	if err := e.read(ctx, e.api(""), &repo); err != nil {
		e.unread(Settings, "repository", mayRead, "%s", err)
		return
	}
	if e.Branch == "" {
		e.Branch = repo.Default
	}
	if e.Branch != repo.Default {
		e.wrong(Settings, "default branch", policy.DoctorSetting, "fetch it: git remote set-head origin --auto",
			"at the forge it is %s, in the clone %s", repo.Default, e.Branch)
	}
	if repo.Archived {
		e.wrong(
			Settings,
			"repository",
			policy.DoctorSetting,
			"end the policy by a tombstone, or take the repository back",
			"it is archived: nothing can renew the policy",
		)
	}
}

func (e *exam) workflowPermissions(ctx context.Context) {
	const subject = "workflow permissions"
	var p struct {
		Default string `json:"default_workflow_permissions"`
		Approve *bool  `json:"can_approve_pull_request_reviews"`
	}
	switch err := e.read(ctx, e.api("/actions/permissions/workflow"), &p); {
	case err != nil:
		e.unread(Settings, subject, mayAdminRead, "%s", err)
	case p.Default != "read":
		e.wrong(Settings, subject, policy.DoctorSetting, `choose "Read repository contents": `+e.page("actions"),
			"the token of every job may write, unless the workflow says otherwise")
	case p.Approve == nil || *p.Approve:
		e.wrong(Settings, subject, policy.DoctorSetting,
			`take "Allow GitHub Actions to create and approve pull requests" away: `+e.page("actions"),
			"a workflow may approve a change of the policy")
	default:
		e.fine(Settings, subject, "the token of a job may read, and approves nothing")
	}
}

func (e *exam) actionsOn(ctx context.Context) {
	var p struct {
		Enabled bool `json:"enabled"`
	}
	switch err := e.read(ctx, e.api("/actions/permissions"), &p); {
	case err != nil:
		e.unread(Settings, "actions", mayAdminRead, "%s", err)
	case !p.Enabled:
		e.wrong(Settings, "actions", policy.DoctorSetting, "allow actions: "+e.page("actions"),
			"no workflow runs, so that nothing binds and nothing releases")
	default:
		e.fine(Settings, "actions", "workflows may run")
	}
}

// ruleset is one as the list and its own address show it.
type ruleset struct {
	ID          int64  `json:"id"`
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

type rule struct {
	Type       string `json:"type"`
	Parameters struct {
		Approvals int `json:"required_approving_review_count"`
	} `json:"parameters"`
}

// has reports whether a ruleset has a rule of each type.
func (r *ruleset) has(types ...string) bool {
	return !slices.ContainsFunc(types, func(t string) bool { return !hasRule(r.Rules, t) })
}

func hasRule(rules []rule, kind string) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.Type == kind })
}

// rulesets looks at those that are active: whether they keep the tags of releases, and which may
// stop the workflow that binds.
func (e *exam) rulesets(ctx context.Context) {
	const subject = "release tags"
	var list []ruleset
	err := e.read(ctx, e.api("/rulesets?includes_parents=true&per_page=100"), &list)
	if err == nil && list == nil {
		err = errors.New("the answer is no list of rulesets")
	}
	if err == nil && len(list) >= maxListed {
		err = fmt.Errorf("there may be more than %d rulesets", maxListed)
	}
	var tags []ruleset
	others := 0
	for i := 0; err == nil && i < len(list); i++ {
		e.names = append(e.names, list[i].Name)
		switch r := list[i]; {
		case r.Enforcement != "active":
		case r.Target == "tag":
			err = e.read(ctx, e.api(fmt.Sprintf("/rulesets/%d", r.ID)), &r)
			tags = append(tags, r)
		case r.Target != "branch" && r.Target != "push":
			others++
			e.unread(Settings, "ruleset "+r.Name,
				"see that it lets repopolicy.yml run by repository_dispatch and schedule: "+e.page("actions"),
				"what it decides of %s is not known here: it may be a workflow execution protection", word(r.Target))
		}
	}
	if err != nil {
		e.unread(Settings, subject, mayRead, "%s", err)
		return
	}
	e.listed = true
	if others == 0 {
		e.fine(Settings, "workflow execution protections", "no active ruleset says which events start workflows")
	}
	e.tags(tags)
}

// tags looks for a ruleset that keeps each tag of a release from being moved or deleted.
func (e *exam) tags(rulesets []ruleset) {
	const do = "add a ruleset for tags with \"Restrict updates\" and \"Restrict deletions\": "
	var kept, missing []string
	for i := range e.File.Rules {
		for _, p := range tagPatterns(&e.File.Rules[i]) {
			keeps := func(s ruleset) bool {
				return s.has("deletion", "update") && len(s.Conditions.Ref.Exclude) == 0 &&
					slices.ContainsFunc(s.Conditions.Ref.Include, func(i string) bool { return wider(i, p) })
			}
			switch {
			case slices.Contains(kept, p) || slices.Contains(missing, p):
			case slices.ContainsFunc(rulesets, keeps):
				kept = append(kept, p)
			default:
				missing = append(missing, p)
			}
		}
	}
	for _, p := range kept {
		e.fine(Settings, "tags "+strings.TrimPrefix(p, "refs/tags/"), "a ruleset keeps them from being moved or deleted")
	}
	command := ""
	if len(missing) > 0 && !e.taken(settings.TagRuleset) {
		command = settings.Tags(e.File.Repository, missing).Command
	}
	for _, p := range missing {
		e.lacks("tags "+strings.TrimPrefix(p, "refs/tags/"), do+e.page("rules"), command,
			"no active ruleset without exceptions keeps them from being moved and deleted")
	}
}

// taken reports whether there is a ruleset of a name, which another one could not have.
func (e *exam) taken(name string) bool { return slices.Contains(e.names, name) }

// tagPatterns returns the tags of a rule by which a certificate is told, as refs.
func tagPatterns(r *policy.Rule) (out []string) {
	if r.Tags.Semver() {
		return []string{"refs/tags/*.*.*"}
	}
	for _, p := range r.Tags.Patterns() {
		out = append(out, "refs/tags/"+p.String())
	}
	return out
}

// wider reports whether a pattern of a ruleset matches all that a pattern of the policy does; false
// where that is not certain.
func wider(include, pattern string) bool {
	stem, star := strings.CutSuffix(include, "*")
	switch {
	case include == "~ALL" || include == "refs/tags/**/*" || include == "refs/tags/**" || include == pattern:
		return true
	case !star || strings.ContainsAny(stem, "*?["):
		return false
	}
	rest, begins := strings.CutPrefix(pattern, stem)
	return begins && !strings.Contains(rest, "/")
}

// history looks at the rules of the default branch.
func (e *exam) history(ctx context.Context) {
	if e.Branch == "" {
		e.unread(Settings, "default branch", mayRead, "it is not known")
		return
	}
	subject := "branch " + e.Branch
	rules, err := e.branchRules(ctx)
	if err != nil {
		e.unread(Settings, subject, mayAdminRead, "%s", err)
		return
	}
	before, page := len(e.out), e.page("rules")
	loose := map[string]string{"non_fast_forward": "its history may be rewritten", "deletion": "it may be deleted"}
	missing := slices.DeleteFunc([]string{"non_fast_forward", "deletion"}, func(kind string) bool {
		return hasRule(rules, kind)
	})
	command := ""
	if len(missing) > 0 && !e.taken(settings.BranchRuleset) && e.listed {
		command = settings.History(e.File.Repository, e.Branch, missing).Command
	}
	for _, kind := range missing {
		e.lacks(subject, "add a ruleset for it that forbids that: "+page, command, "%s", loose[kind])
	}
	if !reviewed(rules) {
		e.wrong(Settings, subject, policy.DoctorSetting, "demand a pull request with an approval: "+page,
			"a change of the policy or of a workflow needs nobody's review")
	}
	if len(e.out) == before {
		e.fine(Settings, subject, "its history stays, and changes are reviewed")
	}
}

// protection is what a branch has beside rulesets.
type protection struct {
	Force     *enabled `json:"allow_force_pushes"`
	Deletions *enabled `json:"allow_deletions"`
	Reviews   *struct {
		Count int `json:"required_approving_review_count"`
	} `json:"required_pull_request_reviews"`
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

// branchRules returns the rules of the default branch: of rulesets, and of its own protection.
func (e *exam) branchRules(ctx context.Context) (rules []rule, err error) {
	branch := url.PathEscape(e.Branch)
	if err = e.read(ctx, e.api("/rules/branches/"+branch+"?per_page=100"), &rules); err != nil {
		return nil, err
	}
	if rules == nil {
		return nil, errors.New("the answer is no list of rules")
	}
	var p protection
	switch err = e.read(ctx, e.api("/branches/"+branch+"/protection"), &p); {
	case errors.Is(err, fs.ErrNotExist), err != nil && complete(rules): // whatever it would add
		return rules, nil
	case err != nil:
		return nil, err
	}
	if p.Force != nil && !p.Force.Enabled {
		rules = append(rules, rule{Type: "non_fast_forward"})
	}
	if p.Deletions != nil && !p.Deletions.Enabled {
		rules = append(rules, rule{Type: "deletion"})
	}
	if p.Reviews != nil {
		reviews := rule{Type: "pull_request"}
		reviews.Parameters.Approvals = p.Reviews.Count
		rules = append(rules, reviews)
	}
	return rules, nil
}

// reviewed reports whether a change needs an approval.
func reviewed(rules []rule) bool {
	return slices.ContainsFunc(
		rules,
		func(r rule) bool { return r.Type == "pull_request" && r.Parameters.Approvals > 0 },
	)
}

// complete reports whether nothing is missing from the rules of a branch.
func complete(rules []rule) bool {
	return hasRule(rules, "non_fast_forward") && hasRule(rules, "deletion") && reviewed(rules)
}

// environments returns the environments that rules demand.
func (e *exam) environments() (out []string) {
	for i := range e.File.Rules {
		w := e.File.Rules[i].Workflow
		if w != nil && w.Environment != "" && !slices.Contains(out, w.Environment) {
			out = append(out, w.Environment)
		}
	}
	return out
}

// environment is one as the forge shows it.
type environment struct {
	Rules []struct {
		Type      string            `json:"type"`
		Reviewers []json.RawMessage `json:"reviewers"`
	} `json:"protection_rules"`
	From *struct {
		Custom bool `json:"custom_branch_policies"`
	} `json:"deployment_branch_policy"`
	Bypass bool `json:"can_admins_bypass"`
}

// reviewed reports whether somebody has to let a job in.
func (e *environment) reviewed() bool {
	for _, r := range e.Rules {
		if r.Type == "required_reviewers" && len(r.Reviewers) > 0 {
			return true
		}
	}
	return false
}

// environment looks at who lets a job into an environment, and from which refs.
func (e *exam) environment(ctx context.Context, name string) {
	subject, page := "environment "+name, e.page("environments")
	var env environment
	path := e.api("/environments/" + url.PathEscape(name))
	switch err := e.read(ctx, path, &env); {
	case errors.Is(err, fs.ErrNotExist):
		command := ""
		if e.absent(ctx, name) {
			command = settings.Environment(e.File, name)
		}
		e.lacks(subject, "make it, with required reviewers: "+page, command,
			"it is missing: GitHub makes it without any protection when a job first names it")
		return
	case err != nil:
		e.unread(Settings, subject, mayRunRead, "%s", err)
		return
	}
	before := len(e.out)
	if !env.reviewed() {
		e.wrong(Settings, subject, policy.DoctorSetting, "add required reviewers: "+page,
			"nobody has to approve: whoever may push a workflow releases alone")
	} else if env.Bypass {
		e.wrong(Settings, subject, policy.DoctorSetting,
			`take "Allow administrators to bypass configured protection rules" away: `+page,
			"administrators may pass over its reviewers")
	}
	switch {
	case env.From == nil:
		e.wrong(Settings, subject, policy.DoctorSetting, "let it take only the refs that release: "+page,
			"it takes deployments from every branch and tag")
	default:
		e.sources(ctx, name, path, env.From.Custom)
	}
	if len(e.out) == before {
		e.fine(Settings, subject, "it has reviewers, and takes deployments from chosen refs")
	}
}

// absent reports whether the list of environments, which is there and complete, lacks one. That one
// is not found alone may mean that the token may not see it.
func (e *exam) absent(ctx context.Context, name string) bool {
	var list struct {
		Total        *int `json:"total_count"`
		Environments []struct {
			Name string `json:"name"`
		} `json:"environments"`
	}
	err := e.read(ctx, e.api("/environments?per_page=100"), &list)
	if err != nil || list.Total == nil || *list.Total != len(list.Environments) {
		return false
	}
	for _, x := range list.Environments {
		if strings.EqualFold(x.Name, name) {
			return false
		}
	}
	return true
}

// source is a pattern of refs from which an environment takes deployments.
type source struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// takes reports whether a source covers a pattern of tags, as refs.
func (s source) takes(tags string) bool { return s.Type == "tag" && wider("refs/tags/"+s.Name, tags) }

// sources looks whether an environment takes deployments from the tags that its rules allow.
func (e *exam) sources(ctx context.Context, name, path string, custom bool) {
	subject := "environment " + name
	var from struct {
		Total    int      `json:"total_count"`
		Policies []source `json:"branch_policies"`
	}
	var err error
	if custom { // else it takes them from protected branches, and from no tag
		err = e.read(ctx, path+"/deployment-branch-policies?per_page=100", &from)
	}
	if err == nil && from.Total > len(from.Policies) {
		err = fmt.Errorf("it takes deployments from more than %d patterns", len(from.Policies))
	}
	if err != nil {
		e.unread(Settings, subject, mayRunRead, "%s", err)
		return
	}
	for i := range e.File.Rules {
		r := &e.File.Rules[i]
		if r.Workflow == nil || r.Workflow.Environment != name || r.Refs.Any() || len(r.Refs.Patterns()) > 0 {
			continue
		}
		for _, p := range tagPatterns(r) {
			if !slices.ContainsFunc(from.Policies, func(x source) bool { return x.takes(p) }) {
				command := ""
				if custom {
					command = settings.Source(e.File.Repository, name, p)
				}
				e.lacks(subject, "let it take deployments from these tags: "+e.page("environments"), command,
					"of the tags %s of rule %s not all may deploy to it", strings.TrimPrefix(p, "refs/tags/"), r.Name)
			}
		}
	}
}
