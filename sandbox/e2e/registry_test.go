// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/repopolicy/repopolicy/internal/trust/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// aRegistry starts a registry that accepts alice alone where private is set.
func aRegistry(t testing.TB, private *atomic.Bool) (host string) {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); private.Load() && (user != "alice" || password != "s3cret") {
			w.Header().Set("Www-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestPolicyInRegistry: a policy is read from a registry, from what is attached to an
// image and from a layout, without the forge, and believed no more than from there.
func TestPolicyInRegistry(t *testing.T) {
	const name = "acme/shipped"
	url := "https://github.com/" + name
	p, good := bound(t, name)
	dir := newOperator(t)
	dir.build()
	private := &atomic.Bool{}
	host := aRegistry(t, private)
	tag, layout := "oci:"+host+"/acme/shipped:policy", "oci-layout:"+filepath.Join(t.TempDir(), "layout")
	export := func(to string, more ...string) (pinned string) {
		t.Helper()
		out := newComputer(t).must(policy.ClassOK, append([]string{"export", "-R", url, "--oci", to}, more...)...)
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "oci") && strings.Contains(line, "@sha256:") {
				return strings.TrimSpace(line)
			}
		}
		t.Fatal(out)
		return ""
	}
	first := export(tag)
	export(layout, "--directory", dir.descriptorFile)
	image, err := oci.ParseReference("oci:" + host + "/acme/shipped:image")
	check(t, err)
	digest, err := oci.Push(t.Context(), image, oci.Options{}, &oci.Files{Metadata: map[string][]byte{"1.root.json": []byte("{}")}})
	check(t, err)
	attached := image.At(digest).String()
	if got := export(attached); got == attached {
		t.Error("the digest printed is the image's, not the policy's")
	}

	verify := func(from string, more ...string) []string {
		return append(append([]string{"verify", "-R", url, "--tag", "v1", "--from", from}, more...), good)
	}
	noForge := func(t testing.TB) *computer {
		c := newComputer(t)
		c.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "github.com" {
				t.Errorf("asked %s", r.URL)
				return nil, errors.New("there is no forge")
			}
			return stack.Transport().RoundTrip(r)
		})
		return c
	}
	for _, from := range []string{tag, first, attached, image.String(), layout} {
		noForge(t).must(policy.ClassOK, verify(from)...)
		noForge(t).must(policy.ClassOK, "show", "-R", url, "--from", from)
	}
	offline := newComputer(t)
	offline.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("there is no network")
	})
	out := offline.must(policy.ClassOK, verify(layout, "--offline", "--directory", dir.descriptorFile)...)
	if !strings.Contains(out, "signed") {
		t.Errorf("the directory's answer was not used:\n%s", out)
	}

	// A registry that shows an old state or nothing has the index against it.
	p.write(".repopolicy/policy.toml", string(policyText(name, 2, 1, "alice")))
	p.push()
	p.signAs(newComputer(t), "alice")
	second := export(tag)
	export(attached)
	for what, row := range map[string]struct {
		args []string
		want policy.Class
	}{
		"the tag":                       {verify(tag), policy.ClassOK},
		"the digest":                    {verify(second), policy.ClassOK},
		"both that are attached":        {verify(attached), policy.ClassOK},
		"the old digest":                {verify(first), policy.ClassUnavailable},
		"the old layout":                {verify(layout), policy.ClassUnavailable},
		"an old answer and layout":      {verify(layout, "--directory", dir.descriptorFile), policy.ClassOK}, // as that of the repository's branch would
		"another repository":            {[]string{"verify", "-R", "acme/other", "--from", tag, good}, policy.ClassUnavailable},
		"not there":                     {verify("oci:" + host + "/acme/none:policy"), policy.ClassUnavailable},
		"nothing attached":              {verify("oci:" + host + "/acme/shipped@sha256:" + strings.Repeat("0", 64)), policy.ClassUnavailable},
		"not a reference":               {verify("registry.example.com/acme"), policy.ClassUsage},
		"a registry off-line":           {verify(tag, "--offline"), policy.ClassUsage},
		"without -R":                    {[]string{"verify", "--policy", filepath.Join(p.dir, ".repopolicy/policy.toml"), "--from", tag, good}, policy.ClassUsage},
		"with a clone":                  {[]string{"show", "-R", url, "--from", tag, "--git", p.dir}, policy.ClassUsage},
		"export without -R":             {[]string{"export", "--oci", tag}, policy.ClassUsage},
		"export of a file":              {[]string{"export", "--oci", tag, "--policy", filepath.Join(p.dir, ".repopolicy/policy.toml")}, policy.ClassUsage},
		"export to no reference":        {[]string{"export", "-R", url, "--oci", "somewhere"}, policy.ClassUsage},
		"export --to with --from":       {[]string{"export", "--to", "gh", "--from", tag}, policy.ClassUsage},
		"attached to what is not there": {[]string{"export", "-R", url, "--oci", "oci:" + host + "/acme/shipped@sha256:" + strings.Repeat("0", 64)}, policy.ClassUnavailable},
	} {
		t.Run(what, func(t *testing.T) { newComputer(t).must(row.want, row.args...) })
	}
	if out := newComputer(t).must(policy.ClassUnavailable, verify(first)...); !strings.Contains(out, "the registry may be behind") {
		t.Error(out)
	}
	// From one registry into another, without the forge.
	copied := "oci-layout:" + filepath.Join(t.TempDir(), "copy")
	noForge(t).must(policy.ClassOK, "export", "-R", url, "--from", attached, "--oci", copied)
	noForge(t).must(policy.ClassOK, verify(copied)...)

	// Other bytes under a name that is right.
	tampered := strings.TrimPrefix(copied, "oci-layout:")
	blobs, err := filepath.Glob(filepath.Join(tampered, "blobs", "sha256", "*"))
	check(t, err)
	n := 0
	for _, blob := range blobs {
		data, err := os.ReadFile(blob)
		check(t, err)
		if bytes.Contains(data, []byte("dsseEnvelope")) {
			check(t, errors.Join(os.Remove(blob), os.WriteFile(blob, bytes.Replace(data, []byte("dsseEnvelope"), []byte("dsseEnvelop3"), 1), 0o600)))
			n++
		}
	}
	if n == 0 {
		t.Error("nothing was tampered with")
	}
	noForge(t).must(policy.ClassUnavailable, verify(copied)...)

	// Who has to log in does, with what Docker's configuration has.
	private.Store(true)
	newComputer(t).must(policy.ClassUnavailable, verify(tag)...)
	newComputer(t).must(policy.ClassUnavailable, "export", "-R", url, "--oci", tag)
	docker := t.TempDir()
	check(t, os.WriteFile(filepath.Join(docker, "config.json"), []byte(`{"auths":{"`+host+`":{"auth":"YWxpY2U6czNjcmV0"}}}`), 0o600))
	t.Setenv("DOCKER_CONFIG", docker)
	known := newComputer(t)
	known.docker = true
	known.must(policy.ClassOK, "export", "-R", url, "--oci", tag)
	known.must(policy.ClassOK, verify(tag)...)

	// The same for a trust root that is kept there.
	at := t.TempDir()
	key, public := keyPair(t, at, "key")
	root, home := filepath.Join(at, "root"), "oci:"+host+"/acme/trust:latest"
	known.must(policy.ClassOK, authorProgram, "init", root, "--key", public, "--online-key", public)
	known.must(policy.ClassOK, authorProgram, "sign", root, "--key", key)
	newComputer(t).must(policy.ClassUnavailable, authorProgram, "publish", root, "--key", key, "--to", home)
	known.must(policy.ClassOK, authorProgram, "publish", root, "--key", key, "--to", home)
	config := superConfig(t, home, filepath.Join(root, "repository", "1.root.json"))
	for user, want := range map[*computer]policy.Class{newComputer(t): policy.ClassUnavailable, known: policy.ClassOK} {
		user.config = config
		user.must(want, "trust", "show")
	}
}
