// SPDX-License-Identifier: Apache-2.0

package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// TestCosign signs and verifies a blob with cosign, which learns the stack from
// its TUF repository.
func TestCosign(t *testing.T) {
	t.Parallel()
	binary := sigstoretest.Cosign(t)
	s, other := start(t, sandbox.Options{Witnesses: 2}), start(t, sandbox.Options{})
	dir := t.TempDir()
	run := func(home string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TUF_ROOT=" + filepath.Join(dir, home), "COSIGN_EXPERIMENTAL="}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(out string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for home, stack := range map[string]*sandbox.Stack{"ours": s, "theirs": other} {
		pinned, err := stack.TUFRoot()
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, home+".json"), pinned, 0o600))
		must(run(home, "initialize", "--mirror", stack.URL(sandbox.TUF), "--root", home+".json"))
	}
	artifact := []byte("signed by cosign\n")
	check(t, os.WriteFile(filepath.Join(dir, "blob"), artifact, 0o600))
	token, err := s.Token(job)
	check(t, err)
	must(run("ours", "sign-blob", "--yes", "--identity-token", token, "--bundle", "bundle.json", "blob"))
	verify := func(home, san, issuer string) (string, error) {
		return run(home, "verify-blob", "--bundle", "bundle.json", "--certificate-identity", san, "--certificate-oidc-issuer", issuer, "blob")
	}
	must(verify("ours", jobSAN, jobIssuer))
	for name, row := range map[string]struct{ home, san, issuer, want string }{
		"another identity": {"ours", strings.Replace(jobSAN, "acme", "evil", 1), jobIssuer, "no matching CertificateIdentity"},
		"another issuer":   {"ours", jobSAN, claims.GitLabIssuer, "no matching CertificateIdentity"},
		"another stack":    {"theirs", jobSAN, jobIssuer, "verif"},
	} {
		if out, err := verify(row.home, row.san, row.issuer); err == nil || !strings.Contains(out, row.want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	// Others read what cosign wrote, and cosign reads what others wrote.
	b, err := bundle.LoadJSONFromPath(filepath.Join(dir, "bundle.json"))
	check(t, err)
	check(t, judge(trustedRoot(t, s), b, artifact, jobSAN, jobIssuer))
	check(t, repopolicy(t, s, b, artifact))
	data, err := mustSign(t, s, blob(artifact), signing{}).MarshalJSON()
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "bundle.json"), data, 0o600))
	must(verify("ours", jobSAN, jobIssuer))
	check(t, os.WriteFile(filepath.Join(dir, "blob"), []byte("changed"), 0o600))
	if out, err := verify("ours", jobSAN, jobIssuer); err == nil {
		t.Error(fmt.Sprint("a changed artifact: ", out))
	}
}
