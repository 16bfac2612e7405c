// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// TestForeignEvidence: evidence that lies beside a file is what sign-release would
// have made, or it is refused: not that of another commit under the same tag, of
// another version of a package, or of another releaser.
func TestForeignEvidence(t *testing.T) {
	const name = "acme/foreign-evidence"
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pem")
	pub, err := exec.Command("sh", "-c", "openssl ecparam -genkey -name prime256v1 -noout -out "+key+" && openssl ec -in "+key+" -pubout 2>/dev/null").Output()
	check(t, err)
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice"))+`
[[release]]
name       = "people"
tags       = ["v*-hotfix.*"]
artifacts  = ["*.zip", "pkg:npm/widget@*"]
identities = [{ email = "carol@example.com", issuer = "https://accounts.google.com" }]
keys       = ["`+strings.ReplaceAll(strings.TrimSpace(string(pub)), "\n", "\\n")+`"]
`, nil)
	refused := func(c *computer, args ...string) {
		t.Helper()
		before := logged(t)
		if out := c.must(policy.ClassUsage, append([]string{"sign-release"}, args...)...); !strings.Contains(out, "is there already") {
			t.Error(out)
		}
		if after := logged(t); after != before {
			t.Errorf("%s before, %s after", before, after)
		}
	}

	file := artifact(t, "widget_1.tar.gz")
	p.tag("v1")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, c *computer, checkout string) {
		c.must(policy.ClassOK, "sign-release", "--checkout", checkout, file)
	})
	p.write("README", "moved\n")
	p.commit("moved")
	git(t, p.dir, "tag", "-f", "v1")
	p.push2("+refs/tags/v1")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, c *computer, checkout string) {
		refused(c, "--checkout", checkout, file)
	})

	carol := newComputer(t)
	carol.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf("carol"))
	check(t, err)
	person := func(args ...string) []string {
		return append([]string{"-R", name, "--checkout", p.dir, "--yes"}, args...)
	}
	pack := artifact(t, "widget-1.0.0-hotfix.1.tgz")
	carol.must(policy.ClassOK, append([]string{"sign-release"}, person("--purl", "pkg:npm/widget@1.0.0-hotfix.1", pack)...)...)
	carol.must(policy.ClassOK, append([]string{"sign-release"}, person("--purl", "pkg:npm/widget@1.0.0-hotfix.1", pack)...)...)
	refused(carol, person("--purl", "pkg:npm/widget@1.0.0-hotfix.2", pack)...)

	zip := artifact(t, "widget.zip")
	carol.must(policy.ClassOK, append([]string{"sign-release"}, person("--statement", "--tag", "v1-hotfix.1", zip)...)...)
	refused(newComputer(t), person("--key", key, "--statement", "--tag", "v1-hotfix.1", zip)...)
}

// TestKeyApprovesTwice: a key has the same name in every approval, and none of
// them takes the place of another.
func TestKeyApprovesTwice(t *testing.T) {
	const name = "acme/key-approves"
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pem")
	pub, err := exec.Command("sh", "-c", "openssl ecparam -genkey -name prime256v1 -noout -out "+key+" && openssl ec -in "+key+" -pubout 2>/dev/null").Output()
	check(t, err)
	text := strings.Replace(string(policyText(name, 1, 1, "alice")), "[[release]]", `[[maintainers.member]]
name = "robot"
keys = ["`+strings.ReplaceAll(strings.TrimSpace(string(pub)), "\n", "\\n")+`"]

[[release]]`, 1) + strings.Replace(approvals, "threshold = 2", "threshold = 1", 1)
	p := boundProject(t, name, text, nil)
	p.tag("v1")
	one := artifact(t, "widget_1.tar.gz")
	two := filepath.Join(filepath.Dir(one), "widget_2.tar.gz")
	check(t, os.WriteFile(two, []byte("two"), 0o600))
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, c *computer, checkout string) {
		c.must(policy.ClassOK, "sign-release", "--checkout", checkout, one, two)
	})
	for _, file := range []string{one, two, one} {
		newComputer(t).must(policy.ClassOK, "approve", "-R", name, "--key", key, file)
	}
	newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1", one, two)
}
