// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/repopolicy/repopolicy/internal/command"
	"github.com/repopolicy/repopolicy/internal/find"
	"github.com/repopolicy/repopolicy/internal/report"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestPublishedUsage: contradictions between a release's URL and the flags, and
// what cannot be, are told before anybody is asked.
func TestPublishedUsage(t *testing.T) {
	env := place(t)
	env.Transport = unasked{t}
	env.Getenv = func(string) string { return "" }
	bad := find.Lock{
		Schema: report.SchemaURL("lock-v1"), Repository: "https://github.com/Acme/widget",
		Chain: []string{strings.Repeat("0", 64)},
	}
	data, err := json.Marshal(bad)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("bad.lock", data, 0o600); err != nil {
		t.Fatal(err)
	}
	const release = "https://github.com/acme/widget/releases/tag/v1.2.3"
	const policy = "--policy policy.toml --trusted-root root.json "
	for _, c := range []struct{ args, says string }{
		{policy + "--tag v1.2.4 " + release, "contradicts"},
		{"-R acme/gadget " + release, "contradicts"},
		{policy + "--offline " + release, "cannot be fetched"},
		{policy + "--offline pkg:npm/widget@1", "cannot be fetched"},
		{policy + "--offline oci://ghcr.io/acme/widget:v1", "cannot be fetched"},
		{policy + "https://github.com/acme/widget/releases/latest", "not the URL of a release"},
		{policy + "https://github.com/acme/widget", "not the URL of a release"},
		{policy + "https://github.com/acme/widget/releases/download/v1/..", "not the name of a file"},
		{policy + "https://user:secret@github.com/acme/widget/releases/tag/v1", "user information"},
		{policy + release + " https://github.com/acme/widget/releases/tag/v2", "one run judges one release"},
		{policy + release + " https://github.com/acme/gadget/releases/tag/v1.2.3", "one run judges one release"},
		{policy + "https://github.com/acme/gadget/releases/tag/v1", "is for https://github.com/acme/widget"},
		{policy + "--forge subversion " + release, "none of github"},
		{policy + "--max-size 0 " + release, "not a number of bytes"},
		{policy + "--max-size 1X " + release, "not a number of bytes"},
		{policy + "--max-size 9999999999T " + release, "not a number of bytes"},
		{policy + "--download dir widget_1", "no argument is the URL"},
		{policy + "--npm-registry ftp://x pkg:npm/widget@1", "not the URL of a service"},
		{policy + "--pypi-index x " + release, "not the URL of a service"},
		{"--lock bad.lock widget_1", "canonical form"},
		{policy + "--github-token " + release, "GITHUB_TOKEN is not set"},
		{"--lock missing.lock widget_1", "missing.lock"},
		{policy + "--lock bad.lock widget_1", "about the policy that --repo finds"},
		{policy + "pkg:npm/widget", "must name a version"},
		{policy + "pkg:cargo/widget@1", "not fetched"},
		{policy + "oci://ghcr.io/acme/widget", "tag or a digest"},
	} {
		var out bytes.Buffer
		env.Stdout, env.Stderr = &out, &out
		if code := Main(append([]string{"verify"}, strings.Fields(c.args)...), env); code != 2 ||
			!strings.Contains(out.String(), c.says) {
			t.Errorf("%s: exit %d\n%s", c.args, code, out.String())
		}
	}
	for in, want := range map[string]int64{"1": 1, "3K": 3 << 10, "500M": 500 << 20, "4G": 4 << 30, "4T": 4 << 40} {
		if n, err := command.ParseSize(in); err != nil || n != want {
			t.Errorf("%s: %d %v", in, n, err)
		}
	}
}

type unasked struct{ t *testing.T }

func (u unasked) RoundTrip(r *http.Request) (*http.Response, error) {
	u.t.Errorf("asked %s", r.URL)
	return nil, io.EOF
}

// TestVerifyImage: an image in a registry, by the command line.
func TestVerifyImage(t *testing.T) {
	env := place(t)
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	name := strings.TrimPrefix(s.URL, "http://") + "/acme/widget"
	repo, err := remote.NewRepository(name)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP, repo.SkipReferrersGC = true, true
	push := func(mediaType, tag string, data []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		var err error
		if tag == "" {
			err = repo.Push(t.Context(), d, bytes.NewReader(data))
		} else {
			err = repo.PushReference(t.Context(), d, bytes.NewReader(data), tag)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	manifest := func(tag string, subject *ocispec.Descriptor, layers ...ocispec.Descriptor) ocispec.Descriptor {
		m := ocispec.Manifest{
			MediaType: ocispec.MediaTypeImageManifest, Config: push(ocispec.MediaTypeImageConfig, "", []byte("{}")),
			Layers: layers, Subject: subject,
		}
		m.SchemaVersion = 2
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return push(m.MediaType, tag, data)
	}
	image := manifest("v1", nil, push(ocispec.MediaTypeImageLayer, "", []byte("layer")))
	inst := sigstoretest.New(t)
	req := sigstoretest.Workflow("v1.2.3")
	req.Statement = fmt.Appendf(
		nil,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},`+
			`"subject":[{"name":"","digest":{"sha256":%q}}]}`,
		image.Digest.Encoded(),
	)
	const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	manifest("", &image, push(bundle, "", inst.Sign(req)))
	manifest("bare", nil, push(ocispec.MediaTypeImageLayer, "", []byte("other")))
	for file, data := range map[string][]byte{
		"root.json":   inst.Root(sigstoretest.RootOptions{}),
		"policy.toml": []byte(strings.ReplaceAll(testPolicy, "widget_*", name)),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for ref, want := range map[string]int{
		"oci://" + name + ":v1":                                         0,
		"oci://" + name + "@" + string(image.Digest):                    0,
		"oci://" + name + ":bare":                                       1,
		"oci://" + name + ":missing":                                    3,
		"oci://" + name + fmt.Sprintf("@sha256:%x", sha256.Sum256(nil)): 3,
	} {
		var out bytes.Buffer
		env.Stdout, env.Stderr = &out, &out
		code := Main([]string{"verify", "--policy", "policy.toml", "--trusted-root", "root.json", ref}, env)
		if code != want {
			t.Errorf("%s: exit %d, want %d\n%s", ref, code, want, out.String())
		}
		if want == 0 && !strings.Contains(out.String(), string(image.Digest)) {
			t.Errorf("%s: the verdict names no digest\n%s", ref, out.String())
		}
	}
}
