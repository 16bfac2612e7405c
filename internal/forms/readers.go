// SPDX-License-Identifier: Apache-2.0

// Package forms reads the forms in which producers publish evidence. Each becomes
// standard bundles, which whoever judges verifies, or an error that says what is
// malformed. It opens no file, and vouches for nothing.
package forms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/strictjson"
	"github.com/repopolicy/repopolicy/policy"
)

// MaxPieces is how many pieces of evidence a file holds at most. One with more is
// refused as a whole.
const MaxPieces = 1000

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
	// with Err.
	read func(src Source) ([]Piece, bool)
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

// Source is a file that may hold evidence.
type Source struct {
	Path string // or address
	Data []byte
	// Beside returns the content of the first of the files whose name is that of this
	// one with the ending suffix replaced by one of the others; nil if nothing lies
	// beside it.
	Beside func(suffix string, others ...string) ([]byte, error)
	// Remote is set for a file that is none of this machine's.
	Remote bool

	// object holds the members of the JSON object that the file is, nil if it is
	// something else.
	object map[string]json.RawMessage
}

func (s Source) beside(suffix string, others ...string) ([]byte, error) {
	if s.Beside == nil {
		return nil, fs.ErrNotExist
	}
	return s.Beside(suffix, others...)
}

// Piece is one piece of evidence out of a file. Bundle, Err or Bare is set.
type Piece struct {
	Item   int // which of several in the file, from 1; 0 if the file holds one
	Bundle *sigstore.Bundle
	Err    error // with a reason, a [sigstore.Error], if this package made it
	// Inner is the document that the bundle signs and that names the artifact in
	// its turn; nil if the bundle names it itself.
	Inner *Inner
	// Unproven says what is missing where the form carries no proof that the
	// signature was logged; "" if the bundle is complete.
	Unproven string
	// Bare is a signature that names no digest. It is set instead of Bundle, or
	// beside Err where the artifact would have to be fetched to say who signed it.
	Bare *Bare
}

// Inner is a document between signature and artifact: a Git object, or the
// payload of a container image's signature.
type Inner struct {
	Signed  policy.Digest    // of the document, which the bundle's signature must be over
	Subject sigstore.Subject // what the document is about
	Tag     string           // tag that the document names; "" if none
	Commit  string           // commit that the tag names; "" if none
}

// Read returns how the form of a file is called and the pieces of evidence in it, at
// least one. What is of no form is a bundle that cannot be read.
func Read(src Source) (form string, pieces []Piece) {
	if trimmed := bytes.TrimLeft(src.Data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		src.object, _ = strictjson.Members(src.Data)
	}
	for _, r := range readers {
		if pieces, ok := r.read(src); ok {
			return r.form, pieces
		}
	}
	return bundleReader.form, []Piece{bundlePiece(src.Data)}
}

// bundlePiece reads a bundle in JSON.
func bundlePiece(data []byte) Piece {
	if len(data) > sigstore.MaxBundleBytes {
		return Piece{Err: refuse(policy.BundleTooLarge, "bundle of %d bytes, at most %d are read",
			len(data), sigstore.MaxBundleBytes)}
	}
	b, err := sigstore.ParseBundle(data)
	if err != nil {
		var e *sigstore.Error
		if !errors.As(err, &e) {
			e = &sigstore.Error{Reason: policy.BundleInvalid, Err: err}
		}
		return Piece{Err: e}
	}
	return Piece{Bundle: b}
}

func refuse(r policy.Reason, format string, args ...any) error {
	return &sigstore.Error{Reason: r, Err: fmt.Errorf(format, args...)}
}

// badPiece is the one piece of a file that is of a known form and malformed.
func badPiece(format string, args ...any) []Piece {
	return []Piece{{Err: refuse(policy.BundleInvalid, format, args...)}}
}

// collect numbers the pieces that f makes of each element.
func collect[T any](elements []T, f func(T) Piece) []Piece {
	if len(elements) == 0 {
		return badPiece("it holds no evidence")
	}
	if len(elements) > MaxPieces {
		return []Piece{{Err: refuse(policy.BundleTooLarge, "%d pieces of evidence, at most %d are read",
			len(elements), MaxPieces)}}
	}
	out := make([]Piece, len(elements))
	for i, e := range elements {
		out[i] = f(e)
		if len(elements) > 1 {
			out[i].Item = i + 1
		}
	}
	return out
}
