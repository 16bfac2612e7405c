// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"testing"

	"github.com/repopolicy/repopolicy/internal/command"
)

// TestVerbs: a verb that is made alone, as the command line begins with it, is the one of the whole tree.
func TestVerbs(t *testing.T) {
	help := func(args ...string) string {
		var out bytes.Buffer
		if code := Main(args, command.Env{Stdout: &out, Stderr: &out}); code != 0 {
			t.Errorf("%q: exit %d", args, code)
		}
		return out.String()
	}
	seen := map[string]bool{}
	for _, g := range (&app{}).verbs() {
		for _, v := range g.Verbs {
			seen[v.Name] = true
			if alone, whole := help(v.Name, "--help-all"), help("--help-all", v.Name); alone != whole || alone == "" {
				t.Errorf("%s:\n%s\nin the whole tree:\n%s", v.Name, alone, whole)
			}
		}
	}
	for _, c := range Command().Commands() {
		if c.GroupID != "" && !seen[c.Name()] {
			t.Errorf("%s is not made alone", c.Name())
		}
	}
}
