// SPDX-License-Identifier: Apache-2.0

package bindings_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/pki"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/internal/scaffold/pkitest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// TestDoubt: what a signature over a policy comes to by the status of its certificate, for who judges
// and for a directory, which shows it whatever became of the certificate.
func TestDoubt(t *testing.T) {
	f := bindtest.NewForge(t)
	begin := sigstoretest.Now.AddDate(-1, 0, 0)
	ca := pkitest.New(t, "Acme", begin)
	key := pkitest.Key(t, elliptic.P256())
	leaf := ca.Leaf(key.Public(), "alice@acme.example")
	text := strings.Replace(bindtest.TestPolicy, `email = "alice@example.com", issuer = "https://accounts.google.com"`,
		`email = "alice@acme.example", issuer = "pki:acme"`, 1)
	payload, digest := f.Statement(text, "")
	file := bindings.File{Name: "one", Data: f.Inst.Sign(sigstoretest.Request{
		Statement: payload, Certificate: leaf.Raw, Key: key, Log: sigstoretest.LogV2, TSA: true,
	})}
	all, err := pki.Parse(pkitest.Document(pkitest.Named("pki:acme", []*x509.Certificate{ca.Cert}, "acme.crl")))
	if err != nil {
		t.Fatal(err)
	}
	now := sigstoretest.Now.AddDate(0, 0, 1)
	under := func(list []byte) *sigstore.Root {
		root, err := f.Root.WithPKI(all.Current(now, func(string) ([]byte, error) { return list, nil }))
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		root    *sigstore.Root
		counts  int // signatures that the history has, doubtful ones too
		ignored int
		offered int
		why     string
	}{
		"a root that does not know it": {f.Root, 0, 1, 0, "no certificate authority"},
		"a current list":               {under(ca.CRL(now)), 1, 0, 1, ""},
		"no list":                      {under(nil), 1, 1, 1, "no current list"},
		"revoked": {
			under(ca.CRL(now, pkitest.Revoked(leaf, now, 1))), 1, 1, 1, "was revoked",
		},
		"superseded later": {under(ca.CRL(now, pkitest.Revoked(leaf, now, 4))), 1, 0, 1, ""},
	} {
		col, ignored := bindings.Collect(c.root, nil, []bindings.File{file})
		h := col.History(repo, now.Add(time.Hour))
		if len(h.Signatures) != c.counts || len(ignored) != c.ignored ||
			c.why != "" && !strings.Contains(ignored[0].Why, c.why) {
			t.Errorf("%s: %d signatures, ignored %v", name, len(h.Signatures), ignored)
		}
		n := 0
		for _, o := range bindings.Offers(c.root, nil, []bindings.File{file}, nil) {
			for _, s := range o.Signatures {
				if s.Payload != digest || s.Signer.Issuer != "pki:acme" {
					t.Errorf("%s: %+v", name, s)
				}
				n++
			}
		}
		if n != c.offered {
			t.Errorf("%s: %d are offered, want %d", name, n, c.offered)
		}
	}
}
