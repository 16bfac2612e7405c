// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/signlog"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/forge"
)

// kinds are the keys that the policy language takes.
var kinds = []string{
	"ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "Ed25519", "RSA 2048", "RSA 3072", "RSA 4096",
}

// newKey returns a key by what the registry calls it.
func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	var bits int
	switch _, rest, _ := strings.Cut(kind, " "); {
	case kind == "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case strings.HasPrefix(kind, "RSA"):
		if _, err = fmt.Sscan(rest, &bits); err == nil {
			key, err = rsa.GenerateKey(rand.Reader, bits)
		}
	default:
		for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
			if c.Params().Name == rest {
				key, err = ecdsa.GenerateKey(c, rand.Reader)
			}
		}
	}
	check(t, err)
	return key
}

// keyFile returns the file of a private key, in the form that is usual for its kind, and the
// public key in PEM.
func keyFile(t testing.TB, key crypto.Signer) (path string, public []byte) {
	t.Helper()
	block := &pem.Block{Type: "PRIVATE KEY"}
	var err error
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = x509.MarshalECPrivateKey(k)
	case *rsa.PrivateKey:
		block.Type, block.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)
	default:
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(k)
	}
	check(t, err)
	path = filepath.Join(t.TempDir(), "key.pem")
	check(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	check(t, err)
	return path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// posts reports whether a log takes an entry.
func posts(t testing.TB, service sandbox.Service, path string, entry any) bool {
	t.Helper()
	body, err := json.Marshal(entry)
	check(t, err)
	resp, err := http.Post(stack.URL(service)+path, "application/json", bytes.NewReader(body))
	check(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%s: %s %s", path, resp.Status, answer)
	}
	return resp.StatusCode == http.StatusCreated
}

// TestWhatLogsTake: the registry says what real logs take, and what they do not.
func TestWhatLogsTake(t *testing.T) {
	type object = map[string]any
	const typ = "application/vnd.in-toto+json"
	payload := []byte("{}")
	pae := dsse.PAE(typ, payload)
	type row struct {
		kind, how        string // how is what Rekor v2 is told
		hash             crypto.Hash
		opts             crypto.SignerOpts
		dsse1, hash1, v2 bool
	}
	var rows []row
	for _, a := range keys.Registry() {
		r := row{kind: a.Key, how: a.Name, hash: a.Hash, opts: a.Hash}
		switch {
		case a.PSS:
			r.opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.Hash}
		case a.Key == "Ed25519":
			r.opts = &ed25519.Options{Hash: a.Hash}
		}
		r.dsse1, r.hash1, r.v2 = a.RekorV1 == keys.DSSE, a.RekorV1 != "", a.RekorV1 != ""
		if a.Name == "PKIX_ED25519" { // one log alone takes it, which is why no key signs what is logged by it
			r.dsse1 = true
			r.how = "PKIX_ED25519_PH" // of the other name rekor-tiles v2.3.0 looks up the size of no hash, and panics
		}
		rows = append(rows, r)
	}
	rows = append(rows,
		row{"ECDSA P-384", "PKIX_ECDSA_P384_SHA_256", crypto.SHA256, crypto.SHA256, true, false, false},
		row{"ECDSA P-521", "PKIX_ECDSA_P521_SHA_256", crypto.SHA256, crypto.SHA256, true, false, false},
		row{"ECDSA P-256", "PKIX_ECDSA_P384_SHA_384", crypto.SHA384, crypto.SHA384, false, false, false},
		row{"RSA 2048", "PKIX_RSA_PKCS1V15_2048_SHA256", crypto.SHA512, crypto.SHA512, false, false, false},
		row{"RSA 2560", "PKIX_RSA_PKCS1V15_2048_SHA256", crypto.SHA256, crypto.SHA256, true, false, false},
	)
	for _, r := range rows {
		key := newKey(t, r.kind)
		input, digest, hash := pae, sha512.Sum512(pae), "sha512"
		shown := digest[:]
		if r.hash != 0 {
			h := r.hash.New()
			h.Write(pae)
			input, hash = h.Sum(nil), strings.ReplaceAll(strings.ToLower(r.hash.String()), "-", "")
			shown = input
		}
		sig, err := key.Sign(rand.Reader, input, r.opts)
		check(t, err)
		_, public := keyFile(t, key)
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		check(t, err)
		signatures := []any{object{"sig": sig}}
		envelope, err := json.Marshal(object{"payloadType": typ, "payload": payload, "signatures": signatures})
		check(t, err)
		verifier := object{"keyDetails": r.how, "publicKey": object{"rawBytes": der}}
		v1 := func(kind string, spec object) bool {
			entry := object{"kind": kind, "apiVersion": "0.0.1", "spec": spec}
			return posts(t, sandbox.RekorV1, "/api/v1/log/entries", entry)
		}
		got := [3]bool{
			v1("dsse", object{
				"proposedContent": object{"envelope": string(envelope), "verifiers": []any{public}},
			}),
			v1("hashedrekord", object{
				"data":      object{"hash": object{"algorithm": hash, "value": hex.EncodeToString(shown)}},
				"signature": object{"content": sig, "publicKey": object{"content": public}},
			}),
			posts(t, sandbox.Rekor, "/api/v2/log/entries", object{"hashedRekordRequestV002": object{
				"digest": shown, "signature": object{"content": sig, "verifier": verifier},
			}}),
		}
		if want := [3]bool{r.dsse1, r.hash1, r.v2}; got != want {
			t.Errorf("%s %s: dsse 0.0.1, hashedrekord 0.0.1 and Rekor v2 take it: %v, not %v", r.kind, r.how, got, want)
		}
	}
}

// TestKeysSign: every kind of key signs a statement and a file, which either log shows and
// every stranger verifies; a run that is interrupted after any step logs nothing twice.
func TestKeysSign(t *testing.T) {
	file := []byte("artifact")
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			key := newKey(t, kind)
			_, public := keyFile(t, key)
			with, err := keys.Local(key, keys.Of)
			check(t, err)
			trusted, err := sigstore.ParseKey(public, time.Time{}, time.Time{})
			check(t, err)
			name := "acme/keys-" + strings.ToLower(strings.ReplaceAll(kind, " ", "-"))
			statement := encode(t, policyText(name, 1, 1, "alice"), "")
			for what, content := range map[string]sigstore.Content{
				"statement": {Statement: statement}, "file": {Digest: with.Algorithm.Input(file)},
			} {
				client := &sigstore.Client{Services: services(t), Transport: stack.Transport()}
				draft, err := client.Draft(t.Context(), content, "", with)
				check(t, err)
				check(t, client.Stamp(t.Context(), draft))
				for generation := 1; generation <= 2; generation++ {
					bundle, err := client.Log(t.Context(), root(t), draft, generation, time.Now())
					check(t, err)
					again, err := client.Log(t.Context(), root(t), draft, generation, time.Now())
					check(t, err)
					b, err := sigstore.ParseBundle(bundle)
					check(t, err)
					digest, message := b.Message()
					if !message {
						digest = b.Statement().Subjects[0].Digests[0]
					} else if digest.Alg != with.Algorithm.HashName() {
						t.Errorf("the digest of the file is %s", digest)
					}
					v, err := b.Verify(root(t), digest, trusted, sigstore.Options{})
					check(t, err)
					if e := v.Entries; len(e) != 1 || e[0].Generation != generation || !e[0].Proven || v.KeyID != with.ID() {
						t.Errorf("%s in Rekor v%d: %+v", what, generation, v)
					}
					other, err := sigstore.ParseBundle(again)
					check(t, err)
					w, err := other.Verify(root(t), digest, trusted, sigstore.Options{})
					check(t, err)
					if w.Entries[0].Body != v.Entries[0].Body || w.Entries[0].TreeIndex != v.Entries[0].TreeIndex {
						t.Errorf("%s in Rekor v%d: logged twice", what, generation)
					}
					_, stranger := keyFile(t, newKey(t, kind))
					not, err := sigstore.ParseKey(stranger, time.Time{}, time.Time{})
					check(t, err)
					if _, err := b.Verify(root(t), digest, not, sigstore.Options{}); err == nil {
						t.Errorf("%s in Rekor v%d: by another key", what, generation)
					}
				}
			}
			// The steps of a run, after each of which it is stopped.
			m := newMachine(t)
			before := logSizes(t)
			r := signlog.Request{
				Statement: encode(t, policyText("acme/steps", 1, 1, "alice"), ""), Version: 1,
				Signature: signlog.Signature{Who: "key " + with.ID(), Key: with},
			}
			for _, step := range []string{signlog.StepDraft, signlog.StepV1, signlog.StepV2} {
				ctx, stop := context.WithCancel(t.Context())
				_, err := m.writer(func(s string) {
					if s == step {
						stop()
					}
				}).Write(ctx, r)
				stop()
				if (err == nil) != (step == signlog.StepV2) {
					t.Fatalf("%s: %v", step, err)
				}
			}
			_, err = m.writer(nil).Write(t.Context(), r)
			check(t, err)
			if after := logSizes(t); after.v1 != before.v1+1 || after.v2 != before.v2+1 {
				t.Errorf("the logs went from %v to %v", before, after)
			}
		})
	}
}

// rulesOfKeys is a policy of a repository: how many of its members, who they are, and the keys that
// release plain files and, approved by so many, those with a statement.
const rulesOfKeys = `format     = "repopolicy/v1"
repository = %q
version    = 1
expires    = 2099-01-01T00:00:00Z

[maintainers]
threshold = %d
%s
[[release]]
name      = "plain"
tags      = "any"
artifacts = ["plain_*"]
keys      = [%s]

[[release]]
name      = "stated"
tags      = ["v*"]
artifacts = ["widget_*"]
keys      = [%s]
  [release.approvals]
  threshold = %d
  from      = "maintainers"
`

// TestKeysOfPolicy: maintainers with a key of each kind agree on a policy, release by it, and
// approve; and strangers see it, in every log.
func TestKeysOfPolicy(t *testing.T) {
	const name, url = "acme/keys", "https://github.com/acme/keys"
	var files []string
	var members, list strings.Builder
	for i, kind := range kinds {
		file, public := keyFile(t, newKey(t, kind))
		files = append(files, file)
		fmt.Fprintf(&members, "[[maintainers.member]]\nname = \"m%d\"\nkeys = [%q]\n", i, public)
		fmt.Fprintf(&list, "%q, ", public)
	}
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", fmt.Sprintf(rulesOfKeys, url, len(kinds), members.String(), list.String(),
		list.String(), len(kinds)-1)) // nobody approves what they release
	p.push()
	out := newComputer(t).must(policy.ClassOK, "check", filepath.Join(p.dir, ".repopolicy", "policy.toml"))
	for _, kind := range kinds {
		if !strings.Contains(out, kind) {
			t.Errorf("check says nothing of the key %s:\n%s", kind, out)
		}
	}
	maintainer := newComputer(t)
	before := logSizes(t)
	for _, file := range files {
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--key", file)
		maintainer.must(policy.ClassOK, "sign", "--git", p.dir, "--key", file) // changes nothing
	}
	if after := logSizes(t); after.v1 != before.v1+len(kinds) || after.v2 != before.v2+len(kinds) {
		t.Errorf("the logs went from %v to %v", before, after)
	}
	p.push()
	check(t, p.dispatch("repository_dispatch"))
	newComputer(t).must(policy.ClassOK, "show", "-R", url)
	newComputer(t).must(policy.ClassOK, "show", "-R", url, "--scan")

	git(t, p.dir, "fetch", "-q", "origin")
	p.tag("v1")
	head := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	dir := t.TempDir()
	var plain, stated []string
	release := func(name, key string, more ...string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(name), 0o600))
		args := []string{"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, "--key", key, path}
		newComputer(t).must(policy.ClassOK, append(args, more...)...)
		return path
	}
	for i, file := range files {
		plain = append(plain, release(fmt.Sprintf("plain_%d", i), file))
		stated = append(stated, release(fmt.Sprintf("widget_%d", i), file, "--statement", "--tag", "v1"))
	}
	verify := func(class policy.Class, more []string) {
		t.Helper()
		newComputer(t).must(class, append([]string{"verify", "-R", url}, more...)...)
	}
	verify(policy.ClassOK, plain)
	for i, file := range files {
		verify(policy.ClassDeny, append([]string{"--tag", "v1"}, stated...)) // not yet approved by enough
		approve := append([]string{"approve", "-R", url, "--tag", "v1", "--key", file}, stated...)
		newComputer(t).must(policy.ClassOK, approve...)
		if i == 0 { // twice by one is one
			newComputer(t).must(policy.ClassOK, approve...)
		}
	}
	verify(policy.ClassOK, append([]string{"--tag", "v1"}, stated...))
}

// TestMixedThreshold: two of a person who signs in, a key of Ed25519 and an RSA key agree, and
// one of them with two signatures does not.
func TestMixedThreshold(t *testing.T) {
	const name, url = "acme/mixed", "https://github.com/acme/mixed"
	edFile, edPublic := keyFile(t, newKey(t, "Ed25519"))
	rsaFile, rsaPublic := keyFile(t, newKey(t, "RSA 2048"))
	text := func(version int) string {
		members := fmt.Sprintf("[[maintainers.member]]\nname = \"ed\"\nkeys = [%q]\n", edPublic) +
			fmt.Sprintf("[[maintainers.member]]\nname = \"rsa\"\nkeys = [%q]\n", rsaPublic)
		return strings.Replace(string(policyText(name, version, 2, "alice")), "\n[[release]]", members+"\n[[release]]", 1)
	}
	p := newProject(t, name)
	p.write(".repopolicy/policy.toml", text(1))
	p.write(".github/workflows/release.yml", releaseWorkflow)
	p.push()
	begin := func() {
		t.Helper()
		git(t, p.dir, "fetch", "-q", "origin")
		if strings.Contains(git(t, p.dir, "branch", "-r"), "origin/repopolicy") {
			git(t, p.dir, "checkout", "origin/repopolicy", "--", ".repopolicy/signatures")
			p.commit("bindings")
		}
	}
	sign := func(args ...string) {
		t.Helper()
		c := newComputer(t) // of which each has lost what the others know: it signs anew
		var err error
		c.env["SIGSTORE_ID_TOKEN"], err = stack.Token(alice)
		check(t, err)
		c.must(policy.ClassOK, append([]string{"sign", "--git", p.dir}, args...)...)
	}
	bind := func(ok bool) {
		t.Helper()
		p.push()
		if err := p.dispatch("repository_dispatch"); (err == nil) != ok {
			t.Fatalf("bound: %v", err)
		}
	}
	sign("--key", edFile)
	bind(false)
	sign("--key", edFile) // once more, by a machine that has forgotten it
	bind(false)
	sign("--yes")
	bind(true)
	newComputer(t).must(policy.ClassOK, "show", "-R", url)
	// Version 2, by the two keys alone.
	p.write(".repopolicy/policy.toml", text(2))
	p.commit("version 2")
	begin()
	sign("--key", rsaFile)
	bind(false)
	sign("--key", edFile)
	bind(true)
	if out := newComputer(t).must(policy.ClassOK, "show", "-R", url); !strings.Contains(out, "version 2") {
		t.Error(out)
	}
	// A stranger's key of the same kind is nobody's.
	stranger, _ := keyFile(t, newKey(t, "Ed25519"))
	before := logSizes(t)
	newComputer(t).must(policy.NotMaintainer.Class(), "sign", "--git", p.dir, "--key", stranger)
	if after := logSizes(t); after != before {
		t.Errorf("the logs went from %v to %v", before, after)
	}
	p.tag("v1")
	file := artifact(t, "widget_1.tar.gz")
	p.inJob(forge.Event{Name: "push", Ref: "refs/tags/v1"}, "release.yml", func(_ *forge.Job, c *computer, dir string) {
		c.must(policy.ClassOK, "sign-release", "--checkout", dir, file)
	})
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, file)
}

// TestKeyIsNotSigningThat: what a key would sign by another meaning is refused before it is public.
func TestKeyIsNotSigningThat(t *testing.T) {
	const name, url = "acme/another-meaning", "https://github.com/acme/another-meaning"
	file, public := keyFile(t, newKey(t, "ECDSA P-384"))
	rule := "[[release]]\nname = \"files\"\ntags = \"any\"\nartifacts = \"any\"\nkeys = [%q]\n\n[[release]]"
	text := strings.Replace(string(policyText(name, 1, 1, "alice")), "[[release]]", fmt.Sprintf(rule, public), 1)
	p := boundProject(t, name, text, nil)
	p.tag("v1")
	head := strings.TrimSpace(git(t, p.dir, "rev-parse", "HEAD"))
	before := logSizes(t)
	// The bytes over which a maintainer signs a version of a policy.
	next := strings.Replace(text, "version    = 1", "version    = 2", 1)
	payload := encode(t, []byte(next), strings.Repeat("01", 32))
	trap := artifact(t, "widget_trap")
	check(t, os.WriteFile(trap, dsse.PAE("application/vnd.in-toto+json", payload), 0o600))
	release := []string{"sign-release", "-R", url, "--commit", head, "--checkout", p.dir, "--key", file}
	says := func(out, want string) {
		t.Helper()
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	says(newComputer(t).must(policy.ClassUsage, append(release, trap)...), "begins like what is signed of a statement")
	// Nothing shows a statement by this key to others, where there is Rekor v1 alone.
	one := filepath.Join(t.TempDir(), "v1.json")
	check(t, os.WriteFile(one, stack.SigningConfig(1), 0o600))
	good := artifact(t, "widget_1")
	c := newComputer(t)
	stated := append(release, "--signing-config", one, "--statement", "--tag", "v1", good)
	says(c.must(policy.ClassUsage, stated...), "Rekor v1 takes no statement")
	if after := logSizes(t); after != before {
		t.Errorf("the logs went from %v to %v", before, after)
	}
	c.must(policy.ClassOK, append(release, "--signing-config", one, good)...)
	newComputer(t).must(policy.ClassOK, "verify", "-R", url, good)
}
