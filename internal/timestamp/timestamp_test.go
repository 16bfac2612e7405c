// SPDX-License-Identifier: Apache-2.0

package timestamp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	lib "github.com/digitorus/timestamp"
	"github.com/sigstore/timestamp-authority/v2/pkg/verification"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// authority is one whose certificate is its own root's.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(200), Subject: pkix.Name{CommonName: "tsa"}, NotBefore: now.AddDate(-1, 0, 0),
		NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(raw)
	check(t, err)
	return &authority{key, cert}
}

// stamp returns an answer over data, which change may change before it is signed.
func (a *authority) stamp(t testing.TB, data []byte, certs bool, change func(*lib.Timestamp)) []byte {
	t.Helper()
	sum := sha256.Sum256(data)
	ts := lib.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: now, Policy: asn1.ObjectIdentifier{1, 2, 3},
		AddTSACertificate: certs,
	}
	if change != nil {
		change(&ts)
	}
	out, err := ts.CreateResponseWithOpts(a.cert, a.key, crypto.SHA256)
	check(t, err)
	return out
}

// ours and theirs return the time of an answer over data by this authority.
func (a *authority) ours(answer, data []byte) (time.Time, error) {
	t, err := Parse(answer)
	if err != nil {
		return time.Time{}, err
	}
	// Whoever believes an authority looks at what a token carries, as internal/sigstore does.
	for _, raw := range t.Certificates {
		if !bytes.Equal(raw, a.cert.Raw) {
			return time.Time{}, errors.New("another certificate")
		}
	}
	return t.Time, t.Verify(a.cert, data)
}

func (a *authority) theirs(answer, data []byte) (time.Time, error) {
	t, err := verification.VerifyTimestampResponse(answer, bytes.NewReader(data), verification.VerifyOpts{
		Roots: []*x509.Certificate{a.cert}, TSACertificate: a.cert,
	})
	if err != nil {
		return time.Time{}, err
	}
	return t.Time, nil
}

// TestVerify: what an authority says, and what it does not.
func TestVerify(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	data := []byte("data")
	good := a.stamp(t, data, true, nil)
	for name, c := range map[string]struct {
		answer []byte
		data   string
		want   string // of the error; "" for none
	}{
		"with a certificate":    {good, "data", ""},
		"without":               {a.stamp(t, data, false, nil), "data", ""},
		"with a nonce":          {a.stamp(t, data, true, func(s *lib.Timestamp) { s.Nonce = big.NewInt(7) }), "data", ""},
		"with an accuracy":      {a.stamp(t, data, true, func(s *lib.Timestamp) { s.Accuracy = time.Second }), "data", ""},
		"in order":              {a.stamp(t, data, true, func(s *lib.Timestamp) { s.Ordering = true }), "data", ""},
		"of other data":         {good, "Data", "something else"},
		"by another authority":  {other.stamp(t, data, true, nil), "data", "another certificate"},
		"cut":                   {good[:len(good)-1], "data", "not an answer"},
		"with something behind": {append(slices.Clone(good), 0), "data", "not an answer"},
		"nothing":               {nil, "data", "not an answer"},
		"too long":              {make([]byte, MaxBytes+1), "data", "at most"},
		"a critical extension": {a.stamp(t, data, true, func(s *lib.Timestamp) {
			s.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), "data", "extension"},
		"half a digest": {a.stamp(t, data, true, func(s *lib.Timestamp) { s.HashedMessage = s.HashedMessage[:16] }), "data",
			"malformed"},
	} {
		at, err := a.ours(c.answer, []byte(c.data))
		if c.want == "" && (err != nil || !at.Equal(now)) ||
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %v, want %q", name, at, err, c.want)
		}
		if _, theirs := a.theirs(c.answer, []byte(c.data)); err == nil && theirs != nil {
			t.Errorf("%s: the library says %v", name, theirs)
		}
	}
	refusal, err := lib.CreateErrorResponse(lib.Rejection, lib.BadRequest)
	check(t, err)
	if _, err := Parse(refusal); err == nil || !strings.Contains(err.Error(), "status 2") {
		t.Errorf("a refusal: %v", err)
	}
}

// TestCertificate: the certificate is the one that is signed for, at its time, and strong.
func TestCertificate(t *testing.T) {
	a := newAuthority(t)
	token, err := Parse(a.stamp(t, []byte("data"), true, nil))
	check(t, err)
	for name, change := range map[string]func(*x509.Certificate){
		"another serial number": func(c *x509.Certificate) { c.SerialNumber = big.NewInt(201) },
		"another issuer":        func(c *x509.Certificate) { c.RawIssuer = []byte{0x30, 0} },
		"another name":          func(c *x509.Certificate) { c.RawSubject = []byte{0x30, 0} },
		"another certificate":   func(c *x509.Certificate) { c.Raw = append(slices.Clone(c.Raw), 0) },
		"not yet valid":         func(c *x509.Certificate) { c.NotBefore = time.Now().AddDate(1, 0, 0) },
		"not any more":          func(c *x509.Certificate) { c.NotAfter = now.AddDate(-1, 0, 0) },
		"another key":           func(c *x509.Certificate) { c.PublicKey = newAuthority(t).key.Public() },
		"no key":                func(c *x509.Certificate) { c.PublicKey = nil },
	} {
		cert := *a.cert
		change(&cert)
		if err := token.Verify(&cert, []byte("data")); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	check(t, token.Verify(a.cert, []byte("data")))
}

// TestFlips: no bit of an answer can change, and what the library takes beside it is known.
func TestFlips(t *testing.T) {
	a := newAuthority(t)
	data := []byte("data")
	for _, certs := range []bool{true, false} {
		good := a.stamp(t, data, certs, nil)
		laxer := 0
		for i := range 8 * len(good) {
			good[i/8] ^= 1 << (i % 8)
			if at, err := a.ours(good, data); err == nil {
				t.Errorf("certificates %v: byte %d, bit %d: %v", certs, i/8, i%8, at)
			}
			if i%8 == i/8%8 { // the library is slow
				if _, err := a.theirs(good, data); err == nil {
					laxer++
				}
			}
			good[i/8] ^= 1 << (i % 8)
		}
		t.Logf("certificates %v: of %d bits, one in eight, the library does not notice %d", certs, 8*len(good), laxer)
	}
}

// FuzzParse: never a panic; what we take the library takes, too, as the same moment.
func FuzzParse(f *testing.F) {
	a := newAuthority(f)
	data := []byte("data")
	for _, certs := range []bool{true, false} {
		f.Add(a.stamp(f, data, certs, func(s *lib.Timestamp) { s.Nonce, s.Accuracy = big.NewInt(1<<40), time.Millisecond }))
		f.Add(a.stamp(f, data, certs, nil))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		at, err := a.ours(answer, data)
		if err != nil {
			return
		}
		if want, err := a.theirs(answer, data); err != nil || !want.Equal(at) {
			t.Fatalf("%v, and the library says %v, %v", at, want, err)
		}
	})
}
