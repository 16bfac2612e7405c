// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

const releaseWorkflow = `name: Release
on:
  push:
    tags: ["v*", "!v*-rc*"]
  workflow_dispatch:
permissions: {}
jobs:
  build:
    runs-on: ubuntu-latest
    outputs:
      digest: ${{ steps.build.outputs.digest }}
    steps:
      - uses: actions/checkout@v4
      - id: build
        run: |
          test "$GITHUB_REPOSITORY" = acme/widget
          test "$(cat README)" = hello
          test -z "${ACTIONS_ID_TOKEN_REQUEST_URL:-}"
          echo "digest=$(sha256sum < README | cut -d' ' -f1)" >> "$GITHUB_OUTPUT"
  sign:
    needs: build
    if: github.repository == 'acme/widget' && startsWith(github.ref, 'refs/tags/')
    runs-on: ubuntu-latest
    environment: release
    permissions:
      id-token: write
    steps:
      - run: test -n "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" && test "$DIGEST" != ""
        env:
          DIGEST: ${{ needs.build.outputs.digest }}
      - uses: acme/sign@v1
        with:
          digest: ${{ needs.build.outputs.digest }}
  elsewhere:
    needs: build
    if: github.repository != 'acme/widget'
    runs-on: ubuntu-latest
    steps: [{run: "false"}]
  cleanup:
    needs: [sign, elsewhere]
    if: ${{ always() }}
    runs-on: [self-hosted, linux]
    steps: [{run: "true"}]
`

// TestWorkflow runs a release from tag to verified bundle, in real shells with
// real tokens.
func TestWorkflow(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	f := s.Forge()
	repo := create(t, f, "acme/widget")
	hash := commitFiles(t, f, "acme/widget", "main", map[string]string{"README": "hello\n", ".github/workflows/release.yml": releaseWorkflow})
	check(t, f.SetRef("acme/widget", "refs/tags/v1.2.3", hash))

	var signedAs claims.GitHub
	runJob := func(ctx context.Context, j *forge.Job) error {
		if j.ID == "sign" {
			signedAs = j.Claims
		}
		return j.Shell(ctx, t.Output(), nil, map[string]func(context.Context, string, forge.Step) error{
			"acme/sign": func(ctx context.Context, _ string, step forge.Step) error {
				if len(step.With["digest"]) != 64 {
					return fmt.Errorf("digest %q", step.With["digest"])
				}
				return signAmbient(ctx, t, s, j.Env)
			},
		})
	}
	runs, err := f.Trigger(t.Context(), forge.Event{Name: "push", Repository: "acme/widget", Ref: "refs/tags/v1.2.3"}, runJob)
	check(t, err)
	want := map[string]string{"build": "success", "sign": "success", "elsewhere": "skipped", "cleanup": "success"}
	if diff := cmp.Diff(want, outcomes(t, runs, 1)); diff != "" {
		t.Error(diff)
	}
	wantClaims := claims.GitHub{
		Repository: "acme/widget", RepositoryID: repo.ID, OwnerID: repo.OwnerID, Visibility: "public", Ref: "refs/tags/v1.2.3", SHA: hash,
		Workflow: ".github/workflows/release.yml", WorkflowName: "Release", WorkflowRef: "refs/tags/v1.2.3", WorkflowSHA: hash,
		Event: "push", Environment: "release", Runner: "github-hosted", RunID: 1, Actor: "acme",
	}
	if diff := cmp.Diff(wantClaims, signedAs); diff != "" {
		t.Error(diff)
	}
	// What starts nothing, and what starts without signing.
	runs, err = f.Trigger(t.Context(), forge.Event{Name: "push", Repository: "acme/widget", Ref: "refs/heads/main"}, runJob)
	check(t, err)
	if len(runs) != 0 {
		t.Errorf("a push to a branch started %+v", runs)
	}
	check(t, f.SetRef("acme/widget", "refs/tags/v2-rc1", hash))
	runs, err = f.Trigger(t.Context(), forge.Event{Name: "push", Repository: "acme/widget", Ref: "refs/tags/v2-rc1"}, runJob)
	check(t, err)
	if len(runs) != 0 {
		t.Errorf("an excluded tag started %+v", runs)
	}
	runs, err = f.Trigger(t.Context(), forge.Event{Name: "workflow_dispatch", Repository: "acme/widget", Ref: "refs/heads/main", Workflow: ".github/workflows/release.yml"}, runJob)
	check(t, err)
	if got := outcomes(t, runs, 1); got["sign"] != "skipped" || got["build"] != "success" || got["cleanup"] != "success" {
		t.Errorf("%v", got)
	}
}

func outcomes(t *testing.T, runs []forge.Run, want int) map[string]string {
	t.Helper()
	if len(runs) != want {
		t.Fatalf("%d runs: %+v", len(runs), runs)
	}
	m := map[string]string{}
	for _, r := range runs {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Workflow, r.Err)
		}
		for _, j := range r.Jobs {
			m[j.Job] = j.Outcome
			if j.Err != nil {
				t.Logf("%s: %v", j.Job, j.Err)
			}
		}
	}
	return m
}

// signAmbient signs as a client does inside a job: it asks the runner for a
// token.
func signAmbient(ctx context.Context, t *testing.T, s *sandbox.Stack, env map[string]string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, env["ACTIONS_ID_TOKEN_REQUEST_URL"]+"&audience=sigstore", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var token struct{ Value string }
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		return err
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return err
	}
	tr, err := root.NewTrustedRootFromJSON(s.TrustedRoot())
	if err != nil {
		return err
	}
	_, err = sign.Bundle(blob([]byte("x")), key, sign.BundleOptions{
		Context: ctx, TrustedRoot: tr,
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: s.URL(sandbox.Fulcio)}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token.Value},
		TimestampAuthorities:       []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: s.URL(sandbox.TSA)})},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: s.URL(sandbox.Rekor), Version: 2})},
	})
	return err
}

// TestEvents runs each event against workflow files with their mistakes, and
// looks at what a job's token would say.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	f := s.Forge()
	create(t, f, "acme/ci")
	shared := commitFiles(t, f, "acme/ci", "main", map[string]string{
		".github/workflows/sign.yml":   "on: {workflow_call: {inputs: {who: {type: string}}}}\njobs:\n  inner:\n    runs-on: ubuntu-latest\n    environment: ${{ inputs.who }}\n    steps: [{run: \"true\"}]\n",
		".github/workflows/greedy.yml": "on: workflow_call\njobs:\n  inner:\n    runs-on: ubuntu-latest\n    permissions: {id-token: write}\n    steps: [{run: \"true\"}]\n",
		".github/workflows/plain.yml":  "on: push\njobs:\n  inner:\n    runs-on: ubuntu-latest\n    steps: [{run: \"true\"}]\n",
	})
	check(t, f.SetRef("acme/ci", "refs/tags/v4", shared))
	job := func(rest string) string {
		return "    runs-on: ubuntu-latest\n" + rest + "    steps: [{run: \"true\"}]\n"
	}
	const write = "    permissions: {id-token: write}\n"
	type want struct {
		ran   bool
		token bool
		as    string // job_workflow_ref of the job
		ref   string
		env   string
		err   string // of the run or its job
	}
	self := "acme/app%d/.github/workflows/w.yml@"
	for i, row := range []struct {
		name  string
		files map[string]string // on main, but for "branch:file"
		event forge.Event
		want  want
	}{
		{"push without permission", map[string]string{"w": "on: push\njobs:\n  j:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"push with permission", map[string]string{"w": "on: [push]\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, token: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"permission of the file", map[string]string{"w": "on: push\npermissions: {id-token: write}\njobs:\n  j:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, token: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"write-all", map[string]string{"w": "on: push\npermissions: write-all\njobs:\n  j:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, token: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"read-all", map[string]string{"w": "on: push\npermissions: read-all\njobs:\n  j:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"a job gives permissions up", map[string]string{"w": "on: push\npermissions: {id-token: write}\njobs:\n  j:\n" + job("    permissions: {contents: read}\n")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"id-token: read is not enough", map[string]string{"w": "on: push\njobs:\n  j:\n" + job("    permissions: {id-token: read}\n")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"the pushed branch's file", map[string]string{"w": "on: {push: {branches: [main]}}\njobs:\n  j:\n" + job(write), "evil:w": "on: push\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "push", Ref: "refs/heads/evil"}, want{ran: true, token: true, as: self + "refs/heads/evil", ref: "refs/heads/evil"}},
		{"another branch", map[string]string{"w": "on: {push: {branches: [main]}}\njobs:\n  j:\n" + job(write), "other:README": "x"}, forge.Event{Name: "push", Ref: "refs/heads/other"}, want{}},
		{"dispatch of a type", map[string]string{"w": "on: {repository_dispatch: {types: [bind]}}\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "repository_dispatch", Action: "bind", Ref: "refs/heads/evil"}, want{ran: true, token: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"dispatch of another type", map[string]string{"w": "on: {repository_dispatch: {types: [bind]}}\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "repository_dispatch", Action: "other"}, want{}},
		{"dispatch runs the default branch only", map[string]string{"README": "x", "evil:w": "on: repository_dispatch\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "repository_dispatch", Action: "bind"}, want{}},
		{"schedule", map[string]string{"w": "on: {schedule: [{cron: \"0 3 * * *\"}]}\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "schedule", Action: "0 3 * * *"}, want{ran: true, token: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"another schedule", map[string]string{"w": "on: {schedule: [{cron: \"0 3 * * *\"}]}\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "schedule", Action: "0 4 * * *"}, want{}},
		{"manual, on a branch", map[string]string{"w": "on: push\njobs:\n  j:\n" + job(write), "dev:w": "on: workflow_dispatch\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "workflow_dispatch", Ref: "refs/heads/dev", Workflow: ".github/workflows/w.yml"}, want{ran: true, token: true, as: self + "refs/heads/dev", ref: "refs/heads/dev"}},
		{"an environment", map[string]string{"w": "on: push\njobs:\n  j:\n" + job(write+"    environment: {name: \"prod-${{ github.ref_name }}\"}\n")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, token: true, as: self + "refs/heads/main", ref: "refs/heads/main", env: "prod-main"}},
		{"a called workflow", map[string]string{"w": "on: push\njobs:\n  j:\n    permissions: {id-token: write}\n    uses: acme/ci/.github/workflows/sign.yml@v4\n    with: {who: \"${{ github.actor }}\"}\n"}, forge.Event{Name: "push", Ref: "refs/heads/main", Actor: "bob"}, want{ran: true, token: true, as: "acme/ci/.github/workflows/sign.yml@refs/tags/v4", ref: "refs/heads/main", env: "bob"}},
		{"a called workflow by commit", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: acme/ci/.github/workflows/sign.yml@" + shared + "\n"}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, as: "acme/ci/.github/workflows/sign.yml@" + shared, ref: "refs/heads/main"}},
		{"a local called workflow", map[string]string{"w": "on: push\njobs:\n  j:\n    permissions: {id-token: write}\n    uses: ./.github/workflows/local.yml\n", "local": "on: workflow_call\njobs:\n  inner:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, token: true, as: "acme/app%d/.github/workflows/local.yml@refs/heads/main", ref: "refs/heads/main"}},
		{"a called workflow that asks for more", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: acme/ci/.github/workflows/greedy.yml@v4\n"}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "asks for id-token: write"}},
		{"a called workflow whose job has more than its file", map[string]string{"w": "on: push\njobs:\n  j:\n    permissions: {id-token: write}\n    uses: ./.github/workflows/local.yml\n", "local": "on: workflow_call\npermissions: {}\njobs:\n  inner:\n" + job(write)}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, token: true, as: "acme/app%d/.github/workflows/local.yml@refs/heads/main", ref: "refs/heads/main"}},
		{"a called workflow that cannot be called", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: acme/ci/.github/workflows/plain.yml@v4\n"}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "no on: workflow_call"}},
		{"a called workflow that is not there", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: acme/ci/.github/workflows/none.yml@v4\n"}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "no file"}},
		{"a called workflow at no ref", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: acme/ci/.github/workflows/sign.yml@v5\n"}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "no such ref"}},
		{"an unknown key", map[string]string{"w": "on: push\njobs:\n  j:\n    runs_on: ubuntu-latest\n    steps: [{run: \"true\"}]\n"}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "w.yml:4:5"}},
		{"no YAML", map[string]string{"w": "on: [push\n"}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "w.yml:"}},
		{"needs no job", map[string]string{"w": "on: push\njobs:\n  j:\n" + job("    needs: k\n")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "which is no job"}},
		{"a wrong expression", map[string]string{"w": "on: push\njobs:\n  j:\n" + job("    if: nothing.here == 1\n")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: `there is no "nothing"`}},
		{"a pull request", map[string]string{"README": "x", "feature:w": "on: pull_request\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "pull_request", Ref: "refs/heads/feature"}, want{ran: true, token: true, as: self + "refs/pull/1/merge", ref: "refs/pull/1/merge"}},
		{"a pull request starts no push", map[string]string{"README": "x", "feature:w": "on: push\njobs:\n  j:\n" + job(write)}, forge.Event{Name: "pull_request", Ref: "refs/heads/feature"}, want{}},
		{"an input by default", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: ./.github/workflows/local.yml\n", "local": "on: {workflow_call: {inputs: {place: {type: string, default: there}}}}\njobs:\n  inner:\n" + job("    environment: \"${{ inputs.place }}\"\n")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, as: "acme/app%d/.github/workflows/local.yml@refs/heads/main", ref: "refs/heads/main", env: "there"}},
		{"an input that is missing", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: ./.github/workflows/local.yml\n", "local": "on: {workflow_call: {inputs: {place: {type: string, required: true}}}}\njobs:\n  inner:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "input place is required"}},
		{"an input that is unknown", map[string]string{"w": "on: push\njobs:\n  j:\n    uses: ./.github/workflows/local.yml\n    with: {x: y}\n", "local": "on: workflow_call\njobs:\n  inner:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{err: "no input x"}},
		{"paths that changed", map[string]string{"w": "on: {push: {paths: [\".github/**\"]}}\njobs:\n  j:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{ran: true, as: self + "refs/heads/main", ref: "refs/heads/main"}},
		{"paths that did not", map[string]string{"w": "on: {push: {paths: [\".repopolicy/**\"]}}\njobs:\n  j:\n" + job("")}, forge.Event{Name: "push", Ref: "refs/heads/main"}, want{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			repo := fmt.Sprintf("acme/app%d", i)
			create(t, f, repo)
			branches := map[string]map[string]string{}
			for name, content := range row.files {
				branch, file, ok := strings.Cut(name, ":")
				if !ok {
					branch, file = "main", name
				}
				if file != "README" {
					file = ".github/workflows/" + file + ".yml"
				}
				if branches[branch] == nil {
					branches[branch] = map[string]string{}
				}
				branches[branch][file] = content
			}
			for branch, files := range branches {
				commitFiles(t, f, repo, branch, files)
			}
			row.event.Repository = repo
			var got want
			runs, err := f.Trigger(t.Context(), row.event, func(_ context.Context, j *forge.Job) error {
				m, err := j.Claims.Claims()
				check(t, err)
				got.ran, got.token, got.as, got.ref, got.env = true, j.IDToken, m["job_workflow_ref"].(string), j.Claims.Ref, j.Claims.Environment
				if (j.Env["ACTIONS_ID_TOKEN_REQUEST_URL"] != "") != j.IDToken {
					t.Errorf("%v", j.Env)
				}
				return nil
			})
			check(t, err)
			var errs []error
			for _, r := range runs {
				errs = append(errs, r.Err)
				for _, j := range r.Jobs {
					errs = append(errs, j.Err)
				}
			}
			if err := errors.Join(errs...); err != nil {
				got.err = err.Error()
			}
			if row.want.err != "" && strings.Contains(got.err, row.want.err) {
				got.err = row.want.err
			}
			row.want.as = strings.ReplaceAll(row.want.as, "%d", fmt.Sprint(i))
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, e := range []forge.Event{
		{Name: "issue_comment", Repository: "acme/ci", Ref: "refs/heads/main"},
		{Name: "push", Repository: "acme/ci", Ref: "main"},
		{Name: "push", Repository: "acme/ci", Ref: "refs/heads/none"},
		{Name: "push", Repository: "acme/none", Ref: "refs/heads/main"},
		{Name: "workflow_dispatch", Repository: "acme/ci", Ref: "refs/heads/main", Workflow: ".github/workflows/none.yml"},
		{Name: "workflow_dispatch", Repository: "acme/ci", Ref: "refs/heads/main", Workflow: ".github/workflows/plain.yml"},
	} {
		if runs, err := f.Trigger(t.Context(), e, func(context.Context, *forge.Job) error { return nil }); err == nil {
			t.Errorf("%+v ran %+v", e, runs)
		}
	}
}

// TestFailingJob looks at what depends on a job that fails.
func TestFailingJob(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	f := s.Forge()
	create(t, f, "acme/widget")
	commitFiles(t, f, "acme/widget", "main", map[string]string{".github/workflows/w.yml": `on: push
jobs:
  bad:
    runs-on: ubuntu-latest
    steps:
      - run: exit 3
      - run: touch never
      - if: failure()
        run: echo "seen=yes" >> "$GITHUB_OUTPUT"
        id: last
    outputs: {seen: "${{ steps.last.outputs.seen }}"}
  after:
    needs: bad
    runs-on: ubuntu-latest
    steps: [{run: "true"}]
  anyway:
    needs: bad
    if: always() && needs.bad.result == 'failure' && needs.bad.outputs.seen == 'yes'
    runs-on: ubuntu-latest
    steps: [{run: "true"}]
  unknown:
    runs-on: ubuntu-latest
    steps: [{uses: acme/nothing@v1}]
`})
	runs, err := f.Trigger(t.Context(), forge.Event{Name: "push", Repository: "acme/widget", Ref: "refs/heads/main"}, func(ctx context.Context, j *forge.Job) error {
		return j.Shell(ctx, io.Discard, nil, nil)
	})
	check(t, err)
	if diff := cmp.Diff(map[string]string{"bad": "failure", "after": "skipped", "anyway": "success", "unknown": "failure"}, outcomes(t, runs, 1)); diff != "" {
		t.Error(diff)
	}
	i := slices.IndexFunc(runs[0].Jobs, func(r forge.Result) bool { return r.Job == "unknown" })
	if err := runs[0].Jobs[i].Err; err == nil || !strings.Contains(err.Error(), "does not have this action") {
		t.Errorf("%v", err)
	}
}

// TestComposite runs an action that is written in steps, from another repository
// and from the job's own directory.
func TestComposite(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Options{})
	f := s.Forge()
	create(t, f, "acme/act")
	const action = `name: greet
inputs:
  who: {required: true}
  greeting: {default: "hello ${{ github.actor }} and"}
outputs:
  said: {value: "${{ steps.say.outputs.said }}"}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      run: |
        test -z "${GREETING:-}" || exit 9
        echo "said=$(cat "$GITHUB_ACTION_PATH/mark") $HOW $WHO" >> "$GITHUB_OUTPUT"
        echo "## $WHO" >> "$GITHUB_STEP_SUMMARY"
      env: {WHO: "${{ inputs.who }}", HOW: "${{ inputs.greeting }}"}
    - if: steps.say.outputs.said == 'never'
      shell: bash
      run: exit 8
`
	commit := commitFiles(t, f, "acme/act", "main", map[string]string{
		"action.yml": action, "mark": "1", "node/action.yml": "runs: {using: node20, main: x.js}\n", "bare/action.yml": "runs: {using: composite, steps: [{run: x}]}\n",
		"round/action.yml": "runs: {using: composite, steps: [{uses: acme/act/round@main}]}\n",
	})
	for _, row := range []struct{ name, uses, with, want, err string }{
		{name: "by commit", uses: "acme/act@" + commit, with: "with: {who: 'a$(touch x)'}", want: "1 hello acme and a$(touch x)"},
		{name: "by branch, with an input", uses: "acme/act@main", with: "with: {who: b, greeting: moin}", want: "1 moin b"},
		{name: "from the directory", uses: "./own", with: "with: {who: c}", want: "2 hello acme and c"},
		{name: "without a required input", uses: "acme/act@main", err: "input who is required"},
		{name: "with an unknown input", uses: "acme/act@main", with: "with: {who: d, x: y}", err: "no input x"},
		{name: "at no ref", uses: "acme/act@v9", with: "with: {who: e}", err: "no such ref"},
		{name: "without a version", uses: "acme/act", with: "with: {who: e}", err: "without a version"},
		{name: "of no repository", uses: "acme/none@v1", with: "with: {who: e}", err: "none"},
		{name: "of another kind", uses: "acme/act/node@main", err: "node20"},
		{name: "without a shell", uses: "acme/act/bare@main", err: "names no shell"},
		{name: "of itself", uses: "acme/act/round@main", err: "too deep"},
	} {
		t.Run(row.name, func(t *testing.T) {
			repo := "acme/" + strings.ReplaceAll(strings.ReplaceAll(row.name, ",", ""), " ", "-")
			create(t, f, repo)
			commitFiles(t, f, repo, "main", map[string]string{
				"own/action.yml": action, "own/mark": "2",
				".github/workflows/w.yml": "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    outputs: {said: '${{ steps.act.outputs.said }}'}\n    steps:\n      - uses: actions/checkout@v4\n      - {id: act, uses: '" + row.uses + "', " + row.with + "}\n",
			})
			var said, summary string
			runs, err := f.Trigger(t.Context(), forge.Event{Name: "push", Repository: repo, Ref: "refs/heads/main", Actor: "acme"}, func(ctx context.Context, j *forge.Job) error {
				err := j.Shell(ctx, t.Output(), nil, nil)
				said, summary = j.Outputs["said"], j.Summary
				return err
			})
			check(t, err)
			var errs []error
			for _, r := range runs {
				errs = append(errs, r.Err)
				for _, j := range r.Jobs {
					errs = append(errs, j.Err)
				}
			}
			switch err := errors.Join(errs...); {
			case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
				t.Errorf("%v", err)
			case row.err == "" && (err != nil || said != row.want || !strings.HasPrefix(summary, "## ")):
				t.Errorf("%q, %q, %v", said, summary, err)
			}
		})
	}
}
