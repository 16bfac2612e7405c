// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// TestRenamed: a repository that was renamed does not roll back under its old name, whoever
// serves that, in any view; with all at hand it is found under both names. That takes the
// version that says so; one that does not is not signed.
func TestRenamed(t *testing.T) {
	const old, name = "acme/olden", "acme/newer"
	p, good := bound(t, old)
	before := filepath.Join(t.TempDir(), "before.git")
	git(t, ".", "clone", "-q", "--mirror", stack.Forge().CloneURL(old), before)
	check(t, stack.Forge().Move(old, name))
	p.name = name
	git(t, p.dir, "remote", "set-url", "origin", stack.Forge().CloneURL(name))
	git(t, p.dir, "fetch", "-q", "origin")
	p.write(".github/workflows/repopolicy.yml", fmt.Sprintf(bindWorkflow, name))
	second := string(policyText(name, 2, 1, "alice"))
	p.write(".repopolicy/policy.toml", second)
	p.push()
	c := newComputer(t)
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	if out := c.must(policy.ClassInvalid, "sign", "--git", p.dir, "--yes"); !strings.Contains(out, `formerly = "https://github.com/`+old) {
		t.Errorf("without the old name: %s", out)
	}
	p.write(".repopolicy/policy.toml", strings.Replace(second, "version ", `formerly   = "https://github.com/`+old+"\"\nversion ", 1))
	p.push()
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	o := newOperator(t)
	o.build()
	after := filepath.Join(t.TempDir(), "after.git")
	git(t, ".", "clone", "-q", "--mirror", stack.Forge().CloneURL(name), after)
	for view, flags := range map[string][]string{"index": nil, "scan": {"--scan"}, "directory": {"--directory", o.descriptorFile}} {
		for _, asked := range []string{old, name} {
			args := slices.Concat([]string{"verify", "-v", "-R", "https://github.com/" + asked}, flags)
			want := policy.ClassUnavailable
			if view == "directory" {
				want = policy.ClassOK // it has what is withheld
			}
			out := newComputer(t).must(want, append(args, "--git", before, good)...)
			if view == "directory" && !strings.Contains(out, ", version 2,") || view != "directory" && !strings.Contains(out, policy.Undisclosed.Text()) {
				t.Errorf("%s of %s, version 2 withheld:\n%s", view, asked, out)
			}
			newComputer(t).must(policy.ClassOK, append(args, "--git", after, good)...)
		}
	}
	if _, err := os.Stat(before); err != nil {
		t.Fatal(err)
	}
}
