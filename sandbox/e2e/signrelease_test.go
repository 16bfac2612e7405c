// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// logged returns how many certificates were asked for and how many signatures were
// logged since the stack began. The certificate log shows what it has later.
func logged(t testing.TB) string {
	t.Helper()
	c := newMachine(t)
	size := func(s sandbox.Service, path string) string {
		note, err := c.client(stack.URL(s)).Get(t.Context(), path, 1<<16)
		check(t, err)
		return strings.Split(string(note), "\n")[1]
	}
	data, err := c.client(stack.URL(sandbox.RekorV1)).Get(t.Context(), "api/v1/log", 1<<16)
	check(t, err)
	var v1 struct{ TreeSize int64 }
	check(t, json.Unmarshal(data, &v1))
	return fmt.Sprintf("certificates %d, v2 %s, v1 %d", stack.Requests(sandbox.Fulcio), size(sandbox.Rekor, "api/v2/checkpoint"), v1.TreeSize)
}

// TestSignRelease: a release is authorised, signed, and verified by strangers and
// by cosign's rules, once however often it is repeated.
func TestSignRelease(t *testing.T) {
	const name = "acme/sign-release"
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice")), nil)
	git(t, p.dir, "tag", "v1")
	p.push2("v1")
	one, two := artifact(t, "widget_1.tar.gz"), artifact(t, "widget_2.tar.gz")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(j *forge.Job, c *computer, checkout string) {
		out := c.must(policy.ClassOK, "sign-release", "--checkout", checkout, one, two)
		if !strings.Contains(out, "signed in "+one+".sigstore.json") {
			t.Error(out)
		}
		before := logged(t)
		first, err := os.ReadFile(one + ".sigstore.json")
		check(t, err)
		if out := c.must(policy.ClassOK, "sign-release", "--checkout", checkout, one, two); !strings.Contains(out, "is signed already") {
			t.Error(out)
		}
		// Even with the file lost it is the same signature.
		check(t, os.Remove(one+".sigstore.json"))
		c.must(policy.ClassOK, "sign-release", "--checkout", checkout, one)
		again, err := os.ReadFile(one + ".sigstore.json")
		check(t, err)
		if after := logged(t); after != before || string(first) != string(again) {
			t.Errorf("%s before, %s after", before, after)
		}
		// What lies there already is not overwritten.
		check(t, os.WriteFile(two+".sigstore.json", first, 0o600))
		if out := c.must(policy.ClassUsage, "sign-release", "--checkout", checkout, two); !strings.Contains(out, "is there already") {
			t.Error(out)
		}
		check(t, os.WriteFile(two, []byte("changed"), 0o600))
		c.must(policy.ClassUsage, "sign-release", "--checkout", checkout, two)
		// One that may not be released keeps the others from being signed.
		three, gadget := artifact(t, "widget_3.tar.gz"), artifact(t, "gadget.tar.gz")
		c.must(policy.ClassDeny, "sign-release", "--checkout", checkout, three, gadget)
		c.must(policy.ClassUsage, "sign-release", "--checkout", checkout, three, three)
		c.must(policy.ClassUsage, "sign-release", "--checkout", checkout, one+".sigstore.json")
		if _, err := os.Stat(three + ".sigstore.json"); err == nil || logged(t) != before {
			t.Errorf("something was signed: %s before, %s after", before, logged(t))
		}
	})
	stranger := newComputer(t)
	stranger.must(policy.ClassOK, "verify", "-R", name, "--tag", "v1", one)
	stranger.must(policy.ClassDeny, "verify", "-R", name, "--tag", "v2", one)
	stranger.must(policy.ClassDeny, "verify", "-R", name, two)
}

// TestRefusedBeforeSigning: whoever may not release is refused before a certificate
// is asked for and before anything is logged.
func TestRefusedBeforeSigning(t *testing.T) {
	const name = "acme/refused"
	shared := strings.Replace(string(policyText(name, 1, 1, "alice")), "[[release]]", `[[release]]
name       = "shared"
tags       = ["v*"]
artifacts  = ["widget_*.zip"]
workflow   = "https://github.com/acme/builders/.github/workflows/build.yml"
caller     = ".github/workflows/call.yml"
signer-ref = "refs/tags/v4"
environment = "release"

[[release]]`, 1)
	builders := newProject(t, "acme/builders")
	builders.write(".github/workflows/build.yml", "on:\n  workflow_call: {}\njobs:\n  sign:\n    runs-on: ubuntu-latest\n    environment: release\n    permissions:\n      id-token: write\n    steps:\n      - run: make\n")
	builders.push()
	git(t, builders.dir, "tag", "v4")
	builders.push2("v4")
	call := "on:\n  push:\n    tags: ['v*']\npermissions: {}\njobs:\n  call:\n    permissions:\n      id-token: write\n    uses: acme/builders/.github/workflows/build.yml@v4\n"
	p := boundProject(t, name, shared, map[string]string{".github/workflows/call.yml": call})
	p.tag("v1")
	push := func(tag string) forge.Event { return forge.Event{Name: "push", Ref: "refs/tags/" + tag} }
	refused := func(j *forge.Job, c *computer, checkout string, class policy.Class, why string, files ...string) {
		t.Helper()
		before := logged(t)
		var paths []string
		for _, f := range files {
			paths = append(paths, artifact(t, f))
		}
		out := c.must(class, append([]string{"sign-release", "--checkout", checkout}, paths...)...)
		if !strings.Contains(out, why) {
			t.Errorf("no %q in\n%s", why, out)
		}
		if after := logged(t); after != before {
			t.Errorf("%s: %s before, %s after", why, before, after)
		}
		for _, f := range paths {
			if _, err := os.Stat(f + ".sigstore.json"); err == nil {
				t.Errorf("%s: %s was signed", why, f)
			}
		}
	}
	const file = "widget_1.tar.gz"

	// A side branch with an edited workflow: a tag on it, and a dispatch.
	git(t, p.dir, "checkout", "-q", "-b", "side")
	p.write(".github/workflows/evil.yml", strings.Replace(releaseWorkflow, "name: release", "name: evil", 1))
	p.write(".github/workflows/release.yml", strings.Replace(releaseWorkflow, "repopolicy authorize", "make evil", 1))
	p.commit("evil")
	p.push2("side")
	p.inJob(forge.Event{Name: "workflow_dispatch", Ref: "refs/heads/side", Workflow: ".github/workflows/release.yml"}, "release.yml", func(j *forge.Job, c *computer, dir string) {
		refused(j, c, dir, policy.ClassDeny, "refs/heads/side", file)
	})
	p.tag("v2")
	p.inJob(push("v2"), "evil.yml", func(j *forge.Job, c *computer, dir string) {
		refused(j, c, dir, policy.ClassDeny, "signer-workflow", file)
	})
	git(t, p.dir, "checkout", "-q", "main")

	// Without the environment's line.
	git(t, p.dir, "checkout", "-q", "-b", "bare")
	p.write(".github/workflows/release.yml", strings.Replace(releaseWorkflow, "    environment: release\n", "", 1))
	p.commit("no environment")
	p.tag("v3")
	p.inJob(push("v3"), "release.yml", func(j *forge.Job, c *computer, dir string) {
		refused(j, c, dir, policy.ClassDeny, "say `environment: release`", file)
	})
	git(t, p.dir, "checkout", "-q", "main")

	// In a pull request: the token says so, whatever the file.
	p.inJob(push("v1"), "release.yml", func(j *forge.Job, c *computer, dir string) {
		for _, event := range []string{"pull_request", "pull_request_target"} {
			who := j.Claims
			who.Event = event
			p.as(c, who)
			refused(j, c, dir, policy.ClassDeny, "this event can never release", file)
		}
		// Of a fork, under the name of its own.
		fork := j.Claims
		fork.Repository, fork.RepositoryID, fork.OwnerID = "mallory/refused", 0, 0
		p.as(c, fork)
		before := logged(t)
		c.must(policy.ClassDeny, "sign-release", "-R", name, "--checkout", dir, artifact(t, file))
		if after := logged(t); after != before {
			t.Errorf("a fork: %s before, %s after", before, after)
		}
	})

	// A shared builder may sign for its caller here, and not for another's.
	p.inJob(push("v1"), "call.yml", func(j *forge.Job, c *computer, dir string) {
		ok := artifact(t, "widget_1.zip")
		if out := c.must(policy.ClassOK, "sign-release", "--checkout", dir, ok); !strings.Contains(out, "called workflow https://github.com/acme/builders") {
			t.Error(out)
		}
		newComputer(t).must(policy.ClassOK, "verify", "-R", name, ok)
		refused(j, c, dir, policy.ClassDeny, "artifact", file)
	})
	foreign := newProject(t, "mallory/refused2")
	foreign.write(".github/workflows/call.yml", call)
	foreign.push()
	foreign.tag("v1")
	foreign.inJob(push("v1"), "call.yml", func(j *forge.Job, c *computer, dir string) {
		before := logged(t)
		out := c.must(policy.ClassDeny, "sign-release", "-R", name, "--checkout", dir, artifact(t, "widget_1.zip"))
		if !strings.Contains(out, "a fork cannot release") || logged(t) != before {
			t.Error(out)
		}
	})

	// A tag that was moved while the job waited for its reviewers.
	p.tag("v4")
	p.inJob(push("v4"), "release.yml", func(j *forge.Job, c *computer, dir string) {
		p.write("README", "moved\n")
		p.commit("moved")
		git(t, p.dir, "tag", "-f", "v4")
		p.push2("v4")
		refused(j, c, dir, policy.ClassDeny, "the tag v4 of the repository is at", file)
		p.push2(":refs/tags/v4")
		refused(j, c, dir, policy.ClassDeny, "has no tag v4 any more", file)
	})

	// A workflow that a new version of the policy no longer names.
	p.write(".repopolicy/policy.toml", strings.Replace(strings.Replace(shared, "version    = 1", "version    = 2", 1), "release.yml", "other.yml", 1))
	p.commit("another workflow")
	p.signAs(newComputer(t), "alice")
	p.inJob(push("v1"), "release.yml", func(j *forge.Job, c *computer, dir string) {
		refused(j, c, dir, policy.ClassDeny, "other.yml", file)
	})
}

// TestPeopleRelease: people sign in and sign, keys sign, and whoever was removed
// signs no more.
func TestPeopleRelease(t *testing.T) {
	const name = "acme/people"
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pem")
	pub, err := exec.Command("sh", "-c", "openssl ecparam -genkey -name prime256v1 -noout -out "+key+" && openssl ec -in "+key+" -pubout 2>/dev/null").Output()
	check(t, err)
	people := `
[[release]]
name       = "people"
tags       = ["v*-hotfix.*"]
artifacts  = ["*.zip", "pkg:npm/widget@*"]
identities = [{ email = "carol@example.com", issuer = "https://accounts.google.com" }]
keys       = ["` + strings.ReplaceAll(strings.TrimSpace(string(pub)), "\n", "\\n") + `"]
`
	text := string(policyText(name, 1, 1, "alice")) + people
	p := boundProject(t, name, text, nil)
	carol := newComputer(t)
	carol.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf("carol"))
	check(t, err)
	file := artifact(t, "widget.zip")
	sign := func(c *computer, class policy.Class, why string, args ...string) {
		t.Helper()
		before := logged(t)
		out := c.must(class, append([]string{"sign-release", "-R", name, "--checkout", p.dir}, args...)...)
		if after := logged(t); !strings.Contains(out, why) || class != policy.ClassOK && before != after {
			t.Errorf("%s, then %s: %s", before, after, out)
		}
	}
	sign(carol, policy.ClassDeny, "tag-not-in-evidence", "--yes", "--tag", "v1-hotfix.1", file)
	sign(carol, policy.ClassDeny, "release statement that names", "--yes", file)
	sign(carol, policy.ClassUsage, "becomes public", "--statement", "--tag", "v1-hotfix.1", file)
	sign(carol, policy.ClassDeny, "tag", "--yes", "--statement", "--tag", "v1", file)
	sign(carol, policy.ClassOK, "signed in", "--yes", "--statement", "--tag", "v1-hotfix.1", file)
	newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1-hotfix.1", file)
	newComputer(t).must(policy.ClassDeny, "verify", "-R", name, "--tag", "v2-hotfix.1", file)
	pack := artifact(t, "widget-1.0.0-hotfix.1.tgz")
	sign(carol, policy.ClassOK, "signed in", "--yes", "--purl", "pkg:npm/widget@1.0.0-hotfix.1", pack)
	newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1.0.0-hotfix.1", "--name", "pkg:npm/widget@1.0.0-hotfix.1", pack)

	byKey := artifact(t, "key.zip")
	sign(newComputer(t), policy.ClassOK, "signed in", "--key", key, "--statement", "--tag", "v1-hotfix.2", byKey)
	newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1-hotfix.2", byKey)
	stranger := filepath.Join(dir, "stranger.pem")
	check(t, exec.Command("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", stranger).Run())
	sign(newComputer(t), policy.ClassDeny, "key", "--key", stranger, "--statement", "--tag", "v1-hotfix.2", artifact(t, "other.zip"))

	mallory := newComputer(t)
	mallory.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf("mallory"))
	check(t, err)
	sign(mallory, policy.ClassDeny, "identity", "--yes", "--statement", "--tag", "v1-hotfix.3", artifact(t, "mallory.zip"))
	mallory.env["SIGSTORE_ID_TOKEN"], err = stack.Token(claims.Email{Address: "carol@example.com", Unverified: true})
	check(t, err)
	sign(mallory, policy.ClassDeny, "not verified the address", "--yes", "--statement", "--tag", "v1-hotfix.3", artifact(t, "unverified.zip"))
	mallory.env["SIGSTORE_ID_TOKEN"], err = stack.Token(claims.GitHub{Repository: name, Ref: "refs/tags/v1"})
	check(t, err)
	sign(mallory, policy.ClassDeny, "", "--yes", artifact(t, "widget_1.tar.gz"))

	p.write(".repopolicy/policy.toml", strings.Replace(strings.Replace(text, "version    = 1", "version    = 2", 1), "carol@", "dave@", 1))
	p.commit("carol leaves")
	p.signAs(newComputer(t), "alice")
	sign(carol, policy.ClassDeny, "identity", "--yes", "--statement", "--tag", "v1-hotfix.4", artifact(t, "late.zip"))
	newComputer(t).must(policy.ClassOK, "verify", "-R", name, "--tag", "v1-hotfix.1", file) // as it was
}

// TestExpiredPolicy: an expired policy authorises nobody, from its first second.
func TestExpiredPolicy(t *testing.T) {
	const name = "acme/expired"
	text := strings.Replace(string(policyText(name, 1, 1, "alice")), "2099-01-01", "2026-01-01", 1)
	p := boundProject(t, name, text, nil)
	p.tag("v1")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, c *computer, dir string) {
		before := logged(t)
		for _, args := range [][]string{{"authorize"}, {"authorize", "--preflight"}, {"sign-release"}} {
			out := c.must(policy.ClassStale, append(append(args, "--checkout", dir), artifact(t, "widget_1.tar.gz"))...)
			if !strings.Contains(out, "policy-expired") {
				t.Error(out)
			}
		}
		if after := logged(t); after != before {
			t.Errorf("%s before, %s after", before, after)
		}
	})
}
