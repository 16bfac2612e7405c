// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

const corporate = "alice@acme.example"

// company is a Sigstore instance whose root names an organisation's certificate authorities.
type company struct {
	inst         *sigstoretest.Instance
	ca, issuing  *pkitest.CA
	plain, known *Root // without and with the authorities
}

// newCompany returns one whose lists of revoked certificates have those entries.
func newCompany(t *testing.T) *company {
	t.Helper()
	c := &company{inst: sigstoretest.New(t)}
	c.ca = pkitest.New(t, "Acme root", sigstoretest.Now.AddDate(-1, 0, 0))
	c.issuing = c.ca.Below("Acme issuing")
	var err error
	if c.plain, err = ParseRoot("test", c.inst.Root(sigstoretest.RootOptions{})); err != nil {
		t.Fatal(err)
	}
	c.known = c.under(t, c.plain, c.lists())
	return c
}

func (c *company) lists(revoked ...x509.RevocationListEntry) map[string][]byte {
	made := sigstoretest.Now.AddDate(0, 0, 1)
	return map[string][]byte{"root.crl": c.ca.CRL(made), "issuing.crl": c.issuing.CRL(made, revoked...)}
}

// under returns the root with the authorities, two days later.
func (c *company) under(t *testing.T, r *Root, lists map[string][]byte) *Root {
	t.Helper()
	all, err := pki.Parse(pkitest.Document(pkitest.Named(
		"pki:acme", []*x509.Certificate{c.ca.Cert, c.issuing.Cert}, "root.crl", "issuing.crl")))
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.WithPKI(all.Current(sigstoretest.Now.AddDate(0, 0, 2), func(target string) ([]byte, error) {
		data, ok := lists[strings.TrimPrefix(target, pki.CRLTargets)]
		if !ok {
			return nil, errors.New("not listed")
		}
		return data, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign has a certificate of the organisation sign.
func (c *company) sign(t *testing.T, cert *x509.Certificate, r request) *Bundle {
	t.Helper()
	r.Certificate = cert.Raw
	b, err := ParseBundle(c.inst.Sign(r))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// digestOf is what a bundle is verified over.
func digestOf(b *Bundle) policy.Digest {
	if d, ok := b.Message(); ok {
		return d
	}
	return b.Statement().Subjects[0].Digests[0]
}

// TestPKI: certificates of an authority that the root names count with every key and log, under
// its issuer, and under no other root.
func TestPKI(t *testing.T) {
	c := newCompany(t)
	for kind, key := range bareKeys(t) {
		plain := kind == "ECDSA P-256" || strings.HasPrefix(kind, "RSA") // Rekor v1 shows its envelopes
		cert := c.issuing.Leaf(key.Public(), corporate)
		for name, r := range map[string]request{
			"a file":             message(nil),
			"a file in v2":       v2(nil),
			"a statement":        envelope(func(r *request) { r.Hashed = !plain }),
			"a statement in v2":  envelope(func(r *request) { r.Log, r.TSA = sigstoretest.LogV2, true }),
			"a file in no log":   message(func(r *request) { r.Log, r.TSA = sigstoretest.LogNone, true }),
			"a file in both":     message(func(r *request) { r.Log, r.TSA = sigstoretest.LogBoth, true }),
			"shown as something": envelope(func(r *request) { r.Hashed = plain }),
		} {
			r.Key = key
			if kind == "Ed25519" && r.Statement != nil {
				continue // the instance's log shows none
			}
			b := c.sign(t, cert, r)
			want := policy.Reason("")
			switch {
			case kind == "Ed25519":
				want = policy.CertificateBad
			case name == "shown as something":
				want = policy.LogInvalid
			}
			v, err := b.Verify(c.known, digestOf(b), nil, Options{Unlogged: name == "a file in no log"})
			if want == "" {
				if err != nil {
					t.Errorf("%s, %s: %v", kind, name, err)
					continue
				}
				if id := (policy.Identity{Kind: policy.KindEmail, Value: corporate, Issuer: "pki:acme"}); v.Signer != id ||
					b.SignerUnder(c.known) != id {
					t.Errorf("%s, %s: %+v", kind, name, v.Signer)
				}
				if !v.NotBefore.IsZero() || !v.NotAfter.IsZero() {
					t.Errorf("%s, %s: when it was certified orders logs", kind, name)
				}
			} else if err == nil || reasonOf(t, err) != want {
				t.Errorf("%s, %s: %v, want %s", kind, name, err, want)
			}
			if id := b.SignerUnder(c.plain); id.Issuer != "" || b.NamesIssuer() {
				t.Errorf("%s, %s: under a root that knows nothing of it the issuer is %q", kind, name, id.Issuer)
			}
			if _, err := b.Verify(c.plain, digestOf(b), nil, Options{Unlogged: true}); err == nil {
				t.Errorf("%s, %s: a root that knows nothing of it takes it", kind, name)
			}
		}
	}
}

// TestPKIRefused: what makes a signature by such a certificate count for nothing.
func TestPKIRefused(t *testing.T) {
	c := newCompany(t)
	key := pkitest.Key(t, elliptic.P256())
	cert := c.issuing.Leaf(key.Public(), corporate)
	p384 := pkitest.Key(t, elliptic.P384())
	liar := pkitest.New(t, "Acme issuing", c.ca.Begin)
	sha256By384 := func(m []byte) []byte {
		sum := sha256.Sum256(m)
		sig, err := p384.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	for name, x := range map[string]struct {
		cert  *x509.Certificate
		req   request
		lists map[string][]byte
		opt   Options
		want  policy.Reason
	}{
		"without a time": {
			cert, message(func(r *request) { r.Log = sigstoretest.LogV2 }), nil, Options{Unlogged: true}, policy.TimeInvalid,
		},
		"in no log": {
			cert, message(func(r *request) { r.Log, r.TSA = sigstoretest.LogNone, true }), nil, Options{}, policy.NotLogged,
		},
		"before it begins": {
			cert, message(func(r *request) { r.At = c.ca.Begin.AddDate(0, 0, -1) }), nil, Options{}, policy.TimeInvalid,
		},
		"stamped after it": {
			cert, message(func(r *request) { r.TSA, r.TSAAt = true, c.ca.Begin.AddDate(3, 0, 0) }), nil, Options{},
			policy.TimeInvalid,
		},
		"by another key":      {c.issuing.Leaf(p384.Public(), corporate), message(nil), nil, Options{}, ""},
		"by one of that name": {liar.Leaf(key.Public(), corporate), message(nil), nil, Options{}, policy.CertificateChain},
		"another domain": {
			c.issuing.Leaf(key.Public(), "alice@b.example"), message(nil), nil, Options{}, policy.CertificateBad,
		},
		"a usage that is none": {
			c.issuing.Leaf(key.Public(), corporate, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }),
			message(nil), nil, Options{}, policy.CertificateBad,
		},
		"an issuer of its own": {
			c.issuing.Leaf(key.Public(), corporate, func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, sigstoretest.Extension(8, "https://accounts.google.com"))
			}), message(nil), nil, Options{}, policy.CertificateBad,
		},
		"revoked": {
			cert, message(nil), c.lists(pkitest.Revoked(cert, sigstoretest.Now, 4)), Options{}, policy.CertificateRevoked,
		},
		"stolen": {
			cert, message(nil), c.lists(pkitest.Revoked(cert, sigstoretest.Now.AddDate(0, 0, 1), 1)), Options{},
			policy.CertificateRevoked,
		},
		"no lists":            {cert, message(nil), map[string][]byte{}, Options{}, policy.RevocationUnknown},
		"revoked for another": {cert, message(nil), c.lists(pkitest.Revoked(c.ca.Cert, sigstoretest.Now, 1)), Options{}, ""},
		"a hash that is not the key's": {
			c.issuing.Leaf(p384.Public(), corporate),
			envelope(func(r *request) { r.Key, r.By, r.Log, r.TSA = p384, sha256By384, sigstoretest.LogNone, true }), nil,
			Options{Unlogged: true}, policy.SignatureInvalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if x.req.Key == nil {
				x.req.Key = key
			}
			root := c.known
			if x.lists != nil {
				root = c.under(t, c.plain, x.lists)
			}
			x.req.Certificate = x.cert.Raw
			b, err := ParseBundle(c.inst.Sign(x.req))
			if err == nil {
				_, err = b.Verify(root, digestOf(b), nil, x.opt)
			}
			if name == "by another key" {
				if err == nil {
					t.Error("taken")
				}
				return
			}
			if x.want == "" && err != nil || x.want != "" && (err == nil || reasonOf(t, err) != x.want) {
				t.Errorf("got %v, want %s", err, x.want)
			}
			doubt := x.want == policy.CertificateRevoked || x.want == policy.RevocationUnknown
			but := Doubted(err)
			if (but != nil) != doubt || but != nil && (but.Signer.Issuer != "pki:acme" || len(but.Entries) != 1) {
				t.Errorf("in doubt: %+v", but)
			}
		})
	}
}

// TestDoubtVerifies: only what verifies in every other way is in doubt.
func TestDoubtVerifies(t *testing.T) {
	c := newCompany(t)
	key := pkitest.Key(t, elliptic.P256())
	cert := c.issuing.Leaf(key.Public(), corporate)
	root := c.under(t, c.plain, nil)
	for name, change := range map[string]func(*request){
		"another's signature": func(r *request) { r.Key = pkitest.Key(t, elliptic.P256()) },
		"no log entry":        func(r *request) { r.Log, r.TSA = sigstoretest.LogNone, true },
		"outside the window":  func(r *request) { r.At = c.ca.Begin.AddDate(-1, 0, 0) },
		"a changed signature": func(r *request) {
			r.Mutate = func(b *bundlep) { b.GetMessageSignature().Signature[9] ^= 1 }
		},
	} {
		req := v2(nil)
		req.Key = key
		change(&req)
		b := c.sign(t, cert, req)
		_, err := b.Verify(root, digestOf(b), nil, Options{})
		if err == nil || Doubted(err) != nil {
			t.Errorf("%s: %v is a doubt", name, err)
		}
	}
}

// TestFulcioIsNoPKI: a certificate of Fulcio never has an issuer of another authority, and no key
// is of both.
func TestFulcioIsNoPKI(t *testing.T) {
	c := newCompany(t)
	data := c.inst.Sign(message(func(r *request) { r.Issuer = "pki:acme" }))
	if b, err := ParseBundle(data); err == nil {
		t.Errorf("Fulcio's word for pki:acme is read: %+v", b.Signer())
	}
	for _, ca := range c.plain.cas {
		for _, i := range ca.issuers {
			if len(i.cert.RawIssuer) == 0 || string(i.cert.RawIssuer) != string(i.cert.RawSubject) {
				continue
			}
			all, err := pki.Parse(pkitest.Document(pkitest.Named("pki:acme", []*x509.Certificate{i.cert})))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.plain.WithPKI(all); err == nil || reasonOf(t, err) != policy.TrustRootInvalid {
				t.Errorf("Fulcio's own root is another authority, too: %v", err)
			}
		}
	}
	if !c.known.Shares(c.known) || c.known.Shares(c.plain) != c.plain.Shares(c.known) {
		t.Error("roots with one authority do not share it")
	}
	stranger, err := ParseRoot("stranger", sigstoretest.New(t).Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	if other := c.under(t, stranger, c.lists()); !other.Shares(c.known) || other.Shares(c.plain) {
		t.Error("two roots with one authority of an organisation are two")
	}
	// Who reads a log takes no binding of such a certificate.
	key := pkitest.Key(t, elliptic.P256())
	if c.known.certified(c.issuing.Leaf(key.Public(), "https://acme.example/ci"), sigstoretest.Now) == nil {
		t.Error("a certificate without transparency binds")
	}
	if !keys.Same(key.Public(), key.Public()) || keys.Same(key.Public(), c.ca.Key.Public()) ||
		keys.Same(asn1.NullRawValue, 1) {
		t.Error("keys.Same")
	}
}

// TestLongLived: one certificate signs for two years, at each of its moments.
func TestLongLived(t *testing.T) {
	c := newCompany(t)
	key := pkitest.Key(t, elliptic.P256())
	cert := c.issuing.Leaf(key.Public(), corporate)
	for _, at := range []time.Time{c.ca.Begin, c.ca.Begin.AddDate(1, 0, 0), c.ca.Begin.AddDate(2, 0, 0)} {
		b := c.sign(t, cert, message(func(r *request) { r.Key, r.At = key, at }))
		if _, err := b.Verify(c.known, digestOf(b), nil, Options{}); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}
