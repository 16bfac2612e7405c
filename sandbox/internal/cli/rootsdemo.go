// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// keeping is a foundation's root in a directory, and what lies around it.
type keeping struct {
	*person
	dir string
}

func (k *keeping) in(name string) string { return filepath.Join(k.dir, name) }

// author stages a change of the root.
func (k *keeping) author(what, verb string, args ...string) {
	k.step(what, policy.ClassOK, append([]string{authorProgram, verb, k.in("root")}, args...)...)
}

// publish signs as the root's keeper, and as those named, and publishes.
func (k *keeping) publish(names ...string) {
	for _, name := range append([]string{"carol"}, names...) {
		k.author("Signed by "+name+",", "sign", "--key", k.in(name+".pem"))
	}
	k.author("it is published.", "publish", "--key", k.in("machine.pem"), "--to", k.in("site"))
}

// roots lets a foundation's root give a key to a policy, list a project's releases, introduce
// another root, and be audited; and gets a file from a repository of packages.
func (d *show) roots(dir string) error {
	const name = "acme/gauge"
	dir = filepath.Join(dir, "roots")
	k := &keeping{d.person(dir, "keeper"), filepath.Join(dir, "foundation")}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	for _, who := range []string{"carol", "dora", "ed", "flo", "release", "next", "machine"} {
		if err := keyPair(k.dir, who); err != nil {
			return err
		}
	}
	keyed, listed := k.in("gauge.bin"), k.in("gauge.zip")
	for _, path := range []string{keyed, listed} {
		if err := os.WriteFile(path, []byte(filepath.Base(path)), 0o600); err != nil {
			return err
		}
	}
	look := d.look
	d.look = nil // nothing is looked up
	k.author("The root is kept by carol.", "init", "--key", k.in("carol.pub"), "--online-key", k.in("machine.pub"))
	k.author("It lists a key for releases,", "add", "--status", "active", "artifact.pub="+k.in("release.pub"))
	k.author("and lets two of three people of a project list files.", "delegate", "--role", "gauge", "--paths",
		"gauge/*/*",
		"--threshold", "2", "--key", k.in("dora.pub"), "--key", k.in("ed.pub"), "--key", k.in("flo.pub"))
	k.author("They list one.", "add", "--role", "gauge", "gauge/v1.0.0/gauge.zip="+listed)
	k.publish("dora", "flo")
	first, err := os.ReadFile(k.in("site/1.root.json"))
	if err != nil {
		return err
	}
	digest := "sha256:" + spelling.Sum(first)
	config := fmt.Sprintf("format = \"repopolicy-trust/v1\"\n\n[[root]]\nname = \"foundation\"\nurl = %q\ninitial = %q\n", k.in("site"), k.in("site/1.root.json"))
	for name, text := range map[string]string{
		"trust.toml":   config,
		"scoped.toml":  config + "\n[[scope]]\nrepositories = [\"https://git.gauge.example/**\"]\nroots = [\"foundation\"]\n",
		"trusted.json": string(d.stack.TrustedRoot()),
	} {
		if err := os.WriteFile(k.in(name), []byte(text), 0o600); err != nil {
			return err
		}
	}

	d.look = look
	checkout, err := d.byRoot(dir, name, digest)
	if err != nil {
		return err
	}
	named := []string{"--trust-config", k.in("trust.toml")}
	as := func(name string) *person { return d.person(dir, name) }
	on := func(p *person, what string, want policy.Class, args ...string) {
		p.step(what, want, append(args, named...)...)
	}
	on(as("builder"), "A release is signed with the key that the root lists,", policy.ClassOK, "sign-release", "-R",
		url(name), "--checkout", checkout, "--key", k.in("release.pem"), keyed)
	on(as("user"), "and verifies: the policy names the root, not the key.", policy.ClassOK,
		"verify", "-R", url(name), keyed)
	on(as("user"), "The other file has no signature but the project's listing.", policy.ClassOK, "verify", "-R",
		url(name), "--tag", "v1.0.0", listed)
	d.look = nil
	k.author("The key is replaced.", "add", "--status", "active", "artifact.pub="+k.in("next.pub"))
	k.publish()
	d.look = look
	on(as("later"), "What the old one signed counts no more, until a version says until when it did.",
		policy.ClassDeny, "verify", "-R", url(name), keyed)
	d.look = nil
	on(as("auditor"), "Anybody can read the root's history.", policy.ClassOK, "trust", "audit", "foundation")
	if err := d.introduced(k, as("member")); err != nil {
		return err
	}
	if err := d.packages(k, as("user"), listed); err != nil {
		return err
	}
	d.look = look
	return d.certificates(k, k.in("gauge-root"))
}

// byRoot binds a policy whose rules name a root, and returns its clone.
func (d *show) byRoot(dir, name, digest string) (checkout string, err error) {
	r, _, err := d.found(dir, name)
	if err != nil {
		return "", err
	}
	text := demoPolicy(name, 1, 1, "release.yml", "alice") + fmt.Sprintf(`
[[release]]
name      = "keyed"
tags      = "any"
artifacts = ["*.bin"]
keys      = [{ root = %[1]q, target = "artifact.pub" }]

[[release]]
name      = "listed"
tags      = ["v*"]
artifacts = ["*.zip"]
tuf       = { root = %[1]q, role = "gauge", path = "gauge/{tag}/{name}" }
`, digest)
	if err := r.policy(text); err != nil {
		return "", err
	}
	alice := d.person(dir, "alice")
	if err := alice.signIn(); err != nil {
		return "", err
	}
	alice.step("Alice's policy names the root, a key's place there, and the role.", policy.ClassOK, "sign", "--git",
		r.dir, "--yes")
	if err := r.push(); err != nil {
		return "", err
	}
	return r.dir, d.bind(dir, name, "repository_dispatch", "The repository binds it.", policy.ClassOK)
}

// introduced lets the foundation introduce the root of a project, which its own people keep.
func (d *show) introduced(k *keeping, member *person) error {
	const host = "tuf.gauge.example"
	own, trusted := k.in("gauge-root"), k.in("trusted.json")
	k.step("A project keeps a root of its own, with its own Sigstore,", policy.ClassOK, authorProgram, "init", own,
		"--key", k.in("ed.pub"), "--online-key", k.in("machine.pub"), "--target", "trusted_root.json="+trusted)
	k.step("signed by its own people,", policy.ClassOK, authorProgram, "sign", own, "--key", k.in("ed.pem"))
	k.step("published where they say,", policy.ClassOK, authorProgram, "publish", own,
		"--key", k.in("machine.pem"), "--to", k.in("gauge-site"))
	k.author("and the foundation introduces it for the project's host.", "delegate", "--root",
		"gauge="+filepath.Join(own, "repository", "1.root.json"), "--url", "https://"+host,
		"--scope", "https://git.gauge.example/**", "--role", "gauge-root", "--key", k.in("ed.pub"))
	k.publish("ed")
	member.hosts = map[string]http.RoundTripper{host: http.NewFileTransport(http.Dir(k.in("gauge-site")))}
	member.step("One scope, which names the foundation, is all that a user writes.", policy.ClassOK, "trust", "show",
		"--trust-config", k.in("scoped.toml"))
	return nil
}

// packages lets a user get a file from a TUF repository.
func (d *show) packages(k *keeping, user *person, file string) error {
	own, mirror := k.in("packages"), "oci-layout:"+k.in("mirror")
	for _, args := range [][]string{
		{"init", own, "--key", k.in("carol.pub"), "--online-key", k.in("machine.pub")},
		{"add-target", own, "gauge/gauge.zip=" + file},
		{"sign", own, "--key", k.in("carol.pem")},
		{"publish", own, "--key", k.in("machine.pem"), "--to", mirror},
	} {
		k.step("A repository of packages: "+args[0]+".", policy.ClassOK, append([]string{authorProgram}, args...)...)
	}
	got := k.in("got.zip")
	root := filepath.Join(own, "repository", "1.root.json")
	user.step("Where to begin has to be said,", policy.ClassUsage, "get", mirror+"//gauge/gauge.zip", "-o", got)
	user.step("and what is written is what the newest metadata lists.", policy.ClassOK, "get",
		mirror+"//gauge/gauge.zip", "--root", root, "-o", got)
	return nil
}
