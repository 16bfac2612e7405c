// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/policy"
)

// TestCloned: who works in a clone need not name the repository; where that would be a guess, he is
// asked.
func TestCloned(t *testing.T) {
	t.Parallel()
	const text = `format     = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version    = 1
expires    = 2099-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name      = "binaries"
tags      = ["v*"]
artifacts = ["*.zip"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`
	origin := func(address string) [][]string { return [][]string{{"remote", "add", "origin", address}} }
	for what, c := range map[string]struct {
		git    [][]string // nil for no repository
		policy string
		want   string // "" for an error
		says   string // of the error or beside the answer
	}{
		"no clone":  {nil, "", "", "in which repository?"},
		"no remote": {[][]string{}, "", "", "no remote origin"},
		"origin": {origin("git@github.com:Acme/Widget.git"), "", "https://github.com/acme/widget",
			"as the remote origin says"},
		"with a token": {origin("https://x:s3cret@github.com/acme/widget"), "", "https://github.com/acme/widget",
			"origin"},
		"a directory":   {origin("../other"), "", "", "--repo"},
		"a name of ssh": {origin("git@work:acme/widget.git"), "", "", "no forge"},
		"a fork": {
			append(origin("https://github.com/mallory/widget"), []string{"remote", "add", "upstream",
				"https://github.com/acme/widget"}),
			"", "", "upstream is",
		},
		"the policy says": {origin("https://github.com/mallory/widget"), text, "https://github.com/acme/widget",
			"as .repopolicy/policy.toml says"},
		"a policy is none": {origin("https://github.com/acme/widget"), "format = 1", "", ".repopolicy/policy.toml"},
		"a policy, no name": {[][]string{}, strings.Replace(text, "https://", "ftp://", 1), "",
			".repopolicy/policy.toml"},
	} {
		dir := t.TempDir()
		inside := filepath.Join(dir, "dist")
		if err := os.MkdirAll(inside, 0o700); err != nil {
			t.Fatal(err)
		}
		if c.git != nil {
			for _, args := range append([][]string{{"init", "-q"}}, c.git...) {
				cmd := exec.Command("git", args...)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("git %q: %v: %s", args, err, out)
				}
			}
		}
		if c.policy != "" {
			if err := os.Mkdir(filepath.Join(dir, ".repopolicy"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, ".repopolicy", "policy.toml"), []byte(c.policy),
				0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		a := &app{&command.Run{Err: report.NewPrinter(&out)}}
		got, err := a.cloned(t.Context(), inside)
		said := out.String()
		var f *policy.Fault
		if errors.As(err, &f) {
			said = f.Text + " " + f.Hint
		}
		if got != c.want || (err == nil) != (c.want != "") || !strings.Contains(said,
			c.says) || strings.Contains(said, "s3cret") {
			t.Errorf("%s: %q, %v, %q", what, got, err, said)
		}
	}
}
