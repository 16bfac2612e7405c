// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/policy"
)

// company keeps a trust root of its own, with the services of the stack and its own certificate
// authority, which judges the repositories that its users' maps name.
type company struct {
	*keeper
	ca, issuing *pkitest.CA
	files       string // directory for what it hands out
}

// newCompany begins a root that names the authority, with current lists of revoked certificates.
func newCompany(t testing.TB, repositories string) *company {
	t.Helper()
	c := &company{keeper: newKeeper(t), files: t.TempDir()}
	c.ca = pkitest.New(t, "Acme root", time.Now().AddDate(0, -1, 0).UTC().Truncate(time.Second))
	c.issuing = c.ca.Below("Acme issuing")
	c.do("add", "trusted_root.json="+c.file("trusted_root.json", stack.TrustedRoot()),
		"signing_config.v0.2.json="+c.file("v1.json", stack.SigningConfig(1)),
		"signing_config_rekor_v2.v0.2.json="+c.file("v2.json", stack.SigningConfig(2)))
	c.do("add", "repopolicy/pki.json="+c.file("pki.json", pkitest.Document(pkitest.Named(
		"pki:acme", []*x509.Certificate{c.ca.Cert, c.issuing.Cert}, "root.crl", "issuing.crl"))))
	c.lists()
	c.scope(repositories)
	return c
}

// scope lets the root judge repositories.
func (c *company) scope(repositories string) {
	path := filepath.Join(c.config, "trust.toml")
	text, err := os.ReadFile(path)
	check(c.t, err)
	check(c.t, os.WriteFile(path, fmt.Appendf(text, "\n[[scope]]\nrepositories = [%q]\nroots = [\"foundation\"]\n",
		repositories), 0o600))
}

func (c *company) file(name string, data []byte) string {
	c.t.Helper()
	path := filepath.Join(c.files, name)
	check(c.t, os.WriteFile(path, data, 0o600))
	return path
}

// lists publishes current lists, the one of the issuing authority with those entries.
func (c *company) lists(revoked ...x509.RevocationListEntry) {
	c.t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	list := func(by *pkitest.CA, entries ...x509.RevocationListEntry) []byte {
		return by.List(&x509.RevocationList{
			ThisUpdate: now, NextUpdate: now.AddDate(0, 0, 12), RevokedCertificateEntries: entries,
		})
	}
	c.do("add", "repopolicy/crl/root.crl="+c.file("root.crl", list(c.ca)),
		"repopolicy/crl/issuing.crl="+c.file("issuing.crl", list(c.issuing, revoked...)))
	had, err := os.ReadFile(filepath.Join(c.config, "trust.toml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	c.publish()
	if had != nil {
		check(c.t, os.WriteFile(filepath.Join(c.config, "trust.toml"), had, 0o600))
	}
}

// employee is somebody with a certificate.
type employee struct {
	name  string
	cert  *x509.Certificate
	flags []string // by which they sign
}

// employs certifies a fresh key.
func (c *company) employs(name string, change ...func(*x509.Certificate)) *employee {
	c.t.Helper()
	key := pkitest.Key(c.t, elliptic.P256())
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(c.t, err)
	path := filepath.Join(c.t.TempDir(), "key.pem")
	check(c.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	e := c.certified(key.Public(), name, change...)
	e.flags = append(e.flags, "--key", path)
	return e
}

// certified certifies a key, and returns who signs with it, but for the flags that name the key.
func (c *company) certified(pub crypto.PublicKey, name string, change ...func(*x509.Certificate)) *employee {
	c.t.Helper()
	e := &employee{name: name, cert: c.issuing.Leaf(pub, name, change...)}
	chain := filepath.Join(c.t.TempDir(), "chain.pem")
	check(c.t, os.WriteFile(chain, []byte(pkitest.PEM(e.cert, c.issuing.Cert, c.ca.Cert)), 0o600))
	e.flags = []string{"--certificate", chain, "--yes"}
	return e
}

// named is the identity as a policy has it.
func (e *employee) named() string {
	return fmt.Sprintf("{ email = %q, issuer = \"pki:acme\" }", e.name)
}

// pkiPolicy has three maintainers, by an OIDC identity, a certificate and a bare key, all of whom sign,
// and two rules: files that somebody with a certificate signs, perhaps approved by another.
func pkiPolicy(name string, version int, bob, dave *employee, carol string) string {
	key, err := os.ReadFile(carol)
	if err != nil {
		panic(err)
	}
	text := string(policyText(name, version, 3, "alice"))
	members := fmt.Sprintf("[[maintainers.member]]\nname = \"bob\"\nidentities = [%s]\n"+
		"[[maintainers.member]]\nname = \"carol\"\nkeys = [%q]\n", bob.named(), key)
	return strings.Replace(text, "\n[[release]]", members+"\n[[release]]", 1) + fmt.Sprintf(
		"\n[[release]]\nname = \"files\"\ntags = \"any\"\nartifacts = [\"file_*\"]\nidentities = [%s]\n"+
			"\n[[release]]\nname = \"approved\"\ntags = \"any\"\nartifacts = [\"two_*\"]\nidentities = [%s]\n"+
			"  [release.approvals]\n  threshold = 1\n  from = \"maintainers\"\n", bob.named(), dave.named())
}

// signs has somebody sign the version of the last commit.
func (c *company) signs(p *project, class policy.Class, flags ...string) string {
	c.t.Helper()
	return c.user().must(class, append([]string{"sign", "--git", p.dir}, flags...)...)
}

// pull takes what the workflow bound into the clone.
func (c *company) pull(p *project) {
	c.t.Helper()
	git(c.t, p.dir, "fetch", "-q", "origin")
	if strings.Contains(git(c.t, p.dir, "branch", "-r"), "origin/repopolicy") { // dispatch replaces that branch
		git(c.t, p.dir, "checkout", "origin/repopolicy", "--", ".repopolicy/signatures")
	}
}

// bind pushes signatures and has the workflow bind them.
func (c *company) bind(p *project) {
	c.t.Helper()
	c.pull(p)
	p.push()
	p.config = c.config
	check(c.t, p.dispatch("repository_dispatch"))
}

// TestPKI: three of three maintainers are an OIDC identity, a certificate of the organisation and a
// bare key. Releases and approvals by certificates count under the root that names the authority,
// until it says otherwise; what was in force by a certificate that was stolen is signed again.
func TestPKI(t *testing.T) {
	const name, url = "acme/pki", "https://github.com/acme/pki"
	c := newCompany(t, url)
	bob, dave := c.employs("bob@acme.example"), c.employs("dave@acme.example")
	carol, carolPublic := keyPair(t, t.TempDir(), "carol")
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", pkiPolicy(name, 1, bob, dave, carolPublic))
	p.push()

	// Nothing is logged in a name that would not count.
	before := logSizes(t)
	elsewhere := c.employs("bob@b.example")
	for want, flags := range map[string][]string{
		"no maintainer":                 dave.flags,
		"does not speak for the domain": elsewhere.flags,
		"is for the key that signs":     {"--yes", "--key", carol, bob.flags[0], bob.flags[1]},
		"--certificate without a key":   bob.flags[:3],
		"no certificate in PEM":         {"--yes", "--key", carol, "--certificate", c.file("none.pem", []byte("x"))},
		"there is no terminal":          {bob.flags[0], bob.flags[1], bob.flags[3], bob.flags[4]},
	} {
		code, out := c.user().repopolicy(append([]string{"sign", "--git", p.dir}, flags...)...)
		if code == 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d\n%s", want, code, out)
		}
	}
	if code, out := newComputer(t).repopolicy(append([]string{"sign", "--git", p.dir}, bob.flags...)...); code == 0 ||
		!strings.Contains(out, "beside Fulcio") {
		t.Errorf("under a root without the authority: exit %d\n%s", code, out)
	}
	if after := logSizes(t); after != before {
		t.Errorf("the logs went from %v to %v", before, after)
	}

	alice := c.user()
	alice.env["SIGSTORE_ID_TOKEN"], _ = stack.Token(personOf("alice"))
	alice.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	c.signs(p, policy.ClassOK, "--key", carol)
	if out := c.user().must(policy.ClassOK, "status", "--git", p.dir); !strings.Contains(out, "bob") {
		t.Error(out)
	}
	c.signs(p, policy.ClassOK, bob.flags...)
	c.bind(p)
	c.user().saying(policy.ClassOK, "version 1", "show", "-R", url)
	c.user().saying(policy.ClassOK, "version 1", "show", "-R", url, "--scan")
	newComputer(t).must(policy.ClassUnavailable, "show", "-R", url) // under the public root two of three are not enough

	// Releases and approvals.
	head := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	p.tag("v1")
	sign := func(class policy.Class, e *employee, path string) string {
		t.Helper()
		return c.user().must(class, append([]string{
			"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, "--statement", "--tag", "v1", path,
		}, e.flags...)...)
	}
	verify := func(u *computer, class policy.Class, text, path string) {
		t.Helper()
		u.saying(class, text, "verify", "-v", "-R", url, "--tag", "v1", path)
	}
	file, two := artifact(t, "file_1"), artifact(t, "two_1")
	sign(policy.ClassDeny, dave, file)
	sign(policy.ClassOK, bob, file)
	verify(c.user(), policy.ClassOK, "issuer       pki:acme", file)
	sign(policy.ClassOK, dave, two)
	verify(c.user(), policy.ClassDeny, "approvals", two)
	approve := []string{"approve", "-R", url, "--tag", "v1", two}
	c.user().must(policy.NotApprover.Class(), append(approve, dave.flags...)...)
	c.user().must(policy.ClassOK, append(approve, bob.flags...)...)
	verify(c.user(), policy.ClassOK, "allowed by rule approved", two)
	verify(newComputer(t), policy.ClassUnavailable, "", file)

	// Across an air gap, while the lists are current.
	gap := filepath.Join(t.TempDir(), "pki.airgap")
	c.user().must(policy.ClassOK, "export-bundle", "-R", url, "-o", gap, file+".sigstore.json")
	inside := func(ahead time.Duration) *computer {
		u := c.user()
		u.ahead = ahead
		u.transport = roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("there is no network")
		})
		return u
	}
	carried := artifact(t, "file_1")
	across := []string{"verify", "-R", url, "--airgap", gap, "--require", "first,none", "--tag", "v1", carried}
	inside(0).must(policy.ClassOK, across...)
	const unknown = "it is not known whether the signing certificate was revoked: version 1"
	const doubt = "a certificate that was revoked: version 1"
	inside(13*24*time.Hour).saying(policy.ClassUnavailable, unknown, across...)
	inside(11*24*time.Hour).must(policy.ClassOK, across...)

	// Stale lists leave the status unknown, of the policy's signatures, too.
	late := c.user()
	late.ahead = 13 * 24 * time.Hour
	verify(late, policy.ClassUnavailable, unknown, file)
	late.saying(policy.ClassUnavailable, "was due", "show", "-R", url)

	// bob gets another certificate, his old one is superseded: what it signed before counts.
	nextSecond()
	again := c.employs(bob.name)
	c.lists(pkitest.Revoked(bob.cert, time.Now().UTC(), 4))
	verify(c.user(), policy.ClassOK, "bob@acme.example", file)
	nextSecond()
	c.user().saying(policy.ClassDeny, "counts for nothing from", append([]string{
		"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, "--statement", "--tag", "v1", artifact(t, "file_2"),
	}, bob.flags...)...)

	// It was stolen: nothing counts that it ever signed, and what it put in force is not undone in silence.
	c.lists(pkitest.Revoked(bob.cert, time.Now().UTC(), 1))
	verify(c.user(), policy.ClassUnavailable, doubt, file)
	c.user().saying(policy.ClassUnavailable, doubt, "show", "-R", url)
	c.signs(p, policy.ClassOK, again.flags...)
	c.bind(p)
	c.user().saying(policy.ClassOK, "version 1", "show", "-R", url)
	verify(c.user(), policy.ClassDeny, "certificate-revoked", file)
	verify(c.user(), policy.ClassDeny, "approvals", two)
	head = strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	p.tag("v2")
	third := artifact(t, "file_3")
	c.user().must(policy.ClassOK, append([]string{
		"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, "--statement", "--tag", "v2", third,
	}, again.flags...)...)
	c.user().saying(policy.ClassOK, "bob@acme.example", "verify", "-R", url, "--tag", "v2", third)
}

// TestPKILater: of three versions the middle one was in force by a certificate that was stolen. It is
// signed again and bound again, and the one after it bound again; what lies between is judged by both.
// A version that a thief made is declared void.
func TestPKILater(t *testing.T) {
	const name, url = "acme/pki-later", "https://github.com/acme/pki-later"
	c := newCompany(t, url)
	bob := c.employs("bob@acme.example")
	text := func(version int, more, files string) string {
		text := string(policyText(name, version, 1, "alice"))
		text = strings.Replace(text, "\n[maintainers]", more+"\n[maintainers]", 1)
		member := fmt.Sprintf("[[maintainers.member]]\nname = \"bob\"\nidentities = [%s]\n", bob.named())
		return strings.Replace(text, "\n[[release]]", member+"\n[[release]]", 1) + fmt.Sprintf(
			"\n[[release]]\nname = \"files\"\ntags = \"any\"\nartifacts = [%q]\n"+
				"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n", files)
	}
	p := newProject(t, name)
	alice := func() *computer {
		u := c.user()
		u.env["SIGSTORE_ID_TOKEN"], _ = stack.Token(personOf("alice"))
		return u
	}
	version := func(policyText string, sign func()) {
		t.Helper()
		c.pull(p)
		p.write(".repopolicy/policy.toml", policyText)
		p.commit("policy")
		sign()
		c.bind(p)
	}
	byAlice := func() { alice().must(policy.ClassOK, "sign", "--git", p.dir, "--yes") }
	byBob := func() { c.signs(p, policy.ClassOK, bob.flags...) }
	first, second, third := text(1, "", "one_*"), text(2, "", "two_*"), text(3, "", "three_*")
	version(first, byAlice)
	version(second, byBob)
	version(third, byAlice)
	c.user().saying(policy.ClassOK, "version 3", "show", "-R", url)

	c.lists(pkitest.Revoked(bob.cert, time.Now().UTC(), 1))
	c.user().saying(policy.ClassUnavailable, "revoked: version 2", "show", "-R", url)
	if code, out := c.user().repopolicy("bind", "--git", p.dir); code == 0 {
		t.Error(out)
	}
	version(second, byAlice)
	c.user().must(policy.ClassUnavailable, "show", "-R", url) // version 3 was bound before version 2 is in force
	p.write(".repopolicy/policy.toml", third)
	p.commit("policy")
	c.bind(p)
	c.user().saying(policy.ClassOK, "version 3", "show", "-R", url)

	// What a thief has signed and bound is declared void.
	thief := c.employs(bob.name)
	version(text(4, "", "evil_*"), func() { c.signs(p, policy.ClassOK, thief.flags...) })
	c.user().saying(policy.ClassOK, "version 4", "show", "-R", url)
	c.lists(pkitest.Revoked(bob.cert, time.Now().UTC(), 1), pkitest.Revoked(thief.cert, time.Now().UTC(), 1))
	out := c.user().must(policy.ClassUnavailable, "show", "-R", url)
	_, leaves, ok := strings.Cut(out, "(leaves ")
	if leaves, _, _ = strings.Cut(leaves, ")"); !ok || !strings.Contains(out, "revoked: version 4") {
		t.Fatal(out)
	}
	var void strings.Builder
	for leaf := range strings.SplitSeq(leaves, ", ") {
		fmt.Fprintf(&void, "[[void]]\nleaf = %q\n", leaf)
	}
	version(text(4, void.String(), "four_*"), byAlice)
	c.user().must(policy.ClassUnavailable, "show", "-R", url) // what another may hand in still could be in force
	later := c.user()
	later.ahead = 9 * 24 * time.Hour
	later.saying(policy.ClassOK, "four_*", "show", "-R", url)
}

// TestPKIApproval: of a policy that rests on no certificate, releases and approvals that do count as long as
// their status is known. What is unknown is no denial, and what is revoked no approval.
func TestPKIApproval(t *testing.T) {
	const name, url = "acme/pki-approval", "https://github.com/acme/pki-approval"
	c := newCompany(t, url)
	bob := c.employs("bob@acme.example")
	const alice = `{ email = "alice@example.com", issuer = "https://accounts.google.com" }`
	rule := func(rule, files, who string) string {
		return fmt.Sprintf("\n[[release]]\nname = %q\ntags = \"any\"\nartifacts = [%q]\nidentities = [%s]\n",
			rule, files, who)
	}
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", string(policyText(name, 1, 1, "alice"))+rule("one", "one_*", bob.named())+
		rule("two", "two_*", alice+", "+bob.named())+"  [release.approvals]\n  threshold = 1\n  from = \"releasers\"\n")
	p.push()
	u := c.user()
	u.env["SIGSTORE_ID_TOKEN"], _ = stack.Token(personOf("alice"))
	u.must(policy.ClassOK, "sign", "--git", p.dir, "--yes")
	c.bind(p)
	head := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	p.tag("v1")
	one, two := artifact(t, "one_1"), artifact(t, "two_1")
	release := []string{"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, "--statement", "--tag", "v1"}
	c.user().must(policy.ClassOK, append(append(release, one), bob.flags...)...)
	u.must(policy.ClassOK, append(release, two, "--yes")...)
	c.user().must(policy.ClassOK, append([]string{"approve", "-R", url, "--tag", "v1", two}, bob.flags...)...)
	verify := func(ahead time.Duration, class policy.Class, text, path string) {
		t.Helper()
		u := c.user()
		u.ahead = ahead
		u.saying(class, text, "verify", "-v", "-R", url, "--tag", "v1", path)
	}
	verify(0, policy.ClassOK, "allowed by rule one", one)
	verify(0, policy.ClassOK, "allowed by rule two", two)
	const stale = 13 * 24 * time.Hour
	verify(stale, policy.ClassUnavailable, "[revocation-unknown]", one)
	verify(stale, policy.ClassUnavailable, "[revocation-unknown]", two)
	c.lists(pkitest.Revoked(bob.cert, time.Now().UTC(), 1))
	verify(0, policy.ClassDeny, "[certificate-revoked]", one)
	verify(0, policy.ClassDeny, "approvals", two)
}
