// SPDX-License-Identifier: Apache-2.0

package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore/pkg/signature"
	sumdb "golang.org/x/mod/sumdb/note"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// logOf returns a log of a trusted root with a key of the registry's kind.
func logOf(t testing.TB, key crypto.Signer, details string) *logKey {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	l, err := readLog(&bundle.Log{
		URL: "https://log.example", Hash: "SHA2_256", ID: sum[:],
		Key: &bundle.PublicKey{Raw: der, Details: details, Valid: &bundle.Window{Start: sigstoretest.Now}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNotes: by each kind of key a log signs the notes that the libraries for them verify, under
// the same hints.
func TestNotes(t *testing.T) {
	text := fmt.Sprintf("log.example\n1\n%s\n", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	for name, key := range bareKeys(t) {
		details := map[string]string{
			"ECDSA P-256": "PKIX_ECDSA_P256_SHA_256", "ECDSA P-384": "PKIX_ECDSA_P384_SHA_384",
			"ECDSA P-521": "PKIX_ECDSA_P521_SHA_512", "Ed25519": "PKIX_ED25519",
		}[name]
		if details == "" {
			details = "PKIX_RSA_PKCS1V15_2048_SHA256"
		}
		l := logOf(t, key, details)
		hash := l.alg.Hash
		if hash == 0 {
			hash = crypto.SHA512
		}
		signer, err := signature.LoadSigner(key, hash)
		if err != nil {
			t.Fatal(err)
		}
		by, err := note.NewNoteSigner(t.Context(), "log.example", signer)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := sumdb.Sign(&sumdb.Note{Text: text}, by)
		if err != nil {
			t.Fatal(err)
		}
		if _, own, err := l.open(signed, 2); err != nil || string(own) != string(signed) || by.KeyHash() != l.noted {
			t.Errorf("%s: %q, %v", name, own, err)
		}
		if _, _, err := l.open(append([]byte("x"), signed...), 2); err == nil {
			t.Errorf("%s: another text", name)
		}
	}
}

// TestOpen: which signatures a checkpoint may have, by generation.
func TestOpen(t *testing.T) {
	key := bareKeys(t)["ECDSA P-256"].(*ecdsa.PrivateKey)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := logOf(t, key, "PKIX_ECDSA_P256_SHA_256")
	text := fmt.Sprintf("log.example\n1\n%s\n", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	line := func(name string, hint uint32, by *ecdsa.PrivateKey) string {
		sum := sha256.Sum256([]byte(text))
		sig, err := ecdsa.SignASN1(rand.Reader, by, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return "\u2014 " + name + " " +
			base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, hint), sig...)) + "\n"
	}
	own, forged := line("log.example", l.spki, key), line("log.example", l.spki, other)
	witness, renamed := line("witness.example", 7, other), line("other.example", l.spki, key)
	nameless, wide := *l, *l
	nameless.host, wide.alg.Hash = "", crypto.SHA384
	for name, c := range map[string]struct {
		log           *logKey
		lines         string
		first, second bool // whether each generation takes it
	}{
		"the log's own":          {l, own, true, true},
		"twice":                  {l, own + own, true, true},
		"and a witness's":        {l, own + witness, false, true},
		"a witness's and it":     {l, witness + own, false, true},
		"a witness's alone":      {l, witness, false, false},
		"under another name":     {l, renamed, true, false},
		"forged":                 {l, forged, false, false},
		"it, and one forged":     {l, own + forged, false, false},
		"one forged, and it":     {l, forged + own, false, false},
		"of a log without URL":   {&nameless, own, true, false},
		"of another hash in v1":  {&wide, own, false, false},
		"no signature at all":    {l, "", false, false},
		"something that is none": {l, "signature\n", false, false},
	} {
		for generation, want := range map[int]bool{1: c.first, 2: c.second} {
			_, kept, err := c.log.open([]byte(text+"\n"+c.lines), generation)
			if (err == nil) != want || want && !strings.HasPrefix(string(kept), text+"\n\u2014 ") ||
				want && strings.Contains(string(kept), "witness") {
				t.Errorf("%s, generation %d: %q, %v", name, generation, kept, err)
			}
		}
	}
}

// TestRootRefused: logs and authorities that a trusted root may not name so.
func TestRootRefused(t *testing.T) {
	inst := sigstoretest.New(t)
	for name, change := range map[string]func(*prototrust.TrustedRoot){
		"another media type":    func(r *prototrust.TrustedRoot) { r.MediaType += "1" },
		"another hash":          func(r *prototrust.TrustedRoot) { r.Tlogs[0].HashAlgorithm = 2 },
		"no id":                 func(r *prototrust.TrustedRoot) { r.Tlogs[0].LogId = nil },
		"no key":                func(r *prototrust.TrustedRoot) { r.Tlogs[0].PublicKey = nil },
		"no bytes of a key":     func(r *prototrust.TrustedRoot) { r.Tlogs[0].PublicKey.RawBytes = nil },
		"bytes of no key":       func(r *prototrust.TrustedRoot) { r.Tlogs[0].PublicKey.RawBytes = []byte{1} },
		"a key of another kind": func(r *prototrust.TrustedRoot) { r.Ctlogs[0].PublicKey.KeyDetails = 7 },
		"a kind of no log":      func(r *prototrust.TrustedRoot) { r.Tlogs[0].PublicKey.KeyDetails = 8 },
		"a key in PKCS #1, not": func(r *prototrust.TrustedRoot) { r.Tlogs[0].PublicKey.KeyDetails = 1 },
		"no window":             func(r *prototrust.TrustedRoot) { r.Tlogs[0].PublicKey.ValidFor = nil },
		"no certificates":       func(r *prototrust.TrustedRoot) { r.CertificateAuthorities[0].CertChain = nil },
		"no certificate": func(r *prototrust.TrustedRoot) {
			r.CertificateAuthorities[0].CertChain.Certificates[0].RawBytes = []byte{1}
		},
		"no stamper": func(r *prototrust.TrustedRoot) { r.TimestampAuthorities[0].CertChain = nil },
	} {
		if r, err := ParseRoot("test", inst.Root(roots{Mutate: change})); err == nil {
			t.Errorf("%s: %+v", name, r)
		} else {
			reasonOf(t, err)
		}
	}
}

// TestPromise: what a signed entry timestamp covers.
func TestPromise(t *testing.T) {
	inst := sigstoretest.New(t)
	r, err := ParseRoot("test", inst.Root(roots{}))
	if err != nil {
		t.Fatal(err)
	}
	of := func() *logged {
		b, err := ParseBundle(inst.Sign(message(nil)))
		if err != nil {
			t.Fatal(err)
		}
		return b.entries[0]
	}
	for name, c := range map[string]struct {
		change func(*logged)
		ok     bool
	}{
		"as it is":        {func(*logged) {}, true},
		"another time":    {func(e *logged) { e.Time++ }, false},
		"no time":         {func(e *logged) { e.Time = 0 }, false},
		"another index":   {func(e *logged) { e.Index++ }, false},
		"another body":    {func(e *logged) { e.Body = append(e.Body, ' ') }, false},
		"another log":     {func(e *logged) { e.log = strings.Repeat("0", 64) }, false},
		"another promise": {func(e *logged) { e.Promise = of().Promise }, false},
		"none":            {func(e *logged) { e.Promise = nil }, false},
		"of Rekor v2":     {func(e *logged) { e.body.generation = 2 }, false},
		"a number too large": {func(e *logged) {
			e.Index = maxExact + 1
			e.Promise = inst.PromiseV1(e.Body, e.Index, time.Unix(e.Time, 0))
		}, false},
		"the largest": {func(e *logged) {
			e.Index = maxExact
			e.Promise = inst.PromiseV1(e.Body, e.Index, time.Unix(e.Time, 0))
		}, true},
	} {
		e := of()
		log := r.logs[e.log]
		c.change(e)
		if err := log.checkPromise(e); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
