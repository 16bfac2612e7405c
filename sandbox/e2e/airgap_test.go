// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
		return append([]string{"verify", "-v", "-R", url, "--airgap", file, "--directory", dir.descriptorFile, "--tag", "v1", carried}, more...)
	}
	out = offline(config).must(policy.ClassOK, verify(file, "--as-of", moment)...)
	for _, want := range []string{"complete   signed", "not known  what the repository has bound, revoked or yanked after", "trust      first", "as of      " + moment} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	offline(config).must(policy.ClassOK, verify(file)...)
	offline(config).must(policy.ClassDeny, verify(file, "--certificate-identity", "mallory@example.com", "--certificate-oidc-issuer", "https://accounts.google.com")...)
	offline(config).must(policy.ClassUsage, verify(file, "--git", ".")...)
	offline(config).must(policy.ClassUsage, verify(file, "--scan")...)
	if code, out := offline(config).repopolicy(verify(file, "--as-of", "2020-01-01T00:00:00Z")...); code == 0 {
		t.Errorf("as of a time before anything was signed: %s", out)
	}

	// The same without a directory's answer: nothing is known about what else is bound.
	bare := filepath.Join(t.TempDir(), "bare.airgap")
	online.must(policy.ClassOK, "export-bundle", "-R", url, "-o", bare, good+".sigstore.json")
	if out := offline(config).must(policy.ClassUnavailable, "verify", "-R", url, "--airgap", bare, "--tag", "v1", carried); !strings.Contains(out, "--require") {
		t.Error(out)
	}
	out = offline(config).must(policy.ClassOK, "verify", "-v", "-R", url, "--airgap", bare, "--tag", "v1", "--require", "first,none", carried)
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

// TestAirgapQuestion swaps the file that is carried for one of another repository, whose
// artifact it allows: the command line says which repository is meant.
func TestAirgapQuestion(t *testing.T) {
	config := trustConfig(t, stack, "\n[[scope]]\nrepositories = [\"https://github.com/acme/*\"]\nroots = [\"first\"]\n")
	machine := func() *computer {
		c := newComputer(t)
		c.config = config
		return c
	}
	inside := func() *computer {
		c := machine()
		c.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			t.Errorf("asked %s", r.URL)
			return nil, errors.New("there is no network")
		})
		return c
	}
	type side struct{ url, artifact, file, lock, pin string }
	prepare := func(name string) side {
		s := side{url: "https://github.com/" + name}
		bindAs(t, name, true)
		s.artifact = releaseFile(t, "widget_1.tar.gz", claims.GitHub{Repository: name, Ref: "refs/tags/v1", Environment: "release"})
		s.file, s.lock = filepath.Join(t.TempDir(), "widget.airgap"), filepath.Join(t.TempDir(), "widget.lock")
		machine().must(policy.ClassOK, "export-bundle", "-R", s.url, "-o", s.file, s.artifact+".sigstore.json")
		out := machine().must(policy.ClassOK, "lock", "-R", s.url, "-o", s.lock)
		_, digest, ok := strings.Cut(strings.TrimSpace(out), "first ")
		if !ok {
			t.Fatal(out)
		}
		s.pin = digest
		return s
	}
	ours, theirs := prepare("acme/question"), prepare("acme/answer")
	raw, err := os.ReadFile(theirs.file)
	check(t, err)
	b, err := airgap.Parse(raw)
	check(t, err)
	b.Repository, err = policy.ParseLocator(ours.url)
	check(t, err)
	raw, err = b.Encode()
	check(t, err)
	relabelled := filepath.Join(t.TempDir(), "widget.airgap")
	check(t, os.WriteFile(relabelled, raw, 0o600))

	for _, verb := range []string{"verify", "explain"} {
		judge := func(file, artifact string, how ...string) []string {
			return append([]string{verb, "-v", "--airgap", file, "--tag", "v1", "--require", "first,none", artifact}, how...)
		}
		for _, how := range [][]string{{"-R", ours.url}, {"--lock", ours.lock}, {"--pin", ours.pin}, {"-R", ours.url, "--lock", ours.lock, "--pin", ours.pin}} {
			out := inside().must(policy.ClassOK, judge(ours.file, ours.artifact, how...)...)
			if pinned := strings.Contains(out, "genesis    pinned"); pinned != (how[0] != "-R" || len(how) > 2) {
				t.Errorf("%v:\n%s", how, out)
			}
			for _, file := range []string{theirs.file, relabelled} {
				for _, artifact := range []string{theirs.artifact, ours.artifact} {
					for _, more := range [][]string{nil, {"--quiet"}} {
						if code, out := inside().repopolicy(append(judge(file, artifact, how...), more...)...); code == 0 {
							t.Errorf("%v: %s with a file of %s is allowed\n%s", how, artifact, theirs.url, out)
						}
					}
				}
			}
		}
		inside().must(policy.ClassUsage, judge(theirs.file, theirs.artifact, "-R", ours.url)...)
		inside().must(policy.ClassUsage, judge(theirs.file, theirs.artifact, "--lock", ours.lock)...)
		for _, more := range [][]string{nil, {"--quiet"}, {"--format", "json"}} {
			if out := inside().must(policy.ClassUsage, judge(theirs.file, theirs.artifact, more...)...); !strings.Contains(out, "-R "+theirs.url) {
				t.Error(out)
			}
		}
	}
}

// TestAirgapSums carries the evidence for a checksum file, with the file and without.
func TestAirgapSums(t *testing.T) {
	const name = "acme/sums"
	url := "https://github.com/" + name
	bindAs(t, name, true)
	who := claims.GitHub{Repository: name, Ref: "refs/tags/v1", Environment: "release"}
	content := []byte("widget 1, listed")
	list := fmt.Appendf(nil, "%x  widget_1.tar.gz\n", sha256.Sum256(content))
	bundle := signBlob(t, list, who)
	changed := fmt.Appendf(nil, "%x  widget_1.tar.gz\n", sha256.Sum256([]byte("other")))
	config := trustConfig(t, stack, "\n[[scope]]\nrepositories = [\"https://github.com/acme/*\"]\nroots = [\"first\"]\n")
	for what, c := range map[string]struct {
		carried, beside map[string][]byte
		want            policy.Class
		via             string
	}{
		"the list beside it":           {map[string][]byte{"widget_sums.tar.gz.sigstore.json": bundle}, map[string][]byte{"widget_sums.tar.gz": list}, policy.ClassOK, "widget_sums.tar.gz"},
		"the list carried":             {map[string][]byte{"widget_sums.tar.gz": list, "widget_sums.tar.gz.sigstore.json": bundle}, nil, policy.ClassOK, "widget_sums.tar.gz"},
		"among files of the same name": {map[string][]byte{"a/x": []byte("{}"), "b/x": bundle, "widget_sums.tar.gz": list}, nil, policy.ClassOK, "widget_sums.tar.gz"},
		"evidence of its own beside it": {map[string][]byte{"widget_sums.tar.gz": list}, map[string][]byte{
			"widget_1.tar.gz.sigstore.json": signBlob(t, content, who),
		}, policy.ClassOK, ""},
		"a list without evidence":        {map[string][]byte{"widget_sums.tar.gz": list}, nil, policy.ClassDeny, ""},
		"another list":                   {map[string][]byte{"widget_sums.tar.gz": changed, "x": bundle}, nil, policy.ClassDeny, ""},
		"another list beside it":         {map[string][]byte{"widget_sums.tar.gz.sigstore.json": bundle}, map[string][]byte{"widget_sums.tar.gz": changed}, policy.ClassDeny, ""},
		"a list that a stranger signed":  {map[string][]byte{"widget_sums.tar.gz": list, "x": signBlob(t, list, claims.Email{Address: "mallory@example.com"})}, nil, policy.ClassDeny, "widget_sums.tar.gz"},
		"a list of which a line is junk": {map[string][]byte{"widget_sums.tar.gz": append([]byte("junk\n"), list...)}, nil, policy.ClassInvalid, ""},
	} {
		t.Run(what, func(t *testing.T) {
			outside, dir := newComputer(t), t.TempDir()
			outside.config = config
			args := []string{"export-bundle", "-R", url, "-o", filepath.Join(t.TempDir(), "widget.airgap")}
			for _, n := range slices.Sorted(maps.Keys(c.carried)) {
				path := filepath.Join(dir, n)
				check(t, os.MkdirAll(filepath.Dir(path), 0o700))
				check(t, os.WriteFile(path, c.carried[n], 0o600))
				args = append(args, path)
			}
			outside.must(policy.ClassOK, args...)
			inside, here := newComputer(t), t.TempDir()
			inside.config = config
			inside.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				t.Errorf("asked %s", r.URL)
				return nil, errors.New("there is no network")
			})
			artifact := filepath.Join(here, "widget_1.tar.gz")
			check(t, os.WriteFile(artifact, content, 0o600))
			for n, data := range c.beside {
				check(t, os.WriteFile(filepath.Join(here, n), data, 0o600))
			}
			out := inside.must(c.want, "verify", "-v", "-R", url, "--airgap", args[4], "--require", "first,none", "--tag", "v1", artifact)
			if via := strings.Contains(out, "which signs"); via != (c.via != "") || !strings.Contains(out, c.via) {
				t.Error(out)
			}
		})
	}
}
