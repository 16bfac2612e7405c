// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/policy"
)

// opensslCA is a certificate authority that the openssl command keeps.
type opensslCA struct {
	t   testing.TB
	dir string
}

const opensslConfig = `[ca]
default_ca = it
[it]
dir = $ENV::CADIR
database = $dir/index.txt
new_certs_dir = $ENV::CADIR
serial = $dir/serial
crlnumber = $dir/crlnumber
certificate = $dir/ca.pem
private_key = $dir/ca.key
default_md = sha256
default_days = 730
default_crl_days = 7
policy = any
copy_extensions = none
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
nameConstraints = critical, permitted;email:acme.example
[signer]
basicConstraints = CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = codeSigning
authorityKeyIdentifier = keyid
subjectAltName = email:$ENV::WHO
`

func newOpensslCA(t testing.TB) *opensslCA {
	t.Helper()
	ca := &opensslCA{t, t.TempDir()}
	for name, text := range map[string]string{
		"openssl.cnf": opensslConfig, "index.txt": "", "serial": "1000\n", "crlnumber": "01\n",
	} {
		check(t, os.WriteFile(filepath.Join(ca.dir, name), []byte(text), 0o600))
	}
	ca.run("nobody", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes",
		"-keyout", ca.file("ca.key"), "-out", ca.file("ca.pem"), "-days", "3650", "-subj", "/CN=Acme", "-extensions", "root")
	ca.run("nobody", "ca", "-gencrl", "-out", ca.file("acme.crl"))
	return ca
}

// run runs openssl in the directory, for somebody.
func (ca *opensslCA) run(who string, args ...string) {
	ca.t.Helper()
	env := []string{"WHO=" + who, "CADIR=" + ca.dir}
	runs(ca.t, env, openssl(ca.t), append(args, "-config", ca.file("openssl.cnf"))...)
}

// certifies returns the file with a certificate for a key in a file.
func (ca *opensslCA) certifies(private, who string) string {
	ca.t.Helper()
	request, cert := filepath.Join(ca.dir, who+".csr"), filepath.Join(ca.dir, who+".pem")
	ca.run(who, "req", "-new", "-key", private, "-out", request, "-subj", "/CN="+who)
	ca.run(who, "ca", "-batch", "-notext", "-in", request, "-out", cert, "-extensions", "signer")
	return cert
}

func (ca *opensslCA) file(name string) string { return filepath.Join(ca.dir, name) }

// names returns the target that names the authority.
func (ca *opensslCA) names() []byte {
	ca.t.Helper()
	data, err := os.ReadFile(ca.file("ca.pem"))
	check(ca.t, err)
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	check(ca.t, err)
	return pkitest.Document(pkitest.Named("pki:acme", []*x509.Certificate{cert}, "acme.crl").With(
		"domains", []string{"acme.example", "b.example"}))
}

// TestPKIOpenSSL: an authority that the openssl command keeps, with a constraint on names, and whose
// lists it makes.
func TestPKIOpenSSL(t *testing.T) {
	const name, url = "acme/pki-openssl", "https://github.com/acme/pki-openssl"
	openssl(t)
	c, ca := newCompany(t, url), newOpensslCA(t)
	publish := func() {
		t.Helper()
		c.do("add", "repopolicy/pki.json="+c.file("pki.json", ca.names()), "repopolicy/crl/acme.crl="+ca.file("acme.crl"))
		had, err := os.ReadFile(filepath.Join(c.config, "trust.toml"))
		check(t, err)
		c.publish()
		check(t, os.WriteFile(filepath.Join(c.config, "trust.toml"), had, 0o600))
	}
	publish()
	private, _ := pair(t, "RSA", "rsa_keygen_bits:3072")
	cert := ca.certifies(private, "erin@acme.example")
	by := []string{"--key", private, "--certificate", cert, "--yes"}
	outside := []string{"--key", private, "--certificate", ca.certifies(private, "erin@b.example"), "--yes"}

	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", strings.ReplaceAll(string(policyText(name, 1, 1, "alice")),
		`{ email = "alice@example.com", issuer = "https://accounts.google.com" }`,
		`{ email = "erin@acme.example", issuer = "pki:acme" }, { email = "erin@b.example", issuer = "pki:acme" }`)+
		"\n[[release]]\nname = \"files\"\ntags = \"any\"\nartifacts = [\"file_*\"]\n"+
		"identities = [{ email = \"erin@acme.example\", issuer = \"pki:acme\" }]\n")
	p.push()
	before := logSizes(t)
	if code, out := c.user().repopolicy(append([]string{"sign", "--git", p.dir}, outside...)...); code == 0 ||
		!strings.Contains(out, "constraint") {
		t.Errorf("outside the constraint: exit %d\n%s", code, out)
	}
	if after := logSizes(t); after != before {
		t.Errorf("the logs went from %v to %v", before, after)
	}
	c.signs(p, policy.ClassOK, by...)
	c.bind(p)
	head := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	p.tag("v1")
	file := artifact(t, "file_1")
	c.user().must(policy.ClassOK, append([]string{
		"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, file}, by...)...)
	verify := []string{"verify", "-R", url, file}
	c.user().saying(policy.ClassOK, "erin@acme.example", verify...)
	nextSecond()
	nextSecond()
	ca.run("nobody", "ca", "-revoke", cert, "-crl_reason", "superseded")
	ca.run("nobody", "ca", "-gencrl", "-out", ca.file("acme.crl"))
	publish()
	c.user().saying(policy.ClassOK, "erin@acme.example", verify...)
	if code, out := c.user().repopolicy(append([]string{"sign-release", "-R", url, "--commit", head, "--checkout", p.dir,
		artifact(t, "file_2")}, by...)...); code == 0 || !strings.Contains(out, "counts for nothing") {
		t.Errorf("with a certificate that was revoked: exit %d\n%s", code, out)
	}
}

// TestPKIToken: keys that a PKCS #11 token holds sign in the name of certificates, by the script of the guide.
func TestPKIToken(t *testing.T) {
	const name, url = "acme/pki-token", "https://github.com/acme/pki-token"
	h := newSoftHSM(t)
	for _, e := range h.env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	page, err := os.ReadFile("../../docs/maintainer.md")
	check(t, err)
	_, rest, _ := strings.Cut(string(page), "```sh signer\n")
	text, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("the guide has no script")
	}
	script := filepath.Join(t.TempDir(), "pkcs11-signer")
	check(t, os.WriteFile(script, []byte(text), 0o700))
	c := newCompany(t, url)
	var members strings.Builder
	var all []*employee
	for i, k := range [][]string{
		{"EC", "ec_paramgen_curve:P-256"}, {"EC", "ec_paramgen_curve:P-384"}, {"RSA", "rsa_keygen_bits:2048"},
	} {
		private, public := pair(t, k[0], k[1:]...)
		data, err := os.ReadFile(public)
		check(t, err)
		pub, err := keys.ParsePublic(data)
		check(t, err)
		e := c.certified(pub, fmt.Sprintf("m%d@acme.example", i))
		e.flags = append(e.flags, byProgram(public, script, h.module, h.holds(private), h.pin)...)
		all = append(all, e)
		fmt.Fprintf(&members, "[[maintainers.member]]\nname = \"m%d\"\nidentities = [%s]\n", i, e.named())
	}
	p := newProject(t, name)
	policyText := strings.Replace(string(policyText(name, 1, 3)), "\n[[release]]", members.String()+"\n[[release]]", 1)
	p.write(".repopolicy/policy.toml", policyText+"\n[[release]]\nname = \"files\"\ntags = \"any\"\n"+
		"artifacts = [\"file_*\"]\nidentities = ["+all[1].named()+"]\n")
	p.push()
	for _, e := range all {
		c.signs(p, policy.ClassOK, e.flags...)
	}
	c.bind(p)
	c.user().saying(policy.ClassOK, "version 1", "show", "-R", url)
	head := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	p.tag("v1")
	file := artifact(t, "file_1")
	c.user().must(policy.ClassOK, append([]string{
		"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, file,
	}, all[1].flags...)...)
	c.user().saying(policy.ClassOK, "m1@acme.example", "verify", "-R", url, file)
}

// TestPKIRoles: a role of a trust root is somebody with a certificate under another root, whose lists
// say until when what it signed counts.
func TestPKIRoles(t *testing.T) {
	c := newCompany(t, "https://github.com/acme/pki-roles")
	frank := c.employs("frank@acme.example")
	dir := filepath.Join(t.TempDir(), "packages")
	machine, machinePublic := keyPair(t, t.TempDir(), "machine")
	k := c.user()
	k.must(policy.ClassUsage, authorProgram, "init", dir, "--identity", "frank@acme.example=pki:ACME", "--online-key",
		machinePublic)
	k.must(policy.ClassOK, authorProgram, "init", dir, "--identity", "frank@acme.example=pki:acme", "--online-key",
		machinePublic)
	sign := append([]string{authorProgram, "sign", dir, "--trust-root", "foundation"}, frank.flags...)
	if code, out := k.repopolicy(append([]string{authorProgram, "sign", dir, "--trust-root", "foundation"},
		c.employs("eve@acme.example").flags...)...); code == 0 ||
		!strings.Contains(out, "not among those that have to sign") {
		t.Errorf("somebody else: exit %d\n%s", code, out)
	}
	k.must(policy.ClassOK, sign...)
	k.must(policy.ClassOK, authorProgram, "add", dir, "widget/file="+artifact(t, "file"))
	k.must(policy.ClassOK, sign...)
	k.must(policy.ClassOK, authorProgram, "publish", dir, "--key", machine, "--trust-root", "foundation")

	root, err := os.ReadFile(filepath.Join(dir, "repository", "1.root.json"))
	check(t, err)
	if !json.Valid(root) || !strings.Contains(string(root), `"pki:acme"`) {
		t.Error("the root does not name the identity")
	}
	follows := func() *computer {
		u := c.user()
		u.config = t.TempDir()
		text, err := os.ReadFile(filepath.Join(c.config, "trust.toml"))
		check(t, err)
		check(t, os.CopyFS(u.config, os.DirFS(c.config)))
		check(t, os.WriteFile(filepath.Join(u.config, "packages.json"), root, 0o600))
		check(t, os.WriteFile(filepath.Join(u.config, "trust.toml"), fmt.Appendf(text,
			"\n[[root]]\nname = \"packages\"\nurl = %q\ninitial = \"packages.json\"\nidentities = \"foundation\"\n",
			filepath.Join(dir, "repository")), 0o600))
		return u
	}
	get := func() []string {
		return []string{"get", "packages//widget/file", "-o", filepath.Join(t.TempDir(), "out")}
	}
	follows().must(policy.ClassOK, get()...)
	nextSecond()
	c.lists(pkitest.Revoked(frank.cert, time.Now().UTC(), 5))
	follows().must(policy.ClassOK, get()...)
	c.lists(pkitest.Revoked(frank.cert, time.Now().UTC(), 1))
	if code, out := follows().repopolicy(get()...); code == 0 {
		t.Error(out)
	}
}
