// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

// handInsAtOnce is how many requests are read and verified side by side.
const handInsAtOnce = 32

// handInRules: a document of ours, in which bundles stand that their own parser judges.
var handInRules = strictjson.Rules{Known: []string{"bundles"}, Opaque: "bundles"}

// readHandIn reads the files of a request: the parts of a multipart/form-data, or the
// elements of "bundles" in JSON. The error is a [*Refusal], or wraps that of the body.
func readHandIn(contentType string, body io.Reader) ([]bindings.File, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	var files []bindings.File
	switch {
	case err == nil && kind == "multipart/form-data" && params["boundary"] != "":
		files, err = readForm(multipart.NewReader(body, params["boundary"]))
	case err == nil && kind == "application/json":
		files, err = readBundles(body)
	default:
		return nil, refuse(http.StatusUnsupportedMediaType,
			"hand in multipart/form-data, each part a signature file, or application/json")
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, "more than %d bytes", answers.MaxHandInBytes)
	case isRefusal(err) != nil:
		return nil, err
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "the request cannot be read")
	case len(files) == 0:
		return nil, refuse(http.StatusBadRequest, "nothing is handed in")
	}
	return files, nil
}

var errManyFiles = refuse(http.StatusRequestEntityTooLarge, "more than %d files", answers.MaxHandInFiles)

func readForm(r *multipart.Reader) ([]bindings.File, error) {
	var files []bindings.File
	for {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if len(files) == answers.MaxHandInFiles {
			return nil, errManyFiles
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		files = append(files, bindings.File{Name: fileName(len(files)), Data: data})
	}
}

func readBundles(r io.Reader) ([]bindings.File, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Bundles []json.RawMessage `json:"bundles"`
	}
	if err := handInRules.Decode(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Bundles) > answers.MaxHandInFiles {
		return nil, errManyFiles
	}
	var files []bindings.File
	for _, b := range doc.Bundles {
		files = append(files, bindings.File{Name: fileName(len(files)), Data: b})
	}
	return files, nil
}

// fileName is what a file of a request is called in what is said about it.
func fileName(n int) string { return fmt.Sprintf("file %d", n+1) }

// handIn answers who hands in.
func (s *Server) handIn(w http.ResponseWriter, r *http.Request) {
	if s.Intake == nil {
		http.NotFound(w, r)
		return
	}
	receipt, err := s.accept(w, r)
	refused := isRefusal(err)
	switch {
	case refused != nil:
		if refused.After > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(int64(refused.After/time.Second), 10))
		}
		text := refused.Why
		for _, name := range refused.Files {
			text = name + ": " + text
			break // the first will do
		}
		http.Error(w, text, refused.Status)
	case err != nil:
		http.Error(w, "internal error", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(receipt) // the client went away
	}
}

func (s *Server) accept(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return nil, later(http.StatusServiceUnavailable, busyPause, "too many hand in at the moment")
	}
	files, err := readHandIn(r.Header.Get("Content-Type"), http.MaxBytesReader(w, r.Body, answers.MaxHandInBytes))
	if err != nil {
		return nil, err
	}
	if _, err := one(files); err != nil {
		return nil, err // costs no more than to read it
	}
	if err := s.Intake.allow(len(files)); err != nil {
		return nil, err
	}
	return s.Intake.Accept(files)
}
