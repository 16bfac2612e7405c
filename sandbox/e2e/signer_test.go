// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// TestExternalSigner: a maintainer whose key another program has signs, and the
// version is bound; a key of nobody signs nothing.
func TestExternalSigner(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: no program that is not ours signs")
	}
	const name, url = "acme/external", "https://github.com/acme/external"
	dir := t.TempDir()
	pair := func(name string) (private, public string) {
		t.Helper()
		private, public = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".pub")
		for _, args := range [][]string{
			{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private}, {"pkey", "-in", private, "-pubout", "-out", public},
		} {
			if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		return private, public
	}
	private, public := pair("robot")
	key, err := os.ReadFile(public)
	check(t, err)
	text := string(policyText(name, 1, 1, "alice"))
	text = strings.Replace(text, "identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n", fmt.Sprintf("keys = [%q]\n", key), 1)
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", text)
	p.push()
	c := newComputer(t)
	sign := func(class policy.Class, private, public string, more ...string) {
		t.Helper()
		args := []string{"sign", "--git", p.dir, "--signer", openssl, "--public-key", public}
		for _, a := range []string{"pkeyutl", "-sign", "-inkey", private} {
			args = append(args, "--signer-arg", a)
		}
		c.must(class, append(args, more...)...)
	}
	before := logSizes(t)
	otherPrivate, otherPublic := pair("nobody")
	sign(policy.ClassUsage, private, public, "--key", private)
	sign(policy.ClassUsage, private, filepath.Join(dir, "missing"))
	c.must(policy.ClassUsage, "sign", "--git", p.dir, "--signer", openssl)
	if out := func() string {
		_, out := c.repopolicy("sign", "--git", p.dir, "--signer", openssl, "--signer-arg", "pkeyutl", "--signer-arg", "-sign", "--signer-arg", "-inkey", "--signer-arg", otherPrivate, "--public-key", public)
		return out
	}(); !strings.Contains(out, "no signature by the public key") {
		t.Error(out)
	}
	sign(policy.NotMaintainer.Class(), otherPrivate, otherPublic)
	if after := logSizes(t); after != before {
		t.Errorf("the logs went from %v to %v", before, after)
	}
	sign(policy.ClassOK, private, public)
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	newComputer(t).must(policy.ClassOK, "show", "-R", url)
}
