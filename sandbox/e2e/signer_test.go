// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
)

// openssl returns the program, or skips the test.
func openssl(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: no program that is not ours signs")
	}
	return path
}

// runs runs a program.
func runs(t testing.TB, env []string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %s", program, args, out)
	}
}

// pair makes a key with openssl, and returns its files.
func pair(t testing.TB, algorithm string, opts ...string) (private, public string) {
	t.Helper()
	dir := t.TempDir()
	private, public = filepath.Join(dir, "key.pem"), filepath.Join(dir, "key.pub")
	args := []string{"genpkey", "-algorithm", algorithm, "-out", private}
	for _, o := range opts {
		args = append(args, "-pkeyopt", o)
	}
	runs(t, nil, openssl(t), args...)
	runs(t, nil, openssl(t), "pkey", "-in", private, "-pubout", "-out", public)
	return private, public
}

// byProgram are the flags by which a program signs.
func byProgram(public, program string, args ...string) []string {
	out := []string{"--public-key", public, "--signer", program}
	for _, a := range args {
		out = append(out, "--signer-arg", a)
	}
	return out
}

// heldBy is a project whose maintainers are the keys in these files, all of whom have to sign. Each
// may release files that another one approves.
func heldBy(t testing.TB, name string, public ...string) *project {
	t.Helper()
	var members, list strings.Builder
	for i, file := range public {
		key, err := os.ReadFile(file)
		check(t, err)
		fmt.Fprintf(&members, "[[maintainers.member]]\nname = \"m%d\"\nkeys = [%q]\n", i, key)
		fmt.Fprintf(&list, "%q, ", key)
	}
	text := string(policyText(name, 1, len(public)))
	text = strings.Replace(text, "\n[[release]]", members.String()+"\n[[release]]", 1)
	text += "\n[[release]]\nname = \"files\"\ntags = \"any\"\nartifacts = [\"file_*\"]\nkeys = [" + list.String() +
		"]\n  [release.approvals]\n  threshold = 1\n  from = \"maintainers\"\n"
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", text)
	p.push()
	return p
}

// TestExternalSigner: maintainers whose keys another program has sign versions, releases and
// approvals; a key of nobody signs nothing.
func TestExternalSigner(t *testing.T) {
	const name, url = "acme/external", "https://github.com/acme/external"
	program := openssl(t)
	type holder struct {
		private, public string
		args            []string
	}
	var holders []holder
	var publics []string
	for _, k := range [][]string{
		{"EC", "ec_paramgen_curve:P-256"}, {"EC", "ec_paramgen_curve:P-384"}, {"EC", "ec_paramgen_curve:P-521"},
		{"RSA", "rsa_keygen_bits:2048"},
	} {
		h := holder{args: []string{"pkeyutl", "-sign"}}
		h.private, h.public = pair(t, k[0], k[1])
		if k[0] == "RSA" {
			h.args = append(h.args, "-pkeyopt", "digest:sha256")
		}
		holders, publics = append(holders, h), append(publics, h.public)
	}
	p := heldBy(t, name, publics...)
	c := newComputer(t)
	sign := func(class policy.Class, h holder, public string, more ...string) string {
		t.Helper()
		args := byProgram(public, program, append(slices.Clone(h.args), "-inkey", h.private)...)
		return c.must(class, append(append([]string{"sign", "--git", p.dir}, args...), more...)...)
	}
	before := logSizes(t)
	first, rsa := holders[0], holders[3]
	nobody := holder{args: first.args}
	nobody.private, nobody.public = pair(t, "EC", "ec_paramgen_curve:P-256")
	sign(policy.ClassUsage, first, first.public, "--key", first.private)
	sign(policy.ClassUsage, first, filepath.Join(t.TempDir(), "missing"))
	c.must(policy.ClassUsage, "sign", "--git", p.dir, "--signer", program)
	for _, wrong := range []struct {
		h      holder
		public string
		want   string
	}{
		{nobody, first.public, "no signature by the public key"}, // another key
		{holders[1], holders[2].public, "no signature by the public key"},
		{holder{private: rsa.private, args: []string{"pkeyutl", "-sign"}}, rsa.public, "write the DigestInfo"},
		{
			holder{private: rsa.private, args: append(slices.Clone(rsa.args), "-pkeyopt", "rsa_padding_mode:pss")},
			rsa.public, "the padding PSS",
		},
	} {
		if out := sign(policy.SigningFailed.Class(), wrong.h, wrong.public); !strings.Contains(out, wrong.want) {
			t.Error(out)
		}
	}
	sign(policy.NotMaintainer.Class(), nobody, nobody.public)
	if after := logSizes(t); after != before {
		t.Errorf("the logs went from %v to %v", before, after)
	}
	for _, h := range holders {
		sign(policy.ClassOK, h, h.public)
	}
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	newComputer(t).must(policy.ClassOK, "show", "-R", url)

	// So are files signed and approved.
	p.tag("v1")
	head := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	file := artifact(t, "file_1")
	by := func(h holder) []string {
		return byProgram(h.public, program, append(slices.Clone(h.args), "-inkey", h.private)...)
	}
	release := []string{"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, "--statement", "--tag", "v1", file}
	if out := c.must(policy.ClassDeny, append(release, by(nobody)...)...); !strings.Contains(out, "may not sign") {
		t.Error(out)
	}
	c.must(policy.ClassOK, append(release, by(holders[1])...)...)
	approve := []string{"approve", "-R", url, "--tag", "v1", file}
	c.must(policy.NotApprover.Class(), append(approve, by(nobody)...)...)
	newComputer(t).must(policy.ClassDeny, "verify", "-R", url, "--tag", "v1", file)
	c.must(policy.ClassOK, append(approve, by(rsa)...)...)
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, "--tag", "v1", file)
}

// softhsm is a token in software, or the test is skipped.
type softhsm struct {
	t      testing.TB
	module string
	env    []string
	pin    string // its file
	keys   int
}

func newSoftHSM(t testing.TB) *softhsm {
	t.Helper()
	modules, err := filepath.Glob("/usr/lib*/softhsm/libsofthsm2.so")
	check(t, err)
	if more, _ := filepath.Glob("/usr/lib/*/softhsm/libsofthsm2.so"); len(modules) == 0 {
		modules = more
	}
	for _, program := range []string{"softhsm2-util", "pkcs11-tool"} {
		if _, err := exec.LookPath(program); err != nil || len(modules) == 0 {
			t.Skip("softhsm2 and opensc are not installed: no token signs")
		}
	}
	dir := t.TempDir()
	h := &softhsm{t: t, module: modules[0], pin: filepath.Join(dir, "pin")}
	config := filepath.Join(dir, "softhsm2.conf")
	settings := "directories.tokendir = " + dir + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	check(t, os.WriteFile(config, []byte(settings), 0o600))
	check(t, os.WriteFile(h.pin, []byte("1234"), 0o600))
	h.env = []string{"SOFTHSM2_CONF=" + config}
	runs(t, h.env, "softhsm2-util", "--init-token", "--free", "--label", "token", "--pin", "1234", "--so-pin", "1234")
	return h
}

// holds puts a key into the token, and returns its id there.
func (h *softhsm) holds(private string) string {
	h.t.Helper()
	h.keys++
	id := fmt.Sprintf("%02d", h.keys)
	runs(h.t, h.env, "softhsm2-util", "--import", private, "--token", "token", "--label", id, "--id", id, "--pin", "1234")
	check(h.t, os.Remove(private)) // nobody has it but the token
	return id
}

// TestToken: keys that a PKCS #11 token holds sign versions of a policy and metadata of TUF, by the
// script of the guide; and what a token cannot make is refused before anything is logged.
func TestToken(t *testing.T) {
	const name, url = "acme/token", "https://github.com/acme/token"
	h := newSoftHSM(t)
	for _, e := range h.env { // the script is run by the program, which hands on the environment
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	page, err := os.ReadFile("../../docs/maintainer.md")
	check(t, err)
	_, rest, ok := strings.Cut(string(page), "```sh signer\n")
	text, _, ends := strings.Cut(rest, "```\n")
	if !ok || !ends {
		t.Fatal("the guide has no script")
	}
	script := filepath.Join(t.TempDir(), "pkcs11-signer")
	check(t, os.WriteFile(script, []byte(text), 0o700))
	var publics []string
	var flags [][]string
	for _, k := range [][]string{
		{"EC", "ec_paramgen_curve:P-256"}, {"EC", "ec_paramgen_curve:P-384"}, {"RSA", "rsa_keygen_bits:2048"}, {"ed25519"},
	} {
		private, public := pair(t, k[0], k[1:]...)
		publics = append(publics, public)
		flags = append(flags, byProgram(public, script, h.module, h.holds(private), h.pin))
	}
	p := heldBy(t, name, publics[:3]...)
	c := newComputer(t)
	for _, f := range flags[:3] {
		c.must(policy.ClassOK, append([]string{"sign", "--git", p.dir}, f...)...)
	}
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	newComputer(t).must(policy.ClassOK, "show", "-R", url)

	// The token has no Ed25519ph, and says so; one that signs with Ed25519 instead is found out.
	before := logSizes(t)
	q := heldBy(t, "acme/token-ed25519", publics[3])
	args := []string{"sign", "--git", q.dir}
	refused := func(want string) {
		t.Helper()
		if out := c.must(policy.SigningFailed.Class(), append(args, flags[3]...)...); !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	refused("no mechanism for PKIX_ED25519_PH")
	pure := strings.Replace(text, "\n*) ", "\nPKIX_ED25519*) sign --mechanism EDDSA ;;\n*) ", 1)
	check(t, os.WriteFile(script, []byte(pure), 0o700))
	refused("Ed25519ph is wanted")
	// So is one that needs another PIN.
	check(t, os.WriteFile(h.pin, []byte("4321"), 0o600))
	refused("CKR_PIN_INCORRECT")
	check(t, os.WriteFile(h.pin, []byte("1234"), 0o600))
	if after := logSizes(t); after != before {
		t.Errorf("the logs went from %v to %v", before, after)
	}

	// Metadata of TUF, by each of the keys.
	dir := filepath.Join(t.TempDir(), "root")
	machine, machinePublic := pair(t, "EC", "ec_paramgen_curve:P-256")
	trust := func(class policy.Class, args ...string) {
		t.Helper()
		c.must(class, append([]string{"repopolicy-trust"}, args...)...)
	}
	start := []string{"init", dir, "--threshold", "3", "--online-key", machinePublic}
	for _, public := range publics[:3] {
		start = append(start, "--key", public)
	}
	trust(policy.ClassOK, start...)
	for _, f := range flags[:3] {
		trust(policy.ClassInvalid, "publish", dir, "--key", machine)
		trust(policy.ClassOK, append([]string{"sign", dir}, f...)...)
	}
	trust(policy.ClassOK, "publish", dir, "--key", machine)
}
