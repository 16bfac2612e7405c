// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

func moduleData(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "pkg", "testing", "data")
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func realRoot(t testing.TB, name string) *Root {
	t.Helper()
	r, err := ParseRoot(name, read(t, filepath.Join(moduleData(t), "trusted-roots", name)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReal verifies bundles that Sigstore's own instances made.
func TestReal(t *testing.T) {
	data := moduleData(t)
	digest := func(b *Bundle) policy.Digest {
		if d, ok := b.Message(); ok {
			return d
		}
		return b.Statement().Subjects[0].Digests[0]
	}
	for _, c := range []struct {
		bundle, root string
		kind         policy.Kind
		value        string
	}{
		{
			"sigstore.js@2.0.0-provenance.sigstore.json", "public-good.json", policy.KindURI,
			"https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
		},
		{"dsse.sigstore.json", "public-good.json", policy.KindEmail, ""},
		{"othername.sigstore.json", "scaffolding.json", policy.KindUsername, ""},
	} {
		b, err := ParseBundle(read(t, filepath.Join(data, "bundles", c.bundle)))
		if err != nil {
			t.Errorf("%s: %v", c.bundle, err)
			continue
		}
		if b.Signer().Kind != c.kind || c.value != "" && b.Signer().Value != c.value {
			t.Errorf("%s: %+v", c.bundle, b.Signer())
		}
		v, err := b.Verify(realRoot(t, c.root), digest(b), nil, Options{})
		if err != nil || len(v.Times) == 0 || len(v.Entries) == 0 {
			t.Errorf("%s: %+v %v", c.bundle, v, err)
		}
		other := map[string]string{"public-good.json": "scaffolding.json", "scaffolding.json": "public-good.json"}[c.root]
		if _, err := b.Verify(realRoot(t, other), digest(b), nil, Options{}); err == nil {
			t.Errorf("case-119-staging-root: %s verifies under %s", c.bundle, other)
		}
		wrong := digest(b)
		wrong.Hex = strings.Repeat("0", len(wrong.Hex))
		if _, err := b.Verify(realRoot(t, c.root), wrong, nil, Options{}); err == nil {
			t.Errorf("%s verifies for other bytes", c.bundle)
		}
	}
}

// TestRealSCT takes the CT logs' keys away: the certificate's time stamp
// then comes from nobody that the root knows.
func TestRealSCT(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(read(t, filepath.Join(moduleData(t), "trusted-roots", "public-good.json")),
		&root); err != nil {
		t.Fatal(err)
	}
	logs := root["ctlogs"].([]any)
	for _, l := range logs {
		l.(map[string]any)["logId"] = map[string]any{"keyId": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))}
	}
	data, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRoot("x", data)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBundle(read(t, filepath.Join(moduleData(t), "bundles", "sigstore.js@2.0.0-provenance.sigstore.json")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Verify(r, b.Statement().Subjects[0].Digests[0], nil, Options{})
	var se *Error
	if !asError(err, &se) || se.Reason != policy.SCTInvalid {
		t.Errorf("case-124-sct-unknown-log: %v", err)
	}
}

func asError(err error, to **Error) bool {
	e, ok := err.(*Error)
	*to = e
	return ok
}

func TestKey(t *testing.T) {
	data := moduleData(t)
	examples := filepath.Join(data, "..", "..", "..", "examples")
	b, err := ParseBundle(read(t, filepath.Join(examples, "bundle-publish.json")))
	if err != nil {
		t.Fatal(err)
	}
	pem := read(t, filepath.Join(examples, "publish_key.pub"))
	root := realRoot(t, "public-good.json")
	digest := b.Statement().Subjects[0].Digests[0]
	for name, c := range map[string]struct {
		start, end time.Time
		ok         bool
	}{
		"for ever": {ok: true},
		"ended":    {end: time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)},
		"not yet":  {start: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		k, err := ParseKey(pem, c.start, c.end)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Verify(root, digest, k, Options{}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.Verify(root, digest, nil, Options{}); err == nil {
		t.Error("verified without a key")
	}
	if _, err := ParseKey([]byte("x"), time.Time{}, time.Time{}); err == nil {
		t.Error("a key that is none")
	}
}

// flips are the elements of a bundle whose every byte must matter, by their path
// in its JSON.
var flips = []string{
	"verificationMaterial.certificate.rawBytes", "verificationMaterial.tlogEntries.0.canonicalizedBody",
	"verificationMaterial.tlogEntries.0.inclusionPromise.signedEntryTimestamp",
	"verificationMaterial.tlogEntries.0.logId.keyId",
	"verificationMaterial.tlogEntries.0.inclusionProof.rootHash",
	"verificationMaterial.tlogEntries.0.inclusionProof.hashes.0",
	"verificationMaterial.tlogEntries.0.inclusionProof.hashes.1", "dsseEnvelope.payload", "dsseEnvelope.signatures.0.sig",
	"messageSignature.messageDigest.digest", "messageSignature.signature",
}

// TestFlips flips one bit in every byte of everything that is signed or signs.
// The exceptions stand in testdata/flips.txt.
func TestFlips(t *testing.T) {
	inst := sigstoretest.New(t)
	root, err := ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	exceptions := string(read(t, "testdata/flips.txt"))
	listed := func(kind string) bool { return strings.Contains(exceptions, "\n"+kind+"  ") }
	art := []byte("artifact")
	message := sigstoretest.Workflow("v1")
	message.Artifact = art
	envelope := sigstoretest.Workflow("v1")
	envelope.Statement = fmt.Appendf(nil,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"name":"a","digest":{"sha256":"%x"}}]}`,
		sha256.Sum256(art))
	digest := policy.Digest{Alg: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(art))}
	for name, good := range map[string][]byte{"message": inst.Sign(message), "envelope": inst.Sign(envelope)} {
		accepts := func(data []byte) bool {
			b, err := ParseBundle(data)
			if err != nil {
				return false
			}
			_, err = b.Verify(root, digest, nil, Options{})
			return err == nil
		}
		if !accepts(good) {
			t.Fatalf("%s: the good bundle is refused", name)
		}
		n := 0
		for _, path := range flips {
			raw := at(t, good, path, nil)
			if raw == nil {
				continue
			}
			for i := range raw {
				changed := bytes.Clone(raw)
				changed[i] ^= 1 << (i % 8)
				n++
				if accepts(at(t, good, path, changed)) {
					t.Errorf("%s: byte %d of %s does not matter", name, i, path)
				}
			}
		}
		cp := "verificationMaterial.tlogEntries.0.inclusionProof.checkpoint.envelope"
		text := text(t, good, cp, "")
		for i := range len(text) {
			changed := []byte(text)
			changed[i] ^= 1
			n++
			if !accepts([]byte(textSet(t, good, cp, string(changed)))) ||
				listed("checkpoint-signature-name") && inSignatureName(text, i) {
				continue
			}
			t.Errorf("%s: byte %d of the checkpoint does not matter: %q", name, i, text[max(0, i-8):i+1])
		}
		t.Logf("%s: %d flips refused", name, n)
	}
}

// inSignatureName reports whether byte i of a checkpoint is in the name of its
// signature line.
func inSignatureName(text string, i int) bool {
	const dash = "\n\u2014 "
	from := strings.Index(text, dash) + len(dash)
	return i >= from && i < from+strings.IndexByte(text[from:], ' ')
}

// at returns the bytes at a path of a bundle's JSON, or with to the whole bundle
// with these bytes instead.
func at(t *testing.T, doc []byte, path string, to []byte) []byte {
	t.Helper()
	if to == nil {
		s := text(t, doc, path, "")
		if s == "" {
			return nil
		}
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	return []byte(textSet(t, doc, path, base64.StdEncoding.EncodeToString(to)))
}

func text(t *testing.T, doc []byte, path, _ string) string {
	t.Helper()
	var root any
	if err := json.Unmarshal(doc, &root); err != nil {
		t.Fatal(err)
	}
	v := root
	for k := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[k]
		case []any:
			i := int(k[0] - '0')
			if i >= len(x) {
				return ""
			}
			v = x[i]
		default:
			return ""
		}
	}
	s, _ := v.(string)
	return s
}

func textSet(t *testing.T, doc []byte, path, to string) string {
	t.Helper()
	var root any
	if err := json.Unmarshal(doc, &root); err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(path, ".")
	v := root
	for i, k := range keys {
		last := i == len(keys)-1
		switch x := v.(type) {
		case map[string]any:
			if last {
				x[k] = to
			}
			v = x[k]
		case []any:
			if last {
				x[k[0]-'0'] = to
			}
			v = x[k[0]-'0']
		}
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestParseRoot(t *testing.T) {
	inst := sigstoretest.New(t)
	for name, data := range map[string][]byte{
		"case-144-root-no-validity": inst.Root(sigstoretest.RootOptions{NoLogStart: true}), "empty": nil,
		"garbage": []byte("{"), "other": []byte(`{"a":1}`), "too large": make([]byte, MaxRootBytes+1),
	} {
		if r, err := ParseRoot(name, data); err == nil || r != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzParseBundle: never a panic, and nothing verifies under a root with other
// keys.
func FuzzParseBundle(f *testing.F) {
	inst := sigstoretest.New(f)
	req := sigstoretest.Workflow("v1")
	req.Artifact = []byte("artifact")
	f.Add(inst.Sign(req))
	files, err := filepath.Glob(filepath.Join(moduleData(f), "bundles", "*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		f.Add(read(f, path))
	}
	root, err := ParseRoot("x", sigstoretest.New(f).Root(sigstoretest.RootOptions{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBundle(data)
		if err != nil {
			if b != nil {
				t.Fatal("a bundle beside an error")
			}
			return
		}
		d, ok := b.Message()
		if !ok {
			d = b.Statement().Subjects[0].Digests[0]
		}
		if b.Signer().Kind == policy.KindKey {
			return
		}
		if _, err := b.Verify(root, d, nil, Options{Unlogged: true}); err == nil {
			t.Fatal("verified under a root of strangers")
		}
	})
}

// FuzzStatement: what is accepted has the subjects that encoding/json sees.
func FuzzStatement(f *testing.F) {
	f.Add(
		[]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"name":"a","digest":{"sha256":"` +
			strings.Repeat("ab", 32) + `"}}]}`),
	)
	f.Fuzz(func(t *testing.T, data []byte) {
		st, err := parseStatement(data)
		if err != nil {
			return
		}
		var ref struct {
			Subject []struct {
				Name   string            `json:"name"`
				Digest map[string]string `json:"digest"`
			} `json:"subject"`
		}
		if err := json.Unmarshal(data, &ref); err != nil || len(ref.Subject) < len(st.Subjects) {
			t.Fatalf("encoding/json sees %d subjects, we %d: %v", len(ref.Subject), len(st.Subjects), err)
		}
		for _, s := range st.Subjects {
			if len(s.Digests) == 0 {
				t.Fatal("a subject without digest")
			}
			for _, d := range s.Digests {
				if len(st.Find(d)) == 0 {
					t.Fatal("a digest that is not found")
				}
			}
		}
	})
}
