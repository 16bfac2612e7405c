// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/policy"
)

// tree is a clone in memory.
type tree map[string]string

func (t tree) Read(name string, _ int64) ([]byte, error) {
	if text, ok := t[name]; ok {
		return []byte(text), nil
	}
	return nil, nil
}

func (t tree) Names(dir string) (out []string) {
	for name := range t {
		for at := name; at != "."; at = path.Dir(at) {
			if base := path.Base(at); path.Dir(at) == dir && !slices.Contains(out, base) {
				out = append(out, base)
			}
		}
	}
	slices.Sort(out)
	return out
}

const workflow = `on: {push: {tags: ['v*']}, workflow_dispatch: {}}
permissions: {}
jobs:
  release:
    runs-on: ubuntu-latest
    environment: release
    permissions: {id-token: write, attestations: write}
    steps:
      - uses: actions/attest-build-provenance@v2
        with: {subject-path: 'dist/widget_*.tar.gz'}
`

const head = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 1
expires = 2027-06-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

const theRule = `[[release]]
name = "binaries"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = ".github/workflows/release.yml"
environment = "release"
triggers = ["push"]
`

const api = "repos/acme/widget"

// forge answers as GitHub does where everything is as it should be.
func forge() map[string]string {
	return map[string]string{
		api:                          `{"default_branch":"main","archived":false}`,
		api + "/actions/permissions": `{"enabled":true,"allowed_actions":"all"}`,
		api + "/actions/permissions/workflow": `{"default_workflow_permissions":"read",` +
			`"can_approve_pull_request_reviews":false}`,
		api + "/actions/workflows/repopolicy.yml": `{"state":"active"}`,
		api + "/actions/workflows/repopolicy.yml/runs?per_page=1&status=success": `{"workflow_runs":[` +
			`{"created_at":"2026-11-20T05:23:00Z"}]}`,
		api + "/rulesets?includes_parents=true&per_page=100": `[{"id":7,"name":"t","target":"tag","enforcement":"active"},` +
			`{"id":8,"name":"b","target":"branch","enforcement":"active"}]`,
		api + "/rulesets/7": `{"id":7,"target":"tag","enforcement":"active",` +
			`"rules":[{"type":"deletion"},{"type":"update"}],` +
			`"conditions":{"ref_name":{"include":["refs/tags/v*"],"exclude":[]}}}`,
		api + "/rules/branches/main?per_page=100": `[{"type":"deletion"},{"type":"non_fast_forward"},` +
			`{"type":"pull_request","parameters":{"required_approving_review_count":1}}]`,
		api + "/environments/release": `{"protection_rules":[{"type":"required_reviewers","reviewers":[{}]}],` +
			`"deployment_branch_policy":{"protected_branches":false,"custom_branch_policies":true},"can_admins_bypass":false}`,
		api + "/environments/release/deployment-branch-policies?per_page=100": `{"total_count":1,"branch_policies":[` +
			`{"name":"v*","type":"tag"}]}`,
	}
}

func clean(t testing.TB) tree {
	t.Helper()
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	text, err := binding.GitHub(repo, "main", "github.com/repopolicy/repopolicy/cmd/repopolicy@v1.4.0", false, true)
	if err != nil {
		t.Fatal(err)
	}
	return tree{".github/workflows/release.yml": workflow, binding.Workflow: text}
}

// world is what a case is made of, before something in it is changed.
type world struct {
	policy string
	tree   tree
	forge  map[string]string // "!" is a refusal, and what is not there is missing
	c      Case
}

func (w *world) examine(t testing.TB) []Finding {
	t.Helper()
	doc, err := policy.Parse([]byte(w.policy))
	if err != nil {
		t.Fatal(err)
	}
	w.c.File = doc.Content()
	if w.tree != nil {
		w.c.Files = w.tree
	}
	if w.forge != nil {
		w.c.Ask = func(_ context.Context, path string) ([]byte, error) {
			switch text := w.forge[path]; text {
			case "":
				return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
			case "!":
				return nil, errors.New("403 Forbidden")
			default:
				return []byte(text), nil
			}
		}
	}
	return Examine(context.Background(), &w.c)
}

func newWorld(t testing.TB) *world {
	return &world{
		policy: head + theRule, tree: clean(t), forge: forge(),
		c: Case{
			Now:     time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC),
			Program: "v1.4.2",
			Branch:  "main",
			Tags:    []string{"v1.0.0"},
		},
	}
}

// TestInOrder: where everything is as it should be, nothing else is said.
func TestInOrder(t *testing.T) {
	for _, f := range newWorld(t).examine(t) {
		if f.Class() != policy.ClassOK || f.Do != "" {
			t.Errorf("%+v", f)
		}
	}
}

// TestWrong changes one thing at a time: it is found, with what to do, and nothing else is.
func TestWrong(t *testing.T) {
	edit := func(name, from, to string) func(w *world) {
		return func(w *world) {
			switch {
			case name == "policy":
				w.policy = swap(t, w.policy, from, to)
			case strings.HasPrefix(name, "repos/"):
				w.forge[name] = swap(t, w.forge[name], from, to)
			default:
				w.tree[name] = swap(t, w.tree[name], from, to)
			}
		}
	}
	const release, env = ".github/workflows/release.yml", api + "/environments/release"
	const bind, branch = binding.Workflow, api + "/rules/branches/main?per_page=100"
	const lists, runs = api + "/rulesets?includes_parents=true&per_page=100", api + "/actions/workflows/repopolicy.yml"
	for _, c := range []struct {
		name   string
		change func(w *world)
		reason policy.Reason
		check  string
		says   string
	}{
		{"expired", edit("policy", "2027-06-01", "2026-06-01"), policy.PolicyExpired, Expiry, "expired on 2026-06-01"},
		{"expires", edit("policy", "2027-06-01", "2026-12-09"), policy.DoctorExpires, Expiry, "in 10 days"},

		{"no binding", func(w *world) { delete(w.tree, bind) }, policy.DoctorBind, Bind, "missing"},
		{"program by branch", edit(bind, "@v1.4.0", "@main"), policy.DoctorBind, Bind, "may change by itself"},
		{"program without version", edit(bind, "@v1.4.0", ""), policy.DoctorBind, Bind, "may change by itself"},
		{"old program", edit(bind, "@v1.4.0", "@v1.3.9"), policy.DoctorBind, Bind, "runs v1.3.9, and this is v1.4.2"},
		{"no program", edit(bind, "PROGRAM: ", "PROG: "), policy.DoctorUnread, Bind, "not looked at"},
		{"action by tag", edit(bind, "upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02", "upload-artifact@v4"),
			policy.DoctorBind, Bind, "actions/upload-artifact@v4 may change"},
		{"no schedule", edit(bind, "schedule:", "create:"), policy.DoctorBind, Bind, "does not run by schedule"},
		{"no places", edit(bind, "signatures/*.json", "signatures/*.sigstore.json"), policy.DoctorBind, Bind, "place proofs"},
		{"not at the forge", func(w *world) { delete(w.forge, runs) }, policy.DoctorBind, Bind, "knows no such workflow"},
		{"disabled", edit(runs, "active", "disabled_inactivity"), policy.DoctorBind, Bind, "disabled inactivity"},
		{"forbidden runs", func(w *world) { w.forge[runs] = "!" }, policy.DoctorUnread, Bind, "403"},
		{"last run is old", edit(runs+"/runs?per_page=1&status=success", "11-20", "11-01"), policy.DoctorBind, Bind,
			"27 days old"},
		{"never ran", func(w *world) { w.forge[runs+"/runs?per_page=1&status=success"] = `{}` }, policy.DoctorBind, Bind,
			"no run of it succeeded"},
		{"forbidden list of runs", func(w *world) { w.forge[runs+"/runs?per_page=1&status=success"] = "!" },
			policy.DoctorUnread, Bind, "403"},

		{"no workflow", func(w *world) { delete(w.tree, release) }, policy.DoctorDrift, Drift, "there is no workflow"},
		{"other event", edit(release, "push: {tags: ['v*']}", "release: {}"), policy.DoctorDrift, Drift,
			"runs by release, workflow_dispatch, and the rule allows push"},
		{"other tags", edit(release, "['v*']", "['r*']"), policy.DoctorDrift, Drift, "no ref that the rule allows starts"},
		{"no token", edit(release, "id-token: write, ", ""), policy.DoctorDrift, Drift, "may have an ID token"},
		{"other environment", func(w *world) {
			edit(release, "environment: release", "environment: staging")(w)
		}, policy.DoctorDrift, Drift, "is in environment release; they are in staging"},
		{"self-hosted", edit(release, "ubuntu-latest", "[self-hosted]"), policy.DoctorDrift, Drift, "github-hosted runner"},
		{"signed elsewhere", edit("policy", `workflow = ".github/workflows/release.yml"`,
			`workflow = "https://github.com/acme/ci/.github/workflows/sign.yml"`+"\n"+
				`caller = ".github/workflows/release.yml"`+"\n"+`signer-ref = "refs/tags/v1"`),
			policy.DoctorDrift, Drift, "no job of .github/workflows/release.yml is in acme/ci/.github/workflows/sign.yml"},
		{"no rule", func(w *world) {
			w.tree[".github/workflows/more.yml"] = strings.ReplaceAll(workflow, "environment: release", "environment: other")
		}, policy.DoctorDrift, Drift, "in environment other publishes, and no rule allows it"},

		{"other branch", edit(api, "main", "trunk"), policy.DoctorSetting, Settings, "at the forge it is trunk"},
		{"archived", edit(api, "false", "true"), policy.DoctorSetting, Settings, "archived"},
		{"no answer", func(w *world) { w.forge[api] = "!" }, policy.DoctorUnread, Settings, "403"},
		{"malformed", func(w *world) { w.forge[api] = "[" }, policy.DoctorUnread, Settings, "malformed"},
		{"write token", edit(api+"/actions/permissions/workflow", `"read"`, `"write"`), policy.DoctorSetting, Settings,
			"every job may write"},
		{"nothing of tokens", func(w *world) { w.forge[api+"/actions/permissions/workflow"] = "{}" }, policy.DoctorSetting,
			Settings, "every job may write"},
		{"approving", edit(api+"/actions/permissions/workflow", "false", "true"), policy.DoctorSetting, Settings,
			"may approve a change"},
		{"forbidden permissions", func(w *world) { w.forge[api+"/actions/permissions/workflow"] = "!" },
			policy.DoctorUnread, Settings, "403"},
		{"no actions", edit(api+"/actions/permissions", "true", "false"), policy.DoctorSetting, Settings, "no workflow runs"},
		{
			"forbidden actions", func(w *world) { w.forge[api+"/actions/permissions"] = "!" }, policy.DoctorUnread,
			Settings, "403",
		},
		{"no ruleset", func(w *world) { w.forge[lists] = "[]" }, policy.DoctorSetting, Settings, "no active ruleset"},
		{"evaluated only", edit(lists, `"tag","enforcement":"active"`, `"tag","enforcement":"evaluate"`),
			policy.DoctorSetting, Settings, "no active ruleset"},
		{"tags may move", edit(api+"/rulesets/7", `{"type":"update"}`, `{"type":"creation"}`), policy.DoctorSetting, Settings,
			"no active ruleset"},
		{"some tags may move", edit(api+"/rulesets/7", `"exclude":[]`, `"exclude":["refs/tags/v9*"]`), policy.DoctorSetting,
			Settings, "no active ruleset"},
		{"other tags are kept", edit(api+"/rulesets/7", `refs/tags/v*`, `refs/tags/v1.*`), policy.DoctorSetting, Settings,
			"no active ruleset"},
		{
			"missing ruleset", func(w *world) { delete(w.forge, api+"/rulesets/7") }, policy.DoctorUnread, Settings,
			"not exist",
		},
		{"forbidden rulesets", func(w *world) { w.forge[lists] = "!" }, policy.DoctorUnread, Settings, "403"},
		{"too many rulesets", func(w *world) { w.forge[lists] = "[" + strings.Repeat("{},", 99) + "{}]" },
			policy.DoctorUnread, Settings, "more than 100"},
		{"execution protection", edit(lists, `]`, `,{"id":9,"name":"x","target":"actions","enforcement":"active"}]`),
			policy.DoctorUnread, Settings, "workflow execution protection"},
		{"rewritable", edit(branch, "non_fast_forward", "creation"), policy.DoctorSetting, Settings, "may be rewritten"},
		{"deletable", edit(branch, `"deletion"`, `"creation"`), policy.DoctorSetting, Settings, "may be deleted"},
		{"unreviewed", edit(branch, `count":1`, `count":0`), policy.DoctorSetting, Settings, "nobody's review"},
		{"forbidden branch", func(w *world) { w.forge[branch] = "!" }, policy.DoctorUnread, Settings, "403"},
		{"forbidden protection", func(w *world) { w.forge[branch], w.forge[api+"/branches/main/protection"] = "[]", "!" },
			policy.DoctorUnread, Settings, "403"},
		{"no environment", func(w *world) { delete(w.forge, env) }, policy.DoctorSetting, Settings, "without any protection"},
		{"forbidden environment", func(w *world) { w.forge[env] = "!" }, policy.DoctorUnread, Settings, "403"},
		{"no reviewers", edit(env, "[{}]", "[]"), policy.DoctorSetting, Settings, "nobody has to approve"},
		{"bypass", edit(env, `bypass":false`, `bypass":true`), policy.DoctorSetting, Settings, "administrators may pass"},
		{"from everywhere", edit(env, `{"protected_branches":false,"custom_branch_policies":true}`, "null"),
			policy.DoctorSetting, Settings, "every branch and tag"},
		{"from branches", edit(env, `{"protected_branches":false,"custom_branch_policies":true}`,
			`{"protected_branches":true,"custom_branch_policies":false}`), policy.DoctorSetting, Settings, "not all may deploy"},
		{"from other tags", edit(env+"/deployment-branch-policies?per_page=100", "v*", "v1.*"),
			policy.DoctorSetting, Settings,
			"not all may deploy"},
		{"from a branch of that name", edit(env+"/deployment-branch-policies?per_page=100", `"tag"`, `"branch"`),
			policy.DoctorSetting, Settings, "not all may deploy"},
		{"more sources", edit(env+"/deployment-branch-policies?per_page=100", `count":1`, `count":2`), policy.DoctorUnread,
			Settings, "more than 1 patterns"},
		{"forbidden sources", func(w *world) { w.forge[env+"/deployment-branch-policies?per_page=100"] = "!" },
			policy.DoctorUnread, Settings, "403"},
	} {
		w := newWorld(t)
		c.change(w)
		var bad []Finding
		for _, f := range w.examine(t) {
			if f.Class() != policy.ClassOK {
				bad = append(bad, f)
			}
		}
		// A job in another environment is also one without a rule.
		i := slices.IndexFunc(bad, func(f Finding) bool { return strings.Contains(f.Text, c.says) })
		if i < 0 || len(bad) > 2 || len(bad) == 2 && bad[0].Check != bad[1].Check {
			t.Errorf("%s: %+v", c.name, bad)
			continue
		}
		if f := bad[i]; f.Reason != c.reason || f.Check != c.check || f.Do == "" {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func swap(t testing.TB, text, from, to string) string {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("no %q in %s", from, text)
	}
	return strings.Replace(text, from, to, 1)
}

// TestOwnProtection: what a branch is protected by beside rulesets counts, too.
func TestOwnProtection(t *testing.T) {
	w := newWorld(t)
	w.forge[api+"/rules/branches/main?per_page=100"] = "[]"
	w.forge[api+"/branches/main/protection"] = `{"allow_force_pushes":{"enabled":false},` +
		`"allow_deletions":{"enabled":false},` +
		`"required_pull_request_reviews":{"required_approving_review_count":2}}`
	for _, f := range w.examine(t) {
		if f.Class() != policy.ClassOK {
			t.Errorf("%+v", f)
		}
	}
}

// TestUnread: what nobody looked at is never in order.
func TestUnread(t *testing.T) {
	w := newWorld(t)
	w.tree, w.forge, w.c.NoFiles, w.c.NoAsk = nil, nil, "no clone", "off-line"
	got := map[string]int{}
	for _, f := range w.examine(t) {
		if f.Check != Expiry && f.Class() != policy.ClassUnavailable || f.Reason != "" && f.Do == "" {
			t.Errorf("%+v", f)
		}
		got[f.Check]++
	}
	if !maps.Equal(got, map[string]int{Expiry: 1, Bind: 1, Drift: 1, Settings: 5}) {
		t.Error(got)
	}
	w = newWorld(t)
	w.policy = strings.NewReplacer("github.com/acme", "gitlab.com/acme", "release.yml", "x.yml").Replace(w.policy)
	w.policy = strings.Replace(w.policy, ".github/workflows/x.yml", ".gitlab-ci.yml", 1)
	for _, f := range w.examine(t) {
		if f.Check == Settings && f.Class() != policy.ClassUnavailable {
			t.Errorf("%+v", f)
		}
	}
}

// TestCalled: a rule about a workflow of somebody else, at the ref at which it is called.
func TestCalled(t *testing.T) {
	const rule = `[[release]]
name = "binaries"
tags = ["v*"]
artifacts = ["widget_*"]
workflow = "https://github.com/acme/ci/.github/workflows/sign.yml"
caller = ".github/workflows/release.yml"
`
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct{ at, rule, says string }{
		{"v1", `signer-ref = "refs/tags/v1"`, ""},
		{"v1", `signer-ref = "refs/heads/v1"`, ""},
		{"refs/tags/v1", `signer-ref = "refs/tags/v1"`, ""},
		{"v2", `signer-ref = "refs/tags/v1"`, "is called at v2, the rule wants refs/tags/v1"},
		{commit, `signer-digest = "` + commit + `"`, ""},
		{strings.Repeat("0", 40), `signer-digest = "` + commit + `"`, "is called at 000"},
		{commit, `signer-ref = "refs/tags/v1"`, "is called at 0123"},
		{"v1", `signer-digest = "` + commit + `"`, ""},
	} {
		w := newWorld(t)
		w.policy = head + rule + c.rule + "\n"
		w.tree[".github/workflows/release.yml"] = "on: {push: {tags: ['v*']}}\npermissions: {id-token: write}\njobs:\n" +
			"  call: {uses: 'acme/ci/.github/workflows/sign.yml@" + c.at + "'}\n"
		got := ""
		for _, f := range w.examine(t) {
			if f.Check == Drift {
				got = cmp.Or(got, string(f.Reason)+f.Text)
			}
		}
		if c.says == "" && !strings.HasPrefix(got, "job call of") || !strings.Contains(got, c.says) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestWider: a pattern of the forge counts only where it certainly matches all of ours.
func TestWider(t *testing.T) {
	for _, c := range []struct {
		include, pattern string
		want             bool
	}{
		{"~ALL", "refs/tags/v*", true}, {"refs/tags/v*", "refs/tags/v*", true}, {"refs/tags/*", "refs/tags/v*", true},
		{"refs/tags/*", "refs/tags/cli/v*", false}, {"refs/tags/**/*", "refs/tags/cli/v*", true},
		{"refs/tags/v1.*", "refs/tags/v*", false}, {"refs/tags/v", "refs/tags/v1", false},
		{"refs/tags/[v]*", "refs/tags/v*", false}, {"~DEFAULT_BRANCH", "refs/tags/v*", false}, {"", "refs/tags/v*", false},
	} {
		if wider(c.include, c.pattern) != c.want {
			t.Errorf("%+v", c)
		}
	}
}

// FuzzAnswers: whatever the forge answers, nothing that it did not say is in order, and each
// finding that is not has something to do.
func FuzzAnswers(f *testing.F) {
	for _, text := range forge() {
		f.Add([]byte(text))
	}
	f.Add([]byte("null"))
	world := newWorld(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		w := *world
		w.forge = nil
		w.c.Ask = func(context.Context, string) ([]byte, error) { return data, nil }
		bad := 0
		for _, x := range w.examine(t) {
			if x.Class() != policy.ClassOK {
				bad++
				if x.Do == "" || x.Text == "" {
					t.Fatalf("%+v", x)
				}
			}
		}
		if bad == 0 {
			t.Fatalf("one answer to everything is in order: %q", data)
		}
	})
}
