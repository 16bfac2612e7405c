// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/command"
)

// api answers as the settings' API of a repository; a text of three digits is a status.
type api struct {
	t       *testing.T
	answers map[string]string
	asked   []string
}

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet || r.URL.Scheme != "https" || r.URL.Host != "api.github.com" {
		a.t.Errorf("asked: %s %s", r.Method, r.URL)
	}
	if r.Header.Get("Authorization") != "Bearer secret" {
		a.t.Errorf("%s: %v", r.URL, r.Header)
	}
	path := strings.TrimPrefix(r.URL.Path, "/repos/acme/widget")
	a.asked = append(a.asked, path)
	text, ok := a.answers[path]
	code := http.StatusOK
	if !ok {
		code = http.StatusNotFound
	}
	if len(text) == 3 {
		fmt.Sscan(text, &code)
	}
	header := http.Header{}
	if code == http.StatusFound {
		header.Set("Location", "https://evil.example.com/repos/acme/widget")
	}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

// inOrder answers as the settings of a repository that lacks nothing.
func inOrder() map[string]string {
	return map[string]string{
		"":                     `{"default_branch":"main"}`,
		"/actions/permissions": `{"enabled":true}`,
		"/actions/permissions/workflow": `{"default_workflow_permissions":"read",` +
			`"can_approve_pull_request_reviews":false}`,
		"/rulesets": `[{"id":7,"name":"t","target":"tag","enforcement":"active"}]`,
		"/rulesets/7": `{"id":7,"enforcement":"active","rules":[{"type":"deletion"},{"type":"update"}],` +
			`"conditions":{"ref_name":{"include":["~ALL"]}}}`,
		"/rules/branches/main": `[{"type":"deletion"},{"type":"non_fast_forward"},` +
			`{"type":"pull_request","parameters":{"required_approving_review_count":1}}]`,
		"/environments": `{"total_count":1,"environments":[{"name":"release"}]}`,
		"/environments/release": `{` + reviewers + `,` +
			`"deployment_branch_policy":{"custom_branch_policies":true},"can_admins_bypass":false}`,
		sources: `{"total_count":1,"branch_policies":[{"name":"v*","type":"tag"}]}`,
	}
}

const (
	reviewers = `"protection_rules":[{"type":"required_reviewers","reviewers":[{}]}]`
	reviewed  = `{"type":"pull_request","parameters":{"required_approving_review_count":1}}`
	alone     = "/environments/release"
	sources   = "/environments/release/deployment-branch-policies"
)

const settingsPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2099-06-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name = "binaries"
tags = ["v1.*", "v2.*"]
artifacts = ["widget_*"]
workflow = ".github/workflows/release.yml"
environment = "release"
`

// initSettings runs init in a clone that has a policy and returns what it says.
func initSettings(t *testing.T, text, branch string, answers map[string]string, args ...string) (string, *api, int) {
	t.Helper()
	env := place(t)
	if err := os.MkdirAll(filepath.Dir(command.DefaultPolicy), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(command.DefaultPolicy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "init", "-q", "-b", "main").CombinedOutput(); err != nil {
		t.Skipf("%s: %s", err, out)
	}
	forge := &api{t: t, answers: answers}
	env.Transport = forge
	env.Getenv = func(name string) string { return map[string]string{"GITHUB_TOKEN": "secret"}[name] }
	env.Now = func() time.Time { return time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC) }
	var out, talk bytes.Buffer
	env.Stdout, env.Stderr = &out, &talk
	code := Main(append([]string{"init", "--no-sign", "--branch", branch}, args...), env)
	if strings.Contains(out.String()+talk.String(), "secret") {
		t.Errorf("the token is said: %s%s", &out, &talk)
	}
	return talk.String(), forge, code
}

// TestInitSettings: with a token init prints calls that add what is missing, and nothing else.
func TestInitSettings(t *testing.T) {
	const complete = "all looked at, nothing is missing"
	for what, c := range map[string]struct {
		change map[string]string // "-" takes an answer away
		want   []string
		mute   []string
	}{
		"complete": {nil, []string{complete}, []string{"gh api", "do:"}},
		"no ruleset for tags": {
			map[string]string{"/rulesets": "[]"},
			[]string{"# tags v1.*: no active", "# tags v2.*: no active", `"include":["refs/tags/v1.*","refs/tags/v2.*"]`},
			[]string{`"branch"`, "PUT", complete},
		},
		"a disabled ruleset of the name": {
			map[string]string{"/rulesets": `[{"id":7,"name":"release tags (repopolicy)","target":"tag"}]`},
			[]string{"# tags v1.*: no active", "do: add a ruleset"}, []string{"gh api"},
		},
		"half of the branch's rules": {
			map[string]string{"/rules/branches/main": `[{"type":"deletion"},` + reviewed + `]`},
			[]string{"# branch main: its history may be rewritten", `"rules":[{"type":"non_fast_forward"}]`},
			[]string{`"deletion"`, "PUT"},
		},
		"no environment": {
			map[string]string{alone: "-", "/environments": `{"total_count":0,"environments":[]}`},
			[]string{
				"# environment release: it is missing", `index("release") | not`,
				"gh api -X PUT repos/acme/widget/environments/release", "name=v1.*", "name=v2.*", "type=tag",
			}, []string{"rulesets"},
		},
		"an environment that the token may not see alone": {
			map[string]string{alone: "-"}, []string{"do: make it"}, []string{"gh api"},
		},
		"an environment that is listed in capitals": {
			map[string]string{alone: "-", "/environments": `{"total_count":1,"environments":[{"name":"Release"}]}`},
			[]string{"do: make it"}, []string{"gh api"},
		},
		"environments that are not all listed": {
			map[string]string{alone: "-", "/environments": `{"total_count":101,"environments":[]}`},
			[]string{"do: make it"}, []string{"gh api"},
		},
		"no list of environments": {
			map[string]string{alone: "-", "/environments": "403"}, []string{"do: make it"}, []string{"gh api"},
		},
		"a list of environments that is none": {
			map[string]string{alone: "-", "/environments": `{}`}, []string{"do: make it"}, []string{"gh api"},
		},
		"an environment without reviewers": {
			map[string]string{alone: `{"deployment_branch_policy":{"custom_branch_policies":true},"protection_rules":[]}`},
			[]string{"do: add required reviewers"}, []string{"gh api"},
		},
		"an environment for every ref": {
			map[string]string{alone: `{` + reviewers + `}`},
			[]string{"do: let it take only the refs that release"}, []string{"gh api"},
		},
		"an environment for some of the tags": {
			map[string]string{sources: `{"total_count":1,"branch_policies":[{"name":"v1.*","type":"tag"}]}`},
			[]string{"gh api -X POST repos/acme/widget" + sources + " -f 'name=v2.*' -f type=tag"},
			[]string{"name=v1", "PUT"},
		},
		"an environment for protected branches": {
			map[string]string{alone: `{` + reviewers + `,"deployment_branch_policy":{"protected_branches":true}}`},
			[]string{"do: let it take deployments from these tags"}, []string{"gh api"},
		},
		"jobs that may write": {
			map[string]string{"/actions/permissions/workflow": `{"default_workflow_permissions":"write"}`},
			[]string{"do: choose"}, []string{"gh api"},
		},
		"no permission for administration": {
			map[string]string{"/actions/permissions/workflow": "403"},
			[]string{
				"workflow permissions: not looked at: ", "403",
				"do: run the command with a token in GITHUB_TOKEN of an administrator: Administration, read",
			},
			[]string{"gh api", complete},
		},
		"no permission for environments": {
			map[string]string{alone: "403"},
			[]string{"may read Actions and Environments"}, []string{"gh api", complete},
		},
		"a private repository": {
			map[string]string{"": "-", "/rulesets": "-", "/rules/branches/main": "-"},
			[]string{"repository: not looked at: ", "that may see the repository: Metadata, read"}, []string{"gh api", complete},
		},
		"a redirect": {
			map[string]string{"/rulesets": "302"},
			[]string{"not looked at: "}, []string{"gh api", complete},
		},
		"no JSON": {
			map[string]string{"/rulesets": "<html>"},
			[]string{"malformed"}, []string{"gh api", complete},
		},
		"no list": {
			map[string]string{"/rulesets": "null "},
			[]string{"no list of rulesets"}, []string{"gh api", complete},
		},
		"no rules": {
			map[string]string{"/rules/branches/main": "null "},
			[]string{"no list of rules"}, []string{"gh api", complete},
		},
		"many of them": {
			map[string]string{"/rulesets": "[" + strings.Repeat("{},", 99) + "{}]"},
			[]string{"more than 100"}, []string{"gh api"},
		},
		"a ruleset with a name of two lines": {
			map[string]string{"/rulesets": `[{"id":7,"name":"t","target":"tag","enforcement":"active"},` +
				`{"name":"x\n  gh api -X DELETE repos/acme/widget\n::stop","target":"w","enforcement":"active"}]`},
			[]string{`# ruleset x\x0a`}, []string{"\n  gh api", "\n::", complete},
		},
	} {
		t.Run(what, func(t *testing.T) {
			answers := inOrder()
			for path, text := range c.change {
				if answers[path] = text; text == "-" {
					delete(answers, path)
				}
			}
			said, _, code := initSettings(t, settingsPolicy, "main", answers, "--github-token")
			if code != 0 {
				t.Errorf("exit %d", code)
			}
			for _, w := range c.want {
				if !strings.Contains(said, w) {
					t.Errorf("no %q in\n%s", w, said)
				}
			}
			for _, w := range append(c.mute, "PATCH", "DELETE /") {
				if strings.Contains(said, w) {
					t.Errorf("%q in\n%s", w, said)
				}
			}
		})
	}
}

// TestInitSettingsShell: every command that is printed is the words that are meant, whatever the
// policy, the clone and the forge call things. A gh that writes down its arguments runs them.
func TestInitSettingsShell(t *testing.T) {
	const name = `it's $(touch pwned) ;'"\` + "`id`"
	text := strings.Replace(settingsPolicy, `environment = "release"`, "environment = "+strconv.Quote(name), 1)
	answers := inOrder()
	answers["/rulesets"], answers["/environments"] = "[]", `{"total_count":0,"environments":[]}`
	answers["/rules/branches/a'b$(x)"] = "[]"
	said, _, code := initSettings(t, text, "a'b$(x)", answers, "--github-token")
	if code != 0 {
		t.Fatal(said)
	}
	_, said, _ = strings.Cut(said, "settings of the forge")
	dir := t.TempDir()
	const gh = "#!/bin/sh\nprintf '%s\\n' \"$@\" >> args\n" +
		"case \"$*\" in *--jq*) echo true;; *--input*) cat >> args; echo >> args;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "gh"), []byte(gh), 0o700); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for line := range strings.Lines(said) {
		if rest := strings.TrimPrefix(line, "  "); rest != line && !strings.HasPrefix(rest, "do:") {
			script.WriteString(rest) // comments, too
		}
	}
	cmd := exec.Command("sh", "-e", "-c", script.String())
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script.String())
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"include":["refs/tags/v1.*","refs/tags/v2.*"]`, `"include":["refs/heads/a'b$(x)"]`,
		"repos/acme/widget/environments/it%27s%20$%28touch%20pwned%29%20%3B%27%22%5C%60id%60\n", "name=v2.*\n",
	} {
		if !strings.Contains(string(args), want) {
			t.Errorf("no %s in\n%s\nby\n%s", want, args, said)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("a name was run")
	}
}

// TestInitSettingsUsage: a token that is missing, and a forge that has no such settings, are said
// before anything is written or asked.
func TestInitSettingsUsage(t *testing.T) {
	lab := strings.Replace(settingsPolicy, "github.com", "gitlab.com", 1)
	lab = strings.Replace(lab, ".github/workflows/release.yml", ".gitlab-ci.yml", 1)
	said, forge, code := initSettings(t, lab, "main", nil, "--github-token")
	if code != 2 || len(forge.asked) > 0 || !strings.Contains(said, "settings are read on github.com only") {
		t.Errorf("%d, %v: %s", code, forge.asked, said)
	}
	said, forge, code = initSettings(t, settingsPolicy, "main", nil)
	if code != 0 || len(forge.asked) > 0 || !strings.Contains(said, "repopolicy init --github-token") {
		t.Errorf("%d, %v: %s", code, forge.asked, said)
	}
	env := place(t)
	var talk bytes.Buffer
	env.Stderr = &talk
	if code := Main([]string{"init", "--github-token"}, env); code != 2 ||
		!strings.Contains(talk.String(), "GITHUB_TOKEN is not set") {
		t.Errorf("%d: %s", code, &talk)
	}
}
