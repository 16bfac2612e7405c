// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

// profileCases are certificates that the authority issued and that are no
// signer's, or may not be one's.
func profileCases(t testing.TB) map[string]struct {
	change func(*request)
	reason policy.Reason
} {
	usage := func(f func(*x509.Certificate)) func(*request) { return func(r *request) { r.Template = f } }
	type c = struct {
		change func(*request)
		reason policy.Reason
	}
	return map[string]c{
		"as it should be": {func(*request) {}, ""},
		"CA:FALSE":        {usage(func(c *x509.Certificate) { c.BasicConstraintsValid = true }), ""},
		"CA:TRUE": {
			usage(func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }), policy.CertificateBad,
		},
		"CA:TRUE, pathlen 0": {usage(func(c *x509.Certificate) {
			c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero = true, true, true
		}), policy.CertificateBad},
		"no key usage": {usage(func(c *x509.Certificate) { c.KeyUsage = 0 }), policy.CertificateBad},
		"key encipherment": {
			usage(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), policy.CertificateBad,
		},
		"certificates may be signed": {
			usage(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), policy.CertificateBad,
		},
		"revocations may be signed": {
			usage(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }), policy.CertificateBad,
		},
		"no extended key usage": {
			usage(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), policy.CertificateBad,
		},
		"any extended key usage": {
			usage(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), policy.CertificateBad,
		},
		"a server's": {
			usage(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
			policy.CertificateBad,
		},
		"a time stamper's": {
			usage(func(c *x509.Certificate) { c.ExtKeyUsage = timeStamping }), policy.CertificateBad,
		},
		"code signing and any": {
			usage(func(c *x509.Certificate) { c.ExtKeyUsage = append(codeSigning, x509.ExtKeyUsageAny) }), policy.CertificateBad,
		},
		"code signing and a usage nobody knows": {
			usage(func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }),
			policy.CertificateBad,
		},
		"a critical extension": {func(r *request) {
			r.Extra = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, policy.CertificateBad},
		"a precertificate": {func(r *request) {
			r.Extra = []pkix.Extension{
				{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0}},
			}
		}, policy.CertificateBad},
		"two names": {
			func(r *request) { r.RawSAN = sigstoretest.SAN(r.SAN, "https://github.com/acme/other") }, policy.CertificateBad,
		},
		"no name": {func(r *request) { r.RawSAN = sigstoretest.SAN() }, policy.CertificateBad},
		"an otherName": {
			func(r *request) { r.RawSAN = sigstoretest.OtherName(sigstoretest.FulcioOID(7), "alice!example.com") }, "",
		},
		"another's certificate":   {func(r *request) { r.SelfSigned = true }, policy.CertificateChain},
		"a certificate by nobody": {func(r *request) { r.Issue = sigstoretest.New(t) }, policy.CertificateChain},
	}
}

// TestCertificateProfile: whichever way a certificate is looked at, and however
// the path above it is built, it has to be a signer's (Fulcio's certificate
// specification).
func TestCertificateProfile(t *testing.T) {
	for name, inst := range map[string]*sigstoretest.Instance{
		"usual": sigstoretest.New(t),
		// Names that nobody has are forbidden: the library builds the path.
		"constrained": sigstoretest.NewWith(t, sigstoretest.Authority{
			Issuer: func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"example"} },
		}),
		// The middle certificate is younger than the two around it: so it does here.
		"unusual": sigstoretest.NewWith(t, sigstoretest.Authority{
			Middle: func(c *x509.Certificate) { c.NotBefore = sigstoretest.Now.AddDate(0, -1, 0) },
		}),
		"longer": sigstoretest.NewWith(t, sigstoretest.Authority{Middle: func(*x509.Certificate) {}}),
	} {
		r, err := ParseRoot("test", inst.Root(roots{}))
		if err != nil {
			t.Fatal(err)
		}
		for what, c := range profileCases(t) {
			t.Run(name+", "+what, func(t *testing.T) {
				for way, got := range everyWay(t, inst, r, c.change) {
					if got != c.reason {
						t.Errorf("%s: got %q, want %q", way, got, c.reason)
					}
				}
			})
		}
	}
}

// everyWay verifies a certificate in each of the ways in which one comes here, and
// returns the reasons of the refusals.
func everyWay(t *testing.T, inst *sigstoretest.Instance, r *Root, change func(*request)) map[string]policy.Reason {
	t.Helper()
	out := map[string]policy.Reason{}
	reason := func(err error) policy.Reason {
		if err == nil {
			return ""
		}
		return reasonOf(t, err)
	}
	verified := func(req request, o Options) policy.Reason {
		change(&req)
		b, err := ParseBundle(inst.Sign(req))
		if err == nil {
			_, err = b.Verify(r, sha(artifact), nil, o)
		}
		return reason(err)
	}
	out["message"] = verified(message(nil), Options{})
	out["envelope"] = verified(envelope(nil), Options{})
	out["Rekor v2"] = verified(v2(nil), Options{})
	out["unlogged"] = verified(message(func(r *request) { r.Log, r.TSA = sigstoretest.LogNone, true }), Options{
		Unlogged: true,
	})
	read := func(log sigstoretest.LogKind, f func(*bundlep) error) error {
		req := envelope(func(r *request) { r.Log, r.TSA = log, true })
		change(&req)
		return f(decode(t, inst.Sign(req)))
	}
	for range 2 { // the second time it is remembered
		out["entry of Rekor v1"] = reason(read(sigstoretest.LogV1, func(b *bundlep) error {
			e, err := ParseEntryV1(answeredV1(t, b))
			if err == nil {
				_, err = r.VerifyV1(e)
			}
			return err
		}))
		out["entry of Rekor v2"] = reason(read(sigstoretest.LogV2, func(b *bundlep) error {
			e, err := ParseEntryV2(entry(b).CanonicalizedBody)
			if err == nil {
				_, err = r.VerifyV2("", 0, e)
			}
			return err
		}))
	}
	return out
}

// answeredV1 is the entry of a bundle as Rekor v1 answers it.
func answeredV1(t testing.TB, b *bundlep) []byte {
	t.Helper()
	e := entry(b)
	out, err := json.Marshal(map[string]any{
		"body": e.CanonicalizedBody, "integratedTime": e.IntegratedTime, "logID": hex.EncodeToString(e.LogId.KeyId),
		"logIndex":     e.LogIndex,
		"verification": map[string]any{"signedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestProfileFields: what no authority can be made to issue here.
func TestProfileFields(t *testing.T) {
	b, err := ParseBundle(sigstoretest.New(t).Sign(message(nil)))
	if err != nil {
		t.Fatal(err)
	}
	large, small := *rsaKey(t, 2048), *rsaKey(t, 2048)
	largest := *rsaKey(t, 2048)
	largest.N.Lsh(largest.N, 2048).SetBit(largest.N, 0, 1) // no keys, but as long as some
	large.N.Lsh(large.N, 2049).SetBit(large.N, 0, 1)
	small.N.Rsh(small.N, 1)
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	even := *rsaKey(t, 2048)
	even.N.SetBit(even.N, 0, 0)
	exponent := *rsaKey(t, 2048)
	exponent.E = 3
	for name, c := range map[string]struct {
		f  func(*x509.Certificate)
		ok bool
	}{
		"as it is":               {func(*x509.Certificate) {}, true},
		"RSA":                    {func(c *x509.Certificate) { c.PublicKey = rsaKey(t, 2048) }, true},
		"version 1":              {func(c *x509.Certificate) { c.Version = 1 }, false},
		"version 2":              {func(c *x509.Certificate) { c.Version = 2 }, false},
		"RSA with exponent 3":    {func(c *x509.Certificate) { c.PublicKey = &exponent }, false},
		"RSA, as long as may be": {func(c *x509.Certificate) { c.PublicKey = &largest }, true},
		"RSA, too long":          {func(c *x509.Certificate) { c.PublicKey = &large }, false},
		"RSA, even":              {func(c *x509.Certificate) { c.PublicKey = &even }, false},
		"Ed25519 of small order": {func(c *x509.Certificate) { c.PublicKey = make(ed25519.PublicKey, 32) }, false},
		"RSA, too short":         {func(c *x509.Certificate) { c.PublicKey = &small }, false},
		"a weak curve":           {func(c *x509.Certificate) { c.PublicKey = weak.Public() }, false},
		"a key of another kind":  {func(c *x509.Certificate) { c.PublicKey = "key" }, false},
		"an unread name": {
			func(c *x509.Certificate) { c.UnhandledCriticalExtensions = []asn1.ObjectIdentifier{oidSAN} }, true,
		},
		"unread constraints": {func(c *x509.Certificate) {
			c.UnhandledCriticalExtensions = []asn1.ObjectIdentifier{oidSAN, {2, 5, 29, 30}}
		}, false},
		"the name stands thrice": {func(c *x509.Certificate) { c.Extensions = append(c.Extensions, c.Extensions...) }, false},
	} {
		cert := *b.leaf
		cert.Extensions = append([]pkix.Extension{}, b.leaf.Extensions...)
		c.f(&cert)
		if err := checkProfile(&cert); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func rsaKey(t testing.TB, bits int) *rsa.PublicKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return &k.PublicKey
}

// TestPath changes one thing at a time on the path from a signer to the root.
func TestPath(t *testing.T) {
	now := sigstoretest.Now
	inst := sigstoretest.NewWith(t, sigstoretest.Authority{Middle: func(*x509.Certificate) {}})
	r, err := ParseRoot("test", inst.Root(roots{}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseBundle(inst.Sign(message(nil)))
	if err != nil {
		t.Fatal(err)
	}
	good, refused := r.issued(b.leaf, now)
	if refused != nil || len(good) != 4 {
		t.Fatalf("%d certificates, %v", len(good), refused)
	}
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f  func(leaf, issuer, middle, root *x509.Certificate)
		at time.Time
		ok bool
	}{
		"as it is":                {ok: true},
		"at the leaf's beginning": {at: b.leaf.NotBefore, ok: true},
		"at the leaf's end":       {at: b.leaf.NotAfter, ok: true},
		"before the leaf":         {at: b.leaf.NotBefore.Add(-time.Second)},
		"after the leaf":          {at: b.leaf.NotAfter.Add(time.Second)},
		"before the issuer":       {f: func(_, i, _, _ *x509.Certificate) { i.NotBefore = now.Add(time.Second) }},
		"after the middle":        {f: func(_, _, m, _ *x509.Certificate) { m.NotAfter = now.Add(-time.Second) }},
		"after the root":          {f: func(_, _, _, r *x509.Certificate) { r.NotAfter = now.Add(-time.Second) }},
		"signed with SHA-1": {
			f: func(l, _, _, _ *x509.Certificate) { l.SignatureAlgorithm = x509.ECDSAWithSHA1 },
		},
		"the issuer signed with SHA-1": {
			f: func(_, i, _, _ *x509.Certificate) { i.SignatureAlgorithm = x509.SHA1WithRSA },
		},
		"the issuer is no CA":       {f: func(_, i, _, _ *x509.Certificate) { i.IsCA = false }},
		"the middle is no CA":       {f: func(_, _, m, _ *x509.Certificate) { m.IsCA = false }},
		"constraints are not valid": {f: func(_, i, _, _ *x509.Certificate) { i.BasicConstraintsValid = false }},
		"the root is of version 1":  {f: func(_, _, _, r *x509.Certificate) { r.Version = 1 }},
		"the issuer signs no certificates": {
			f: func(_, i, _, _ *x509.Certificate) { i.KeyUsage = x509.KeyUsageDigitalSignature },
		},
		"the root has no key usage":   {f: func(_, _, _, r *x509.Certificate) { r.KeyUsage = 0 }},
		"a path length that suffices": {f: func(_, _, m, _ *x509.Certificate) { m.MaxPathLen = 1 }, ok: true},
		"a path length that does not": {f: func(_, _, m, _ *x509.Certificate) { m.MaxPathLen, m.MaxPathLenZero = 0, true }},
		"a root's that does not":      {f: func(_, _, _, r *x509.Certificate) { r.MaxPathLen = 1 }},
		"a root's that suffices":      {f: func(_, _, _, r *x509.Certificate) { r.MaxPathLen = 2 }, ok: true},
		"a critical extension": {
			f: func(_, _, m, _ *x509.Certificate) { m.UnhandledCriticalExtensions = []asn1.ObjectIdentifier{{1, 2, 3}} },
		},
		"the issuer is for stamps": {f: func(_, i, _, _ *x509.Certificate) { i.ExtKeyUsage = timeStamping }},
		"the issuer is for any usage": {
			f: func(_, i, _, _ *x509.Certificate) { i.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
		},
		"the issuer is for what nobody knows": {f: func(_, i, _, _ *x509.Certificate) {
			i.ExtKeyUsage, i.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
		}},
		"the issuer is for anything": {f: func(_, i, _, _ *x509.Certificate) { i.ExtKeyUsage = nil }, ok: true},
		"the issuer's key is weak":   {f: func(_, i, _, _ *x509.Certificate) { i.PublicKey = weak.Public() }},
		"the leaf names another":     {f: func(l, _, _, _ *x509.Certificate) { l.RawIssuer = []byte{0x30, 0} }},
		"the issuer names another":   {f: func(_, i, _, _ *x509.Certificate) { i.RawIssuer = []byte{0x30, 0} }},
		"the root has another name":  {f: func(_, _, _, r *x509.Certificate) { r.RawSubject = []byte{0x30, 0} }},
	} {
		var path []*x509.Certificate
		for _, c := range good {
			clone := *c
			path = append(path, &clone)
		}
		if c.f != nil {
			c.f(path[0], path[1], path[2], path[3])
		}
		if c.at.IsZero() {
			c.at = now
		}
		if err := pki.CheckPath(path, c.at); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := pki.CheckPath(good[2:], now); err != nil {
		t.Errorf("the root alone above: %v", err)
	}
	if pki.CheckPath(good[:1], now) == nil || pki.CheckPath(nil, now) == nil {
		t.Error("a path of nothing")
	}
}

// TestAuthorities: an authority whose own certificates are not as they must be
// has issued nothing.
func TestAuthorities(t *testing.T) {
	now := sigstoretest.Now
	for name, c := range map[string]struct {
		a  sigstoretest.Authority
		ok bool
	}{
		"as it should be":      {ok: true},
		"with another between": {sigstoretest.Authority{Middle: func(*x509.Certificate) {}}, true},
		"the middle's path length is 0": {
			sigstoretest.Authority{Middle: func(c *x509.Certificate) { c.MaxPathLenZero = true }}, false,
		},
		"the root's path length is 0": {
			sigstoretest.Authority{Root: func(c *x509.Certificate) { c.MaxPathLenZero = true }}, false,
		},
		"the root's is 1": {sigstoretest.Authority{Root: func(c *x509.Certificate) { c.MaxPathLen = 1 }}, true},
		"the issuer's key usage": {
			sigstoretest.Authority{Issuer: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }}, false,
		},
		"no key usage": {sigstoretest.Authority{Issuer: func(c *x509.Certificate) { c.KeyUsage = 0 }}, false},
		"the issuer is for stamps": {
			sigstoretest.Authority{Issuer: func(c *x509.Certificate) { c.ExtKeyUsage = timeStamping }}, false,
		},
		"the middle is for stamps": {
			sigstoretest.Authority{Middle: func(c *x509.Certificate) { c.ExtKeyUsage = timeStamping }}, false,
		},
		"the root is for stamps": {
			sigstoretest.Authority{Root: func(c *x509.Certificate) { c.ExtKeyUsage = timeStamping }}, false,
		},
		"the issuer ended": {
			sigstoretest.Authority{Issuer: func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) }}, false,
		},
		"the middle begins later": {
			sigstoretest.Authority{Middle: func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }}, false,
		},
		"names are permitted": {
			sigstoretest.Authority{Issuer: func(c *x509.Certificate) { c.PermittedURIDomains = []string{"github.com"} }}, true,
		},
		"other names are permitted": {
			sigstoretest.Authority{Issuer: func(c *x509.Certificate) { c.PermittedURIDomains = []string{"example.com"} }}, false,
		},
		"the name is excluded": {
			sigstoretest.Authority{Root: func(c *x509.Certificate) { c.ExcludedURIDomains = []string{"github.com"} }}, false,
		},
	} {
		inst := sigstoretest.NewWith(t, c.a)
		r, err := ParseRoot("test", inst.Root(roots{}))
		if err != nil {
			t.Fatal(err)
		}
		for way, reason := range everyWay(t, inst, r, func(*request) {}) {
			if c.ok != (reason == "") || !c.ok && reason != policy.CertificateChain {
				t.Errorf("%s: %s: %q", name, way, reason)
			}
		}
	}
	r := &Root{}
	b, err := ParseBundle(sigstoretest.New(t).Sign(message(nil)))
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, refused := r.issued(b.leaf, now); !errors.As(error(refused), &e) || e.Reason != policy.CertificateChain {
		t.Errorf("a root without authorities: %v", refused)
	}
}
