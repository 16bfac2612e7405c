// SPDX-License-Identifier: Apache-2.0

package side

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// armour writes packets as gpg does.
func armour(packets []byte, headers ...string) string {
	var b strings.Builder
	b.WriteString(armourBegin + "\n")
	for _, h := range headers {
		b.WriteString(h + "\n")
	}
	b.WriteString("\n")
	text := base64.StdEncoding.EncodeToString(packets)
	for ; len(text) > 64; text = text[64:] {
		b.WriteString(text[:64] + "\n")
	}
	b.WriteString(text + "\n=AbCd\n" + armourEnd + "\n")
	return b.String()
}

// signature is a signature packet with n bytes after its version.
func signature(n int) []byte { return append([]byte{0xc2, byte(n + 1), 4}, make([]byte, n)...) }

func certificate(t testing.TB) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

func TestCheck(t *testing.T) {
	cert, key := certificate(t)
	der, err := ecdsa.SignASN1(rand.Reader, key, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	sig := signature(100)
	old := append([]byte{0x88, 101}, sig[2:]...)                   // old form, one octet of length
	old2 := append([]byte{0x89, 0x01, 0x00}, make([]byte, 256)...) // and two
	old2[3] = 4
	wrapped := func(data []byte, width int) string {
		var lines []string
		text := b64(data)
		for ; len(text) > width; text = text[width:] {
			lines = append(lines, text[:width])
		}
		return strings.Join(append(lines, text), "\n")
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	headed := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"A": "b"}, Bytes: []byte{1}})
	for name, c := range map[string]struct {
		kind Kind
		data string
		ok   bool
	}{
		"an armoured signature": {OpenPGP, armour(sig), true},
		"CRLF":                  {OpenPGP, strings.ReplaceAll(armour(sig), "\n", "\r\n"), true},
		"without its checksum":  {OpenPGP, strings.Replace(armour(sig), "=AbCd\n", "", 1), true},
		"headers": {
			OpenPGP, armour(sig, "Version: GnuPG v2", "Comment: GPGTools - https://gpgtools.org"), true,
		},
		"two signatures":         {OpenPGP, armour(append(sig, old...)), true},
		"a long packet":          {OpenPGP, armour(old2), true},
		"a shell in a header":    {OpenPGP, armour(sig, "Comment: $(id)"), false},
		"another header":         {OpenPGP, armour(sig, "Charset: UTF-8"), false},
		"a script before":        {OpenPGP, "#!/bin/sh\nid\n" + armour(sig), false},
		"a script behind":        {OpenPGP, armour(sig) + "id\n", false},
		"a script within":        {OpenPGP, strings.Replace(armour(sig), "=AbCd\n", "id\n=AbCd\n", 1), false},
		"two blocks":             {OpenPGP, armour(sig) + armour(sig), false},
		"a message":              {OpenPGP, strings.ReplaceAll(armour(sig), "SIGNATURE", "MESSAGE"), false},
		"a literal packet":       {OpenPGP, armour(append([]byte{0xcb, 3}, "abc"...)), false},
		"half a packet":          {OpenPGP, armour(sig[:50]), true},
		"more than packets":      {OpenPGP, armour(append(sig, 1)), false},
		"no packet":              {OpenPGP, armour(nil), false},
		"one behind five octets": {OpenPGP, armour([]byte{0xc2, 0xff, 0, 0, 0, 1, 4, 0xcb, 3, 'a', 'b', 'c'}), false},
		"one behind four octets": {OpenPGP, armour([]byte{0x8a, 0, 0, 0, 1, 4, 0xcb, 3, 'a', 'b', 'c'}), false},
		"one behind two parts":   {OpenPGP, armour([]byte{0xc2, 0xe1, 4, 1, 1, 0, 0xcb, 3, 'a', 'b', 'c'}), false},
		"one behind a part":      {OpenPGP, armour([]byte{0xc2, 0xe0, 4, 0, 0xcb, 3, 'a', 'b', 'c'}), false},
		"five octets":            {OpenPGP, armour([]byte{0xc2, 0xff, 0, 0, 0, 1, 4, 0xc2, 1, 4}), true},
		"one within a part":      {OpenPGP, armour([]byte{0xc2, 0xe3, 0xcb, 3, 'a', 'b', 'c', 4, 4, 4, 0}), false},
		"one within an open end": {OpenPGP, armour([]byte{0x8b, 0xcb, 3, 'a', 'b', 'c'}), false},
		"a length beyond all":    {OpenPGP, armour([]byte{0xc2, 0xff, 0xff, 0xff, 0xff, 0xff, 4}), true},
		"an open length":         {OpenPGP, armour([]byte{0x8b, 4, 1, 2}), false},
		"a header and no more":   {OpenPGP, armour([]byte{0x89}), true},
		"a partial length":       {OpenPGP, armour([]byte{0xc2, 0xe1, 4, 1}), false},
		"a version of tomorrow":  {OpenPGP, armour([]byte{0xc2, 2, 9, 1}), true},
		"nothing":                {OpenPGP, "", false},
		"a clear-signed message": {OpenPGP, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nid\n" + armour(sig), false},
		"too large":              {OpenPGP, armour(bytes.Repeat(sig, 1000)), false},

		"ECDSA in DER":          {Signature, string(der), true},
		"ECDSA in base64":       {Signature, b64(der), true},
		"and a line feed":       {Signature, b64(der) + "\n", true},
		"Ed25519":               {Signature, b64(make([]byte, 64)), true},
		"RSA in lines":          {Signature, wrapped(make([]byte, 256), 76) + "\n", true},
		"lines of words":        {Signature, wrapped(make([]byte, 64), 4), false},
		"another length":        {Signature, b64(make([]byte, 65)), false},
		"DER with more":         {Signature, string(der) + "\n", false},
		"binary":                {Signature, string(make([]byte, 64)), false},
		"a script":              {Signature, "#!/bin/sh\nid\n", false},
		"two lines of base64":   {Signature, b64(der) + "\n" + b64(der), false},
		"a signature too large": {Signature, b64(make([]byte, 512)) + strings.Repeat("\n", 600), false},
		"OpenPGP's binary":      {Signature, string(sig), false},
		"an empty signature":    {Signature, "", false},
		"DER of nothing":        {Signature, "\x30\x06\x02\x01\x00\x02\x01\x00", false},

		"a certificate":           {Certificate, string(cert), true},
		"a chain":                 {Certificate, string(cert) + string(cert), true},
		"base64 of a certificate": {Certificate, b64(cert) + "\n", true},
		"a key": {
			Certificate, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})), false,
		},
		"a certificate and a key": {
			Certificate, string(cert) + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})), false,
		},
		"text before":  {Certificate, "id\n" + string(cert), false},
		"text between": {Certificate, string(cert) + "id\n" + string(cert), false},
		"text behind":  {Certificate, string(cert) + "id\n", false},
		"PEM headers":  {Certificate, string(headed), false},
		"not DER": {
			Certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("id")})), false,
		},
		"an empty file of PEM":          {Certificate, "", false},
		"checksums are not judged here": {Checksums, "", false},
	} {
		if err := Check(c.kind, []byte(c.data)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOf(t *testing.T) {
	for name, want := range map[string][2]string{
		"a.asc": {"openpgp", "a"}, "a.sig": {"signature", "a"}, "a.pem": {"certificate", "a"},
		"a.sha256": {"checksums", "a"}, "a.SHA512.txt": {"checksums", "a"}, "SHA256SUMS": {"checksums", ""},
		"checksum.txt": {"checksums", ""},
		".asc":         {}, "a.ASC": {}, "a.asc.sh": {}, "install": {}, "a.spdx.json": {}, "SHA256SUMS.sh": {}, "": {},
	} {
		kind, stem := Of(name)
		if [2]string{string(kind), stem} != want {
			t.Errorf("%q: %s %q", name, kind, stem)
		}
	}
}

func TestList(t *testing.T) {
	h := strings.Repeat("ab", 32)
	for in, ok := range map[string]bool{
		h + "  a\n": true, "SHA256 (a) = " + h: true, h: true, h + " a\n\n": true,
		"#!/bin/sh\n" + h + "  a": false, "SHA256\n" + h + "  a": false, "./a " + h: false, "\xef\xbb\xbf" + h + "  a": false,
		strings.Repeat("ab", 20) + "  a": false, h + "  a\n" + strings.Repeat("ab", 20) + "  a": false, "id": false,
		strings.Repeat(h+"  a\n", 2000): false,
	} {
		if _, err := List("a.sha256", []byte(in)); (err == nil) != ok {
			t.Errorf("%.40q: %v", in, err)
		}
	}
}

// hidden are signatures with other content behind or within them, some of which gpg finds.
var hidden = func() (out [][]byte) {
	literal := append([]byte{0xcb, 13, 'b', 0, 0, 0, 0, 0}, "#!evil\n"...)
	for _, begin := range [][]byte{
		{0xc2, 1, 4}, {0xc2, 0xff, 0, 0, 0, 1, 4}, {0x88, 1, 4}, {0x89, 0, 1, 4}, {0x8a, 0, 0, 0, 1, 4}, {0xc2, 0xe0, 4, 0},
		{0xc2, 0xe0, 4}, {0xc2, 0xe4}, {0x8b}, {0xc2, 0},
	} {
		out = append(out, append(begin, literal...))
	}
	return out
}()

// TestTools checks what gpg and openssl write, and what gpg finds in what they did not.
func TestTools(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) []byte {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "GNUPGHOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	out := filepath.Join(dir, "out")
	if _, err := exec.LookPath("gpg"); err == nil {
		for _, algorithm := range []string{"rsa3072", "ed25519"} {
			key := exec.Command("gpg", "--batch", "--passphrase", "", "--quick-generate-key",
				algorithm+"@example.com", algorithm)
			key.Env = append(os.Environ(), "GNUPGHOME="+dir)
			if text, err := key.CombinedOutput(); err != nil {
				t.Logf("gpg: %v\n%s", err, text)
				continue
			}
			data := run("gpg", "--batch", "--yes", "--armor", "--local-user", algorithm+"@example.com", "--output", out,
				"--detach-sign", file)
			if err := Check(OpenPGP, data); err != nil {
				t.Errorf("gpg with %s: %v\n%s", algorithm, err, data)
			}
		}
		kill := exec.Command("gpgconf", "--kill", "all")
		kill.Env = append(os.Environ(), "GNUPGHOME="+dir)
		_ = kill.Run()
	}
	for _, packets := range hidden { // what gpg prints of a file must be no side file
		if _, err := exec.LookPath("gpg"); err != nil {
			break
		}
		if err := os.WriteFile(out, []byte(armour(packets)), 0o600); err != nil {
			t.Fatal(err)
		}
		show := exec.Command("gpg", "--batch", "--decrypt", out)
		show.Env = append(os.Environ(), "GNUPGHOME="+dir)
		text, _ := show.CombinedOutput() // it is no message as a whole
		if err := Check(OpenPGP, []byte(armour(packets))); err == nil {
			t.Errorf("%x is taken for signatures, and gpg prints\n%s", packets, text)
		}
	}
	if _, err := exec.LookPath("openssl"); err == nil {
		key := filepath.Join(dir, "key")
		for _, args := range [][]string{{"EC", "ec_paramgen_curve:P-256"}, {"RSA", "rsa_keygen_bits:2048"}} {
			run("openssl", "genpkey", "-algorithm", args[0], "-pkeyopt", args[1], "-out", key)
			sig := run("openssl", "dgst", "-sha256", "-sign", key, "-out", out, file)
			if err := Check(Signature, []byte(base64.StdEncoding.EncodeToString(sig))); err != nil {
				t.Errorf("openssl with %s: %v", args[0], err)
			}
		}
	}
}

// FuzzCheck: what is of a kind has no line that another kind of file begins with, and nothing
// but what its grammar has.
func FuzzCheck(f *testing.F) {
	cert, _ := certificate(f)
	f.Add(0, []byte(armour(signature(80))))
	f.Add(1, []byte(base64.StdEncoding.EncodeToString(make([]byte, 64))))
	f.Add(2, cert)
	f.Fuzz(func(t *testing.T, n int, data []byte) {
		kind := Kinds[(n%3+3)%3]
		if Check(kind, data) != nil {
			return
		}
		if len(data) > MaxBytes || bytes.HasPrefix(data, []byte("#!")) || bytes.HasPrefix(data, []byte("MZ")) ||
			bytes.HasPrefix(data, []byte("\x7fELF")) || bytes.HasPrefix(data, []byte("PK")) {
			t.Fatalf("%s: %q", kind, data)
		}
		if kind != Signature && bytes.IndexByte(data, 0) >= 0 {
			t.Fatalf("%s: %q", kind, data)
		}
		// A byte that is added is never part of it.
		for _, more := range []string{"x", "\x00", "\nid\n"} {
			if Check(kind, append([]byte(more), data...)) == nil {
				t.Fatalf("%s: %q before %q", kind, more, data)
			}
		}
	})
}
