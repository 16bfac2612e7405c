// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/tlog"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// bodies are bodies of log entries of each kind, by name.
func bodies(t testing.TB) map[string][]byte {
	t.Helper()
	inst := sigstoretest.New(t)
	out := map[string][]byte{}
	for name, r := range map[string]request{
		"hashedrekord": message(nil), "dsse": envelope(nil), "intoto": envelope(func(r *request) { r.Intoto = true }),
		"v2": v2(nil), "v2 key": message(func(r *request) { r.Log, r.BareKey = sigstoretest.LogV2, true }),
		"key": message(func(r *request) { r.BareKey = true }),
	} {
		out[name] = entry(decode(t, inst.Sign(r))).CanonicalizedBody
	}
	return out
}

// TestReadBody: each kind has one form, and nothing in it may stand otherwise.
func TestReadBody(t *testing.T) {
	all := bodies(t)
	for name, body := range all {
		b, err := readBody(body)
		if err != nil || len(b.signature) == 0 || len(b.verifier) == 0 ||
			b.certificate == strings.HasSuffix(name, "key") || (b.generation == 2) != strings.HasPrefix(name, "v2") {
			t.Errorf("%s: %+v, %v", name, b, err)
			continue
		}
		if !b.sound() {
			t.Errorf("%s: no log takes it", name)
		}
	}
	text := func(name string) string { return string(all[name]) }
	change := func(name, from, to string) string {
		t.Helper()
		if !strings.Contains(text(name), from) {
			t.Fatalf("%s has no %s", name, from)
		}
		return strings.Replace(text(name), from, to, 1)
	}
	inBase64 := base64.StdEncoding.EncodeToString
	empty := inBase64(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}))
	headed := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Headers: map[string]string{"a": "b"}, Bytes: []byte{1},
	}))
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})
	twice := inBase64(bytes.Repeat(one, 2))
	withVerifier := func(v string) string {
		i := strings.Index(text("dsse"), `"verifier":"`) + len(`"verifier":"`)
		return text("dsse")[:i] + v + `"}]}}`
	}
	for name, body := range map[string]string{
		"nothing":              "",
		"another kind":         change("hashedrekord", "hashedrekord", "rekord"),
		"another version":      change("dsse", "0.0.1", "0.0.2"),
		"white space":          change("dsse", `,"kind"`, `, "kind"`),
		"something behind":     text("dsse") + " ",
		"cut":                  text("dsse")[:len(text("dsse"))-1],
		"a key more":           change("dsse", `{"apiVersion"`, `{"a":1,"apiVersion"`),
		"a key twice":          change("dsse", `{"apiVersion":"0.0.1",`, `{"apiVersion":"0.0.1","apiVersion":"0.0.1",`),
		"a key in capitals":    change("dsse", `"payloadHash"`, `"PayloadHash"`),
		"another hash":         change("dsse", `"payloadHash":{"algorithm":"sha256"`, `"payloadHash":{"algorithm":"sha512"`),
		"a hash in capitals":   change("hashedrekord", `"value":"c7c5`, `"value":"C7C5`),
		"half a hash":          change("hashedrekord", `"value":"c7c5`, `"value":"`),
		"a hash of SHA-1":      change("hashedrekord", `"sha256"`, `"sha1"`),
		"an escape":            change("dsse", `"kind":"dsse"`, `"kind":"ds\u0073e"`),
		"no signature":         change("v2", `"content":"`, `"content":"","x":"`),
		"no base64":            change("v2", `"content":"`, `"content":"!`),
		"a private key":        withVerifier(empty),
		"PEM with a header":    withVerifier(headed),
		"two certificates":     withVerifier(twice),
		"no PEM":               withVerifier("AAAA"),
		"two signatures":       change("dsse", `"signatures":[{`, `"signatures":[{"signature":"AA==","verifier":"AA=="},{`),
		"no algorithm":         change("v2", `"keyDetails":"PKIX_ECDSA_P256_SHA_256"`, `"keyDetails":""`),
		"another digest size":  change("v2", `"SHA2_256"`, `"SHA2_512"`),
		"a digest of nothing":  change("v2", `"SHA2_256"`, `"SHA3_256"`),
		"neither key nor cert": change("v2", `"x509Certificate"`, `"certificate"`),
	} {
		if b, err := readBody([]byte(body)); err == nil || reasonOf(t, err) != policy.BundleInvalid {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
	newer := change("v2", "PKIX_ECDSA_P256_SHA_256", "ML_DSA_44_PH")
	if _, err := readBody([]byte(newer)); err == nil || reasonOf(t, err) != policy.NeedsNewerVersion {
		t.Errorf("an algorithm of tomorrow: %v", err)
	}
}

// TestUnsound: entries that no log takes.
func TestUnsound(t *testing.T) {
	good, err := readBody(bodies(t)["hashedrekord"])
	if err != nil {
		t.Fatal(err)
	}
	bare, err := readBody(bodies(t)["key"])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of     *entryBody
		change func(*entryBody)
	}{
		"another signature":  {good, func(b *entryBody) { b.signature = b.signature[1:] }},
		"another digest":     {good, func(b *entryBody) { b.digest = make([]byte, 32) }},
		"another hash":       {good, func(b *entryBody) { b.hash = crypto.SHA384 }},
		"no certificate":     {good, func(b *entryBody) { b.verifier = []byte{0x30, 0} }},
		"a key for another":  {bare, func(b *entryBody) { b.digest = make([]byte, 32) }},
		"no key":             {bare, func(b *entryBody) { b.verifier = []byte{0x30, 0} }},
		"a certificate, not": {bare, func(b *entryBody) { b.certificate = true }},
	} {
		b := *c.of
		if c.change(&b); b.sound() {
			t.Errorf("%s is sound", name)
		}
	}
}

// TestBodyV2: what we rebuild is what the log writes.
func TestBodyV2(t *testing.T) {
	for name, body := range bodies(t) {
		b, err := readBody(body)
		if err != nil || b.generation != 2 {
			continue
		}
		key := bareKeys(t)["ECDSA P-256"].Public()
		a := certificateAlgorithms(key, false)[0]
		if got := bodyV2(a, b.digest, b.signature, b.verifier, b.certificate); !bytes.Equal(got, body) {
			t.Errorf("%s: %s\nwant %s", name, got, body)
		}
	}
}

// TestFingerprint: keys are called as the library for envelopes calls them.
func TestFingerprint(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{
		ed, odd, pkitest.Key(t, elliptic.P256()), pkitest.Key(t, elliptic.P384()), pkitest.Key(t, elliptic.P521()),
	} {
		want, err := dsse.SHA256KeyID(key.Public())
		if got := fingerprint(key.Public()); err != nil || got != want {
			t.Errorf("%T: %s, want %s, %v", key.Public(), got, want, err)
		}
	}
	if fingerprint("key") != "" {
		t.Error("text has a fingerprint")
	}
}

// TestKnownDetails: the names are those of protobuf-specs.
func TestKnownDetails(t *testing.T) {
	for name := range protocommon.PublicKeyDetails_value {
		if !bundle.KnownDetails(name) {
			t.Errorf("%s is not known", name)
		}
	}
	if bundle.KnownDetails("") || bundle.KnownDetails("ML_DSA_44_PH") {
		t.Error("what is no name is known")
	}
}

// FuzzReadBody: never a panic; what we read the library reads, too, as an entry of the same
// generation, signature and digest.
func FuzzReadBody(f *testing.F) {
	for _, body := range bodies(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := readBody(data)
		if err != nil || !b.sound() {
			return
		}
		e, err := tlog.NewTlogEntry(&protorekor.TransparencyLogEntry{
			CanonicalizedBody: data, KindVersion: &protorekor.KindVersion{Kind: b.kind, Version: b.version},
		})
		if err != nil {
			t.Fatalf("%s: the library says %v", data, err)
		}
		digest, _, ok := e.GetHashedRekordDigest()
		payload, enveloped := e.GetDssePayloadHash()
		if e.IsRekorV2() != (b.generation == 2) || !bytes.Equal(e.Signature(), b.signature) ||
			ok != (b.digest != nil) || ok && !bytes.Equal(digest, b.digest) ||
			enveloped != (b.payload != "") || enveloped && hex.EncodeToString(payload) != b.payload {
			t.Fatalf("%s: %+v, and the library reads %x, %x, %x", data, b, e.Signature(), digest, payload)
		}
	})
}

// TestAuthorityFirst: a chain that begins with its root says so, and not that it is unknown.
func TestAuthorityFirst(t *testing.T) {
	inst, ca := sigstoretest.New(t), pkitest.New(t, "Acme", sigstoretest.Now)
	signer := decode(t, inst.Sign(message(nil))).VerificationMaterial.GetCertificate().RawBytes
	for name, c := range map[string]struct {
		chain [][]byte
		want  string // of the error; "" if it is read
	}{
		"after the signer's":  {[][]byte{signer, ca.Cert.Raw}, ""},
		"before the signer's": {[][]byte{ca.Cert.Raw, signer}, "that of an authority"},
		"alone":               {[][]byte{ca.Cert.Raw}, "that of an authority"},
	} {
		r := mutated(chainOf(c.chain...))
		_, err := ParseBundle(inst.Sign(r))
		if c.want == "" && err != nil || c.want != "" &&
			(err == nil || reasonOf(t, err) != policy.CertificateBad || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
