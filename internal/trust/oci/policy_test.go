// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	reader "github.com/repopolicy/repopolicy/internal/oci"
)

const widget = "https://github.com/acme/widget"

func aPolicy(versions int) *Policy {
	p := &Policy{
		Repository: widget, Answers: []File{{".repopolicy/directory/0a.json.gz", fmt.Appendf(nil, "answer %d", versions)}},
	}
	p.Places = []File{{".repopolicy/signatures/1-000000000000.place.json", fmt.Appendf(nil, "place %d", versions)}}
	for n := range versions {
		p.Signatures = append(p.Signatures, File{
			fmt.Sprintf(".repopolicy/signatures/%d-000000000000.sigstore.json", n+1),
			fmt.Appendf(nil, "{ \"version\":%d}\n", n+1),
		})
	}
	return p
}

// anImage pushes an image and returns its digest.
func anImage(t *testing.T, host string) digest.Digest {
	t.Helper()
	const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json",` +
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`
	d, err := upload(t.Context(), reference(t, "oci:"+host+"/acme/trust:image"), Options{}, "", []byte(manifest), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPolicy: what is pushed comes back, from every kind of place, under a tag and
// attached to an image.
func TestPolicy(t *testing.T) {
	for kind, host := range map[string]func(t *testing.T) string{
		"in process":      func(t *testing.T) string { return inProcess(t, nil) },
		"docker-registry": dockerRegistry,
	} {
		t.Run(kind, func(t *testing.T) {
			host := host(t)
			place := reference(t, "oci:"+host+"/acme/trust:policy")
			testPolicy(t, place)
			image := place.At(anImage(t, host))
			if _, err := ReadPolicy(t.Context(), image, Options{}, widget); !errors.Is(err, ErrNoPolicy) {
				t.Errorf("an image alone: %v", err)
			}
			// Both that are attached count, and each file once.
			for n := 1; n <= 2; n++ {
				if _, err := PushPolicy(t.Context(), image, Options{}, aPolicy(n)); err != nil {
					t.Fatal(err)
				}
			}
			stranger := aPolicy(1)
			stranger.Repository, stranger.Signatures[0].Data = "https://github.com/mallory/widget", []byte("{}")
			if _, err := PushPolicy(t.Context(), image, Options{}, stranger); err != nil {
				t.Fatal(err)
			}
			for _, at := range []Reference{image, reference(t, "oci:"+host+"/acme/trust:image")} {
				got, err := ReadPolicy(t.Context(), at, Options{}, widget)
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Signatures) != 2 || len(got.Places) != 2 || len(got.Answers) != 2 {
					t.Errorf("%s: %+v", at, got)
				}
			}
		})
	}
	t.Run("layout", func(t *testing.T) {
		dir := t.TempDir()
		place := reference(t, "oci-layout:"+dir)
		testPolicy(t, place)
		image, err := Push(t.Context(), reference(t, "oci-layout:"+dir+":image"), Options{}, files(1))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time nothing is new
			if _, err := PushPolicy(t.Context(), place.At(image), Options{}, aPolicy(1)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := ReadPolicy(t.Context(), place.At(image), Options{}, widget)
		if err != nil || cmp.Diff(aPolicy(1), got) != "" {
			t.Errorf("%+v %v", got, err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), `"digest"`); n != 3 { // the tag's, the image, and what is attached
			t.Errorf("the index lists %d manifests: %s", n, data)
		}
	})
}

func testPolicy(t *testing.T, place Reference) {
	t.Helper()
	for n := 1; n <= 2; n++ {
		pin, err := PushPolicy(t.Context(), place, Options{}, aPolicy(n))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []Reference{place, place.At(pin)} {
			got, err := ReadPolicy(t.Context(), at, Options{}, widget)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(aPolicy(n), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", at, diff)
			}
		}
		if _, err := ReadPolicy(t.Context(), place, Options{}, "https://github.com/acme/gadget"); !errors.Is(err,
			ErrNoPolicy) {
			t.Errorf("for another repository: %v", err)
		}
	}
}

// TestPolicyTwice: two files of one name are both kept, and each content once.
func TestPolicyTwice(t *testing.T) {
	p := aPolicy(1)
	p.Signatures = append(p.Signatures, File{p.Signatures[0].Name, []byte("{}")}, p.Signatures[0])
	place := reference(t, "oci-layout:"+t.TempDir())
	if _, err := PushPolicy(t.Context(), place, Options{}, p); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPolicy(t.Context(), place, Options{}, widget)
	if err != nil {
		t.Fatal(err)
	}
	want := aPolicy(1)
	want.Signatures = append(want.Signatures, File{"", []byte("{}")})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestHiddenSignature: what is attached and calls a signature an answer does not hide it.
func TestHiddenSignature(t *testing.T) {
	place := reference(t, "oci-layout:"+t.TempDir())
	subject, err := Push(t.Context(), place, Options{}, files(1))
	if err != nil {
		t.Fatal(err)
	}
	honest := aPolicy(1)
	for _, p := range []*Policy{{Repository: widget, Answers: []File{{"x", honest.Signatures[0].Data}}}, honest} {
		if _, err := PushPolicy(t.Context(), place.At(subject), Options{}, p); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadPolicy(t.Context(), place.At(subject), Options{}, widget)
	if err != nil || cmp.Diff(honest.Signatures, got.Signatures) != "" {
		t.Errorf("%+v %v", got, err)
	}
}

// TestHostilePolicy: a manifest that lies about a policy gives an error, and no part of
// what it lists.
func TestHostilePolicy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *ocispec.Manifest)
		want   string // of the error; "" for none
	}{
		"nothing":            {func(*ocispec.Manifest) {}, ""},
		"a stranger's layer": {func(m *ocispec.Manifest) { m.Layers[0].MediaType = "application/octet-stream" }, ""},
		"another algorithm":  {func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.SHA512.FromString("x") }, "no digest"},
		"a lost file":        {func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.FromString("lost") }, "lost"},
		"a shorter file":     {func(m *ocispec.Manifest) { m.Layers[0].Size-- }, "sha256:"},
		"a negative size":    {func(m *ocispec.Manifest) { m.Layers[0].Size = -1 }, "no size"},
		"a large file":       {func(m *ocispec.Manifest) { m.Layers[0].Size = maxFileBytes + 1 }, "bytes"},
		"a bomb": {func(m *ocispec.Manifest) {
			for n := range maxPolicyBytes/maxFileBytes + 1 {
				m.Layers = append(m.Layers, ocispec.Descriptor{
					MediaType: MediaTypeSignature, Digest: digest.FromString(fmt.Sprint(n)), Size: maxFileBytes,
				})
			}
		}, "more than"},
		"many layers": {
			func(m *ocispec.Manifest) { m.Layers = make([]ocispec.Descriptor, reader.MaxDescriptors+1) }, "10001 layers",
		},
		"another subject": {func(m *ocispec.Manifest) { m.Subject.Digest = digest.FromString("another") }, "no policy"},
		"no subject":      {func(m *ocispec.Manifest) { m.Subject = nil }, "no policy"},
		"another type":    {func(m *ocispec.Manifest) { m.ArtifactType = "application/vnd.example" }, "no policy"},
		"an index":        {func(m *ocispec.Manifest) { m.MediaType = ocispec.MediaTypeImageIndex }, "type"},
		"nobody's":        {func(m *ocispec.Manifest) { m.Annotations = nil }, "no policy"},
	} {
		dir := t.TempDir()
		place := reference(t, "oci-layout:"+dir)
		subject, err := Push(t.Context(), place, Options{}, files(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := PushPolicy(t.Context(), place.At(subject), Options{}, aPolicy(2)); err != nil {
			t.Fatal(err)
		}
		data, err := aPolicy(2).Manifest(&ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: subject, Size: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		c.change(&m)
		if data, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		// The index names the changed manifest in place of what was attached.
		desc := content.NewDescriptorFromBytes(ocispec.MediaTypeImageManifest, data)
		index := readIndex(t, dir)
		index.Manifests[1].Digest, index.Manifests[1].Size = desc.Digest, desc.Size
		text, err := json.Marshal(index)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(filepath.Join(dir, blobPath(desc.Digest)), data, 0o600),
			os.WriteFile(filepath.Join(dir, "index.json"), text, 0o600)); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPolicy(t.Context(), place.At(subject), Options{}, widget)
		switch {
		case c.want == "" && (err != nil || len(got.Signatures) == 0):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || got != nil):
			t.Errorf("%s: %+v", name, got)
		case c.want != "" && c.want != "lost" && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileAttached: what a layout lists as attached and cannot show is an error, never
// something that is not there.
func TestHostileAttached(t *testing.T) {
	for name, change := range map[string]func(dir string, d *ocispec.Descriptor){
		"lost":              func(_ string, d *ocispec.Descriptor) { d.Digest = digest.FromString("lost") },
		"another size":      func(_ string, d *ocispec.Descriptor) { d.Size++ },
		"too large":         func(_ string, d *ocispec.Descriptor) { d.Size = reader.MaxManifestBytes + 1 },
		"another algorithm": func(_ string, d *ocispec.Descriptor) { d.Digest = digest.SHA512.FromString("x") },
		"no manifest": func(dir string, d *ocispec.Descriptor) {
			*d = ocispec.Descriptor{
				ArtifactType: ArtifactTypePolicy, MediaType: d.MediaType, Digest: digest.FromString("{"), Size: 1,
			}
			_ = os.WriteFile(filepath.Join(dir, blobPath(d.Digest)), []byte("{"), 0o600)
		},
	} {
		dir := t.TempDir()
		place := reference(t, "oci-layout:"+dir)
		subject, err := Push(t.Context(), place, Options{}, files(1))
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 2; n++ {
			if _, err := PushPolicy(t.Context(), place.At(subject), Options{}, aPolicy(n)); err != nil {
				t.Fatal(err)
			}
		}
		index := readIndex(t, dir)
		change(dir, &index.Manifests[2])
		text, err := json.Marshal(index)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "index.json"), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ReadPolicy(t.Context(), place.At(subject), Options{}, widget); err == nil ||
			errors.Is(err, ErrNoPolicy) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for _, name := range []string{"oci-layout:" + t.TempDir(), "oci:127.0.0.1:9/acme/trust"} {
		nowhere := reference(t, name)
		if got, err := ReadPolicy(t.Context(), nowhere, Options{}, widget); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
		if d, err := PushPolicy(t.Context(), nowhere.At(digest.FromString("x")), Options{}, aPolicy(1)); err == nil {
			t.Errorf("%s: attached as %s", name, d)
		}
	}
	many := &Policy{Repository: widget}
	for n := range reader.MaxDescriptors + 1 {
		many.Signatures = append(many.Signatures, File{"", fmt.Append(nil, n)})
	}
	if _, err := PushPolicy(t.Context(), reference(t, "oci-layout:"+t.TempDir()), Options{}, many); err == nil {
		t.Error("pushed what is not read")
	}
}

// TestSubject: what is attached says what its subject is.
func TestSubject(t *testing.T) {
	const docker = "application/vnd.docker.distribution.manifest.v2+json"
	empty, err := json.Marshal(ocispec.DescriptorEmptyJSON)
	if err != nil {
		t.Fatal(err)
	}
	parts := `"layers":[],"config":` + string(empty)
	for text, want := range map[string]string{
		`{"schemaVersion":2,` + parts + `}`:                                         reader.TypeImage,
		`{"schemaVersion":2,"manifests":[]}`:                                        reader.TypeIndex,
		`{"schemaVersion":2,"mediaType":"` + reader.TypeIndex + `","manifests":[]}`: reader.TypeIndex,
		`{"schemaVersion":2,"mediaType":"` + docker + `",` + parts + `}`:            docker,
		`{"schemaVersion":2,"mediaType":"` + reader.TypeIndex + `",` + parts + `}`:  "",
		`{"schemaVersion":2}`: "",
		`[]`:                  "",
	} {
		dir := t.TempDir()
		place := reference(t, "oci-layout:"+dir)
		d, err := upload(t.Context(), place, Options{}, "", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = PushPolicy(t.Context(), place.At(d), Options{}, aPolicy(1))
		if want == "" {
			if err == nil {
				t.Errorf("attached to %s", text)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, blobPath(readIndex(t, dir).Manifests[1].Digest)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseManifest(data)
		if err != nil || m.Subject == nil || m.Subject.MediaType != want || m.Subject.Digest.String() != d.String() ||
			m.Subject.Size != int64(len(text)) {
			t.Errorf("%s: %+v %v", text, m.Subject, err)
		}
		if got, err := ReadPolicy(t.Context(), place.At(d), Options{}, widget); err != nil || len(got.Signatures) != 1 {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
}

func blobPath(d digest.Digest) string {
	return path.Join("blobs", d.Algorithm().String(), d.Encoded())
}

func readIndex(t *testing.T, dir string) (x ocispec.Index) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(data, &x)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestManyAttached: a flood of what is attached is an error, not a part of it.
func TestManyAttached(t *testing.T) {
	dir := t.TempDir()
	place := reference(t, "oci-layout:"+dir)
	subject, err := Push(t.Context(), place, Options{}, files(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PushPolicy(t.Context(), place.At(subject), Options{}, aPolicy(1)); err != nil {
		t.Fatal(err)
	}
	index := readIndex(t, dir)
	for range maxAttached {
		index.Manifests = append(index.Manifests, index.Manifests[1])
	}
	text, err := json.Marshal(index)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "index.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPolicy(t.Context(), place.At(subject), Options{}, widget); err == nil {
		t.Error("read a part")
	}
}

// TestHostileReferrers: a registry that does not say what is attached, or too much.
func TestHostileReferrers(t *testing.T) {
	lies := &atomic.Pointer[http.HandlerFunc]{}
	host := inProcess(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lie := lies.Load(); lie != nil &&
				(strings.Contains(r.URL.Path, "/referrers/") || strings.Contains(r.URL.Path, "/manifests/sha256-")) {
				(*lie)(w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	image := reference(t, "oci:"+host+"/acme/trust:policy").At(anImage(t, host))
	if _, err := PushPolicy(t.Context(), image, Options{}, aPolicy(1)); err != nil {
		t.Fatal(err)
	}
	flood := func(w http.ResponseWriter, _ *http.Request) {
		x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
		x.SchemaVersion = 2
		for range maxReferrers + 1 {
			x.Manifests = append(x.Manifests, ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactTypePolicy, Digest: digest.FromString("x"),
				Size: 1,
			})
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_ = json.NewEncoder(w).Encode(x)
	}
	for name, lie := range map[string]http.HandlerFunc{
		"forbidden": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"garbage":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{") },
		"endless":   func(w http.ResponseWriter, r *http.Request) { endless(w, r) },
		"a flood":   flood,
	} {
		lies.Store(&lie)
		if p, err := ReadPolicy(t.Context(), image, Options{}, widget); err == nil {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
}

// blobsOf is a place that has one blob for every digest.
type blobsOf struct {
	place
	data []byte
}

func (b blobsOf) Blob(_ context.Context, d reader.Descriptor, limit int64) ([]byte, error) {
	return reader.Read(bytes.NewReader(b.data), d, limit)
}

// FuzzManifest: of a manifest nothing is read but what has its digest and a name that
// could be a file's.
func FuzzManifest(f *testing.F) {
	content := []byte("{}")
	p := &Policy{Repository: widget, Signatures: []File{{".repopolicy/signatures/1-000000000000.sigstore.json", content}}}
	seed, err := p.Manifest(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	if seed, err = files(1).Manifest(); err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Snapshot{manifest: &manifest{place: blobsOf{data: content}}}
		if s.index(data) == nil {
			for _, names := range []map[string]reader.Descriptor{s.metadata, s.targets} {
				for name, d := range names {
					if !fs.ValidPath(name) || d.Digest.Alg != "sha256" {
						t.Errorf("%q: %s", name, d.Digest)
					}
				}
			}
		}
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		got, err := s.files(t.Context(), widget, m.Layers)
		if err != nil {
			return
		}
		for _, f := range slices.Concat(got.Signatures, got.Places, got.Answers) {
			if !bytes.Equal(f.Data, content) {
				t.Errorf("%q", f.Data)
			}
		}
		if len(got.Signatures)+len(got.Places)+len(got.Answers) > 3 { // one content under one digest; of three kinds at most
			t.Errorf("%d signatures, %d place proofs, %d answers", len(got.Signatures), len(got.Places), len(got.Answers))
		}
	})
}
