// SPDX-License-Identifier: Apache-2.0

package forms

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/strictjson"
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

// IsImageEvidence reports whether a layer of this media type holds evidence.
func IsImageEvidence(mediaType string) bool {
	return mediaType == typeSimpleSigning || mediaType == typeEnvelope || IsBundleType(mediaType)
}

// IsBundleType reports whether a layer of this media type is a Sigstore bundle.
func IsBundleType(mediaType string) bool {
	return strings.HasPrefix(mediaType, typeBundle+".v") || strings.HasPrefix(mediaType, typeBundle+"+json")
}

// ReadLayer reads the evidence in one layer of a manifest. Content was checked
// against the layer's digest.
func ReadLayer(mediaType string, annotations map[string]string, content []byte, digest policy.Digest) Piece {
	if IsBundleType(mediaType) {
		return bundlePiece(content)
	}
	bad := func(err error) Piece { return badPiece("image signature: %s", err)[0] }
	v, unproven, err := imageMaterial(annotations)
	if err != nil {
		return bad(err)
	}
	if mediaType == typeEnvelope {
		m, err := strictjson.Members(content)
		if err != nil {
			return bad(err)
		}
		if v["dsseEnvelope"], err = envelope(m); err != nil {
			return bad(err)
		}
		p := newBundle(v)
		p.Unproven = unproven
		return p
	}
	subject, err := simpleSigning(content)
	if err != nil {
		return bad(err)
	}
	if _, err := canonical.ParseBase64(annotations[annotationSignature]); err != nil ||
		annotations[annotationSignature] == "" {
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
	p.Unproven, p.Inner = unproven, &Inner{Signed: digest, Subject: subject}
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
		m, err := strictjson.Members([]byte(ts))
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
	m, err := strictjson.Members(payload)
	if err != nil {
		return sub, err
	}
	critical, err := strictjson.Members(m["critical"])
	if err != nil {
		return sub, err
	}
	image, err := strictjson.Members(critical["image"])
	if err != nil {
		return sub, err
	}
	identity, err := strictjson.Members(critical["identity"])
	if err != nil {
		return sub, err
	}
	kind, err := strictjson.Text(critical, "type")
	if err != nil {
		return sub, err
	}
	if kind != "cosign container image signature" {
		return sub, fmt.Errorf("a payload of type %q", clip.Text(kind))
	}
	if sub.Name, err = strictjson.Text(identity, "docker-reference"); err != nil {
		return sub, err
	}
	digest, err := strictjson.Text(image, "docker-manifest-digest")
	if err != nil {
		return sub, err
	}
	d, err := policy.ParseDigest(digest)
	if err != nil || d.Alg == "gitCommit" {
		return sub, fmt.Errorf("the manifest's digest: %q", clip.Text(digest))
	}
	sub.Digests = []policy.Digest{d}
	return sub, nil
}
