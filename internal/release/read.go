// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/forms"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxEvidenceBytes is the largest file with evidence that is read. One beyond it is
// refused as a whole.
const MaxEvidenceBytes = MaxPublishedBytes

// local is a file of this machine.
func local(path string, data []byte) forms.Source {
	return forms.Source{Path: path, Data: data, Beside: func(suffix string, others ...string) ([]byte, error) {
		stem := strings.TrimSuffix(path, suffix)
		for _, o := range others {
			data, err := file.ReadNoFollow(stem+o, sigstore.MaxBundleBytes)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, file.ErrNotRegular) {
				continue
			}
			return data, err
		}
		return nil, os.ErrNotExist
	}}
}

// readEvidence returns the candidates that a file holds, at least one.
func readEvidence(path string, h *hold) []*candidate {
	data, err := file.Read(path, MaxEvidenceBytes)
	if err != nil {
		return []*candidate{failed(path, "", failf(policy.BundleInvalid, "%s", err))}
	}
	return readForms(local(path, data), h)
}

// readForms returns the candidates in what was read, at least one. What is parsed counts
// against h; nil for what somebody else counts.
func readForms(src forms.Source, h *hold) []*candidate {
	sum := sha256Of(src.Data)
	if f := h.text(src.Data); f != nil {
		return []*candidate{{path: src.Path, sum: sum, Piece: forms.Piece{Err: f}}}
	}
	form, pieces := forms.Read(src)
	out := make([]*candidate, len(pieces))
	for i, p := range pieces {
		out[i] = &candidate{path: src.Path, sum: sum, form: form, Piece: p}
	}
	return out
}

// failed is a candidate that is none.
func failed(path, form string, why *Failure) *candidate {
	return &candidate{path: path, form: form, Piece: forms.Piece{Err: why}}
}

// Checkpoints returns the signed notes under which what a file holds proves its log entries.
// Nothing of them is verified.
func Checkpoints(path string) (notes [][]byte) {
	for _, c := range readEvidence(path, nil) {
		if c.Bundle != nil {
			notes = append(notes, c.Bundle.Checkpoints()...)
		}
	}
	return notes
}

// IsEvidence reports whether a file is called like a bundle and like nothing else, or
// is of a form of evidence as a whole.
func IsEvidence(path string) bool {
	if forms.IsReserved(path) {
		return true
	}
	if !forms.MayBe(filepath.Base(path)) {
		return false
	}
	v, _ := readVouches(nil, &Artifact{Path: path})
	return v != nil
}
