// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/repopolicy/repopolicy/internal/release"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// images is a registry with one repository, acme/widget.
type images struct {
	t    *testing.T
	host string
	repo *remote.Repository
}

func newImages(t *testing.T, wrap func(http.Handler) http.Handler, o ...ggcr.Option) *images {
	t.Helper()
	h := ggcr.New(append(o, ggcr.Logger(log.New(io.Discard, "", 0)))...)
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	i := &images{t: t, host: strings.TrimPrefix(s.URL, "http://")}
	repo, err := remote.NewRepository(i.host + "/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP, repo.SkipReferrersGC = true, true
	i.repo = repo
	return i
}

func (i *images) blob(mediaType string, data []byte, annotations map[string]string) ocispec.Descriptor {
	i.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := i.repo.Push(i.t.Context(), d, bytes.NewReader(data)); err != nil {
		i.t.Fatal(err)
	}
	d.Annotations = annotations
	return d
}

// manifest pushes a manifest, under a tag unless it is "".
func (i *images) manifest(
	tag, artifactType string, subject *ocispec.Descriptor, layers ...ocispec.Descriptor,
) ocispec.Descriptor {
	i.t.Helper()
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: i.blob(ocispec.MediaTypeImageConfig, []byte("{}"), nil), Layers: layers, Subject: subject,
	}
	m.SchemaVersion = 2
	data, err := json.Marshal(m)
	if err != nil {
		i.t.Fatal(err)
	}
	d := ocispec.Descriptor{
		MediaType: m.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data)), ArtifactType: artifactType,
	}
	if tag == "" {
		err = i.repo.Push(i.t.Context(), d, bytes.NewReader(data))
	} else {
		err = i.repo.PushReference(i.t.Context(), d, bytes.NewReader(data), tag)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	return d
}

func (i *images) image(tag, content string) ocispec.Descriptor {
	return i.manifest(tag, "", nil, i.blob(ocispec.MediaTypeImageLayerGzip, []byte(content), nil))
}

const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// attested is a bundle about an image by the release workflow.
func attestedImage(inst *sigstoretest.Instance, subject digest.Digest, name string) []byte {
	r := sigstoretest.Workflow("v1.2.3")
	r.Statement = fmt.Appendf(nil,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","predicate":{},`+
			`"subject":[{"name":%q,"digest":{"sha256":%q}}]}`, name, subject.Encoded())
	return inst.Sign(r)
}

func imageJudge(t testing.TB, inst *sigstoretest.Instance, host string) *release.Judge {
	t.Helper()
	doc, err := policy.Parse(fmt.Appendf(nil, `format     = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version    = 1
expires    = 2027-01-01T00:00:00Z
[maintainers]
threshold = 1
[[maintainers.member]]
name       = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[release]]
name        = "images"
tags        = ["v*"]
artifacts   = ["%[1]s/acme/widget", "%[1]s/acme/debug", "ghcr.io/acme/widget"]
workflow    = ".github/workflows/release.yml"
environment = "release"
set-only    = true
`, host))
	if err != nil {
		t.Fatal(err)
	}
	root, err := sigstore.ParseRoot("test", inst.Root(sigstoretest.RootOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	return &release.Judge{
		Policy: doc.Pin(policy.Ids{}), Now: sigstoretest.Now.AddDate(0, 1, 0),
		Roots: func(context.Context) ([]*sigstore.Root, error) { return []*sigstore.Root{root}, nil },
	}
}

// TestImage: evidence that is attached in any of the ways is found, and what could
// not be asked for is never taken for absent.
func TestImage(t *testing.T) {
	inst := sigstoretest.New(t)
	var image ocispec.Descriptor
	refer := func(i *images) {
		i.manifest("", bundleType, &image, i.blob(bundleType, attestedImage(inst, image.Digest, ""), nil))
	}
	tagged := func(suffix string, bundle func() []byte) func(*images) {
		return func(i *images) {
			i.manifest(strings.Replace(image.Digest.String(), ":", "-", 1)+suffix, "", nil, i.blob(bundleType, bundle(), nil))
		}
	}
	good := func() []byte { return attestedImage(inst, image.Digest, "") }
	// fail wraps a registry that answers so where a path has that part.
	fail := func(part string, h http.HandlerFunc) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("User-Agent") == "test" && strings.Contains(r.URL.Path, part) {
					h(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(code)
		}
	}
	// pages wraps a registry that lists the referrers on the last of so many pages.
	pages := func(n int) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				page, _ := strconv.Atoi(r.URL.Query().Get("page"))
				if !strings.Contains(r.URL.Path, "/referrers/") || page == n-1 {
					next.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				w.Header().Set("Link", fmt.Sprintf("<%s?page=%d>; rel=\"next\"", r.URL.Path, page+1))
				_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[]}`)
			})
		}
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = io.WriteString(w, `{"manifests":[`)
		for {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<15)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		options []ggcr.Option
		wrap    func(http.Handler) http.Handler
		attach  func(*images)
		reason  policy.Reason
	}{
		"a referrer by the API": {
			options: []ggcr.Option{ggcr.WithReferrersSupport(true)}, attach: refer, reason: policy.Allowed,
		},
		"a referrer on the tenth page": {
			options: []ggcr.Option{ggcr.WithReferrersSupport(true)}, wrap: pages(10), attach: refer, reason: policy.Allowed,
		},
		"a referrer on the eleventh page": {
			options: []ggcr.Option{ggcr.WithReferrersSupport(true)}, wrap: pages(11), attach: refer,
			reason: policy.EvidenceUnreachable,
		},
		"a referrer by the tag":         {attach: refer, reason: policy.Allowed},
		"a signature as cosign tags it": {attach: tagged(".sig", good), reason: policy.Allowed},
		"an attestation as cosign tags": {attach: tagged(".att", good), reason: policy.Allowed},
		"junk, and a good one": {
			attach: func(i *images) { tagged(".sig", func() []byte { return []byte("{}") })(i); refer(i) },
			reason: policy.Allowed,
		},
		"nothing": {attach: func(*images) {}, reason: policy.NoEvidence},
		"junk": {
			attach: tagged(".sig", func() []byte { return []byte("{}") }), reason: policy.BundleInvalid,
		},
		"about another image": {
			attach: tagged(".att", func() []byte { return attestedImage(inst, digest.FromString("x"), "") }),
			reason: policy.ArtifactMismatch,
		},
		"no answer about referrers": {
			wrap: fail("/referrers/", status(500)), attach: func(*images) {}, reason: policy.EvidenceUnreachable,
		},
		"asked too often": {
			wrap: fail("/referrers/", status(429)), attach: func(*images) {}, reason: policy.EvidenceUnreachable,
		},
		"no answer, and a good one": {
			wrap: fail("/referrers/", status(429)), attach: tagged(".sig", good), reason: policy.Allowed,
		},
		"no answer about a tag": {
			wrap: fail(".att", status(403)), attach: func(*images) {}, reason: policy.EvidenceUnreachable,
		},
		"no layer": {
			wrap: fail("/blobs/", status(429)), attach: tagged(".sig", good), reason: policy.EvidenceUnreachable,
		},
		"another layer": {
			wrap: fail("/blobs/", answer("{}")), attach: tagged(".sig", good), reason: policy.EvidenceUnreachable,
		},
		"a layer elsewhere": {
			wrap:   fail("/blobs/", http.RedirectHandler("https://evil.example/x", http.StatusTemporaryRedirect).ServeHTTP),
			attach: tagged(".sig", good), reason: policy.EvidenceUnreachable,
		},
		"endless referrers": {
			wrap: fail("/referrers/", endless), attach: func(*images) {}, reason: policy.EvidenceUnreachable,
		},
		"a page of the web": {
			wrap: fail("/referrers/", answer("<html>")), attach: func(*images) {}, reason: policy.EvidenceUnreachable,
		},
		"no image": {
			wrap: fail("/manifests/v1", status(404)), attach: func(*images) {}, reason: policy.ReleaseUnreachable,
		},
		"a redirect for the image": {
			wrap: fail("/manifests/v1",
				http.RedirectHandler("https://evil.example/x", http.StatusTemporaryRedirect).ServeHTTP),
			attach: func(*images) {}, reason: policy.ReleaseUnreachable,
		},
		"a page of the web for the image": {
			wrap: fail("/manifests/v1", answer("<html>")), attach: func(*images) {}, reason: policy.ReleaseUnreachable,
		},
		"no manifest": {
			wrap: fail("/manifests/v1", answer("text")), attach: func(*images) {}, reason: policy.ReleaseUnreachable,
		},
		"another image than it says": {wrap: fail("/manifests/v1", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", image.Digest.String())
			w.Header().Set("Content-Length", fmt.Sprint(image.Size))
			_, _ = w.Write(bytes.Repeat([]byte("x"), int(image.Size)))
		}), attach: tagged(".sig", good), reason: policy.ReleaseUnreachable},
		"a token from elsewhere": {wrap: fail("/manifests/v1", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://evil.example/token",service="x"`)
			w.WriteHeader(401)
		}), attach: tagged(".sig", good), reason: policy.ReleaseUnreachable},
		"10,000 referrers": {wrap: fail("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			one := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1}`, ocispec.MediaTypeImageManifest,
				digest.FromString("gone"))
			_, _ = io.WriteString(w,
				`{"schemaVersion":2,"manifests":[`+strings.TrimSuffix(strings.Repeat(one+",", 10_000), ",")+`]}`)
		}), attach: func(*images) {}, reason: policy.EvidenceUnreachable},
		"pages without end": {wrap: fail("/referrers/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			w.Header().Set("Link", "<"+r.URL.String()+">; rel=\"next\"")
			_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[]}`)
		}), attach: func(*images) {}, reason: policy.EvidenceUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImages(t, c.wrap, c.options...)
			image = i.image("v1", "content")
			c.attach(i)
			asked := &internet{}
			n := Net{Transport: local{asked}, Agent: "test"}
			a, err := Image(t.Context(), "oci://"+i.host+"/acme/widget:v1", n)
			if err != nil {
				t.Fatal(err)
			}
			res := imageJudge(t, inst, i.host).Run(t.Context(), []*release.Artifact{a})[0]
			if res.Decision.Reason != c.reason {
				t.Errorf("%s: %s", res.Decision.Reason, res.Decision.Detail)
			}
			if a.Err == nil && !strings.HasSuffix(a.Arg, "@"+a.Digests[0].String()) {
				t.Errorf("the verdict is about %s", a.Arg)
			}
			if c.reason == policy.Allowed {
				byDigest, err := Image(t.Context(),
					"pkg:oci/widget@"+strings.Replace(image.Digest.String(), ":", "%3A", 1)+"?repository_url="+i.host+"/acme/widget",
					n)
				if err != nil || byDigest.Digests[0] != a.Digests[0] {
					t.Fatalf("%v %v", byDigest, err)
				}
				if res := imageJudge(t, inst, i.host).Run(t.Context(), []*release.Artifact{
					byDigest,
				})[0]; res.Decision.Reason != policy.Allowed {
					t.Errorf("by its digest: %s: %s", res.Decision.Reason, res.Decision.Detail)
				}
				t.Logf("%d requests", len(asked.asked)/2)
			}
			for _, u := range asked.asked {
				if strings.Contains(u, "evil") {
					t.Errorf("asked %s", u)
				}
			}
		})
	}
}

// TestImageName: what a registry serves under a tag is not an image that was signed
// under another name; whoever names a digest gets that.
func TestImageName(t *testing.T) {
	inst := sigstoretest.New(t)
	i := newImages(t, nil)
	for _, c := range []struct {
		signed         string
		tagged, digest policy.Reason
	}{
		{i.host + "/acme/widget", policy.Allowed, policy.Allowed},
		{"ghcr.io/acme/widget", policy.Allowed, policy.Allowed}, // this is a mirror
		{i.host + "/acme/debug", policy.NameDiffers, policy.Allowed},
		{i.host + "/acme/widget:v1", policy.RuleMismatch, policy.RuleMismatch}, // as the rule does not say
	} {
		image := i.image("v1", c.signed)
		i.manifest("", bundleType, &image, i.blob(bundleType, attestedImage(inst, image.Digest, c.signed), nil))
		for ref, want := range map[string]policy.Reason{":v1": c.tagged, "@" + image.Digest.String(): c.digest} {
			a, err := Image(t.Context(), "oci://"+i.host+"/acme/widget"+ref, Net{Transport: local{&internet{}}, Agent: "test"})
			if err != nil {
				t.Fatal(err)
			}
			if res := imageJudge(t, inst, i.host).Run(t.Context(), []*release.Artifact{a})[0]; res.Decision.Reason != want {
				t.Errorf("%s as %s: %s: %s", c.signed, ref, res.Decision.Reason, res.Decision.Detail)
			}
		}
	}
}

// local asks this machine only, and records it.
type local struct{ n *internet }

func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	l.n.mu.Lock()
	l.n.asked = append(l.n.asked, r.URL.String())
	l.n.mu.Unlock()
	if !strings.HasPrefix(r.URL.Host, "127.0.0.1:") {
		return nil, fmt.Errorf("%s was asked", r.URL)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestParseImage(t *testing.T) {
	hex := fmt.Sprintf("%x", sha256.Sum256(nil))
	for arg, want := range map[string]string{
		"oci://ghcr.io/acme/widget:v1": "ghcr.io/acme/widget:v1",
		"oci://ghcr.io/acme/widget@sha256:" + hex: "ghcr.io/acme/widget@sha256:" +
			hex,
		"oci://ghcr.io/acme/widget:v1@sha256:" + hex: "ghcr.io/acme/widget@sha256:" +
			hex,
		"oci://127.0.0.1:5000/widget:v1": "127.0.0.1:5000/widget:v1",
		"pkg:oci/widget@sha256%3A" + hex + "?repository_url=ghcr.io/acme/widget": "ghcr.io/acme/widget@sha256:" +
			hex,
		"pkg:oci/widget@sha256:" + hex + "?repository_url=ghcr.io/acme/widget&tag=latest": "ghcr.io/acme/widget@sha256:" +
			hex,
		"oci://ghcr.io/acme/widget":                         "",
		"oci://ghcr.io/acme/widget@sha256:00":               "",
		"oci://ghcr.io/acme/widget@md5:00":                  "",
		"oci://ghcr.io/acme/../widget:v1":                   "",
		"oci://ghcr.io/Acme/widget:v1":                      "",
		"oci://user@ghcr.io/acme/widget:v1":                 "",
		"oci://u@x@sha256:" + hex:                           "",
		"oci://ghcr.io/acme/widget:v1?x":                    "",
		"oci://ghcr.io:v1":                                  "",
		"oci://:1]1]:5/x:v":                                 "",
		"oci://ghcr.io:x/a:v":                               "",
		"oci://":                                            "",
		"pkg:oci/widget@sha256:" + hex:                      "",
		"pkg:oci/widget?repository_url=ghcr.io/acme/widget": "",
		"pkg:oci/widget@sha256:" + hex + "?repository_url=ghcr.io/acme/gadget": "",
		"pkg:oci/widget@v1?repository_url=ghcr.io/acme/widget":                 "",
		"pkg:npm/widget@1": "",
	} {
		ref, err := parseImage(arg)
		if (err == nil) != (want != "") || err == nil && ref.String() != want {
			t.Errorf("%s: %s %v", arg, ref, err)
		}
	}
}

// FuzzParseImage: a reference asks its registry, below its repository.
func FuzzParseImage(f *testing.F) {
	for _, s := range []string{
		"oci://ghcr.io/acme/widget:v1", "pkg:oci/widget@sha256:00?repository_url=ghcr.io/acme/widget", "oci://u:p@h/x:v",
		"oci://h/a@b@c", "oci://h/../x:v", "oci://[::1]:5/x:v", "oci://:1]1]:5/x:v",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := parseImage(s)
		if err != nil {
			return
		}
		u, err := url.Parse("https://" + ref.Host() + "/v2/" + ref.Repository + "/manifests/" + ref.Reference)
		if err != nil || u.Host != ref.Host() || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			u.JoinPath().String() != u.String() || ref.Reference == "" {
			t.Fatalf("%q asks %s: %v", s, u, err)
		}
	})
}
