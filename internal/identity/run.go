// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"net/url"
	"strings"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/policy"
)

// Run returns the identity that Fulcio certifies for a token of the issuer, as
// the templates of its configuration say (v1.8.8, config/identity/config.yaml),
// and what the token says beyond it. A claim that a template needs and the token
// lacks is an error, as it is for Fulcio. It does not check the token: that is
// for whoever calls [policy.NewRun] with the result. The error is a [*Refusal].
func (t *Unverified) Run(i Issuer) (Identity, policy.RunFacts, error) {
	c := &claimReader{t: t}
	id := Identity{Kind: policy.KindURI, Issuer: t.Issuer, TokenSubject: t.Subject}
	var facts policy.RunFacts
	switch i.Kind {
	case KindGitHub:
		facts = c.github(&id, i.Host)
	case KindGitLab:
		facts = c.gitlab(&id, i.Host)
	case KindBuildkite:
		c.buildkite(&id, i.Host)
	case KindCircleCI:
		c.circleci(&id)
	case KindEmail:
		c.email(&id, i)
	case KindURI:
		if u, err := url.Parse(t.Subject); err != nil || u.Scheme == "" || u.Host == "" {
			c.fail("the subject %q is not a URI", clip.Text(t.Subject))
		}
		id.Value = t.Subject
	default:
		c.fail("issuers of the kind %q are not known", i.Kind)
	}
	if c.err != nil {
		return Identity{}, policy.RunFacts{}, c.err
	}
	if i.Kind != KindEmail && i.Kind != KindURI {
		// The name of the certificate goes through a URL type, extensions do not.
		u, err := url.Parse(id.Value)
		if err != nil {
			return Identity{}, policy.RunFacts{}, refusef(policy.TokenInvalid, "the name that the token makes is not a URI")
		}
		id.Value = u.String()
	}
	return id, facts, nil
}

// claimReader reads claims and keeps the first error.
type claimReader struct {
	t   *Unverified
	err error
}

func (c *claimReader) fail(format string, args ...any) {
	if c.err == nil {
		c.err = refusef(policy.TokenRefused, format, args...)
	}
}

// need returns a claim that must be there; it may be empty text.
func (c *claimReader) need(name string) string {
	if _, ok := c.t.values[name]; !ok {
		c.fail("the token has no claim %s", name)
		return ""
	}
	return c.may(name)
}

// may returns a claim, "" if there is none.
func (c *claimReader) may(name string) string {
	s, err := c.t.text(name)
	if err != nil && c.err == nil {
		c.err = err
	}
	return s
}

// https://docs.github.com/actions/reference/openid-connect-reference
func (c *claimReader) github(id *Identity, host string) policy.RunFacts {
	repository := host + "/" + c.need("repository")
	id.Value = host + "/" + c.need("job_workflow_ref")
	id.BuildSignerURI = id.Value
	id.BuildSignerDigest = c.need("job_workflow_sha")
	id.RunnerEnvironment = c.need("runner_environment")
	id.SourceRepositoryURI = repository
	id.SourceRepositoryDigest = c.need("sha")
	id.SourceRepositoryRef = c.need("ref")
	id.SourceRepositoryID = c.need("repository_id")
	id.SourceRepositoryOwner = host + "/" + c.need("repository_owner")
	id.SourceRepositoryOwnerID = c.need("repository_owner_id")
	id.BuildConfigURI = host + "/" + c.need("workflow_ref")
	id.BuildConfigDigest = c.need("workflow_sha")
	id.BuildTrigger = c.need("event_name")
	id.RunInvocationURI = repository + "/actions/runs/" + c.need("run_id") + "/attempts/" + c.need("run_attempt")
	id.Visibility = c.need("repository_visibility")
	id.DeploymentEnvironment = c.may("environment")
	id.WorkflowTrigger, id.WorkflowSHA, id.WorkflowName = id.BuildTrigger, id.SourceRepositoryDigest, c.need("workflow")
	id.WorkflowRepository, id.WorkflowRef = c.need("repository"), id.SourceRepositoryRef
	return policy.RunFacts{Actor: c.may("actor"), RefProtected: c.may("ref_protected")}
}

// https://docs.gitlab.com/ci/secrets/id_token_authentication/
func (c *claimReader) gitlab(id *Identity, host string) policy.RunFacts {
	project := host + "/" + c.need("project_path")
	id.Value = "https://" + c.need("ci_config_ref_uri")
	id.BuildSignerURI, id.BuildConfigURI = id.Value, id.Value
	id.BuildSignerDigest = c.need("ci_config_sha")
	id.BuildConfigDigest = id.BuildSignerDigest
	id.RunnerEnvironment = c.need("runner_environment")
	id.SourceRepositoryURI = project
	id.SourceRepositoryDigest = c.need("sha")
	kind := "refs/tags/" // whatever is no branch, as in Fulcio
	if c.need("ref_type") == "branch" {
		kind = "refs/heads/"
	}
	id.SourceRepositoryRef = kind + c.need("ref")
	id.SourceRepositoryID = c.need("project_id")
	id.SourceRepositoryOwner = host + "/" + c.need("namespace_path")
	id.SourceRepositoryOwnerID = c.need("namespace_id")
	id.BuildTrigger = c.need("pipeline_source")
	id.RunInvocationURI = project + "/-/jobs/" + c.need("job_id")
	id.Visibility = c.need("project_visibility")
	id.DeploymentEnvironment = c.may("environment")
	return policy.RunFacts{Actor: c.may("user_login"), RefProtected: c.may("ref_protected")}
}

// https://buildkite.com/docs/agent/cli/reference/oidc
func (c *claimReader) buildkite(id *Identity, host string) {
	id.Value = host + "/" + c.need("organization_slug") + "/" + c.need("pipeline_slug")
	id.RunInvocationURI = id.Value + "/builds/" + c.need("build_number") + "#" + c.need("job_id")
	id.RunnerEnvironment = c.need("runner_environment")
	id.SourceRepositoryDigest = c.need("build_commit")
	id.BuildTrigger = c.need("build_source")
}

// https://circleci.com/docs/guides/permissions-authentication/openid-connect-tokens/
func (c *claimReader) circleci(id *Identity) {
	const api, platform, claim = "https://circleci.com/api/v2", "https://app.circleci.com/", "oidc.circleci.com/"
	id.Value = api + "/projects/" + c.need(claim+"project-id") + "/pipeline-definitions/" +
		c.need(claim+"pipeline-definition-id")
	id.BuildSignerURI = id.Value
	id.BuildConfigURI = api + "/pipeline/" + c.need(claim+"pipeline-id") + "/config"
	id.RunInvocationURI = platform + "/workflow/" + c.need(claim+"workflow-id") + "/job/" + c.need(claim+"job-id")
	id.RunnerEnvironment = `""` // sic: the template writes the quotation marks
	if c.need(claim+"ssh-rerun") == "true" {
		id.RunnerEnvironment = "ssh-rerun"
	}
	id.SourceRepositoryRef = c.need(claim + "vcs-ref")
	id.SourceRepositoryURI = c.need(claim + "vcs-origin")
}

// email is a person, or a service account of Google's.
func (c *claimReader) email(id *Identity, i Issuer) {
	id.Kind = policy.KindEmail
	id.Value = c.need("email")
	if v := c.t.values["email_verified"]; v != true && v != "true" {
		c.fail("the issuer has not verified the address")
	}
	if at := strings.LastIndex(id.Value, "@"); at <= 0 || at == len(id.Value)-1 {
		c.fail("%q is not an e-mail address", clip.Text(id.Value))
	}
	if i.Connector {
		federated, _ := c.t.values["federated_claims"].(map[string]any)
		issuer, ok := federated["connector_id"].(string)
		if !ok || issuer == "" {
			c.fail("the token does not say who vouches for the address")
		}
		id.Issuer = issuer
	}
}

// agreements are, for each kind of issuer, the variables of a run's environment
// and the claims that must say the same: a token of another run, commit or
// repository is a replay. Those that are missing disagree.
var agreements = map[IssuerKind][][2]string{
	KindGitHub: {
		{"GITHUB_RUN_ID", "run_id"}, {"GITHUB_RUN_ATTEMPT", "run_attempt"}, {"GITHUB_SHA", "sha"},
		{"GITHUB_REF", "ref"}, {"GITHUB_REPOSITORY", "repository"}, {"GITHUB_EVENT_NAME", "event_name"},
	},
	KindGitLab: {
		{"CI_PIPELINE_ID", "pipeline_id"}, {"CI_JOB_ID", "job_id"}, {"CI_COMMIT_SHA", "sha"},
		{"CI_COMMIT_REF_NAME", "ref"}, {"CI_PROJECT_PATH", "project_path"},
	},
	KindBuildkite: {
		{"BUILDKITE_BUILD_NUMBER", "build_number"}, {"BUILDKITE_JOB_ID", "job_id"}, {"BUILDKITE_COMMIT", "build_commit"},
		{"BUILDKITE_PIPELINE_SLUG", "pipeline_slug"}, {"BUILDKITE_ORGANIZATION_SLUG", "organization_slug"},
	},
	KindCircleCI: {
		{"CIRCLE_WORKFLOW_ID", "oidc.circleci.com/workflow-id"}, {"CIRCLE_WORKFLOW_JOB_ID", "oidc.circleci.com/job-id"},
	},
}

// Agree reports in what the environment of the run and its token disagree. The
// error is a [*Refusal].
func (t *Unverified) Agree(i Issuer, getenv func(string) string) error {
	for _, a := range agreements[i.Kind] {
		if getenv == nil {
			return refusef(policy.TokenMismatch, "there is no environment to compare the token with")
		}
		claim, err := t.text(a[1])
		if err != nil {
			return err
		}
		if got := getenv(a[0]); got == "" || got != claim {
			return refusef(policy.TokenMismatch, "%s is %q, the token says %s = %q", a[0], clip.Text(got), a[1],
				clip.Text(claim))
		}
	}
	return nil
}

// errNoRun is the error about a token that names no run.
var errNoRun = errors.New("the token names no run")

// RunID returns what no other run of the issuer has, its number as it stands in the
// token where that will do, and on GitHub the attempt; the error is about a person's
// token.
func (t *Unverified) RunID(i Issuer) (id, attempt string, err error) {
	names := map[IssuerKind][2]string{
		KindGitHub: {"run_id", "run_attempt"}, KindGitLab: {"pipeline_id", ""}, KindBuildkite: {"build_number", ""},
		KindCircleCI: {"oidc.circleci.com/workflow-id", ""},
	}[i.Kind]
	if names[0] == "" {
		return "", "", errNoRun
	}
	if id, err = t.text(names[0]); err != nil {
		return "", "", err
	}
	if i.Kind == KindBuildkite { // every pipeline counts its own builds
		identity, _, err := t.Run(i)
		return identity.Value + "/builds/" + id, "", err
	}
	if names[1] == "" {
		return id, "", nil
	}
	attempt, err = t.text(names[1])
	return id, attempt, err
}
