// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"os/exec"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/commandtest"
)

// TestStrangeFlags: no value of any flag or argument ends in what is called a bug.
func TestStrangeFlags(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of runs")
	}
	env := place(t)
	state := t.TempDir()
	commandtest.Silence(&env)
	env.StateDir = func() (string, error) { return state, nil }
	env.Getenv = func(string) string { return "" }
	if err := os.WriteFile("junk", []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = exec.Command("git", "init", "-q").Run()
	pinned := []string{"--policy", "policy.toml", "--trusted-root", "root.json", "widget_1"}
	commandtest.Strange(t, Command(), map[string][]string{
		"verify": pinned, "explain": pinned, "check": {"policy.toml"}, "export": {"--policy", "policy.toml", "--to", "gh"},
		"init":       {"--repo", "acme/widget", "--maintainers", "repository", "--program", "a@v1"},
		"trust show": {"--offline"}, "evidence show": {"junk", "--trusted-root", "root.json"}, "import aqua": {"junk"},
		"authorize": {"-R", "acme/widget"}, "sign-release": {"-R", "acme/widget", "-y", "widget_1"},
		"approve": {"-R", "acme/widget", "-y", "widget_1"}, "lock": {"-R", "acme/widget", "-o", "l"},
		"show": {"-R", "acme/widget"}, "log": {"-R", "acme/widget"}, "export-bundle": {"-R", "acme/widget", "-o", "b"},
		"diff": {"-R", "acme/widget"}, "trust export": {"x", "-o", "d"}, "sign": {"-y"},
	}, env, Main)
}
