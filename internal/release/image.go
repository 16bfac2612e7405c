// SPDX-License-Identifier: Apache-2.0

package release

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Media types of the layers in which cosign keeps evidence for a container
// image. https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md,
// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
const (
	typeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeEnvelope      = "application/vnd.dsse.envelope.v1+json"
	typeBundle        = "application/vnd.dev.sigstore.bundle"
)

// Annotations of such layers.
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationBundle      = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// isImageEvidence reports whether a layer of this media type holds evidence.
func isImageEvidence(mediaType string) bool {
	return mediaType == typeSimpleSigning || mediaType == typeEnvelope || isBundleType(mediaType)
}

func isBundleType(mediaType string) bool {
	return strings.HasPrefix(mediaType, typeBundle+".v") || strings.HasPrefix(mediaType, typeBundle+"+json")
}

// Layer is a layer of a manifest in a registry that holds evidence for an image.
type Layer struct {
	URL         string // where it was found
	MediaType   string
	Annotations map[string]string
	Digest      policy.Digest
	Size        int64
	Content     []byte // checked against Digest
}

// ParseLayers returns the layers of a manifest that hold evidence, without their
// content.
func ParseLayers(manifest []byte) ([]Layer, error) {
	m, err := parseManifest(manifest)
	if err != nil {
		return nil, err
	}
	var out []Layer
	for _, l := range m.layers {
		if isImageEvidence(l.mediaType) {
			out = append(out, Layer{MediaType: l.mediaType, Annotations: l.annotations, Digest: l.digest, Size: l.size})
		}
	}
	return out, nil
}

// Attach gives an artifact the evidence that its registry has, each piece once. The
// error says that there may be more. What is parsed counts against the budget.
func (a *Artifact) Attach(b *budget.Budget, layers []Layer, err error) {
	a.found = []*candidate{}
	h := &hold{budget: b}
	seen := map[policy.Digest][]Layer{}
	for _, l := range layers {
		again := func(o Layer) bool {
			return o.MediaType == l.MediaType && maps.Equal(o.Annotations, l.Annotations)
		}
		if slices.ContainsFunc(seen[l.Digest], again) {
			continue
		}
		seen[l.Digest] = append(seen[l.Digest], l)
		c := &candidate{path: l.URL, form: "image signature", among: true}
		if f := h.text(l.Content); f != nil {
			c.err = f
		} else {
			c.piece = imagePiece(l.MediaType, l.Annotations, l.Content, l.Digest)
		}
		a.found = append(a.found, c)
	}
	var over *budget.Exceeded
	switch {
	case errors.As(err, &over):
		a.found = append(a.found, &candidate{path: a.Arg, piece: piece{err: exceeded(err)}})
	case err != nil:
		a.found = append(a.found, unreachable(a.Arg, err)...)
	}
}

// imagePiece reads the evidence in one layer of a manifest. Content was checked
// against the layer's digest.
func imagePiece(mediaType string, annotations map[string]string, content []byte, digest policy.Digest) piece {
	if isBundleType(mediaType) {
		return bundlePiece(content)
	}
	bad := func(err error) piece { return badPiece("image signature: %s", err)[0] }
	v, unproven, err := imageMaterial(annotations)
	if err != nil {
		return bad(err)
	}
	if mediaType == typeEnvelope {
		m, err := members(content)
		if err != nil {
			return bad(err)
		}
		if v["dsseEnvelope"], err = envelope(m); err != nil {
			return bad(err)
		}
		p := newBundle(v)
		p.unproven = unproven
		return p
	}
	subject, err := simpleSigning(content)
	if err != nil {
		return bad(err)
	}
	if _, err := canonical.ParseBase64(annotations[annotationSignature]); err != nil || annotations[annotationSignature] == "" {
		return bad(errors.New("no signature beside the payload"))
	}
	raw, err := hex.DecodeString(digest.Hex)
	if err != nil || protoHashes[digest.Alg] == "" {
		return bad(fmt.Errorf("digests of kind %s are not supported", digest.Alg))
	}
	v["messageSignature"] = map[string]any{
		"messageDigest": map[string]any{"algorithm": protoHashes[digest.Alg], "digest": raw},
		"signature":     annotations[annotationSignature],
	}
	p := newBundle(v)
	p.unproven, p.inner = unproven, &inner{signed: digest, subject: subject}
	return p
}

// imageMaterial returns a bundle without content from the annotations, and what
// is missing if no log entry is among them.
func imageMaterial(annotations map[string]string) (map[string]any, string, error) {
	material := map[string]any{"publicKey": map[string]any{"hint": ""}}
	if cert := annotations[annotationCertificate]; cert != "" {
		var err error
		if material, err = keyMaterial(cert); err != nil {
			return nil, "", err
		}
	}
	if ts := annotations[annotationTimestamp]; ts != "" {
		m, err := members([]byte(ts))
		if err != nil {
			return nil, "", fmt.Errorf("time stamp: %w", err)
		}
		material["timestampVerificationData"] = map[string]any{
			"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": m["SignedRFC3161Timestamp"]}},
		}
	}
	unproven := "the image's signature comes without a log entry"
	if b := annotations[annotationBundle]; b != "" {
		entry, err := rekorBundle(json.RawMessage(b))
		if err != nil {
			return nil, "", err
		}
		material["tlogEntries"], unproven = []any{entry.entry}, ""
	}
	return map[string]any{"mediaType": mediaTypeV01, "verificationMaterial": material}, unproven, nil
}

// simpleSigning reads the payload of an image signature: which manifest it is
// over, and under which name it was signed.
func simpleSigning(payload []byte) (sigstore.Subject, error) {
	var sub sigstore.Subject
	m, err := members(payload)
	if err != nil {
		return sub, err
	}
	critical, err := members(m["critical"])
	if err != nil {
		return sub, err
	}
	image, err := members(critical["image"])
	if err != nil {
		return sub, err
	}
	identity, err := members(critical["identity"])
	if err != nil {
		return sub, err
	}
	kind, err := text(critical, "type")
	if err != nil {
		return sub, err
	}
	if kind != "cosign container image signature" {
		return sub, fmt.Errorf("a payload of type %q", clip(kind))
	}
	if sub.Name, err = text(identity, "docker-reference"); err != nil {
		return sub, err
	}
	digest, err := text(image, "docker-manifest-digest")
	if err != nil {
		return sub, err
	}
	d, err := policy.ParseDigest(digest)
	if err != nil || d.Alg == "gitCommit" {
		return sub, fmt.Errorf("the manifest's digest: %q", clip(digest))
	}
	sub.Digests = []policy.Digest{d}
	return sub, nil
}
