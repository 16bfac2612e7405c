// SPDX-License-Identifier: Apache-2.0

// Package claims is what the ID tokens of the sandbox say: those of GitHub
// Actions, of GitLab CI and of people who signed in. Each type gives every claim
// that Fulcio's production templates read; what a caller leaves out is filled in
// consistently.
package claims

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// The issuers whose tokens the sandbox can write, beside its own.
const (
	GitHubIssuer = "https://token.actions.githubusercontent.com"
	GitLabIssuer = "https://gitlab.com"
)

// Claims is what a token says. The issuer adds aud, exp, iat, nbf and jti where
// they are missing.
type Claims interface {
	// Claims returns at least iss and sub; an empty iss is the sandbox's own
	// issuer.
	Claims() (map[string]any, error)
}

// GitHub is a job of GitHub Actions. Only Repository must be set.
//
// Source: https://docs.github.com/en/actions/reference/security/oidc.
type GitHub struct {
	Repository    string // owner/name
	RepositoryID  int64  // default: derived from the name
	OwnerID       int64  // default: derived from the owner
	Visibility    string // default: public
	Ref           string // full ref; default: refs/heads/main
	SHA           string // commit; default: derived from repository and ref
	Workflow      string // path of the file that started; default: .github/workflows/release.yml
	WorkflowName  string // default: Workflow
	WorkflowRef   string // ref of that file, default: Ref
	WorkflowSHA   string // default: SHA
	Event         string // default: push
	Environment   string // none unless set
	Runner        string // default: github-hosted
	RunID         int64  // default: 1
	RunAttempt    int    // default: 1
	Actor         string // default: the owner
	ActorID       int64  // default: derived from the actor
	HeadRef       string
	BaseRef       string
	RefProtected  bool
	JobWorkflow   string // reusable workflow as owner/name/path@ref; default: the workflow itself
	JobWorkflowAt string // its commit; default: WorkflowSHA
}

// ID returns the numeric id that stands for a name where none is given.
func ID(name string) int64 {
	sum := sha1.Sum([]byte(name))
	return int64(binary.BigEndian.Uint32(sum[:4]))
}

func commit(parts ...string) string {
	sum := sha1.Sum([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// set fills in a default.
func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Claims returns the claims of the job's token.
func (g GitHub) Claims() (map[string]any, error) {
	owner, name, ok := strings.Cut(g.Repository, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("repository %q is not owner/name", g.Repository)
	}
	set(&g.RepositoryID, ID(g.Repository))
	set(&g.OwnerID, ID(owner))
	set(&g.Visibility, "public")
	set(&g.Ref, "refs/heads/main")
	set(&g.SHA, commit(g.Repository, g.Ref))
	set(&g.Workflow, ".github/workflows/release.yml")
	set(&g.WorkflowName, g.Workflow)
	set(&g.WorkflowRef, g.Ref)
	set(&g.WorkflowSHA, g.SHA)
	set(&g.Event, "push")
	set(&g.Runner, "github-hosted")
	set(&g.RunID, 1)
	set(&g.RunAttempt, 1)
	set(&g.Actor, owner)
	set(&g.ActorID, ID(g.Actor))
	workflowRef := g.Repository + "/" + g.Workflow + "@" + g.WorkflowRef
	set(&g.JobWorkflow, workflowRef)
	set(&g.JobWorkflowAt, g.WorkflowSHA)

	sub := "repo:" + g.Repository + ":ref:" + g.Ref
	switch {
	case g.Environment != "":
		sub = "repo:" + g.Repository + ":environment:" + g.Environment
	case strings.HasPrefix(g.Event, "pull_request"):
		sub = "repo:" + g.Repository + ":pull_request"
	}
	refType := "branch"
	if strings.HasPrefix(g.Ref, "refs/tags/") {
		refType = "tag"
	}
	m := map[string]any{
		"iss": GitHubIssuer, "sub": sub,
		"repository": g.Repository, "repository_id": strconv.FormatInt(g.RepositoryID, 10), "repository_visibility": g.Visibility,
		"repository_owner": owner, "repository_owner_id": strconv.FormatInt(g.OwnerID, 10),
		"ref": g.Ref, "ref_type": refType, "ref_protected": strconv.FormatBool(g.RefProtected), "sha": g.SHA,
		"head_ref": g.HeadRef, "base_ref": g.BaseRef,
		"workflow": g.WorkflowName, "workflow_ref": workflowRef, "workflow_sha": g.WorkflowSHA,
		"job_workflow_ref": g.JobWorkflow, "job_workflow_sha": g.JobWorkflowAt,
		"event_name": g.Event, "runner_environment": g.Runner,
		"run_id": strconv.FormatInt(g.RunID, 10), "run_number": strconv.FormatInt(g.RunID, 10), "run_attempt": strconv.Itoa(g.RunAttempt),
		"actor": g.Actor, "actor_id": strconv.FormatInt(g.ActorID, 10),
	}
	if g.Environment != "" {
		m["environment"] = g.Environment
	}
	return m, nil
}

// GitLab is a job of GitLab CI on gitlab.com. Only Project must be set.
//
// Source: https://docs.gitlab.com/ci/secrets/id_token_authentication/.
type GitLab struct {
	Project     string // group/…/name
	ProjectID   int64  // default: derived from the path
	NamespaceID int64  // default: derived from the group
	Visibility  string // default: public
	Ref         string // short name; default: main
	RefType     string // branch or tag; default: branch
	SHA         string // commit; default: derived from project and ref
	Config      string // ci_config_ref_uri; default: gitlab.com/<project>//.gitlab-ci.yml@<full ref>
	ConfigSHA   string // default: SHA
	Source      string // pipeline_source; default: push
	Environment string
	Runner      string // default: gitlab-hosted
	JobID       int64  // default: 1
	PipelineID  int64  // default: 1
	User        string // default: the first part of the project's path
	Protected   bool
}

// Claims returns the claims of the job's token.
func (g GitLab) Claims() (map[string]any, error) {
	at := strings.LastIndex(g.Project, "/")
	if at <= 0 || at == len(g.Project)-1 {
		return nil, fmt.Errorf("project %q is not group/name", g.Project)
	}
	group := g.Project[:at]
	user, _, _ := strings.Cut(g.Project, "/")
	set(&g.ProjectID, ID(g.Project))
	set(&g.NamespaceID, ID(group))
	set(&g.Visibility, "public")
	set(&g.Ref, "main")
	set(&g.RefType, "branch")
	set(&g.SHA, commit(g.Project, g.Ref))
	path := "refs/heads/" + g.Ref
	if g.RefType == "tag" {
		path = "refs/tags/" + g.Ref
	}
	set(&g.Config, "gitlab.com/"+g.Project+"//.gitlab-ci.yml@"+path)
	set(&g.ConfigSHA, g.SHA)
	set(&g.Source, "push")
	set(&g.Runner, "gitlab-hosted")
	set(&g.JobID, 1)
	set(&g.PipelineID, 1)
	set(&g.User, user)
	m := map[string]any{
		"iss": GitLabIssuer, "sub": "project_path:" + g.Project + ":ref_type:" + g.RefType + ":ref:" + g.Ref,
		"project_path": g.Project, "project_id": strconv.FormatInt(g.ProjectID, 10), "project_visibility": g.Visibility,
		"namespace_path": group, "namespace_id": strconv.FormatInt(g.NamespaceID, 10),
		"ref": g.Ref, "ref_type": g.RefType, "ref_path": path, "ref_protected": strconv.FormatBool(g.Protected), "sha": g.SHA,
		"ci_config_ref_uri": g.Config, "ci_config_sha": g.ConfigSHA,
		"pipeline_source": g.Source, "pipeline_id": strconv.FormatInt(g.PipelineID, 10), "job_id": strconv.FormatInt(g.JobID, 10),
		"runner_environment": g.Runner, "runner_id": 1,
		"user_login": g.User, "user_id": strconv.FormatInt(ID(g.User), 10),
	}
	if g.Environment != "" {
		m["environment"] = g.Environment
	}
	return m, nil
}

// Email is a person who signed in at the sandbox's own issuer, which, like the
// public instance's, passes on who vouches for the address.
type Email struct {
	Address    string
	Issuer     string // what the certificate names; default: https://accounts.google.com
	Subject    string // default: derived from issuer and address
	Unverified bool
}

// Claims returns the claims of the person's token.
func (e Email) Claims() (map[string]any, error) {
	if !strings.Contains(e.Address, "@") {
		return nil, fmt.Errorf("%q is not an e-mail address", e.Address)
	}
	set(&e.Issuer, "https://accounts.google.com")
	set(&e.Subject, commit(e.Issuer, e.Address))
	return map[string]any{
		"iss": "", "sub": e.Subject, "email": e.Address, "email_verified": !e.Unverified,
		"federated_claims": map[string]any{"connector_id": e.Issuer, "user_id": e.Subject},
	}, nil
}

// Forged is a token that no honest issuer would write: another's claims with
// some set or removed, and perhaps a signature by a key that the issuer does not
// publish.
type Forged struct {
	From       Claims
	Set        map[string]any // also aud, exp, nbf, iat (Unix seconds)
	Remove     []string
	ForeignKey bool
}

// Claims returns the changed claims.
func (f Forged) Claims() (map[string]any, error) {
	if f.From == nil {
		return nil, errors.New("forged claims without an original")
	}
	m, err := f.From.Claims()
	if err != nil {
		return nil, err
	}
	maps.Copy(m, f.Set)
	for _, name := range f.Remove {
		delete(m, name)
	}
	return m, nil
}
