// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

// knows returns what a machine finds out about a repository: versions, statements,
// labels, and where in the log each version was bound. The moment of asking is left
// out.
func (p *process) knows(name string, flags ...string) string {
	p.t.Helper()
	var all strings.Builder
	for _, verb := range []string{"show", "log"} {
		code, out := p.run(0, append([]string{verb, "-R", name}, flags...)...)
		if code != 0 {
			p.t.Fatalf("%s: exit %d\n%s", verb, code, out)
		}
		for line := range strings.Lines(out) {
			line, _, _ = strings.Cut(line, ", as of ")
			all.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	return all.String()
}

// TestMachines: machines that share nothing find the same first version, head,
// labels and places in the log from one address; also after the forge has rewritten
// its history and dropped the branch with the bindings, which the log has.
func TestMachines(t *testing.T) {
	const name = "acme/machines"
	p, maintainer := newProject(t, name), newComputer(t)
	var statements []string
	for version := 1; version <= 2; version++ {
		text := policyText(name, version, 1, "alice")
		p.write(".repopolicy/policy.toml", string(text))
		p.push()
		previous := ""
		if version == 2 {
			previous = statements[0]
			git(t, p.dir, "fetch", "-q", "origin")
		}
		statements = append(statements, sum(encode(t, text, previous)))
		var err error
		maintainer.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
		p.push()
		check(t, p.dispatch("repository_dispatch"))
	}
	one, other := newProcess(t, t.TempDir(), nil), newProcess(t, t.TempDir(), nil)
	hinted := one.knows(name)
	if d := cmp.Diff(hinted, other.knows(name)); d != "" {
		t.Errorf("by the index (-one +other):\n%s", d)
	}
	for _, want := range []string{"version 2, expires", "genesis    first: ", "complete   hinted: ", "version 1  sha256:" + statements[0], "version 2  sha256:" + statements[1], "bound       log "} {
		if !strings.Contains(hinted, want) {
			t.Errorf("no %q in\n%s", want, hinted)
		}
	}
	scanned := newProcess(t, t.TempDir(), nil).knows(name, "--scan")
	// Beside Rekor v1, which cannot be scanned, the index's word is still needed.
	if d := cmp.Diff(hinted, scanned); d != "" {
		t.Errorf("by the log (-index +log):\n%s", d)
	}

	// The same files in another history, and no bindings.
	git(t, p.dir, "checkout", "-q", "--orphan", "rewritten")
	git(t, p.dir, "commit", "-q", "-m", "another history")
	git(t, p.dir, "push", "-q", "-f", "origin", "HEAD:main", ":refs/heads/repopolicy")
	for who, on := range map[string]*process{"one who was here before": one, "another": newProcess(t, t.TempDir(), nil), "a third": newProcess(t, t.TempDir(), nil)} {
		if d := cmp.Diff(scanned, on.knows(name, "--scan")); d != "" {
			t.Errorf("%s, after the forge was rewritten (-before +after):\n%s", who, d)
		}
		// The index knows that there are bindings, and not where they are in the log
		// that counts.
		if code, out := on.run(0, "show", "-R", name); code != policy.ClassUnavailable.Exit() && code != policy.ClassAlarm.Exit() {
			t.Errorf("%s, by the index: exit %d\n%s", who, code, out)
		}
	}
}
