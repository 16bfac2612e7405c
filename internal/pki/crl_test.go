// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/policy"
)

// TestLists: a list that does not count leaves the status of what it would be about unknown.
func TestLists(t *testing.T) {
	key := pkitest.Key(t, elliptic.P256())
	ca := pkitest.New(t, "root", begin)
	issuing, other := ca.Below("issuing"), pkitest.New(t, "issuing", begin)
	noLists := ca.Below("issuing", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	leaf := issuing.Leaf(key.Public(), "alice@acme.example")
	made := now.AddDate(0, 0, -1)
	rootList, good := ca.CRL(made), issuing.CRL(made)
	block := func(name string, headers map[string]string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: name, Headers: headers, Bytes: der})
	}
	list := func(f func(*x509.RevocationList)) []byte {
		l := &x509.RevocationList{ThisUpdate: made, NextUpdate: made.AddDate(0, 0, 7)}
		f(l)
		return issuing.List(l)
	}
	ext := func(critical bool, id asn1.ObjectIdentifier, value ...byte) []byte {
		return list(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: value}}
		})
	}
	entry := func(id asn1.ObjectIdentifier, critical bool, value ...byte) []byte {
		return issuing.CRL(made, x509.RevocationListEntry{
			SerialNumber: big.NewInt(1 << 40), RevocationTime: made,
			ExtraExtensions: []pkix.Extension{{Id: id, Critical: critical, Value: value}},
		})
	}
	reason := func(n int) []byte {
		return issuing.CRL(made, x509.RevocationListEntry{SerialNumber: big.NewInt(7), RevocationTime: made, ReasonCode: n})
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		list []byte
		text string // "" if the list counts
	}{
		"good":                      {list: good},
		"in PEM":                    {list: block("X509 CRL", nil, good)},
		"a number and its issuer":   {list: ext(false, oidNumberLike, 5, 0)},
		"made within the lag":       {list: list(func(l *x509.RevocationList) { l.ThisUpdate = now.Add(clockLag) })},
		"due this second":           {list: list(func(l *x509.RevocationList) { l.NextUpdate = now })},
		"missing":                   {nil, "no such target"},
		"empty":                     {[]byte{}, "not a list"},
		"no list":                   {[]byte("x"), "not a list"},
		"a certificate":             {block("CERTIFICATE", nil, good), "PEM block"},
		"PEM with headers":          {block("X509 CRL", map[string]string{"A": "b"}, good), "PEM block"},
		"two lists":                 {bytes.Repeat(block("X509 CRL", nil, good), 2), "PEM block"},
		"something after it":        {append(bytes.Clone(good), 0), "follows"},
		"too large":                 {make([]byte, MaxCRLBytes+1), "at most"},
		"stale":                     {issuing.CRL(now.AddDate(0, 0, -8)), "was due"},
		"of tomorrow":               {issuing.CRL(now.AddDate(0, 0, 1)), "later than now"},
		"unsigned":                  {flipped, "no certificate of pki:acme"},
		"of another issuer":         {other.CRL(made), "no certificate of pki:acme"},
		"a delta":                   {ext(true, oidDelta, 2, 1, 1), "delta"},
		"a delta that hides it":     {ext(false, oidDelta, 2, 1, 1), "delta"},
		"a part":                    {ext(true, oidDistribution, 0x30, 0), "issuing distribution point"},
		"an unknown critical":       {ext(true, asn1.ObjectIdentifier{1, 2, 3}, 5, 0), "1.2.3"},
		"a bad expiredCertsOnCRL":   {ext(false, oidExpired, 5, 0), "expiredCertsOnCRL"},
		"an entry of another":       {entry(oidIndirect, true, 0x30, 0), "indirect"},
		"an entry of another, calm": {entry(oidIndirect, false, 0x30, 0), "indirect"},
		"an entry with a critical":  {entry(asn1.ObjectIdentifier{1, 2, 3}, true, 5, 0), "1.2.3"},
		"removeFromCRL":             {reason(8), "reason"},
		"an unused reason":          {reason(7), "reason"},
		"a reason too many":         {reason(11), "reason"},
		"a bad invalidity date":     {entry(oidInvalidity, false, 5, 0), "invalidity"},
	} {
		t.Run(name, func(t *testing.T) {
			lists := map[string][]byte{"root.crl": rootList, "issuing.crl": c.list}
			if c.list == nil {
				delete(lists, "issuing.crl")
			}
			a := authorityOf(t, pkitest.Named("pki:acme", certs{ca.Cert, issuing.Cert}, "root.crl", "issuing.crl"), lists)
			paths, err := a.Paths(leaf, []time.Time{signing})
			if err != nil {
				t.Fatal(err)
			}
			err = a.Revoked(paths, []time.Time{signing})
			want := policy.RevocationUnknown
			if c.text == "" {
				want = ""
			}
			if got := reasonOf(err); got != want || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %s (%v), want %s: %s", got, err, want, c.text)
			}
			all := &Authorities{list: []*Authority{a}}
			if (len(all.Faults()) == 0) != (c.text == "") {
				t.Errorf("faults %q", all.Faults())
			}
			if c.list != nil && (all.CheckCRL(CRLTargets+"issuing.crl", c.list, now) == nil) != (c.text == "") {
				t.Error("it is checked otherwise before it is published")
			}
			if all.CheckCRL(CRLTargets+"other.crl", good, now) == nil {
				t.Error("a list that no authority names can be published")
			}
		})
	}
	t.Run("the list of the root is missing", func(t *testing.T) {
		a := authorityOf(t, pkitest.Named("pki:acme", certs{ca.Cert, issuing.Cert}, "root.crl", "issuing.crl"),
			map[string][]byte{"issuing.crl": good})
		paths, err := a.Paths(leaf, []time.Time{signing})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Revoked(paths, []time.Time{signing}); reasonOf(err) != policy.RevocationUnknown {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an issuer that may sign no lists", func(t *testing.T) {
		sneaky := *noLists
		sneaky.Cert = noLists.Renewed(begin).Cert // which may, but is not in the document
		a := authorityOf(t, pkitest.Named("pki:acme", certs{ca.Cert, noLists.Cert}, "root.crl", "issuing.crl"),
			map[string][]byte{"root.crl": rootList, "issuing.crl": sneaky.CRL(made)})
		paths, err := a.Paths(noLists.Leaf(key.Public(), "alice@acme.example"), []time.Time{signing})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Revoked(paths, []time.Time{signing}); reasonOf(err) != policy.RevocationUnknown {
			t.Errorf("got %v", err)
		}
	})
	t.Run("more than all lists may have", func(t *testing.T) {
		names := []string{"a", "b", "c"}
		all, err := Parse(pkitest.Document(pkitest.Named("pki:acme", certs{ca.Cert}, names...)))
		if err != nil {
			t.Fatal(err)
		}
		big := make([]byte, MaxCRLBytes)
		faults := all.Current(now, func(string) ([]byte, error) { return big, nil }).Faults()
		if len(faults) != 3 || !strings.Contains(faults[2], "lists of all authorities") {
			t.Errorf("%q", faults)
		}
	})
}

var oidNumberLike = asn1.ObjectIdentifier{1, 2, 840, 7}

// TestRevoked: until when signatures by a certificate count that was revoked.
func TestRevoked(t *testing.T) {
	key := pkitest.Key(t, elliptic.P256())
	ca := pkitest.New(t, "root", begin)
	issuing := ca.Below("issuing")
	leaf := issuing.Leaf(key.Public(), "alice@acme.example")
	made := now.AddDate(0, 0, -1)
	month := func(n int) time.Time { return begin.AddDate(0, n, 0) }
	type revocation = x509.RevocationListEntry
	short := issuing.Leaf(key.Public(), "alice@acme.example", func(c *x509.Certificate) { c.NotAfter = month(4) })
	for name, c := range map[string]struct {
		leaf         *x509.Certificate
		root, issuer []revocation
		times        []int // months; 3 without
		keeps        bool
		change       func(*x509.RevocationList)
		want         policy.Reason
	}{
		"not on it":          {},
		"another serial":     {issuer: []revocation{pkitest.Revoked(ca.Cert, month(1), 1)}},
		"superseded later":   {issuer: []revocation{pkitest.Revoked(leaf, month(4), 4)}},
		"superseded at once": {issuer: []revocation{pkitest.Revoked(leaf, month(3), 4)}, want: policy.CertificateRevoked},
		"superseded before":  {issuer: []revocation{pkitest.Revoked(leaf, month(2), 4)}, want: policy.CertificateRevoked},
		"ceased later":       {issuer: []revocation{pkitest.Revoked(leaf, month(4), 5)}},
		"left later":         {issuer: []revocation{pkitest.Revoked(leaf, month(4), 3)}},
		"withdrawn later":    {issuer: []revocation{pkitest.Revoked(leaf, month(4), 9)}},
		"stolen later":       {issuer: []revocation{pkitest.Revoked(leaf, month(4), 1)}, want: policy.CertificateRevoked},
		"no reason":          {issuer: []revocation{pkitest.Revoked(leaf, month(4), 0)}, want: policy.CertificateRevoked},
		"on hold":            {issuer: []revocation{pkitest.Revoked(leaf, month(4), 6)}, want: policy.CertificateRevoked},
		"CA stolen":          {issuer: []revocation{pkitest.Revoked(leaf, month(4), 2)}, want: policy.CertificateRevoked},
		"AA stolen":          {issuer: []revocation{pkitest.Revoked(leaf, month(4), 10)}, want: policy.CertificateRevoked},
		"stolen since later": {issuer: []revocation{pkitest.Revoked(leaf, month(5), 1, month(4))}},
		"stolen since before": {
			issuer: []revocation{pkitest.Revoked(leaf, month(5), 1, month(2))}, want: policy.CertificateRevoked,
		},
		"invalid after all": {
			issuer: []revocation{pkitest.Revoked(leaf, month(2), 1, month(5))}, want: policy.CertificateRevoked,
		},
		"left, invalid before": {
			issuer: []revocation{pkitest.Revoked(leaf, month(5), 3, month(2))}, want: policy.CertificateRevoked,
		},
		"one of two times": {
			issuer: []revocation{pkitest.Revoked(leaf, month(4), 4)}, times: []int{3, 5}, want: policy.CertificateRevoked,
		},
		"twice, once stolen": {
			issuer: []revocation{pkitest.Revoked(leaf, month(4), 4), pkitest.Revoked(leaf, month(4), 1)},
			want:   policy.CertificateRevoked,
		},
		"the issuer superseded later": {root: []revocation{pkitest.Revoked(issuing.Cert, month(4), 4)}},
		"the issuer stolen": {
			root: []revocation{pkitest.Revoked(issuing.Cert, month(4), 2)}, want: policy.CertificateRevoked,
		},
		"the issuer's list has its serial": {
			issuer: []revocation{pkitest.Revoked(issuing.Cert, month(2), 1)},
		},
		"expired before the list":     {leaf: short, want: policy.RevocationUnknown},
		"expired, and the root keeps": {leaf: short, keeps: true},
		"expired, and the list keeps": {leaf: short, change: func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidExpired, Value: general(month(3))}}
		}},
		"expired before it keeps": {leaf: short, want: policy.RevocationUnknown, change: func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidExpired, Value: general(month(5))}}
		}},
		"expired and stolen": {
			leaf: short, issuer: []revocation{pkitest.Revoked(short, month(3), 1)}, want: policy.CertificateRevoked,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.leaf == nil {
				c.leaf = leaf
			}
			l := &x509.RevocationList{ThisUpdate: made, NextUpdate: made.AddDate(0, 0, 7), RevokedCertificateEntries: c.issuer}
			if c.change != nil {
				c.change(l)
			}
			in := pkitest.Named("pki:acme", certs{ca.Cert, issuing.Cert}, "root.crl", "issuing.crl")
			if c.keeps {
				in = in.With("keeps-expired", true)
			}
			a := authorityOf(t, in, map[string][]byte{"root.crl": ca.CRL(made, c.root...), "issuing.crl": issuing.List(l)})
			if len(a.faults) > 0 {
				t.Fatal(a.faults)
			}
			times := []time.Time{signing}
			if c.times != nil {
				times = nil
				for _, n := range c.times {
					times = append(times, month(n))
				}
			}
			paths, err := a.Paths(c.leaf, times)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Revoked(paths, times); reasonOf(err) != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if a.Revoked(nil, times) == nil || a.Revoked(paths, nil) == nil {
				t.Error("nothing counts")
			}
		})
	}
}

func general(at time.Time) []byte {
	der, err := asn1.MarshalWithParams(at, "generalized")
	if err != nil {
		panic(err)
	}
	return der
}

// TestTwoPaths: of two certificates of one issuer one was revoked. The other path counts.
func TestTwoPaths(t *testing.T) {
	key := pkitest.Key(t, elliptic.P256())
	ca := pkitest.New(t, "root", begin)
	issuing := ca.Below("issuing")
	twin := *issuing
	twin.Cert = ca.Again(issuing)
	made := now.AddDate(0, 0, -1)
	leaf := issuing.Leaf(key.Public(), "alice@acme.example")
	in := pkitest.Named("pki:acme", certs{ca.Cert, issuing.Cert, twin.Cert}, "root.crl", "issuing.crl")
	for name, c := range map[string]struct {
		lists map[string][]byte
		want  policy.Reason
	}{
		"one is revoked": {map[string][]byte{
			"root.crl": ca.CRL(made, pkitest.Revoked(issuing.Cert, begin, 4)), "issuing.crl": issuing.CRL(made),
		}, ""},
		"both are": {map[string][]byte{
			"root.crl":    ca.CRL(made, pkitest.Revoked(issuing.Cert, begin, 4), pkitest.Revoked(twin.Cert, begin, 4)),
			"issuing.crl": issuing.CRL(made),
		}, policy.CertificateRevoked},
		"one is, and the leaf unknown": {map[string][]byte{
			"root.crl": ca.CRL(made, pkitest.Revoked(issuing.Cert, begin, 4)),
		}, policy.RevocationUnknown},
	} {
		a := authorityOf(t, in, c.lists)
		paths, err := a.Paths(leaf, []time.Time{signing})
		if err != nil || len(paths) != 2 {
			t.Fatalf("%d paths, %v", len(paths), err)
		}
		if err := a.Revoked(paths, []time.Time{signing}); reasonOf(err) != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}
