// SPDX-License-Identifier: Apache-2.0

// Package exports runs what `repopolicy export` writes by the programs it is written for. It is a
// room of its own, as building them takes longer than a test of the product's module may.
package exports

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/policy"
)

const head = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = 7
expires = 2099-06-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

const people = "\n[[release]]\nname = \"people\"\ntags = \"any\"\nartifacts = \"any\"\n" +
	"identities = [{ email = \"alice@example.com\", issuer = \"https://accounts.google.com\" }]\n"

func newKey(t testing.TB) (*ecdsa.PrivateKey, string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func parse(t testing.TB, text string) *policy.Document {
	t.Helper()
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return doc
}

// sample is the policy that the golden files of the exports are made of.
func sample(t testing.TB) *policy.Document {
	t.Helper()
	text, err := os.ReadFile("../../internal/propose/export/testdata/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

func now() time.Time { return time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC) }
