// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newKey returns a key by what the registry calls it.
func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RSA 2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "RSA 3072":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case "RSA 4096":
		key, err = rsa.GenerateKey(rand.Reader, 4096)
	case "ECDSA P-224":
		key, err = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case "ECDSA P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECDSA P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECDSA P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	default:
		t.Fatalf("no key %s", kind)
	}
	check(t, err)
	return key
}

func publicPEM(t testing.TB, pub crypto.PublicKey) []byte {
	t.Helper()
	der, err := marshal(pub)
	check(t, err)
	return inPEM("PUBLIC KEY", der)
}

func inPEM(name string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der})
}

// TestRegistry: each key signs by one algorithm for logs and at most one for TUF, and no other
// verifies what it made.
func TestRegistry(t *testing.T) {
	names := map[string]bool{}
	for _, a := range registry {
		if names[a.Name] || (a.RekorV1 == "") == (a.Scheme == "") && a.Name != "PKIX_ECDSA_P256_SHA_256" &&
			a.Name != "PKIX_ECDSA_P384_SHA_384" {
			t.Errorf("%s", a.Name)
		}
		names[a.Name] = true
	}
	message := []byte("message")
	for _, kind := range []string{
		"RSA 2048", "RSA 3072", "RSA 4096", "ECDSA P-256", "ECDSA P-384", "ECDSA P-521", "Ed25519",
	} {
		private := newKey(t, kind)
		if got := Kind(private.Public()); got != kind {
			t.Errorf("%s is called %q", kind, got)
		}
		for use, by := range map[string]func(crypto.PublicKey) (Algorithm, error){"logs": Of, "TUF": OfTUF} {
			s, err := Local(private, by)
			if kind == "ECDSA P-521" && use == "TUF" {
				if err == nil {
					t.Errorf("%s signs for TUF", kind)
				}
				continue
			}
			check(t, err)
			sig, err := s.Sign(t.Context(), s.Algorithm.Input(message))
			check(t, err)
			for _, a := range registry {
				ok := a.Verify(private.Public(), a.Input(message), sig)
				if ok != (a.Name == s.Algorithm.Name) {
					t.Errorf("%s of %s for %s: %s %v", kind, s.Algorithm.Name, use, a.Name, ok)
				}
			}
			for _, bad := range [][]byte{nil, sig[1:], append(slices.Clone(sig), 0), make([]byte, len(sig))} {
				if s.Algorithm.Verify(private.Public(), s.Algorithm.Input(message), bad) {
					t.Errorf("%s: %x", kind, bad)
				}
			}
			input := s.Algorithm.Input(message)
			for _, other := range [][]byte{append(slices.Clone(input), 0), input[1:], nil} {
				if s.Algorithm.Verify(private.Public(), other, sig) {
					t.Errorf("%s: an input of %d bytes", kind, len(other))
				}
			}
			if (Algorithm{}).Verify(private.Public(), message, sig) {
				t.Error("no algorithm verifies")
			}
		}
	}
}

// TestNamed: what reports look up.
func TestNamed(t *testing.T) {
	for _, a := range registry {
		if Named(a.Name) != a {
			t.Errorf("%+v", Named(a.Name))
		}
		tuf, ok := TUFOf(a.Key)
		if want := a.Key != "ECDSA P-521"; ok != want || want && (tuf.Key != a.Key || tuf.Scheme == "") {
			t.Errorf("%s: %+v, %v", a.Key, tuf, ok)
		}
	}
	if _, ok := TUFOf("RSA 2560"); ok || Named("ML_DSA_65") != (Algorithm{}) {
		t.Error("what is not in the registry has a name")
	}
}

// same reports whether two keys are one.
func same(t testing.TB, a, b crypto.PublicKey) bool {
	t.Helper()
	x, err := IDOf(a)
	check(t, err)
	y, err := IDOf(b)
	check(t, err)
	return x == y
}

// TestEncodings: one signature has one encoding, but for the one thing that ECDSA leaves open.
func TestEncodings(t *testing.T) {
	key := newKey(t, "ECDSA P-256").(*ecdsa.PrivateKey)
	s, err := Local(key, Of)
	check(t, err)
	input := s.Algorithm.Input([]byte("message"))
	sig, err := s.Sign(t.Context(), input)
	check(t, err)
	var n struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(sig, &n)
	check(t, err)
	twin, err := asn1.Marshal(struct{ R, S *big.Int }{n.R, new(big.Int).Sub(key.Params().N, n.S)})
	check(t, err)
	der := func(r, s []byte) []byte {
		body := append(append([]byte{2, byte(len(r))}, r...), append([]byte{2, byte(len(s))}, s...)...)
		return append([]byte{0x30, byte(len(body))}, body...)
	}
	positive := func(n *big.Int) []byte { // with the zero that keeps it positive
		raw := n.Bytes()
		if raw[0] >= 0x80 {
			raw = append([]byte{0}, raw...)
		}
		return raw
	}
	if !slices.Equal(der(positive(n.R), positive(n.S)), sig) {
		t.Fatal("not DER")
	}
	negative := n.S.FillBytes(make([]byte, 32))
	negative[0] |= 0x80
	tooMuch := new(big.Int).Add(n.S, key.Params().N)
	for name, c := range map[string]struct {
		sig []byte
		ok  bool
	}{
		"as made":                 {sig, true},
		"the other square root":   {twin, true},
		"a zero too much":         {der(append([]byte{0}, positive(n.R)...), positive(n.S)), false},
		"negative":                {der(positive(n.R), negative), false},
		"not reduced":             {der(positive(n.R), positive(tooMuch)), false},
		"a long length":           {append([]byte{0x30, 0x81, sig[1]}, sig[2:]...), false},
		"something after it":      {append(slices.Clone(sig), 0), false},
		"something in it":         {append([]byte{0x30, sig[1] + 2, 5, 0}, sig[2:]...), false},
		"two numbers of 32 bytes": {append(n.R.FillBytes(make([]byte, 32)), n.S.FillBytes(make([]byte, 32))...), false},
		"zero":                    {der([]byte{0}, []byte{0}), false},
		"one":                     {der([]byte{1}, []byte{1}), false},
	} {
		if ok := s.Algorithm.Verify(key.Public(), input, c.sig); ok != c.ok {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

// TestSmallOrder: under a key of small order anybody signs, and no such key is taken.
func TestSmallOrder(t *testing.T) {
	forged := make([]byte, 64)
	forged[0] = 1 // R is the neutral element, S is zero
	points := 0
	small, prime := edwards().small, edwards().prime
	for i, y := range append(slices.Clone(small), prime, new(big.Int).Add(prime, one)) { // the last are not reduced
		dangerous := false
		for sign := range 2 {
			key := ed25519.PublicKey(y.FillBytes(make([]byte, 32)))
			slices.Reverse(key)
			key[31] |= byte(sign << 7)
			if err := Sound(key); err == nil {
				t.Errorf("%x is taken", []byte(key))
			}
			for m := range 256 {
				if ed25519.Verify(key, []byte{byte(m)}, forged) {
					points, dangerous = points+1, true
					break
				}
			}
		}
		if i < len(small) && !dangerous {
			t.Errorf("the ordinate %s is of no point of small order", y)
		}
	}
	if points < 8 {
		t.Errorf("%d keys of small order verify what nobody signed", points)
	}
	good := newKey(t, "Ed25519").Public().(ed25519.PublicKey)
	check(t, Sound(good))
	off := 0
	for i := range 64 { // about half of all ordinates have no point
		key := slices.Clone(good)
		key[0] ^= byte(i)
		if Sound(key) != nil {
			off++
		}
	}
	if off < 16 || off > 48 {
		t.Errorf("%d of 64 are no points", off)
	}
	if Sound(good[:31]) == nil || Sound(append(slices.Clone(good), 0)) == nil {
		t.Error("a key of another length")
	}
}

// TestSound: keys that are too weak, or of which somebody could make another.
func TestSound(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	of := func(bits int, e int, odd uint) *rsa.PublicKey {
		n := new(big.Int).Lsh(one, uint(bits-1))
		return &rsa.PublicKey{N: n.SetBit(n, 0, odd), E: e}
	}
	for name, c := range map[string]struct {
		key  crypto.PublicKey
		want string // of Sound
		logs bool   // Of takes it
		tuf  bool
	}{
		"RSA of 2048 bits": {of(2048, exponent, 1), "", true, true},
		"RSA of 2047 bits": {of(2047, exponent, 1), "at least 2048 bits", false, false},
		"RSA of 2049 bits": {of(2049, exponent, 1), "", false, false},
		"RSA of 3071 bits": {of(3071, exponent, 1), "", false, false}, // as many bytes as 3072 has
		"RSA of 3072 bits": {of(3072, exponent, 1), "", true, true},
		"RSA of 4096 bits": {of(4096, exponent, 1), "", true, true},
		"RSA of 8192 bits": {of(8192, exponent, 1), "", false, false},
		"RSA of 8193 bits": {of(8193, exponent, 1), "too large", false, false},
		"an exponent of 1": {of(2048, 1, 1), "exponent", false, false},
		"an exponent of 3": {of(2048, 3, 1), "exponent", false, false},
		"an even modulus":  {of(2048, exponent, 0), "odd", false, false},
		"P-224":            {newKey(t, "ECDSA P-224").Public(), "too weak", false, false},
		"P-521":            {newKey(t, "ECDSA P-521").Public(), "", true, false},
		"text":             {"key", "ECDSA, Ed25519 or RSA", false, false},
		"nothing":          {nil, "ECDSA, Ed25519 or RSA", false, false},
	} {
		err := Sound(c.key)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Of(c.key); (err == nil) != c.logs || err != nil && c.want == "" && Hint(err) == "" {
			t.Errorf("%s: logs: %v", name, err)
		}
		if _, err := Of(c.key); strings.HasPrefix(name, "RSA") && err != nil && !strings.Contains(Hint(err), "3072") {
			t.Errorf("%s: %s", name, Hint(err))
		}
		if _, err := OfTUF(c.key); (err == nil) != c.tuf || err != nil && c.want == "" && Hint(err) == "" {
			t.Errorf("%s: TUF: %v", name, err)
		}
	}
}

// spki returns a SubjectPublicKeyInfo.
func spki(t testing.TB, oid asn1.ObjectIdentifier, params, key []byte) []byte {
	t.Helper()
	out, err := asn1.Marshal(struct {
		Algorithm struct {
			OID    asn1.ObjectIdentifier
			Params asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}{struct {
		OID    asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}{oid, asn1.RawValue{FullBytes: params}}, asn1.BitString{Bytes: key, BitLength: 8 * len(key)}})
	check(t, err)
	return out
}

var (
	oidEC      = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256    = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
	oidX448    = asn1.ObjectIdentifier{1, 3, 101, 111}
	oidMLDSA   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}
)

// TestParse: a key has one form, and each other one says what to do.
func TestParse(t *testing.T) {
	key := newKey(t, "ECDSA P-256").(*ecdsa.PrivateKey)
	good := publicPEM(t, key.Public())
	der, err := marshal(key.Public())
	check(t, err)
	point, err := key.PublicKey.Bytes()
	check(t, err)
	named, err := asn1.Marshal(oidP256)
	check(t, err)
	hybrid := slices.Clone(point)
	hybrid[0] = 6 | point[64]&1
	p, err := Parse(good)
	check(t, err)
	if p.ID != ID(der) || p.Algorithm.Name != "PKIX_ECDSA_P256_SHA_256" || !same(t, p.Key, key.Public()) {
		t.Errorf("%+v", p)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	public := func(oid asn1.ObjectIdentifier, params, key []byte) []byte {
		return inPEM("PUBLIC KEY", spki(t, oid, params, key))
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(&newKey(t, "RSA 2048").(*rsa.PrivateKey).PublicKey)
	compressed := elliptic.MarshalCompressed(key.Curve, key.X, key.Y)
	off := append(slices.Clone(point[:64]), point[64]^1)
	// The same bits of a key that begins with four zeros, with four spare ones at their end.
	zeros := newKey(t, "Ed25519").Public().(ed25519.PublicKey)
	for zeros[0] >= 0x10 {
		zeros = newKey(t, "Ed25519").Public().(ed25519.PublicKey)
	}
	aligned := spki(t, oidEd25519, nil, zeros)
	moved := slices.Clone(aligned)
	new(big.Int).Lsh(new(big.Int).SetBytes(zeros), 4).FillBytes(moved[len(moved)-32:])
	moved[len(moved)-33] = 4 // how many bits are spare
	if _, err := Parse(inPEM("PUBLIC KEY", aligned)); err != nil {
		t.Fatal(err)
	}
	headed := &pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{"A": "b"}, Bytes: der}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"empty":              {nil, "PEM block"},
		"text before it":     {append([]byte("x\n"), good...), "nothing else"},
		"text after it":      {append(slices.Clone(good), 'x'), "nothing else"},
		"another block":      {inPEM("PUBLIC", der), `not "PUBLIC"`},
		"a header":           {pem.EncodeToMemory(headed), "nothing else"},
		"a private key":      {inPEM("PRIVATE KEY", secret), `not "PRIVATE KEY"`},
		"a certificate":      {inPEM("CERTIFICATE", der), `not "CERTIFICATE"`},
		"PKCS #1":            {inPEM("RSA PUBLIC KEY", pkcs1), `not "RSA PUBLIC KEY"`},
		"a byte after it":    {inPEM("PUBLIC KEY", append(slices.Clone(der), 0)), "cannot be parsed"},
		"half of it":         {inPEM("PUBLIC KEY", der[:len(der)/2]), "cannot be parsed"},
		"a compressed point": {public(oidEC, named, compressed), "compressed point"},
		"a hybrid point":     {public(oidEC, named, hybrid), "compressed point"},
		"no point":           {public(oidEC, named, off), "another curve"},
		"explicit params":    {public(oidEC, []byte{0x30, 3, 2, 1, 1}, point), "explicit parameters"},
		"no params":          {public(oidEC, nil, point), "explicit parameters"},
		"RSA without NULL":   {public(oidRSA, nil, pkcs1), "cannot be parsed"},
		"RSA for PSS alone":  {public(oidPSS, nil, pkcs1), "PSS alone"},
		"Ed25519 with NULL":  {public(oidEd25519, []byte{5, 0}, make([]byte, 32)), "cannot be parsed"},
		"spare bits":         {inPEM("PUBLIC KEY", moved), "written in another way"},
		"X448":               {public(oidX448, nil, make([]byte, 56)), "X448 signs nothing"},
		"no key":             {public(oidMLDSA, nil, nil), "cannot be parsed"},
	} {
		p, err := Parse(c.text)
		var e *Error
		if p != nil || !errors.As(err, &e) || !strings.Contains(e.Text, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if pub, again := ParsePublic(c.text); pub != nil || again == nil || again.Error() != err.Error() {
			t.Errorf("%s: %v", name, again)
		}
		if strings.HasPrefix(name, "a private") && !strings.Contains(Hint(err), "stays where it is") {
			t.Errorf("%s: %s", name, Hint(err))
		}
	}
	for name, key := range map[string]crypto.PublicKey{
		"P-224": newKey(t, "ECDSA P-224").Public(), "RSA": &rsa.PublicKey{N: new(big.Int).SetBit(one, 2559, 1), E: exponent},
	} {
		if p, err := Parse(publicPEM(t, key)); p != nil || err == nil {
			t.Errorf("%s signs what is logged", name)
		}
		if pub, err := ParsePublic(publicPEM(t, key)); pub == nil || err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := IDOf("key"); err == nil {
		t.Error("text has an id")
	}
	_, err = Parse(public(oidMLDSA, nil, make([]byte, 1952)))
	if u := (*Unknown)(nil); !errors.As(err, &u) || u.OID != "2.16.840.1.101.3.4.3.18" || Hint(err) == "" {
		t.Errorf("ML-DSA: %v", err)
	}
	long := append(spki(t, oidMLDSA, nil, make([]byte, 1952)), 0)
	if _, err := Parse(inPEM("PUBLIC KEY", long)); errors.As(err, new(*Unknown)) {
		t.Error("ML-DSA with a byte after it is for a newer program")
	}
}

// TestParsePrivate: the files in which people have keys.
func TestParsePrivate(t *testing.T) {
	ec, rs, ed := newKey(t, "ECDSA P-256"), newKey(t, "RSA 2048"), newKey(t, "Ed25519")
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		check(t, err)
		return inPEM("PRIVATE KEY", der)
	}
	sec1, err := x509.MarshalECPrivateKey(ec.(*ecdsa.PrivateKey))
	check(t, err)
	for name, c := range map[string]struct {
		text []byte
		key  crypto.Signer
	}{
		"PKCS #8, P-256":         {pkcs8(ec), ec},
		"PKCS #8, RSA":           {pkcs8(rs), rs},
		"PKCS #8, Ed25519":       {pkcs8(ed), ed},
		"SEC 1":                  {inPEM("EC PRIVATE KEY", sec1), ec},
		"SEC 1 after parameters": {append(inPEM("EC PARAMETERS", []byte{6, 0}), inPEM("EC PRIVATE KEY", sec1)...), ec},
		"PKCS #1":                {inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs.(*rsa.PrivateKey))), rs},
		"with a line after it":   {append(pkcs8(ec), '\n'), ec},
	} {
		got, err := ParsePrivate(c.text)
		if err != nil || !same(t, got.Public(), c.key.Public()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	check(t, err)
	x25519, err := x509.MarshalPKCS8PrivateKey(exchange)
	check(t, err)
	old := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: sec1, Headers: map[string]string{
		"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00",
	}}
	for name, c := range map[string]struct {
		text []byte
		want string // of text or hint
	}{
		"empty":               {nil, "not a private key in PEM"},
		"DER":                 {sec1, "not a private key in PEM"},
		"two":                 {append(pkcs8(ec), pkcs8(ec)...), "something follows"},
		"parameters alone":    {inPEM("EC PARAMETERS", []byte{6, 0}), "not a private key in PEM"},
		"the public half":     {publicPEM(t, ec.Public()), "name the file with the private key"},
		"a certificate":       {inPEM("CERTIFICATE", sec1), "name the file with the private key"},
		"garbage":             {inPEM("PRIVATE KEY", []byte("x")), "not a private key that is read"},
		"garbage as SEC 1":    {inPEM("EC PRIVATE KEY", []byte("x")), "not a private key that is read"},
		"garbage as PKCS #1":  {inPEM("RSA PRIVATE KEY", []byte("x")), "not a private key that is read"},
		"a byte after it":     {inPEM("PRIVATE KEY", append(x25519, 0)), "not a private key that is read"},
		"X25519":              {inPEM("PRIVATE KEY", x25519), "signs nothing"},
		"encrypted":           {inPEM("ENCRYPTED PRIVATE KEY", sec1), "decrypt a copy"},
		"encrypted long ago":  {pem.EncodeToMemory(old), "decrypt a copy"},
		"encrypted by cosign": {inPEM("ENCRYPTED SIGSTORE PRIVATE KEY", sec1), "with openssl"},
		"by an older cosign":  {inPEM("ENCRYPTED COSIGN PRIVATE KEY", sec1), "with openssl"},
		"of OpenSSH":          {inPEM("OPENSSH PRIVATE KEY", sec1), "ssh-keygen"},
		"DSA":                 {inPEM("DSA PRIVATE KEY", sec1), "too weak"},
		"something else":      {inPEM("PGP PRIVATE KEY BLOCK", sec1), "not a private key that is read"},
	} {
		_, err := ParsePrivate(c.text)
		if err == nil || !strings.Contains(err.Error()+"; "+Hint(err), c.want) {
			t.Errorf("%s: %v; %s", name, err, Hint(err))
		}
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	check(t, err)
	key, err := ParsePrivate(pkcs8(small))
	check(t, err)
	if _, err := Local(key, Of); err == nil || !strings.Contains(err.Error(), "not 1024") {
		t.Errorf("%v", err)
	}
}

// TestLyingSigner: what a key answers is looked at also if the key is here.
func TestLyingSigner(t *testing.T) {
	key, other := newKey(t, "ECDSA P-256"), newKey(t, "ECDSA P-256")
	s, err := Local(liar{key.Public(), other}, Of)
	check(t, err)
	if sig, err := s.Sign(t.Context(), make([]byte, 32)); err == nil || sig != nil {
		t.Errorf("%x, %v", sig, err)
	}
	// A program that writes into what it is asked for changes nothing.
	s, err = Remote(key.Public(), Of, func(_ context.Context, _ *Signer, input []byte) ([]byte, error) {
		input[0] ^= 1
		return key.Sign(rand.Reader, input, crypto.SHA256)
	})
	check(t, err)
	input := make([]byte, 32)
	if _, err := s.Sign(t.Context(), input); err == nil || input[0] != 0 {
		t.Errorf("%x, %v", input[:1], err)
	}
}

// liar is a key that says that it is another.
type liar struct {
	public crypto.PublicKey
	crypto.Signer
}

func (l liar) Public() crypto.PublicKey { return l.public }

// FuzzParse: a key that is taken has one form, and an algorithm by which it signs.
func FuzzParse(f *testing.F) {
	for _, kind := range []string{"ECDSA P-256", "ECDSA P-521", "Ed25519", "RSA 2048"} {
		der, err := marshal(newKey(f, kind).Public())
		check(f, err)
		f.Add(der)
	}
	f.Add(spki(f, oidMLDSA, nil, make([]byte, 100)))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := Parse(inPEM("PUBLIC KEY", der))
		if err != nil {
			if p != nil {
				t.Error("a key and an error")
			}
			return
		}
		again, err := marshal(p.Key)
		if err != nil || !slices.Equal(again, der) || p.ID != ID(der) || p.Algorithm.RekorV1 == "" ||
			Kind(p.Key) != p.Algorithm.Key {
			t.Errorf("%x: %+v, %v", der, p, err)
		}
	})
}

// FuzzParsePrivate: no input makes it panic or tells its content in the error.
func FuzzParsePrivate(f *testing.F) {
	for _, kind := range []string{"ECDSA P-256", "Ed25519"} {
		der, err := x509.MarshalPKCS8PrivateKey(newKey(f, kind))
		check(f, err)
		f.Add("PRIVATE KEY", der)
	}
	f.Add("EC PRIVATE KEY", []byte{0x30, 0})
	f.Add("OPENSSH PRIVATE KEY", []byte("openssh-key-v1"))
	f.Fuzz(func(t *testing.T, name string, der []byte) {
		key, err := ParsePrivate(inPEM(name, der))
		if (key == nil) == (err == nil) {
			t.Errorf("%v, %v", key, err)
		}
		if err == nil {
			if _, err := Local(key, Of); err == nil && Kind(key.Public()) == "" {
				t.Error("a key of no kind signs")
			}
		}
	})
}
