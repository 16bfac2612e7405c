// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what terminals show into testdata/terminal")

// capture returns what a terminal of 80 columns and 24 lines shows of a command.
func capture(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "repopolicy") // the name by which TestMain knows what to run
	if err := os.Symlink(program, named); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(named, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=", "TEST_ROOT=trusted_root.json"), env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	out, err := io.ReadAll(io.LimitReader(tty, 1<<20))
	if err != nil && !errors.Is(err, syscall.EIO) { // how Linux says that nobody writes any more
		t.Fatal(err)
	}
	_ = cmd.Wait() // the golden files are about what is shown
	return strings.NewReplacer("\r\n", "\n", "\x1b", `\e`).Replace(string(out))
}

// plain takes the colours out of a capture.
func plain(s string) string {
	for _, style := range []string{"0", "1", "1;31", "1;32", "1;33"} {
		s = strings.ReplaceAll(s, `\e[`+style+"m", "")
	}
	return s
}

// TestTerminal compares what a terminal shows of the commands that are typed most with golden files.
// No line is wider than the terminal but one that is a single word, so that no word is broken.
func TestTerminal(t *testing.T) {
	dir := t.TempDir()
	fixtures(t, dir)
	for name, args := range map[string]string{
		"allowed":     "verify --policy policy.toml --tag v1.2.3 widget_1.2.3.tar.gz",
		"allowed-v":   "verify -v --policy policy.toml --tag v1.2.3 widget_1.2.3.tar.gz",
		"several":     "verify --policy policy.toml SHA256SUMS bad",
		"denied":      "verify --policy policy.toml bad/widget_branch.tar.gz",
		"spelling":    "verify --policy policy.toml --tag 1.2.3 widget_1.2.3.tar.gz",
		"no-evidence": "verify --policy policy.toml --tag v1.2.3 policy.toml",
		"explain":     "explain --policy policy.toml bad/widget_branch.tar.gz",
		"no-signer": "verify --certificate-identity bob@example.com --certificate-oidc-issuer https://accounts.google.com " +
			"widget.tar.gz",
		"usage":     "verify widget_1.2.3.tar.gz",
		"unreached": "show -R acme/widget",
		"check":     "check policy.toml",
		"assurance": "help assurance",
		"help":      "--help",
		"verify":    "verify --help",
		"inspect":   "inspect --trusted-root trusted_root.json widget_1.2.3.tar.gz",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := capture(t, dir, nil, strings.Fields(args)...)
			for line := range strings.Lines(plain(got)) {
				if line = strings.TrimRight(line, "\n"); len(line) > 80 && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("%d columns: %s", len(line), line)
				}
			}
			golden := filepath.Join("testdata", "terminal", name+".txt")
			got = "$ repopolicy " + args + "\n" + got
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestColour: colours are for terminals that have them and whose user wants them, and words are the
// same without.
func TestColour(t *testing.T) {
	dir := t.TempDir()
	fixtures(t, dir)
	args := []string{"verify", "--policy", "policy.toml", "bad/widget_branch.tar.gz"}
	coloured := capture(t, dir, nil, args...)
	for name, c := range map[string]struct {
		env   []string
		more  []string
		wants bool
	}{
		"a terminal":         {nil, nil, true},
		"NO_COLOR":           {[]string{"NO_COLOR=1"}, nil, false},
		"NO_COLOR, always":   {[]string{"NO_COLOR=1"}, []string{"--color", "always"}, true},
		"a dumb one":         {[]string{"TERM=dumb"}, nil, false},
		"a dumb one, always": {[]string{"TERM=dumb"}, []string{"--color", "always"}, true},
		"never":              {nil, []string{"--color", "never"}, false},
		"auto":               {nil, []string{"--color", "auto"}, true},
	} {
		got := capture(t, dir, c.env, append(c.more, args...)...)
		if strings.Contains(got, `\e[`) != c.wants || c.more == nil && plain(got) != plain(coloured) {
			t.Errorf("%s: %s", name, got)
		}
		if strings.Contains(plain(got), `\e`) {
			t.Errorf("%s: something else than a colour: %s", name, got)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "repopolicy")
	if err := os.Symlink(program, named); err != nil {
		t.Fatal(err)
	}
	for _, always := range []bool{false, true} { // a pipe
		cmd := exec.Command(named, args...)
		if always {
			cmd.Args = append(cmd.Args, "--color=always")
		}
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "TERM=xterm", "TEST_ROOT=trusted_root.json")
		out, _ := cmd.Output() // it denies
		if bytes.Contains(out, []byte("\x1b[")) != always || bytes.Count(out, []byte("\n")) != 6 {
			t.Errorf("a pipe: %q", out)
		}
	}
}
