// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/repopolicy/repopolicy/internal/propose/binding"
	"github.com/repopolicy/repopolicy/internal/propose/ci"
	"github.com/repopolicy/repopolicy/policy"
)

// idle is how long ago the workflow that binds, which runs once a week, may have run last.
const idle = 15 * day

// bindFile returns the file that binds a policy; "" for a forge whose runners prove nothing.
func (e *exam) bindFile() string {
	switch e.File.Repository.Host() {
	case "github.com":
		return binding.Workflow
	case "gitlab.com":
		return binding.GitLabBind
	}
	return ""
}

// bind looks at the text of the file that binds the policy.
func (e *exam) bind() {
	name := e.bindFile()
	if name == "" {
		e.fine(Bind, e.File.Repository.Host(), "no workflow binds there: the signatures of the maintainers do")
		return
	}
	text := e.clone.Read(name)
	if text == nil {
		e.wrong(Bind, name, policy.DoctorBind, "write it with `repopolicy init`, commit and push it",
			"the file is missing: no new version of the policy gets bound")
		return
	}
	before := len(e.out)
	if name == binding.Workflow {
		e.events(name, text)
		e.pins(name, text)
		if n, want := binding.LeavesPlaces(text); n > 0 {
			e.wrong(Bind, name, policy.DoctorBind, "copy "+want+" in its place",
				"line %d copies signatures without the place proofs beside them", n)
		}
	}
	e.program(name, text)
	if len(e.out) == before {
		e.fine(Bind, name, "the file is pinned and up to date")
	}
}

// events demands those by which a certificate shows that a run is of the default branch.
func (e *exam) events(name string, text []byte) {
	w := ci.Parse(name, text)
	for _, event := range []string{"repository_dispatch", "schedule"} {
		if w == nil || !slices.Contains(w.Events(), event) {
			e.wrong(Bind, name, policy.DoctorBind, "write "+event+" below on:, as `repopolicy init` does",
				"it does not run by %s, by which it binds", event)
		}
	}
}

// pins demands that each action is named by its commit.
func (e *exam) pins(name string, text []byte) {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		uses, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "- "), "uses:")
		if !ok {
			continue
		}
		uses, _, _ = strings.Cut(strings.TrimSpace(uses), " ")
		uses = strings.Trim(uses, `'"`)
		if _, ref, _ := strings.Cut(uses, "@"); !isCommit(ref) && !strings.HasPrefix(uses, "./") {
			e.wrong(Bind, name, policy.DoctorBind, "name the action by its commit",
				"line %d: %s may change by itself", n, uses)
		}
	}
}

func isCommit(ref string) bool {
	return len(ref) == 40 && strings.Trim(ref, "0123456789abcdef") == ""
}

// program compares the version of this program that the file runs with this one.
func (e *exam) program(name string, text []byte) {
	at := bytes.Index(text, []byte("PROGRAM: "))
	if at < 0 {
		e.unread(Bind, name, "see that it runs an exact version of this program",
			"it does not name its program as `repopolicy init` does")
		return
	}
	line, _, _ := strings.Cut(string(text[at+len("PROGRAM: "):]), "\n")
	program := strings.Trim(strings.TrimSpace(line), `'"`)
	_, version, _ := strings.Cut(program, "@")
	switch {
	case !semver.IsValid(version):
		e.wrong(Bind, name, policy.DoctorBind, "name an exact version, such as "+e.current(),
			"PROGRAM is %s: what binds the repository may change by itself", program)
	case semver.IsValid(e.Program) && semver.Compare(semver.MajorMinor(version), semver.MajorMinor(e.Program)) < 0:
		e.wrong(Bind, name, policy.DoctorBind, "name version "+e.Program+" in it, commit and push it",
			"it runs %s, and this is %s", version, e.Program)
	}
}

func (e *exam) current() string {
	if e.Program == "" {
		return "v1.2.3"
	}
	return e.Program
}

// runs asks whether the workflow that binds may run, and does: GitHub turns the schedule of a
// repository off in which nothing happens for 60 days.
func (e *exam) runs(ctx context.Context) {
	var flow struct {
		State string `json:"state"`
	}
	base := strings.TrimPrefix(binding.Workflow, ".github/workflows/")
	path := "repos/" + e.File.Repository.Path() + "/actions/workflows/" + base
	const subject = "runs of " + binding.Workflow
	switch err := e.read(ctx, path, &flow); {
	case errors.Is(err, fs.ErrNotExist):
		e.wrong(Bind, subject, policy.DoctorBind, "push it to the default branch", "GitHub knows no such workflow")
		return
	case err != nil:
		e.unread(Bind, subject, mayRead, "%s", err)
		return
	case flow.State != "active":
		e.wrong(Bind, subject, policy.DoctorBind, "turn it on: gh workflow enable "+base,
			"GitHub says that it is %s", word(flow.State))
		return
	}
	var list struct {
		Runs []struct {
			Created time.Time `json:"created_at"`
		} `json:"workflow_runs"`
	}
	if err := e.read(ctx, path+"/runs?per_page=1&status=success", &list); err != nil {
		e.unread(Bind, subject, mayRead, "%s", err)
		return
	}
	const do = "look at its runs: gh run list --workflow " + "repopolicy.yml"
	if len(list.Runs) == 0 {
		e.wrong(Bind, subject, policy.DoctorBind, do, "no run of it succeeded yet")
	} else if age := e.Now.Sub(list.Runs[0].Created); age > idle {
		e.wrong(Bind, subject, policy.DoctorBind, do, "the last run that succeeded is %d days old, and it runs weekly",
			int(age/day))
	} else {
		e.fine(Bind, subject, "the last run succeeded on %s", list.Runs[0].Created.UTC().Format(time.DateOnly))
	}
}

// word is a word of an answer, or what stands for none.
func word(s string) string {
	if s == "" {
		return "in no state"
	}
	return strings.ReplaceAll(s, "_", " ")
}

// read reads an answer of the forge.
func (e *exam) read(ctx context.Context, path string, into any) error {
	data, err := e.Ask(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return errors.New("the forge's answer is malformed: " + err.Error())
	}
	return nil
}
