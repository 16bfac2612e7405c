// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// authorities returns the time stamp authorities of an instance as the library
// has them.
func authorities(
	t testing.TB, i *sigstoretest.Instance, o sigstoretest.RootOptions,
) *root.SigstoreTimestampingAuthority {
	t.Helper()
	tr, err := root.NewTrustedRootFromJSON(i.Root(o))
	if err != nil {
		t.Fatal(err)
	}
	return tr.TimestampingAuthorities()[0].(*root.SigstoreTimestampingAuthority)
}

// TestStamper: the short way takes what the library takes and nothing else.
func TestStamper(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	sig := []byte("signature")
	lib := func(f func(*root.SigstoreTimestampingAuthority)) *root.SigstoreTimestampingAuthority {
		a := authorities(t, inst, sigstoretest.RootOptions{})
		if f != nil {
			f(a)
		}
		return a
	}
	other := authorities(t, stranger, sigstoretest.RootOptions{})
	narrow := func(c *x509.Certificate) *x509.Certificate {
		out := *c
		out.NotAfter = sigstoretest.Now.Add(-time.Hour)
		return &out
	}
	for name, a := range map[string]struct {
		lib    *root.SigstoreTimestampingAuthority
		direct bool
	}{
		"as it is":            {lib(nil), true},
		"without certificate": {lib(func(a *root.SigstoreTimestampingAuthority) { a.Leaf = nil }), false},
		"without root":        {lib(func(a *root.SigstoreTimestampingAuthority) { a.Root = nil }), false},
		"another root":        {lib(func(a *root.SigstoreTimestampingAuthority) { a.Root = other.Root }), false},
		"another certificate": {lib(func(a *root.SigstoreTimestampingAuthority) { a.Leaf = other.Leaf }), false},
		"a root for no stamps": {lib(func(a *root.SigstoreTimestampingAuthority) {
			c := *a.Root
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
			a.Root = &c
		}), false},
		"an expired root": {lib(func(a *root.SigstoreTimestampingAuthority) { a.Root = narrow(a.Root) }), true},
		"not trusted yet": {
			lib(func(a *root.SigstoreTimestampingAuthority) { a.ValidityPeriodStart = sigstoretest.Now.Add(time.Hour) }), true,
		},
		"not trusted now": {
			lib(func(a *root.SigstoreTimestampingAuthority) { a.ValidityPeriodEnd = sigstoretest.Now.Add(-time.Hour) }), true,
		},
	} {
		s := &stamper{
			uri: a.lib.URI, root: a.lib.Root, leaf: a.lib.Leaf, between: a.lib.Intermediates,
			start: a.lib.ValidityPeriodStart, end: a.lib.ValidityPeriodEnd,
		}
		good := inst.Stamp(sig, sigstoretest.Now)
		for what, stamp := range map[string][]byte{
			"good":          good,
			"other content": inst.Stamp([]byte("other"), sigstoretest.Now),
			"by a stranger": stranger.Stamp(sig, sigstoretest.Now),
			"before":        inst.Stamp(sig, sigstoretest.Now.AddDate(-4, 0, 0)),
			"earlier":       inst.Stamp(sig, sigstoretest.Now.Add(-2*time.Hour)),
			"after":         inst.Stamp(sig, sigstoretest.Now.AddDate(8, 0, 0)),
			"cut":           good[:len(good)-1],
			"flipped":       append(slices.Clone(good[:len(good)-1]), good[len(good)-1]^1),
			"nothing":       nil,
		} {
			want, wantErr := a.lib.Verify(stamp, sig)
			got, err := s.Verify(stamp, sig)
			if (err == nil) != (wantErr == nil) || err == nil && !got.Equal(want.Time) {
				t.Errorf("%s, %s: %v %v, the library says %v %v", name, what, got, err, want, wantErr)
			}
			if name == "as it is" && (err == nil) != (what == "good" || what == "earlier") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if s.chained != a.direct {
			t.Errorf("%s: chained %v", name, s.chained)
		}
	}
}

// TestIssued: a certificate that was verified is judged by every other moment
// anew, and by nothing that it is not.
func TestIssued(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	leafOf := func(i *sigstoretest.Instance) *x509.Certificate {
		b, err := ParseBundle(i.Sign(message(nil)))
		if err != nil {
			t.Fatal(err)
		}
		return b.leaf
	}
	own, foreign := leafOf(inst), leafOf(stranger)
	a := r.cas[0]
	for range 2 { // the second time it is remembered
		for name, c := range map[string]struct {
			cert *x509.Certificate
			at   time.Time
			f    func(*x509.Certificate)
			ok   bool
		}{
			"at its beginning": {own, own.NotBefore, nil, true},
			"at its end":       {own, own.NotAfter, nil, true},
			"before":           {own, own.NotBefore.Add(-time.Second), nil, false},
			"after":            {own, own.NotAfter.Add(time.Second), nil, false},
			"a stranger's":     {foreign, foreign.NotBefore, nil, false},
			"critical extension": {own, own.NotBefore, func(c *x509.Certificate) {
				c.UnhandledCriticalExtensions = []asn1.ObjectIdentifier{{1, 2, 3}}
			}, false},
		} {
			cert := *c.cert
			if c.f != nil {
				c.f(&cert)
			}
			if _, err := a.Verify(&cert, c.at); (err == nil) != c.ok {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if n := len(a.issuers[0].issued); n != 1 {
		t.Errorf("%d certificates remembered", n)
	}
	full := a.issuers[0]
	for i := range maxIssued {
		full.issued[[32]byte{1, byte(i), byte(i >> 8)}] = true
	}
	other := leafOf(inst)
	if _, err := a.Verify(other, other.NotBefore); err != nil || len(full.issued) != 1 {
		t.Errorf("%d remembered, %v", len(full.issued), err)
	}
}
