// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/keys"
	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/policy"
)

// FuzzParse: whatever is taken is of authorities that have nothing in common, each with a root,
// and says nothing twice; a document that is taken is valid JSON.
func FuzzParse(f *testing.F) {
	ca := pkitest.New(f, "root", begin)
	a := pkitest.Named("pki:acme", certs{ca.Cert, ca.Below("issuing").Cert}, "root.crl", "issuing.crl")
	f.Add(pkitest.Document(a))
	f.Add(pkitest.Document(a, pkitest.Named("pki:b", certs{pkitest.New(f, "b", begin).Cert})))
	f.Add(pkitest.Document(a, pkitest.Named("pki:b", certs{ca.Renewed(signing).Cert})))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := Parse(data)
		if (err == nil) != (all != nil) {
			t.Fatal("a document with an error, or nothing without one")
		}
		if err != nil {
			return
		}
		if !json.Valid(data) || !bytes.Equal(all.Bytes(), data) {
			t.Fatal("not the document")
		}
		seen := map[string]string{}
		for _, a := range all.All() {
			if !strings.HasPrefix(a.Issuer, "pki:") || seen[a.Issuer] != "" || a.roots == 0 {
				t.Fatalf("issuer %q, %d roots", a.Issuer, a.roots)
			}
			seen[a.Issuer] = "issuer"
			for _, c := range a.Certificates() {
				if key := string(c.RawSubjectPublicKeyInfo); seen[key] != "" && seen[key] != a.Issuer {
					t.Fatal("a key of two authorities")
				} else {
					seen[key] = a.Issuer
				}
				if all.Of(c) != a {
					t.Fatal("a certificate of another authority")
				}
			}
			if a.unrevoked != (len(a.CRLs()) == 0) {
				t.Fatal("lists that nobody reads, or none")
			}
		}
	})
}

// FuzzList: a list that counts is signed as a whole by the authority and is current, and no entry
// is lost.
func FuzzList(f *testing.F) {
	ca := pkitest.New(f, "root", begin)
	leaf := ca.Leaf(pkitest.Key(f, elliptic.P256()).Public(), "alice@acme.example")
	made := now.AddDate(0, 0, -1)
	f.Add(ca.CRL(made))
	f.Add(ca.CRL(made, pkitest.Revoked(leaf, made, 1, begin), pkitest.Revoked(ca.Cert, made, 4)))
	f.Add(ca.CRL(begin))
	f.Add(pkitest.New(f, "root", begin).CRL(made))
	all, err := Parse(pkitest.Document(pkitest.Named("pki:acme", certs{ca.Cert}, "root.crl")))
	if err != nil {
		f.Fatal(err)
	}
	a := all.All()[0]
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := a.readList(data, now)
		if (err == nil) != (l != nil) {
			t.Fatal("a list with an error, or nothing without one")
		}
		if err != nil {
			return
		}
		rl, err := parseList(data)
		if err != nil || rl.CheckSignatureFrom(ca.Cert) != nil || rl.NextUpdate.Before(now) ||
			!keys.Same(l.key, ca.Cert.PublicKey) {
			t.Fatalf("it counts: %v", err)
		}
		n := 0
		for _, e := range l.entries {
			n += len(e)
		}
		if n != len(rl.RevokedCertificateEntries) {
			t.Fatalf("%d entries of %d", n, len(rl.RevokedCertificateEntries))
		}
	})
}

// FuzzConstraints: constraints that are taken are all applied: they are on names of types that
// crypto/x509 reads, each alone in its subtree.
func FuzzConstraints(f *testing.F) {
	for _, tag := range []int{0, 1, 2, 4, 6, 7, 8} {
		c := &x509.Certificate{}
		constraints(true, tag, []byte("acme.example"))(c)
		f.Add(c.ExtraExtensions[0].Value)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		if checkConstraints(der) != nil {
			return
		}
		type subtree struct{ Base asn1.RawValue }
		var all struct {
			Permitted []subtree `asn1:"optional,tag:0"`
			Excluded  []subtree `asn1:"optional,tag:1"`
		}
		if rest, err := asn1.Unmarshal(der, &all); err != nil || len(rest) > 0 {
			t.Skip() // which crypto/x509 refuses
		}
		for _, s := range append(all.Permitted, all.Excluded...) {
			if generalNames[s.Base.Tag] == "" || s.Base.Class != asn1.ClassContextSpecific {
				t.Fatalf("names of type %d", s.Base.Tag)
			}
		}
	})
}

// FuzzCovers: a name is covered by a domain only if its host is that domain, or below it.
func FuzzCovers(f *testing.F) {
	for _, s := range []string{
		"alice@acme.example", "alice@eu.acme.example", "alice@evilacme.example", "a@b@acme.example",
		"spiffe://acme.example/x", "https://acme.example:1/x", "https://x@acme.example/", "https://b.example/@acme.example",
		"https://b.example#.acme.example", "https://b.example?acme.example", "x://acme.example\\.b.example/",
	} {
		f.Add(s, strings.Contains(s, "://"))
	}
	a := &Authority{Issuer: "pki:acme", kinds: []policy.Kind{policy.KindEmail, policy.KindURI}, domains: []string{
		"acme.example", ".eu.acme.example",
	}}
	f.Fuzz(func(t *testing.T, name string, uri bool) {
		kind := policy.KindEmail
		if uri {
			kind = policy.KindURI
		}
		if a.covers(kind, name) != nil {
			return
		}
		// Read from the other end.
		lower := strings.ToLower(name)
		if !uri && !strings.HasSuffix(lower, "@acme.example") && !strings.HasSuffix(lower, ".eu.acme.example") {
			t.Fatalf("%q is covered", name)
		}
		if uri {
			_, rest, _ := strings.Cut(lower, "://")
			end := strings.IndexAny(rest, "/?#:")
			if end < 0 {
				end = len(rest)
			}
			if h := rest[:end]; h != "acme.example" && !strings.HasSuffix(h, ".eu.acme.example") {
				t.Fatalf("%q is covered", name)
			}
		}
	})
}

// FuzzIdentity: a certificate that is changed anywhere is nobody's.
func FuzzIdentity(f *testing.F) {
	ca := pkitest.New(f, "root", begin)
	leaf := ca.Leaf(pkitest.Key(f, elliptic.P256()).Public(), "alice@acme.example")
	all, err := Parse(pkitest.Document(pkitest.Named("pki:acme", certs{ca.Cert})))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint(0), byte(1))
	f.Add(uint(len(leaf.RawTBSCertificate)), byte(0x80))
	f.Fuzz(func(t *testing.T, at uint, mask byte) {
		der := bytes.Clone(leaf.Raw)
		der[at%uint(len(der))] ^= mask
		c, err := x509.ParseCertificate(der)
		if err != nil || mask == 0 {
			return
		}
		a := all.Of(c)
		if a == nil {
			return
		}
		if !bytes.Equal(c.RawTBSCertificate, leaf.RawTBSCertificate) {
			t.Fatal("a changed certificate is signed")
		}
		if id, err := a.Identity(c); err != nil || id.Value != "alice@acme.example" {
			t.Fatalf("%v %v", id, err)
		}
		_, _ = a.Paths(c, []time.Time{signing})
	})
}
