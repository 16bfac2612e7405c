// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/repopolicy/repopolicy/internal/clip"
	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of an OCI layout.
const (
	maxManifestBytes = 4 << 20
	maxManifests     = 10_000
)

// layout is an OCI image layout directory.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
type layout struct {
	ctx      context.Context // ends reading
	hold     *hold           // of the evidence
	dir      string
	root     *os.Root
	top      []descriptor // entries of index.json
	evidence []*candidate
	proofs   map[policy.Digest][]*candidate // of manifests that hold evidence and nothing else
	reached  map[string]bool                // files to which index.json leads
}

// descriptor is what is read of a descriptor.
type descriptor struct {
	mediaType   string
	digest      policy.Digest
	size        int64
	annotations map[string]string
}

// manifest is what is read of a manifest or index.
type manifest struct {
	children []descriptor // of an index
	blobs    []descriptor // config and layers of an image
	layers   []descriptor
}

// isLayout reports whether a directory says that it is an OCI layout.
func isLayout(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, "oci-layout"))
	return err == nil && info.Mode().IsRegular()
}

// openLayout reads the index of a layout and the evidence in it. Whoever calls
// it closes root.
func openLayout(ctx context.Context, h *hold, dir string) (*layout, error) {
	root, err := os.OpenRoot(dir) // one directory, whatever a link on the way becomes
	if err != nil {
		return nil, err
	}
	l := &layout{
		ctx:     ctx,
		hold:    h,
		dir:     dir,
		root:    root,
		proofs:  map[policy.Digest][]*candidate{},
		reached: map[string]bool{},
	}
	if err := l.read(); err != nil {
		root.Close()
		return nil, err
	}
	return l, nil
}

func (l *layout) read() error {
	version, err := file.ReadIn(l.root, "oci-layout", maxManifestBytes)
	if err != nil {
		return err
	}
	m, err := strictjson.Members(version)
	if err != nil {
		return fmt.Errorf("oci-layout: %w", err)
	}
	if v, err := strictjson.Text(m, "imageLayoutVersion"); err != nil || v != "1.0.0" {
		return fmt.Errorf("oci-layout: version %q, 1.0.0 is known", clip.Text(v))
	}
	data, err := file.ReadIn(l.root, "index.json", maxManifestBytes)
	if err != nil {
		return err
	}
	index, err := parseManifest(data)
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	l.top = index.children
	queue := index.children
	seen := map[policy.Digest]bool{}
	for len(queue) > 0 {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		d := queue[0]
		queue = queue[1:]
		if seen[d.digest] {
			continue
		}
		if seen[d.digest] = true; len(seen) > maxManifests {
			return fmt.Errorf("more than %d manifests", maxManifests)
		}
		l.reached[blobPath(d.digest)] = true
		data, err := l.blob(d, maxManifestBytes)
		if err != nil {
			continue // if an artifact needs it, that is judged below
		}
		m, err := parseManifest(data)
		if err != nil {
			continue
		}
		queue = append(queue, m.children...)
		for _, b := range m.blobs {
			l.reached[blobPath(b.digest)] = true
		}
		l.collect(d, m)
	}
	return nil
}

// collect takes the evidence out of a manifest.
func (l *layout) collect(d descriptor, m *manifest) {
	proofs := 0
	var pieces []*candidate
	seen := map[policy.Digest]bool{} // bundles, of which a second one says nothing
	for _, layer := range m.layers {
		if !forms.IsImageEvidence(layer.mediaType) {
			continue
		}
		proofs++
		if forms.IsBundleType(layer.mediaType) {
			if seen[layer.digest] {
				continue
			}
			seen[layer.digest] = true
		}
		p := forms.Piece{}
		if content, err := l.blob(layer, maxManifestBytes); err != nil {
			p.Err = failf(policy.BundleInvalid, "%s", err)
		} else if f := l.hold.text(content); f != nil {
			p.Err = f
		} else {
			p = forms.ReadLayer(layer.mediaType, layer.annotations, content, layer.digest)
		}
		if len(m.layers) > 1 {
			p.Item = proofs
		}
		at := filepath.Join(l.dir, filepath.FromSlash(blobPath(d.digest)))
		pieces = append(pieces, &candidate{path: at, form: "image signature", among: true, Piece: p})
	}
	l.evidence = append(l.evidence, pieces...)
	if proofs > 0 && proofs == len(m.layers) {
		l.proofs[d.digest] = pieces
	}
}

// parseManifest reads an image manifest or an index.
func parseManifest(data []byte) (*manifest, error) {
	m, err := strictjson.Members(data)
	if err != nil {
		return nil, err
	}
	out := &manifest{}
	if m["manifests"] != nil {
		if m["layers"] != nil || m["config"] != nil {
			return nil, errors.New("both an index and an image")
		}
		out.children, err = descriptors(m, "manifests")
		return out, err
	}
	if out.layers, err = descriptors(m, "layers"); err != nil {
		return nil, err
	}
	config, err := parseDescriptor(m["config"])
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	out.blobs = append([]descriptor{config}, out.layers...)
	return out, nil
}

func descriptors(m map[string]json.RawMessage, name string) ([]descriptor, error) {
	raws, err := strictjson.List(m, name)
	if err != nil {
		return nil, err
	}
	var out []descriptor
	for i, raw := range raws {
		d, err := parseDescriptor(raw)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", name, i, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func parseDescriptor(raw json.RawMessage) (descriptor, error) {
	var d descriptor
	m, err := strictjson.Members(raw)
	if err != nil {
		return d, err
	}
	if d.mediaType, err = strictjson.Text(m, "mediaType"); err != nil {
		return d, err
	}
	digest, err := strictjson.Text(m, "digest")
	if err != nil {
		return d, err
	}
	if d.digest, err = policy.ParseDigest(digest); err != nil || hashes[d.digest.Alg] == nil {
		return d, fmt.Errorf("digest %q", clip.Text(digest))
	}
	if err := json.Unmarshal(m["size"], &d.size); err != nil || d.size < 0 {
		return d, errors.New("no size")
	}
	d.annotations = map[string]string{}
	if m["annotations"] != nil {
		annotations, err := strictjson.Members(m["annotations"])
		if err != nil {
			return d, fmt.Errorf("annotations: %w", err)
		}
		for name := range annotations {
			if d.annotations[name], err = strictjson.Text(annotations, name); err != nil {
				return d, fmt.Errorf("annotations: %w", err)
			}
		}
	}
	return d, nil
}

func blobPath(d policy.Digest) string { return path.Join("blobs", d.Alg, d.Hex) }

// open opens a blob; links out of the layout are errors.
func (l *layout) open(d descriptor) (*os.File, error) {
	name := blobPath(d.digest)
	f, err := file.OpenIn(l.root, name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != d.size {
		err = fmt.Errorf("%s has %d bytes, the manifest says %d", name, info.Size(), d.size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// blob returns a blob that was checked against its digest.
func (l *layout) blob(d descriptor, limit int64) ([]byte, error) {
	if d.size > limit {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", d.digest, d.size, limit)
	}
	f, err := l.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	h := hashes[d.digest.Alg]()
	h.Write(data)
	if fmt.Sprintf("%x", h.Sum(nil)) != d.digest.Hex {
		return nil, fmt.Errorf("the content of %s has another digest", blobPath(d.digest))
	}
	return data, nil
}

// check reads everything that an image or index consists of: what its digest
// stands for must be what is there.
func (l *layout) check(d descriptor, checked map[policy.Digest]bool) error {
	if checked[d.digest] {
		return nil
	}
	if checked[d.digest] = true; len(checked) > maxManifests {
		return fmt.Errorf("more than %d parts", maxManifests)
	}
	data, err := l.blob(d, maxManifestBytes)
	if err != nil {
		return err
	}
	m, err := parseManifest(data)
	if err != nil {
		return fmt.Errorf("%s: %w", d.digest, err)
	}
	for _, c := range m.children {
		if err := l.check(c, checked); err != nil {
			return err
		}
	}
	for _, b := range m.blobs {
		f, err := l.open(b)
		if err != nil {
			return err
		}
		h := hashes[b.digest.Alg]()
		_, err = io.Copy(h, ctxReader{l.ctx, f})
		f.Close()
		if err != nil {
			return err
		}
		if fmt.Sprintf("%x", h.Sum(nil)) != b.digest.Hex {
			return fmt.Errorf("the content of %s has another digest", blobPath(b.digest))
		}
	}
	return nil
}

// readLayout returns the evidence in a layout.
func readLayout(ctx context.Context, h *hold, dir string) []*candidate {
	l, err := openLayout(ctx, h, dir)
	if err != nil {
		return []*candidate{failed(dir, "OCI layout", failf(policy.LayoutInvalid, "%s", err))}
	}
	defer l.root.Close()
	if len(l.evidence) == 0 {
		return []*candidate{failed(dir, "OCI layout", failf(policy.NoEvidence, "the layout holds no evidence"))}
	}
	return l.evidence
}
