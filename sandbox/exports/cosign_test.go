// SPDX-License-Identifier: Apache-2.0

package exports

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"

	"github.com/repopolicy/repopolicy/internal/propose/export"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// TestCosign runs exported commands with the real cosign and compares them with
// what the policy says. Only the trusted root is added: the tests' own instance
// is not in Sigstore's TUF repository.
func TestCosign(t *testing.T) {
	cosign := sigstoretest.Cosign(t)
	inst := sigstoretest.New(t)
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("root.json", inst.Root(sigstoretest.RootOptions{}))
	release := func(name, san, issuer string) {
		data := []byte(name)
		write(name, data)
		write(name+".sigstore.json", inst.Sign(sigstoretest.Request{Artifact: data, SAN: san, Issuer: issuer}))
	}
	const google = "https://accounts.google.com"
	release("widget_1.tar.gz", "alice@example.com", google)
	release("it's $(x)", "alice@example.com", google)
	release("by-bob", "bob@example.com", google)
	release("by-mallory", "mallory@example.com", google)
	release("other-issuer", "alice@example.com", "https://github.com/login/oauth")
	release("longer", "alice@example.com.evil.example", google)
	release("changed", "alice@example.com", google)
	write("changed", []byte("x"))
	// A statement about the file, also one that says that something failed, is no
	// signature of the file.
	statement := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"` + sum(
		"stated",
	) + `"}}],"predicateType":"https://slsa.dev/verification_summary/v1","predicate":{"keyid":"messageSignature"}}`
	write("stated", []byte("stated"))
	write(
		"stated.sigstore.json",
		inst.Sign(
			sigstoretest.Request{
				Statement: []byte(statement),
				SAN:       "alice@example.com",
				Issuer:    google,
				Mutate: func(b *protobundle.Bundle) {
					b.GetDsseEnvelope().Signatures[0].Keyid = "messageSignature"
				},
			},
		),
	)
	robot := "https://ci.example/acme/widget"
	release("robot", robot, "https://ci.example")

	key, pemKey := newKey(t)
	for name, k := range map[string]*ecdsa.PrivateKey{"by-key": key, "by-another-key": nil} {
		if k == nil {
			k, _ = newKey(t)
		}
		write(name, []byte(name))
		write(name+".sigstore.json", inst.Sign(sigstoretest.Request{Artifact: []byte(name), BareKey: true, Key: k}))
	}

	doc := parse(
		t,
		head+strings.Replace(
			people,
			" }]",
			" }, { email = \"bob@example.com\", issuer = \""+google+"\" }, "+
				"{ uri = \""+robot+"\", issuer = \"https://ci.example\" }]",
			1,
		)+"keys = ["+strconv.Quote(
			pemKey,
		)+"]\n",
	)
	for name, want := range map[string]bool{
		"widget_1.tar.gz": true, "it's $(x)": true, "by-bob": true, "robot": true, "by-key": true,
		"by-mallory": false, "other-issuer": false, "longer": false, "changed": false, "missing": false, "stated": false,
		"by-another-key": false,
	} {
		text, err := export.Export("cosign", export.Request{Doc: doc, Artifact: name, Now: now()})
		if err != nil {
			t.Fatal(err)
		}
		ok, runs := false, 0
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			runs++
			cmd := exec.Command(
				"sh",
				"-c",
				strings.Replace(line, "cosign verify-blob ", `"$COSIGN" verify-blob --trusted-root root.json `, 1),
			)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "COSIGN="+cosign)
			out, err := cmd.CombinedOutput()
			ok = ok || err == nil
			if want && strings.Contains(string(out), "unknown flag") {
				t.Fatalf("%s", out)
			}
		}
		if ok != want || runs != 4 {
			t.Errorf("%s: allowed %v by one of %d", name, ok, runs)
		}
	}
}

// TestCosignWorkflow runs the commands for a workflow as `init` writes it: its release is taken,
// signed over the bytes or by a statement, and no other.
func TestCosignWorkflow(t *testing.T) {
	cosign := sigstoretest.Cosign(t)
	inst := sigstoretest.New(t)
	dir := t.TempDir()
	release := func(name string, change func(r *sigstoretest.Request)) {
		r := sigstoretest.Workflow("v1.2.3")
		r.Extensions = maps.Clone(r.Extensions)
		r.Artifact = []byte(name)
		change(&r)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".sigstore.json"), inst.Sign(r), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "root.json"), inst.Root(sigstoretest.RootOptions{}), 0o600); err != nil {
		t.Fatal(err)
	}
	states := func(name, predicate string) func(r *sigstoretest.Request) {
		return func(r *sigstoretest.Request) {
			r.Artifact = nil
			r.Statement = fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":%q,`+
				`"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{"buildDefinition":{},"runDetails":{}}}`,
				name, sum(name), predicate)
		}
	}
	from := func(ref string) func(r *sigstoretest.Request) {
		return func(r *sigstoretest.Request) {
			r.SAN = "https://github.com/acme/widget/.github/workflows/release.yml@" + ref
			r.Extensions[9], r.Extensions[18], r.Extensions[14], r.Extensions[6] = r.SAN, r.SAN, ref, ref
		}
	}
	release("widget_1.tar.gz", func(*sigstoretest.Request) {})
	release("widget_2.tar.gz", states("widget_2.tar.gz", "https://slsa.dev/provenance/v1"))
	release("widget_3.tar.gz", states("widget_3.tar.gz", "https://slsa.dev/verification_summary/v1"))
	release("widget_4.tar.gz", from("refs/tags/v1.2.4"))
	release("widget_5.tar.gz", from("refs/heads/main"))
	release("widget_6.tar.gz", func(r *sigstoretest.Request) { r.Extensions[2] = "schedule" })
	release("widget_7.tar.gz", states("widget_1.tar.gz", "https://slsa.dev/provenance/v1"))
	for name, want := range map[string]bool{
		"widget_1.tar.gz": true, "widget_2.tar.gz": true, "widget_3.tar.gz": false, "widget_4.tar.gz": false,
		"widget_5.tar.gz": false, "widget_6.tar.gz": false, "widget_7.tar.gz": false,
	} {
		text, err := export.Export("cosign", export.Request{
			Doc: sample(t), Rule: "release", Tag: "v1.2.3", Artifact: name, Now: now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ok := false
		var said []byte
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			line = strings.Replace(line, "cosign verify-blob", `"$COSIGN" verify-blob`, 1)
			line = strings.Replace(line, " --bundle", " --trusted-root root.json --bundle", 1)
			cmd := exec.Command("sh", "-c", line)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "COSIGN="+cosign)
			out, err := cmd.CombinedOutput()
			ok, said = ok || err == nil, append(said, out...)
		}
		if ok != want || strings.Contains(string(said), "unknown flag") {
			t.Errorf("%s: allowed %v\n%s", name, ok, said)
		}
	}
}
