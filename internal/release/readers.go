// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/repopolicy/repopolicy/internal/file"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
)

// Limits of a file that holds several pieces of evidence. A file beyond them is
// refused as a whole.
const (
	MaxEvidenceBytes = MaxPublishedBytes
	MaxPieces        = 1000

	// maxElements is how many elements of a JSON array, and members of an object, are
	// read: those of an index of images are the most.
	maxElements = 4 * maxManifests
)

// reader is one form in which producers publish evidence. A reader turns the
// form into standard bundles and vouches for nothing: what it returns is
// verified like any bundle.
type reader struct {
	form string // how the form is called in output
	// suffixes are the endings of files of this form beside an artifact, in the
	// order in which they are looked for.
	suffixes []string
	// parts are the endings of files that only go with another one of the form.
	parts []string
	// read returns the pieces of evidence in a file, and false if the file is
	// not of this form at all. A file of the form that is malformed is a piece
	// with err.
	read func(src source) ([]piece, bool)
}

// readers are the forms that are understood, in the order in which a file is
// tried. A new producer is one more file and one more line here.
var readers = []reader{
	bundleReader,
	collectionReader,
	npmReader,
	pypiReader,
	cosignBundleReader,
	dsseReader,
	gitReader,
	signatureReader,
}

// source is a file that may hold evidence.
type source struct {
	path string
	data []byte
	// object holds the members of the JSON object that the file is, nil if it is
	// something else.
	object map[string]json.RawMessage
	// hold counts what is parsed; nil for what somebody else counts.
	hold *hold
	// remote reads what lies beside a file that is none of this machine's; nil
	// for one that is.
	remote func(suffix string, others ...string) ([]byte, error)
}

// beside returns the content of the first of the files whose name is that of
// the source with its ending replaced, and its path.
func (s source) beside(suffix string, others ...string) (string, []byte, error) {
	stem := strings.TrimSuffix(s.path, suffix)
	if s.remote != nil {
		data, err := s.remote(suffix, others...)
		return stem, data, err
	}
	for _, o := range others {
		path := stem + o
		data, err := file.ReadNoFollow(path, sigstore.MaxBundleBytes)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, file.ErrNotRegular) {
			continue
		}
		return path, data, err
	}
	return "", nil, os.ErrNotExist
}

// piece is one piece of evidence out of a file. Either bundle or err is set.
type piece struct {
	item   int // which of several in the file, from 1; 0 if the file holds one
	bundle *sigstore.Bundle
	err    *Failure
	// inner is the document that the bundle signs and that names the artifact in
	// its turn; nil if the bundle names it itself.
	inner *inner
	// unproven says what is missing where the form carries no proof that the
	// signature was logged; "" if the bundle is complete.
	unproven string
	// bare is a signature that names no digest. It is set instead of bundle, or
	// beside err where the artifact would have to be fetched to say who signed it.
	bare *bare
}

// inner is a document between signature and artifact: a Git object, or the
// payload of a container image's signature.
type inner struct {
	signed  policy.Digest    // of the document, which the bundle's signature must be over
	subject sigstore.Subject // what the document is about
	tag     string           // tag that the document names; "" if none
	commit  string           // commit that the tag names; "" if none
}

// bundlePiece reads a bundle in JSON.
func bundlePiece(data []byte) piece {
	if len(data) > sigstore.MaxBundleBytes {
		return piece{err: failf(policy.BundleTooLarge, "bundle of %d bytes, at most %d are read", len(data), sigstore.MaxBundleBytes)}
	}
	b, err := sigstore.ParseBundle(data)
	if err != nil {
		return piece{err: failure(err, policy.BundleInvalid)}
	}
	return piece{bundle: b}
}

// badPiece is the one piece of a file that is of a known form and malformed.
func badPiece(format string, args ...any) []piece {
	return []piece{{err: failf(policy.BundleInvalid, format, args...)}}
}

// collect numbers the pieces that f makes of each element.
func collect[T any](elements []T, f func(T) piece) []piece {
	if len(elements) == 0 {
		return badPiece("it holds no evidence")
	}
	if len(elements) > MaxPieces {
		return []piece{{err: failf(policy.BundleTooLarge, "%d pieces of evidence, at most %d are read", len(elements), MaxPieces)}}
	}
	out := make([]piece, len(elements))
	for i, e := range elements {
		out[i] = f(e)
		if len(elements) > 1 {
			out[i].item = i + 1
		}
	}
	return out
}

// readEvidence returns the candidates that a file holds, at least one.
func readEvidence(path string, h *hold) []*candidate {
	data, err := file.Read(path, MaxEvidenceBytes)
	if err != nil {
		return []*candidate{{path: path, piece: piece{err: failf(policy.BundleInvalid, "%s", err)}}}
	}
	return readForms(source{path: path, data: data, hold: h})
}

// Checkpoints returns the signed notes under which what a file holds proves its log entries.
// Nothing of them is verified.
func Checkpoints(path string) (notes [][]byte) {
	for _, c := range readEvidence(path, nil) {
		if c.bundle != nil {
			notes = append(notes, c.bundle.Checkpoints()...)
		}
	}
	return notes
}

func readForms(src source) []*candidate {
	sum := sha256Of(src.data)
	if f := src.hold.text(src.data); f != nil {
		return []*candidate{{path: src.path, sum: sum, piece: piece{err: f}}}
	}
	if trimmed := bytes.TrimLeft(src.data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		src.object, _ = members(src.data)
	}
	for _, r := range readers {
		pieces, ok := r.read(src)
		if !ok {
			continue
		}
		out := make([]*candidate, len(pieces))
		for i, p := range pieces {
			out[i] = &candidate{path: src.path, sum: sum, form: r.form, piece: p}
		}
		return out
	}
	return []*candidate{{path: src.path, sum: sum, form: bundleReader.form, piece: bundlePiece(src.data)}}
}

// members returns the members of the one JSON object that data is. A name that
// stands twice is an error: which of the two counts must not be a matter of the
// parser.
func members(data []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := tok.(string)
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the key %q stands twice", name)
		}
		if len(out) == maxElements {
			return nil, fmt.Errorf("more than %d members", maxElements)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		out[name] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if dec.InputOffset() != int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, fmt.Errorf("something follows the JSON object")
	}
	return out, nil
}

// text returns the text member of an object, "" if it has none.
func text(object map[string]json.RawMessage, name string) (string, error) {
	raw, ok := object[name]
	if !ok {
		return "", nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is not text", name)
	}
	return s, nil
}

// list returns the elements of a member that is an array, none if the object has
// no such member.
func list(object map[string]json.RawMessage, name string) ([]json.RawMessage, error) {
	raw, ok := object[name]
	if !ok {
		return nil, nil
	}
	out, err := array(raw)
	if err != nil || out == nil {
		return nil, fmt.Errorf("%s is not a list", name)
	}
	return out, nil
}

// array returns the elements of a JSON array, no more than are looked at.
func array(raw []byte) ([]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
		return nil, errors.New("not a list")
	}
	out := []json.RawMessage{}
	for dec.More() {
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		if out = append(out, v); len(out) > maxElements {
			return nil, fmt.Errorf("more than %d elements", maxElements)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if dec.InputOffset() != int64(len(bytes.TrimRight(raw, " \t\r\n"))) {
		return nil, errors.New("something follows the list")
	}
	return out, nil
}

// lookFor are the endings of the files that are looked for beside an artifact,
// and mayBe those of all files that may be evidence.
var lookFor, mayBe = suffixes(readers)

func suffixes(readers []reader) (look, all []string) {
	add := func(to, more []string) []string {
		for _, s := range more {
			if !slices.Contains(to, s) {
				to = append(to, s)
			}
		}
		return to
	}
	for _, r := range readers {
		look, all = add(look, r.suffixes), add(add(all, r.suffixes), r.parts)
	}
	return look, all
}

// gathered are files that hold the evidence for many artifacts of a directory.
var gathered = []string{"multiple.intoto.jsonl", "attestations.intoto.jsonl", "attestations.jsonl"}

// isDownload reports whether name is how `gh attestation download` calls the
// file with the attestations of the artifact with that SHA-256: "sha256:HEX.jsonl",
// or with '-' where ':' cannot stand in a name.
func isDownload(name string) (hex string, ok bool) {
	rest, ok := strings.CutPrefix(name, "sha256")
	if !ok || len(rest) != 1+64+len(".jsonl") || rest[0] != ':' && rest[0] != '-' {
		return "", false
	}
	hex, ok = strings.CutSuffix(rest[1:], ".jsonl")
	return hex, ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// IsEvidence reports whether a file is called like a bundle and like nothing else, or
// is of a form of evidence as a whole.
func IsEvidence(path string) bool {
	if reserved(path) {
		return true
	}
	if !mayVouch(filepath.Base(path)) {
		return false
	}
	v, _ := readVouches(nil, &Artifact{Path: path})
	return v != nil
}

// reserved reports whether a name is that of a bundle and of nothing else.
func reserved(name string) bool {
	return strings.HasSuffix(name, ".sigstore.json") || strings.HasSuffix(name, ".sigstore")
}
