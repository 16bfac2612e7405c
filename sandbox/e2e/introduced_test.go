// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// byHand is a policy by which alice releases, on a host of which no certificate speaks.
const byHand = `format     = "repopolicy/v1"
repository = "https://git.acme.example/acme/introduced"
version    = 1
expires    = 2099-01-01T00:00:00Z

[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name       = "by-hand"
tags       = "any"
artifacts  = ["widget_*.tar.gz"]
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

const (
	introducedURL   = "https://git.acme.example/acme/introduced"
	introducedScope = `
[[scope]]
repositories = ["https://git.acme.example/**", "https://github.com/acme/introduced"]
roots        = ["foundation"]
`
	acmeCalled = "acme, introduced by foundation"
)

// foundation is one that is the root of the first Sigstore, and may introduce that of another.
type foundation struct {
	t              *testing.T
	other          *sandbox.Stack
	keeper         *computer
	dir            string
	root, site     string
	keys           map[string][2]string // private and public
	initial, acmes []byte               // first root metadata, its own and of the other
	introduction   []string             // arguments
}

func newFoundation(t *testing.T) *foundation {
	t.Helper()
	other, err := sandbox.Start(context.WithoutCancel(t.Context()), t.TempDir(), sandbox.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, other.Close()) })
	f := &foundation{t: t, other: other, keeper: newComputer(t), dir: t.TempDir(), keys: map[string][2]string{}}
	f.root, f.site = filepath.Join(f.dir, "foundation"), filepath.Join(f.dir, "site")
	for _, name := range []string{"alice", "carol", "dave", "machine"} {
		private, public := keyPair(t, f.dir, name)
		f.keys[name] = [2]string{private, public}
	}
	f.acmes, err = other.TUFRoot()
	check(t, err)
	f.author(policy.ClassOK, "init", f.root, "--key", f.keys["alice"][1], "--online-key", f.keys["machine"][1],
		"--target", "trusted_root.json="+f.file("root.json", stack.TrustedRoot()),
		"--target", "signing_config.v0.2.json="+f.file("v1.json", stack.SigningConfig(1)),
		"--target", "signing_config_rekor_v2.v0.2.json="+f.file("v2.json", stack.SigningConfig(2)))
	f.introduction = []string{
		"delegate", f.root, "--root", "acme=" + f.file("acme.root.json", f.acmes), "--url", "https://tuf.acme.example",
		"--scope", "https://git.acme.example/**",
	}
	// Two of the project's people introduce it.
	f.author(policy.ClassOK, append(slices.Clone(f.introduction), "--key", f.keys["carol"][1], "--key",
		f.keys["dave"][1], "--threshold", "2")...)
	f.author(policy.ClassInvalid, "publish", f.root, "--key", f.keys["machine"][0], "--to", f.site)
	f.publish("alice", "carol", "dave")
	f.initial, err = os.ReadFile(filepath.Join(f.site, "1.root.json"))
	check(t, err)
	return f
}

func (f *foundation) file(name string, data []byte) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	check(f.t, os.WriteFile(path, data, 0o600))
	return path
}

func (f *foundation) author(class policy.Class, args ...string) {
	f.t.Helper()
	f.keeper.must(class, append([]string{authorProgram}, args...)...)
}

func (f *foundation) publish(by ...string) {
	f.t.Helper()
	for _, name := range by {
		f.author(policy.ClassOK, "sign", f.root, "--key", f.keys[name][0])
	}
	f.author(policy.ClassOK, "publish", f.root, "--key", f.keys["machine"][0], "--to", f.site)
}

// user is somebody whose map has the foundation, and more.
func (f *foundation) user(more string) (*computer, *elsewhere) {
	f.t.Helper()
	c := newComputer(f.t)
	c.config = f.t.TempDir()
	text := fmt.Sprintf("format = \"repopolicy-trust/v1\"\n\n[[root]]\nname = \"foundation\"\nurl = %q\n"+
		"initial = \"foundation.root.json\"\n%s", f.site, more)
	for name, data := range map[string][]byte{
		"foundation.root.json": f.initial, "acme.root.json": f.acmes, "trust.toml": []byte(text),
	} {
		check(f.t, os.WriteFile(filepath.Join(c.config, name), data, 0o600))
	}
	e := &elsewhere{next: stack.Transport(), hosts: map[string]string{
		"tuf.acme.example": strings.TrimPrefix(f.other.URL(sandbox.TUF), "http://"),
		"git.acme.example": strings.TrimPrefix(stack.URL(sandbox.Forge), "http://"),
	}}
	c.transport = e
	return c, e
}

// update lets somebody follow the foundation now.
func (f *foundation) update(c *computer) {
	f.t.Helper()
	c.must(policy.ClassOK, "trust", "update", "foundation", "--trust-config", filepath.Join(c.config, "trust.toml"))
}

// widgetWith writes a widget with a bundle beside it.
func widgetWith(t *testing.T, bundle []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "widget_1.tar.gz")
	check(t, os.WriteFile(path, []byte("widget"), 0o600))
	check(t, os.WriteFile(path+".sigstore.json", bundle, 0o600))
	return path
}

// says demands that a command says all of it.
func (c *computer) says(class policy.Class, args []string, want ...string) {
	c.t.Helper()
	out := c.must(class, args...)
	for _, w := range want {
		if !strings.Contains(out, w) {
			c.t.Errorf("repopolicy %s: no %q in\n%s", strings.Join(args, " "), w, out)
		}
	}
}

// verifying returns the arguments that judge by the policy that is bound.
func verifying(path string, more ...string) []string {
	return append([]string{"verify", "-v", "-R", introducedURL, path, "--require", "claimed"}, more...)
}

// TestIntroducedRoot: a user names a foundation alone; the root of another Sigstore, which
// the foundation introduces, judges a repository, through its own rotations, until it is
// withdrawn. Nobody judges in its place.
func TestIntroducedRoot(t *testing.T) {
	f := newFoundation(t)
	const name = "acme/introduced"
	// A maintainer signs where the introduced root says, without a word about it.
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	p.write(".repopolicy/policy.toml", byHand)
	p.push()
	maintainer, _ := f.user(introducedScope)
	maintainer.env["SIGSTORE_ID_TOKEN"], err = f.other.Token(alice)
	check(t, err)
	maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()

	signed := func(ca, log *sandbox.Stack) string {
		t.Helper()
		return widgetWith(t, signBlobAt(t, ca, log, []byte("widget"), alice))
	}
	good, foundations, mixed := signed(f.other, f.other), signed(stack, stack), signed(stack, f.other)
	text := f.file("policy.toml", []byte(byHand))
	pinned := func(path string) []string { return []string{"verify", "-v", "--policy", text, path} }

	stranger, asked := f.user(introducedScope)
	stranger.says(policy.ClassOK, verifying(good), "trust      "+acmeCalled)
	count := map[string]int{}
	for _, path := range asked.asked {
		if count[path]++; strings.HasPrefix(path, "tuf.") && count[path] > 1 {
			t.Errorf("%s was asked twice", path)
		}
	}
	stranger.says(policy.ClassOK, []string{"show", "-R", introducedURL, "--require", "claimed"},
		"is judged under the root "+acmeCalled)
	stranger.says(policy.ClassOK, pinned(good), "trust      "+acmeCalled)
	f.inDocuments(stranger, good)
	for _, path := range []string{foundations, mixed} {
		stranger.must(policy.ClassDeny, verifying(path)...)
		stranger.must(policy.ClassDeny, pinned(path)...)
	}
	// What it is kept under is its own.
	states, err := filepath.Glob(filepath.Join(stranger.state, "state", "*"))
	check(t, err)
	if len(states) != 1 {
		t.Errorf("state of %q", states)
	}

	// It is down, the foundation is not: nobody judges.
	down, e := f.user(introducedScope)
	e.hosts["tuf.acme.example"] = ""
	for _, path := range []string{good, foundations} {
		down.says(policy.ClassUnavailable, verifying(path), "root "+acmeCalled)
		down.must(policy.ClassUnavailable, pinned(path)...)
	}
	// A host that belongs to the public instance is judged by the foundation itself.
	hub, _ := f.user(introducedScope)
	out := hub.must(policy.ClassNoPolicy, "show", "-R", "https://github.com/"+name)
	if strings.Contains(out, "introduced by") {
		t.Error(out)
	}

	// It rotates: whoever begins with what was introduced follows, an old cache as well.
	check(t, f.other.RotateTUFRoot())
	stranger.must(policy.ClassOK, verifying(good)...)
	late, _ := f.user(introducedScope)
	late.must(policy.ClassOK, verifying(good)...)

	// It is withdrawn by those who introduced it: the foundation judges by itself again.
	f.author(policy.ClassOK, "delegate", f.root, "--role", "acme", "--withdraw", "acme")
	f.publish("carol", "dave")
	late.must(policy.ClassOK, verifying(good)...) // what it knows is of today
	f.update(late)
	late.must(policy.ClassNoPolicy, verifying(good)...)
	late.must(policy.ClassDeny, pinned(good)...)
	late.says(policy.ClassOK, pinned(foundations), "trust      foundation\n")
	// Introduced again, and the role is removed by the foundation.
	f.author(policy.ClassOK, append(slices.Clone(f.introduction), "--role", "acme")...)
	f.publish("carol", "dave")
	fresh, _ := f.user(introducedScope)
	fresh.must(policy.ClassOK, verifying(good)...)
	f.author(policy.ClassOK, "delegate", f.root, "--remove-role", "acme")
	f.publish("alice")
	f.update(fresh)
	fresh.must(policy.ClassDeny, pinned(good)...)
	gone, _ := f.user(introducedScope)
	gone.must(policy.ClassNoPolicy, verifying(good)...)
}

// inDocuments demands that JSON says who judged.
func (f *foundation) inDocuments(c *computer, path string) {
	f.t.Helper()
	var doc struct {
		Criteria struct {
			Roots []string `json:"trusted_roots"`
		}
		Artifacts []struct {
			Evidence struct {
				Root string `json:"trusted_root"`
			}
		}
	}
	report := filepath.Join(f.dir, "report.json")
	c.must(policy.ClassOK, verifying(path, "--format", "json", "--report", report)...)
	data, err := os.ReadFile(report)
	check(f.t, err)
	check(f.t, json.Unmarshal(data, &doc))
	if len(doc.Artifacts) != 1 || doc.Artifacts[0].Evidence.Root != acmeCalled ||
		!slices.Equal(doc.Criteria.Roots, []string{acmeCalled}) {
		f.t.Errorf("%s", data)
	}
}

// TestIntroducedJoined: a root that a foundation introduces beside others of the user's, and
// instead of them.
func TestIntroducedJoined(t *testing.T) {
	f := newFoundation(t)
	const name = "acme/introduced"
	text := f.file("policy.toml", []byte(byHand))
	good := widgetWith(t, signBlobAt(t, f.other, f.other, []byte("widget"), alice))
	both := widgetWith(t, slices.Concat(signBlobAt(t, f.other, f.other, []byte("widget"), alice), []byte("\n"),
		signBlobAt(t, stack, stack, []byte("widget"), alice), []byte("\n")))
	check(t, os.Rename(both+".sigstore.json", both+".sigstore.jsonl"))
	pinned := func(path string) []string { return []string{"verify", "-v", "--policy", text, path} }
	joined := func(roots string, threshold int) string {
		return strings.Replace(introducedScope, `["foundation"]`, roots, 1) + fmt.Sprintf("threshold = %d\n", threshold)
	}
	// The root that is introduced does not count beside itself.
	mine := fmt.Sprintf("\n[[root]]\nname = \"mine\"\nurl = %q\ninitial = \"acme.root.json\"\n", f.other.URL(sandbox.TUF))
	for _, roots := range []string{`["foundation", "mine"]`, `["mine", "foundation"]`} {
		one, _ := f.user(mine + joined(roots, 1))
		one.says(policy.ClassOK, pinned(good), "counts once")
		two, _ := f.user(mine + joined(roots, 2))
		two.says(policy.ClassInvalid, pinned(good), "counts once")
		two.must(policy.ClassInvalid, pinned(both)...)
	}
	with, _ := f.user(joined(`["foundation", "public-good"]`, 2))
	with.says(policy.ClassDeny, pinned(good), "2 of "+acmeCalled+", public-good, each alone")
	with.says(policy.ClassOK, pinned(both), "2 of "+acmeCalled+", public-good, each alone")

	// The user's own root of that name comes in its place.
	named := strings.Replace(mine, `"mine"`, `"acme"`, 1)
	own, e := f.user(named + introducedScope)
	e.hosts["tuf.acme.example"] = ""
	own.says(policy.ClassOK, pinned(good), "trust      acme of trust.toml, introduced by foundation")
	// And so does a scope before.
	first := strings.Replace(introducedScope, "foundation", "acme", 1)
	before, _ := f.user(named + first + introducedScope)
	before.says(policy.ClassOK, pinned(good), "trust      acme\n")

	// Where the introduced root knows no policy the next scope is asked, and not where it gives no
	// answer.
	_, err := stack.Forge().Create(name + "-none")
	check(t, err)
	p := newProject2(t, name+"-none")
	p.write("README", "nothing\n")
	p.push()
	none := []string{"show", "-R", introducedURL + "-none", "--require", "claimed"}
	next, _ := f.user(introducedScope + "continue = true\n")
	next.says(policy.ClassNoPolicy, append([]string{"verify", good}, none[1:]...), "note: under foundation")
	known, e := f.user(introducedScope + "continue = true\n")
	e.hosts["tuf.acme.example"] = ""
	known.must(policy.ClassUnavailable, append([]string{"verify", good}, none[1:]...)...)
}

type introducedRoots = [airgap.MaxIntroduced]airgap.TUF

// TestIntroducedCarried: across an air gap, with the introduced root, and not without.
func TestIntroducedCarried(t *testing.T) {
	f := newFoundation(t)
	const name = "acme/introduced-carried"
	_, err := stack.Forge().Create(name)
	check(t, err)
	p := newProject2(t, name)
	p.write(".repopolicy/policy.toml", strings.ReplaceAll(byHand, "acme/introduced", name))
	p.push()
	c, _ := f.user(introducedScope)
	c.env["SIGSTORE_ID_TOKEN"], err = f.other.Token(alice)
	check(t, err)
	c.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	p.push()
	good := widgetWith(t, signBlobAt(t, f.other, f.other, []byte("widget"), alice))
	carried := filepath.Join(f.dir, "widget.airgap")
	const url = "https://git.acme.example/" + name
	c.must(policy.ClassOK, "export-bundle", "-R", url, "--require", "claimed", "-o", carried, good+".sigstore.json")
	inside := func(file string) (int, string) {
		c, _ := f.user(introducedScope)
		c.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL)
			return nil, errors.New("there is no network")
		})
		return c.repopolicy("verify", "-v", "-R", url, good, "--require", "claimed,none", "--airgap", file)
	}
	if code, out := inside(carried); code != 0 || !strings.Contains(out, acmeCalled) {
		t.Errorf("exit %d\n%s", code, out)
	}
	data, err := os.ReadFile(carried)
	check(t, err)
	for what, change := range map[string]func(b *airgap.Bundle, r *introducedRoots){
		"without it":         func(_ *airgap.Bundle, r *introducedRoots) { clear(r[0].Metadata) },
		"its metadata alone": func(_ *airgap.Bundle, r *introducedRoots) { clear(r[0].Targets) },
		"the introducer's": func(b *airgap.Bundle, r *introducedRoots) {
			r[0] = airgap.TUF{Metadata: b.Metadata, Targets: b.Targets}
		},
		"at another depth":   func(_ *airgap.Bundle, r *introducedRoots) { r[0], r[1] = r[1], r[0] },
		"not the introducer": func(b *airgap.Bundle, _ *introducedRoots) { clear(b.Metadata) },
		"no introduction":    func(b *airgap.Bundle, _ *introducedRoots) { clear(b.Targets) },
		"it for the introducer": func(b *airgap.Bundle, r *introducedRoots) {
			b.Metadata, b.Targets = r[0].Metadata, r[0].Targets
		},
		"no timestamp of the introducer": func(b *airgap.Bundle, _ *introducedRoots) {
			maps.DeleteFunc(b.Metadata, func(name string, _ []byte) bool { return name == "timestamp.json" })
		},
	} {
		b, err := airgap.Parse(data)
		check(t, err)
		change(b, &b.Introduced)
		changed, err := b.Encode()
		check(t, err)
		if code, out := inside(f.file("changed.airgap", changed)); code == 0 {
			t.Errorf("%s: OK\n%s", what, out)
		}
	}
}
