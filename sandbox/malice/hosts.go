// SPDX-License-Identifier: Apache-2.0

package malice

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What hosts send that mean harm by size or shape.
type (
	// Git answers Git's protocol with these refs and this pack, whatever is asked.
	Git struct{ List, Pack func(io.Writer) }
	// Content answers 200 with a body: how it begins, then the same again up to a size,
	// then how it ends. A size of 0 is without end.
	Content struct {
		Begin, Again, End string
		Size              int64
	}
	// Images is a registry in which every name and tag is one image, with evidence of no
	// use attached.
	Images struct {
		Referrers, Layers int   // of each referrer
		Blobs             int   // different ones; each layer is one of them
		Size              int64 // of a blob, as its layer says
		Sent              int64 // bytes of a blob's answer; 0 is Size, below 0 is without end
		Annotation        int   // bytes, of each layer
		// Manifest, if set, is what the answer to the tag is; Listing that to the
		// question for referrers, with a further page behind each.
		Manifest, Listing *Content
	}
)

func (Git) fault()     {}
func (Content) fault() {}
func (Images) fault()  {}

func (g Git) wrap(next http.Handler) http.Handler {
	return handle(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/info/refs"):
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			g.List(w)
		case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
			g.Pack(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ServeHTTP implements http.Handler.
func (c Content) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		return
	}
	if _, err := io.WriteString(w, c.Begin); err != nil {
		return
	}
	piece := bytes.Repeat([]byte(c.Again), 1+chunk/max(len(c.Again), 1))
	for left := c.Size - int64(len(c.Begin)+len(c.End)); c.Size == 0 || left > 0; {
		p := piece
		if c.Size > 0 && left < int64(len(p)) {
			p = p[:left-left%int64(len(c.Again))]
			left = 0
		}
		left -= int64(len(p))
		if _, err := w.Write(p); err != nil || r.Context().Err() != nil {
			return
		}
	}
	_, _ = io.WriteString(w, c.End) // the client went away
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	bundleType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

func describe(mediaType string, data []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data)), Size: int64(len(data))}
}

// handler makes what the registry has.
func (i Images) handler() http.Handler {
	config := describe(ociConfig, []byte("{}"))
	manifest := func(artifactType string, subject *descriptor, layers []descriptor) []byte {
		data, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "artifactType": artifactType, "config": config, "layers": layers, "subject": subject})
		return data
	}
	manifests, blobs := map[string][]byte{}, map[string]byte{}
	image := manifest("", nil, []descriptor{config})
	subject := describe(ociManifest, image)
	manifests[subject.Digest] = image
	var pieces []descriptor
	for k := range i.Blobs {
		d := describe(bundleType, bytes.Repeat([]byte{byte(k)}, int(i.Size)))
		pieces, blobs[d.Digest] = append(pieces, d), byte(k)
	}
	referrers := []descriptor{}
	for r := range i.Referrers {
		var layers []descriptor
		for k := range i.Layers {
			l := pieces[(r*i.Layers+k)%len(pieces)]
			l.Annotations = map[string]string{"n": strings.Repeat(string(rune('a'+r%26)), i.Annotation)}
			layers = append(layers, l)
		}
		data := manifest(bundleType, &subject, layers)
		d := describe(ociManifest, data)
		d.ArtifactType, manifests[d.Digest] = bundleType, data
		referrers = append(referrers, d)
	}
	return handle(func(w http.ResponseWriter, r *http.Request) {
		_, last, _ := strings.Cut(r.URL.Path, "/v2/")
		kind, name := "", ""
		if parts := strings.Split(last, "/"); len(parts) > 2 {
			kind, name = parts[len(parts)-2], parts[len(parts)-1]
		}
		switch kind {
		case "referrers":
			w.Header().Set("Content-Type", ociIndex)
			if i.Listing != nil {
				w.Header().Set("Link", fmt.Sprintf("<%s?more=%s>; rel=\"next\"", r.URL.Path, "x"))
				i.Listing.ServeHTTP(w, r)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": referrers})
		case "manifests":
			w.Header().Set("Content-Type", ociManifest)
			if strings.HasPrefix(name, "sha256-") { // the tags of cosign
				http.NotFound(w, r)
				return
			}
			data, ok := manifests[name]
			switch {
			case !ok && i.Manifest != nil:
				i.Manifest.ServeHTTP(w, r)
				return
			case !ok:
				data = image
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data) // the client went away
		case "blobs":
			b, ok := blobs[name]
			if !ok {
				http.NotFound(w, r)
				return
			}
			body := Content{Again: string([]byte{b}), Size: i.Size}
			if i.Sent != 0 {
				body.Size = max(i.Sent, 0)
			}
			body.ServeHTTP(w, r)
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
}
