// SPDX-License-Identifier: Apache-2.0

package services

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/bundle"
)

// whole is an answer of Rekor v1 with every part.
const (
	whole = `{"00ff":{"body":"eyJraW5kIjoiZHNzZSIsImFwaVZlcnNpb24iOiIwLjAuMSJ9","integratedTime":1,"logID":"` + thirtyTwo +
		`","logIndex":3,"verification":{"signedEntryTimestamp":"eA==","inclusionProof":{"checkpoint":"x","hashes":["` +
		thirtyTwo + `"],"logIndex":1,"rootHash":"` + thirtyTwo + `","treeSize":2}}}}`
	thirtyTwo = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	wholeTwo  = `{"logIndex":"3","logId":{"keyId":"AA=="},"kindVersion":{"kind":"hashedrekord","version":"0.0.2"},` +
		`"inclusionProof":{"logIndex":"3","rootHash":"AA==","treeSize":"4","checkpoint":{"envelope":"x"}},` +
		`"canonicalizedBody":"e30="}`
)

// oddAnswers are answers that are no entry: each part of a whole one taken away, or null,
// or something else.
func oddAnswers(t *testing.T, whole string) map[string]string {
	out := map[string]string{
		"nothing": "", "null": "null", "an empty object": "{}", "a list": "[]", "text": `"x"`, "a number": "7",
		"html": "<html>", "cut": whole[:len(whole)/2], "followed": whole + "{}",
		"a null entry": `{"00ff":null}`, "an empty entry": `{"00ff":{}}`,
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(whole), &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, m map[string]any)
	walk = func(path string, m map[string]any) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			old := m[key]
			change := func(what string, set func()) {
				set()
				data, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				out[path+key+" "+what] = string(data)
				m[key] = old
			}
			// A proof of a tree of one entry has no hashes, and an index of 0 may be left out of protobuf.
			if key != "hashes" && !(key == "logIndex" && strings.Contains(whole, "kindVersion")) {
				change("missing", func() { delete(m, key) })
				change("null", func() { m[key] = nil })
			}
			if key != "hashes" {
				change("empty", func() { m[key] = "" })
			}
			change("a list of lists", func() { m[key] = []any{[]any{}} })
			if sub, ok := old.(map[string]any); ok {
				walk(path+key+".", sub)
			}
		}
	}
	walk("", doc)
	return out
}

// TestEntryV1: what is no whole entry is an error.
func TestEntryV1(t *testing.T) {
	e, err := entryV1([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	sum := bytes.Repeat([]byte{1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}, 4)
	want := &bundle.Entry{
		Index: 3, LogID: sum, Kind: "dsse", Version: "0.0.1", Time: 1, Promise: []byte("x"),
		Body:  []byte(`{"kind":"dsse","apiVersion":"0.0.1"}`),
		Proof: &bundle.Proof{Index: 1, Root: sum, Size: 2, Hashes: [][]byte{sum}, Checkpoint: "x"},
	}
	if d := cmp.Diff(want, e); d != "" {
		t.Error(d)
	}
	replace := func(old, with string) string { return strings.Replace(whole, old, with, 1) }
	odd := oddAnswers(t, whole)
	maps.Copy(odd, map[string]string{
		"no name": replace("00ff", ""), "a strange name": replace("00ff", "../x"),
		"a name in upper case": replace("00ff", "00FF"),
		"two entries":          strings.TrimSuffix(whole, "}") + `,"01ff":{}}`,
		"an entry twice":       strings.TrimSuffix(whole, "}") + `,` + strings.TrimPrefix(whole, "{"),
		"outside of the tree":  replace(`"treeSize":2`, `"treeSize":1`),
		"a negative index":     replace(`"logIndex":3`, `"logIndex":-3`),
		"a time before":        replace(`"integratedTime":1`, `"integratedTime":0`),
		"a number with point":  replace(`"logIndex":3`, `"logIndex":3.0`),
		"a sum in upper case":  replace("abcdef", "ABCDEF"),
		"a short sum":          replace("0123", ""),
		"a body with a break":  replace(`"body":"`, `"body":"\n`),
		"many hashes":          replace(`["`, `["`+strings.Repeat(thirtyTwo+`","`, bundle.MaxProofHashes)),
		"a null hash":          replace(`["`, `[null,"`),
		"a body that is none":  replace("eyJraW5kIjoiZHNzZSIsImFwaVZlcnNpb24iOiIwLjAuMSJ9", "eA=="),
		"a key twice":          replace(`"logIndex":3`, `"logIndex":3,"logIndex":3`),
		"not UTF-8":            replace(`"checkpoint":"x"`, "\"checkpoint\":\"\xff\""),
	})
	for name, text := range odd {
		if e, err := entryV1([]byte(text)); err == nil || e != nil || !strings.Contains(err.Error(), "no log entry") {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

// server answers everything with what the test says.
type server struct {
	*httptest.Server
	status int
	header http.Header
	body   string
	asked  []string
}

func newServer(t *testing.T) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		maps.Copy(w.Header(), s.header)
		w.WriteHeader(s.status)
		_, _ = w.Write([]byte(s.body))
	}))
	t.Cleanup(s.Close)
	return s
}

var proposal = &Proposal{Digest: make([]byte, sha256.Size), Signature: []byte{1}, Verifier: []byte{2}, Details: "x"}

// TestLogV2: a whole entry is returned, one that exists is said to, and all else is an error.
func TestLogV2(t *testing.T) {
	s := newServer(t)
	log := Service{URL: s.URL + "/below"}
	s.status, s.body = http.StatusCreated, wholeTwo
	e, err := log.LogV2(t.Context(), proposal)
	if err != nil || string(e.JSON()) != wholeTwo || s.asked[0] != "POST /below/api/v2/log/entries" {
		t.Fatalf("%v, %v, %q", e, err, s.asked)
	}
	for name, text := range oddAnswers(t, wholeTwo) {
		s.body = text
		if e, err := log.LogV2(t.Context(), proposal); err == nil {
			t.Errorf("%s is taken: %+v", name, e)
		}
	}
	s.status = http.StatusConflict
	for index, want := range map[string]int64{"0": 0, "17": 17, "": -1, "-1": -1, "017": -1, "x": -1} {
		s.header = http.Header{"X-Log-Index": {index}}
		var exists *Exists
		_, err := log.LogV2(t.Context(), proposal)
		if errors.As(err, &exists) != (want >= 0) || exists != nil && exists.Index != want || err == nil {
			t.Errorf("%q: %v", index, err)
		}
	}
	s.body = wholeTwo
	for _, s.status = range []int{200, 202, 204, 301, 307, 400, 404, 429, 500, 503} {
		s.header = http.Header{"Location": {"/api/v2/log/entries"}}
		if _, err := log.LogV2(t.Context(), proposal); err == nil {
			t.Errorf("%d is taken", s.status)
		}
	}
}

// TestLogV1: an entry that exists is waited for, by its name and nowhere else.
func TestLogV1(t *testing.T) {
	s := newServer(t)
	log := Service{URL: s.URL}
	s.status, s.body = http.StatusCreated, whole
	if e, err := log.LogV1(t.Context(), proposal); err != nil || e.Index != 3 || s.asked[0] != "POST /api/v1/log/entries" {
		t.Fatalf("%v, %v, %q", e, err, s.asked)
	}
	for _, s.status = range []int{200, 202, 204, 301, 400, 404, 429, 500, 503} {
		if _, err := log.LogV1(t.Context(), proposal); err == nil {
			t.Errorf("%d is taken", s.status)
		}
	}
	if _, err := log.LogV1(t.Context(), &Proposal{Digest: make([]byte, 31)}); err == nil {
		t.Error("a digest of 31 bytes is sent")
	}
	for name, location := range map[string]string{
		"": "", "none": "/api/v1/log/entries/", "other characters": "/x/0x00", "a word": "/api/v1/log/entries/null",
		"no address": "://", "upper case": "/00FF",
	} {
		s.status, s.header, s.asked = http.StatusConflict, http.Header{"Location": {location}}, nil
		if _, err := log.LogV1(t.Context(), proposal); err == nil || len(s.asked) != 1 ||
			!strings.Contains(err.Error(), "does not say where") {
			t.Errorf("%s: %v, %q", name, err, s.asked)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for later, want := range map[int]bool{0: true, 3: true, 1000: false} {
			gets := 0
			log := Service{URL: "https://log.example", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				switch {
				case r.Method == http.MethodPost:
					return reply(http.StatusConflict, "", "Location", "https://other.example/api/v1/log/entries/00ff"), nil
				case r.URL.String() != "https://log.example/api/v1/log/entries/00ff":
					t.Errorf("asked for %s", r.URL)
				}
				if gets++; gets > later {
					return reply(http.StatusOK, whole), nil
				}
				return reply(http.StatusNotFound, "none"), nil
			})}
			begin := time.Now()
			e, err := log.LogV1(t.Context(), proposal)
			if (err == nil) != want || want && (e.Index != 3 || gets != later+1) || time.Since(begin) > 2*requestTimeout {
				t.Errorf("%d: %v after %d questions and %v", later, err, gets, time.Since(begin))
			}
		}
	})
	for _, s.status = range []int{http.StatusOK, http.StatusInternalServerError, http.StatusForbidden} {
		log := Service{URL: "https://log.example", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return reply(http.StatusConflict, "", "Location", "/api/v1/log/entries/00ff"), nil
			}
			return reply(s.status, "{}"), nil
		})}
		if _, err := log.LogV1(t.Context(), proposal); err == nil {
			t.Errorf("%d after a conflict is taken", s.status)
		}
	}
}

// tileLog is a log of some entries as tiles.
type tileLog struct {
	tree    tlog.Tree
	hashes  []tlog.Hash
	entries [][]byte
	gone    func(path string) bool // whether a tile is gone
	lie     func(path string, data []byte) []byte
}

func newTileLog(t *testing.T, n int) *tileLog {
	l := &tileLog{}
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, l.hashes[i])
		}
		return out, nil
	})
	for i := range n {
		entry := fmt.Appendf(nil, "entry %d", i)
		hashes, err := tlog.StoredHashes(int64(i), entry, read)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes, l.entries = append(l.hashes, hashes...), append(l.entries, entry)
	}
	root, err := tlog.TreeHash(int64(n), read)
	if err != nil {
		t.Fatal(err)
	}
	l.tree = tlog.Tree{N: int64(n), Hash: root}
	return l
}

func (l *tileLog) RoundTrip(r *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v2/")
	tile, err := torchwood.ParseTilePath(path)
	if err != nil || l.gone != nil && l.gone(path) {
		return reply(http.StatusNotFound, ""), nil
	}
	var data []byte
	first := tile.N * torchwood.TileWidth
	for i := first; i < first+int64(tile.W); i++ {
		if tile.L < 0 {
			if i >= int64(len(l.entries)) {
				return reply(http.StatusNotFound, ""), nil
			}
			data, _ = torchwood.AppendTileEntry(data, l.entries[i])
			continue
		}
		at := tlog.StoredHashIndex(8*tile.L, i)
		if at >= int64(len(l.hashes)) {
			return reply(http.StatusNotFound, ""), nil
		}
		data = append(data, l.hashes[at][:]...)
	}
	if l.lie != nil {
		data = l.lie(path, data)
	}
	return reply(http.StatusOK, string(data)), nil
}

// TestExisting: an entry and its proof are read from the tiles, partial or full, and belong to the
// tree; a log that lies or leaves out is found out.
func TestExisting(t *testing.T) {
	for _, size := range []int64{1, 2, 255, 256, 257, 600} {
		l := newTileLog(t, 600)
		log := Service{URL: "https://log.example", Transport: l}
		tree := tlog.Tree{N: size, Hash: newTileLog(t, int(size)).tree.Hash}
		full := func(path string) bool { // partial tiles of which the log has the full one
			tile, err := torchwood.ParseTilePath(path)
			return err == nil && tile.W < torchwood.TileWidth && tile.L < 1 && tile.N < 600/torchwood.TileWidth
		}
		for _, l.gone = range []func(string) bool{nil, full} {
			for _, index := range []int64{0, size / 2, size - 1} {
				e, err := log.Existing(t.Context(), index, tree)
				if err != nil || string(e.Body) != fmt.Sprintf("entry %d", index) || e.Proof.Size != size ||
					e.Proof.Index != index || !bytes.Equal(e.Proof.Root, tree.Hash[:]) {
					t.Fatalf("%d of %d: %v", index, size, err)
				}
				var proof tlog.RecordProof
				for _, h := range e.Proof.Hashes {
					proof = append(proof, tlog.Hash(h))
				}
				if err := tlog.CheckRecord(proof, size, tree.Hash, index, tlog.RecordHash(e.Body)); err != nil {
					t.Errorf("%d of %d: %v", index, size, err)
				}
			}
		}
		l.gone = nil
		for _, index := range []int64{size, size + 1} {
			if _, err := log.Existing(t.Context(), index, tree); err == nil {
				t.Errorf("%d of %d is there", index, size)
			}
		}
	}
	l := newTileLog(t, 300)
	log := Service{URL: "https://log.example", Transport: l}
	for name, lie := range map[string]func(path string, data []byte) []byte{
		"another entry": func(path string, data []byte) []byte {
			return bytes.Replace(data, []byte("entry 7"), []byte("entry 8"), 1)
		},
		"cut":      func(_ string, data []byte) []byte { return data[:len(data)/64] },
		"nothing":  func(string, []byte) []byte { return nil },
		"too much": func(string, []byte) []byte { return make([]byte, maxEntryTile+1) },
		"another hash": func(path string, data []byte) []byte {
			if !strings.Contains(path, "entries") {
				data[0] ^= 1
			}
			return data
		},
	} {
		l.lie = lie
		if _, err := log.Existing(t.Context(), 7, l.tree); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func reply(status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: readCloser{strings.NewReader(body)}}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
