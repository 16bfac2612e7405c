// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// world is an instance with bundles of every kind.
type world struct {
	inst, stranger *sigstoretest.Instance
	ours           *sigstore.Root
	theirs         *Root
	samples        []sample
}

// sample is a bundle, the key that signed it and the artifact.
type sample struct {
	name   string
	data   []byte
	doc    any // of data
	key    crypto.Signer
	digest policy.Digest
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{inst: sigstoretest.New(t), stranger: sigstoretest.New(t)}
	root := w.inst.Root(sigstoretest.RootOptions{})
	w.ours = must[*sigstore.Root](t)(sigstore.ParseRoot("test", root))
	w.theirs = must[*Root](t)(ParseRoot(root))
	artifact := []byte("artifact")
	sum := sha256.Sum256(artifact)
	statement := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1",`+
		`"predicateType":"https://slsa.dev/provenance/v1",`+
		`"predicate":{},"subject":[{"name":"artifact","digest":{"sha256":"%x"}}]}`, sum)
	type request = sigstoretest.Request
	add := func(name string, key crypto.Signer, f func(*request)) {
		r := sigstoretest.Workflow("v1.2.3")
		r.Artifact, r.Key = artifact, key
		f(&r)
		s := sample{name: name, data: w.inst.Sign(r), key: key}
		b := must[*sigstore.Bundle](t)(sigstore.ParseBundle(s.data))
		s.digest = policy.Digest{Alg: "sha256", Hex: hex.EncodeToString(sum[:])}
		if d, ok := b.Message(); ok {
			s.digest = d
		}
		s.doc = must[any](t)(Decode(s.data))
		w.samples = append(w.samples, s)
	}
	ec := func(c elliptic.Curve) crypto.Signer {
		return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(c, rand.Reader))
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := ec(elliptic.P256())
	env := func(f func(*request)) func(*request) { return func(r *request) { r.Statement = statement; f(r) } }
	v2 := func(r *request) { r.Log, r.TSA = sigstoretest.LogV2, true }
	for i := range 2 {
		n := fmt.Sprint(i)
		add("message "+n, p256, func(r *request) {})
		add("envelope "+n, p256, env(func(r *request) {}))
		add("intoto "+n, p256, env(func(r *request) { r.Intoto = true }))
		add("v2 message "+n, p256, v2)
		add("v2 envelope "+n, p256, env(v2))
		add("both "+n, p256, env(func(r *request) { r.Log, r.TSA = sigstoretest.LogBoth, true }))
		add("promise "+n, p256, func(r *request) { r.NoProof = true })
		add("proof and stamp "+n, p256, func(r *request) { r.NoPromise, r.TSA = true, true })
		add("stamp "+n, p256, func(r *request) { r.Log, r.TSA, r.TSANoCerts = sigstoretest.LogNone, true, i == 1 })
	}
	add("P-384", ec(elliptic.P384()), env(func(r *request) { r.TSA = true }))
	add("P-521 v2", ec(elliptic.P521()), v2)
	add("Ed25519", ed, env(func(r *request) {}))
	add("Ed25519 message", ed, v2)
	add("RSA", must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)), func(r *request) { r.TSA = true })
	add("another identity", p256, env(func(r *request) {
		r.SAN, r.Issuer, r.Extensions = "alice@example.com", "https://issuer.example", nil
	}))
	add("another time", p256, env(func(r *request) {
		r.At = sigstoretest.Now.Add(3 * time.Minute)
		r.NotBefore = sigstoretest.Now.Add(-time.Minute)
	}))
	return w
}

// material returns the part of a bundle that verifies its signature, and its log entries.
func material(doc any) (m map[string]any, entries []any) {
	d, _ := doc.(map[string]any)
	m, _ = d["verificationMaterial"].(map[string]any)
	entries, _ = m["tlogEntries"].([]any)
	return m, entries
}

// signatureOf returns where the signature stands.
func signatureOf(doc any) (holder map[string]any, field string) {
	d, _ := doc.(map[string]any)
	if m, ok := d["messageSignature"].(map[string]any); ok {
		return m, "signature"
	}
	env, _ := d["dsseEnvelope"].(map[string]any)
	sigs, _ := env["signatures"].([]any)
	if len(sigs) == 0 {
		return nil, ""
	}
	m, _ := sigs[0].(map[string]any)
	return m, "sig"
}

// resign signs what the bundle now says.
func (w *world) resign(s *Script, doc any, key crypto.Signer) {
	holder, field := signatureOf(doc)
	if holder == nil {
		return
	}
	d := doc.(map[string]any)
	var message, digest []byte
	if m, ok := d["messageSignature"].(map[string]any); ok {
		h, _ := m["messageDigest"].(map[string]any)
		text, _ := h["digest"].(string)
		digest, _ = base64.StdEncoding.DecodeString(text)
	} else {
		env := d["dsseEnvelope"].(map[string]any)
		text, _ := env["payload"].(string)
		payload, _ := base64.StdEncoding.DecodeString(text)
		kind, _ := env["payloadType"].(string)
		message = fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	}
	hash := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, 0}[s.Below(4)]
	if message != nil && hash != 0 {
		h := hash.New()
		h.Write(message)
		digest = h.Sum(nil)
	} else if message != nil {
		digest = message
	}
	if sig, err := key.Sign(rand.Reader, digest, hash); err == nil {
		holder[field] = base64.StdEncoding.EncodeToString(sig)
	}
}

// rewrite puts what the bundle now says into the body of an entry.
func (w *world) rewrite(s *Script, doc any, e map[string]any) {
	holder, field := signatureOf(doc)
	text, _ := e["canonicalizedBody"].(string)
	raw, _ := base64.StdEncoding.DecodeString(text)
	body, err := Decode(raw)
	if err != nil || holder == nil {
		return
	}
	for _, n := range nodes(body, "") {
		switch n.path {
		case ".spec.signature.content", ".spec.hashedRekordV002.signature.content", ".spec.signatures[].signature":
			n.set(holder[field])
		case ".spec.content.envelope.signatures[].sig":
			sig, _ := holder[field].(string)
			n.set(base64.StdEncoding.EncodeToString([]byte(sig)))
		case ".spec.payloadHash.value", ".spec.content.payloadHash.value":
			env, _ := doc.(map[string]any)["dsseEnvelope"].(map[string]any)
			text, _ := env["payload"].(string)
			payload, _ := base64.StdEncoding.DecodeString(text)
			n.set(fmt.Sprintf("%x", sha256.Sum256(payload)))
		}
	}
	if s.Below(4) == 0 {
		Mutate(s, body, body)
	}
	if out, err := json.Marshal(body); err == nil {
		e["canonicalizedBody"] = base64.StdEncoding.EncodeToString(out)
	}
}

// relog makes a log say of an entry what it now says: alone in a tree.
func (w *world) relog(s *Script, e map[string]any) {
	raw, err := json.Marshal(e)
	pb := &protorekor.TransparencyLogEntry{}
	if err != nil || protojson.Unmarshal(raw, pb) != nil {
		return
	}
	exact := func(n int64) bool { return -1<<53 < n && n < 1<<53 }
	if s.Below(2) == 0 && exact(pb.LogIndex) && exact(pb.IntegratedTime) {
		w.inst.Promise(pb)
	}
	if s.Below(4) > 0 {
		leaf := sha256.Sum256(append([]byte{0}, pb.CanonicalizedBody...))
		origin := []string{w.inst.Origin(), "rekor.example - 4711", "rekor.example", "a - b - 7", ""}[s.Below(5)]
		text := fmt.Sprintf("%s\n1\n%s\n", origin, base64.StdEncoding.EncodeToString(leaf[:]))
		note := ""
		switch s.Below(3) {
		case 0:
			note = w.inst.NoteV1(text)
		case 1:
			note = w.inst.NoteV2(text)
		default:
			note = w.stranger.NoteV2(text)
		}
		if s.Below(8) == 0 {
			note += w.stranger.NoteV1(text)[len(text)+1:]
		}
		pb.InclusionProof = &protorekor.InclusionProof{
			TreeSize: int64(1 + s.Below(8)/7), RootHash: leaf[:], Checkpoint: &protorekor.Checkpoint{Envelope: note},
		}
		if s.Below(2) == 0 {
			pb.LogIndex = 0
		}
	}
	out, err := protojson.Marshal(pb)
	if err != nil {
		return
	}
	doc, err := Decode(out)
	if err != nil {
		return
	}
	for k := range e {
		delete(e, k)
	}
	for k, v := range doc.(map[string]any) {
		e[k] = v
	}
}

// restamp adds or replaces a time stamp.
func (w *world) restamp(s *Script, doc any) {
	m, _ := material(doc)
	holder, field := signatureOf(doc)
	if m == nil || holder == nil {
		return
	}
	text, _ := holder[field].(string)
	sig, _ := base64.StdEncoding.DecodeString(text)
	shifts := []time.Duration{0, time.Minute, -2 * time.Minute, time.Hour, -time.Second, 9 * time.Minute}
	at := sigstoretest.Now.Add(shifts[s.Below(len(shifts))])
	by := w.inst
	if s.Below(4) == 3 {
		by = w.stranger
	}
	stamp := map[string]any{"signedTimestamp": base64.StdEncoding.EncodeToString(by.Stamp(sig, at))}
	old, _ := m["timestampVerificationData"].(map[string]any)
	list, _ := old["rfc3161Timestamps"].([]any)
	if s.Below(2) == 0 {
		list = nil
	}
	m["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": append(list, stamp)}
}

var mediaTypes = []string{
	"application/vnd.dev.sigstore.bundle+json;version=0.1", "application/vnd.dev.sigstore.bundle+json;version=0.2",
	"application/vnd.dev.sigstore.bundle+json;version=0.3", "application/vnd.dev.sigstore.bundle.v0.1+json",
	"application/vnd.dev.sigstore.bundle.v0.2+json", "application/vnd.dev.sigstore.bundle.v0.3+json",
	"application/vnd.dev.sigstore.bundle.v0.3.1+json", "application/vnd.dev.sigstore.bundle.v0.4+json",
}

// run makes a bundle by a script and compares the judgements of it.
func (w *world) run(t testing.TB, script []byte) Verdict {
	s := &Script{script}
	base, other := w.samples[s.Below(len(w.samples))], w.samples[s.Below(len(w.samples))]
	doc, donor := clone(base.doc), other.doc
	unlogged := s.Below(4) == 0
	for range 1 + s.Below(4) {
		m, entries := material(doc)
		entry := func() map[string]any {
			if len(entries) == 0 {
				return nil
			}
			e, _ := entries[s.Below(len(entries))].(map[string]any)
			return e
		}
		switch s.Below(12) {
		case 0:
			w.resign(s, doc, base.key)
		case 1, 2:
			if e := entry(); e != nil {
				w.rewrite(s, doc, e)
				w.relog(s, e)
			}
		case 3:
			if e := entry(); e != nil {
				w.relog(s, e)
			}
		case 4:
			w.restamp(s, doc)
		case 5:
			doc.(map[string]any)["mediaType"] = mediaTypes[s.Below(len(mediaTypes))]
		case 6:
			if _, theirs := material(donor); m != nil && len(theirs) > 0 {
				m["tlogEntries"] = append(append([]any{}, entries...), clone(theirs[s.Below(len(theirs))]))
			}
		default:
			Mutate(s, doc, donor)
		}
	}
	data := must[[]byte](t)(json.Marshal(doc))
	if s.Below(16) == 15 {
		data = edit(s, data)
	}
	digest := base.digest
	if m, ok := doc.(map[string]any)["messageSignature"].(map[string]any); ok {
		h, _ := m["messageDigest"].(map[string]any)
		text, _ := h["digest"].(string)
		raw, _ := base64.StdEncoding.DecodeString(text)
		name, _ := h["algorithm"].(string)
		alg := map[string]string{"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}[name]
		if alg != "" {
			digest = policy.Digest{Alg: alg, Hex: hex.EncodeToString(raw)}
		}
	}
	v := Both(w.ours, w.theirs, nil, data, digest, unlogged, s.Below(8) == 0)
	if !v.Same && v.Stricter == "" {
		t.Errorf("%s: %s\n%s", base.name, v.Text, data)
	}
	return v
}

// TestSamples: what nobody changed is judged alike.
func TestSamples(t *testing.T) {
	w := newWorld(t)
	for _, s := range w.samples {
		facts, err := Ours(w.ours, s.data, s.digest, nil, true)
		if err != nil || len(facts.Times) == 0 {
			t.Errorf("%s: %v", s.name, err)
		}
		if v := Both(w.ours, w.theirs, nil, s.data, s.digest, true, true); !v.Same {
			t.Errorf("%s: %s", s.name, v.Text)
		}
	}
}

// FuzzDifferential: we accept nothing that the library refuses, prove nothing that it does not,
// and refuse more in the ways that are listed alone.
func FuzzDifferential(f *testing.F) {
	w := newWorld(quiet{f})
	for i := range w.samples {
		f.Add([]byte{byte(i), byte(i + 1), 1, 3, byte(i), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	}
	f.Fuzz(func(t *testing.T, script []byte) { w.run(t, script) })
}

// quiet is a test inside of which a target of a fuzz test calls helpers.
type quiet struct{ testing.TB }

// Helper implements [testing.TB].
func (quiet) Helper() {}

// TestDifferential runs scripts that are drawn, REPOPOLICY_SCRIPTS of them, and says what they
// come to.
func TestDifferential(t *testing.T) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("REPOPOLICY_SCRIPTS"), "500"))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("REPOPOLICY_SEED"); text != "" {
		seed = must[uint64](t)(strconv.ParseUint(text, 10, 64))
	}
	w, draw := newWorld(t), mrand.New(mrand.NewPCG(seed, 0))
	counts := map[string]int{}
	for i := range n {
		script := make([]byte, 8+draw.IntN(56))
		for j := range script {
			script[j] = byte(draw.Uint32())
		}
		v := w.run(t, script)
		switch {
		case v.Stricter != "":
			counts["stricter: "+v.Stricter]++
		case v.Accepted:
			counts["accepted by both"]++
		default:
			counts["refused by both"]++
		}
		if t.Failed() {
			t.Fatalf("seed %d, script %d: %x", seed, i, script)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%8d %s", counts[k], k)
	}
}
