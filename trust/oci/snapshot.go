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
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

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
)

// Options say how a registry is reached.
type Options struct {
	Transport http.RoundTripper // nil for the default one
	Agent     string            // User-Agent
	Hosts     []string          // that may be asked beside the registry: for tokens and content
	// Credential returns how to log in at a host; nil reads as anybody.
	Credential func(ctx context.Context, host string) (auth.Credential, error)
}

// Snapshot is one manifest. It implements the source of a TUF client; every file
// that it returns has the digest that the manifest says.
type Snapshot struct {
	desc     ocispec.Descriptor
	store    content.Fetcher
	close    func() error
	metadata map[string]ocispec.Descriptor
	targets  map[string]ocispec.Descriptor
}

// Open resolves the reference, once: what happens to the tag later does not change
// the snapshot. Whoever opens it closes it. Nothing in it is verified but that the
// files are those of the manifest, and the manifest the one that is pinned.
func Open(ctx context.Context, r Reference, o Options) (_ *Snapshot, err error) {
	s := &Snapshot{close: func() error { return nil }}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", r, errors.Join(err, s.close()))
		}
	}()
	var data []byte
	if r.Layout != "" {
		data, err = s.openLayout(ctx, r)
	} else {
		data, err = s.openRegistry(ctx, r, o)
	}
	if err != nil {
		return nil, err
	}
	if r.Digest != "" && s.desc.Digest != r.Digest {
		return nil, fmt.Errorf("the manifest is %s", s.desc.Digest)
	}
	return s, s.index(data)
}

func repository(r Reference, o Options, client *http.Client) *remote.Repository {
	c := &auth.Client{Client: client, Cache: auth.NewCache()}
	if o.Credential != nil {
		c.Credential = o.Credential
	}
	return &remote.Repository{
		Reference: registry.Reference{Registry: r.registry, Repository: r.Name}, PlainHTTP: web.Loopback(r.Host),
		Client: c, MaxMetadataBytes: maxManifest, SkipReferrersGC: true,
	}
}

func (s *Snapshot) openRegistry(ctx context.Context, r Reference, o Options) ([]byte, error) {
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
		return nil, err
	}
	s.desc, s.store = desc, repo.Blobs()
	return read(body, desc, maxManifest)
}

func (s *Snapshot) openLayout(ctx context.Context, r Reference) ([]byte, error) {
	root, err := os.OpenRoot(r.Layout) // no link leads out of it
	if err != nil {
		return nil, err
	}
	s.close = root.Close
	layout := &ocispec.ImageLayout{}
	if err := readJSON(root, ocispec.ImageLayoutFile, layout); err != nil {
		return nil, err
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return nil, fmt.Errorf("%s: version %q, %s is known", ocispec.ImageLayoutFile, layout.Version, ocispec.ImageLayoutVersion)
	}
	s.store = layoutStore{oci.NewStorageFromFS(root.FS()), root}
	if r.Digest != "" { // also one that no tag points to any more
		info, err := root.Stat(blobPath(r.Digest))
		if err != nil {
			return nil, err
		}
		s.desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: r.Digest, Size: info.Size()}
	} else if s.desc, err = tagged(root, r.Tag); err != nil {
		return nil, err
	}
	body, err := s.store.Fetch(ctx, s.desc)
	if err != nil {
		return nil, err
	}
	return read(body, s.desc, maxManifest)
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
func (l layoutStore) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, err
	}
	info, err := l.root.Stat(blobPath(d.Digest))
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", d.Digest)
	}
	return l.ReadOnlyStorage.Fetch(ctx, d)
}

func readJSON(root *os.Root, name string, into any) error {
	info, err := root.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxIndex {
		return fmt.Errorf("%s is not a file of at most %d bytes", name, maxIndex)
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIndex))
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
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest {
		return fmt.Errorf("a manifest of version %d and type %q", m.SchemaVersion, m.MediaType)
	}
	if len(m.Layers) > maxLayers {
		return fmt.Errorf("a manifest with %d layers, at most %d are read", len(m.Layers), maxLayers)
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
		if err := d.Digest.Validate(); err != nil || d.Digest.Algorithm() != digest.SHA256 {
			return fmt.Errorf("%s: %q is no digest like sha256:…", name, d.Digest)
		}
		files[name] = d
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

func (s *Snapshot) file(ctx context.Context, files map[string]ocispec.Descriptor, name string, limit int64) ([]byte, error) {
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
