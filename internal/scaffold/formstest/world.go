// SPDX-License-Identifier: Apache-2.0

package formstest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

const policyHead = `format     = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version    = 1
expires    = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
`

// Pin trusts a policy with these rules.
func Pin(t testing.TB, text string) *policy.Trusted {
	t.Helper()
	doc, err := policy.Parse([]byte(policyHead + text))
	if err != nil {
		t.Fatal(err)
	}
	return doc.Pin(policy.Ids{})
}

// Root is the trusted root of an instance.
func Root(t testing.TB, i *sigstoretest.Instance, o sigstoretest.RootOptions) *sigstore.Root {
	t.Helper()
	r, err := sigstore.ParseRoot("test", i.Root(o))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Alice signs as a maintainer of the policy.
func Alice() sigstoretest.Request {
	return sigstoretest.Request{SAN: "alice@example.com", Issuer: "https://accounts.google.com"}
}

// Put writes files into a new directory and returns it.
func Put(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Statement is provenance of SLSA about these subjects.
func Statement(subjects ...string) []byte {
	const head = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1",`
	return []byte(head + `"predicate":{},"subject":[` + strings.Join(subjects, ",") + `]}`)
}

// Subject is a subject of a statement.
func Subject(name string, content []byte) string {
	return fmt.Sprintf(`{"name":%q,"digest":{"sha256":"%x"}}`, name, sha256.Sum256(content))
}
