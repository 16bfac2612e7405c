// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/bundle"
	"github.com/repopolicy/repopolicy/internal/canonical"
	"github.com/repopolicy/repopolicy/internal/strictjson"
)

const (
	pathV2         = "api/v2/"
	maxEntryTile   = torchwood.TileWidth * (64<<10 + 2)
	maxCheckpoint  = 64 << 10
	kindV2, specV2 = "hashedrekord", "0.0.2"
)

// LogV2 logs a signature in Rekor v2 and returns the entry. The error is an [*Exists] if the log
// has it already: [Service.Existing] reads that one.
//
// Protocol: https://github.com/sigstore/rekor-tiles/blob/main/api/proto/rekor/v2/rekor_service.proto.
func (s Service) LogV2(ctx context.Context, p *Proposal) (*bundle.Entry, error) {
	a, err := s.ask(ctx, question{path: pathV2 + "log/entries", body: p.v2(), kind: jsonType})
	if err != nil {
		return nil, err
	}
	switch a.status {
	case http.StatusCreated:
		e, err := bundle.ParseEntry(a.body)
		if err != nil {
			return nil, fmt.Errorf("the answer is malformed: %w", err)
		}
		return e, wholeV2(e)
	case http.StatusConflict:
		index, err := canonical.ParseNumber(a.header.Get("x-log-index"))
		if err != nil {
			return nil, errors.New("the entry is in the log already, but the log does not say where")
		}
		return nil, &Exists{index}
	}
	return nil, fmt.Errorf("unexpected answer: %d: %s", a.status, a.said())
}

// v2 returns what is posted: a CreateEntryRequest with a HashedRekordRequestV002.
func (p *Proposal) v2() []byte {
	type raw struct {
		Bytes []byte `json:"rawBytes"`
	}
	type verifier struct {
		PublicKey   *raw   `json:"publicKey,omitempty"`
		Certificate *raw   `json:"x509Certificate,omitempty"`
		Details     string `json:"keyDetails"`
	}
	type signature struct {
		Content  []byte   `json:"content"`
		Verifier verifier `json:"verifier"`
	}
	type request struct {
		Digest    []byte    `json:"digest"`
		Signature signature `json:"signature"`
	}
	v := verifier{PublicKey: &raw{p.Verifier}, Details: p.Details}
	if p.Certificate {
		v.PublicKey, v.Certificate = nil, &raw{p.Verifier}
	}
	return strictjson.Compact(map[string]request{
		"hashedRekordRequestV002": {p.Digest, signature{p.Signature, v}},
	})
}

// wholeV2 says what an entry lacks.
func wholeV2(e *bundle.Entry) error {
	p := e.Proof
	switch {
	case len(e.Body) == 0 || len(e.LogID) == 0 || e.Kind == "" || e.Version == "":
		return errors.New("the answer is no log entry")
	case p == nil || p.Checkpoint == "" || len(p.Root) == 0 || p.Size <= p.Index:
		return errors.New("the answer has no inclusion proof")
	}
	return nil
}

// Checkpoint returns the newest checkpoint of a Rekor v2 log, a signed note. Nothing of it is
// verified.
func (s Service) Checkpoint(ctx context.Context) ([]byte, error) {
	return s.get(ctx, pathV2+"checkpoint", maxCheckpoint)
}

// Existing returns an entry of a Rekor v2 log by its index, with the proof that it is in a tree,
// whose checkpoint is verified by whoever asks.
//
// Protocol: https://c2sp.org/tlog-tiles.
func (s Service) Existing(ctx context.Context, index int64, tree tlog.Tree) (*bundle.Entry, error) {
	if index >= tree.N {
		return nil, errors.New("the entry is not in the newest tree yet; try again")
	}
	client, err := torchwood.NewClient(tiles{s})
	if err != nil {
		return nil, err
	}
	body, proof, err := client.Entry(ctx, tree, index)
	if err != nil {
		return nil, err
	}
	e := &bundle.Entry{
		Index: index, Kind: kindV2, Version: specV2, Body: body,
		Proof: &bundle.Proof{Index: index, Root: tree.Hash[:], Size: tree.N},
	}
	for _, h := range proof {
		e.Proof.Hashes = append(e.Proof.Hashes, h[:])
	}
	return e, nil
}

func (s Service) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	a, err := s.ask(ctx, question{path: path, limit: limit, plain: true})
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, &unexpected{path, a.status}
	}
	return a.body, nil
}

// unexpected is the error of a status other than 200.
type unexpected struct {
	path   string
	status int
}

func (e *unexpected) Error() string { return fmt.Sprintf("%s: %d", e.path, e.status) }

// tiles reads the tiles of a Rekor v2 log.
type tiles struct{ log Service }

// ReadTiles implements torchwood.TileReader. A partial tile may be gone once the log has the full
// one, whose beginning it is.
func (t tiles) ReadTiles(ctx context.Context, want []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, w := range want {
		limit := int64(torchwood.TileWidth * tlog.HashSize)
		if w.L < 0 {
			limit = maxEntryTile
		}
		data, err := t.log.get(ctx, pathV2+torchwood.TilePath(w), limit)
		var status *unexpected
		if w.W < torchwood.TileWidth && errors.As(err, &status) && status.status == http.StatusNotFound {
			full := w
			full.W = torchwood.TileWidth
			data, err = t.log.get(ctx, pathV2+torchwood.TilePath(full), limit)
			if err == nil && w.L >= 0 && len(data) == torchwood.TileWidth*tlog.HashSize {
				data = data[:w.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// SaveTiles implements torchwood.TileReader.
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadEndpoint implements torchwood.TileReader.
func (t tiles) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	return t.log.get(ctx, pathV2+path, maxCheckpoint)
}
