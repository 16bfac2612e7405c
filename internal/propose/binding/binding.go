// SPDX-License-Identifier: Apache-2.0

// Package binding holds the files with which the runners of a forge bind a policy to its
// repository. Values in, text out.
package binding

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

// Attributes keep Git from changing the bytes that are signed.
const Attributes = ".repopolicy/** -text -filter -ident"

// maxWorkflowBytes is the largest workflow file that is looked at.
const maxWorkflowBytes = 1 << 20

// Workflow is the workflow that speaks for the repository. It never
// releases.
const Workflow = ".github/workflows/repopolicy.yml"

// On GitLab the pipeline's configuration speaks for the project, and includes the
// jobs that bind.
const (
	GitLabConfig = ".gitlab-ci.yml"
	GitLabBind   = ".repopolicy/gitlab-ci.yml"
)

var (
	//go:embed repopolicy.yml
	bindTemplate string
	//go:embed expiry.yml
	expiryJob string
	//go:embed gitlab.yml
	gitlabTemplate string
)

// GitHub returns the text of [Workflow] for a repository on GitHub with
// that default branch. Program is the Go package of this program with its
// version; both must be of characters that mean nothing in YAML or in a filter
// of branches. The name of a private repository becomes public. With issue, a job opens one before
// the policy expires.
func GitHub(repo policy.Locator, branch, program string, private, issue bool) (string, error) {
	text := bindTemplate
	if issue {
		text += expiryJob
	}
	return fill(text, repo, private, "<BRANCH>", branch, "<PROGRAM>", program)
}

// GitLab returns the text of [GitLabBind] for a project on GitLab, like [GitHub]. Its jobs are
// in a stage that the project's pipeline has.
func GitLab(repo policy.Locator, program, stage string, private bool) (string, error) {
	return fill(gitlabTemplate, repo, private, "<STAGE>", stage, "<PROGRAM>", program)
}

// GitLabCI returns a [GitLabConfig] that does nothing but include [GitLabBind].
func GitLabCI() string { return "include: [{local: " + GitLabBind + "}]\n" }

// fill puts values into the places of a template; values are pairs of place and text.
func fill(template string, repo policy.Locator, private bool, values ...string) (string, error) {
	values = append(values, "<REPOSITORY>", repo.Path())
	for i := 1; i < len(values); i += 2 {
		if s := values[i]; s == "" || strings.Trim(s, safe) != "" {
			return "", fmt.Errorf("%q cannot stand in a workflow", s)
		}
	}
	publish := ""
	if private {
		publish = " --publish-name"
	}
	return strings.NewReplacer(append(values, "<PUBLISH>", publish)...).Replace(template), nil
}

const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/@-"

// LeavesPlaces finds the line of a workflow that copies signatures and not the place proofs beside
// them, as was written before there were any. It returns its number, from 1, and what should
// stand there; 0 if there is none.
func LeavesPlaces(workflow []byte) (number int, want string) {
	const old = "/.repopolicy/signatures/*.sigstore.json"
	if len(workflow) > maxWorkflowBytes || strings.Contains(string(workflow), ".place.json") {
		return 0, ""
	}
	for line := range strings.Lines(string(workflow)) {
		number++
		text := strings.TrimSpace(line)
		if strings.HasPrefix(strings.TrimPrefix(text, "- "), "cp ") && strings.Contains(text, old) {
			return number, strings.ReplaceAll(text, old, "/.repopolicy/signatures/*.json")
		}
	}
	return 0, ""
}
