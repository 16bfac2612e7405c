// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// maxManifests is how many manifests of an OCI layout are looked at.
const maxManifests = 10_000

// layout is an OCI image layout directory, and the evidence in it.
type layout struct {
	*oci.Layout
	ctx      context.Context // ends reading
	hold     *hold           // of the evidence
	dir      string
	top      []oci.Descriptor // entries of index.json
	evidence []*candidate
	proofs   map[policy.Digest][]*candidate // of manifests that hold evidence and nothing else
	reached  map[string]bool                // files to which index.json leads
	below    map[policy.Digest]part         // manifests to which an index leads, by their digests
	linked   map[string]policy.Digest       // other files of manifests attached to what was reached
	bundles  map[bundleOf]*candidate        // that were read
}

// bundleOf is a layer that is a bundle.
type bundleOf struct {
	policy.Digest
	size      int64
	mediaType string
}

// part is a manifest that an index names.
type part struct {
	oci.Descriptor
	of policy.Digest // the index
}

// openLayout reads the index of a layout and the evidence in it. Whoever calls
// it closes the layout.
func openLayout(ctx context.Context, h *hold, dir string) (*layout, error) {
	opened, err := oci.OpenLayout(dir)
	if err != nil {
		return nil, err
	}
	l := &layout{
		Layout: opened, ctx: ctx, hold: h, dir: dir,
		proofs: map[policy.Digest][]*candidate{}, reached: map[string]bool{},
		below: map[policy.Digest]part{}, linked: map[string]policy.Digest{}, bundles: map[bundleOf]*candidate{},
	}
	if err := l.read(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *layout) read() error {
	var err error
	if l.top, err = l.Index(); err != nil {
		return err
	}
	queue := l.top
	seen := map[policy.Digest]bool{}
	for len(queue) > 0 {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		d := queue[0]
		queue = queue[1:]
		if seen[d.Digest] {
			continue
		}
		if seen[d.Digest] = true; len(seen) > maxManifests {
			return fmt.Errorf("more than %d manifests", maxManifests)
		}
		l.reached[oci.BlobPath(d.Digest)] = true
		m, err := l.parse(d)
		if err != nil {
			continue // if an artifact needs it, that is judged below
		}
		for _, p := range m.Manifests {
			if _, ok := l.below[p.Digest]; !ok {
				l.below[p.Digest] = part{p, d.Digest}
			}
		}
		queue = append(queue, m.Manifests...)
		for _, b := range blobsOf(m) {
			l.reached[oci.BlobPath(b.Digest)] = true
		}
		l.collect(d, m)
	}
	return l.attached()
}

// collect takes the evidence out of a manifest. A bundle is read once, however many manifests have it:
// a second one says nothing.
func (l *layout) collect(d oci.Descriptor, m *oci.Manifest) {
	proofs := 0
	var pieces []*candidate
	seen := map[policy.Digest]bool{}
	for _, layer := range m.Layers {
		if !forms.IsImageEvidence(layer.MediaType) {
			continue
		}
		proofs++
		isBundle := forms.IsBundleType(layer.MediaType)
		if isBundle && seen[layer.Digest] {
			continue
		}
		seen[layer.Digest] = isBundle
		known := bundleOf{layer.Digest, layer.Size, layer.MediaType}
		if c := l.bundles[known]; isBundle && c != nil {
			pieces = append(pieces, c)
			continue
		}
		p := forms.Piece{}
		if content, err := l.Blob(l.ctx, layer, oci.MaxManifestBytes); err != nil {
			p.Err = failf(policy.BundleInvalid, "%s", err)
		} else if f := l.hold.text(content); f != nil {
			p.Err = f
		} else {
			p = forms.ReadLayer(layer.MediaType, layer.Annotations, content, layer.Digest)
		}
		if len(m.Layers) > 1 {
			p.Item = proofs
		}
		at := filepath.Join(l.dir, filepath.FromSlash(oci.BlobPath(d.Digest)))
		c := &candidate{path: at, form: "image signature", among: true, Piece: p}
		if isBundle {
			l.bundles[known] = c
		}
		pieces, l.evidence = append(pieces, c), append(l.evidence, c)
	}
	if proofs > 0 && proofs == len(m.Layers) {
		l.proofs[d.Digest] = pieces
	}
}

// parse reads a manifest of the layout.
func (l *layout) parse(d oci.Descriptor) (*oci.Manifest, error) {
	data, err := l.Manifest(l.ctx, d)
	if err != nil {
		return nil, err
	}
	m, err := oci.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return m, nil
}

// blobsOf returns the config and the layers of an image.
func blobsOf(m *oci.Manifest) []oci.Descriptor {
	if m.IsIndex {
		return nil
	}
	return append([]oci.Descriptor{m.Config}, m.Layers...)
}

// checkAll reads everything that an image or index consists of: what its digest
// stands for must be what is there.
func (l *layout) checkAll(d oci.Descriptor, checked map[policy.Digest]bool) error {
	if checked[d.Digest] {
		return nil
	}
	if checked[d.Digest] = true; len(checked) > maxManifests {
		return fmt.Errorf("more than %d parts", maxManifests)
	}
	m, err := l.parse(d)
	if err != nil {
		return err
	}
	for _, c := range m.Manifests {
		if err := l.checkAll(c, checked); err != nil {
			return err
		}
	}
	for _, b := range blobsOf(m) {
		if err := l.Check(l.ctx, b); err != nil {
			return err
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
	defer l.Close()
	if len(l.evidence) == 0 {
		return []*candidate{failed(dir, "OCI layout", failf(policy.NoEvidence, "the layout holds no evidence"))}
	}
	return l.evidence
}
