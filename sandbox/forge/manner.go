// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/snappy"
)

// Manner is how the forge answers, of the ways in which GitHub does and those who stand between.
// The zero value answers everybody, with bundles in the answer.
type Manner struct {
	// Stored keeps attestations apart from the API, which gives their addresses; nil for in its answer.
	Stored *Storage
	// EmptyList answers who asks for attestations of which there are none with an empty list. It is
	// 404 otherwise.
	EmptyList bool
	// Limit is how often the API answers; nil for always.
	Limit *Limit
}

// Storage keeps bundles at addresses that the API gives.
type Storage struct {
	Host   string                      // that the API names; "" for GitHub's
	Encode func(b []byte) []byte       // how a bundle is served; nil for as a block of snappy
	Answer http.Handler                // in place of the bundle; nil for the bundle
	Sign   func(address string) string // changes an address before the API gives it; nil for as it is
}

// Limit is how often the API answers, and what it says to who asks more.
type Limit struct {
	Requests int  // that are answered
	Tokens   bool // it is for those who show a token, too
	Status   int
	Header   http.Header
}

// Behave lets the forge answer in a manner until undo is called.
func (f *Forge) Behave(m Manner) (undo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, asked := f.manner, f.answered
	f.manner, f.answered = m, 0
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.manner, f.answered = before, asked
	}
}

func (f *Forge) now() Manner {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.manner
}

// refuses answers a request to the API that is one too many, and reports whether it is.
func (f *Forge) refuses(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	limit := f.manner.Limit
	if limit == nil || knows(r) && !limit.Tokens {
		f.mu.Unlock()
		return false
	}
	f.answered++
	n := f.answered
	f.mu.Unlock()
	if n <= limit.Requests {
		return false
	}
	maps.Copy(w.Header(), limit.Header)
	writeJSON(w, limit.Status, map[string]any{"message": "API rate limit exceeded"})
	return true
}

// The tokens that the API knows.
const (
	// writeToken is what a job with contents: write has for the API.
	writeToken = "sandbox-contents-write"
	// ReadToken is what somebody has who may read what is private.
	ReadToken = "sandbox-contents-read"
)

// shown returns the token that a request shows, in either way that GitHub knows.
func shown(r *http.Request) string {
	header := r.Header.Get("Authorization")
	for _, scheme := range []string{"Bearer ", "token "} {
		if t, ok := strings.CutPrefix(header, scheme); ok {
			return t
		}
	}
	return header
}

// writes reports whether a request comes from who may write.
func writes(r *http.Request) bool { return shown(r) == writeToken }

// knows reports whether a request comes from who may read what is private.
func knows(r *http.Request) bool { return writes(r) || shown(r) == ReadToken }

// mistakes answers a request with a token that nobody has, and reports whether it is one.
func mistakes(w http.ResponseWriter, r *http.Request) bool {
	if shown(r) == "" || knows(r) {
		return false
	}
	writeJSON(w, http.StatusUnauthorized, map[string]any{"message": "Bad credentials"})
	return true
}

// Where GitHub keeps attestations, and where somebody else who rents storage there does.
const (
	storeHost  = "tmaproduction.blob.core.windows.net"
	OtherStore = "somebodyelse.blob.core.windows.net"
)

// serveAttestations answers as GitHub does: the bundles of a page, newest first,
// and 404 if there are none.
func (f *Forge) serveAttestations(w http.ResponseWriter, r *http.Request, repo Repository, digest string) {
	f.mu.Lock()
	bundles, manner := slices.Clone(f.state.Attestations[repo.ID][digest]), f.manner
	f.mu.Unlock()
	out := []any{}
	if len(bundles) == 0 {
		if manner.EmptyList {
			writeJSON(w, http.StatusOK, map[string]any{"attestations": out})
			return
		}
		notFound(w)
		return
	}
	page := 30
	if n, err := strconv.Atoi(r.URL.Query().Get("per_page")); err == nil && n > 0 {
		page = min(n, 100)
	}
	for i := len(bundles) - 1; i >= 0 && len(out) < page; i-- {
		a := map[string]any{"bundle": bundles[i], "bundle_url": "", "repository_id": repo.ID, "initiator": "user"}
		if s := manner.Stored; s != nil {
			a["bundle"], a["bundle_url"] = nil, s.address(repo.ID, digest, i)
		}
		out = append(out, a)
	}
	writeJSON(w, http.StatusOK, map[string]any{"attestations": out})
}

// takeAttestation keeps what a job signed, under each digest that its statement is about.
func (f *Forge) takeAttestation(w http.ResponseWriter, r *http.Request, repo Repository) {
	var body struct {
		Bundle json.RawMessage `json:"bundle"`
	}
	var bundle struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	var statement struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPublished)).Decode(&body)
	if err == nil {
		err = json.Unmarshal(body.Bundle, &bundle)
	}
	if err == nil {
		err = json.Unmarshal(bundle.Envelope.Payload, &statement)
	}
	for _, s := range statement.Subject {
		if err == nil {
			err = f.Attest(repo.Path, "sha256:"+s.Digest["sha256"], body.Bundle)
		}
	}
	if err != nil || len(statement.Subject) == 0 {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"message": "no bundle about anything"})
		return
	}
	writeJSON(w, http.StatusCreated, map[string]any{"id": repo.ID})
}

// address is where the storage has a bundle, with what opens it for a while.
func (s *Storage) address(id int64, digest string, i int) string {
	host := storeHost
	if s.Host != "" {
		host = s.Host
	}
	at := fmt.Sprintf("https://%s/attestations/%d/%s/%d.json.sn?se=2030-01-01T00%%3A00%%3A00Z&sig=sand%%2Fbox", host,
		id, digest, i)
	if s.Sign != nil {
		at = s.Sign(at)
	}
	return at
}

// serveStore serves attestations/ID/DIGEST/N.json.sn to who has the signature of the address.
func (f *Forge) serveStore(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.Split(strings.TrimSuffix(path, ".json.sn"), "/")
	stored := f.now().Stored
	if r.URL.Query().Get("sig") != "sand/box" || len(parts) != 4 || stored == nil {
		http.Error(w, "AuthenticationFailed", http.StatusForbidden)
		return
	}
	if stored.Answer != nil {
		stored.Answer.ServeHTTP(w, r)
		return
	}
	id, err := strconv.ParseInt(parts[1], 10, 64)
	n, err2 := strconv.Atoi(parts[3])
	f.mu.Lock()
	bundles := f.state.Attestations[id][parts[2]]
	f.mu.Unlock()
	if err != nil || err2 != nil || n < 0 || n >= len(bundles) {
		http.NotFound(w, r)
		return
	}
	encode := func(b []byte) []byte { return snappy.Encode(nil, b) }
	if stored.Encode != nil {
		encode = stored.Encode
	}
	w.Header().Set("Content-Type", "application/x-snappy")
	_, _ = w.Write(encode(bundles[n])) // the client went away
}
