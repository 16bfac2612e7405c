// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestSCT changes one byte or field of a promise at a time.
func TestSCT(t *testing.T) {
	inst, stranger := sigstoretest.New(t), sigstoretest.New(t)
	now := sigstoretest.Now
	parse := func(i *sigstoretest.Instance, o roots) *Root {
		r, err := ParseRoot("test", i.Root(o))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := parse(inst, roots{})
	leafOf := func(f func(*request)) *x509.Certificate {
		b, err := ParseBundle(inst.Sign(message(f)))
		if err != nil {
			t.Fatal(err)
		}
		return b.leaf
	}
	good, other := leafOf(nil), leafOf(nil)
	path, refused := r.issued(good, now)
	if refused != nil {
		t.Fatal(refused)
	}
	issuer, logs := path[1], r.ct
	value := func(c *x509.Certificate) []byte {
		i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSCTList) })
		if i < 0 {
			t.Fatal("no SCT")
		}
		return c.Extensions[i].Value
	}
	having := func(v []byte) *x509.Certificate {
		c := *good
		c.Extensions = []pkix.Extension{{Id: oidSCTList, Value: v}}
		return &c
	}
	// The list in its octet string; each SCT has its length before it.
	list := func(scts ...[]byte) []byte {
		body := slices.Concat(scts...)
		out, err := asn1.Marshal(append([]byte{byte(len(body) >> 8), byte(len(body))}, body...))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var inner []byte
	if _, err := asn1.Unmarshal(value(good), &inner); err != nil {
		t.Fatal(err)
	}
	one := inner[2:]
	edited := func(at int, to byte) []byte {
		out := bytes.Clone(one)
		out[at] = to
		return out
	}
	longer := append(bytes.Clone(one), 0)
	longer[1]++
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign := edited(3, one[3]^1) // of a log that nobody knows
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		ok   bool
	}{
		"as it is":             {good, true},
		"put together again":   {having(list(one)), true},
		"another one before":   {having(list(foreign, one)), true},
		"as many as are read":  {having(list(append(slices.Repeat([][]byte{foreign}, maxSCTs-1), one)...)), true},
		"one more":             {having(list(append(slices.Repeat([][]byte{foreign}, maxSCTs), one)...)), false},
		"none":                 {having(list()), false},
		"no extension":         {leafOf(func(r *request) { r.NoSCT = true }), false},
		"by a stranger":        {leafOf(func(r *request) { r.SCTBy = stranger }), false},
		"of another":           {having(value(other)), false},
		"version 2":            {having(list(edited(2, 1))), false},
		"another log":          {having(list(foreign)), false},
		"another time":         {having(list(edited(2+1+32+7, one[2+1+32+7]^1))), false},
		"a time far away":      {having(list(edited(2+1+32, 0x7f))), false},
		"another hash":         {having(list(edited(2+1+32+8+2, 2))), false},
		"another algorithm":    {having(list(edited(2+1+32+8+2+1, signedRSA))), false},
		"another signature":    {having(list(edited(len(one)-1, one[len(one)-1]^1))), false},
		"something behind":     {having(list(longer)), false},
		"something in between": {having(append(list(one), 0)), false},
		"a length too long":    {having(list(edited(1, one[1]+1))), false},
		"half a length":        {having(list(one, []byte{0})), false},
		"no octet string":      {having([]byte{0x30, 0}), false},
		"no list":              {having([]byte{0x04, 0}), false},
		"more than the list":   {having([]byte{0x04, 3, 0, 0, 1}), false},
		"no extensions":        {having(nil), false},
	} {
		if err := checkSCT(c.leaf, issuer, logs); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The issuer and the log are part of it.
	if err := checkSCT(good, path[2], logs); err == nil {
		t.Error("by another issuer")
	}
	for name, c := range map[string]struct {
		change func(*logKey)
		ok     bool
	}{
		"trusted then": {func(l *logKey) {
			l.start, l.end = now.Add(-time.Minute), now.Add(-time.Minute)
		}, true},
		"not trusted yet":  {func(l *logKey) { l.start = now }, false},
		"not trusted then": {func(l *logKey) { l.end = now.Add(-time.Hour) }, false},
		"another key":      {func(l *logKey) { l.key = other.PublicKey }, false},
		"an RSA key":       {func(l *logKey) { l.key = rsaKey.Public() }, false},
		"no kind of key":   {func(l *logKey) { l.key = "key" }, false},
	} {
		changed := map[string]*logKey{}
		for id, l := range logs {
			clone := *l
			c.change(&clone)
			changed[id] = &clone
		}
		if err := checkSCT(good, issuer, changed); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkSCT(good, issuer, maps.Clone(map[string]*logKey{})); err == nil {
		t.Error("no log")
	}
	tbs := *good
	tbs.RawTBSCertificate = append(bytes.Clone(good.RawTBSCertificate), 0)
	if err := checkSCT(&tbs, issuer, logs); err == nil {
		t.Error("bytes behind the certificate")
	}
}

// TestSCTByRSA: a log may have a key of the other kind that RFC 6962 knows.
func TestSCTByRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := bytes.Repeat([]byte{7}, 32)
	log := map[string]*logKey{
		"0707070707070707070707070707070707070707070707070707070707070707": {key: key.Public()},
	}
	issuer := &x509.Certificate{RawSubjectPublicKeyInfo: []byte("issuer")}
	signed := slices.Concat([]byte{0, 0}, make([]byte, 8), []byte{0, precertType}, sum("issuer"), []byte{0, 0, 3},
		[]byte("tbs"), []byte{0, 0})
	digest := sum(string(signed))
	for name, c := range map[string]struct {
		algorithm byte
		sign      crypto.Signer
		ok        bool
	}{
		"RSA": {signedRSA, key, true}, "RSA under another name": {signedECDSA, key, false}, "ECDSA": {signedECDSA, ec, false},
	} {
		sig, err := c.sign.Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		sct := slices.Concat([]byte{0}, id, make([]byte, 8),
			[]byte{0, 0, hashSHA256, c.algorithm, byte(len(sig) >> 8), byte(len(sig))}, sig)
		read, ok := readSCT(sct)
		if got := ok && read.vouches([]byte("tbs"), issuer, log); got != c.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func sum(s string) []byte {
	h := crypto.SHA256.New()
	h.Write([]byte(s))
	return h.Sum(nil)
}

// FuzzWithoutSCTs: never a panic, and what is left has no list of SCTs and can be
// read again as the same.
func FuzzWithoutSCTs(f *testing.F) {
	b, err := ParseBundle(sigstoretest.New(f).Sign(message(nil)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.leaf.RawTBSCertificate)
	f.Fuzz(func(t *testing.T, raw []byte) {
		once, err := withoutSCTs(raw)
		if err != nil {
			return
		}
		if twice, err := withoutSCTs(once); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%x becomes %x and %x, %v", raw, once, twice, err)
		}
	})
}
