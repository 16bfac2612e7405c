// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"

	reader "github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// What a layer is.
const (
	MediaTypeMetadata  = "application/vnd.tuf.metadata+json"
	MediaTypeTarget    = "application/vnd.tuf.target"
	AnnotationFilename = "tuf.io/filename"
)

// Limits of what is read of a repository.
const (
	maxName      = 1024 // bytes of a file's name
	maxReferrers = 64   // of one manifest in a registry
	maxAttached  = 1000 // listed by a layout, whatever to
)

// Options say how a registry is reached.
type Options struct {
	Transport http.RoundTripper // nil for the default one
	Agent     string            // User-Agent
	Hosts     []string          // that may be asked beside the registry: for tokens and content
	// Credential returns how to log in at a host; nil reads as anybody.
	Credential func(ctx context.Context, host string) (auth.Credential, error)
}

// place is where manifests and blobs are kept.
type place interface {
	// resolve returns the manifest that a reference names.
	resolve(ctx context.Context, r Reference) (reader.Descriptor, []byte, error)
	// attached lists the manifests of a type that name one as their subject, which each of
	// them has still to say.
	attached(ctx context.Context, to reader.Descriptor, artifactType string) ([]reader.Descriptor, error)
	Manifest(ctx context.Context, d reader.Descriptor) ([]byte, error)
	Blob(ctx context.Context, d reader.Descriptor, limit int64) ([]byte, error)
	// Open returns a blob of any size from a byte on, unverified; see [reader.Repository.Open].
	Open(ctx context.Context, d reader.Descriptor, from int64) (body io.ReadCloser, start int64, err error)
	Close() error
}

// manifest is one manifest and where its blobs are.
type manifest struct {
	place
	desc reader.Descriptor
	data []byte
}

// open resolves the reference, once, and reads the manifest.
func open(ctx context.Context, r Reference, o Options) (*manifest, error) {
	var p place
	if r.Layout != "" {
		l, err := reader.OpenLayout(r.Layout)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r, err)
		}
		p = inLayout{l}
	} else {
		p = inRegistry{repository(r, o, o.Credential != nil), streams(r, o)}
	}
	d, data, err := p.resolve(ctx, r)
	if err == nil && r.Digest != "" && d.Digest.String() != r.Digest.String() {
		err = fmt.Errorf("the manifest is %s", d.Digest)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, errors.Join(err, p.Close()))
	}
	return &manifest{p, d, data}, nil
}

// Snapshot is one manifest. It implements the source of a TUF client; every file
// that it returns has the digest that the manifest says.
type Snapshot struct {
	*manifest
	metadata map[string]reader.Descriptor
	targets  map[string]reader.Descriptor
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
		return nil, fmt.Errorf("%s: %w", r, errors.Join(err, m.Close()))
	}
	return s, nil
}

// repository returns the repository of a registry. A token to write with, or for somebody, may
// have to be asked for by POST.
func repository(r Reference, o Options, post bool) *reader.Repository {
	hosts := append(web.Registry(r.Host), o.Hosts...)
	client := web.Fence(o.Transport, o.Agent, hosts...)
	if post {
		client = web.Gate(web.Logins(o.Transport, r.Host), o.Agent, hosts...)
	}
	return reader.Connect(registry.Reference{Registry: r.registry, Repository: r.Name}, client, o.Credential)
}

// streams returns the repository of a registry, as a place of content of any size.
func streams(r Reference, o Options) *reader.Repository {
	hosts := append(web.Registry(r.Host), o.Hosts...)
	client := web.Stream(web.Logins(o.Transport, r.Host), o.Agent, hosts...)
	return reader.Connect(registry.Reference{Registry: r.registry, Repository: r.Name}, client, o.Credential)
}

// inRegistry is a place in a registry.
type inRegistry struct {
	*reader.Repository
	large *reader.Repository
}

// Open implements place.
func (p inRegistry) Open(ctx context.Context, d reader.Descriptor, from int64) (io.ReadCloser, int64, error) {
	return p.large.Open(ctx, d, from)
}

func (p inRegistry) resolve(ctx context.Context, r Reference) (reader.Descriptor, []byte, error) {
	if r.Digest != "" {
		return p.Resolve(ctx, r.Digest.String())
	}
	return p.Resolve(ctx, r.Tag)
}

func (p inRegistry) attached(
	ctx context.Context, to reader.Descriptor, artifactType string,
) ([]reader.Descriptor, error) {
	// Some registries say what the configuration is, which is empty.
	may := []string{artifactType, ocispec.MediaTypeEmptyJSON, ""}
	return p.Referrers(ctx, to, maxReferrers, func(t string) bool { return slices.Contains(may, t) })
}

// Close implements place.
func (inRegistry) Close() error { return nil }

// inLayout is a place in a layout directory.
type inLayout struct{ *reader.Layout }

func (p inLayout) resolve(ctx context.Context, r Reference) (d reader.Descriptor, data []byte, err error) {
	if r.Digest != "" { // also one that no tag points to any more
		var sum policy.Digest
		if sum, err = reader.ParseDigest(r.Digest.String()); err == nil {
			d, err = p.Describe(sum)
		}
	} else {
		d, err = p.tagged(r.Tag)
	}
	if err != nil {
		return d, nil, err
	}
	data, err = p.Manifest(ctx, d)
	return d, data, err
}

// tagged returns what the one tag of that name points to.
func (p inLayout) tagged(tag string) (reader.Descriptor, error) {
	all, err := p.Index()
	if err != nil {
		return reader.Descriptor{}, err
	}
	var found []reader.Descriptor
	for _, d := range all {
		if d.Annotations[ocispec.AnnotationRefName] == tag {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return reader.Descriptor{}, fmt.Errorf("%s lists the tag %d times", reader.IndexFile, len(found))
	}
	return found[0], nil
}

func (p inLayout) attached(_ context.Context, _ reader.Descriptor, artifactType string) ([]reader.Descriptor, error) {
	all, err := p.Index()
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(all, func(d reader.Descriptor) bool { return d.ArtifactType != artifactType })
	if len(out) > maxAttached {
		return nil, fmt.Errorf("more than %d manifests of type %s", maxAttached, artifactType)
	}
	return out, nil
}

// index sorts the layers by what they are. A layer of another kind is somebody
// else's and ignored.
func (s *Snapshot) index(data []byte) error {
	m, err := parseManifest(data)
	if err != nil {
		return err
	}
	s.metadata, s.targets = map[string]reader.Descriptor{}, map[string]reader.Descriptor{}
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

// parseManifest reads a manifest of ours: an image in the form of OCI.
func parseManifest(data []byte) (*reader.Manifest, error) {
	m, err := reader.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.MediaType != reader.TypeImage {
		return nil, fmt.Errorf("a manifest of type %q", m.MediaType)
	}
	return m, nil
}

// checkDigest refuses all digests but those that are written here.
func checkDigest(d policy.Digest) error {
	if d.Alg != "sha256" {
		return fmt.Errorf("%q is no digest like sha256:…", d)
	}
	return nil
}

func validName(name string, metadata bool) bool {
	return len(name) <= maxName && fs.ValidPath(name) && name != "." && !strings.Contains(name, "\\") &&
		(!metadata || !strings.Contains(name, "/") && strings.HasSuffix(name, ".json"))
}

// Digest returns the digest of the manifest: what a pin to this snapshot says.
func (s *Snapshot) Digest() digest.Digest { return digest.Digest(s.desc.Digest.String()) }

// Close ends the use of the snapshot.
func (s *Snapshot) Close() error { return s.place.Close() }

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

// Open returns the content of a target of any size from a byte on, or from its first where the registry
// sends no parts; start says which. Errors are those of [Snapshot.Metadata].
func (s *Snapshot) Open(ctx context.Context, name string, from, size int64) (io.ReadCloser, int64, error) {
	d, ok := s.targets[name]
	switch {
	case !ok:
		return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case d.Size != size:
		return nil, 0, fmt.Errorf("%s has %d bytes by the manifest, not %d", name, d.Size, size)
	}
	body, start, err := s.place.Open(ctx, d, from)
	if err != nil {
		return nil, 0, lost(name, err)
	}
	return body, start, nil
}

func (s *Snapshot) file(
	ctx context.Context, files map[string]reader.Descriptor, name string, limit int64,
) ([]byte, error) {
	d, ok := files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	data, err := s.Blob(ctx, d, limit)
	if err != nil {
		return nil, lost(name, err)
	}
	return data, nil
}

// lost names a file that could not be read. What the manifest lists is not missing but lost: a client
// must not go on as if it had never been there.
func lost(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %s", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Files returns all files of the snapshot, of at most limit bytes each.
func (s *Snapshot) Files(ctx context.Context, limit int64) (*Files, error) {
	out := &Files{Metadata: map[string][]byte{}, Targets: map[string]Content{}}
	for name := range s.metadata {
		data, err := s.file(ctx, s.metadata, name, limit)
		if err != nil {
			return nil, err
		}
		out.Metadata[name] = data
	}
	for name := range s.targets {
		data, err := s.file(ctx, s.targets, name, limit)
		if err != nil {
			return nil, err
		}
		out.Targets[name] = Bytes(data)
	}
	return out, nil
}
