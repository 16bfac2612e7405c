// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
)

func certify(t testing.TB, notBefore time.Time, exts ...pkix.Extension) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: notBefore, NotAfter: notBefore.Add(time.Hour), ExtraExtensions: exts,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func ext(oid asn1.ObjectIdentifier, value []byte) pkix.Extension {
	return pkix.Extension{Id: oid, Value: value}
}

func fulcio(n int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier{}, oidFulcio...), n)
}

func TestFromCertificate(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	old := time.Date(2023, 2, 1, 0, 0, 0, 0, time.UTC)
	san := func(names ...string) pkix.Extension { return ext(oidSAN, sigstoretest.SAN(names...)) }
	issuer := sigstoretest.Extension(8, "https://accounts.google.com")
	other := func(oid []byte, value string) pkix.Extension {
		inner := append([]byte{0x0c, byte(len(value))}, value...)
		body := append(append([]byte{0x06, byte(len(oid))}, oid...), append([]byte{0xa0, byte(len(inner))}, inner...)...)
		name := append([]byte{0xa0, byte(len(body))}, body...)
		return ext(oidSAN, append([]byte{0x30, byte(len(name))}, name...))
	}
	fulcioOther := []byte{0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x07}
	for _, c := range []struct {
		name  string
		at    time.Time
		exts  []pkix.Extension
		kind  policy.Kind
		value string
		err   string
	}{
		{"email", now, []pkix.Extension{san("alice@example.com"), issuer}, policy.KindEmail, "alice@example.com", ""},
		{
			"uri", now, []pkix.Extension{san("https://example.com/a%20b"), issuer}, policy.KindURI, "https://example.com/a%20b",
			"",
		},
		{
			"case-53-othername", now, []pkix.Extension{other(fulcioOther, "alice!example.com"), issuer}, policy.KindUsername,
			"alice!example.com", "",
		},
		{"no issuer", now, []pkix.Extension{san("https://example.com")}, policy.KindURI, "https://example.com", ""},
		{
			"issuer .1 in 2023", old,
			[]pkix.Extension{san("alice@example.com"), sigstoretest.Extension(1, "https://accounts.google.com")},
			policy.KindEmail, "alice@example.com", "",
		},
		{
			"case-48-iss-missing", now,
			[]pkix.Extension{san("alice@example.com"), sigstoretest.Extension(1, "https://accounts.google.com")}, "", "",
			"no issuer extension .8",
		},
		{
			"case-49-iss-v1-v2-mismatch", now,
			[]pkix.Extension{san("alice@example.com"), sigstoretest.Extension(1, "https://a.example"), issuer}, "", "",
			"different issuers",
		},
		{"no name", now, []pkix.Extension{issuer}, "", "", "no subject alternative name"},
		{"two names", now, []pkix.Extension{san("alice@example.com", "bob@example.com"), issuer}, "", "", "more than one"},
		{
			"e-mail and uri", now, []pkix.Extension{san("https://example.com", "bob@example.com"), issuer}, "", "",
			"more than one",
		},
		{"dns name", now, []pkix.Extension{ext(oidSAN, []byte("\x30\x0d\x82\x0bexample.com")), issuer}, "", "", "type 2"},
		{
			"foreign otherName", now, []pkix.Extension{other([]byte{0x2b, 0x06, 0x01}, "alice"), issuer}, "", "", "type 1.3.6.1",
		},
		{"control character", now, []pkix.Extension{san("alice\n@example.com"), issuer}, "", "", "control"},
		{"empty name", now, []pkix.Extension{ext(oidSAN, []byte{0x30, 0x02, 0x81, 0x00}), issuer}, "", "", "empty"},
		{
			"trailing bytes", now,
			[]pkix.Extension{
				san("alice@example.com"), ext(fulcio(8), append(sigstoretest.Extension(8, "https://a.example").Value, 0)),
			}, "", "", "not one UTF8String",
		},
		{
			"printable string", now, []pkix.Extension{san("alice@example.com"), ext(fulcio(8), []byte("\x13\x03abc"))}, "", "",
			"not one UTF8String",
		},
		{
			"not der", now, []pkix.Extension{san("alice@example.com"), issuer, ext(fulcio(12), []byte("https://x"))}, "", "",
			"1.12",
		},
		{
			"unknown extension", now, []pkix.Extension{san("alice@example.com"), issuer, ext(fulcio(99), []byte("?"))},
			policy.KindEmail, "alice@example.com", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := &x509.Certificate{NotBefore: c.at, Extensions: c.exts} // x509 itself refuses some of these
			id, err := FromCertificate(cert)
			switch {
			case c.err == "" && (err != nil || id.Kind != c.kind || id.Value != c.value):
				t.Errorf("%+v %v", id, err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || id != Identity{}):
				t.Errorf("%+v %v", id, err)
			}
		})
	}
	dup := &x509.Certificate{NotBefore: now, Extensions: []pkix.Extension{san("alice@example.com"), issuer, issuer}}
	if _, err := FromCertificate(dup); err == nil {
		t.Error("case-100-ext-dup: accepted")
	}
	if _, err := FromCertificate(nil); err == nil {
		t.Error("nil: accepted")
	}
}

// TestEveryExtension writes each extension and finds it in its field.
func TestEveryExtension(t *testing.T) {
	exts := []pkix.Extension{ext(oidSAN, sigstoretest.SAN("https://example.com/x"))}
	for n := 1; n <= 24; n++ {
		if n == 7 {
			continue
		}
		v := "value " + string(rune('a'+n))
		if n == 1 || n == 8 {
			v = "https://issuer.example"
		}
		exts = append(exts, sigstoretest.Extension(n, v))
	}
	id, err := FromCertificate(certify(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), exts...))
	if err != nil {
		t.Fatal(err)
	}
	v := func(n int) string { return "value " + string(rune('a'+n)) }
	want := Identity{
		Kind: policy.KindURI, Value: "https://example.com/x", Issuer: "https://issuer.example", WorkflowTrigger: v(2),
		WorkflowSHA: v(3), WorkflowName: v(4),
		WorkflowRepository: v(5), WorkflowRef: v(6), BuildSignerURI: v(9), BuildSignerDigest: v(10), RunnerEnvironment: v(11),
		SourceRepositoryURI:    v(12),
		SourceRepositoryDigest: v(13), SourceRepositoryRef: v(14), SourceRepositoryID: v(15), SourceRepositoryOwner: v(16),
		SourceRepositoryOwnerID: v(17),
		BuildConfigURI:          v(18), BuildConfigDigest: v(19), BuildTrigger: v(20), RunInvocationURI: v(21),
		Visibility: v(22), DeploymentEnvironment: v(23), TokenSubject: v(24),
	}
	if id != want {
		t.Errorf("got %+v", id)
	}
}

// FuzzFromCertificate compares with sigstore-go: what both take must agree in
// every field that both know.
func FuzzFromCertificate(f *testing.F) {
	for _, der := range realCertificates(f) {
		f.Add(der)
	}
	f.Add(certify(f, time.Now(), ext(oidSAN, sigstoretest.SAN("alice@example.com")),
		sigstoretest.Extension(8, "https://a.example")).Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		id, err := FromCertificate(cert)
		if err != nil {
			if id != (Identity{}) {
				t.Fatal("an identity beside an error")
			}
			return
		}
		if id.Kind == "" || id.Value == "" {
			t.Fatalf("no identity: %+v", id)
		}
		sum, err := certificate.SummarizeCertificate(cert)
		if err != nil {
			return
		}
		uri := ""
		if len(cert.URIs) > 0 {
			uri = cert.URIs[0].String() // net/url may have changed how it is written
		}
		theirs := Identity{
			Kind: id.Kind, Value: id.Value, Issuer: id.Issuer, TokenSubject: id.TokenSubject,
			WorkflowTrigger: sum.GithubWorkflowTrigger, WorkflowSHA: sum.GithubWorkflowSHA,
			WorkflowName: sum.GithubWorkflowName, WorkflowRepository: sum.GithubWorkflowRepository,
			WorkflowRef: sum.GithubWorkflowRef, BuildSignerURI: sum.BuildSignerURI, BuildSignerDigest: sum.BuildSignerDigest,
			RunnerEnvironment: sum.RunnerEnvironment, SourceRepositoryURI: sum.SourceRepositoryURI,
			SourceRepositoryDigest: sum.SourceRepositoryDigest, SourceRepositoryRef: sum.SourceRepositoryRef,
			SourceRepositoryID: sum.SourceRepositoryIdentifier, SourceRepositoryOwner: sum.SourceRepositoryOwnerURI,
			SourceRepositoryOwnerID: sum.SourceRepositoryOwnerIdentifier, BuildConfigURI: sum.BuildConfigURI,
			BuildConfigDigest: sum.BuildConfigDigest, BuildTrigger: sum.BuildTrigger, RunInvocationURI: sum.RunInvocationURI,
			Visibility: sum.SourceRepositoryVisibilityAtSigning, DeploymentEnvironment: id.DeploymentEnvironment,
		}
		if id.Value != sum.SubjectAlternativeName && uri == "" || id != theirs {
			t.Fatalf("differ: %+v and %+v", id, sum)
		}
	})
}

// realCertificates returns the leaf certificates of the bundles in sigstore-go's
// test data.
func realCertificates(t testing.TB) [][]byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "pkg/testing/data/bundles/*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no bundles", err)
	}
	var out [][]byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		type raw struct{ RawBytes []byte }
		var b struct {
			VerificationMaterial struct {
				Certificate          *raw
				X509CertificateChain *struct{ Certificates []raw }
			}
		}
		if err := json.Unmarshal(data, &b); err != nil {
			t.Fatal(err)
		}
		if c := b.VerificationMaterial.Certificate; c != nil {
			out = append(out, c.RawBytes)
		}
		if c := b.VerificationMaterial.X509CertificateChain; c != nil {
			out = append(out, c.Certificates[0].RawBytes)
		}
	}
	return out
}
