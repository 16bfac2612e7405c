package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// suggested returns the words of the command that a denial proposes.
func suggested(t *testing.T, out string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(out, "  next         repopolicy ")
	if !ok {
		t.Fatalf("no command is proposed:\n%s", out)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line) // none of these words has a blank
}

// TestHints: who makes a mistake is told, and who types what is proposed gets what was meant.
func TestHints(t *testing.T) {
	const name, url = "acme/hints", "https://github.com/acme/hints"
	p, good := bound(t, name)
	repo, err := stack.Forge().Find(name)
	check(t, err)
	sign := func(tag, content string) string {
		job := claims.GitHub{Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/" + tag}
		job.Environment = "release"
		return string(signBlob(t, []byte(content), job))
	}
	for _, tag := range []string{"v1", "v2"} {
		check(t, stack.Forge().Release(name, tag, map[string]string{
			"widget_1.tar.gz": "as of " + tag, "widget_1.tar.gz.sigstore.json": sign(tag, "as of "+tag),
		}))
	}
	bare := filepath.Join(t.TempDir(), "widget_1.tar.gz") // what somebody downloaded of v1
	check(t, os.WriteFile(bare, []byte("as of v1"), 0o600))
	unknown := filepath.Join(t.TempDir(), "widget_9.tar.gz")
	check(t, os.WriteFile(unknown, []byte("unknown"), 0o600))
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, ".", "clone", "-q", stack.Forge().CloneURL(name), clone)

	// One command, two lines.
	stranger := newComputer(t)
	out := stranger.must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", good)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[0], "OK    ") ||
		!strings.HasPrefix(lines[1], "policy version 1 of 1, in force since ") ||
		!strings.HasSuffix(lines[1], "; first: yes (first); complete: as the log's index says (hinted)") {
		t.Errorf("%s", out)
	}
	// On a terminal of 80 columns these are four.
	narrow := newComputer(t)
	narrow.width, narrow.env["NO_COLOR"] = 80, "1"
	t.Chdir(filepath.Dir(good))
	out = narrow.must(policy.ClassOK, "verify", "-R", "acme/hints", "--tag", "v1", filepath.Base(good))
	if n := strings.Count(out, "\n"); n > 4 {
		t.Errorf("%d lines\n%s", n, out)
	}
	for line := range strings.Lines(out) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	// A command that is proposed, and what comes of it.
	for what, c := range map[string]struct {
		args, want string
	}{
		"the tag is called otherwise": {"verify -R " + url + " --tag 1 " + good, "verify -R " + url + " --tag v1 " + good},
		"the file is of another release": {
			"verify -R " + url + " --tag v2 " + good, "verify " + url + "/releases/tag/v2",
		},
		"the release has no such file": {
			"verify --tag v1 -R " + url + " " + unknown, "verify " + url + "/releases/tag/v1",
		},
	} {
		out := newComputer(t).must(policy.ClassDeny, strings.Fields(c.args)...)
		next := suggested(t, out)
		if got := strings.Join(next, " "); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
			continue
		}
		newComputer(t).must(policy.ClassOK, next...)
	}
	ruleless := newProject(t, "acme/ruleless")
	ruleless.push()
	// What only the user knows is said in words.
	says := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
	}
	says(newComputer(t).must(policy.ClassDeny, "verify", "-R", url, bare), "add --tag TAG", url+"/releases/tag/TAG")
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", bare)
	says(newComputer(t).must(policy.ClassNoPolicy, "show", "-R", ruleless.name), "--policy FILE", "`repopolicy init`")
	late := newComputer(t)
	late.ahead = 100 * 365 * 24 * time.Hour
	says(late.must(policy.ClassStale, "verify", "-R", url, good), "`repopolicy renew`")

	// Off-line, and on-line where the index is silent: what is kept, which flag, what it gives up.
	offline := []string{"verify", "-R", url, "--offline", "--git", clone, good}
	says(newComputer(t).must(policy.ClassUnavailable, offline...), "hint: go on-line; to go on now, add --require none: "+
		"this machine has seen nothing of this policy before", "nothing shows what else was bound, revoked or yanked")
	says(stranger.must(policy.ClassUnavailable, offline...), "has seen the policy up to version 1 before")
	says(stranger.must(policy.ClassOK, append(offline, "--require", "none")...), "complete: nobody was asked (none)")
	undo, err := stack.Misbehave(sandbox.RekorV1, malice.Status{Code: 503})
	check(t, err)
	out = stranger.must(policy.ClassUnavailable, "verify", "-R", url, good)
	says(out, "hint: try again, since the ", "add --offline --require none and --git DIR, a clone: ",
		"has seen the policy up to version 1 before", "no log is asked")
	says(stranger.must(policy.ClassOK, append(offline, "--require", "none")...), "(none)")
	check(t, undo())

	// A version whose files are kept back is no silence, and no flag passes over it.
	p.write(".repopolicy/policy.toml", strings.ReplaceAll(string(policyText(name, 1, 1, "mallory")), "release.yml", "evil.yml"))
	git(t, p.dir, "push", "-q", "origin", ":refs/heads/repopolicy")
	git(t, p.dir, "rm", "-rq", "--ignore-unmatch", ".repopolicy/signatures")
	git(t, p.dir, "commit", "-qam", "withheld")
	git(t, p.dir, "push", "-q", "-f", "origin", "HEAD:main")
	code, out := newComputer(t).repopolicy("verify", "-R", url, good)
	if code == 0 || strings.Contains(out, "--require") {
		t.Errorf("exit %d\n%s", code, out)
	}
}
