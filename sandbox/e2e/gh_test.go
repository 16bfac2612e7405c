// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// TestGH: gh verifies the repository's own signature files as attestations of the
// policy file, from either log. It reads those of people, too, and their signatures
// are good, but it demands of every certificate that it names a repository.
func TestGH(t *testing.T) {
	binary := sigstoretest.GH(t)
	const repo = "acme/attested"
	m := newMachine(t)
	text := policyText(repo, 1, 1, "alice")
	job := ci
	job.Repository = repo
	statement := encode(t, text, "")
	people, binding := m.write(statement, 1, alice), m.write(statement, 1, job)

	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "policy.toml"), text, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "other.toml"), append(slices.Clone(text), '\n'), 0o600))
	var line bytes.Buffer
	check(t, json.Compact(&line, stack.TrustedRoot()))
	check(t, os.WriteFile(filepath.Join(dir, "root.jsonl"), append(line.Bytes(), '\n'), 0o600))
	verify := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"attestation", "verify", "--bundle", "bundle.json", "--custom-trusted-root", "root.jsonl"}, args...)...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GH_TOKEN=of-nobody"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, f := range binding {
		check(t, os.WriteFile(filepath.Join(dir, "bundle.json"), f.Data, 0o600))
		workflow := repo + "/.github/workflows/repopolicy.yml"
		if out, err := verify("policy.toml", "--repo", repo, "--signer-workflow", workflow, "--predicate-type", spelling.StatementPredicate); err != nil {
			t.Errorf("%s: %v\n%s", f.Name, err, out)
		}
		for what, args := range map[string][]string{
			"another file":       {"other.toml", "--repo", repo, "--signer-workflow", workflow, "--predicate-type", spelling.StatementPredicate},
			"another repository": {"policy.toml", "--repo", "acme/other", "--predicate-type", spelling.StatementPredicate},
			"another workflow":   {"policy.toml", "--repo", repo, "--signer-workflow", repo + "/.github/workflows/other.yml", "--predicate-type", spelling.StatementPredicate},
			"another predicate":  {"policy.toml", "--repo", repo, "--signer-workflow", workflow},
		} {
			if out, err := verify(args...); err == nil {
				t.Errorf("%s: %s: accepted\n%s", f.Name, what, out)
			}
		}
	}
	for _, f := range people {
		check(t, os.WriteFile(filepath.Join(dir, "bundle.json"), f.Data, 0o600))
		out, err := verify("policy.toml", "--repo", repo, "--cert-identity", "alice@example.com", "--cert-oidc-issuer", "https://accounts.google.com", "--predicate-type", spelling.StatementPredicate)
		if err == nil || !strings.Contains(out, "expected SourceRepositoryOwnerURI to be https://github.com/acme, got \n") {
			t.Errorf("%s: %v\n%s", f.Name, err, out)
		}
	}
}
