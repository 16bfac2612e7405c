// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/airgap"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/sandbox"
	"github.com/repopolicy/repopolicy/sandbox/claims"
)

// TestAirgap carries a policy, its look-up proof, the trust root and evidence to a machine
// that has no network, and nothing but the pin of the trust root.
func TestAirgap(t *testing.T) {
	const name = "acme/airgap"
	url := "https://github.com/" + name
	bindAs(t, name, true)
	dir := newOperator(t)
	dir.build()
	good := releaseFile(t, "widget_1.tar.gz", claims.GitHub{Repository: name, Ref: "refs/tags/v1", Environment: "release"})
	carried := filepath.Join(t.TempDir(), filepath.Base(good))
	data, err := os.ReadFile(good)
	check(t, err)
	check(t, os.WriteFile(carried, data, 0o600)) // without evidence beside it

	scope := "\n[[scope]]\nrepositories = [\"https://github.com/acme/*\"]\nroots = [\"first\"]\n"
	config := trustConfig(t, stack, scope)
	online := newComputer(t)
	online.config = config
	file := filepath.Join(t.TempDir(), "widget.airgap")
	out := online.must(policy.ClassOK, "export-bundle", "-R", url, "--directory", dir.descriptorFile, "-o", file, good+".sigstore.json")
	if !strings.Contains(out, "complete   signed") {
		t.Error(out)
	}
	offline := func(config string) *computer {
		c := newComputer(t)
		c.config = config
		c.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL)
			return nil, errors.New("there is no network")
		})
		return c
	}
	moment := time.Now().UTC().Format(time.RFC3339)
	verify := func(file string, more ...string) []string {
		return append([]string{"verify", "--airgap", file, "--directory", dir.descriptorFile, "--tag", "v1", carried}, more...)
	}
	out = offline(config).must(policy.ClassOK, verify(file, "--as-of", moment)...)
	for _, want := range []string{"complete   signed", "not known  what the repository has bound, revoked or yanked after", "trust      first", "as of      " + moment} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	offline(config).must(policy.ClassOK, verify(file)...)
	offline(config).must(policy.ClassDeny, verify(file, "--certificate-identity", "mallory@example.com", "--certificate-oidc-issuer", "https://accounts.google.com")...)
	offline(config).must(policy.ClassUsage, verify(file, "-R", "acme/other")...)
	offline(config).must(policy.ClassUsage, verify(file, "--git", ".")...)
	offline(config).must(policy.ClassUsage, verify(file, "--scan")...)
	if code, out := offline(config).repopolicy(verify(file, "--as-of", "2020-01-01T00:00:00Z")...); code == 0 {
		t.Errorf("as of a time before anything was signed: %s", out)
	}

	// The same without a directory's answer: nothing is known about what else is bound.
	bare := filepath.Join(t.TempDir(), "bare.airgap")
	online.must(policy.ClassOK, "export-bundle", "-R", url, "-o", bare, good+".sigstore.json")
	if out := offline(config).must(policy.ClassUnavailable, "verify", "--airgap", bare, "--tag", "v1", carried); !strings.Contains(out, "--require") {
		t.Error(out)
	}
	out = offline(config).must(policy.ClassOK, "verify", "--airgap", bare, "--tag", "v1", "--require", "first,none", carried)
	if !strings.Contains(out, "not known  what else the repository has bound") {
		t.Error(out)
	}

	// Nothing is trusted for being in the file.
	raw, err := os.ReadFile(file)
	check(t, err)
	change := func(what func(*airgap.Bundle)) string {
		b, err := airgap.Parse(raw)
		check(t, err)
		what(b)
		data, err := b.Encode()
		check(t, err)
		path := filepath.Join(t.TempDir(), "changed.airgap")
		check(t, os.WriteFile(path, data, 0o600))
		return path
	}
	other, err := sandbox.Start(t.Context(), t.TempDir(), sandbox.Options{})
	check(t, err)
	defer other.Close()
	drop := func(files map[string][]byte, part string) {
		n := len(files)
		for name := range files {
			if strings.Contains(name, part) {
				delete(files, name)
			}
		}
		if len(files) == n {
			t.Fatalf("no file with %q", part)
		}
	}
	for what, path := range map[string]string{
		"no signature files": change(func(b *airgap.Bundle) { clear(b.Files) }),
		"no evidence":        change(func(b *airgap.Bundle) { clear(b.Evidence) }),
		"no answer":          change(func(b *airgap.Bundle) { b.Answer = nil }),
		"half an answer":     change(func(b *airgap.Bundle) { b.Answer = b.Answer[:len(b.Answer)/2] }),
		"no trusted root":    change(func(b *airgap.Bundle) { clear(b.Targets) }),
		"no timestamp":       change(func(b *airgap.Bundle) { drop(b.Metadata, "timestamp") }),
		"no snapshot":        change(func(b *airgap.Bundle) { drop(b.Metadata, "snapshot") }),
		"a root of others": change(func(b *airgap.Bundle) {
			for name := range b.Targets {
				b.Targets[name] = other.TrustedRoot()
			}
		}),
	} {
		for _, more := range [][]string{nil, {"--require", "first,hinted"}} {
			if code, out := offline(config).repopolicy(verify(path, more...)...); code == policy.ClassOK.Exit() {
				t.Errorf("%s: OK\n%s", what, out)
			}
		}
	}
	// The file of a machine with another pin.
	if code, out := offline(trustConfig(t, other, strings.Replace(scope, "first", "second", 1))).repopolicy(verify(file)...); code == policy.ClassOK.Exit() {
		t.Errorf("followed from another root: OK\n%s", out)
	}
}
