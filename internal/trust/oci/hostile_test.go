// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote/auth"

	reader "github.com/repopolicy/repopolicy/internal/oci"
)

// TestHostileManifest: what a manifest must not say, wherever it is from.
func TestHostileManifest(t *testing.T) {
	layer := func(media, name string) ocispec.Descriptor {
		d := content.NewDescriptorFromBytes(media, []byte("{}"))
		d.Annotations = map[string]string{AnnotationFilename: name}
		return d
	}
	for name, c := range map[string]struct {
		change func(m *ocispec.Manifest)
		want   string
	}{
		"a name twice": {
			func(m *ocispec.Manifest) { m.Layers = append(m.Layers, layer(MediaTypeMetadata, "1.root.json")) }, "two layers",
		},
		"a target's twice": {
			func(m *ocispec.Manifest) { m.Layers = append(m.Layers, layer(MediaTypeTarget, "0a.trusted_root.json")) },
			"two layers",
		},
		"no name": {func(m *ocispec.Manifest) { m.Layers[0].Annotations = nil }, `called ""`},
		"a name that leads up": {
			func(m *ocispec.Manifest) { m.Layers = append(m.Layers, layer(MediaTypeTarget, "../x")) }, "called",
		},
		"an absolute name": {
			func(m *ocispec.Manifest) { m.Layers = append(m.Layers, layer(MediaTypeTarget, "/x")) }, "called",
		},
		"a backslash": {
			func(m *ocispec.Manifest) { m.Layers = append(m.Layers, layer(MediaTypeTarget, `a\x`)) }, "called",
		},
		"metadata below": {
			func(m *ocispec.Manifest) { m.Layers = append(m.Layers, layer(MediaTypeMetadata, "a/1.root.json")) }, "called",
		},
		"a long name": {func(m *ocispec.Manifest) {
			m.Layers = append(m.Layers, layer(MediaTypeTarget, strings.Repeat("x", maxName+1)))
		}, "called"},
		"another algorithm": {func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.SHA512.FromString("x") }, "no digest"},
		"no digest":         {func(m *ocispec.Manifest) { m.Layers[0].Digest = "" }, "no digest"},
		"a bomb": {
			func(m *ocispec.Manifest) { m.Layers = make([]ocispec.Descriptor, reader.MaxDescriptors+1) }, "10001 layers",
		},
		"an index":        {func(m *ocispec.Manifest) { m.MediaType = ocispec.MediaTypeImageIndex }, "type"},
		"another version": {func(m *ocispec.Manifest) { m.SchemaVersion = 1 }, `version "1"`},
	} {
		data, err := files(1).Manifest()
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
		if err := new(Snapshot).index(data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(Snapshot).index([]byte(`{"schemaVersion":2`)); err == nil {
		t.Error("half a manifest")
	}
	for name, f := range map[string]*Files{
		"target":   {Targets: map[string]Content{"../x": {}}},
		"metadata": {Metadata: map[string][]byte{"a/b.json": nil}},
	} {
		if _, err := f.Manifest(); err == nil {
			t.Errorf("%s: wrote a name that is not read", name)
		}
	}
}

// endless answers until nobody listens any more.
func endless(w http.ResponseWriter, r *http.Request) bool {
	for r.Method != http.MethodHead && r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			break
		}
	}
	return true
}

// TestHostileRegistry: a registry that lies, withholds or never ends gives an
// error, and never the one that says that something does not exist.
func TestHostileRegistry(t *testing.T) {
	var told atomic.Value
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told.Store(r.Header.Get("Authorization"))
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(stranger.Close)
	root := digest.FromBytes(files(1).Metadata["1.root.json"]).String()
	const tag = "/v2/acme/trust/manifests/latest"
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) bool // false: the registry answers
		open   bool                                              // the manifest can be read
	}{
		"another blob": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, root) {
				fmt.Fprint(w, `{"signed": {} }xx`)
				return true
			}
			return false
		}, true},
		"a blob that is lost": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, root) {
				http.NotFound(w, r)
				return true
			}
			return false
		}, true},
		"a blob that never ends": {func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, root) {
				return false
			}
			return endless(w, r)
		}, true},
		"a blob elsewhere": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, root) {
				http.Redirect(w, r, stranger.URL, http.StatusTemporaryRedirect)
				return true
			}
			return false
		}, true},
		"a token elsewhere": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer realm=%q,service=x", stranger.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}, false},
		"another manifest than its digest": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != tag {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", root)
			fmt.Fprint(w, `{"schemaVersion":2}`)
			return true
		}, false},
		"a manifest that is too large": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != tag {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			_, _ = w.Write(make([]byte, reader.MaxManifestBytes+1))
			return true
		}, false},
		"a manifest that never ends": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != tag {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			return endless(w, r)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			lies := &atomic.Bool{}
			host := inProcess(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !lies.Load() || !c.answer(w, r) {
						h.ServeHTTP(w, r)
					}
				})
			})
			place := reference(t, "oci:"+host+"/acme/trust")
			if _, err := Push(t.Context(), place, Options{}, files(1)); err != nil {
				t.Fatal(err)
			}
			lies.Store(true)
			o := Options{Credential: func(context.Context, string) (auth.Credential, error) {
				return auth.Credential{Username: "alice", Password: "s3cret"}, nil
			}}
			s, err := Open(t.Context(), place, o)
			if (err == nil) != c.open {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if data, err := s.Metadata(t.Context(), "1.root.json", limit); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q %v", data, err)
			}
		})
	}
	if told.Load() != nil {
		t.Errorf("somebody else was asked, and told %q", told.Load())
	}
}

// TestPinnedAgainstRegistry: who asks for a digest gets that manifest or none.
func TestPinnedAgainstRegistry(t *testing.T) {
	other, err := files(2).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	lies := &atomic.Bool{}
	host := inProcess(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lies.Load() && strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				w.Header().Set("Docker-Content-Digest", digest.FromBytes(other).String())
				_, _ = w.Write(other)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	place := reference(t, "oci:"+host+"/acme/trust")
	pin, err := Push(t.Context(), place, Options{}, files(1))
	if err != nil {
		t.Fatal(err)
	}
	lies.Store(true)
	if _, err := Open(t.Context(), place.At(pin), Options{}); err == nil {
		t.Error("another manifest was taken for the pinned one")
	}
	dir := t.TempDir()
	place = reference(t, "oci-layout:"+dir)
	if pin, err = Push(t.Context(), place, Options{}, files(1)); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs", "sha256", pin.Encoded())
	if err := errors.Join(os.Remove(blob), os.WriteFile(blob, other, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), place.At(pin), Options{}); err == nil {
		t.Error("another file was taken for the pinned one")
	}
}

// TestHostileLayout: a directory that somebody else wrote.
func TestHostileLayout(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, files(1).Metadata["1.root.json"], 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join("blobs", "sha256", digest.FromBytes(files(1).Metadata["1.root.json"]).Encoded())
	write := func(name, text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		open   bool
	}{
		"another blob":    {write(root, "{\"signed\": {} }xx"), true},
		"a shorter blob":  {write(root, "{"), true},
		"a longer blob":   {write(root, string(files(1).Metadata["1.root.json"])+" "), true},
		"no index":        {func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "index.json")) }, false},
		"half an index":   {write("index.json", "{"), false},
		"an empty index":  {write("index.json", "{}"), false},
		"another version": {write("oci-layout", `{"imageLayoutVersion":"2.0.0"}`), false},
		"a large index":   {write("index.json", strings.Repeat(" ", reader.MaxManifestBytes+1)), false},
		"a tag twice": {func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, "index.json"))
			if err != nil {
				t.Fatal(err)
			}
			var x ocispec.Index
			if err := json.Unmarshal(data, &x); err != nil {
				t.Fatal(err)
			}
			x.Manifests = append(x.Manifests, x.Manifests[0])
			if data, err = json.Marshal(x); err != nil {
				t.Fatal(err)
			}
			write("index.json", string(data))(t, dir)
		}, false},
		"a blob behind a link": {func(t *testing.T, dir string) {
			path := filepath.Join(dir, root)
			if err := errors.Join(os.RemoveAll(path), os.Symlink(secret, path)); err != nil {
				t.Fatal(err)
			}
		}, true},
		"a directory for a blob": {func(t *testing.T, dir string) {
			path := filepath.Join(dir, root)
			if err := errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, true},
		"no blob": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, root)); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		dir := filepath.Join(t.TempDir(), "trust")
		place := reference(t, "oci-layout:"+dir)
		if _, err := Push(t.Context(), place, Options{}, files(1)); err != nil {
			t.Fatal(err)
		}
		c.change(t, dir)
		s, err := Open(t.Context(), place, Options{})
		if (err == nil) != c.open {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if data, err := s.Metadata(t.Context(), "1.root.json", limit); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q %v", name, data, err)
		}
		s.Close()
	}
}

// TestInterruptedPush: a push that ends early leaves what was there.
func TestInterruptedPush(t *testing.T) {
	var left atomic.Int64
	left.Store(1 << 30)
	host := inProcess(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead && left.Add(-1) < 0 {
				w.WriteHeader(http.StatusInsufficientStorage)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	place := reference(t, "oci:"+host+"/acme/trust")
	first, err := Push(t.Context(), place, Options{}, files(1))
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(0); ; n++ {
		left.Store(n)
		second, err := Push(t.Context(), place, Options{}, files(2))
		left.Store(1 << 30)
		s, oerr := Open(t.Context(), place, Options{})
		if oerr != nil {
			t.Fatal(oerr)
		}
		if err == nil {
			if s.Digest() != second {
				t.Errorf("the tag is at %s", s.Digest())
			}
			return
		}
		if s.Digest() != first {
			t.Fatalf("after %d requests the tag is at %s", n, s.Digest())
		}
		if _, err := s.Files(t.Context(), limit); err != nil {
			t.Fatal(err)
		}
	}
}
