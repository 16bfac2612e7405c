// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/rekorbind"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
	"github.com/repopolicy/repopolicy/sandbox/malice"
)

// found makes a repository on the forge and returns it empty, with the job whose
// certificate can bind it.
func (d *show) found(dir, name string) (repo, claims.GitHub, error) {
	made, err := d.stack.Forge().Create(name)
	if err != nil {
		return repo{}, claims.GitHub{}, err
	}
	job := claims.GitHub{Repository: name, RepositoryID: made.ID, OwnerID: made.OwnerID, Workflow: ".github/workflows/repopolicy.yml", Event: "repository_dispatch"}
	r, err := d.empty(dir, strings.ReplaceAll(name, "/", "-"), name)
	if err != nil {
		return r, job, err
	}
	return r, job, r.write(".github/workflows/repopolicy.yml", demoWorkflow)
}

// log signs a statement as somebody and logs it in Rekor v2, where no index finds
// it, with no question asked: what sign and bind would refuse, an attacker's own
// program does. The files go below a directory.
func (d *show) log(who claims.Claims, what, text, previous, to string) (statement string, err error) {
	payload, err := rekorbind.Encode([]byte(text), previous)
	if err != nil {
		return "", err
	}
	root, err := sigstore.ParseRoot("sandbox", d.stack.TrustedRoot())
	if err != nil {
		return "", err
	}
	services, err := sigstore.ParseSigningConfigs(time.Now(), d.stack.SigningConfig(2))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(filepath.Dir(to), "journal-")
	if err != nil {
		return "", err
	}
	journal, err := memory.OpenState(dir)
	if err != nil {
		return "", err
	}
	version := 1
	if previous != "" {
		version = 2
	}
	w := &signlog.Writer{Root: root, Client: &sigstore.Client{Services: services, Transport: d.stack.Transport()}, Journal: journal, Now: time.Now}
	files, err := w.Write(d.ctx, signlog.Request{Statement: payload, Version: version, Signature: signlog.Signature{Who: what, Token: func(context.Context) (string, error) { return d.stack.Token(who) }}})
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if err := (repo{dir: to}).write(f.Name, string(f.Data)); err != nil {
			return "", err
		}
	}
	d.say("   logged: %s", what)
	return spelling.Sum(payload), nil
}

// beginnings are the attacks on a repository that has no policy yet.
func (d *show) beginnings(dir string) error {
	const name = "acme/sprocket"
	r, right, err := d.found(dir, name)
	if err != nil {
		return err
	}
	mallory, alice := d.person(dir, "mallory"), d.person(dir, "alice")
	hers := demoPolicy(name, 1, 1, "evil.yml", "mallory")
	if err := r.policy(hers); err != nil {
		return err
	}
	d.say("\n   Mallory would like to be the first for %s. She has a policy that names her, and signs it,", r.url())
	forged := filepath.Join(dir, "forged")
	if _, err := d.log(claims.Email{Address: "mallory@example.com"}, "mallory's signature", hers, "", forged); err != nil {
		return err
	}
	for _, x := range []struct {
		what   string
		change func(*claims.GitHub)
	}{
		{"a binding by mallory/sprocket, a repository of her own", func(g *claims.GitHub) { g.Repository, g.RepositoryID, g.OwnerID = "mallory/sprocket", 0, 0 }},
		{"a binding from a side branch, where she changed the workflow and started it", func(g *claims.GitHub) { g.Event, g.Ref = "workflow_dispatch", "refs/heads/feature" }},
		{"a binding by a push to a branch that she called main", func(g *claims.GitHub) { g.Event = "push" }},
		{"a binding by another workflow of the repository", func(g *claims.GitHub) { g.Workflow = ".github/workflows/test.yml" }},
	} {
		job := right
		x.change(&job)
		if _, err := d.log(job, x.what, hers, "", forged); err != nil {
			return err
		}
	}
	if err := publish(r, forged); err != nil {
		return err
	}
	d.person(dir, "tourist").step("All of it is published, and none of it proves that the repository spoke.", policy.ClassNoPolicy, "show", "-R", r.url())

	d.say("\n   Then she may push to the default branch for a minute, and has the workflow bind a version 1 that she shows nobody.")
	secret := filepath.Join(dir, "secret")
	hidden := demoPolicy(name, 1, 1, "hidden.yml", "mallory")
	if _, err := d.log(claims.Email{Address: "mallory@example.com"}, "mallory's signature, withheld", hidden, "", secret); err != nil {
		return err
	}
	if _, err := d.log(right, "the repository's binding, withheld", hidden, "", secret); err != nil {
		return err
	}
	ours := demoPolicy(name, 1, 1, "release.yml", "alice")
	if err := r.all([]string{"switch", "-q", "--orphan", "main2"}); err != nil {
		return err
	}
	if err := r.policy(ours); err != nil {
		return err
	}
	if err := alice.signIn(); err != nil {
		return err
	}
	d.person(dir, "wanderer").step("What is missing is not taken for absent.", policy.ClassUnavailable, "show", "-R", r.url())
	alice.step("Nobody builds on it by mistake either.", policy.ClassUnavailable, "sign", "--git", r.dir, "--yes")
	if err := publish(r, secret); err != nil {
		return err
	}
	payload, err := rekorbind.Encode([]byte(ours), "")
	if err != nil {
		return err
	}
	d.person(dir, "pilgrim").step("Later she discloses it. Who was told by alice which statement is the first one is not misled,", policy.ClassUnavailable, "show", "-R", r.url(), "--pin", "sha256:"+spelling.Sum(payload))
	mallory.step("and who was not sees a policy that names her: she was first. The threat model says so.", policy.ClassOK, "log", "-R", r.url())
	return nil
}

// removed is the attack of a maintainer who was removed.
func (d *show) removed(dir string) error {
	const name = "acme/gizmo"
	r, right, err := d.found(dir, name)
	if err != nil {
		return err
	}
	alice, mallory, witness := d.person(dir, "alice"), d.person(dir, "mallory"), d.person(dir, "customer")
	for _, p := range []*person{alice, mallory} {
		if err := p.signIn(); err != nil {
			return err
		}
	}
	for version, members := range [][]string{{"alice", "mallory"}, {"alice"}} {
		if err := r.policy(demoPolicy(name, version+1, 1, "release.yml", members...)); err != nil {
			return err
		}
		if err := r.git("fetch", "-q", "origin"); err != nil {
			return err
		}
		alice.step(fmt.Sprintf("Version %d names %s.", version+1, strings.Join(members, " and ")), policy.ClassOK, "sign", "--git", r.dir, "--yes")
		if err := r.push(); err != nil {
			return err
		}
		if err := d.bind(dir, name, "repository_dispatch", "It is bound.", policy.ClassOK); err != nil {
			return err
		}
	}
	job := right
	job.Workflow, job.Event, job.Ref, job.Environment = "", "", "refs/tags/v1.0.0", "release"
	good, err := d.releaseFile(dir, "widget_gizmo.tar.gz", job)
	if err != nil {
		return err
	}
	witness.step("A release under version 2.", policy.ClassOK, "verify", "-R", r.url(), good)

	other, err := d.clone(dir, "other-gizmo", name)
	if err != nil {
		return err
	}
	mine := demoPolicy(name, 2, 1, "evil.yml", "mallory")
	if err := other.policy(mine); err != nil {
		return err
	}
	if err := other.git("fetch", "-q", "origin"); err != nil {
		return err
	}
	mallory.step("Mallory, whom version 2 removed, signs another version 2: version 1 let her.", policy.ClassOK, "sign", "--git", other.dir, "--yes")
	if err := other.push(); err != nil {
		return err
	}
	if err := d.bind(dir, name, "repository_dispatch", "The workflow does not bind it,", policy.ClassInvalid); err != nil {
		return err
	}
	first, err := rekorbind.Encode([]byte(demoPolicy(name, 1, 1, "release.yml", "alice", "mallory")), "")
	if err != nil {
		return err
	}
	forked := filepath.Join(dir, "forked")
	if _, err := d.log(right, "mallory's version 2, bound by a workflow that she changed", mine, spelling.Sum(first), forked); err != nil {
		return err
	}
	if err := publish(other, forked); err != nil {
		return err
	}
	if err := other.git("checkout", "-q", "main"); err != nil {
		return err
	}
	evil := job
	evil.Workflow = ".github/workflows/evil.yml"
	bad, err := d.releaseFile(dir, "widget_evil.tar.gz", evil)
	if err != nil {
		return err
	}
	late := d.person(dir, "latecomer")
	late.step("but one that she changed does. The first in the log counts, and the other one is an alarm:", policy.ClassOK, "verify", "-R", r.url(), good)
	late.step("her own releases are refused,", policy.ClassDeny, "verify", "-R", r.url(), bad)
	late.step("and who wants to stop at any alarm can.", policy.ClassAlarm, "verify", "-R", r.url(), "--fail-on-alarm", good)
	// What alice signed and what was bound of it disappears.
	lost, err := filepath.Glob(filepath.Join(r.dir, ".repopolicy", "signatures", "2-*"))
	if err != nil || len(lost) == 0 {
		return fmt.Errorf("no signatures of version 2: %w", err)
	}
	for _, path := range lost {
		if err := os.Remove(filepath.Join(other.dir, ".repopolicy", "signatures", filepath.Base(path))); err != nil {
			return err
		}
	}
	if err := other.push(); err != nil {
		return err
	}
	d.person(dir, "guest").step("The forge drops alice's signature of version 2 to let hers win.", policy.ClassUnavailable, "verify", "-R", r.url(), bad)
	return nil
}

// omitted is an index that leaves out what a scan of the log finds. It needs Rekor
// v1, which alone has an index.
func (d *show) omitted(dir string) error {
	const name = "acme/lever"
	r, right, err := d.found(dir, name)
	if err != nil {
		return err
	}
	alice, customer := d.person(dir, "alice"), d.person(dir, "client")
	if err := alice.signIn(); err != nil {
		return err
	}
	look := d.look
	d.look = nil
	defer func() { d.look = look }()
	for version, workflow := range []string{"old.yml", "release.yml"} {
		if err := r.policy(demoPolicy(name, version+1, 1, workflow, "alice")); err != nil {
			return err
		}
		if err := r.git("fetch", "-q", "origin"); err != nil {
			return err
		}
		alice.step(fmt.Sprintf("Version %d lets %s release.", version+1, workflow), policy.ClassOK, "sign", "--git", r.dir, "--yes")
		if err := r.push(); err != nil {
			return err
		}
		if err := d.bind(dir, name, "repository_dispatch", "It is bound, in both generations of the log.", policy.ClassOK); err != nil {
			return err
		}
	}
	job := right
	job.Workflow, job.Event, job.Ref, job.Environment = ".github/workflows/old.yml", "", "refs/tags/v1.0.0", "release"
	stale, err := d.releaseFile(dir, "widget_lever.tar.gz", job)
	if err != nil {
		return err
	}
	customer.step("A release by the workflow that version 2 removed.", policy.ClassDeny, "verify", "-R", r.url(), stale)
	if err := r.all([]string{"fetch", "-q", "origin", "repopolicy"}, []string{"push", "-q", "-f", "origin", "HEAD~2:main", "FETCH_HEAD~1:repopolicy"}); err != nil {
		return err
	}
	d.person(dir, "caller").step("The forge goes back to version 1: the index still knows better.", policy.ClassUnavailable, "verify", "-R", r.url(), stale)
	heal, err := d.stack.Misbehave(sandbox.RekorV1, malice.OmitIndex{Keep: 0})
	if err != nil {
		return err
	}
	d.person(dir, "trusting").step("The index leaves it out, too: what it says is its operator's word, as the verdict shows,", policy.ClassOK, "verify", "-R", r.url(), stale)
	d.person(dir, "thorough").step("who reads the log instead sees that something is missing,", policy.ClassUnavailable, "verify", "-R", r.url(), "--scan", stale)
	customer.step("and so does who has been here before.", policy.ClassAlarm, "verify", "-R", r.url(), stale)
	return heal()
}
