// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// TestRecoveryV2: whoever has the repository and lost the policy's keys takes over on a root with
// Rekor v2 alone, after the delay: place proofs say when the log showed it. Who withholds them,
// or asks before, gets the policy of before or none; and the old maintainers stop it.
func TestRecoveryV2(t *testing.T) {
	root, config := withoutV1(t)
	flags := []string{"--trusted-root", root}
	signing := append(slices.Clone(flags), "--signing-config", config)
	sign := func(p *project, who string) {
		t.Helper()
		c := newComputer(t)
		var err error
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf(who))
		check(t, err)
		git(t, p.dir, "fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*")
		c.must(policy.ClassOK, append([]string{"sign", "--git", p.dir, "--yes"}, signing...)...)
		p.push()
		check(t, p.dispatch("repository_dispatch"))
	}
	begin := func(name string) *project {
		t.Helper()
		p := newProject(t, name)
		p.bindFlags = signing
		p.write(".repopolicy/policy.toml", string(recoverable(name, 1, "alice", "")))
		p.push()
		sign(p, "alice")
		first := encode(t, recoverable(name, 1, "alice", ""), "")
		p.write(".repopolicy/policy.toml", string(recoverable(name, 1, "bob", spelling.Sum(first))))
		p.push()
		sign(p, "bob")
		return p
	}
	show := func(name string, days int, class policy.Class, member, alarm string) {
		t.Helper()
		c := newComputer(t)
		c.ahead = time.Duration(days) * 24 * time.Hour
		code, out := c.repopolicy(append([]string{"show", "-R", "https://github.com/" + name}, flags...)...)
		if code != class.Exit() || !strings.Contains(out, member) || !strings.Contains(out, alarm) {
			t.Errorf("after %d days: exit %d, want %d, %q and %q\n%s", days, code, class.Exit(), member, alarm, out)
		}
	}
	const taken, vetoed = "acme/recovered", "acme/not-recovered"
	p := begin(taken)
	show(taken, 0, policy.ClassOK, "alice@example.com", "a recovery takes effect")
	show(taken, 29, policy.ClassOK, "alice@example.com", "a recovery takes effect")
	show(taken, 31, policy.ClassOK, "bob@example.com", "a recovery took effect")
	back := p.withBranch(withoutPlaces(t))
	show(taken, 29, policy.ClassOK, "alice@example.com", "a recovery takes effect")
	show(taken, 31, policy.ClassUnavailable, "", "nothing says when the log showed a recovery")
	back()
	show(taken, 31, policy.ClassOK, "bob@example.com", "a recovery took effect")

	p = begin(vetoed)
	first := encode(t, recoverable(vetoed, 1, "alice", ""), "")
	p.write(".repopolicy/policy.toml", string(recoverable(vetoed, 2, "alice", "")))
	p.push()
	sign(p, "alice")
	show(vetoed, 31, policy.ClassOK, "version    = 2", "a recovery was vetoed")
	// A second one has to name the version of then.
	p.write(".repopolicy/policy.toml", string(recoverable(vetoed, 1, "carol", spelling.Sum(first))))
	p.push()
	c := newComputer(t)
	var err error
	c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(personOf("carol"))
	check(t, err)
	git(t, p.dir, "fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*")
	c.must(policy.ClassOK, append([]string{"sign", "--git", p.dir, "--yes"}, signing...)...)
	p.push()
	if err := p.dispatch("repository_dispatch"); err == nil || !strings.Contains(err.Error(), "does not recover it") {
		t.Errorf("a recovery of what is not in force: %v", err)
	}
	show(vetoed, 90, policy.ClassOK, "version    = 2", "")
}

// recoverable returns a policy that can be recovered, and that recovers a statement if one is given.
func recoverable(repo string, version int, member, recovers string) []byte {
	text := string(policyText(repo, version, 1, member))
	more := "[recovery]\ndelay = \"30d\"\n\n[maintainers]"
	if recovers != "" {
		text = strings.Replace(text, "expires ", "recovers   = \"sha256:"+recovers+"\"\nexpires ", 1)
	}
	return []byte(strings.Replace(text, "[maintainers]", more, 1))
}

// withoutV1 returns files with a trusted root and a signing config of the stack without Rekor v1.
func withoutV1(t testing.TB) (root, config string) {
	t.Helper()
	dir := t.TempDir()
	root, config = filepath.Join(dir, "trusted_root.json"), filepath.Join(dir, "signing_config.json")
	check(t, os.WriteFile(root, ofGeneration(t, 2), 0o600))
	check(t, os.WriteFile(config, stack.SigningConfig(2), 0o600))
	return root, config
}
