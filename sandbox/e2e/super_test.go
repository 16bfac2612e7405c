// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/trust"
	"github.com/repopolicy/repopolicy/internal/trust/tuf"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// keyPair writes a new key and returns the files of both halves.
func keyPair(t testing.TB, dir, name string) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	private, public = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".pub")
	check(t, os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	der, err = x509.MarshalPKIXPublicKey(key.Public())
	check(t, err)
	check(t, os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	return private, public
}

// superConfig lets a root at an address anchor all of acme's repositories.
func superConfig(t testing.TB, address, initial string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("format = \"repopolicy-trust/v1\"\n\n[[root]]\nname = \"foundation\"\nurl = %q\ninitial = %q\n\n[[anchor]]\nrepositories = [\"https://github.com/acme/*\"]\nroot = \"foundation\"\n", address, initial)
	check(t, os.WriteFile(filepath.Join(dir, "trust.toml"), []byte(text), 0o600))
	return dir
}

// bindPolicy binds a first version of a policy by itself, for somebody.
func bindPolicy(t testing.TB, name string, text []byte, who claims.Claims) (statement string, files map[string]string) {
	t.Helper()
	m, job := newMachine(t), ci
	job.Repository = name
	payload := encode(t, text, "")
	return spelling.Sum(payload), texts(append(m.write(payload, 1, who), m.write(payload, 1, job)...))
}

// TestSuperRoot: a foundation's root in a registry anchors two repositories, one of
// which was taken over before its maintainers bound a policy; two people of a project may
// anchor theirs, one of them may not.
func TestSuperRoot(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	reference := "oci:" + strings.TrimPrefix(server.URL, "http://") + "/foundation/trust:latest"
	layout := "oci-layout:" + filepath.Join(t.TempDir(), "layout")

	const fine, taken, shared = "acme/anchored", "acme/taken", "acme/shared"
	good, text := bindPolicy(t, fine, policyText(fine, 1, 1, "alice"), alice)
	// Mallory was there first, and alice binds what the foundation will name.
	usurper, evil := bindPolicy(t, taken, policyText(taken, 1, 1, "mallory"), claims.Email{Address: "mallory@example.com"})
	rightful, mine := bindPolicy(t, taken, policyText(taken, 1, 1, "alice"), alice)
	ours, theirs := bindPolicy(t, shared, policyText(shared, 1, 1, "alice"), alice)
	for name, files := range map[string][]map[string]string{fine: {text}, taken: {evil, mine}, shared: {theirs}} {
		_, err := stack.Forge().Create(name)
		check(t, err)
		all := map[string]string{}
		for _, f := range files {
			for path, data := range f {
				all[path] = data
			}
		}
		_, err = stack.Forge().Commit(name, "main", all)
		check(t, err)
	}

	dir := t.TempDir()
	root := filepath.Join(dir, "foundation")
	alicePrivate, alicePublic := keyPair(t, dir, "alice")
	bobPrivate, bobPublic := keyPair(t, dir, "bob")
	machine, machinePublic := keyPair(t, dir, "machine")
	keeper := newComputer(t)
	publish := func(class policy.Class, to string) string {
		t.Helper()
		return keeper.must(class, authorProgram, "publish", root, "--key", machine, "--to", to)
	}
	sign := func(key string) { t.Helper(); keeper.must(policy.ClassOK, authorProgram, "sign", root, "--key", key) }
	keeper.must(policy.ClassUsage, authorProgram, "init", root, "--key", alicePublic, "--key", bobPublic, "--threshold",
		"3", "--online-key", machinePublic)
	keeper.must(policy.ClassOK, authorProgram, "init", root, "--key", alicePublic, "--key", bobPublic, "--threshold", "2",
		"--online-key", machinePublic)
	keeper.must(policy.ClassUsage, authorProgram, "init", root, "--key", alicePublic, "--online-key", machinePublic)
	keeper.must(policy.ClassOK, authorProgram, "delegate", root, "--anchor", "https://github.com/"+fine+"=sha256:"+good)
	publish(policy.ClassInvalid, reference) // nobody has signed
	sign(alicePrivate)
	publish(policy.ClassInvalid, reference)
	carolPrivate, carolPublic := keyPair(t, dir, "carol")
	keeper.must(policy.ClassDeny, authorProgram, "sign", root, "--key", carolPrivate) // not one of them
	sign(bobPrivate)
	publish(policy.ClassOK, reference)
	initial := filepath.Join(dir, "1.root.json")
	data, err := os.ReadFile(filepath.Join(root, "repository", "1.root.json"))
	check(t, err)
	check(t, os.WriteFile(initial, data, 0o600))

	config := superConfig(t, reference, initial)
	stranger := func() *computer {
		c := newComputer(t)
		c.config = config
		return c
	}
	url := func(name string) string { return "https://github.com/" + name }
	if out := stranger().must(policy.ClassOK, "show", "-R", url(fine)); !strings.Contains(out, "genesis    anchored") {
		t.Error(out)
	}
	if out := newComputer(t).must(policy.ClassOK, "show", "-R", url(fine)); !strings.Contains(out, "genesis    first") {
		t.Error(out)
	}
	// Who took the repository over is first, for everybody.
	if out := stranger().must(policy.ClassOK, "show", "-R", url(taken)); !strings.Contains(out, "mallory") || !strings.Contains(out, "anchors no policy of") {
		t.Error(out)
	}
	known := stranger()
	known.must(policy.ClassOK, "show", "-R", url(taken))

	// The foundation names the rightful chain.
	keeper.must(policy.ClassOK, authorProgram, "delegate", root, "--anchor", url(taken)+"=sha256:"+rightful)
	sign(alicePrivate)
	sign(bobPrivate)
	_, pinned, _ := strings.Cut("\n"+publish(policy.ClassOK, layout), "\noci-layout:")
	pinned, _, _ = strings.Cut("oci-layout:"+pinned, "\n")
	publish(policy.ClassOK, reference)
	if out := stranger().must(policy.ClassOK, "show", "-R", url(taken)); strings.Contains(out, `"mallory"`) || !strings.Contains(out, "genesis    anchored") || !strings.Contains(out, "alarm: ") {
		t.Errorf("taken over, and anchored again:\n%s", out)
	}
	known.must(policy.ClassOK, "trust", "update", "foundation", "--trust-config", filepath.Join(config, "trust.toml"))
	if out := known.must(policy.ClassOK, "show", "-R", url(taken)); strings.Contains(out, `"mallory"`) || !strings.Contains(out, "genesis    anchored") || !strings.Contains(out, "alarm: re-anchored") {
		t.Errorf("who knew the other chain keeps it:\n%s", out)
	}
	// It is what is known from now on: without the root that says so, the log contradicts it.
	known.must(policy.ClassOK, "show", "-R", url(taken))
	forgetful := *known
	forgetful.config = t.TempDir()
	forgetful.must(policy.ClassAlarm, "show", "-R", url(taken))
	// A manifest's digest pins all of it.
	if !strings.Contains(pinned, "@sha256:") {
		t.Fatalf("no digest: %s", pinned)
	}
	byDigest := newComputer(t)
	byDigest.config = superConfig(t, pinned, initial)
	if out := byDigest.must(policy.ClassOK, "show", "-R", url(taken)); !strings.Contains(out, "genesis    anchored") {
		t.Error(out)
	}

	// Two people of the project may say it themselves: not one of them alone.
	keeper.must(policy.ClassOK, authorProgram, "delegate", root, "--role", "acme", "--repositories",
		"https://github.com/acme/*", "--threshold", "2", "--identity", "alice@example.com=https://accounts.google.com",
		"--identity", "bob@example.com=https://accounts.google.com")
	keeper.must(policy.ClassOK, authorProgram, "delegate", root, "--role", "acme", "--anchor",
		url(shared)+"=sha256:"+ours, "--anchor", url(taken)+"=sha256:"+usurper)
	keeper.must(policy.ClassUsage, authorProgram, "delegate", root, "--role", "acme", "--anchor",
		"https://github.com/other/x=sha256:"+ours)
	sign(alicePrivate)
	sign(bobPrivate)
	as := func(class policy.Class, who claims.Claims) {
		t.Helper()
		token, err := stack.Token(who)
		check(t, err)
		keeper.env["SIGSTORE_ID_TOKEN"] = token
		keeper.must(class, authorProgram, "sign", root, "--yes")
	}
	as(policy.ClassOK, alice)
	publish(policy.ClassInvalid, reference)
	as(policy.ClassDeny, claims.Email{Address: "mallory@example.com"})
	as(policy.ClassOK, bob)
	publish(policy.ClassOK, reference)
	if out := stranger().must(policy.ClassOK, "show", "-R", url(shared)); !strings.Contains(out, "genesis    anchored") {
		t.Error(out)
	}
	// What the root itself says outranks the role, which names the usurper's.
	if out := stranger().must(policy.ClassOK, "show", "-R", url(taken)); !strings.Contains(out, "genesis    anchored") || strings.Contains(out, `"mallory"`) {
		t.Error(out)
	}
	// A mirror that drops one of the two signatures.
	tree := filepath.Join(t.TempDir(), "tree")
	keeper.must(policy.ClassOK, authorProgram, "publish", root, "--key", machine, "--to", tree)
	dropSignature(t, tree, "acme")
	cut := newComputer(t)
	cut.config = superConfig(t, tree, initial)
	if out := cut.must(policy.ClassUnavailable, "show", "-R", url(shared)); !strings.Contains(out, "1 of 2") {
		t.Error(out)
	}
	// A rotation: carol for bob, signed by the old ones and the new.
	keeper.must(policy.ClassOK, authorProgram, "rotate", root, "--role", "root", "--role", "targets", "--key",
		alicePublic, "--key", carolPublic, "--threshold", "2")
	sign(alicePrivate)
	sign(carolPrivate)
	publish(policy.ClassInvalid, reference)
	sign(bobPrivate)
	publish(policy.ClassOK, reference)
	if out := stranger().must(policy.ClassOK, "show", "-R", url(fine)); !strings.Contains(out, "genesis    anchored") {
		t.Error(out)
	}
	out := stranger().must(policy.ClassOK, "trust", "show")
	for _, want := range []string{"foundation", "anchored by foundation"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// A copy of it, every rotation included, for a machine without a network.
	copied, clone := filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "clone")
	stranger().must(policy.ClassOK, "trust", "export", "foundation", "--output", copied)
	git(t, ".", "clone", "-q", stack.Forge().CloneURL(taken), clone)
	inside := newComputer(t)
	inside.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(server.URL, "http://"+r.URL.Host) {
			t.Errorf("asked %s", r.URL)
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	offline := []string{"show", "-R", url(taken), "--git", clone, "--offline", "--require", "anchored,none"}
	inside.config = superConfig(t, copied, initial)
	if out := inside.must(policy.ClassOK, offline...); !strings.Contains(out, "genesis    anchored") || strings.Contains(out, `"mallory"`) {
		t.Error(out)
	}
	uncopied := newComputer(t)
	uncopied.config = config
	uncopied.must(policy.ClassUnavailable, offline...)
	// A registry that is gone is no reason to believe who was first.
	server.Close()
	if code, out := stranger().repopolicy("show", "-R", url(fine)); code != policy.ClassUnavailable.Exit() {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// dropSignature removes one signature from the newest metadata of a role.
func dropSignature(t testing.TB, tree, role string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(tree, "*."+role+".json"))
	check(t, err)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		check(t, err)
		var doc map[string]json.RawMessage
		check(t, json.Unmarshal(data, &doc))
		var sigs []json.RawMessage
		check(t, json.Unmarshal(doc["signatures"], &sigs))
		doc["signatures"], err = json.Marshal(sigs[1:])
		check(t, err)
		data, err = json.Marshal(doc)
		check(t, err)
		check(t, os.WriteFile(path, data, 0o600))
	}
}

// TestFromPolicy: a chain becomes metadata that a client of TUF follows whose keys may be
// identities (TAP 18).
func TestFromPolicy(t *testing.T) {
	const name = "acme/as-tuf"
	one := policyText(name, 1, 1, "alice")
	statement, files := bindPolicy(t, name, one, alice)
	two := encode(t, append(policyText(name, 2, 2, "alice", "bob"), "\n[[release]]\nname = \"by-hand\"\ntags = \"any\"\nartifacts = [\"notes_*.pdf\"]\nidentities = [{ email = \"carol@example.com\", issuer = \"https://accounts.google.com\" }]\n"...), statement)
	m, job := newMachine(t), ci
	job.Repository = name
	for _, who := range []claims.Claims{alice, bob, job} {
		for path, data := range texts(m.write(two, 2, who)) {
			files[path] = data
		}
	}
	_, err := stack.Forge().Create(name)
	check(t, err)
	_, err = stack.Forge().Commit(name, "main", files)
	check(t, err)

	c := newComputer(t)
	out := filepath.Join(t.TempDir(), "tuf")
	args := []string{authorProgram, "from-policy", out, "-R", name}
	if text := c.must(policy.ClassOK, args...); !strings.Contains(text, "2.root.json needs 2 more signatures") || !strings.Contains(text, "left out: rule binaries") {
		t.Error(text)
	}
	sign := func(class policy.Class, who claims.Claims) string {
		t.Helper()
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(who)
		check(t, err)
		return c.must(class, append(args, "--sign", "--yes")...)
	}
	sign(policy.ClassDeny, claims.Email{Address: "mallory@example.com"})
	if text := sign(policy.ClassOK, alice); !strings.Contains(text, "signed: 1.root.json, 1.targets.json, 2.root.json, 2.targets.json") {
		t.Error(text)
	}
	types := trust.OIDCKeys(root(t))
	open := func(file string) error {
		data, err := os.ReadFile(filepath.Join(out, file))
		check(t, err)
		_, err = tuf.New(tuf.Options{Root: data, Now: time.Now, KeyTypes: types})
		return err
	}
	check(t, open("1.root.json"))
	if err := open("2.root.json"); !errors.Is(err, tuf.ErrUnsigned) {
		t.Errorf("one of two: %v", err)
	}
	if text := sign(policy.ClassOK, bob); strings.Contains(text, "more signature") {
		t.Error(text)
	}
	check(t, open("2.root.json"))
	if text := sign(policy.ClassOK, bob); strings.Contains(text, "signed: ") {
		t.Errorf("signed again: %s", text)
	}
	// From the first root a client follows to the second.
	data, err := os.ReadFile(filepath.Join(out, "1.root.json"))
	check(t, err)
	client, err := tuf.New(tuf.Options{Root: data, Now: time.Now, KeyTypes: types, Source: tuf.FS(os.DirFS(out), os.DirFS(out))})
	check(t, err)
	if err := client.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "timestamp.json") {
		t.Errorf("beyond the roots: %v", err)
	}
}
