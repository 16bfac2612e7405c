// SPDX-License-Identifier: Apache-2.0

package release

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// What cosign keeps in a layer, and beside it.
const (
	typeSimpleSigning     = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeEnvelope          = "application/vnd.dsse.envelope.v1+json"
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationBundle      = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// images builds an OCI layout.
type images struct {
	t     testing.TB
	files map[string][]byte
	index []any
}

func newImages(t testing.TB) *images {
	return &images{t: t, files: map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
}

func (i *images) blob(mediaType string, content []byte, annotations object) object {
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	i.files["blobs/sha256/"+sum] = content
	d := object{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(content)}
	if annotations != nil {
		d["annotations"] = annotations
	}
	return d
}

const typeManifest = "application/vnd.oci.image.manifest.v1+json"

// image adds a manifest to the index and returns its digest.
func (i *images) image(layers ...any) string {
	config := i.blob("application/vnd.oci.image.config.v1+json", []byte("{}"), nil)
	m := marshal(i.t, object{"schemaVersion": 2, "mediaType": typeManifest, "config": config, "layers": layers})
	d := i.blob(typeManifest, m, nil)
	i.index = append(i.index, d)
	return d["digest"].(string)
}

func (i *images) layout() map[string][]byte {
	i.files["index.json"] = marshal(i.t, object{"schemaVersion": 2, "manifests": i.index})
	return i.files
}

// simple is a layer with cosign's signature of an image.
func (i *images) simple(inst *sigstoretest.Instance, r sigstoretest.Request, name, digest string,
	change func(object)) any {
	payload := marshal(i.t, object{"optional": nil, "critical": object{
		"identity": object{"docker-reference": name}, "image": object{"docker-manifest-digest": digest},
		"type": "cosign container image signature",
	}})
	r.Artifact, r.NoProof = payload, true
	p := take(i.t, inst.Sign(r))
	a := object{
		annotationSignature: p.Signature, annotationCertificate: string(p.PEM()),
		annotationBundle: string(marshal(i.t, p.RekorBundle(i.t))),
	}
	if change != nil {
		change(a)
	}
	return i.blob(typeSimpleSigning, payload, a)
}
