// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// answering answers some addresses of the forge's API to who shows the token.
type answering map[string]string

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "api.github.com" {
		return nil, errors.New("nobody answers")
	}
	text, code := a[strings.TrimPrefix(r.URL.Path, "/")], http.StatusOK
	switch {
	case r.Header.Get("Authorization") != "Bearer secret":
		code = http.StatusUnauthorized
	case text == "":
		code = http.StatusNotFound
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}, nil
}

// TestDoctorOnline: text and JSON come from one value, the JSON is what the schema says, and
// the token goes to the forge alone.
func TestDoctorOnline(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../schema/doctor-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	env := place(t)
	if err := os.MkdirAll(filepath.Dir(command.DefaultPolicy), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(command.DefaultPolicy, []byte(testPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "init", "-q", "-b", "main").CombinedOutput(); err != nil {
		t.Skipf("%s: %s", err, out)
	}
	const repo = "repos/acme/widget"
	env.Transport = answering{
		repo:                          `{"default_branch":"main"}`,
		repo + "/actions/permissions": `{"enabled":true}`,
		repo + "/actions/permissions/workflow": `{"default_workflow_permissions":"read",` +
			`"can_approve_pull_request_reviews":false}`,
		repo + "/rulesets": `[]`,
		repo + "/releases": `[{"tag_name":"v1.2.3","published_at":"2026-01-01T00:00:00Z"}]`,
	}
	env.Getenv = func(name string) string { return map[string]string{"GITHUB_TOKEN": "secret"}[name] }
	dir := t.TempDir()
	env.StateDir = func() (string, error) { return dir, nil }
	run := func(args ...string) (string, string, int) {
		var out, talk bytes.Buffer
		env.Stdout, env.Stderr = &out, &talk
		code := Main(append([]string{"doctor"}, args...), env)
		return out.String(), talk.String(), code
	}
	text, talk, code := run("--github-token", "--trusted-root", "root.json")
	for _, want := range []string{
		"wrong  bind, .github/workflows/repopolicy.yml: the file is missing",
		"wrong  drift, rule ", "ok     settings, actions: workflows may run", "unread releases, release v1.2.3: ",
		": DENY\n", "       do: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s%s", want, text, talk)
		}
	}
	if strings.Contains(text+talk, "secret") || code != 1 {
		t.Errorf("%d: %s%s", code, text, talk)
	}
	text, _, code = run("--github-token", "--trusted-root", "root.json", "--format", "json")
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil || code != 1 {
		t.Fatal(err, code, text)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	var d report.Doctor
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(d.Findings, func(f report.Diagnosis) bool { return f.Check == "drift" })
	if i < 0 || d.Findings[i].Line == 0 {
		t.Errorf("no place of a rule: %+v", d.Findings)
	}
}

// TestDoctorVerdict: one thing that was not looked at is enough not to be OK, and each other
// class wins over it.
func TestDoctorVerdict(t *testing.T) {
	for _, c := range []struct {
		codes []policy.Reason
		want  policy.Class
	}{
		{[]policy.Reason{""}, policy.ClassOK},
		{[]policy.Reason{"", policy.DoctorUnread}, policy.ClassUnavailable},
		{[]policy.Reason{policy.DoctorExpires, ""}, policy.ClassStale},
		{[]policy.Reason{policy.DoctorExpires, policy.DoctorUnread}, policy.ClassUnavailable},
		{[]policy.Reason{policy.DoctorUnread, policy.DoctorSetting}, policy.ClassDeny},
		{[]policy.Reason{policy.DoctorUnread, policy.ChainForked, policy.DoctorDrift}, policy.ClassAlarm},
		{nil, policy.ClassDeny},
	} {
		d := report.Doctor{}
		for _, code := range c.codes {
			d.Findings = append(d.Findings, report.Diagnosis{Code: code})
		}
		if got := d.Judge(); got != c.want || d.Exit != c.want.Exit() {
			t.Errorf("%v: %v, exit %d", c.codes, got, d.Exit)
		}
	}
}
