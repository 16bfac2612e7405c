// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/repopolicy/repopolicy/internal/report"
)

// TestWrites: whatever a verb writes, it writes a new file or replaces one of the
// user's own; it goes through no link of the repository, and replaces no device.
func TestWrites(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	const verify = "verify --policy policy.toml --trusted-root root.json widget_1 "
	initArgs := "init --repo acme/widget --maintainers repository --workflow .github/workflows/x.yml --program " +
		"example.com/x@v1"
	link := func(name, to string) func() error {
		return func() error {
			return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.Symlink(to, name))
		}
	}
	for name, c := range map[string]struct {
		args string
		env  string // variable that names node
		node string
		make func() error
	}{
		"report to a link":        {verify + "--report r", "", "r", link("r", "../elsewhere/r")},
		"report to a pipe":        {verify + "--report r", "", "r", func() error { return syscall.Mkfifo("r", 0o600) }},
		"report below a link":     {verify + "--report d/r", "", "d", link("d", "../elsewhere")},
		"an absolute report":      {verify + "--report $PWD/d/r", "", "d", link("d", "../elsewhere")},
		"report to a directory":   {verify + "--report r", "", "r", func() error { return os.Mkdir("r", 0o700) }},
		"outputs to a link":       {verify + "--format github", report.EnvOutput, "o", link("o", "../elsewhere/o")},
		"summary below a link":    {verify + "--format github", report.EnvSummary, "d/o", link("d", "../elsewhere")},
		"init below a link":       {initArgs, "", ".repopolicy", link(".repopolicy", "../elsewhere")},
		"init in the tree":        {initArgs, "", ".repopolicy", link(".repopolicy", "docs")},
		"a workflow below a link": {initArgs, "", ".github/workflows", link(".github/workflows", "../../elsewhere")},
		"attributes to a link":    {initArgs, "", ".gitattributes", link(".gitattributes", "../elsewhere/a")},
	} {
		t.Run(name, func(t *testing.T) {
			env := place(t)
			top, _ := os.Getwd()
			if err := errors.Join(os.Mkdir("work", 0o700), os.Mkdir("elsewhere", 0o700)); err != nil {
				t.Fatal(err)
			}
			entries, _ := os.ReadDir(".")
			for _, e := range entries {
				if !e.IsDir() {
					_ = os.Rename(e.Name(), filepath.Join("work", e.Name()))
				}
			}
			t.Chdir("work")
			err := errors.Join(exec.Command(git, "init", "-q").Run(), os.WriteFile("pub.pem", []byte(testKey), 0o600), c.make())
			if err != nil {
				t.Fatal(err)
			}
			var talk strings.Builder
			env.Stderr = &talk
			env.Getenv = func(name string) string {
				if name == c.env {
					return c.node
				}
				return ""
			}
			before, err := os.Lstat(c.node)
			if c.env == "" && err != nil {
				t.Fatal(err)
			}
			args := strings.ReplaceAll(c.args, "$PWD", filepath.Join(top, "work"))
			if code := Main(strings.Fields(args), env); code == 0 || code == 70 {
				t.Errorf("exit %d: %s", code, &talk)
			}
			if after, err := os.Lstat(c.node); before != nil && (err != nil || !os.SameFile(before, after)) {
				t.Errorf("what was there is gone: %v", err)
			}
			if entries, _ := os.ReadDir(filepath.Join(top, "elsewhere")); len(entries) > 0 {
				t.Errorf("written elsewhere: %v", entries)
			}
			if !strings.Contains(talk.String(), "symbolic link") && !strings.Contains(talk.String(), "named pipe") &&
				!strings.Contains(talk.String(), "directory") &&
				!strings.Contains(talk.String(), "not a regular file") &&
				!strings.Contains(talk.String(), "escapes") {
				t.Errorf("it is not said why: %s", &talk)
			}
		})
	}
	env := place(t)
	for path, exit := range map[string]int{"/dev/null": 0, "/dev/full": 3} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Skip(err)
		}
		code := Main(strings.Fields(verify+"--report "+path), env)
		if after, err := os.Lstat(path); code != exit || err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: exit %d, %v", path, code, err)
		}
	}
}
