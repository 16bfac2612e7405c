// SPDX-License-Identifier: Apache-2.0

//go:build unix

package trustcli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWrites: what a verb writes goes through no link.
func TestWrites(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	const begin, translate = "init root --key pub.pem --online-key pub.pem", "from-policy tuf --policy policy.toml"
	for name, c := range map[string]struct{ args, link, to string }{
		"TUF below a link":    {translate, "tuf/1.root.json", "../../elsewhere/r"},
		"TUF in a link":       {translate, "tuf", "../elsewhere"},
		"a root in a link":    {begin, "root", "../elsewhere"},
		"a lock in a link":    {begin, "root/.lock", "../../elsewhere/l"},
		"staged below a link": {begin, "root/staged", "../../elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			env, _ := place(t)
			if err := errors.Join(os.Mkdir("work", 0o700), os.Mkdir("elsewhere", 0o700)); err != nil {
				t.Fatal(err)
			}
			t.Chdir("work")
			put(t, map[string]string{"policy.toml": testPolicy, "pub.pem": testKey})
			if err := errors.Join(exec.Command(git, "init", "-q").Run(), os.MkdirAll(filepath.Dir(c.link), 0o700),
				os.Symlink(c.to, c.link)); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(c.link)
			if err != nil {
				t.Fatal(err)
			}
			code, out := run(env, strings.Fields(c.args)...)
			if code == 0 || code == 70 {
				t.Errorf("exit %d: %s", code, out)
			}
			if after, err := os.Lstat(c.link); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was there is gone: %v", err)
			}
			if entries, _ := os.ReadDir("../elsewhere"); len(entries) > 0 {
				t.Errorf("written elsewhere: %v", entries)
			}
			if !slices.ContainsFunc([]string{"symbolic link", "directory", "not a regular file", "escapes"},
				func(why string) bool { return strings.Contains(out, why) }) {
				t.Errorf("it is not said why: %s", out)
			}
		})
	}
}
