// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// typed is what a new user types, and what must come of it.
type typed struct {
	command string
	exit    int
	most    int    // lines that are printed; 0 for any number
	says    string // part of what is printed
	next    bool   // what is proposed then is typed as it stands, and allowed
}

// journey is what somebody does who has read no more than the README, and the most commands of this
// program that may take.
type journey struct {
	who      string
	commands int
	steps    []typed
}

// TestNewUsers: a maintainer, a release engineer, a consumer, a platform engineer and an auditor come
// to where they want in few commands, and every refusal ends with what helps.
func TestNewUsers(t *testing.T) {
	const repo, file = "newcomers/widget", "widget_1.2.3.tar.gz"
	g := &guide{t: t, people: map[string]*person{}, runs: map[string]*actions{}, published: map[string]bool{}}
	g.page = "a new user"
	g.repository(repo, "public")
	none := newProject(t, "newcomers/none")
	none.push()
	verify := "repopolicy verify -R " + repo
	journeys := []journey{
		{"maintainer", 2, []typed{
			{command: "git clone -q https://github.com/" + repo + " && cd widget"},
			{command: "repopolicy init --yes", says: "done: logged in"},
			{command: "git add . && git commit -qm 'add a release policy' && git push -q"},
			{command: "git fetch -q && repopolicy status", most: 2, says: "committed   version 1, the same"},
		}},
		{"engineer", 3, []typed{
			{command: "git clone -q https://github.com/" + repo + " && cd widget && git fetch -q"},
			{command: "repopolicy check", says: "valid"},
			{command: "repopolicy verify --policy .repopolicy/policy.toml --tag v1.2.3 ../" + file, most: 4,
				says: "OK "},
			{
				command: "repopolicy verify --policy .repopolicy/policy.toml --tag v1.2.3 ../" + file + " .gitattributes", exit: 1,
				says: ".gitattributes  ",
			},
		}},
		{"consumer", 6, []typed{
			{command: verify + " --tag v1.2.3 " + file, most: 4,
				says: "OK    " + file + "  released by " + repo + " v1.2.3"},
			{command: "repopolicy verify https://github.com/" + repo + "/releases/tag/v1.2.3", most: 6, says: "OK "},
			{command: verify + " --tag 1.2.3 " + file, exit: 1, says: "did you mean that?", next: true},
			{command: "repopolicy verify -R newcomers/none --tag v1.2.3 " + file, exit: 5, says: "hint: "},
			{command: verify + " --offline --tag v1.2.3 " + file, exit: 2, says: "--git DIR"},
		}},
		{"platform", 5, []typed{
			{command: "repopolicy status -R " + repo + " -R newcomers/none", exit: 5, most: 3, says: "no-binding"},
			{command: "repopolicy show -R " + repo + " --format json", says: `"genesis": "first"`},
			{command: "repopolicy lock -R " + repo + " -o widget.lock", says: "wrote widget.lock: 1 version"},
			{command: "repopolicy verify --lock widget.lock --tag v1.2.3 " + file, most: 4, says: "OK "},
			{command: "repopolicy lock --lock widget.lock -o widget.lock", says: "nothing has changed"},
		}},
		{"auditor", 4, []typed{
			{command: "repopolicy log -R " + repo, says: "signed by   maintainer"},
			{command: "repopolicy inspect " + file, says: "no verdict"},
			{command: "repopolicy explain -R " + repo + " --tag v1.2.3 " + file, says: "OK "},
			{command: "repopolicy help exit-codes", says: "DENY"},
		}},
	}
	for _, j := range journeys {
		if j.who != "maintainer" {
			g.release(j.who, repo)
		}
		n := 0
		for _, s := range j.steps {
			n += strings.Count(s.command, "repopolicy ")
			code, out := g.types(j.who, s.command, false)
			if code != s.exit || !strings.Contains(out, s.says) || s.most > 0 && strings.Count(out, "\n") > s.most {
				t.Fatalf("%s: $ %s\nexit %d, want %d, at most %d lines and %q\n%s", j.who, s.command, code, s.exit,
					s.most, s.says, out)
			}
			if s.next {
				n++
				next := "repopolicy " + strings.Join(suggested(t, out), " ")
				if code, out := g.types(j.who, next, false); code != 0 {
					t.Errorf("%s: $ %s\nproposes %s\nexit %d\n%s", j.who, s.command, next, code, out)
				}
			}
		}
		if n > j.commands {
			t.Errorf("%s: %d commands, at most %d", j.who, n, j.commands)
		}
		t.Logf("%s: %d commands of this program", j.who, n)
	}

	// What is wrong with a release is said with what was wanted.
	made, err := stack.Forge().Find(repo)
	check(t, err)
	bad := releaseFile(t, file, claims.GitHub{
		Repository: repo, RepositoryID: made.ID, OwnerID: made.OwnerID, Ref: "refs/heads/main",
		Environment: "release",
	})
	code, out := g.types("consumer", verify+" "+bad, false)
	if code != 1 || !strings.Contains(out, "differs") || !strings.Contains(out, "wanted") || !strings.Contains(out,
		"next") {
		t.Errorf("exit %d\n%s", code, out)
	}
}
