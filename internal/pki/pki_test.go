// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/policy"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// now is when lists are judged, signing when something was signed.
var now, signing = begin.AddDate(0, 6, 0), begin.AddDate(0, 3, 0)

type certs = []*x509.Certificate

// constraints returns an extension with permitted subtrees of one general name, and what follows it.
func constraints(critical bool, tag int, value []byte, after ...byte) func(*x509.Certificate) {
	der := func(class, tag int, compound bool, content []byte) []byte {
		out, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: content})
		if err != nil {
			panic(err)
		}
		return out
	}
	base := der(asn1.ClassContextSpecific, tag, tag == 4 || tag == 0, value)
	tree := der(asn1.ClassUniversal, asn1.TagSequence, true, append(base, after...))
	all := der(asn1.ClassUniversal, asn1.TagSequence, true, der(asn1.ClassContextSpecific, 0, true, tree))
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidNameConstraints, Critical: critical, Value: all})
	}
}

func extension(critical bool, id ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: []byte{5, 0}})
	}
}

// TestParse: each fault of a document is said, and none of it is taken.
func TestParse(t *testing.T) {
	ca := pkitest.New(t, "root", begin)
	below := ca.Below("issuing")
	deep := below.Below("deep")
	other, stranger := pkitest.New(t, "other", begin), pkitest.New(t, "stranger", begin)
	good := pkitest.Named("pki:acme", certs{ca.Cert, below.Cert}, "root.crl", "issuing.crl")
	schema, err := jsonschema.NewCompiler().Compile("../../schema/pki-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	chain := func(c ...*x509.Certificate) []byte {
		return pkitest.Document(good.With("certificates", pkitest.PEM(c...)))
	}
	with := func(name string, value any) []byte { return pkitest.Document(good.With(name, value)) }
	for name, c := range map[string]struct {
		data []byte
		want string // "" if it is accepted
		seen bool   // the schema sees the fault, too
	}{
		"good":                {data: pkitest.Document(good)},
		"order means nothing": {data: chain(deep.Cert, below.Cert, ca.Cert)},
		"a renewed root":      {data: chain(ca.Cert, ca.Renewed(signing).Cert, below.Cert)},
		"bounds":              {data: with("since", "2026-01-01T00:00:00Z")},
		"keeps-expired":       {data: with("keeps-expired", true)},
		"a subdomain":         {data: with("domains", []string{".acme.example"})},
		"two authorities":     {data: pkitest.Document(good, pkitest.Named("pki:other", certs{other.Cert}))},
		"not JSON":            {[]byte("{"), "unexpected end", true},
		"too large":           {bytes.Repeat([]byte(" "), MaxBytes+1), "at most", true},
		"another schema": {
			bytes.ReplaceAll(pkitest.Document(good), []byte("pki-v1"), []byte("pki-v2")), "schema", true,
		},
		"no authorities":          {pkitest.Document(), "0 authorities", true},
		"an unknown member":       {with("note", "x"), `"note"`, true},
		"an issuer that is a URL": {with("issuer", "https://acme.example"), "pki:", true},
		"an issuer in upper case": {with("issuer", "pki:Acme"), "lower-case", true},
		"the issuer twice":        {pkitest.Document(good, pkitest.Named("pki:acme", certs{other.Cert})), "twice", false},
		"no names":                {with("names", []string{}), "names", true},
		"user names":              {with("names", []string{"username"}), "email", true},
		"a name twice":            {with("names", []string{"email", "email"}), "twice", true},
		"no domains":              {with("domains", []string{}), "domains", true},
		"a domain with a star":    {with("domains", []string{"*.acme.example"}), "domains", true},
		"a domain in upper case":  {with("domains", []string{"Acme.example"}), "domains", true},
		"a domain twice":          {with("domains", []string{"a.example", "a.example"}), "twice", true},
		"no revocation":           {with("revocation", nil), "revocation", true},
		"revocation by a service": {with("revocation", "ocsp"), "revocation", true},
		"crl without lists":       {with("crls", nil), "0 crls", true},
		"none with lists":         {with("revocation", "none"), "neither crls", true},
		"a list elsewhere":        {with("crls", []string{"../x"}), "crls", true},
		"a hidden list":           {with("crls", []string{".crl"}), "crls", true},
		"a list twice":            {with("crls", []string{"a.crl", "a.crl"}), "twice", true},
		"a list of two": {
			pkitest.Document(good, pkitest.Named("pki:other", certs{other.Cert}, "root.crl")), "twice", false,
		},
		"since is no time":      {with("since", "yesterday"), "since", true},
		"since in another zone": {with("since", "2026-01-01T00:00:00+01:00"), "since", true},
		"until before since": {
			pkitest.Document(good.With("since", "2026-02-01T00:00:00Z").With("until", "2026-01-01T00:00:00Z")), "not before",
			false,
		},
		"no certificates":  {with("certificates", ""), "there are none", true},
		"no PEM":           {with("certificates", "MII"), "PEM", true},
		"something before": {with("certificates", "x\n"+pkitest.PEM(ca.Cert)), "PEM", true},
		"something after":  {with("certificates", pkitest.PEM(ca.Cert)+"x"), "PEM", false},
		"a key": {
			with("certificates", strings.ReplaceAll(pkitest.PEM(ca.Cert), "CERTIFICATE", "PUBLIC KEY")), "PEM block", true,
		},
		"a certificate twice":    {chain(ca.Cert, ca.Cert), "twice", false},
		"no root":                {chain(below.Cert), "none of them is a root", false},
		"two roots":              {chain(ca.Cert, other.Cert), "two roots", false},
		"one that nobody issued": {chain(ca.Cert, stranger.Below("x").Cert), "issued by none", false},
		"a hole":                 {chain(ca.Cert, deep.Cert), "issued by none", false},
		"a key of two authorities": {
			pkitest.Document(good, pkitest.Named("pki:other", certs{ca.Renewed(signing).Cert})), "too: two issuers", false,
		},
		"a signer's certificate": {
			chain(ca.Cert, ca.Leaf(stranger.Key.Public(), "a@acme.example")), "not that of a certificate authority", false,
		},
		"not for certificates": {
			chain(ca.Cert, ca.Below("x", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).Cert),
			"not for signing certificates", false,
		},
		"not for code": {
			chain(ca.Cert, ca.Below("x", func(c *x509.Certificate) {
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}).Cert),
			"not for code", false,
		},
		"an unknown critical": {
			chain(ca.Cert, ca.Below("x", extension(true, 1, 2, 3)).Cert), "critical extension 1.2.3", false,
		},
		"Fulcio's extension": {
			chain(ca.Cert, ca.Below("x", extension(false, 1, 3, 6, 1, 4, 1, 57264, 1, 1)).Cert), "Fulcio's", false,
		},
		"constraints on e-mail": {
			data: chain(ca.Cert, ca.Below("x", constraints(true, 1, []byte("acme.example"))).Cert),
		},
		"constraints on directories": {
			chain(ca.Cert, ca.Below("x", constraints(false, 4, []byte{0x30, 0})).Cert), "names of type 4", false,
		},
		"constraints on user names": {
			chain(ca.Cert, ca.Below("x", constraints(false, 0, []byte{6, 1, 42})).Cert), "names of type 0", false,
		},
		"constraints on numbers": {
			chain(ca.Cert, ca.Below("x", constraints(false, 8, []byte{42})).Cert), "names of type 8", false,
		},
		"constraints with a minimum": {
			chain(ca.Cert, ca.Below("x", constraints(true, 1, []byte("a.example"), 0x80, 1, 1)).Cert), "minimum", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.data)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			v, parsed := jsonschema.UnmarshalJSON(bytes.NewReader(c.data))
			if seen := parsed != nil || schema.Validate(v) != nil; seen != c.seen {
				t.Errorf("the schema sees a fault: %v", seen)
			}
		})
	}
}

// TestSchemaAddress: the document names the schema that is in the repository.
func TestSchemaAddress(t *testing.T) {
	data, err := os.ReadFile("../../schema/pki-v1.json")
	if err != nil || !bytes.Contains(data, []byte(`"$id": "`+schema+`"`)) {
		t.Errorf("%s is not its id (%v)", schema, err)
	}
}

// authorityOf returns an authority by its certificates and lists.
func authorityOf(t *testing.T, a pkitest.Authority, lists map[string][]byte) *Authority {
	t.Helper()
	all, err := Parse(pkitest.Document(a))
	if err != nil {
		t.Fatal(err)
	}
	return all.Current(now, func(target string) ([]byte, error) {
		data, ok := lists[strings.TrimPrefix(target, CRLTargets)]
		if !ok {
			return nil, errors.New("no such target")
		}
		return data, nil
	}).All()[0]
}

func reasonOf(err error) policy.Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	if err != nil {
		return policy.Internal
	}
	return ""
}

// TestLeaf: what a signer's certificate has to be, under the authority that signed it.
func TestLeaf(t *testing.T) {
	key := pkitest.Key(t, elliptic.P256())
	weak := pkitest.Key(t, elliptic.P224())
	ca := pkitest.New(t, "root", begin)
	issuing := ca.Below("issuing", constraints(true, 1, []byte("acme.example")))
	const alice = "alice@acme.example"
	usage := func(u x509.KeyUsage) func(*x509.Certificate) { return func(c *x509.Certificate) { c.KeyUsage = u } }
	extended := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	free := pkitest.Named("pki:acme", certs{ca.Cert, issuing.Cert})
	wide := free.With("domains", []string{"acme.example", ".acme.example", "b.example"})
	for name, c := range map[string]struct {
		in     pkitest.Authority
		by     *pkitest.CA
		name   string
		change func(*x509.Certificate)
		at     time.Time
		want   policy.Reason
		text   string
	}{
		"good":                   {},
		"a URI":                  {name: "spiffe://acme.example/ci", by: ca},
		"a URI with a port":      {name: "https://acme.example:8443/ci", by: ca},
		"another case of a host": {name: "alice@ACME.example"},
		"no extended usage":      {change: extended()},
		"a further usage":        {change: usage(x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment)},
		"below the domain":       {name: "alice@eu.acme.example", by: ca, in: wide},
		"outside the domain":     {name: "alice@b.example", by: ca, want: policy.CertificateBad, text: "b.example"},
		"below a domain": {
			name: "alice@eu.acme.example", by: ca, want: policy.CertificateBad, text: "eu.acme.example",
		},
		"beside a domain": {
			name: "alice@evilacme.example", by: ca, in: wide, want: policy.CertificateBad, text: "evilacme",
		},
		"a URI elsewhere":       {name: "spiffe://b.example/ci", by: ca, want: policy.CertificateBad, text: "b.example"},
		"a domain in user info": {name: "https://acme.example@b.example/", by: ca, want: policy.CertificateBad},
		"the kind is not allowed": {
			name: "spiffe://acme.example/ci", by: ca, in: free.With("names", []string{"email"}), want: policy.CertificateBad,
			text: "kind uri",
		},
		"no name": {
			name: "-", by: ca, change: func(c *x509.Certificate) { c.EmailAddresses = nil }, want: policy.CertificateBad,
			text: "no subject alternative name",
		},
		"two names": {
			change: func(c *x509.Certificate) { c.EmailAddresses = append(c.EmailAddresses, "b@acme.example") },
			want:   policy.CertificateBad, text: "more than one",
		},
		"a DNS name": {
			by: ca, change: func(c *x509.Certificate) { c.EmailAddresses, c.DNSNames = nil, []string{"acme.example"} },
			want: policy.CertificateBad,
		},
		"an address": {
			by: ca, change: func(c *x509.Certificate) { c.EmailAddresses, c.IPAddresses = nil, []net.IP{{1, 2, 3, 4}} },
			want: policy.CertificateBad,
		},
		"constrained away": {name: "alice@b.example", in: wide, want: policy.CertificateChain, text: "constraint"},
		"no digital signatures": {
			change: usage(x509.KeyUsageContentCommitment), want: policy.CertificateBad, text: "digital signatures",
		},
		"no key usage": {change: usage(0), want: policy.CertificateBad, text: "digital signatures"},
		"a certificate authority": {
			change: func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign },
			want:   policy.CertificateBad, text: "certificate authority",
		},
		"signs lists": {
			change: usage(x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign), want: policy.CertificateBad,
			text: "certificate authority",
		},
		"for servers": {
			change: extended(x509.ExtKeyUsageServerAuth), want: policy.CertificateBad, text: "code signing",
		},
		"for anything":         {change: extended(x509.ExtKeyUsageAny), want: policy.CertificateBad, text: "code signing"},
		"for code and e-mail":  {change: extended(x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageCodeSigning)},
		"an unknown critical":  {change: extension(true, 1, 2, 3), want: policy.CertificateBad, text: "1.2.3"},
		"an unknown extension": {change: extension(false, 1, 2, 3)},
		"Fulcio's issuer":      {change: extension(false, 1, 3, 6, 1, 4, 1, 57264, 1, 1), want: policy.CertificateBad},
		"Fulcio's own arc": {
			change: extension(false, 1, 3, 6, 1, 4, 1, 57264, 9), want: policy.CertificateBad, text: "Fulcio's",
		},
		"before it begins": {at: begin.Add(-time.Second), want: policy.CertificateChain},
		"after it ended":   {at: begin.AddDate(3, 0, 0), want: policy.CertificateChain},
		"before since": {
			in: free.With("since", "2026-05-01T00:00:00Z"), want: policy.CertificateChain, text: "before the trust root",
		},
		"at until": {
			in: free.With("until", "2026-04-01T00:00:00Z"), want: policy.CertificateChain, text: "after the trust root",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.in == nil {
				c.in = free
			}
			if c.by == nil {
				c.by = issuing
			}
			if c.name == "" {
				c.name = alice
			}
			if c.at.IsZero() {
				c.at = signing
			}
			var change []func(*x509.Certificate)
			if c.change != nil {
				change = append(change, c.change)
			}
			a := authorityOf(t, c.in, nil)
			leaf := c.by.Leaf(key.Public(), c.name, change...)
			if (&Authorities{list: []*Authority{a}}).Of(leaf) != a {
				t.Fatal("not the authority that signed it")
			}
			_, err := a.Paths(leaf, []time.Time{c.at})
			if got := reasonOf(err); got != c.want || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %s (%v), want %s: %s", got, err, c.want, c.text)
			}
			if id, err := a.Identity(leaf); err == nil && (id.Issuer != "pki:acme" || id.Value != c.name) {
				t.Errorf("the identity is %q by %q", id.Value, id.Issuer)
			}
		})
	}
	a := authorityOf(t, free, nil)
	_, err := a.Paths(issuing.Leaf(weak.Public(), alice), []time.Time{signing})
	if reasonOf(err) != policy.CertificateBad {
		t.Errorf("a weak key: %v", err)
	}
	if _, err := a.Paths(issuing.Leaf(key.Public(), alice), nil); reasonOf(err) != policy.Internal {
		t.Errorf("no time: %v", err)
	}
	both := []time.Time{signing, begin.AddDate(3, 0, 0)}
	if _, err := a.Paths(issuing.Leaf(key.Public(), alice), both); reasonOf(err) != policy.CertificateChain {
		t.Errorf("one of two times is outside: %v", err)
	}
}

// TestOf: whose a certificate is, its signature says, not the name of its issuer.
func TestOf(t *testing.T) {
	ca, liar := pkitest.New(t, "root", begin), pkitest.New(t, "root", begin)
	all, err := Parse(pkitest.Document(pkitest.Named("pki:acme", certs{ca.Cert})))
	if err != nil {
		t.Fatal(err)
	}
	key := pkitest.Key(t, elliptic.P256())
	if all.Of(liar.Leaf(key.Public(), "alice@acme.example")) != nil {
		t.Error("a certificate that names the authority is one of it")
	}
	renamed := *ca
	renamed.Cert = ca.Renewed(begin, func(c *x509.Certificate) { c.Subject.CommonName = "another" }).Cert
	if all.Of(renamed.Leaf(key.Public(), "alice@acme.example")) != nil {
		t.Error("a certificate by the key under another name is one of it")
	}
	var none *Authorities
	if none.Of(ca.Cert) != nil || none.All() != nil || none.Current(now, nil) != nil ||
		none.Bytes() != nil || none.Faults() != nil {
		t.Error("no authorities have something")
	}
}

// TestRenewedRoot: a certificate counts by the root of its time, old or new.
func TestRenewedRoot(t *testing.T) {
	key := pkitest.Key(t, elliptic.P256())
	old := pkitest.New(t, "root", begin.AddDate(-10, 3, 0)) // until signing
	renewed := old.Renewed(begin.AddDate(0, 2, 0))
	a := authorityOf(t, pkitest.Named("pki:acme", certs{old.Cert, renewed.Cert}), nil)
	leaf := renewed.Leaf(key.Public(), "alice@acme.example", func(c *x509.Certificate) { c.NotBefore = begin })
	for at, ok := range map[time.Time]bool{
		begin.AddDate(0, 1, 0): true, begin.AddDate(0, 5, 0): true, begin.AddDate(2, 5, 0): false,
	} {
		if _, err := a.Paths(leaf, []time.Time{at}); (err == nil) != ok {
			t.Errorf("%s: %v", at, err)
		}
	}
	// No one root is valid at both.
	if _, err := a.Paths(leaf, []time.Time{begin.AddDate(0, 1, 0), begin.AddDate(0, 5, 0)}); err == nil {
		t.Error("a path whose root changed between two times")
	}
}
