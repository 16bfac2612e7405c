// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/content"

	"github.com/repopolicy/repopolicy/internal/budget"
	reader "github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// What a policy is in a registry, and its layers (SPEC 18.5).
const (
	ArtifactTypePolicy = "application/vnd.repopolicy.policy.v1"
	MediaTypeSignature = "application/vnd.dev.sigstore.bundle.v0.3+json"
	MediaTypePlace     = "application/vnd.repopolicy.place.v1+json"
	MediaTypeAnswer    = "application/vnd.repopolicy.directory-answer.v1+gzip"
)

// Limits of the files of a policy, those of all manifests together.
const (
	maxFileBytes   = 8 << 20
	maxPolicyBytes = 48 << 20

	parallelReads = 8
)

// ErrNoPolicy is wrapped by the error that a manifest neither is a policy nor has one
// attached.
var ErrNoPolicy = errors.New("no policy is kept there")

// File is a file of a repository.
type File struct {
	Name string // within the repository; "" if the same manifest has another one of that name
	Data []byte
}

// Policy is what a repository keeps of its policy: anybody may have written any of it.
type Policy struct {
	Repository string // its locator
	Signatures []File // bundles
	Places     []File // place proofs
	Answers    []File // of directories
}

// Manifest returns the manifest of the policy, attached to the manifest subject unless
// that is nil; the same bytes for the same files.
func (p *Policy) Manifest(subject *ocispec.Descriptor) ([]byte, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactTypePolicy, Config: ocispec.DescriptorEmptyJSON, Subject: subject,
		Annotations: map[string]string{ocispec.AnnotationSource: p.Repository},
	}
	named := map[string]bool{}
	for _, b := range p.blobs() {
		if b.name != "" && !named[b.name] && validName(b.name, false) {
			named[b.name] = true // clients that write layers into files take no name twice
			b.desc.Annotations = map[string]string{ocispec.AnnotationTitle: b.name}
		}
		m.Layers = append(m.Layers, b.desc)
	}
	return encode(m)
}

// blobs returns each file once.
func (p *Policy) blobs() []blob {
	var out []blob
	seen := map[digest.Digest]bool{}
	for _, part := range []struct {
		files []File
		media string
	}{{p.Signatures, MediaTypeSignature}, {p.Places, MediaTypePlace}, {p.Answers, MediaTypeAnswer}} {
		for _, f := range part.files {
			if d := content.NewDescriptorFromBytes(part.media, f.Data); !seen[d.Digest] {
				seen[d.Digest] = true
				out = append(out, blob{f.Name, d, Bytes(f.Data).Open})
			}
		}
	}
	return out
}

// PushPolicy stores a policy: under the tag of the reference, or attached to the manifest
// whose digest it names. The digest returned is that of the policy's manifest. What is
// there is not sent again.
func PushPolicy(ctx context.Context, r Reference, o Options, p *Policy) (digest.Digest, error) {
	to := r
	var subject *ocispec.Descriptor
	if r.Digest != "" {
		m, err := open(ctx, r, o)
		if err != nil {
			return "", err
		}
		if err := m.Close(); err != nil {
			return "", err
		}
		subject = &ocispec.Descriptor{Digest: r.Digest, Size: m.desc.Size}
		if subject.MediaType, err = mediaType(m.data); err != nil {
			return "", fmt.Errorf("%s: %w", r, err)
		}
		to.Digest = ""
	}
	manifest, err := p.Manifest(subject)
	if err != nil {
		return "", err
	}
	return upload(ctx, to, o, ArtifactTypePolicy, manifest, p.blobs())
}

// mediaType returns what a manifest says that it is.
func mediaType(data []byte) (string, error) {
	m, err := reader.ParseManifest(data)
	if err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	if m.MediaType == "" {
		if m.IsIndex { // it may be left out, says the image specification
			return reader.TypeIndex, nil
		}
		return reader.TypeImage, nil
	}
	return m.MediaType, nil
}

// ReadPolicy reads the policy of a repository that a reference names: a manifest that is
// one, or else all that are attached to it and are about the repository, together. The
// error wraps [ErrNoPolicy] if there is none. Every file has the digest that its manifest
// says; nothing else is verified.
func ReadPolicy(ctx context.Context, r Reference, o Options, repository string) (_ *Policy, err error) {
	m, err := open(ctx, r, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err = errors.Join(err, m.Close()); err != nil {
			err = fmt.Errorf("%s: %w", r, err)
		}
	}()
	var layers []reader.Descriptor
	switch p, err := parseManifest(m.data); {
	case err == nil && p.ArtifactType == ArtifactTypePolicy:
		if of := p.Annotations[ocispec.AnnotationSource]; of != repository {
			return nil, fmt.Errorf("%w of %s, but one of %.200q", ErrNoPolicy, repository, of)
		}
		layers = p.Layers
	default: // an image, or an index of images
		if layers, err = m.layersOf(ctx, repository); err != nil {
			return nil, err
		}
	}
	return m.files(ctx, repository, layers)
}

// layersOf returns the layers of all policies of a repository that are attached.
func (m *manifest) layersOf(ctx context.Context, repository string) (layers []reader.Descriptor, err error) {
	list, err := m.attached(ctx, m.desc, ArtifactTypePolicy)
	if err != nil {
		return nil, fmt.Errorf("what is attached: %w", err)
	}
	found := false
	for _, d := range list {
		if err := checkDigest(d.Digest); err != nil {
			return nil, err
		}
		data, err := m.Manifest(ctx, reader.Descriptor{MediaType: reader.TypeImage, Digest: d.Digest, Size: d.Size})
		if err != nil {
			return nil, err
		}
		p, err := parseManifest(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Digest, err)
		}
		if p.Subject == nil || p.Subject.Digest != m.desc.Digest || p.ArtifactType != ArtifactTypePolicy ||
			p.Annotations[ocispec.AnnotationSource] != repository {
			continue // listed, but about something else
		}
		found = true
		layers = append(layers, p.Layers...)
	}
	if !found {
		return nil, fmt.Errorf("%w of %s", ErrNoPolicy, repository)
	}
	return layers, nil
}

// files reads layers, each content once. Those of other kinds are somebody else's.
func (m *manifest) files(ctx context.Context, repository string, layers []reader.Descriptor) (*Policy, error) {
	type file struct {
		kind   string // what one manifest calls something else hides no signature of another
		digest policy.Digest
	}
	seen := map[file]bool{}
	layers = slices.DeleteFunc(layers, func(d reader.Descriptor) bool {
		at := file{kindOf(d.MediaType), d.Digest}
		unwanted := seen[at] || at.kind == ""
		seen[at] = true
		return unwanted
	})
	total := int64(0)
	for _, d := range layers {
		if err := checkDigest(d.Digest); err != nil {
			return nil, err
		}
		if d.Size > maxFileBytes {
			return nil, fmt.Errorf("%s has %d bytes, at most %d are read", d.Digest, d.Size, maxFileBytes)
		}
		if total += d.Size; total > maxPolicyBytes {
			return nil, fmt.Errorf("more than %d bytes", maxPolicyBytes)
		}
		if err := budget.Of(ctx).Take(d.Size); err != nil { // as long as the run lasts
			return nil, err
		}
	}
	data := make([][]byte, len(layers))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for i, d := range layers {
		g.Go(func() error {
			var err error
			if data[i], err = m.Blob(ctx, d, maxFileBytes); err != nil {
				return fmt.Errorf("%s: %w", d.Digest, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := &Policy{Repository: repository}
	for i, d := range layers {
		files := map[string]*[]File{
			MediaTypeSignature: &out.Signatures, MediaTypePlace: &out.Places, MediaTypeAnswer: &out.Answers,
		}[kindOf(d.MediaType)]
		*files = append(*files, File{d.Annotations[ocispec.AnnotationTitle], data[i]})
	}
	return out, nil
}

// kindOf returns the media type that a layer of this type is read as, "" for somebody
// else's: a Sigstore bundle may be of any version.
func kindOf(mediaType string) string {
	switch {
	case strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle"):
		return MediaTypeSignature
	case mediaType == MediaTypePlace, mediaType == MediaTypeAnswer:
		return mediaType
	}
	return ""
}
