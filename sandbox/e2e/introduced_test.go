// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
)

// elsewhere lets hosts be found at other addresses, as long as they are up.
type elsewhere struct {
	hosts map[string]string // "" for one that is down
	next  http.RoundTripper
	asked []string
}

// RoundTrip implements http.RoundTripper.
func (e *elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	to, ok := e.hosts[r.URL.Host]
	if !ok {
		return e.next.RoundTrip(r)
	}
	e.asked = append(e.asked, r.URL.Host+r.URL.Path)
	if to == "" {
		return nil, errors.New("nobody is there")
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", to
	return e.next.RoundTrip(r)
}

// byHand is a policy by which people release, on a host of which no certificate speaks.
func byHand(repo string, version int) string {
	return fmt.Sprintf("format     = \"repopolicy/v1\"\nrepository = %q\nversion    = %d\nexpires    = 2099-01-01T00:00:00Z\n\n"+
		"[maintainers]\nthreshold = 1\n[[maintainers.member]]\nname       = \"alice\"\nidentities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n\n"+
		"[[release]]\nname       = \"by-hand\"\ntags       = \"any\"\nartifacts  = [\"widget_*.tar.gz\"]\nidentities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n", repo, version)
}

// TestIntroducedRoot: a user names a foundation alone; the root of another Sigstore, which
// the foundation introduces, judges a repository, through its own rotations, until it is
// withdrawn. Nobody judges in its place.
func TestIntroducedRoot(t *testing.T) {
	other, err := sandbox.Start(context.WithoutCancel(t.Context()), t.TempDir(), sandbox.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, other.Close()) })
	const name = "acme/introduced"
	const url = "https://git.acme.example/" + name
	hosts := map[string]string{
		"tuf.acme.example": strings.TrimPrefix(other.URL(sandbox.TUF), "http://"),
		"git.acme.example": strings.TrimPrefix(stack.URL(sandbox.Forge), "http://"),
	}

	// The foundation, which is the root of the first Sigstore as well.
	at := t.TempDir()
	root, site := filepath.Join(at, "foundation"), filepath.Join(at, "site")
	alicePrivate, alicePublic := keyPair(t, at, "alice")
	carolPrivate, carolPublic := keyPair(t, at, "carol")
	davePrivate, davePublic := keyPair(t, at, "dave")
	machine, machinePublic := keyPair(t, at, "machine")
	file := func(name string, data []byte) string {
		path := filepath.Join(at, name)
		check(t, os.WriteFile(path, data, 0o600))
		return path
	}
	initial, err := other.TUFRoot()
	check(t, err)
	acmeRoot := file("acme.root.json", initial)
	keeper := newComputer(t)
	author := func(class policy.Class, args ...string) string {
		t.Helper()
		return keeper.must(class, append([]string{authorProgram}, args...)...)
	}
	publish := func(by ...string) {
		t.Helper()
		for _, key := range by {
			author(policy.ClassOK, "sign", root, "--key", key)
		}
		author(policy.ClassOK, "publish", root, "--key", machine, "--to", site)
	}
	author(policy.ClassOK, "init", root, "--key", alicePublic, "--online-key", machinePublic,
		"--target", "trusted_root.json="+file("root.json", stack.TrustedRoot()),
		"--target", "signing_config.v0.2.json="+file("v1.json", stack.SigningConfig(1)),
		"--target", "signing_config_rekor_v2.v0.2.json="+file("v2.json", stack.SigningConfig(2)))
	introduce := []string{"delegate", root, "--root", "acme=" + acmeRoot, "--url", "https://tuf.acme.example", "--scope", "https://git.acme.example/**"}
	author(policy.ClassOK, append(slices.Clone(introduce), "--key", carolPublic, "--key", davePublic, "--threshold", "2")...)
	author(policy.ClassInvalid, "publish", root, "--key", machine, "--to", site)
	publish(alicePrivate, carolPrivate, davePrivate)
	pinned, err := os.ReadFile(filepath.Join(site, "1.root.json"))
	check(t, err)

	const scope = "\n[[scope]]\nrepositories = [\"https://git.acme.example/**\", \"https://github.com/acme/introduced\"]\nroots = [\"foundation\"]\n"
	user := func(more string) (*computer, *elsewhere) {
		c := newComputer(t)
		c.config = t.TempDir()
		check(t, os.WriteFile(filepath.Join(c.config, "foundation.root.json"), pinned, 0o600))
		check(t, os.WriteFile(filepath.Join(c.config, "acme.root.json"), initial, 0o600))
		check(t, os.WriteFile(filepath.Join(c.config, "trust.toml"), fmt.Appendf(nil,
			"format = \"repopolicy-trust/v1\"\n\n[[root]]\nname = \"foundation\"\nurl = %q\ninitial = \"foundation.root.json\"\n%s", site, more), 0o600))
		e := &elsewhere{hosts: map[string]string{}, next: stack.Transport()}
		for from, to := range hosts {
			e.hosts[from] = to
		}
		c.transport = e
		return c, e
	}

	// A maintainer signs where the introduced root says, without a word about it.
	_, err = stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	p.write(".repopolicy/policy.toml", byHand(url, 1))
	p.push()
	maintainer, _ := user(scope)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = other.Token(alice)
	check(t, err)
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()

	const content = "widget"
	artifact := func(bundle []byte) string {
		path := filepath.Join(t.TempDir(), "widget_1.tar.gz")
		check(t, os.WriteFile(path, []byte(content), 0o600))
		check(t, os.WriteFile(path+".sigstore.json", bundle, 0o600))
		return path
	}
	good := artifact(signBlobAt(t, other, other, []byte(content), alice))
	foundations := artifact(signBlobAt(t, stack, stack, []byte(content), alice))
	mixed := artifact(signBlobAt(t, stack, other, []byte(content), alice))
	verify := func(path string, more ...string) []string {
		return append([]string{"verify", "-R", url, path, "--require", "claimed"}, more...)
	}
	const called = "acme, introduced by foundation"
	stranger, asked := user(scope)
	out := stranger.must(policy.ClassOK, verify(good)...)
	if !strings.Contains(out, "trust      "+called) {
		t.Errorf("it is not said who judges\n%s", out)
	}
	count := map[string]int{}
	for _, path := range asked.asked {
		if count[path]++; strings.HasPrefix(path, "tuf.") && count[path] > 1 {
			t.Errorf("%s was asked twice", path)
		}
	}
	if out := stranger.must(policy.ClassOK, "show", "-R", url, "--require", "claimed"); !strings.Contains(out, "is judged under the root "+called) {
		t.Error(out)
	}
	var doc struct {
		Criteria  struct{ Trusted_roots []string }
		Artifacts []struct{ Evidence struct{ Trusted_root string } }
	}
	report := filepath.Join(at, "report.json")
	stranger.must(policy.ClassOK, verify(good, "--format", "json", "--report", report)...)
	data, err := os.ReadFile(report)
	check(t, err)
	check(t, json.Unmarshal(data, &doc))
	if len(doc.Artifacts) != 1 || doc.Artifacts[0].Evidence.Trusted_root != called || !slices.Equal(doc.Criteria.Trusted_roots, []string{called}) {
		t.Errorf("%s", data)
	}
	text := file("policy.toml", []byte(byHand(url, 1)))
	if out := stranger.must(policy.ClassOK, "verify", "--policy", text, good); !strings.Contains(out, "trust      "+called) {
		t.Error(out)
	}
	for what, path := range map[string]string{"the foundation's": foundations, "a certificate of one, a log of the other": mixed} {
		if out := stranger.must(policy.ClassDeny, verify(path)...); strings.Contains(out, "allowed by") {
			t.Errorf("%s: %s", what, out)
		}
		stranger.must(policy.ClassDeny, "verify", "--policy", text, path)
	}

	// What it is kept under is its own.
	states, err := filepath.Glob(filepath.Join(stranger.state, "state", "*"))
	check(t, err)
	if len(states) != 1 {
		t.Errorf("state of %q", states)
	}

	// It is down, the foundation is not: nobody judges.
	down, e := user(scope)
	e.hosts["tuf.acme.example"] = ""
	for _, path := range []string{good, foundations} {
		if out := down.must(policy.ClassUnavailable, verify(path)...); !strings.Contains(out, "root "+called) {
			t.Error(out)
		}
	}
	down.must(policy.ClassUnavailable, "verify", "--policy", text, foundations)

	// A host that belongs to the public instance is judged by the foundation itself.
	hub, _ := user(scope)
	if out := hub.must(policy.ClassNoPolicy, "show", "-R", "https://github.com/"+name); strings.Contains(out, "introduced by") {
		t.Error(out)
	}

	// Joined with others: the root that is introduced does not count beside itself.
	mine := fmt.Sprintf("\n[[root]]\nname = \"mine\"\nurl = %q\ninitial = \"acme.root.json\"\n", other.URL(sandbox.TUF))
	both := strings.Replace(scope, `["foundation"]`, `["foundation", "mine"]`, 1)
	for threshold, want := range map[string]policy.Class{"1": policy.ClassOK, "2": policy.ClassInvalid} {
		c, _ := user(mine + both + "threshold = " + threshold + "\n")
		if out := c.must(want, verify(good)...); !strings.Contains(out, "counts once") {
			t.Error(out)
		}
	}
	with, _ := user(strings.Replace(scope, `["foundation"]`, `["foundation", "public-good"]`, 1) + "threshold = 2\n")
	with.must(policy.ClassNoPolicy, verify(good)...) // nothing is bound there
	if out := with.must(policy.ClassDeny, "verify", "--policy", text, good); !strings.Contains(out, "2 of "+called+", public-good, each alone") {
		t.Error(out)
	}

	// The user's own root of that name comes in its place, and so does a scope before.
	named := strings.Replace(mine, `"mine"`, `"acme"`, 1)
	own, e := user(named + scope)
	e.hosts["tuf.acme.example"] = ""
	if out := own.must(policy.ClassOK, verify(good)...); !strings.Contains(out, "acme of trust.toml, introduced by foundation") || !strings.Contains(out, "yours of that name") {
		t.Error(out)
	}
	before, _ := user(named + "\n[[scope]]\nrepositories = [\"https://git.acme.example/acme/*\"]\nroots = [\"acme\"]\n" + scope)
	if out := before.must(policy.ClassOK, verify(good)...); !strings.Contains(out, "trust      acme\n") {
		t.Error(out)
	}

	// Across an air gap, with the introduced root, and not without.
	carried := filepath.Join(at, "widget.airgap")
	stranger.must(policy.ClassOK, "export-bundle", "-R", url, "--require", "claimed", "-o", carried, good+".sigstore.json")
	inside := func(file string) (int, string) {
		c, _ := user(scope)
		c.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL)
			return nil, errors.New("there is no network")
		})
		return c.repopolicy("verify", "-R", url, good, "--require", "claimed,none", "--airgap", file)
	}
	if code, out := inside(carried); code != 0 || !strings.Contains(out, called) {
		t.Errorf("exit %d\n%s", code, out)
	}
	data, err = os.ReadFile(carried)
	check(t, err)
	for what, change := range map[string]func(b *airgap.Bundle){
		"without it":            func(b *airgap.Bundle) { clear(b.Introduced[0].Metadata) },
		"its metadata alone":    func(b *airgap.Bundle) { clear(b.Introduced[0].Targets) },
		"the introducer's":      func(b *airgap.Bundle) { b.Introduced[0] = airgap.TUF{Metadata: b.Metadata, Targets: b.Targets} },
		"at another depth":      func(b *airgap.Bundle) { b.Introduced[1], b.Introduced[0] = b.Introduced[0], b.Introduced[1] },
		"not the introducer":    func(b *airgap.Bundle) { clear(b.Metadata) },
		"no introduction":       func(b *airgap.Bundle) { clear(b.Targets) },
		"it for the introducer": func(b *airgap.Bundle) { b.Metadata, b.Targets = b.Introduced[0].Metadata, b.Introduced[0].Targets },
	} {
		b, err := airgap.Parse(data)
		check(t, err)
		change(b)
		changed, err := b.Encode()
		check(t, err)
		if code, out := inside(file("changed.airgap", changed)); code == 0 {
			t.Errorf("%s: OK\n%s", what, out)
		}
	}

	// It rotates: whoever begins with what was introduced follows, an old cache as well.
	check(t, other.RotateTUFRoot())
	stranger.must(policy.ClassOK, verify(good)...)
	late, _ := user(scope)
	late.must(policy.ClassOK, verify(good)...)
	late.must(policy.ClassOK, "trust", "update", "--trust-config", filepath.Join(late.config, "trust.toml"))

	// It is withdrawn by those who introduced it: the foundation judges by itself again.
	author(policy.ClassOK, "delegate", root, "--role", "acme", "--withdraw", "acme")
	publish(carolPrivate, davePrivate)
	late.must(policy.ClassOK, verify(good)...) // what it knows is of today
	late.must(policy.ClassOK, "trust", "update", "foundation", "--trust-config", filepath.Join(late.config, "trust.toml"))
	late.must(policy.ClassNoPolicy, verify(good)...)
	late.must(policy.ClassDeny, "verify", "--policy", text, good)
	if out := late.must(policy.ClassOK, "verify", "--policy", text, foundations); !strings.Contains(out, "trust      foundation\n") {
		t.Error(out)
	}
	// Introduced again, and the role is removed by the foundation.
	author(policy.ClassOK, append(slices.Clone(introduce), "--role", "acme")...)
	publish(carolPrivate, davePrivate)
	fresh, _ := user(scope)
	fresh.must(policy.ClassOK, verify(good)...)
	author(policy.ClassOK, "delegate", root, "--remove-role", "acme")
	publish(alicePrivate)
	fresh.must(policy.ClassOK, "trust", "update", "foundation", "--trust-config", filepath.Join(fresh.config, "trust.toml"))
	fresh.must(policy.ClassDeny, "verify", "--policy", text, good)
	gone, _ := user(scope)
	gone.must(policy.ClassNoPolicy, verify(good)...)
}
