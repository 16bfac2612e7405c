// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// inspected writes evidence of many kinds, good and bad, and returns the machine and the names of
// what cannot be verified.
func inspected(t *testing.T) (env command.Env, unverified []string) {
	t.Helper()
	env = place(t)
	inst, other := sigstoretest.New(t), sigstoretest.New(t)
	write := func(name string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("root.json", inst.Root(sigstoretest.RootOptions{}))
	sign := func(name string, inst *sigstoretest.Instance, change func(*sigstoretest.Request)) {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = []byte(name)
		change(&r)
		write(name, []byte(name))
		write(name+".sigstore.json", inst.Sign(r))
	}
	good := func(*sigstoretest.Request) {}
	sign("good", inst, good)
	sign("v2", inst, func(r *sigstoretest.Request) { r.Log, r.TSA = sigstoretest.LogV2, true })
	sign("unlogged", inst, func(r *sigstoretest.Request) { r.Log, r.TSA = sigstoretest.LogNone, true })
	sign("statement", inst, func(r *sigstoretest.Request) {
		r.Artifact = nil
		r.Statement = fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1",`+
			`"predicateType":"https://slsa.dev/provenance/v1","predicate":{"runDetails":"not shown"},`+
			`"subject":[{"name":"statement","digest":{"sha256":"%x"}},`+
			`{"name":"another","digest":{"sha256":"%x"}}]}`, sha256.Sum256([]byte("statement")), sha256.Sum256([]byte("x")))
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	write("key.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	sign("key", inst, func(r *sigstoretest.Request) { r.Key, r.BareKey = key, true })

	sign("foreign", other, good)
	sign("tampered", inst, func(r *sigstoretest.Request) {
		r.Mutate = func(b *protobundle.Bundle) { b.GetMessageSignature().Signature[20] ^= 1 }
	})
	sign("untimed", inst, func(r *sigstoretest.Request) { r.NoPromise = true })
	sign("neither", inst, func(r *sigstoretest.Request) { r.Log = sigstoretest.LogNone })
	sign("moved", inst, func(r *sigstoretest.Request) {
		r.Mutate = func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].LogIndex += 5 }
	})
	sign("replaced", inst, good)
	write("replaced", []byte("other bytes"))
	write("bare", []byte("bare"))
	write("renamed", []byte("statement"))
	write("cut.sigstore.json", []byte(`{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"`))
	write("d/good", []byte("good"))
	return env, []string{"foreign", "tampered", "untimed", "neither", "moved"}
}

// TestInspect: what is shown, in text and JSON by the same value, and with which exit code.
func TestInspect(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../schema/inspection-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	env, unverified := inspected(t)
	type row struct {
		args string
		exit int
		want []string // lines; one that begins with "!" must not be there
	}
	rows := []row{
		{"good", 0, []string{
			"verified under root.json", "verified  artifact", "verified  signer uri", "verified  time", "verified  log",
			"signed    subject", "no verdict", "!claimed", "!OK",
		}},
		{"good.sigstore.json", 0, []string{"verified  signer uri", "signed    subject", "!artifact"}},
		{"v2", 0, []string{"by the time stamp authority", "of 4, proven", "!claimed"}},
		{"unlogged", 0, []string{
			"but for a log", "verified  signer uri", "missing   log", "by the time stamp authority", "!verified  log",
		}},
		{"statement", 0, []string{
			"signed    predicate", "signed    subject", " another", "!not shown", "is what is signed, as statement\n",
		}},
		{"renamed -b statement.sigstore.json", 0, []string{"is what is signed, as statement\n"}},
		{"key", 0, []string{"it is signed by a bare key: name it with --public-key [key-untrusted]", "!verified  "}},
		{"--public-key key.pub key", 0, []string{"verified  signer key", "verified  log", "!claimed  signer"}},
		{"--public-key key.pub good", 0, []string{"verified  signer uri"}},
		{"-b good.sigstore.json v2", 0, []string{
			"which is about something else", "verified  signer uri", "!is what is signed",
		}},
		{"replaced", 0, []string{"which is about something else", "!is what is signed"}},
		{"bare", 1, []string{"no evidence was found", "[no-evidence]"}},
		{"cut.sigstore.json", 6, []string{"[bundle-invalid]", "!claimed", "!verified  "}},
		{"widget_2", 0, []string{"not verified: the bundle is malformed", "!claimed"}},
		{"d", 1, []string{"[no-evidence]"}},
		{"missing", 2, nil},
		{"", 2, nil},
		{"--tag a..b good", 2, nil},
		{"--public-key good good", 2, nil},
		{"--public-key missing good", 2, nil},
		{"--offline https://github.com/acme/widget/releases/tag/v1", 2, nil},
		{"-R x:y good", 2, nil},
		{"--format sarif good", 2, nil},
		{"--certificate-identity a good", 2, nil},
	}
	for _, name := range unverified {
		rows = append(rows, row{name, 0, []string{"not verified: ", "claimed   signer uri", "!verified  ", "!signed  "}})
	}
	for _, c := range rows {
		text, code := run(t, env, append([]string{"inspect", "--trusted-root", "root.json"}, strings.Fields(c.args)...))
		if code != c.exit {
			t.Errorf("%s: exit %d, want %d\n%s", c.args, code, c.exit, text)
		}
		for _, w := range c.want {
			if no, not := strings.CutPrefix(w, "!"); strings.Contains(text, strings.TrimPrefix(w, "!")) == not {
				t.Errorf("%s: %q is there or is not\n%s", c.args, no, text)
			}
		}
		if c.exit == 2 {
			continue
		}
		doc, code := run(t, env, append([]string{"inspect", "--trusted-root", "root.json", "--format", "json"},
			strings.Fields(c.args)...))
		agrees(t, schema, c.args, doc, code, c.exit)
	}
	if text, code := run(t, env, []string{"inspect", "good"}); code != 3 || strings.Contains(text, "verified  ") ||
		!strings.Contains(text, "claimed   signer uri") || !strings.Contains(text, "[trusted-root-unavailable]") {
		t.Errorf("without a root: exit %d\n%s", code, text)
	}
	if text, code := run(t, env, []string{"inspect", "--trusted-root", "policy.toml", "good"}); code != 6 ||
		strings.Contains(text, "verified  ") {
		t.Errorf("with a root that is none: exit %d\n%s", code, text)
	}
}

// agrees checks a document against its schema, and that no fact rests on more than the evidence does.
func agrees(t *testing.T, schema *jsonschema.Schema, args, text string, code, exit int) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = schema.Validate(doc)
	}
	var got report.Inspection
	if err == nil {
		err = json.Unmarshal([]byte(text), &got)
	}
	if err != nil || code != exit || got.Exit != exit || got.Verdict != report.NoVerdict {
		t.Errorf("%s: exit %d, %v\n%s", args, code, err, text)
	}
}

// run returns what a command prints, and its exit code.
func run(t *testing.T, env command.Env, args []string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	env.Stdout, env.Stderr = &out, &out
	code := Main(args, env)
	return out.String(), code
}

// TestInspectCollection: of a file with many pieces of evidence, those about the artifact are shown, the whole
// file if it was named, and no more than a person can read.
func TestInspectCollection(t *testing.T) {
	env := place(t)
	inst := sigstoretest.New(t)
	var lines []byte
	for n := range 103 {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact = fmt.Appendf(nil, "artifact %d", n%102)
		lines = append(append(lines, inst.Sign(r)...), '\n')
	}
	for name, data := range map[string][]byte{
		"root.json": inst.Root(sigstoretest.RootOptions{}), "multiple.intoto.jsonl": lines, "one": []byte("artifact 0"),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, code := run(t, env, []string{"inspect", "--trusted-root", "root.json", "one"})
	if n := strings.Count(text, "is what is signed"); code != 0 || n != 2 || strings.Contains(text, "something else") {
		t.Errorf("exit %d, %d pieces\n%s", code, n, text)
	}
	text, code = run(t, env, []string{"inspect", "--trusted-root", "root.json", "multiple.intoto.jsonl"})
	if n := strings.Count(text, "signed    subject"); code != 0 || n != 100 ||
		!strings.Contains(text, "3 more pieces of evidence are not shown") {
		t.Errorf("exit %d, %d pieces", code, n)
	}
}

// TestInspectPlaceProof: a place proof shows how large a log was, and when.
func TestInspectPlaceProof(t *testing.T) {
	env := place(t)
	c := bindtest.NewChained(t, 1, 2)
	proof := c.Proof(3, sigstoretest.Now.Add(-time.Minute)).Bytes()
	for name, data := range map[string][]byte{
		"of.json": c.Inst.Root(sigstoretest.RootOptions{Mutate: func(tr *prototrust.TrustedRoot) {
			tr.Tlogs[1].LogId.KeyId = bindtest.ShardID
		}}),
		"good.place.json": proof, "junk.place.json": []byte("{}"),
		"cut.place.json": proof[:len(proof)-9],
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		args, want, not string
		exit            int
	}{
		{"--trusted-root of.json good.place.json", "had 3 entries", "claimed", 0},
		{"--trusted-root root.json good.place.json", "not verified", "entries", 0},
		{"--trusted-root of.json junk.place.json", "not verified", "entries", 6},
		{"--trusted-root of.json cut.place.json", "not verified", "entries", 6},
		{"good.place.json", "[trusted-root-unavailable]", "entries", 3},
	} {
		text, code := run(t, env, append([]string{"inspect"}, strings.Fields(x.args)...))
		if code != x.exit || !strings.Contains(text, x.want) || strings.Contains(text, x.not) {
			t.Errorf("%s: exit %d\n%s", x.args, code, text)
		}
	}
}

// TestInspectAlters: no byte of a bundle can be changed so that more is verified than was signed.
func TestInspectAlters(t *testing.T) {
	env, _ := inspected(t)
	bundle, err := os.ReadFile("v2.sigstore.json")
	if err != nil {
		t.Fatal(err)
	}
	facts := func() map[report.Fact]bool {
		text, _ := run(t, env, []string{"inspect", "--trusted-root", "root.json", "--format", "json", "x.sigstore.json"})
		var doc report.Inspection
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		out := map[report.Fact]bool{}
		for _, in := range doc.Inputs {
			for _, p := range in.Evidence {
				for _, f := range p.Facts {
					if f.State == report.Verified || f.State == report.Signed {
						out[f] = true
					}
				}
			}
		}
		return out
	}
	set := func(data []byte) {
		if err := os.WriteFile("x.sigstore.json", data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(bundle)
	all := facts()
	if len(all) < 10 {
		t.Fatalf("%d facts", len(all))
	}
	for i := 0; i < len(bundle); i += 37 {
		changed := bytes.Clone(bundle)
		changed[i] ^= 1
		set(changed)
		for f := range facts() {
			if !all[f] {
				t.Fatalf("byte %d: %v is new", i, f)
			}
		}
	}
}
