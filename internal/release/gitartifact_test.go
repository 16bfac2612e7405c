// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/git"
	"github.com/repopolicy/repopolicy/policy"
)

// TestGitFailure: what ends a run is never said to be the repository's fault.
func TestGitFailure(t *testing.T) {
	for _, c := range []struct {
		err  error
		want policy.Reason
	}{
		{&budget.Exceeded{Need: 2, Limit: 1}, policy.BudgetExceeded},
		{git.ErrTooMuchWork, policy.BudgetExceeded},
		{context.Canceled, policy.Interrupted},
		{context.DeadlineExceeded, policy.Interrupted},
		{git.ErrMalformed, policy.GitInvalid},
		{git.ErrUnsupported, policy.GitInvalid},
		{git.ErrUnreachable, policy.CommitUnreachable},
		{git.ErrIncomplete, policy.GitIncomplete},
		{git.ErrNotFound, policy.GitIncomplete},
		{errors.New("other"), policy.ArtifactRead},
	} {
		if f := gitFailure(fmt.Errorf("object: %w", c.err)); f.Reason != c.want {
			t.Errorf("%v: %s, want %s", c.err, f.Reason, c.want)
		}
	}
}

// TestGitBudget: a run without room for a tag, a commit or its notes could not decide.
func TestGitBudget(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a",
			"GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("init", "-q", "-b", "main")
	run("commit", "-q", "--allow-empty", "-m", "one")
	run("tag", "-m", "one", "v1")
	if err := os.WriteFile(filepath.Join(dir, "note"), []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	run("notes", "add", "-F", "note")
	commit := run("rev-parse", "HEAD")
	for limit, want := range map[int64]policy.Reason{
		10: policy.BudgetExceeded, 100 << 10: policy.BudgetExceeded, 8 << 20: "",
	} {
		ctx := budget.With(context.Background(), budget.New(limit))
		for what, a := range map[string]*Artifact{
			"a tag":    expandTag(ctx, "refs/tags/v1", dir),
			"a commit": expandCommit(ctx, commit, dir, policy.Digest{Alg: "gitCommit", Hex: commit}),
		} {
			var got policy.Reason
			if a.Err != nil {
				got = a.Err.Reason
			}
			if got != want {
				t.Errorf("%s within %d bytes: %q %v, want %q", what, limit, got, a.Err, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if a := expandTag(ctx, "refs/tags/v1", dir); a.Err == nil || a.Err.Reason != policy.Interrupted {
		t.Errorf("interrupted: %v", a.Err)
	}
}
