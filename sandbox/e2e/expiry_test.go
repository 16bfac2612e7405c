// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// issuesFile names the environment variable with the file in which a forge's issues are kept.
const issuesFile = "E2E_ISSUES"

// issue is one of a repository.
type issue struct {
	Number   int      `json:"number"`
	Title    string   `json:"title"`
	Body     string   `json:"body"`
	App      string   `json:"app"` // that opened it; "" for a person
	Closed   bool     `json:"closed"`
	Comments []string `json:"comments"`
}

func readIssues() (all []*issue, err error) {
	data, err := os.ReadFile(os.Getenv(issuesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	return all, err
}

func writeIssues(all []*issue) error {
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(os.Getenv(issuesFile), data, 0o600)
}

// ghIssue is what our workflows use of gh issue.
func ghIssue(args []string) error {
	if len(args) == 0 || os.Getenv("GH_TOKEN") != "sandbox-contents-" {
		return errors.New("HTTP 403")
	}
	all, err := readIssues()
	if err != nil {
		return err
	}
	verb, rest, number := args[0], args[1:], 0
	if verb == "edit" || verb == "comment" {
		if _, err := fmt.Sscan(args[1], &number); err != nil || number < 1 || number > len(all) {
			return fmt.Errorf("no issue %q", args[1])
		}
		rest = args[2:]
	}
	f := flag.NewFlagSet("gh", flag.ContinueOnError)
	repo, title, body := f.String("repo", "", ""), f.String("title", "", ""), f.String("body", "", "")
	app, form := f.String("app", "", ""), f.String("template", "", "")
	f.String("json", "", "")
	f.String("state", "", "")
	f.String("search", "", "")
	if err := f.Parse(rest); err != nil || *repo != os.Getenv("GITHUB_REPOSITORY") || f.NArg() > 0 {
		return fmt.Errorf("unexpected %q", args)
	}
	switch verb {
	case "list":
		t, err := template.New("").Parse(*form)
		if err != nil {
			return err
		}
		var shown []map[string]any
		for _, i := range all {
			if !i.Closed && i.App == *app {
				shown = append(shown, map[string]any{"number": float64(i.Number), "title": i.Title})
			}
		}
		return t.Execute(os.Stdout, shown)
	case "create":
		all = append(all, &issue{Number: len(all) + 1, Title: *title, Body: *body, App: "github-actions"})
	case "edit":
		all[number-1].Title, all[number-1].Body = *title, *body
	case "comment":
		all[number-1].Comments = append(all[number-1].Comments, *body)
	default:
		return fmt.Errorf("unexpected %q", args)
	}
	return writeIssues(all)
}

// TestExpiryIssue: the weekly run of the workflow that binds opens one issue before the policy
// expires, says so again when it matters more, and is silent once the policy was renewed.
func TestExpiryIssue(t *testing.T) {
	const name = "acme/expires"
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	p.write(".github/workflows/release.yml", "on:\n  push:\n    tags: ['v*']\npermissions: {}\njobs:\n  release:\n"+
		"    runs-on: ubuntu-latest\n    environment: release\n    permissions:\n      id-token: write\n    steps:\n"+
		"      - run: make\n"+attestStep)
	maintainer := newComputer(t)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	maintainer.must(policy.ClassOK, "init", "--git", p.dir, "--repo", "https://github.com/"+name, "--yes",
		"--expires", "50d")
	p.push()
	a := newActions(t, name)
	issues := filepath.Join(t.TempDir(), "issues.json")
	a.env[issuesFile] = issues
	t.Setenv(issuesFile, issues)
	expect := func(got []string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s\n%s", d, a.out.String())
		}
	}
	weekly := func() []string {
		return a.fire(forge.Event{Name: "schedule", Action: "23 5 * * 1", Ref: "refs/heads/main"})
	}
	bound := []string{"quorum success", "dispatch success", "bind success", "publish success"}
	expect(a.trigger("push", ""), bound...)

	// A stranger's issue of that name, and one that was closed, are not ours.
	check(t, writeIssues([]*issue{
		{Number: 1, Title: "The release policy expires within 60 days", App: ""},
		{Number: 2, Title: "The release policy expires within 60 days", App: "github-actions", Closed: true},
	}))
	says := func(n int, title string, comments int, text string) {
		t.Helper()
		all, err := readIssues()
		check(t, err)
		if len(all) != n || all[n-1].Title != title || len(all[n-1].Comments) != comments || !strings.Contains(all[n-1].Body, text) {
			t.Errorf("want %d issues, the last %q; got %+v", n, title, *all[len(all)-1])
		}
	}
	for range 2 { // the second time there is nothing new to say
		expect(weekly(), "bind success", "expiry success")
		says(3, "The release policy expires within 60 days", 0, "repopolicy renew")
	}
	git(t, p.dir, "fetch", "-q", "origin")
	for _, args := range [][]string{{"status", "--git", p.dir}, {"show", "-R", name}} {
		maintainer.says(policy.ClassOK, args, "in 49 days", "repopolicy renew")
	}
	good := artifact(t, "unsigned.tar.gz")
	maintainer.says(policy.ClassDeny, []string{"verify", "-R", name, good}, "in 49 days")

	renew := func(days int) {
		t.Helper()
		maintainer.must(policy.ClassOK, "renew", "--git", p.dir, "--expires", fmt.Sprintf("%dd", days))
		p.commit("renew the policy")
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		expect(a.trigger("push", ""), bound...)
		git(t, p.dir, "fetch", "-q", "origin")
	}
	renew(20)
	kept := contentOf(t, issues)
	check(t, os.WriteFile(issues, []byte("no list"), 0o600)) // who gives no answer may have an issue
	expect(weekly(), "bind success", "expiry failure")
	check(t, os.WriteFile(issues, kept, 0o600))
	expect(weekly(), "bind success", "expiry success")
	says(3, "The release policy expires within 30 days", 1, "Version 2 of the policy of https://github.com/"+name)
	renew(5)
	expect(weekly(), "bind success", "expiry success")
	says(3, "The release policy expires within 7 days", 2, time.Now().UTC().AddDate(0, 0, 5).Format(time.DateOnly))
	renew(100)
	expect(weekly(), "bind success")
	says(3, "The release policy expires within 7 days", 2, "")
	if out := maintainer.must(policy.ClassOK, "status", "--git", p.dir); strings.Contains(out,
		"note: the policy expires") {
		t.Error(out)
	}

	// Without the job nobody is told.
	q := newProject2(t, "acme/untold")
	q.write(".github/workflows/release.yml", string(contentOf(t, filepath.Join(p.dir,
		".github/workflows/release.yml"))))
	maintainer.must(policy.ClassOK, "init", "--git", q.dir, "--repo", "https://github.com/acme/untold",
		"--no-sign",
		"--no-expiry-issue", "--email", "alice@example.com", "--issuer", "https://accounts.google.com")
	if text := contentOf(t, filepath.Join(q.dir,
		".github/workflows/repopolicy.yml")); strings.Contains(string(text), "issues: write") {
		t.Errorf("%s", text)
	}
}
