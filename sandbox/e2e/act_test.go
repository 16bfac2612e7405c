// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// actWorkflow uses the action of its own checkout; act runs the steps of actions
// there as they are, without a container.
const actWorkflow = `on: push
permissions: {}
jobs:
  ask:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: ask
        uses: ./
        with: {command: COMMAND, repository: NAME, artifacts: "FILE"}
      - if: always()
        run: |
          printf 'seen <%s> <%s> <%s> <%s>\n' "$VERDICT" "$AUTHORIZED" "$VERSION" "$(grep -c '"verdict"' "$REPORT")"
          if [ -e stolen ]; then echo stolen; fi
        env:
          VERDICT: ${{ steps.ask.outputs.verdict }}
          AUTHORIZED: ${{ steps.ask.outputs.authorized }}
          VERSION: ${{ steps.ask.outputs.policy-version }}
          REPORT: ${{ steps.ask.outputs.report-path }}
`

// TestAct runs the action in act, a runner that others wrote.
func TestAct(t *testing.T) {
	act := sigstoretest.Act(t)
	const name = "acme/acted"
	p, _ := begin(t, name)
	p.push()
	a := newActions(t, name)
	a.trigger("push", "")
	r, err := stack.Forge().Find(name)
	check(t, err)
	const file = "acted_1.2.3.tar.gz"
	bundle := signBlob(t, []byte(file), claims.GitHub{Repository: name, RepositoryID: r.ID, OwnerID: r.OwnerID, Ref: "refs/tags/v1.2.3", Environment: "release"})

	run := func(command, artifact, environment string) (string, error) {
		t.Helper()
		dir, home := t.TempDir(), t.TempDir()
		git(t, dir, "init", "-q", "-b", "main")
		for to, from := range map[string]string{"action.yml": "action.yml", "action/install.sh": "action/install.sh", "action/run.sh": "action/run.sh", "action/releases.txt": "action/releases.txt"} {
			data, err := os.ReadFile(filepath.Join("../..", from))
			check(t, err)
			put(t, filepath.Join(dir, to), data)
		}
		put(t, filepath.Join(dir, ".github/workflows/ask.yml"), []byte(strings.NewReplacer("COMMAND", command, "NAME", name, "FILE", artifact).Replace(actWorkflow)))
		put(t, filepath.Join(dir, file), []byte(file))
		put(t, filepath.Join(dir, file+".sigstore.json"), bundle)
		put(t, filepath.Join(dir, "unsigned"), nil)
		git(t, dir, "add", "-A")
		git(t, dir, "-c", "user.name=alice", "-c", "user.email=alice@example.com", "commit", "-qm", "x")
		git(t, dir, "remote", "add", "origin", "https://github.com/"+name+".git")
		put(t, filepath.Join(home, ".config/act/actrc"), []byte("\n"))
		event := filepath.Join(home, "event.json")
		put(t, event, []byte(`{"ref": "refs/tags/v1.2.3"}`))
		head := strings.TrimSpace(git(t, dir, "rev-parse", "HEAD"))
		git(t, dir, "tag", "v1.2.3")
		git(t, dir, "push", "-q", "--force", stack.Forge().CloneURL(name), "refs/tags/v1.2.3")
		job, end, err := stack.ActionsEnv(claims.GitHub{Repository: name, RepositoryID: r.ID, OwnerID: r.OwnerID, Ref: "refs/tags/v1.2.3", SHA: head, Environment: environment})
		check(t, err)
		defer end()
		cmd := exec.CommandContext(t.Context(), act, "push", "--json", "-P", "ubuntu-latest=-self-hosted", "-e", event, "--env", "ACTIONS_ID_TOKEN_REQUEST_URL="+job["ACTIONS_ID_TOKEN_REQUEST_URL"], "--env", "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+job["ACTIONS_ID_TOKEN_REQUEST_TOKEN"], "--env", asProgram+"="+writeWorld(t, filepath.Join(home, "state")), "--env", "E2E_BINARY="+a.env["E2E_BINARY"])
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"), "PATH=" + a.env["PATH"]}
		out, err := cmd.CombinedOutput()
		var said strings.Builder
		for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
			var line struct{ Msg string }
			if json.Unmarshal(s.Bytes(), &line) == nil {
				said.WriteString(strings.TrimRight(line.Msg, "\n") + "\n")
			}
		}
		return said.String(), err
	}
	if out, err := run("verify", file, ""); err != nil || !strings.Contains(out, "\nseen <OK> <> <1> <2>\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run("verify", "unsigned", ""); err == nil || !strings.Contains(out, "\nseen <DENY> <> <1> <2>\n") {
		t.Errorf("%v\n%s", err, out)
	}
	// What names no file is a misuse: nothing is judged, there is no report, and no word of it runs.
	out, err := run("verify", `$(touch stolen)\n::set-output name=verdict::OK\nauthorized=true`, "")
	if err == nil || !strings.Contains(out, "\nseen <USAGE> <> <> <>\n") || strings.Contains(out, "\nstolen") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run("authorize", file, "release"); err != nil || !strings.Contains(out, "\nseen <OK> <true> <1> <2>\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run("authorize", file, ""); err == nil || !strings.Contains(out, "\nseen <DENY> <false> <1> <2>\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, data, 0o600))
}
