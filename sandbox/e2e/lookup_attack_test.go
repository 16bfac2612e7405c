// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// TestStrippedBinding: a forge that takes the signed entry timestamp out of the one
// file that it still serves of a binding does not make the version disappear.
func TestStrippedBinding(t *testing.T) {
	const name = "acme/stripped"
	p := newProject(t, name)
	maintainer := newComputer(t)
	var err error
	maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
	check(t, err)
	for version := range 2 {
		p.write(".repopolicy/policy.toml", string(policyText(name, version+1, 1, "alice")))
		p.push()
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		check(t, p.dispatch("repository_dispatch"))
		git(t, p.dir, "fetch", "-q", "origin")
	}
	if out := newComputer(t).must(policy.ClassOK, "show", "-R", name); !strings.Contains(out, "version 2,") {
		t.Fatal(out)
	}

	evil := filepath.Join(t.TempDir(), "evil")
	git(t, ".", "clone", "-q", "-b", "repopolicy", stack.Forge().CloneURL(name), evil)
	files, err := filepath.Glob(filepath.Join(evil, ".repopolicy/signatures/2-*"))
	check(t, err)
	if len(files) != 4 { // two of them place proofs
		t.Fatalf("bound in %v", files)
	}
	for _, path := range files {
		if !strings.HasSuffix(path, ".v1.sigstore.json") {
			check(t, os.Remove(path))
			continue
		}
		data, err := os.ReadFile(path)
		check(t, err)
		var b map[string]any
		check(t, json.Unmarshal(data, &b))
		delete(b["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)[0].(map[string]any), "inclusionPromise")
		data, err = json.Marshal(b)
		check(t, err)
		check(t, os.WriteFile(path, data, 0o644))
	}
	git(t, evil, "add", "-A")
	git(t, evil, "commit", "-q", "-m", "stripped")
	git(t, evil, "push", "-q", "-f", "origin", "HEAD:refs/heads/repopolicy")
	newComputer(t).must(policy.ClassUnavailable, "show", "-R", name)
	// Rekor v2 has the other entry.
	if out := newComputer(t).must(policy.ClassOK, "show", "-R", name, "--scan"); !strings.Contains(out, "version 2,") {
		t.Error(out)
	}
}
