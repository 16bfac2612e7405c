// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

var widget, _ = policy.ParseLocator("https://github.com/acme/widget")

// TestWorkflow: what is filled in is plain, and anything else is refused.
func TestWorkflow(t *testing.T) {
	text, err := GitHub(widget, "main", spelling.Name+"/cmd/repopolicy@v1.2.3", false, true)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text, "<>") || strings.Contains(text, "publish-name") {
		t.Error(text)
	}
	private, err := GitHub(widget, "main", "p@v1", true, false)
	if err != nil || !strings.Contains(private, "--output bound --publish-name\n") {
		t.Error(private, err)
	}
	for _, bad := range []string{"", "a'b", "a*", "a b", "a\nb", "${{ x }}", "!a", "a:b"} {
		if _, err := GitHub(widget, bad, "p@v1", false, true); err == nil {
			t.Errorf("branch %q", bad)
		}
		if _, err := GitHub(widget, "main", bad, false, true); err == nil {
			t.Errorf("program %q", bad)
		}
	}
	lab, err := GitLab(widget, spelling.Name+"/cmd/repopolicy@v1.2.3", "test", false)
	if err != nil || strings.ContainsAny(lab, "<>") || !strings.Contains(lab, "bind --if-ready --output bound\n") ||
		!strings.Contains(lab, `$CI_PROJECT_PATH == "`+widget.Path()+`"`) {
		t.Error(lab, err)
	}
	if _, err := GitLab(widget, "a b", "test", false); err == nil {
		t.Error("a program that cannot stand in a pipeline")
	}
	if _, err := GitLab(widget, "p@v1", "a: b", false); err == nil {
		t.Error("a stage that cannot stand in a pipeline")
	}
}

// TestActionlint: actionlint accepts the workflow.
func TestActionlint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "repopolicy.yml")
	if err := os.WriteFile(path, []byte(bound(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "tool", "actionlint", path).CombinedOutput(); err != nil {
		t.Errorf("actionlint: %v\n%s", err, out)
	}
}

// bound returns the workflow for a repository.
func bound(t *testing.T) string {
	t.Helper()
	text, err := GitHub(widget, "main", spelling.Name+"/cmd/repopolicy@v1.2.3", false, true)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestJobs: actions are pinned, and no job can both sign and write.
func TestJobs(t *testing.T) {
	text := bound(t)
	for line := range strings.Lines(text) {
		if _, uses, ok := strings.Cut(line, "uses: "); ok {
			at, comment, _ := strings.Cut(strings.TrimSpace(uses), " # v")
			if _, sha, _ := strings.Cut(at, "@"); len(sha) != 40 || comment == "" {
				t.Errorf("not pinned: %s", line)
			}
		}
	}
	if !strings.Contains(text, "\npermissions: {}\n") {
		t.Error("the default permissions")
	}
	for job := range strings.SplitSeq(text[strings.Index(text, "\njobs:"):], "\n\n") {
		if strings.Contains(job, "id-token: write") && strings.Contains(job, "contents: write") {
			t.Error(job)
		}
		if strings.Contains(job, "actions/checkout") && !strings.Contains(job, "git push") &&
			!strings.Contains(job, "persist-credentials: false") {
			t.Error(job)
		}
	}
}

// TestLeavesPlaces: a workflow that copies signatures alone is told, and what init writes is not.
func TestLeavesPlaces(t *testing.T) {
	github := "      - run: |\n          mkdir -p .repopolicy/signatures\n" +
		"          cp ../bound/.repopolicy/signatures/*.sigstore.json .repopolicy/signatures/\n"
	gitlab := "  script:\n    - cp \"$bound\"/.repopolicy/signatures/*.sigstore.json .repopolicy/signatures/\n"
	for name, x := range map[string]struct {
		text, want string
		line       int
	}{
		"github": {github, "cp ../bound/.repopolicy/signatures/*.json .repopolicy/signatures/", 3},
		"gitlab": {gitlab, `- cp "$bound"/.repopolicy/signatures/*.json .repopolicy/signatures/`, 2},
		"all":    {strings.ReplaceAll(github, "*.sigstore.json", "*.json"), "", 0},
		"another line": {
			github + "          cp ../bound/.repopolicy/signatures/*.place.json .repopolicy/signatures/\n", "", 0,
		},
		"a comment":      {"# cp x/.repopolicy/signatures/*.sigstore.json y\n", "", 0},
		"nothing":        {"", "", 0},
		"what init does": {gitlabTemplate, "", 0},
		"and on github":  {bindTemplate, "", 0},
	} {
		if line, want := LeavesPlaces([]byte(x.text)); line != x.line || want != x.want {
			t.Errorf("%s: %d %q", name, line, want)
		}
	}
}
