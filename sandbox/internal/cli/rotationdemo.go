// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
)

// more shows what happens to every repository in the course of years: Sigstore begins a new
// log, and the repository gets another name.
func (d *show) more(dir string) error {
	const name, later = "acme/lathe", "acme/mill"
	dir = filepath.Join(dir, "more")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	r, _, err := d.found(dir, name)
	if err != nil {
		return err
	}
	alice, stranger := d.person(dir, "alice"), d.person(dir, "stranger")
	if err := alice.signIn(); err != nil {
		return err
	}
	bind := func(text, to string) error {
		if err := r.policy(text); err != nil {
			return err
		}
		alice.step("Alice signs.", policy.ClassOK, "sign", "--git", r.dir, "--yes")
		if err := r.push(); err != nil {
			return err
		}
		return d.bind(dir, to, "repository_dispatch", "The repository binds it. Place proofs say how large each log was then.", policy.ClassOK)
	}

	d.chapter("18. Sigstore begins a new log, while the old one still takes entries:")
	if err := r.write(releaseFile, releaseJob); err != nil {
		return err
	}
	if err := bind(demoPolicy(name, 1, 1, "release.yml", "alice"), name); err != nil {
		return err
	}
	if err := d.stack.AddShard(sandbox.Rotation{}); err != nil {
		return err
	}
	if err := d.stack.SwitchShard(); err != nil {
		return err
	}
	time.Sleep(time.Second) // stamps and certificates name seconds
	d.say("\n   Both logs are open for 14 days more; whoever signs now is sent to the new one.")
	good, err := d.tagged(dir, r, "v1.0.0", func(job *person, checkout, file string) {
		job.step("The next release is in the new log.", policy.ClassOK, "sign-release", "--checkout", checkout, file)
	})
	if err != nil {
		return err
	}
	stranger.step("The place proof of the binding is older than the release's certificate: it came before.", policy.ClassOK, "verify", "-R", r.url(), good)
	bare, err := d.withoutPlaces(dir, name)
	if err != nil {
		return err
	}
	d.person(dir, "other").step("Without the place proofs nobody can tell, and nothing is allowed.", policy.ClassDeny, "verify", "-R", r.url(), "--git", bare.dir, good)

	d.chapter("19. The repository gets another name:")
	if err := d.stack.Forge().Move(name, later); err != nil {
		return err
	}
	if err := r.git("remote", "set-url", "origin", d.stack.Forge().CloneURL(later)); err != nil {
		return err
	}
	if err := r.git("fetch", "-q", "origin"); err != nil {
		return err
	}
	text := strings.Replace(demoPolicy(later, 2, 1, "release.yml", "alice"), "version ", "formerly   = \"https://github.com/"+name+"\"\nversion ", 1)
	if err := bind(text, later); err != nil {
		return err
	}
	for _, asked := range []string{later, name} {
		stranger.step("The release is found under "+asked+".", policy.ClassOK, "verify", "-R", "https://github.com/"+asked, good)
	}
	d.person(dir, "newcomer").step("Who serves the old name's files without version 2 rolls nothing back.", policy.ClassUnavailable, "verify", "-R", "https://github.com/"+name, "--git", bare.dir, good)

	d.chapter("20. What roots say: keys, releases, other roots, packages, certificates:")
	return d.roots(dir)
}

// withoutPlaces returns a copy of a repository in which the place proofs are missing.
func (d *show) withoutPlaces(dir, name string) (repo, error) {
	r := repo{name, filepath.Join(dir, "bare")}
	if err := (repo{name, dir}).git("clone", "-q", d.stack.Forge().CloneURL(name), r.dir); err != nil {
		return r, err
	}
	return r, r.all(
		[]string{"switch", "-q", "repopolicy"},
		[]string{"rm", "-q", ".repopolicy/signatures/*.place.json"},
		[]string{"commit", "-q", "-m", "withheld"},
		[]string{"update-ref", "refs/remotes/origin/repopolicy", "HEAD"},
		[]string{"switch", "-q", "main"},
	)
}
