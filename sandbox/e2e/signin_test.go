// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/internal/browse"
)

// asBrowser names the environment variable with which this test binary is a
// browser in which somebody signs in. Its value is an e-mail address and who
// vouches for it.
const asBrowser = "E2E_BROWSER"

// browser signs in at the address, and leaves the last page beside the program.
func browser(who string, args []string) int {
	email, connector, _ := strings.Cut(who, " ")
	page, err := browse.SignIn(args[len(args)-1], email, connector)
	if err == nil {
		err = os.WriteFile(os.Getenv(asBrowser+"_PAGE"), []byte(page), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestBrowser: init on a terminal opens the browser, in which somebody signs in at
// the instance's own provider; after a yes the policy names who that is, and the same
// sign-in makes the first signature.
func TestBrowser(t *testing.T) {
	self, err := os.Executable()
	check(t, err)
	for _, row := range []struct {
		email, connector string
		answer           string
		class            policy.Class
	}{
		{"alice@example.com", "https://accounts.google.com", "y\n", policy.ClassOK},
		{"bob@example.com", "https://github.com/login/oauth", "y\n", policy.ClassOK},
		{"bob@example.com", "https://github.com/login/oauth", "n\n", policy.ClassUsage},
	} {
		bin := t.TempDir()
		page := filepath.Join(bin, "page.html")
		script := fmt.Sprintf("#!/bin/sh\n%s='%s %s' %s_PAGE=%s exec %s \"$@\"\n", asBrowser, row.email, row.connector, asBrowser, page, self)
		for _, name := range []string{"xdg-open", "open"} {
			check(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
		}
		t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		p := &project{t: t, name: "acme/signed-in", dir: t.TempDir()}
		git(t, p.dir, "init", "-q", "-b", "main")
		c := newComputer(t)
		c.answers = row.answer
		before := logSizes(t)
		out := c.must(row.class, "init", "--git", p.dir, "--repo", "acme/signed-in", "--workflow", ".github/workflows/release.yml")
		for _, want := range []string{"sign in in the browser: " + stack.URL(sandbox.Issuer) + "/", row.email + ", signed in at " + stack.URL(sandbox.Issuer) + ", becomes public for ever"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if row.class != policy.ClassOK {
			if git(t, p.dir, "status", "--porcelain") != "" {
				t.Errorf("something was written\n%s", out)
			}
		} else if text := string(read(t, p, ".repopolicy/policy.toml")); !strings.Contains(text, fmt.Sprintf("email = %q, issuer = %q", row.email, row.connector)) {
			t.Error(text)
		}
		if data, err := os.ReadFile(page); err != nil || !strings.Contains(strings.ToLower(string(data)), "sigstore") {
			t.Errorf("the browser shows %q %v", data, err)
		}
		signed := 0
		if row.class == policy.ClassOK {
			signed = 1
		}
		if got, want := logSizes(t), (sizes{before.v1 + signed, before.v2 + signed}); got != want {
			t.Errorf("the logs have %v entries, want %v\n%s", got, want, out)
		}
		tokenless(t, filepath.Dir(c.state), p.dir)
		if strings.Contains(out, ".eyJ") {
			t.Errorf("a token is shown:\n%s", out)
		}
	}
}

// tokenless checks that nothing below the directories looks like a JSON Web Token.
func tokenless(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(".eyJ")) {
				t.Errorf("%s: a token", path)
			}
			return err
		}))
	}
}

// TestDevice: without a browser on the machine a code is typed into one elsewhere.
func TestDevice(t *testing.T) {
	const name = "acme/device"
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	home := t.TempDir()
	cmd := newProcess(t, home, nil).command(nil, "sign", "--git", p.dir, "--device", "--yes")
	cmd.Stdout = nil
	cmd.Stderr = nil
	talk, err := cmd.StderrPipe()
	check(t, err)
	check(t, cmd.Start())
	var all strings.Builder
	seen := false
	for lines := bufio.NewScanner(talk); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if i := strings.Index(lines.Text(), stack.URL(sandbox.Issuer)+"/device?user_code="); i >= 0 && !seen {
			seen = true
			address, _, _ := strings.Cut(lines.Text()[i:], " ")
			_, err := browse.SignIn(address, "alice@example.com", "https://accounts.google.com")
			check(t, err)
		}
	}
	if err := cmd.Wait(); err != nil || !seen {
		t.Fatalf("%v\n%s", err, all.String())
	}
	if files, err := filepath.Glob(filepath.Join(p.dir, ".repopolicy", "signatures", "*")); err != nil || len(files) != 2 {
		t.Errorf("%v %v\n%s", files, err, all.String())
	}
	tokenless(t, home, p.dir)
}
