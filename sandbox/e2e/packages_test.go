// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// signStatement signs a statement about one subject as somebody.
func signStatement(t testing.TB, name, alg, hex string, who claims.Claims) []byte {
	t.Helper()
	token, err := stack.Token(who)
	check(t, err)
	key, err := sign.NewEphemeralKeypair(nil)
	check(t, err)
	statement := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},"subject":[{"name":%q,"digest":{%q:%q}}]}`, name, alg, hex)
	b, err := sign.Bundle(&sign.DSSEData{Data: statement, PayloadType: "application/vnd.in-toto+json"}, key, sign.BundleOptions{
		Context:                    t.Context(),
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: stack.URL(sandbox.Fulcio), Transport: stack.Transport()}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token},
		TimestampAuthorities:       []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: stack.URL(sandbox.TSA)})},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: stack.URL(sandbox.Rekor), Version: 2})},
	})
	check(t, err)
	data, err := protojson.Marshal(b)
	check(t, err)
	return data
}

// TestPackages: a package of npm by its URL, a wheel by its name.
func TestPackages(t *testing.T) {
	who := claims.GitHub{Repository: "acme/packages", Ref: "refs/heads/main", Environment: "publish"}
	const purl = "pkg:npm/%40acme/widget@1.2.3"
	tarball, wheel := "a tarball", "a wheel"
	npm, err := json.Marshal(map[string]any{"attestations": []any{map[string]any{"predicateType": "https://slsa.dev/provenance/v1", "bundle": json.RawMessage(signStatement(t, purl, "sha512", fmt.Sprintf("%x", sha512.Sum512([]byte(tarball))), who))}}})
	check(t, err)
	var bundle struct {
		VerificationMaterial struct {
			Certificate struct{ RawBytes []byte }
			TlogEntries []json.RawMessage
		}
		DsseEnvelope struct {
			Payload    []byte
			Signatures []struct{ Sig []byte }
		}
	}
	const file = "widget-1.2.3-py3-none-any.whl"
	check(t, json.Unmarshal(signStatement(t, file, "sha256", fmt.Sprintf("%x", sha256.Sum256([]byte(wheel))), who), &bundle))
	pypi, err := json.Marshal(map[string]any{"version": 1, "attestation_bundles": []any{map[string]any{"publisher": map[string]any{"kind": "GitHub"}, "attestations": []any{map[string]any{
		"version":               1,
		"verification_material": map[string]any{"certificate": bundle.VerificationMaterial.Certificate.RawBytes, "transparency_entries": bundle.VerificationMaterial.TlogEntries},
		"envelope":              map[string]any{"statement": bundle.DsseEnvelope.Payload, "signature": bundle.DsseEnvelope.Signatures[0].Sig},
	}}}}})
	check(t, err)
	content := map[string]string{
		"/@acme/widget/-/widget-1.2.3.tgz":                    tarball,
		"/-/npm/v1/attestations/@acme/widget@1.2.3":           string(npm),
		"/@acme/widget/-/widget-1.2.4.tgz":                    tarball, // what was released as another version
		"/-/npm/v1/attestations/@acme/widget@1.2.4":           string(npm),
		"/@acme/widget/-/widget-2.0.0.tgz":                    "changed",
		"/-/npm/v1/attestations/@acme/widget@2.0.0":           string(npm),
		"/@acme/widget/-/widget-3.0.0.tgz":                    tarball,
		"/integrity/widget/1.2.3/" + file + "/provenance":     string(pypi),
		"/integrity/widget/1.2.3/widget-1.2.3.tar.gz/nothing": "",
	}
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := content[r.URL.Path]
		switch {
		case strings.Contains(r.URL.Path, "widget@4") || strings.Contains(r.URL.Path, "/4.0.0/"):
			http.Error(w, "", http.StatusForbidden)
		case !ok:
			http.NotFound(w, r)
		default:
			_, _ = io.WriteString(w, text)
		}
	}))
	defer registry.Close()
	content["/@acme/widget/-/widget-4.0.0.tgz"] = tarball

	dir := t.TempDir()
	rules := strings.ReplaceAll(string(policyText("acme/packages", 1, 1, "alice")), "[[release]]\n", "[[release]]\nrefs        = [\"refs/heads/main\"]\n")
	rules = strings.ReplaceAll(rules, `"widget_*.tar.gz"`, `"pkg:npm/%40acme/widget@*", "widget-*.whl"`)
	rules = strings.ReplaceAll(rules, `"release"`, `"publish"`)
	rules = strings.ReplaceAll(rules, `tags        = ["v*"]`, `tags        = "any"`)
	file1 := filepath.Join(dir, "policy.toml")
	check(t, os.WriteFile(file1, []byte(rules), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, file), []byte(wheel), 0o600))
	verify := func(class policy.Class, args ...string) string {
		t.Helper()
		return newComputer(t).must(class, append([]string{"verify", "-v", "--npm-registry", registry.URL, "--pypi-index", registry.URL}, args...)...)
	}
	out := verify(policy.ClassOK, "--policy", file1, purl)
	if !strings.Contains(out, "npm attestations") {
		t.Error(out)
	}
	to := t.TempDir()
	verify(policy.ClassOK, "--policy", file1, "--download", to, purl)
	if got, err := os.ReadFile(filepath.Join(to, "widget-1.2.3.tgz")); err != nil || string(got) != tarball {
		t.Errorf("%q %v", got, err)
	}
	verify(policy.ClassDeny, "--policy", file1, "pkg:npm/%40acme/widget@1.2.4") // served under a name that it is not signed with
	verify(policy.ClassDeny, "--policy", file1, "pkg:npm/%40acme/widget@2.0.0")
	verify(policy.ClassDeny, "--policy", file1, "pkg:npm/%40acme/widget@3.0.0")        // no attestations
	verify(policy.ClassUnavailable, "--policy", file1, "pkg:npm/%40acme/widget@4.0.0") // no answer
	verify(policy.ClassUsage, "--policy", file1, "pkg:npm/widget")
	verify(policy.ClassUsage, "--policy", file1, "pkg:pypi/widget@1")
	verify(policy.ClassUsage, "--policy", file1, "--offline", "--trusted-root", newComputer(t).root, purl)

	// A wheel is asked for by its name where the repository is known.
	bound(t, "acme/packages")
	verify(policy.ClassDeny, "--policy", file1, filepath.Join(dir, file))
	out = verify(policy.ClassDeny, "-R", "https://github.com/acme/packages", filepath.Join(dir, file)) // the policy that is bound has no such rule
	if !strings.Contains(out, "PyPI attestations") || !strings.Contains(out, "/integrity/widget/1.2.3/") {
		t.Error(out)
	}
}
