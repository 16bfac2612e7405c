// SPDX-License-Identifier: Apache-2.0

//go:build unix

package e2e

import (
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

var update = flag.Bool("update", false, "write what terminals show into testdata/terminal")

// shown returns the exit code of a command, and what a terminal of 80 columns and 24 lines shows.
func (p *process) shown(dir string, args ...string) (int, string) {
	p.t.Helper()
	cmd := p.command(nil, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = nil, nil, dir
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "NO_COLOR=1")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	check(p.t, err)
	defer tty.Close()
	out, err := io.ReadAll(io.LimitReader(tty, 1<<20))
	if err != nil && !errors.Is(err, syscall.EIO) { // how Linux says that nobody writes any more
		p.t.Fatal(err)
	}
	_ = cmd.Wait() // the code says it
	return cmd.ProcessState.ExitCode(), strings.ReplaceAll(string(out), "\r\n", "\n")
}

// moving are what differs from run to run, with what stands for it in as many columns.
var moving = []struct {
	what *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d`), "2026-01-02"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d`), "03:04:05"},
	{regexp.MustCompile(`\b\d\d:\d\d\b`), "03:04"},
	{regexp.MustCompile(`[0-9a-f]{7,}`), "0"},
	{regexp.MustCompile(`(?s)  bound       log .*`), "  bound\n"}, // the last of log, as wide as its numbers
	{regexp.MustCompile(`\r[^\n]*\r`), ""},                        // progress, which is written over
}

func still(s string) string {
	for _, m := range moving {
		s = m.what.ReplaceAllStringFunc(s, func(was string) string {
			if m.to == "0" {
				return strings.Repeat("0", len(was))
			}
			return m.to
		})
	}
	return s
}

// TestTerminal compares what a terminal shows of a repository's policy with golden files. No line
// is wider than the terminal but one that is a single word, so that no word is broken.
func TestTerminal(t *testing.T) {
	_, good := bound(t, "acme/terminal")
	p := newProcess(t, t.TempDir(), nil)
	for _, args := range []string{
		"verify -R acme/terminal " + filepath.Base(good), "show -R acme/terminal", "log -R acme/terminal",
	} {
		verb, _, _ := strings.Cut(args, " ")
		code, out := p.shown(filepath.Dir(good), strings.Fields(args)...)
		said, _, _ := strings.Cut(out, "\nformat ") // and then the policy as it is
		for line := range strings.Lines(said) {
			if line = strings.TrimSpace(line); len([]rune(line)) > 80 && strings.Contains(line, " ") {
				t.Errorf("%s: %d columns: %s", verb, len([]rune(line)), line)
			}
		}
		got := "$ repopolicy " + args + "\n" + still(out)
		golden := filepath.Join("testdata", "terminal", verb+".txt")
		if *update {
			check(t, os.MkdirAll(filepath.Dir(golden), 0o755))
			check(t, os.WriteFile(golden, []byte(got), 0o644))
		}
		want, err := os.ReadFile(golden)
		check(t, err)
		if d := cmp.Diff(string(want), got); d != "" || code != 0 {
			t.Errorf("%s: exit %d %s\n%s", verb, code, d, out)
		}
	}
}

// TestAlarmHelps: an alarm ends with a command, which is typed as it stands.
func TestAlarmHelps(t *testing.T) {
	const name = "acme/helped"
	_, good := bound(t, name)
	repo, err := stack.Forge().Find(name)
	check(t, err)
	who := claims.GitHub{
		Repository: name, RepositoryID: repo.ID, OwnerID: repo.OwnerID, Ref: "refs/tags/v1", Environment: "release",
	}
	victim := false
	undo, err := stack.Misbehave(sandbox.Rekor, malice.Fork{Victim: func(*http.Request) bool { return victim }})
	check(t, err)
	defer func() { check(t, undo()) }()
	victim = true
	signBlob(t, []byte("between"), who)
	forged := releaseFile(t, "widget_2.tar.gz", who)
	victim = false
	for _, more := range []string{"one", "two", "three"} {
		signBlob(t, []byte(more), who)
	}
	for way, flags := range map[string][]string{"by default": nil, "another file": {"--trusted-root", "a root.json"}} {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "a root.json"), stack.TrustedRoot(), 0o600))
		p := newProcess(t, filepath.Join(dir, "home"), nil)
		args := append([]string{"verify", "-R", name}, flags...)
		if code, out := p.shown(dir, append(args, good)...); code != policy.ClassOK.Exit() {
			t.Fatalf("%s: exit %d\n%s", way, code, out)
		}
		code, out := p.shown(dir, append(args, forged)...)
		command := proposed(out)
		if code != policy.ClassAlarm.Exit() || command == nil {
			t.Fatalf("%s: exit %d, proposes %q\n%s", way, code, command, out)
		}
		code, out = p.shown(dir, command[1:]...)
		if code != policy.ClassDeny.Exit() && code != policy.ClassOK.Exit() || !strings.Contains(out, "log-fork") {
			t.Errorf("%s: %q: exit %d\n%s", way, command, code, out)
		}
	}
}

// proposed returns the words of the first command between backquotes, which may go over lines.
func proposed(out string) []string {
	_, out, _ = strings.Cut(out, "`repopolicy evidence")
	text, _, ok := strings.Cut(out, "`")
	if !ok {
		return nil
	}
	words := []string{"repopolicy", "evidence"}
	for i, part := range strings.Split(text, "'") {
		if i%2 == 1 {
			words = append(words, strings.Join(strings.Fields(part), " "))
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
