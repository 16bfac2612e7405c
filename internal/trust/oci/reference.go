// SPDX-License-Identifier: Apache-2.0

// Package oci keeps TUF repositories, and policies with their signatures, in OCI
// registries and layout directories. One manifest is one consistent snapshot: each of
// its layers is a file, byte for byte, so that the digest of the manifest pins all of
// them.
//
// Specification: SPEC 18; https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md;
// the media types are those of https://github.com/docker/go-tuf-mirror.
package oci

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	reader "github.com/repopolicy/repopolicy/internal/oci"
)

// Schemes of a reference.
const (
	SchemeRegistry = "oci:"
	SchemeLayout   = "oci-layout:"
)

const defaultTag = "latest"

// Reference names a repository: a tag in a registry or layout, or the digest of a
// manifest, which is then the only one that is read.
type Reference struct {
	Layout             string // directory; "" for a registry
	Host, Name         string // of a registry's repository
	Tag                string // "" with a digest
	Digest             digest.Digest
	registry, fullName string
}

// IsReference reports whether a text is meant as a reference.
func IsReference(text string) bool {
	return strings.HasPrefix(text, SchemeRegistry) || strings.HasPrefix(text, SchemeLayout)
}

// ParseReference reads "oci:REGISTRY/NAME", "oci-layout:DIR", either with ":TAG" or
// "@sha256:HEX" behind; the tag is "latest" without either.
func ParseReference(text string) (Reference, error) {
	var out Reference
	rest, layout := strings.CutPrefix(text, SchemeLayout)
	if !layout {
		var ok bool
		if rest, ok = strings.CutPrefix(text, SchemeRegistry); !ok {
			return out, fmt.Errorf("a reference begins with %q or %q", SchemeRegistry, SchemeLayout)
		}
	}
	name, pin, pinned := strings.Cut(rest, "@")
	if pinned {
		d, err := digest.Parse(pin)
		if err != nil || d.Algorithm() != digest.SHA256 {
			return out, fmt.Errorf("%q is no digest like sha256:…", pin)
		}
		out.Digest = d
	} else {
		out.Tag = defaultTag
		if i := strings.LastIndexByte(name, ':'); i > 0 && isTag(name[i+1:]) {
			name, out.Tag = name[:i], name[i+1:]
		}
	}
	if layout {
		if name == "" {
			return out, fmt.Errorf("%q names no directory", text)
		}
		out.Layout = name
		return out, nil
	}
	ref, err := reader.ParseReference(name)
	switch {
	case err != nil:
		return out, err
	case ref.Reference != "":
		return out, fmt.Errorf("%q has a tag and a digest", text)
	}
	out.Host, out.Name, out.registry, out.fullName = ref.Host(), ref.Repository, ref.Registry,
		ref.Registry+"/"+ref.Repository
	return out, nil
}

// isTag follows the grammar of tags of the distribution specification.
func isTag(s string) bool {
	if s == "" || len(s) > 128 || strings.ContainsAny(s[:1], ".-") {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c)) {
			return false
		}
	}
	return true
}

// String returns the reference as it is written.
func (r Reference) String() string {
	text := SchemeRegistry + r.fullName
	if r.Layout != "" {
		text = SchemeLayout + r.Layout
	}
	if r.Digest != "" {
		return text + "@" + r.Digest.String()
	}
	return text + ":" + r.Tag
}

// At returns the reference to one manifest in the same place.
func (r Reference) At(d digest.Digest) Reference {
	r.Tag, r.Digest = "", d
	return r
}
