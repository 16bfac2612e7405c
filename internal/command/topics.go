// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
)

// topic is a help text that is about no single command.
type topic struct {
	name, short string
	text        func() string
}

var topics = []topic{
	{"exit-codes", "what exit codes mean", exitCodes},
	{"environment", "variables and files that are read", environment},
}

// Named is a word with what it means.
type Named struct{ Name, Text string }

// ExitCodes are what the exit codes mean.
func ExitCodes() []Named {
	var out []Named
	for _, c := range policy.Classes() {
		out = append(out, Named{fmt.Sprint(c.Exit()), c.String() + ": " + c.Meaning()})
	}
	return out
}

// Environment are the variables that are read, and what for.
var Environment = []Named{
	{"GITHUB_TOKEN", "the token that --github-token shows to GitHub's API, and nothing else does"},
	{"VISUAL, EDITOR", "the editor that edit opens"},
	{"SIGSTORE_ID_TOKEN, REPOPOLICY_ID_TOKEN", "ID tokens of the CI, to sign with and to authorise by"},
	{"GITHUB_ACTIONS, GITHUB_SERVER_URL, ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN",
		"where a job of GitHub Actions gets ID tokens"},
	{"GITLAB_CI, CI_SERVER_HOST, CI_PROJECT_PATH, CI_DEFAULT_BRANCH", "a pipeline of GitLab, its project and branch"},
	{"CIRCLECI, BUILDKITE", "a job of theirs, which prints ID tokens by a command"},
	{"GITHUB_OUTPUT, GITHUB_STEP_SUMMARY", "where --format github writes step outputs and the job summary"},
	{"DOCKER_CONFIG", "where docker keeps logins for registries"},
	{"HTTPS_PROXY, NO_PROXY", "the proxy for requests, as Go's HTTP client reads them"},
	{"SSL_CERT_FILE, SSL_CERT_DIR", "certificates of authorities for TLS, in place of the system's"},
	{"XDG_CACHE_HOME", "where the cache directory is, on Unix"},
	{"NO_COLOR, TERM", "no colours if the first is set, or the second is dumb; --color outranks both"},
	{"GOMEMLIMIT, GOGC", "limits of the Go runtime, which then take the place of --memory's"},
}

// Files are the files that are read and written without being named.
var Files = []Named{
	{"~/.config/repopolicy/trust.toml", "which roots you trust, for which repositories (--trust-config names another)"},
	{"~/.cache/repopolicy/", "what is remembered between runs: policies that were seen, logs, TUF metadata"},
	{".repopolicy/policy.toml", "the policy of a repository"},
	{".repopolicy/signatures/", "its signatures, on the default branch and on the branch repopolicy"},
	{".github/workflows/repopolicy.yml", "the workflow that binds the policy, which init writes"},
}

func exitCodes() string {
	return "The exit code says what came of a run. Of several artifacts the worst class decides: any other than OK " +
		"wins\nover OK. Commands that judge nothing, such as inspect, exit 0 if they did what was asked. " +
		"JSON has it\nas `verdict` and `exit`.\n\n" + list(ExitCodes()) +
		"\nThe reason stands in brackets in text, and under `reason` in JSON. docs/errors.md lists all reasons " +
		"with what to do.\n"
}

func environment() string {
	return "No variable makes anything trusted, and no secret is sent anywhere because it is there.\n\n" +
		list(Environment) + "\nFiles:\n\n" + list(Files) +
		"\nOn macOS and Windows configuration and cache are in the directories that these systems have for them. " +
		"Whose\nconfiguration it is says the system's list of users, and not HOME.\n"
}

// list writes words with their meanings.
func list(of []Named) string {
	var b strings.Builder
	for _, n := range of {
		if len(n.Name) <= 4 {
			fmt.Fprintf(&b, "  %-4s %s\n", n.Name, n.Text)
			continue
		}
		fmt.Fprintf(&b, "  %s\n      %s\n", n.Name, n.Text)
	}
	return b.String()
}
