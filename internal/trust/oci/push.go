// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/file"
	reader "github.com/repopolicy/repopolicy/internal/oci"
)

// Files are the files of a TUF repository with consistent snapshots: metadata by
// name ("3.root.json"), targets by the path that has the hash in it.
type Files struct {
	Metadata map[string][]byte
	Targets  map[string]Content
}

// Source returns the source of a TUF client that reads these files.
func (f *Files) Source() *Memory { return &Memory{f} }

// Memory is a repository in memory.
type Memory struct{ files *Files }

// Metadata returns a file of metadata, or fs.ErrNotExist.
func (m *Memory) Metadata(_ context.Context, name string, limit int64) ([]byte, error) {
	data, ok := m.files.Metadata[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", name, len(data), limit)
	}
	return data, nil
}

// Target returns a target, or fs.ErrNotExist.
func (m *Memory) Target(_ context.Context, name string, limit int64) ([]byte, error) {
	c, ok := m.files.Targets[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	data, err := c.Read(limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// Manifest returns the manifest of the files, the same bytes for the same files.
func (f *Files) Manifest() ([]byte, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: MediaTypeMetadata, Config: ocispec.DescriptorEmptyJSON,
	}
	for _, b := range f.blobs() {
		if !validName(b.name, b.desc.MediaType == MediaTypeMetadata) {
			return nil, fmt.Errorf("%q is no name of a file", b.name)
		}
		b.desc.Annotations = map[string]string{AnnotationFilename: b.name}
		m.Layers = append(m.Layers, b.desc)
	}
	return encode(m)
}

// blobs returns the files as layers of a manifest, metadata first.
func (f *Files) blobs() []blob {
	var out []blob
	for _, name := range slices.Sorted(maps.Keys(f.Metadata)) {
		out = append(out, bytesBlob(name, MediaTypeMetadata, f.Metadata[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Targets)) {
		c := f.Targets[name]
		out = append(out, blob{name, c.descriptor(MediaTypeTarget), c.Open})
	}
	return out
}

// encode returns a manifest that can be read again.
func encode(m ocispec.Manifest) ([]byte, error) {
	if len(m.Layers) > reader.MaxDescriptors {
		return nil, tooMany(len(m.Layers))
	}
	data, err := json.Marshal(m)
	if err == nil && len(data) > reader.MaxManifestBytes {
		err = fmt.Errorf("a manifest of %d bytes: %w", len(data), tooMany(len(m.Layers)))
	}
	return data, err
}

// tooMany is the error about more files than registries take in one manifest, or anybody reads of one.
func tooMany(n int) error {
	return fmt.Errorf(
		"%d files, and one manifest holds at most %d files and %d MiB; serve the directory from a web server, "+
			"or split the repository",
		n,
		reader.MaxDescriptors,
		reader.MaxManifestBytes>>20,
	)
}

// Push stores the files as one snapshot and then lets the tag of the reference,
// which must not name a digest, point to it. Pushed before, they stay as they are;
// a push that is interrupted leaves the tag where it was. The digest returned is
// that of the manifest.
func Push(ctx context.Context, r Reference, o Options, f *Files) (digest.Digest, error) {
	if r.Digest != "" {
		return "", fmt.Errorf("%s: a digest follows from what is pushed; name a tag", r)
	}
	manifest, err := f.Manifest()
	if err != nil {
		return "", err
	}
	all := f.blobs() // what metadata names comes before it
	arrange.By(all, func(a, b blob) int { return cmp.Compare(b.desc.MediaType, a.desc.MediaType) })
	return upload(ctx, r, o, MediaTypeMetadata, manifest, all)
}

// blob is what a manifest lists.
type blob struct {
	name string // for errors
	desc ocispec.Descriptor
	open func() (io.ReadCloser, error)
}

// bytesBlob is a blob that is in memory.
func bytesBlob(name, mediaType string, data []byte) blob {
	c := Bytes(data)
	return blob{name, c.descriptor(mediaType), c.Open}
}

// upload stores blobs, and then the manifest: under the tag of the reference, or by
// its digest if the reference names none.
func upload(
	ctx context.Context, r Reference, o Options, artifactType string, manifest []byte, all []blob,
) (digest.Digest, error) {
	desc := content.NewDescriptorFromBytes(ocispec.MediaTypeImageManifest, manifest)
	var blobs content.Pusher
	var list func() error
	if r.Layout != "" {
		for _, name := range []string{"blobs/sha256", "ingest"} { // where the library writes
			dir, err := file.DirBelow(r.Layout, name, 0o755)
			if err != nil {
				return "", err
			}
			dir.Close()
		}
		store, err := oci.NewStorage(r.Layout)
		if err != nil {
			return "", err
		}
		blobs = store
		list = func() error {
			if err := push(ctx, store, blob{desc: desc, open: Bytes(manifest).Open}); err != nil {
				return err
			}
			return listInLayout(r, desc, artifactType)
		}
	} else {
		repo := repository(r, o, true).Remote
		blobs = streams(r, o).Remote.Blobs()
		list = func() error {
			if r.Tag == "" {
				return repo.Manifests().Push(ctx, desc, bytes.NewReader(manifest))
			}
			return repo.PushReference(ctx, desc, bytes.NewReader(manifest), r.Tag)
		}
	}
	empty := bytesBlob("", ocispec.MediaTypeEmptyJSON, ocispec.DescriptorEmptyJSON.Data)
	if err := push(ctx, blobs, empty); err != nil {
		return "", fmt.Errorf("%s: %w", r, err)
	}
	sent := map[digest.Digest]bool{}
	for _, b := range all {
		if sent[b.desc.Digest] {
			continue
		}
		sent[b.desc.Digest] = true
		if err := push(ctx, blobs, b); err != nil {
			return "", fmt.Errorf("%s: %s: %w", r, b.name, err)
		}
	}
	if err := list(); err != nil {
		return "", fmt.Errorf("%s: %w", r, err)
	}
	return desc.Digest, nil
}

// push stores a blob unless it is there. Of content nothing is held in memory, and a run's time does not
// count while it streams.
func push(ctx context.Context, to content.Pusher, b blob) error {
	if s, ok := to.(content.ReadOnlyStorage); ok {
		if there, err := s.Exists(ctx, b.desc); err != nil || there {
			return err
		}
	}
	r, err := b.open()
	if err != nil {
		return err
	}
	defer r.Close()
	resume := budget.Pause(ctx)
	defer resume()
	if err := to.Push(ctx, b.desc, r); !errors.Is(err, errdef.ErrAlreadyExists) {
		return err
	}
	return nil
}

// listInLayout lists the manifest in the layout's index, under the tag of the reference
// if it has one, in one step.
func listInLayout(r Reference, desc ocispec.Descriptor, artifactType string) error {
	root, err := os.OpenRoot(r.Layout)
	if err != nil {
		return err
	}
	defer root.Close()
	index := &ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	data, err := file.ReadIn(root, ocispec.ImageIndexFile, reader.MaxManifestBytes)
	if err == nil {
		err = json.Unmarshal(data, index)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		if tag, tagged := d.Annotations[ocispec.AnnotationRefName]; tagged {
			return tag == r.Tag
		}
		return d.Digest == desc.Digest // the same again
	})
	desc.ArtifactType = artifactType
	if r.Tag != "" {
		desc.Annotations = map[string]string{ocispec.AnnotationRefName: r.Tag}
	}
	index.Manifests = append(index.Manifests, desc)
	for _, f := range []struct {
		name    string
		content any
	}{
		{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}}, {ocispec.ImageIndexFile, index},
	} {
		data, err := json.Marshal(f.content)
		if err != nil {
			return err
		}
		if err := file.WriteBelow(r.Layout, f.name, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
