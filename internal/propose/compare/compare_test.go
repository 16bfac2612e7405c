// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/policy"
)

const (
	top = "format = \"repopolicy/v1\"\nrepository = \"https://github.com/acme/widget\"\nversion = 1\n" +
		"expires = 2030-01-01T00:00:00Z\n"
	people = "[maintainers]\nthreshold = 1\n[[maintainers.member]]\nname = \"alice\"\n" +
		"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n" +
		"[[maintainers.member]]\nname = \"bob\"\n" +
		"identities = [{ email = \"bob@example.com\", issuer = \"https://accounts.google.com\" }]\n"
	workflow = "[[release]]\nname = \"r\"\ntags = [\"v*\"]\nartifacts = [\"w*\"]\n" +
		"workflow = \".github/workflows/release.yml\"\n"
	byPeople = "[[release]]\nname = \"r\"\ntags = [\"v*\"]\nartifacts = [\"w*\"]\n" +
		"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n"
)

func parse(t testing.TB, text string) *policy.File {
	t.Helper()
	d, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return d.Content()
}

// line is how a change stands in the table: kind, path, values, and "!" if it
// loosens.
func line(c Change) string {
	s := fmt.Sprintf(
		"%c %s: %s → %s",
		map[Kind]rune{Added: '+', Removed: '-', Changed: '~'}[c.Kind],
		c.Path,
		c.Old,
		c.New,
	)
	if c.Loosens {
		s += " !"
	}
	return s
}

// TestPolicies replaces a piece of a policy by another, there and back.
func TestPolicies(t *testing.T) {
	const mallory = `{ email = "mallory@example.com", issuer = "https://accounts.google.com" }`
	full := top + people + workflow
	for _, c := range []struct {
		base, from, to string
		there, back    []string
	}{
		{full, "2030-", "2031-", []string{"~ expires: 2030-01-01T00:00:00Z → 2031-01-01T00:00:00Z"},
			[]string{"~ expires: 2031-01-01T00:00:00Z → 2030-01-01T00:00:00Z"}},
		{full, "acme/widget", "acme/gadget",
			[]string{"~ repository: https://github.com/acme/widget → https://github.com/acme/gadget !"},
			[]string{"~ repository: https://github.com/acme/gadget → https://github.com/acme/widget !"}},
		{full, "threshold = 1", "threshold = 2", []string{"~ maintainers.threshold: 1 → 2"},
			[]string{"~ maintainers.threshold: 2 → 1 !"}},
		{full, "version = 1\n", "version = 1\nowner-changed = true\n", []string{"+ owner-changed:  → true !"},
			[]string{"- owner-changed: true → "}},
		{full, `"bob@example.com"`, `"bob@example.org"`,
			[]string{"- maintainers.member.bob.identities: email bob@example.com by https://accounts.google.com → ",
				"+ maintainers.member.bob.identities:  → email bob@example.org by https://accounts.google.com !"},
			[]string{"- maintainers.member.bob.identities: email bob@example.org by https://accounts.google.com → ",
				"+ maintainers.member.bob.identities:  → email bob@example.com by https://accounts.google.com !"}},
		{full, `name = "bob"`, `name = "bobby"`, []string{"- maintainers.member: bob → ",
			"+ maintainers.member:  → bobby: email bob@example.com by https://accounts.google.com !"},
			[]string{"- maintainers.member: bobby → ",
				"+ maintainers.member:  → bob: email bob@example.com by https://accounts.google.com !"}},
		{full, `tags = ["v*"]`, `tags = ["v*", "w*"]`, []string{"+ release.r.tags:  → w* !"},
			[]string{"- release.r.tags: w* → "}},
		{full, `tags = ["v*"]`, `tags = "any"`, []string{"- release.r.tags: v* → ", "+ release.r.tags:  → any !"},
			[]string{"- release.r.tags: any → ", "+ release.r.tags:  → v*"}},
		{full, `tags = ["v*"]`, `tags = "semver"`, []string{"- release.r.tags: v* → ", "+ release.r.tags:  → semver !"},
			[]string{"- release.r.tags: semver → ", "+ release.r.tags:  → v* !"}},
		{full, "workflow =", "refs = [\"refs/heads/main\"]\ntriggers = [\"push\"]\nworkflow =",
			[]string{"+ release.r.refs:  → refs/heads/main !", "- release.r.triggers: release → ",
				"- release.r.triggers: workflow_dispatch → "},
			[]string{"- release.r.refs: refs/heads/main → ", "+ release.r.triggers:  → release !",
				"+ release.r.triggers:  → workflow_dispatch !"}},
		{full, "workflow =", "environment = \"e\"\nworkflow =", []string{"+ release.r.environment:  → e"},
			[]string{"- release.r.environment: e →  !"}},
		{full + "environment = \"e\"\n", `"e"`, `"f"`, []string{"~ release.r.environment: e → f !"},
			[]string{"~ release.r.environment: f → e !"}},
		{full, "release.yml", "other.yml",
			[]string{"~ release.r.workflow: .github/workflows/release.yml → .github/workflows/other.yml !",
				"~ release.r.caller: .github/workflows/release.yml → .github/workflows/other.yml !"},
			[]string{"~ release.r.workflow: .github/workflows/other.yml → .github/workflows/release.yml !",
				"~ release.r.caller: .github/workflows/other.yml → .github/workflows/release.yml !"}},
		{full, "workflow =", "runner = \"any\"\nworkflow =", []string{"~ release.r.runner: github-hosted → any !"},
			[]string{"~ release.r.runner: any → github-hosted"}},
		{full, "workflow =", "signer-digest = \"" + strings.Repeat("0", 40) + "\"\nworkflow =",
			[]string{"+ release.r.signer-digest:  → " + strings.Repeat("0", 40)},
			[]string{"- release.r.signer-digest: " + strings.Repeat("0", 40) + " →  !"}},
		{full, "workflow =", "since = 2020-01-01T00:00:00Z\nworkflow =",
			[]string{"+ release.r.since:  → 2020-01-01T00:00:00Z !"}, []string{"- release.r.since: 2020-01-01T00:00:00Z →  !"}},
		{full + "since = 2020-01-01T00:00:00Z\n", "2020", "2021",
			[]string{"~ release.r.since: 2020-01-01T00:00:00Z → 2021-01-01T00:00:00Z"},
			[]string{"~ release.r.since: 2021-01-01T00:00:00Z → 2020-01-01T00:00:00Z !"}},
		{full, "workflow =", "until = 2020-01-01T00:00:00Z\nworkflow =",
			[]string{"+ release.r.until:  → 2020-01-01T00:00:00Z"}, []string{"- release.r.until: 2020-01-01T00:00:00Z →  !"}},
		{full + "until = 2020-01-01T00:00:00Z\n", "2020", "2021",
			[]string{"~ release.r.until: 2020-01-01T00:00:00Z → 2021-01-01T00:00:00Z !"},
			[]string{"~ release.r.until: 2021-01-01T00:00:00Z → 2020-01-01T00:00:00Z"}},
		{full, "workflow =", "set-only = true\nunlogged = true\noverlaps = true\nworkflow =",
			[]string{"+ release.r.set-only:  → true !", "+ release.r.unlogged:  → true !",
				"+ release.r.overlaps:  → true !"},
			[]string{"- release.r.set-only: true → ", "- release.r.unlogged: true → ", "- release.r.overlaps: true → "}},
		{full + "#", "#", "[release.approvals]\nthreshold = 2\nfrom = \"maintainers\"\n",
			[]string{"+ release.r.approvals.threshold:  → 2", "+ release.r.approvals.from:  → maintainers"},
			[]string{"- release.r.approvals.threshold: 2 →  !", "- release.r.approvals.from: maintainers →  !"}},
		{full + "#", "#", "[release.preflight]\nactors = [\"alice\"]\nref-protected = true\n",
			[]string{"+ release.r.preflight.actors:  → alice", "+ release.r.preflight.ref-protected:  → true"},
			[]string{"- release.r.preflight.actors: alice →  !", "- release.r.preflight.ref-protected: true →  !"}},
		{full + "[release.preflight]\nactors = [\"alice\"]\n", `["alice"]`, `["alice", "bob"]`,
			[]string{"+ release.r.preflight.actors:  → bob !"}, []string{"- release.r.preflight.actors: bob → "}},
		{top + people, "#", "#", nil, nil},
		{top + people + "#", "#", workflow,
			[]string{"+ release:  → r: .github/workflows/release.yml for w* of tags v* !"}, []string{"- release: r → "}},
		{top + people + "#", "#", byPeople,
			[]string{"+ release:  → r: email alice@example.com by https://accounts.google.com for w* of tags v* !"},
			[]string{"- release: r → "}},
		{top + people + workflow, "workflow = \".github/workflows/release.yml\"\n", "identities = [" + mallory + "]\n",
			[]string{"- release.r.workflow: .github/workflows/release.yml → ",
				"+ release.r.identities:  → email mallory@example.com by https://accounts.google.com !"},
			[]string{"+ release.r.workflow:  → .github/workflows/release.yml !",
				"- release.r.identities: email mallory@example.com by https://accounts.google.com → "}},
		{full + "#", "#", "[[revoked]]\nidentity = " + mallory + "\ncompromised-since = 2026-01-01T00:00:00Z\n",
			[]string{"+ revoked:  → email mallory@example.com by https://accounts.google.com since 2026-01-01T00:00:00Z"},
			[]string{"- revoked: email mallory@example.com by https://accounts.google.com since 2026-01-01T00:00:00Z → "}},
		{full + "#", "#", "[[yanked]]\ntag = \"v1\"\n[[restored]]\nrule = \"r\"\n", []string{"+ yanked:  → tag v1",
			"+ restored:  → rule r !"}, []string{"- yanked: tag v1 → ", "- restored: rule r → "}},
		{full + "#", "#", "[[adopted]]\ntag = \"v0\"\ndigests = [\"sha256:" + strings.Repeat("0", 64) + "\"]\n",
			[]string{"+ adopted:  → tag v0 sha256:" + strings.Repeat("0", 64) + " !"},
			[]string{"- adopted: tag v0 sha256:" + strings.Repeat("0", 64) + " → "}},
		{full + "#", "#", "[recovery]\ndelay = \"90d\"\n", []string{"+ recovery.delay:  → 90d !"},
			[]string{"- recovery.delay: 90d → "}},
		{full + "[recovery]\ndelay = \"90d\"\n", "90d", "100d", []string{"~ recovery.delay: 90d → 100d"},
			[]string{"~ recovery.delay: 100d → 90d !"}},
		{full + "#", "#", "[handover]\nrepository-id = \"1\"\n", []string{"+ handover.repository-id:  → 1 !"},
			[]string{"- handover.repository-id: 1 → "}},
		{top + "#tombstone\n" + people, "#tombstone", "tombstone = true", []string{"+ tombstone:  → true"},
			[]string{"- tombstone: true →  !"}},
	} {
		if c.from != "#" && strings.Count(c.base, c.from) == 0 {
			t.Errorf("no %q", c.from)
		}
		a, b := parse(t, c.base), parse(t, strings.Replace(c.base, c.from, c.to, 1))
		for _, dir := range []struct {
			x, y *policy.File
			want []string
		}{{a, b, c.there}, {b, a, c.back}} {
			var got []string
			for _, change := range Policies(dir.x, dir.y) {
				got = append(got, line(change))
			}
			if d := cmp.Diff(dir.want, got); d != "" {
				t.Errorf("%q → %q: %s", c.from, c.to, d)
			}
		}
	}
}

// TestNothingBefore: against no policy, everything that allows something is new
// and loosens.
func TestNothingBefore(t *testing.T) {
	f := parse(t, top+people+workflow)
	members, rules := 0, 0
	for _, c := range Policies(nil, f) {
		if c.Kind != Added {
			t.Errorf("%+v", c)
		}
		switch {
		case c.Path == "maintainers.member" && c.Loosens:
			members++
		case c.Path == "release" && c.Loosens:
			rules++
		}
	}
	if members != 2 || rules != 1 {
		t.Errorf("%d members, %d rules", members, rules)
	}
	if got := Policies(f, f); got != nil {
		t.Errorf("%+v", got)
	}
}
