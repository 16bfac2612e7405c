// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestRegistryAgrees: our registry says what Sigstore's says, and has a default for the same keys.
func TestRegistryAgrees(t *testing.T) {
	for _, a := range keys.Registry() {
		number, ok := protocommon.PublicKeyDetails_value[a.Name]
		if !ok {
			t.Errorf("%s is not in protobuf-specs", a.Name)
			continue
		}
		theirs, err := signature.GetAlgorithmDetails(protocommon.PublicKeyDetails(number))
		if err != nil || theirs.GetHashType() != a.Hash ||
			cmp.Or(messageHashNames[a.Hash], "HASH_ALGORITHM_UNSPECIFIED") != theirs.GetProtoHashType().String() {
			t.Errorf("%s: %v, %v", a.Name, theirs.GetHashType(), err)
		}
	}
	for _, key := range bareKeys(t) {
		a, err := keys.Of(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := signature.GetDefaultPublicKeyDetails(key.Public(), options.WithED25519ph())
		if err != nil || theirs.String() != a.Name {
			t.Errorf("%s, and Sigstore's default is %s %v", a.Name, theirs, err)
		}
	}
}

// bareKeys are keys of each kind, by what the registry calls them.
func bareKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	out := map[string]crypto.Signer{}
	add := func(key crypto.Signer, err error) {
		if err != nil {
			t.Fatal(err)
		}
		out[keys.Kind(key.Public())] = key
	}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		add(ecdsa.GenerateKey(c, rand.Reader))
	}
	for _, bits := range []int{2048, 3072, 4096} {
		add(rsa.GenerateKey(rand.Reader, bits))
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	add(ed, err)
	return out
}

// publicKey returns the key as a policy names it.
func publicKey(t testing.TB, pub crypto.PublicKey) *Key {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestBareKeys: a signature of a bare key counts if it is by the one algorithm of the key, in the
// one form in which the log shows it, and no other.
func TestBareKeys(t *testing.T) {
	inst := sigstoretest.New(t)
	root, err := ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	// hashed signs the hash of a message.
	hashed := func(key crypto.Signer, h crypto.Hash, opts crypto.SignerOpts) func([]byte) []byte {
		return func(message []byte) []byte {
			if h != 0 {
				d := h.New()
				d.Write(message)
				message = d.Sum(nil)
			}
			sig, err := key.Sign(rand.Reader, message, opts)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
	}
	for kind, key := range bareKeys(t) {
		a, err := keys.Of(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		var right crypto.SignerOpts = a.Hash
		if kind == "Ed25519" {
			right = &ed25519.Options{Hash: a.Hash}
		}
		good := hashed(key, a.Hash, right)
		ways := map[string]struct {
			by func([]byte) []byte
			ok bool
		}{
			"as it does": {good, true},
			"cut":        {func(m []byte) []byte { return good(m)[1:] }, false},
			"enlarged":   {func(m []byte) []byte { return append(good(m), 0) }, false},
			"twice":      {func(m []byte) []byte { return bytes.Repeat(good(m), 2) }, false},
		}
		way := func(name string, by func([]byte) []byte, ok bool) {
			ways[name] = struct {
				by func([]byte) []byte
				ok bool
			}{by, ok}
		}
		for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if h != a.Hash && kind != "Ed25519" {
				way("with "+h.String(), hashed(key, h, h), false)
			}
		}
		switch k := key.(type) {
		case ed25519.PrivateKey:
			way("pure", hashed(key, 0, crypto.Hash(0)), false)
			way("pure over the digest", hashed(key, crypto.SHA512, crypto.Hash(0)), false)
			way("with a context", hashed(key, crypto.SHA512, &ed25519.Options{Hash: crypto.SHA512, Context: "x"}), false)
		case *rsa.PrivateKey:
			way("PSS", hashed(key, a.Hash, &rsa.PSSOptions{Hash: a.Hash}), false)
			way("no DigestInfo", hashed(key, a.Hash, crypto.Hash(0)), false)
		case *ecdsa.PrivateKey:
			numbers := func(m []byte) (n struct{ R, S *big.Int }) {
				if _, err := asn1.Unmarshal(good(m), &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			way("two numbers of fixed length", func(m []byte) []byte {
				n, size := numbers(m), (k.Params().BitSize+7)/8
				return append(n.R.FillBytes(make([]byte, size)), n.S.FillBytes(make([]byte, size))...)
			}, false)
			way("with the other square root", func(m []byte) []byte { // which anybody can make of it
				n := numbers(m)
				n.S.Sub(k.Params().N, n.S)
				sig, err := asn1.Marshal(n)
				if err != nil {
					t.Fatal(err)
				}
				return sig
			}, true)
		}
		trusted := publicKey(t, key.Public())
		for name, w := range ways {
			if !w.ok && (kind == "RSA 3072" || kind == "RSA 4096") {
				continue // as of 2048 bits
			}
			for form, f := range map[string]struct {
				change func(*request)
				ok     bool
			}{
				"a file in Rekor v1":      {func(r *request) { r.Statement = nil }, true},
				"a file in Rekor v2":      {func(r *request) { r.Statement, r.Log = nil, sigstoretest.LogV2 }, true},
				"a statement in Rekor v2": {func(r *request) { r.Log = sigstoretest.LogV2 }, true},
				"as hashedrekord":         {func(r *request) { r.Hashed = true }, a.RekorV1 == keys.HashedRekord},
				"as dsse":                 {func(*request) {}, a.RekorV1 == keys.DSSE},
				"as intoto":               {func(r *request) { r.Intoto = true }, a.RekorV1 == keys.DSSE},
				"in both": {func(r *request) {
					r.Log, r.Hashed = sigstoretest.LogBoth, a.RekorV1 == keys.HashedRekord
				}, true},
			} {
				req := envelope(func(r *request) {
					r.Key, r.BareKey, r.By, r.TSA = key, true, w.by, true
					f.change(r)
				})
				b, err := ParseBundle(inst.Sign(req))
				if err != nil { // an entry of that kind shows all that its signature is over
					if w.ok {
						t.Errorf("%s, %s, %s: %v", kind, name, form, err)
					}
					continue
				}
				digest, message := b.Message()
				if !message {
					digest = b.Statement().Subjects[0].Digests[0]
				}
				v, err := b.Verify(root, digest, trusted, Options{})
				if (err == nil) != (w.ok && f.ok) {
					t.Errorf("%s, %s, %s: %v", kind, name, form, err)
				}
				if want := map[bool]int{false: 1, true: 2}[form == "in both"]; err == nil &&
					(len(v.Entries) != want || v.KeyID != trusted.ID()) {
					t.Errorf("%s, %s, %s: %+v", kind, name, form, v)
				}
				if want := map[bool]Signed{false: SignedWrong, true: SignedRight}[w.ok]; b.Signed(nil) != want {
					t.Errorf("%s, %s, %s: signed %v", kind, name, form, b.Signed(nil))
				}
			}
		}
	}
}

// TestShownOtherwise: an entry that shows the digest of something else is none of the statement.
func TestShownOtherwise(t *testing.T) {
	inst := sigstoretest.New(t)
	root, err := ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(statement []byte) *Bundle {
		b, err := ParseBundle(inst.Sign(envelope(func(r *request) {
			r.Statement, r.Key, r.BareKey, r.Hashed = statement, key, true, true
		})))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, other := sign(statementOf(goodSubject)), sign(append(statementOf(goodSubject), ' '))
	digest := one.Statement().Subjects[0].Digests[0]
	if _, err := one.Verify(root, digest, publicKey(t, key.Public()), Options{}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(){
		"the entry of another statement": func() { one.entries = other.entries },
		"the signature of another": func() {
			one.form.Envelope.Signatures[0].Sig = other.form.Envelope.Signatures[0].Sig
		},
	} {
		one = sign(statementOf(goodSubject))
		change()
		if _, err := one.Verify(root, digest, publicKey(t, key.Public()), Options{}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	// A certificate for such a key is shown as an envelope, and in no other way.
	for hashed, want := range map[bool]policy.Reason{false: "", true: policy.LogInvalid} {
		req := envelope(func(r *request) { r.Key, r.Hashed = key, hashed })
		if !hashed {
			req.Log, req.TSA = sigstoretest.LogV2, true
		}
		if _, reason := judgeBundle(t, inst.Sign(req), inst.Root(roots{}), sha(artifact), Options{}); reason != want {
			t.Errorf("a certificate, hashed %v: %q", hashed, reason)
		}
	}
}

// TestUnknownAlgorithm: what is signed by an algorithm that nobody here knows is for a newer program.
func TestUnknownAlgorithm(t *testing.T) {
	inst := sigstoretest.New(t)
	good := v2(nil)
	entry := func(from, to string) request {
		return v2(func(b *bundlep) {
			e := b.VerificationMaterial.TlogEntries[0]
			e.CanonicalizedBody = bytes.Replace(e.CanonicalizedBody, []byte(from), []byte(to), 1)
		})
	}
	oid := func(last byte) []byte { // of ML-DSA, or of what is known to be weak
		return []byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, last}
	}
	certificate := func(algorithm []byte, size int) request {
		return v2(func(b *bundlep) {
			c := b.VerificationMaterial.GetCertificate()
			cert, err := x509.ParseCertificate(c.RawBytes)
			if err != nil {
				t.Fatal(err)
			}
			var info struct {
				Algorithm struct{ OID asn1.RawValue }
				Key       asn1.BitString
			}
			info.Algorithm.OID.FullBytes = algorithm
			info.Key = asn1.BitString{Bytes: make([]byte, size), BitLength: 8 * size}
			key, err := asn1.Marshal(info)
			if err != nil {
				t.Fatal(err)
			}
			c.RawBytes = recertify(t, cert, key)
		})
	}
	for name, c := range map[string]struct {
		req  request
		want policy.Reason
	}{
		"known":                      {good, ""},
		"a log entry":                {entry("PKIX_ECDSA_P256_SHA_256", "ML_DSA_44_PH"), policy.NeedsNewerVersion},
		"a name that is known":       {entry("PKIX_ECDSA_P256_SHA_256", "ML_DSA_65"), policy.LogFields},
		"another one of today":       {entry("PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P384_SHA_384"), policy.LogFields},
		"no name":                    {entry("PKIX_ECDSA_P256_SHA_256", ""), policy.BundleInvalid},
		"a certificate":              {certificate(oid(99), 99), policy.NeedsNewerVersion},
		"one that the library reads": {certificate(oid(18), 1952), policy.NeedsNewerVersion}, // ML-DSA-65
		"one cut short":              {certificate(oid(18), 99), policy.CertificateBad},
		"a certificate of X25519":    {certificate([]byte{6, 3, 0x2b, 0x65, 110}, 99), policy.CertificateBad},
		"a certificate without one":  {certificate([]byte{6, 1, 0}, 99), policy.NeedsNewerVersion},
	} {
		if _, reason := judgeBundle(t, inst.Sign(c.req), inst.Root(roots{}), sha(artifact), Options{}); reason != c.want {
			t.Errorf("%s: %q, not %q", name, reason, c.want)
		}
	}
}

// recertify returns a certificate for another key, which nobody signed.
func recertify(t testing.TB, cert *x509.Certificate, key []byte) []byte {
	t.Helper()
	var inner asn1.RawValue
	if _, err := asn1.Unmarshal(cert.RawTBSCertificate, &inner); err != nil {
		t.Fatal(err)
	}
	content := bytes.Replace(inner.Bytes, cert.RawSubjectPublicKeyInfo, key, 1)
	tbs, err := asn1.Marshal(
		asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: content},
	)
	if err != nil {
		t.Fatal(err)
	}
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(cert.Raw, &outer); err != nil {
		t.Fatal(err)
	}
	rest := outer.Bytes[len(cert.RawTBSCertificate):]
	out, err := asn1.Marshal(
		asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: append(tbs, rest...)},
	)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
