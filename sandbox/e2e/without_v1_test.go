// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// TestWithoutV1: a version that was logged in Rekor v2 alone says so wherever it
// is looked at, and an index does not list it.
func TestWithoutV1(t *testing.T) {
	const name, url = "acme/without-v1", "https://github.com/acme/without-v1"
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice")))
	p.push()
	maintainer := newComputer(t)
	var err error
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	one := filepath.Join(t.TempDir(), "v1.json")
	check(t, os.WriteFile(one, stack.SigningConfig(1), 0o600))
	maintainer.must(policy.ClassUsage, "sign", "--git", p.dir, "--yes", "--without-v1", "--signing-config", one)
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes", "--without-v1")
	p.push()
	p.bindFlags = []string{"--without-v1"}
	check(t, p.dispatch("repository_dispatch"))
	files, err := filepath.Glob(filepath.Join(p.dir, ".repopolicy", "signatures", "*"))
	check(t, err)
	if len(files) != 1 || strings.HasSuffix(files[0], ".v1.sigstore.json") {
		t.Errorf("%v", files)
	}
	const note = "version 1 is bound in Rekor v2 alone"
	for _, args := range [][]string{{"show", "-R", url}, {"status", "--git", p.dir}, {"log", "-R", url}} {
		git(t, p.dir, "fetch", "-q", "origin", "repopolicy:refs/remotes/origin/repopolicy")
		if out := newComputer(t).must(policy.ClassOK, args...); !strings.Contains(out, note) {
			t.Errorf("%s:\n%s", args[0], out)
		}
	}
	// Whoever drops the files hides it from the index, and not from the tiles.
	m := newMachine(t)
	if r := m.resolve(name, nil, m.hint()).Chain.Reason(); r != policy.NoBinding {
		t.Errorf("the index: %s", r)
	}
	if r := newMachine(t).resolve(name, nil, m.hint(), m.scan()).Chain.Reason(); r != policy.Undisclosed {
		t.Errorf("the tiles: %s", r)
	}
}
