// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// attacks are those on a repository whose policy is in force.
func (d *show) attacks(dir string, stranger *person, good string, job claims.GitHub) error {
	branch := job
	branch.Ref = "refs/heads/feature"
	side, err := d.releaseFile(dir, "widget_1.0.1.tar.gz", branch)
	if err != nil {
		return err
	}
	stranger.step("A release from a side branch, in a workflow that was edited there.", policy.ClassDeny, "verify", "-R", demoURL, side)
	stranger.step("An old release passed off as a new one.", policy.ClassDeny, "verify", "-R", demoURL, "--tag", "v1.0.1", good)
	if _, err := d.stack.Forge().Upload(demoRepo, "v1.0.0", "widget_1.0.0.exe", strings.NewReader("surprise")); err != nil {
		return err
	}
	stranger.step("The forge adds a file to a release that was good.", policy.ClassDeny, "verify", demoURL+"/releases/tag/v1.0.0")
	anew := job
	anew.RepositoryID++
	other, err := d.releaseFile(dir, "widget_1.0.2.tar.gz", anew)
	if err != nil {
		return err
	}
	stranger.step("A repository that was deleted and made anew under the name.", policy.ClassDeny, "verify", "-R", demoURL, other)

	mallory := d.person(dir, "mallory")
	if err := mallory.signIn(); err != nil {
		return err
	}
	squat, err := d.clone(dir, "squat", demoRepo)
	if err != nil {
		return err
	}
	if err := squat.write(".repopolicy/policy.toml", demoPolicy(demoRepo, 3, 1, "evil.yml", "mallory")); err != nil {
		return err
	}
	if err := squat.commit(); err != nil {
		return err
	}
	mallory.step("Mallory, whom version 3 would name, signs it in the hope that this counts.", policy.ClassOK, "sign", "--git", squat.dir, "--yes")
	if err := squat.push(); err != nil {
		return err
	}
	if err := d.bind(dir, demoRepo, "repository_dispatch", "Whoever may push to the default branch can ask to have it bound,", policy.ClassInvalid); err != nil {
		return err
	}
	stranger.step("and nothing has changed for anybody.", policy.ClassOK, "verify", "-R", demoURL, "--tag", "v1.0.0", good)

	heal, err := d.stack.Misbehave(sandbox.Rekor, malice.Reset{})
	if err != nil {
		return err
	}
	d.person(dir, "passer-by").step("Somebody cuts the line to the log: who knows nothing yet learns nothing.", policy.ClassUnavailable, "verify", "-R", demoURL, good)
	if err := heal(); err != nil {
		return err
	}
	if err := d.forkedLog(dir, good, job); err != nil {
		return err
	}

	rollback, err := d.clone(dir, "rollback", demoRepo)
	if err != nil {
		return err
	}
	// A maintainer's, not the repository's own: the log shows a binding whole.
	signatures, err := filepath.Glob(filepath.Join(dir, "widget", ".repopolicy", "signatures", "2-*.sigstore.json"))
	if err != nil || len(signatures) == 0 {
		return fmt.Errorf("no signatures of version 2: %w", err)
	}
	if err := os.Remove(filepath.Join(rollback.dir, ".repopolicy", "signatures", filepath.Base(signatures[0]))); err != nil {
		return err
	}
	if err := rollback.push(); err != nil {
		return err
	}
	d.person(dir, "visitor").step("The forge drops a maintainer's signature of version 2, so that version 1 would be in force again.", policy.ClassUnavailable, "verify", "-R", demoURL, good)

	evil, err := d.empty(dir, "evil", demoRepo)
	if err != nil {
		return err
	}
	if err := evil.policy(demoPolicy(demoRepo, 1, 1, "evil.yml", "mallory")); err != nil {
		return err
	}
	if err := evil.git("push", "-q", "origin", ":refs/heads/repopolicy"); err != nil {
		return err
	}
	d.person(dir, "passenger").step("The forge replaces the policy and deletes every signature: a stranger learns from the log that something is missing,", policy.ClassUnavailable, "verify", "-R", demoURL, good)
	stranger.step("and who has seen the policy before is not talked out of it.", policy.ClassAlarm, "verify", "-R", demoURL, good)
	return nil
}

// forkedLog lets the log show one history to some and another to others.
func (d *show) forkedLog(dir, good string, job claims.GitHub) error {
	var second bool
	heal, err := d.stack.Misbehave(sandbox.Rekor, malice.Fork{Victim: func(*http.Request) bool { return second }})
	if err != nil {
		return err
	}
	if _, err := d.releaseFile(dir, "widget_1.0.3.tar.gz", job); err != nil {
		return err
	}
	auditor := d.person(dir, "auditor")
	auditor.step("The log begins to keep two histories. The first looks as it should,", policy.ClassOK, "verify", "-R", demoURL, good)
	second = true
	if _, err := d.releaseFile(dir, "widget_1.0.4.tar.gz", job); err != nil {
		return err
	}
	auditor.step("and who is shown the second after the first holds the proof.", policy.ClassAlarm, "verify", "-R", demoURL, good)
	return heal()
}
