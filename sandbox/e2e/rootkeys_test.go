// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// keeper keeps a trust root in a directory, as a foundation does, and publishes it where users of
// the map in config follow it.
type keeper struct {
	*computer
	dir, config, machine, key string
}

// newKeeper begins a root with one key, and maps that name it foundation.
func newKeeper(t testing.TB) *keeper {
	t.Helper()
	dir := t.TempDir()
	k := &keeper{computer: newComputer(t), dir: filepath.Join(dir, "root"), config: t.TempDir()}
	var public, machine string
	k.key, public = keyPair(t, dir, "keeper")
	k.machine, machine = keyPair(t, dir, "machine")
	k.must(policy.ClassOK, authorProgram, "init", k.dir, "--key", public, "--online-key", machine)
	return k
}

// do stages a change.
func (k *keeper) do(verb string, args ...string) {
	k.t.Helper()
	k.must(policy.ClassOK, append([]string{authorProgram, verb, k.dir}, args...)...)
}

// publish signs with the root's own key and those named, and publishes.
func (k *keeper) publish(keys ...string) {
	k.t.Helper()
	for _, key := range append([]string{k.key}, keys...) {
		k.do("sign", "--key", key)
	}
	k.do("publish", "--key", k.machine)
	data, err := os.ReadFile(filepath.Join(k.dir, "repository", "1.root.json"))
	check(k.t, err)
	check(k.t, os.WriteFile(filepath.Join(k.config, "1.root.json"), data, 0o600))
	check(k.t, os.WriteFile(filepath.Join(k.config, "trust.toml"), fmt.Appendf(nil,
		"format = \"repopolicy-trust/v1\"\n\n[[root]]\nname = \"foundation\"\nurl = %q\ninitial = \"1.root.json\"\n",
		filepath.Join(k.dir, "repository")), 0o600))
}

// name is how rules of policies name the root.
func (k *keeper) name() string {
	data, err := os.ReadFile(filepath.Join(k.config, "1.root.json"))
	check(k.t, err)
	return "sha256:" + spelling.Sum(data)
}

// user is somebody whose map lists the root.
func (k *keeper) user() *computer {
	c := newComputer(k.t)
	c.config = k.config
	return c
}

// saying demands class and text of a command.
func (c *computer) saying(class policy.Class, text string, args ...string) {
	c.t.Helper()
	c.says(class, args, text)
}

// TestRootKeys: releases are signed with a key that a foundation's root lists. It is replaced,
// ends, and is withdrawn there; a policy says until when it counted, or the releases are denied.
func TestRootKeys(t *testing.T) {
	const name = "acme/rootkeys"
	k := newKeeper(t)
	dir := t.TempDir()
	carol, carolPublic := keyPair(t, dir, "carol")
	dave, davePublic := keyPair(t, dir, "dave")
	k.do("add", "--status", "active", "--usage", "Unknown", "artifact.pub="+carolPublic)
	k.publish()
	rule := func(name, more string) string {
		return fmt.Sprintf("\n[[release]]\nname = %q\ntags = \"any\"\nartifacts = [\"*.zip\"]\noverlaps = true\n"+
			"keys = [{ root = %q, target = \"artifact.pub\"%s\n", name, k.name(), more)
	}
	version := func(n int, rules string) string {
		text := string(policyText(name, 1, 1, "alice"))
		return strings.Replace(text, "version    = 1", fmt.Sprintf("version    = %d", n), 1) + rules
	}
	p := boundProject(t, name, version(1, rule("key", " }]")), nil)
	sign := func(class policy.Class, text, key, file string) {
		t.Helper()
		k.user().saying(class, text, "sign-release", "-R", name, "--checkout", p.dir, "--key", key, file)
	}
	first := artifact(t, "first.zip")
	sign(policy.ClassOK, "signed in", carol, first)
	sign(policy.ClassDeny, "key", dave, artifact(t, "early.zip"))
	newComputer(t).saying(policy.ClassUnavailable, "[[root]]", "sign-release", "-R", name, "--checkout", p.dir, "--key",
		carol, artifact(t, "nowhere.zip"))

	verify := func(c *computer, class policy.Class, text, file string) {
		t.Helper()
		c.saying(class, text, "verify", "-v", "-R", name, file)
	}
	verify(k.user(), policy.ClassOK, "allowed by rule key", first)
	verify(newComputer(t), policy.ClassUnavailable, "list it there as a [[root]]", first)
	verify(k.user(), policy.ClassDeny, "no-evidence", artifact(t, "unsigned.zip"))
	k.user().saying(policy.ClassOK, "artifact.pub of "+k.name()+": active, sha256:", "show", "-R", name)
	newComputer(t).saying(policy.ClassOK, ": unknown", "show", "-R", name)
	before := filepath.Join(t.TempDir(), "before")
	check(t, os.CopyFS(before, os.DirFS(filepath.Join(k.dir, "repository"))))

	// Another key in its place: what the old one signed counts no more, until the policy says until
	// when it did, and which key it was.
	known := k.user()
	verify(known, policy.ClassOK, "allowed", first)
	k.must(policy.ClassUsage, authorProgram, "add", k.dir, "artifact.pub="+davePublic)
	k.do("add", "--status", "active", "artifact.pub="+davePublic)
	k.publish()
	verify(k.user(), policy.ClassDeny, "first.zip", first)
	second := artifact(t, "second.zip")
	sign(policy.ClassOK, "signed in", dave, second)
	sign(policy.ClassDeny, "key", carol, artifact(t, "late.zip"))
	verify(k.user(), policy.ClassOK, "allowed by rule key", second)
	nextSecond()
	until := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	old, err := os.ReadFile(carolPublic)
	check(t, err)
	pem := strings.ReplaceAll(string(old), "\n", `\n`)
	ended := rule("key", ", pem = \""+pem+"\" }]\nuntil = "+until) + rule("next", " }]")
	p.write(".repopolicy/policy.toml", version(2, ended))
	p.commit("carol's key has ended")
	p.signAs(newComputer(t), "alice")
	verify(k.user(), policy.ClassOK, "allowed by rule key", first)
	verify(k.user(), policy.ClassOK, "allowed by rule key", second)
	third := artifact(t, "third.zip")
	sign(policy.ClassOK, "signed in", dave, third)
	sign(policy.ClassDeny, "key", carol, artifact(t, "later.zip"))
	verify(k.user(), policy.ClassOK, "allowed by rule next", third)

	// A machine without a network, and without a map, has what is carried.
	carried := filepath.Join(t.TempDir(), "rootkeys.airgap")
	k.user().must(policy.ClassOK, "export-bundle", "-R", name, "-o", carried, third+".sigstore.json")
	inside := newComputer(t)
	inside.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("there is no network")
	})
	within := []string{"verify", "-v", "-R", name, "--airgap", carried, "--require", "first,none"}
	inside.saying(policy.ClassOK, "allowed by rule next", append(within, third)...)
	inside.ahead = 400 * 24 * time.Hour
	inside.saying(policy.ClassUnavailable, "expired", append(within, third)...)
	newComputer(t).must(policy.ClassUnavailable, "export-bundle", "-R", name, "-o", carried, third+".sigstore.json")

	// It ends, and is taken back: without an until nothing that it signed counts.
	k.do("add", "--status", "expired", "artifact.pub")
	k.publish()
	verify(k.user(), policy.ClassDeny, "which has expired", third)
	sign(policy.ClassDeny, "which has expired", dave, artifact(t, "expired.zip"))
	k.user().saying(policy.ClassOK, ": expired, sha256:", "show", "-R", name)
	k.do("remove", "artifact.pub")
	k.publish()
	verify(k.user(), policy.ClassDeny, "third.zip", third)
	verify(k.user(), policy.ClassOK, "allowed by rule key", first) // as the policy says

	// Who has seen this is not shown what was before, and nobody what has expired.
	seen := k.user()
	verify(seen, policy.ClassDeny, "third.zip", third)
	tree := filepath.Join(k.dir, "repository")
	check(t, os.Rename(tree, tree+".now"))
	check(t, os.Rename(before, tree))
	seen.ahead = 25 * time.Hour
	verify(seen, policy.ClassUnavailable, "older than what was seen before", third)
	frozen := k.user()
	frozen.ahead = 400 * 24 * time.Hour
	frozen.saying(policy.ClassUnavailable, "expired", "verify", "-R", name, "--max-age", "10000h", third)
	check(t, os.Rename(tree, before))
	check(t, os.Rename(tree+".now", tree))
}

// TestListedByRoot: a project signs what it releases through a delegation of a foundation's root,
// with keys of its own or as people, and no policy or log knows the signatures.
func TestListedByRoot(t *testing.T) {
	const name = "acme/listed-by-root"
	k := newKeeper(t)
	dir := t.TempDir()
	var private, public []string
	for _, who := range []string{"alice", "bob", "carol"} {
		one, other := keyPair(t, dir, who)
		private, public = append(private, one), append(public, other)
	}
	delegate := func(threshold string, keys ...string) {
		t.Helper()
		args := []string{"--role", "widget", "--paths", "widget/*/*", "--threshold", threshold}
		for _, key := range keys {
			args = append(args, "--key", key)
		}
		k.do("delegate", args...)
	}
	file := artifact(t, "widget_1.zip")
	delegate("2", public...)
	k.do("add", "--role", "widget", "widget/v1/widget_1.zip="+file)
	k.do("sign", "--key", k.key)
	k.must(policy.ClassInvalid, authorProgram, "publish", k.dir, "--key", k.machine) // nobody of the project has signed
	k.do("sign", "--key", private[0])
	k.must(policy.ClassInvalid, authorProgram, "publish", k.dir, "--key", k.machine) // one of two
	k.publish(private[2])

	tuf := func(c *computer, class policy.Class, text string, args ...string) {
		t.Helper()
		c.saying(class, text, append([]string{"verify", "-v", "--tuf", "foundation"}, args...)...)
	}
	tuf(k.user(), policy.ClassOK, "role widget of foundation", "--target", "widget/v1/widget_1.zip", file)
	tuf(k.user(), policy.ClassDeny, "target-unlisted", file)
	tuf(newComputer(t), policy.ClassUsage, "no root", file)

	rule := fmt.Sprintf("\n[[release]]\nname = \"tuf\"\ntags = [\"v*\"]\nartifacts = [\"*.zip\"]\n"+
		"tuf = { root = %q, role = \"widget\", path = \"widget/{tag}/{name}\" }\n", k.name())
	p := boundProject(t, name, string(policyText(name, 1, 1, "alice"))+rule, nil)
	verify := func(c *computer, class policy.Class, text string, args ...string) {
		t.Helper()
		c.saying(class, text, append([]string{"verify", "-v", "-R", name}, args...)...)
	}
	user := k.user()
	verify(user, policy.ClassOK, "allowed by rule tuf", "--tag", "v1", file)
	verify(user, policy.ClassOK, "no log shows", "--tag", "v1", file)
	verify(user, policy.ClassDeny, "needs the tag", file)
	verify(user, policy.ClassDeny, "target-unlisted", "--tag", "v2", file)
	verify(user, policy.ClassDeny, "artifact-mismatch", "--tag", "v1", "--name", "widget_1.zip",
		artifact(t, "widget_2.zip"))
	verify(newComputer(t), policy.ClassUnavailable, "[[root]]", "--tag", "v1", file)
	k.user().saying(policy.ClassDeny, "DENY target    the target widget/{tag}/{name}", "sign-release", "-R", name,
		"--checkout", p.dir, "--key", private[0], "--tag", "v1", "--statement", artifact(t, "other.zip"))

	// The keys of the role change; those that are gone sign nothing any more.
	delegate("2", public[1], public[2])
	k.do("sign", "--key", k.key)
	k.do("sign", "--key", private[1])
	k.must(policy.ClassDeny, authorProgram, "sign", k.dir, "--key", private[0])
	k.publish(private[2])
	verify(user, policy.ClassOK, "allowed by rule tuf", "--tag", "v1", file)

	// People sign instead of keys, two of three.
	k.do("delegate", "--role", "widget", "--paths", "widget/*/*", "--threshold", "2",
		"--identity", "alice@example.com=https://accounts.google.com",
		"--identity", "bob@example.com=https://accounts.google.com",
		"--identity", "carol@example.com=https://accounts.google.com")
	second := artifact(t, "widget_2.zip")
	k.do("add", "--role", "widget", "widget/v2/widget_2.zip="+second)
	k.do("sign", "--key", k.key)
	as := func(class policy.Class, who claims.Claims) {
		t.Helper()
		token, err := stack.Token(who)
		check(t, err)
		k.env["SIGSTORE_ID_TOKEN"] = token
		k.must(class, authorProgram, "sign", k.dir, "--yes")
	}
	as(policy.ClassOK, alice)
	as(policy.ClassDeny, claims.Email{Address: "mallory@example.com"})
	k.must(policy.ClassInvalid, authorProgram, "publish", k.dir, "--key", k.machine)
	as(policy.ClassOK, bob)
	k.publish()
	verify(user, policy.ClassOK, "allowed by rule tuf", "--tag", "v2", second)
	verify(user, policy.ClassOK, "allowed by rule tuf", "--tag", "v1", file)

	// A mirror that drops a signature, and one that is gone.
	tree := filepath.Join(k.dir, "repository")
	check(t, os.Rename(tree, tree+".now"))
	check(t, os.CopyFS(tree, os.DirFS(tree+".now")))
	dropSignature(t, tree, "widget")
	verify(k.user(), policy.ClassUnavailable, "too few signatures: 1 of 2", "--tag", "v2", second)
	check(t, os.RemoveAll(tree))
	verify(user, policy.ClassUnavailable, "trusted-root-unavailable", "--tag", "v2", second)
	check(t, os.Rename(tree+".now", tree))

	// It is yanked by the policy, and taken back by the project.
	k.do("remove", "--role", "widget", "widget/v1/widget_1.zip")
	as(policy.ClassOK, bob)
	as(policy.ClassOK, personOf("carol"))
	k.do("publish", "--key", k.machine)
	verify(user, policy.ClassDeny, "target-unlisted", "--tag", "v1", file)
	verify(user, policy.ClassOK, "allowed by rule tuf", "--tag", "v2", second)
	p.write(".repopolicy/policy.toml", strings.Replace(string(policyText(name, 1, 1, "alice")), "version    = 1",
		"version    = 2", 1)+rule+"\n[[yanked]]\ntag = \"v2\"\n")
	p.commit("v2 was a mistake")
	p.signAs(newComputer(t), "alice")
	verify(user, policy.ClassDeny, "yanked", "--tag", "v2", second)
}
