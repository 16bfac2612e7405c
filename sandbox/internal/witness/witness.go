// SPDX-License-Identifier: Apache-2.0

// Package witness is a witness of transparency logs: it cosigns a checkpoint if
// it is consistent with the last one that it cosigned.
//
// Specification: https://c2sp.org/tlog-witness, https://c2sp.org/tlog-cosignature.
package witness

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	logfmt "github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

const (
	maxRequest = 64 << 10
	maxProof   = 63 // hashes, by the specification
)

// Witness cosigns the checkpoints of the logs that it was told of.
type Witness struct {
	signer *fnote.Signer
	vkey   string
	file   string
	write  func([]byte) error

	mu     sync.Mutex
	logs   []note.Verifier
	latest map[string]head // by origin and key hash
}

type head struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

// New returns a witness of that name that keeps what it has seen in a file,
// which write replaces in one step.
func New(name string, key ed25519.PrivateKey, file string, write func([]byte) error) (*Witness, error) {
	vkey, err := note.NewEd25519VerifierKey(name, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	hash := strings.Split(vkey, "+")[1]
	skey := "PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...))
	signer, err := fnote.NewSignerForCosignatureV1(skey)
	if err != nil {
		return nil, err
	}
	cosig, err := fnote.VKeyToCosignatureV1(vkey)
	if err != nil {
		return nil, err
	}
	w := &Witness{signer: signer, vkey: cosig, file: file, write: write, latest: map[string]head{}}
	data, err := os.ReadFile(file)
	switch {
	case err == nil:
		err = json.Unmarshal(data, &w.latest)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return w, nil
}

// Key returns the witness's verifier key, of signature type 0x04.
func (w *Witness) Key() string { return w.vkey }

// Add makes the witness cosign a log. Logs may share an origin, as the shards of
// one host do; a log is known by origin and key.
func (w *Witness) Add(log note.Verifier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, log)
}

// ServeHTTP answers POST /add-checkpoint.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/add-checkpoint" || r.Method != http.MethodPost {
		http.NotFound(rw, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxRequest))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	status, answer := w.add(body)
	switch status {
	case http.StatusOK:
		rw.Header().Set("Content-Type", "text/plain")
	case http.StatusConflict:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
	}
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, answer) // the client went away
}

// parse reads the body of add-checkpoint: "old N", proof lines, an empty line,
// the signed checkpoint.
func parse(body []byte) (old uint64, hashes [][]byte, checkpoint []byte, err error) {
	top, checkpoint, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return 0, nil, nil, errors.New("no empty line after the proof")
	}
	lines := strings.Split(string(top), "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	if !ok {
		return 0, nil, nil, errors.New("the first line is not the old size")
	}
	if old, err = strconv.ParseUint(size, 10, 63); err != nil {
		return 0, nil, nil, err
	}
	if strconv.FormatUint(old, 10) != size {
		return 0, nil, nil, fmt.Errorf("old size %q has leading zeros", size)
	}
	if len(lines)-1 > maxProof {
		return 0, nil, nil, errors.New("the proof is too long")
	}
	for _, l := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(l)
		if err != nil || len(h) != rfc6962.DefaultHasher.Size() || strings.Contains(l, "\r") {
			return 0, nil, nil, fmt.Errorf("proof line %q", l)
		}
		hashes = append(hashes, h)
	}
	return old, hashes, checkpoint, nil
}

func (w *Witness) add(body []byte) (status int, answer string) {
	old, hashes, signed, err := parse(body)
	if err != nil {
		return http.StatusBadRequest, err.Error() + "\n"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := note.Open(signed, note.VerifierList(w.logs...))
	if err != nil || len(n.Sigs) == 0 {
		return http.StatusForbidden, "no known log has signed this checkpoint\n"
	}
	var cp logfmt.Checkpoint
	if _, err := cp.Unmarshal([]byte(n.Text)); err != nil {
		return http.StatusBadRequest, err.Error() + "\n"
	}
	if cp.Origin != n.Sigs[0].Name {
		return http.StatusNotFound, "the origin is not the signer's\n"
	}
	id := fmt.Sprintf("%s %08x", n.Sigs[0].Name, n.Sigs[0].Hash)
	last := w.latest[id]
	switch {
	case old > cp.Size:
		return http.StatusBadRequest, "the old size is larger than the checkpoint's\n"
	case old != last.Size:
		return http.StatusConflict, strconv.FormatUint(last.Size, 10) + "\n"
	case old == cp.Size && old > 0 && !bytes.Equal(last.Root, cp.Hash):
		return http.StatusConflict, strconv.FormatUint(last.Size, 10) + "\n"
	}
	if old > 0 {
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old, cp.Size, hashes, last.Root, cp.Hash); err != nil {
			return http.StatusUnprocessableEntity, err.Error() + "\n"
		}
	} else if len(hashes) > 0 {
		return http.StatusUnprocessableEntity, "a proof from an empty tree\n"
	}
	// Persisted before anyone can see the cosignature: a crash in between must
	// not make us cosign a fork.
	w.latest[id] = head{cp.Size, cp.Hash}
	data, err := json.Marshal(w.latest)
	if err == nil {
		err = w.write(data)
	}
	if err != nil {
		w.latest[id] = last
		return http.StatusInternalServerError, err.Error() + "\n"
	}
	cosigned, err := note.Sign(&note.Note{Text: n.Text}, w.signer)
	if err != nil {
		return http.StatusInternalServerError, err.Error() + "\n"
	}
	_, lines, _ := bytes.Cut(cosigned[len(n.Text):], []byte("\n"))
	return http.StatusOK, string(lines)
}
