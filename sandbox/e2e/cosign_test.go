// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/spelling"
)

// TestCosign: every signature file of a policy is a standard bundle, which cosign
// verifies as an attestation of the policy file.
func TestCosign(t *testing.T) {
	binary := sigstoretest.Cosign(t)
	const repo = "acme/cosigned"
	m := newMachine(t)
	text := policyText(repo, 1, 1, "alice")
	job := ci
	job.Repository = repo
	statement := encode(t, text, "")
	people, binding := m.write(statement, 1, alice), m.write(statement, 1, job)

	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "policy.toml"), text, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "other.toml"), append(slices.Clone(text), '\n'), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "root.json"), stack.TrustedRoot(), 0o600))
	verify := func(file, identity, issuer, predicate string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, "verify-blob-attestation", "--bundle", "bundle.json", "--trusted-root", "root.json",
			"--type", predicate, "--certificate-identity", identity, "--certificate-oidc-issuer", issuer, file)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const google, github = "https://accounts.google.com", "https://token.actions.githubusercontent.com"
	workflow := "https://github.com/" + repo + "/.github/workflows/repopolicy.yml@refs/heads/main"
	files := 0
	for _, f := range append(people, binding...) {
		if !strings.HasSuffix(f.Name, ".sigstore.json") {
			continue
		}
		files++
		check(t, os.WriteFile(filepath.Join(dir, "bundle.json"), f.Data, 0o600))
		identity, issuer := "alice@example.com", google
		if files > len(people) {
			identity, issuer = workflow, github
		}
		if out, err := verify("policy.toml", identity, issuer, spelling.StatementPredicate); err != nil {
			t.Errorf("%s: %v\n%s", f.Name, err, out)
		}
		for what, args := range map[string][4]string{
			"another file":      {"other.toml", identity, issuer, spelling.StatementPredicate},
			"another identity":  {"policy.toml", "mallory@example.com", issuer, spelling.StatementPredicate},
			"another issuer":    {"policy.toml", identity, "https://example.com", spelling.StatementPredicate},
			"another predicate": {"policy.toml", identity, issuer, "https://slsa.dev/provenance/v1"},
		} {
			if out, err := verify(args[0], args[1], args[2], args[3]); err == nil {
				t.Errorf("%s: %s: accepted\n%s", f.Name, what, out)
			}
		}
	}
	if files != 4 {
		t.Errorf("%d signature files, not two of each signer", files)
	}
}
