// SPDX-License-Identifier: Apache-2.0

// Package oci reads manifests and blobs of container images and other artifacts, from
// registries and from layout directories. Whoever keeps them may be hostile: what is read is
// what a digest names, and a manifest is read in one way only.
//
// Specification: https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md.
package oci

import (
	_ "crypto/sha256" // for digests
	_ "crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of one manifest.
const (
	MaxManifestBytes = 4 << 20 // also what registries take
	MaxDescriptors   = 10_000  // layers of an image, manifests of an index
)

// Media types of manifests: those of OCI, and those of Docker, which are read alike.
const (
	TypeImage = "application/vnd.oci.image.manifest.v1+json"
	TypeIndex = "application/vnd.oci.image.index.v1+json"

	typeDockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Descriptor names a manifest or a blob.
type Descriptor struct {
	MediaType    string
	ArtifactType string // of a manifest; "" if it is not said
	Digest       policy.Digest
	Size         int64
	Annotations  map[string]string // as said where the descriptor stands; not nil
}

// Manifest is an image or another artifact, or an index of such.
type Manifest struct {
	MediaType    string // "" if it does not say
	ArtifactType string
	IsIndex      bool
	Manifests    []Descriptor // of an index
	Config       Descriptor   // of an image
	Layers       []Descriptor // of an image
	Subject      *Descriptor  // what it is attached to, if it is
	Annotations  map[string]string
}

// ParseManifest reads a manifest of schema version 2 strictly. It is an error if a key stands
// twice anywhere, if it is both an index and an image or is not what its media type says, if it
// lists more than [MaxDescriptors], or if a descriptor has no SHA-2 digest or no size.
func ParseManifest(data []byte) (*Manifest, error) {
	if err := (strictjson.Rules{Null: true}).Check(data); err != nil {
		return nil, err
	}
	o, err := strictjson.Members(data)
	if err != nil {
		return nil, err
	}
	if version := string(o["schemaVersion"]); version != "2" {
		return nil, fmt.Errorf("schema version %q, 2 is known", clip.Text(version))
	}
	m := &Manifest{IsIndex: o["manifests"] != nil}
	if m.MediaType, err = strictjson.Text(o, "mediaType"); err != nil {
		return nil, err
	}
	if m.ArtifactType, err = strictjson.Text(o, "artifactType"); err != nil {
		return nil, err
	}
	if err := m.readContent(o); err != nil {
		return nil, err
	}
	if raw := o["subject"]; raw != nil {
		subject, err := parseDescriptor(raw)
		if err != nil {
			return nil, fmt.Errorf("subject: %w", err)
		}
		m.Subject = &subject
	}
	m.Annotations, err = annotations(o)
	return m, err
}

// readContent reads what an index or an image consists of.
func (m *Manifest) readContent(o map[string]json.RawMessage) (err error) {
	switch {
	case m.IsIndex && (o["layers"] != nil || o["config"] != nil):
		return errors.New("both an index and an image")
	case m.IsIndex && slices.Contains([]string{TypeImage, typeDockerImage}, m.MediaType),
		!m.IsIndex && slices.Contains([]string{TypeIndex, typeDockerIndex}, m.MediaType):
		return fmt.Errorf("it is not what its media type says, %s", m.MediaType)
	case m.IsIndex:
		m.Manifests, err = descriptors(o, "manifests")
		return err
	}
	if m.Layers, err = descriptors(o, "layers"); err != nil {
		return err
	}
	if m.Config, err = parseDescriptor(o["config"]); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

func descriptors(o map[string]json.RawMessage, name string) ([]Descriptor, error) {
	raws, err := strictjson.List(o, name)
	if err != nil {
		return nil, err
	}
	if len(raws) > MaxDescriptors {
		return nil, fmt.Errorf("%d %s, at most %d are read", len(raws), name, MaxDescriptors)
	}
	var out []Descriptor
	for i, raw := range raws {
		d, err := parseDescriptor(raw)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func parseDescriptor(raw json.RawMessage) (d Descriptor, err error) {
	o, err := strictjson.Members(raw)
	if err != nil {
		return d, err
	}
	if d.MediaType, err = strictjson.Text(o, "mediaType"); err != nil {
		return d, err
	}
	if d.ArtifactType, err = strictjson.Text(o, "artifactType"); err != nil {
		return d, err
	}
	text, err := strictjson.Text(o, "digest")
	if err != nil {
		return d, err
	}
	if d.Digest, err = ParseDigest(text); err != nil {
		return d, err
	}
	if d.Size, err = strconv.ParseInt(string(o["size"]), 10, 64); err != nil || d.Size < 0 {
		return d, errors.New("no size")
	}
	d.Annotations, err = annotations(o)
	return d, err
}

func annotations(o map[string]json.RawMessage) (map[string]string, error) {
	out := map[string]string{}
	raw := o["annotations"]
	if raw == nil {
		return out, nil
	}
	all, err := strictjson.Members(raw)
	if err != nil {
		return nil, fmt.Errorf("annotations: %w", err)
	}
	for name := range all {
		if out[name], err = strictjson.Text(all, name); err != nil {
			return nil, fmt.Errorf("annotations: %w", err)
		}
	}
	return out, nil
}

// ParseDigest reads a digest by which content can be checked.
func ParseDigest(text string) (policy.Digest, error) {
	d, err := policy.ParseDigest(text)
	if err != nil || digest.Digest(text).Validate() != nil {
		return policy.Digest{}, fmt.Errorf("%q is no digest", clip.Text(text))
	}
	return d, nil
}

// Read returns what a descriptor describes, of at most limit bytes, and nothing else.
func Read(r io.Reader, d Descriptor, limit int64) ([]byte, error) {
	if err := d.fits(limit); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	case int64(len(data)) != d.Size:
		return nil, fmt.Errorf("%s is not of %d bytes, as it is said", d.Digest, d.Size)
	}
	v := d.verifier()
	_, _ = v.Write(data)
	return data, d.verified(v)
}

// fits refuses what is too large before it is asked for.
func (d Descriptor) fits(limit int64) error {
	if d.Size < 0 || d.Size > limit {
		return fmt.Errorf("%s has %d bytes, at most %d are read", d.Digest, d.Size, limit)
	}
	return nil
}

func (d Descriptor) verifier() digest.Verifier { return digest.Digest(d.Digest.String()).Verifier() }

func (d Descriptor) verified(v digest.Verifier) error {
	if !v.Verified() {
		return fmt.Errorf("the content of %s has another digest", d.Digest)
	}
	return nil
}
