// SPDX-License-Identifier: Apache-2.0

package rekor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// Limits of a log's tiles (C2SP tlog-tiles).
const (
	MaxCheckpoint = 64 << 10
	maxEntryTile  = TileEntries * (64<<10 + 2)
	TileEntries   = 256 // of a full tile
	tileHeight    = 8
)

// Tiles reads the tiles of a Rekor v2 log. Nothing that it returns is
// verified, but for what it says of hashes.
type Tiles struct {
	ctx    context.Context
	client *web.Client
	under  string               // path below which the tiles are
	saved  map[tlog.Tile][]byte // tiles of hashes that were proven
}

// NewTiles returns a reader of the tiles of a log, which may be used until ctx
// ends; but for [Tiles.Entries], by one goroutine at a time.
func NewTiles(ctx context.Context, client *web.Client) Tiles {
	return Tiles{ctx, client, "api/v2/", map[tlog.Tile][]byte{}}
}

// NewOutputTiles returns the same for the output log of a directory.
func NewOutputTiles(ctx context.Context, client *web.Client) Tiles {
	return Tiles{ctx, client, "", map[tlog.Tile][]byte{}}
}

// Entries returns the entries from index from up to the end of their tile, in a
// log of that size.
func (t Tiles) Entries(from, size int64) ([][]byte, error) {
	n := from / TileEntries
	width := min(TileEntries, size-n*TileEntries)
	path, data, err := t.get("entries", n, width, maxEntryTile)
	if err != nil {
		return nil, err
	}
	out, err := splitTile(data)
	if err == nil && int64(len(out)) != width && !(len(out) == TileEntries && !partial(path)) {
		err = fmt.Errorf("%d entries, not %d", len(out), width)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out[from-n*TileEntries : width], nil
}

// get returns a tile and the path at which it was. A partial one may be gone once
// the log has the full tile, whose beginning it is.
func (t Tiles) get(level string, n, width, limit int64) (path string, data []byte, err error) {
	full := t.under + "tile/" + level + "/" + tilePath(n)
	path = full
	if width < TileEntries {
		path += partialTile + strconv.FormatInt(width, 10)
	}
	data, err = t.client.Get(t.ctx, path, limit)
	var status *web.StatusError
	if path != full && errors.As(err, &status) && status.Missing() {
		path = full
		data, err = t.client.Get(t.ctx, path, limit)
	}
	return path, data, err
}

// Prefix returns the root of the tree of the first n entries, as the checkpoint
// has it: the hashes are proven against its root.
func (t Tiles) Prefix(n int64, cp sigstore.Checkpoint) (tlog.Hash, error) {
	tree := tlog.Tree{N: cp.Size}
	copy(tree.Hash[:], cp.Root)
	return tlog.TreeHash(n, tlog.TileHashReader(tree, t))
}

// Growth returns the consistency proof from the tree of the first n entries to that of the
// checkpoint; see Prefix.
func (t Tiles) Growth(n int64, cp sigstore.Checkpoint) ([][]byte, error) {
	tree := tlog.Tree{N: cp.Size}
	copy(tree.Hash[:], cp.Root)
	proof, err := tlog.ProveTree(cp.Size, n, tlog.TileHashReader(tree, t))
	var out [][]byte
	for _, h := range proof {
		out = append(out, h[:])
	}
	return out, err
}

// Inclusions returns the inclusion proofs of entries in the tree of a checkpoint;
// see Prefix. That of many at once costs little more than that of one.
func (t Tiles) Inclusions(indices []int64, cp sigstore.Checkpoint) ([][][]byte, error) {
	tree := tlog.Tree{N: cp.Size}
	copy(tree.Hash[:], cp.Root)
	// Which hashes they need, then all of them, then the proofs.
	need := map[int64]tlog.Hash{}
	note := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		for _, n := range at {
			need[n] = tlog.Hash{}
		}
		return make([]tlog.Hash, len(at)), nil
	})
	for _, i := range indices {
		if _, err := tlog.ProveRecord(cp.Size, i, note); err != nil {
			return nil, err
		}
	}
	at := slices.Sorted(maps.Keys(need))
	hashes, err := tlog.TileHashReader(tree, t).ReadHashes(at)
	if err != nil {
		return nil, err
	}
	for i, n := range at {
		need[n] = hashes[i]
	}
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, n := range at {
			out = append(out, need[n])
		}
		return out, nil
	})
	var out [][][]byte
	for _, i := range indices {
		proof, err := tlog.ProveRecord(cp.Size, i, read)
		if err != nil {
			return nil, err
		}
		hashes := [][]byte{}
		for _, h := range proof {
			hashes = append(hashes, h[:])
		}
		out = append(out, hashes)
	}
	return out, nil
}

// Height implements tlog.TileReader.
func (Tiles) Height() int { return tileHeight }

// SaveTiles implements tlog.TileReader.
func (t Tiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, w := range tiles {
		t.saved[w] = data[i]
	}
}

// ReadTiles implements tlog.TileReader.
func (t Tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, w := range want {
		if data := t.saved[w]; data != nil {
			out = append(out, data)
			continue
		}
		size := w.W * tlog.HashSize
		path, data, err := t.get(strconv.Itoa(w.L), w.N, int64(w.W), TileEntries*tlog.HashSize)
		if err != nil {
			return nil, err
		}
		if len(data) != size && !(len(data) == TileEntries*tlog.HashSize && !partial(path)) {
			return nil, fmt.Errorf("%s: %d bytes, not %d", path, len(data), size)
		}
		out = append(out, data[:size])
	}
	return out, nil
}

// splitTile returns the entries of a tile, each of which has its length before
// it.
func splitTile(data []byte) ([][]byte, error) {
	var out [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("cut within an entry")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		out = append(out, data[2:end])
		data = data[end:]
	}
	return out, nil
}

// tilePath returns the index of a tile as it stands in its path: in groups of
// three digits, all but the last with an 'x' before it.
func tilePath(n int64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return path
}

const partialTile = ".p/"

func partial(path string) bool { return strings.Contains(path, partialTile) }
