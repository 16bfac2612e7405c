// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"maps"
	"slices"

	"github.com/repopolicy/repopolicy/internal/budget"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/oci"
	"github.com/repopolicy/repopolicy/policy"
)

// Layer is a layer of a manifest in a registry that holds evidence for an image.
type Layer struct {
	oci.Descriptor
	URL     string // where it was found
	Content []byte // checked against the digest
}

// ParseLayers returns the layers of a manifest that hold evidence, without their
// content.
func ParseLayers(manifest []byte) ([]Layer, error) {
	m, err := oci.ParseManifest(manifest)
	if err != nil {
		return nil, err
	}
	var out []Layer
	for _, l := range m.Layers {
		if forms.IsImageEvidence(l.MediaType) {
			out = append(out, Layer{Descriptor: l})
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
			c.Err = f
		} else {
			c.Piece = forms.ReadLayer(l.MediaType, l.Annotations, l.Content, l.Digest)
		}
		a.found = append(a.found, c)
	}
	var over *budget.Exceeded
	switch {
	case errors.As(err, &over):
		a.found = append(a.found, failed(a.Arg, "", exceeded(err)))
	case err != nil:
		a.found = append(a.found, unreachable(a.Arg, err)...)
	}
}
