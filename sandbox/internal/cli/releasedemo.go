// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

const (
	releaseFile = ".github/workflows/release.yml"
	releaseJob  = `name: release
on:
  push:
    tags: ['v*']
permissions: {}
jobs:
  sign:
    runs-on: ubuntu-latest
    environment: release
    permissions:
      id-token: write
    steps:
      - run: repopolicy authorize dist/*
      - run: repopolicy sign-release dist/*
`
)

// tagged lets the forge run the release workflow for a tag of what a clone has, and
// returns the file that the job was to release.
func (d *show) tagged(dir string, r repo, tag string, do func(job *person, checkout, file string)) (string, error) {
	if err := r.all([]string{"tag", tag}, []string{"push", "-q", "origin", tag}); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "widget_"+strings.TrimPrefix(tag, "v")+".tar.gz")
	if err := os.WriteFile(file, []byte(tag), 0o600); err != nil {
		return "", err
	}
	_, err := d.stack.Forge().Trigger(d.ctx, forge.Event{Name: "push", Repository: r.name, Ref: "refs/tags/" + tag}, func(_ context.Context, j *forge.Job) error {
		if !strings.Contains(j.Env["GITHUB_WORKFLOW_REF"], releaseFile) {
			return nil // the workflow that binds
		}
		work, err := os.MkdirTemp(dir, "job-")
		if err != nil {
			return err
		}
		job := d.person(work, "ci")
		job.env = j.Env
		checkout := filepath.Join(work, "checkout")
		if err := (repo{r.name, work}).git("clone", "-q", "--branch", tag, d.stack.Forge().CloneURL(r.name), checkout); err != nil {
			return err
		}
		do(job, checkout, file)
		return nil
	})
	return file, err
}

// release releases a first version as the policy says, and then tries to without
// the environment in which the forge would ask somebody.
func (d *show) release(dir string, work repo, stranger *person) (string, error) {
	good, err := d.tagged(dir, work, "v1.0.0", func(job *person, checkout, file string) {
		job.step("The job shows its token, and the policy that is bound decides.", policy.ClassOK, "authorize", "--checkout", checkout, file)
		job.step("Then it signs, logs, and judges the result as a stranger would.", policy.ClassOK, "sign-release", "--checkout", checkout, file)
	})
	if err != nil {
		return "", err
	}
	stranger.step("A stranger has the file and what lies beside it.", policy.ClassOK, "verify", "-R", demoURL, "--tag", "v1.0.0", good)
	if err := d.publish("v1.0.0", good, good+".sigstore.json"); err != nil {
		return "", err
	}
	stranger.step("Or nothing but the release's own address.", policy.ClassOK, "verify", demoURL+"/releases/tag/v1.0.0")

	hurry, err := d.clone(dir, "hurry", work.name)
	if err != nil {
		return "", err
	}
	if err := hurry.write(releaseFile, strings.Replace(releaseJob, "    environment: release\n", "", 1)); err != nil {
		return "", err
	}
	if err := hurry.commit(); err != nil {
		return "", err
	}
	_, err = d.tagged(dir, hurry, "v1.0.1", func(job *person, checkout, file string) {
		job.step("A branch whose workflow lost its environment is told so before anything is signed or logged.", policy.ClassDeny, "authorize", "--checkout", checkout, file)
	})
	return good, err
}
