// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/web"
)

// What a layer is.
const (
	MediaTypeMetadata  = "application/vnd.tuf.metadata+json"
	MediaTypeTarget    = "application/vnd.tuf.target"
	AnnotationFilename = "tuf.io/filename"
)

// Limits of what is read of a repository.
const (
	maxManifest = 4 << 20 // also what registries take
	maxLayers   = 10_000
	maxIndex    = 4 << 20 // of a layout
	maxName     = 1024    // bytes of a file's name

	maxReferrers = 64   // of one manifest in a registry
	maxAttached  = 1000 // listed by a layout, whatever to
	maxPages     = 20
)

// Options say how a registry is reached.
type Options struct {
	Transport http.RoundTripper // nil for the default one
	Agent     string            // User-Agent
	Hosts     []string          // that may be asked beside the registry: for tokens and content
	// Credential returns how to log in at a host; nil reads as anybody.
	Credential func(ctx context.Context, host string) (auth.Credential, error)
}

// manifest is one manifest and where its blobs are.
type manifest struct {
	desc  ocispec.Descriptor
	data  []byte
	store content.Fetcher // of blobs
	close func() error
	// other returns another manifest of the same place; attached lists those of a type
	// that name this one as their subject, which each of them has still to say.
	other    func(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	attached func(ctx context.Context, artifactType string) ([]ocispec.Descriptor, error)
}

// open resolves the reference, once, and reads the manifest.
func open(ctx context.Context, r Reference, o Options) (m *manifest, err error) {
	m = &manifest{close: func() error { return nil }}
	defer func() {
		if err != nil {
			m, err = nil, fmt.Errorf("%s: %w", r, errors.Join(err, m.close()))
		}
	}()
	if r.Layout != "" {
		err = m.openLayout(ctx, r)
	} else {
		err = m.openRegistry(ctx, r, o)
	}
	if err == nil && r.Digest != "" && m.desc.Digest != r.Digest {
		err = fmt.Errorf("the manifest is %s", m.desc.Digest)
	}
	return m, err
}

// Snapshot is one manifest. It implements the source of a TUF client; every file
// that it returns has the digest that the manifest says.
type Snapshot struct {
	*manifest
	metadata map[string]ocispec.Descriptor
	targets  map[string]ocispec.Descriptor
}

// Open resolves the reference, once: what happens to the tag later does not change
// the snapshot. Whoever opens it closes it. Nothing in it is verified but that the
// files are those of the manifest, and the manifest the one that is pinned.
func Open(ctx context.Context, r Reference, o Options) (*Snapshot, error) {
	m, err := open(ctx, r, o)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{manifest: m}
	if err := s.index(m.data); err != nil {
		return nil, fmt.Errorf("%s: %w", r, errors.Join(err, m.close()))
	}
	return s, nil
}

func repository(r Reference, o Options, client *http.Client) *remote.Repository {
	c := &auth.Client{Client: client, Cache: auth.NewCache()}
	if o.Credential != nil {
		c.Credential = o.Credential
	}
	return &remote.Repository{
		Reference: registry.Reference{Registry: r.registry, Repository: r.Name}, PlainHTTP: web.Loopback(r.Host),
		Client: c, MaxMetadataBytes: maxManifest, ReferrerListMaxPages: maxPages, SkipReferrersGC: true,
	}
}

func (m *manifest) openRegistry(ctx context.Context, r Reference, o Options) error {
	client := web.Fence(o.Transport, o.Agent, append(web.Registry(r.Host), o.Hosts...)...)
	if o.Credential != nil { // a token may have to be asked for by POST
		client = web.Gate(o.Transport, o.Agent, append(web.Registry(r.Host), o.Hosts...)...)
	}
	repo := repository(r, o, client)
	ref := r.Tag
	if r.Digest != "" {
		ref = r.Digest.String()
	}
	desc, body, err := repo.Manifests().FetchReference(ctx, ref)
	if err != nil {
		return err
	}
	m.desc, m.store = desc, repo.Blobs()
	m.other = func(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
		body, err := repo.Manifests().Fetch(ctx, d)
		if err != nil {
			return nil, err
		}
		return read(body, d, maxManifest)
	}
	m.attached = func(ctx context.Context, artifactType string) (out []ocispec.Descriptor, err error) {
		err = repo.Referrers(ctx, desc, "", func(page []ocispec.Descriptor) error {
			for _, d := range page {
				// Some registries say what the configuration is, which is empty.
				if d.ArtifactType == artifactType || d.ArtifactType == ocispec.MediaTypeEmptyJSON || d.ArtifactType == "" {
					out = append(out, d)
				}
			}
			if len(out) > maxReferrers {
				return fmt.Errorf("more than %d referrers of type %s", maxReferrers, artifactType)
			}
			return nil
		})
		return out, err
	}
	m.data, err = read(body, desc, maxManifest)
	return err
}

func (m *manifest) openLayout(ctx context.Context, r Reference) error {
	root, err := os.OpenRoot(r.Layout) // no link leads out of it
	if err != nil {
		return err
	}
	m.close = root.Close
	layout := &ocispec.ImageLayout{}
	if err := readJSON(root, ocispec.ImageLayoutFile, layout); err != nil {
		return err
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("%s: version %q, %s is known", ocispec.ImageLayoutFile, layout.Version, ocispec.ImageLayoutVersion)
	}
	store := layoutStore{oci.NewStorageFromFS(root.FS()), root}
	m.store = store
	m.other = func(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
		body, err := store.Fetch(ctx, d)
		if err != nil {
			return nil, err
		}
		return read(body, d, maxManifest)
	}
	m.attached = func(_ context.Context, artifactType string) ([]ocispec.Descriptor, error) {
		index := &ocispec.Index{}
		if err := readJSON(root, ocispec.ImageIndexFile, index); err != nil {
			return nil, err
		}
		out := slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.ArtifactType != artifactType })
		if len(out) > maxAttached {
			return nil, fmt.Errorf("more than %d manifests of type %s", maxAttached, artifactType)
		}
		return out, nil
	}
	if r.Digest != "" { // also one that no tag points to any more
		info, err := root.Stat(blobPath(r.Digest))
		if err != nil {
			return err
		}
		m.desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: r.Digest, Size: info.Size()}
	} else if m.desc, err = tagged(root, r.Tag); err != nil {
		return err
	}
	m.data, err = m.other(ctx, m.desc)
	return err
}

// tagged returns what the one tag of that name points to.
func tagged(root *os.Root, tag string) (ocispec.Descriptor, error) {
	index := &ocispec.Index{}
	if err := readJSON(root, ocispec.ImageIndexFile, index); err != nil {
		return ocispec.Descriptor{}, err
	}
	var found []ocispec.Descriptor
	for _, d := range index.Manifests {
		if d.Annotations[ocispec.AnnotationRefName] == tag {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return ocispec.Descriptor{}, fmt.Errorf("%s lists the tag %d times", ocispec.ImageIndexFile, len(found))
	}
	return found[0], nil
}

func blobPath(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// layoutStore opens regular files only: a pipe would never end.
type layoutStore struct {
	*oci.ReadOnlyStorage
	root *os.Root
}

// Fetch implements content.Fetcher.
func (l layoutStore) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, err
	}
	f, err := file.OpenIn(l.root, blobPath(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", d.Digest, errdef.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func readJSON(root *os.Root, name string, into any) error {
	data, err := file.ReadIn(root, name, maxIndex)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// read returns what a descriptor describes, and nothing else.
func read(body io.ReadCloser, d ocispec.Descriptor, limit int64) ([]byte, error) {
	defer body.Close()
	if d.Size > limit || d.Size < 0 {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", d.Digest, d.Size, limit)
	}
	data, err := content.ReadAll(body, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return data, nil
}

// index sorts the layers by what they are. A layer of another kind is somebody
// else's and ignored.
func (s *Snapshot) index(data []byte) error {
	m, err := parseManifest(data)
	if err != nil {
		return err
	}
	s.metadata, s.targets = map[string]ocispec.Descriptor{}, map[string]ocispec.Descriptor{}
	for _, d := range m.Layers {
		files, metadata := s.targets, d.MediaType == MediaTypeMetadata
		if metadata {
			files = s.metadata
		} else if d.MediaType != MediaTypeTarget {
			continue
		}
		name := d.Annotations[AnnotationFilename]
		if !validName(name, metadata) {
			return fmt.Errorf("a layer is called %q", name)
		}
		if _, twice := files[name]; twice {
			return fmt.Errorf("two layers are called %q", name)
		}
		if err := checkDigest(d.Digest); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		files[name] = d
	}
	return nil
}

func parseManifest(data []byte) (*ocispec.Manifest, error) {
	m := &ocispec.Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest {
		return nil, fmt.Errorf("a manifest of version %d and type %q", m.SchemaVersion, m.MediaType)
	}
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("a manifest with %d layers, at most %d are read", len(m.Layers), maxLayers)
	}
	return m, nil
}

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%q is no digest like sha256:…", d)
	}
	return nil
}

func validName(name string, metadata bool) bool {
	return len(name) <= maxName && fs.ValidPath(name) && name != "." && !strings.Contains(name, "\\") &&
		(!metadata || !strings.Contains(name, "/") && strings.HasSuffix(name, ".json"))
}

// Digest returns the digest of the manifest: what a pin to this snapshot says.
func (s *Snapshot) Digest() digest.Digest { return s.desc.Digest }

// Close ends the use of the snapshot.
func (s *Snapshot) Close() error { return s.close() }

// Metadata returns a file of metadata such as "3.root.json" of at most limit bytes.
// The error is fs.ErrNotExist if the manifest lists none, and never that if it does.
func (s *Snapshot) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	return s.file(ctx, s.metadata, name, limit)
}

// Target returns a target by its path, which has the hash in its last element;
// errors are those of [Snapshot.Metadata].
func (s *Snapshot) Target(ctx context.Context, name string, limit int64) ([]byte, error) {
	return s.file(ctx, s.targets, name, limit)
}

func (s *Snapshot) file(
	ctx context.Context, files map[string]ocispec.Descriptor, name string, limit int64,
) ([]byte, error) {
	d, ok := files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	body, err := s.store.Fetch(ctx, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	if err != nil {
		// What the manifest lists is not missing but lost: a client must not go on as
		// if it had never been there.
		return nil, fmt.Errorf("%s: %s", name, err)
	}
	data, err := read(body, d, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// Files returns all files of the snapshot, of at most limit bytes each.
func (s *Snapshot) Files(ctx context.Context, limit int64) (*Files, error) {
	out := &Files{Metadata: map[string][]byte{}, Targets: map[string][]byte{}}
	for _, part := range []struct {
		from map[string]ocispec.Descriptor
		to   map[string][]byte
	}{{s.metadata, out.Metadata}, {s.targets, out.Targets}} {
		for name := range part.from {
			data, err := s.file(ctx, part.from, name, limit)
			if err != nil {
				return nil, err
			}
			part.to[name] = data
		}
	}
	return out, nil
}
