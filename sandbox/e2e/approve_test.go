// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

const approvals = `  [release.approvals]
  threshold = 2
  from      = "maintainers"
`

// approvedPolicy is a policy whose releases two maintainers approve.
func approvedPolicy(name string, version int, members ...string) string {
	return string(policyText(name, version, 1, members...)) + approvals
}

// TestApprove: a release is authorised, signed, approved by two people, published
// and verified; and nothing less will do.
func TestApprove(t *testing.T) {
	const name = "acme/approve"
	p := boundProject(t, name, approvedPolicy(name, 1, "alice", "bob", "carol"), nil)
	p.tag("v1")
	file := artifact(t, "widget_1.tar.gz")
	other := filepath.Join(filepath.Dir(file), "widget_1_arm.tar.gz")
	check(t, os.WriteFile(other, []byte("arm"), 0o600))
	push := forge.Event{Name: "push", Ref: "refs/tags/v1"}
	expect := func(out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("no %q in\n%s", text, out)
			}
		}
	}
	person := func(who string) *computer {
		c := newComputer(t)
		var err error
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf(who))
		check(t, err)
		return c
	}
	verify := func(class policy.Class, files ...string) string {
		t.Helper()
		return newComputer(t).must(class, append([]string{"verify", "-R", name, "--tag", "v1"}, files...)...)
	}
	p.inJob(push, "release.yml", func(_ *forge.Job, c *computer, dir string) {
		expect(c.must(policy.ClassOK, "authorize", "--checkout", dir, file, other), "2 of the maintainers approve")
		c.must(policy.ClassOK, "sign-release", "--checkout", dir, file, other)
		expect(c.must(policy.ClassDeny, "authorize", "--stage", "publish", "--checkout", dir, file), "2 of the maintainers", "repopolicy approve")
	})
	expect(verify(policy.ClassDeny, file), "approvals is 0")

	// Who may, and what is approved.
	before := logged(t)
	expect(person("mallory").must(policy.ClassDeny, "approve", "-R", name, "--yes", file), "no rule counts an approval of mallory@example.com")
	expect(person("alice").must(policy.ClassDeny, "approve", "-R", name, "--yes", "--tag", "v2", file), "tag")
	expect(person("alice").must(policy.ClassDeny, "approve", "-R", name, "--yes", "--commit", strings.Repeat("1", 40), file), "is for the commit")
	person("alice").must(policy.ClassUsage, "approve", "-R", name, file) // nobody was asked
	person("alice").must(policy.ClassUsage, "approve", "-R", name, "--yes", file+".sigstore.json")
	wrong := artifact(t, "gadget.tar.gz")
	check(t, os.WriteFile(wrong+".sigstore.json", contentOf(t, file+".sigstore.json"), 0o600))
	person("alice").must(policy.ClassDeny, "approve", "-R", name, "--yes", wrong)
	newComputer(t).must(policy.ClassAuth, "approve", "-R", name, "--yes", file)
	if after := logged(t); after != before {
		t.Errorf("%s before, %s after", before, after)
	}

	alice := person("alice")
	out := alice.must(policy.ClassOK, "approve", "-R", name, "--yes", file)
	expect(out, ".approval.sigstore.json", "approving for v1")
	before = logged(t)
	expect(alice.must(policy.ClassOK, "approve", "-R", name, "--yes", file), "approved already")
	expect(person("alice").must(policy.ClassOK, "approve", "-R", name, "--yes", file), "approved already")
	if after := logged(t); after != before {
		t.Errorf("%s before, %s after", before, after)
	}
	// One is not two, twice the same is one, and another file is not approved.
	expect(verify(policy.ClassDeny, file), "approvals is 1 (alice)")
	copied := filepath.Join(filepath.Dir(file), "copy.approval.sigstore.json")
	check(t, os.WriteFile(copied, contentOf(t, strings.TrimSpace(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])), 0o600))
	verify(policy.ClassDeny, file)
	check(t, os.WriteFile(copied, []byte("{}"), 0o600))
	expect(verify(policy.ClassDeny, file), "ignored "+copied)
	check(t, os.Remove(copied))

	person("bob").must(policy.ClassOK, "approve", "-R", name, "--yes", file)
	expect(verify(policy.ClassOK, file), "released by ", "approved by alice, bob")
	expect(verify(policy.ClassDeny, file, other), "approvals is 0", "other files")
	p.inJob(push, "release.yml", func(_ *forge.Job, c *computer, dir string) {
		expect(c.must(policy.ClassOK, "authorize", "--stage", "publish", "--checkout", dir, file), "OK: may publish", "alice, bob")
		c.must(policy.ClassDeny, "authorize", "--stage", "publish", "--checkout", dir, file, other)
	})
	for _, who := range []string{"bob", "carol"} {
		person(who).must(policy.ClassOK, "approve", "-R", name, "--yes", file, other)
	}
	verify(policy.ClassOK, file, other)
	approvedRelease(t, name, filepath.Dir(file))

	// Approvals cross an air gap, with the evidence or beside it.
	approvalFiles, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.approval.sigstore.json"))
	check(t, err)
	for what, c := range map[string]struct {
		carried []string
		beside  bool // the evidence lies beside the artifact
		want    policy.Class
	}{
		"all":              {append([]string{file + ".sigstore.json"}, approvalFiles...), false, policy.ClassOK},
		"approvals alone":  {approvalFiles, true, policy.ClassOK},
		"evidence alone":   {[]string{file + ".sigstore.json"}, false, policy.ClassDeny},
		"without evidence": {approvalFiles, false, policy.ClassDeny},
	} {
		carried, inside := filepath.Join(t.TempDir(), "widget.airgap"), filepath.Join(t.TempDir(), filepath.Base(file))
		newComputer(t).must(policy.ClassOK, append([]string{"export-bundle", "-R", name, "-o", carried}, c.carried...)...)
		check(t, os.WriteFile(inside, contentOf(t, file), 0o600))
		if c.beside {
			check(t, os.WriteFile(inside+".sigstore.json", contentOf(t, file+".sigstore.json"), 0o600))
		}
		code, out := newComputer(t).repopolicy("verify", "-R", name, "--airgap", carried, "--require", "first,none", "--tag", "v1", inside)
		if code != c.want.Exit() {
			t.Errorf("%s: exit %d\n%s", what, code, out)
		}
	}

	// Of what is not at hand, the digest.
	digest := "sha256:" + sum(contentOf(t, file))
	expect(person("alice").must(policy.ClassOK, "approve", "-R", name, "--yes", "--tag", "v1", "--output", t.TempDir(), digest), "there is no evidence")
	person("alice").must(policy.ClassUsage, "approve", "-R", name, "--yes", "--tag", "v1", "sha512:"+strings.Repeat("0", 128))

	// What was approved is these bytes.
	saved := contentOf(t, file)
	check(t, os.WriteFile(file, []byte("evil"), 0o600))
	verify(policy.ClassDeny, file)
	check(t, os.WriteFile(file, saved, 0o600))

	// Whoever is removed approves no more; what was approved before stays.
	late := filepath.Join(t.TempDir(), "widget_2.tar.gz")
	check(t, os.WriteFile(late, []byte("two"), 0o600))
	p.inJob(push, "release.yml", func(_ *forge.Job, c *computer, dir string) {
		c.must(policy.ClassOK, "sign-release", "--checkout", dir, late)
	})
	carol := person("carol")
	carol.must(policy.ClassOK, "approve", "-R", name, "--yes", late)
	p.write(".repopolicy/policy.toml", approvedPolicy(name, 2, "alice", "bob"))
	p.commit("carol leaves")
	p.signAs(newComputer(t), "alice")
	expect(verify(policy.ClassDeny, late), "approvals is 1 (carol)")
	verify(policy.ClassOK, file, other)
	later := filepath.Join(t.TempDir(), "widget_3.tar.gz")
	check(t, os.WriteFile(later, []byte("three"), 0o600))
	p.inJob(push, "release.yml", func(_ *forge.Job, c *computer, dir string) {
		c.must(policy.ClassOK, "sign-release", "--checkout", dir, later)
	})
	carol.must(policy.ClassDeny, "approve", "-R", name, "--yes", later)
	carol.must(policy.ClassDeny, "approve", "-R", name, "--yes", late)
	// The release of version 1 may still be approved by who is in both.
	alice.must(policy.ClassOK, "approve", "-R", name, "--yes", late)
	verify(policy.ClassOK, late)

	// Only the policy takes a release back.
	p.write(".repopolicy/policy.toml", approvedPolicy(name, 3, "alice", "bob")+"\n[[yanked]]\ntag = \"v1\"\n")
	p.commit("yank v1")
	p.signAs(newComputer(t), "alice")
	expect(verify(policy.ClassDeny, file), "yanked")
	alice.must(policy.ClassDeny, "approve", "-R", name, "--yes", file)
}

func contentOf(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return data
}
