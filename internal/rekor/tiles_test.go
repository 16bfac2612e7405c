// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/internal/web"
)

// storedHashes is the storage of a log, in the order of tlog.StoredHashIndex.
type storedHashes []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (s storedHashes) ReadHashes(at []int64) (out []tlog.Hash, err error) {
	for _, i := range at {
		if i >= int64(len(s)) {
			return nil, fmt.Errorf("no hash %d", i)
		}
		out = append(out, s[i])
	}
	return out, nil
}

func newStoredHashes(t testing.TB, records int64) storedHashes {
	t.Helper()
	var s storedHashes
	for n := range records {
		more, err := tlog.StoredHashes(n, fmt.Append(nil, n), s)
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, more...)
	}
	return s
}

// tilesOfHeight serves the tiles of a storage. Nobody vouches for them.
type tilesOfHeight struct {
	storedHashes
	height int
}

// Height implements tlog.TileReader.
func (r tilesOfHeight) Height() int { return r.height }

// SaveTiles implements tlog.TileReader.
func (tilesOfHeight) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles implements tlog.TileReader.
func (r tilesOfHeight) ReadTiles(want []tlog.Tile) (out [][]byte, err error) {
	for _, w := range want {
		data, err := tlog.ReadTileData(w, r.storedHashes)
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// TestTampered: in trees of 1 to 100 records, and in tiles of every height, no
// stored hash can be changed unnoticed: reading it gives an error or what it was.
func TestTampered(t *testing.T) {
	for size := int64(1); size <= 100; size++ {
		s := newStoredHashes(t, size)
		root, err := tlog.TreeHash(size, s)
		if err != nil {
			t.Fatal(err)
		}
		tree := tlog.Tree{N: size, Hash: root}
		for _, height := range []int{1, 2, 3, rekor.TileHeight} {
			refused := 0
			for i := range s {
				changed := slices.Clone(s)
				changed[i][0] ^= 1
				got, err := tlog.TileHashReader(tree, tilesOfHeight{changed, height}).ReadHashes([]int64{int64(i)})
				switch {
				case err != nil:
					refused++
				case got[0] != s[i]:
					t.Fatalf("size %d, height %d: hash %d was changed, and is believed", size, height, i)
				}
			}
			if refused == 0 {
				t.Errorf("size %d, height %d: nothing was refused", size, height)
			}
			all := make([]int64, len(s))
			for i := range all {
				all[i] = int64(i)
			}
			if got, err := tlog.TileHashReader(tree, tilesOfHeight{s, height}).ReadHashes(all); err != nil ||
				!slices.Equal(got, s) {
				t.Errorf("size %d, height %d: the honest ones: %v", size, height, err)
			}
		}
	}
}

// TestTamperedTiles: the same of what is fetched, also where one tile stands above
// others: no proof and no root of a part rests on a hash that was changed.
func TestTamperedTiles(t *testing.T) {
	served := map[string][]byte{} // by path
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := served[strings.TrimPrefix(r.URL.Path, "/api/v2/tile/")]
		if !ok {
			http.NotFound(w, r)
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1, 2, 3, 7, 100, 255, 256, 257, 300, 511, 512, 513, 600} {
		s := newStoredHashes(t, size)
		root, err := tlog.TreeHash(size, s)
		if err != nil {
			t.Fatal(err)
		}
		part, err := tlog.TreeHash(size/2+1, s)
		if err != nil {
			t.Fatal(err)
		}
		clear(served)
		records := map[string]int64{} // under each hash of a tile
		level, hashes, under := 0, size, int64(1)
		for ; hashes > 0; level, hashes, under = level+1, hashes/rekor.TileEntries, under*rekor.TileEntries {
			for n := range (hashes + rekor.TileEntries - 1) / rekor.TileEntries {
				tile := tlog.Tile{
					H: rekor.TileHeight, L: level, N: n, W: int(min(rekor.TileEntries, hashes-n*rekor.TileEntries)),
				}
				path := fmt.Sprintf("%d/%s", level, rekor.TilePath(n))
				if tile.W < rekor.TileEntries {
					path += fmt.Sprint(rekor.PartialTile, tile.W)
				}
				if served[path], err = tlog.ReadTileData(tile, s); err != nil {
					t.Fatal(err)
				}
				records[path] = under
			}
		}
		cp := sigstore.Checkpoint{Size: size, Root: root[:]}
		if _, err := rekor.NewTiles(t.Context(), client).Inclusions([]int64{0, size - 1}, cp); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		for path, under := range records {
			honest := served[path]
			var n int64
			_, number, _ := strings.Cut(path, "/")
			if _, err := fmt.Sscanf(number, "%d", &n); err != nil {
				t.Fatal(err)
			}
			for i := range len(honest) / tlog.HashSize {
				served[path] = slices.Clone(honest)
				served[path][i*tlog.HashSize] ^= 1
				record := (n*rekor.TileEntries + int64(i)) * under
				// Of one record there is no proof to read.
				if _, err := rekor.NewTiles(t.Context(), client).Inclusions([]int64{record}, cp); err == nil &&
					size > 1 {
					t.Fatalf("size %d: hash %d of %s was changed, and is believed", size, i, path)
				}
				if got, err := rekor.NewTiles(t.Context(), client).Prefix(size/2+1, cp); err == nil && got != part {
					t.Fatalf("size %d: hash %d of %s was changed, and the root of a part rests on it", size, i, path)
				}
			}
			served[path] = honest
		}
	}
}

// FuzzTile: what is read of a tile is all of it.
func FuzzTile(f *testing.F) {
	for _, b := range [][]byte{
		nil, {0}, {0, 0}, {0, 1, 'x'}, {0, 2, 'x'}, {0xff, 0xff, 0}, bindtest.JoinTile(bindtest.Fillers(3)),
		make([]byte, 1024),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := rekor.SplitTile(data)
		if err != nil {
			if out != nil {
				t.Fatal("entries beside an error")
			}
			return
		}
		if !bytes.Equal(bindtest.JoinTile(out), data) {
			t.Fatal("something was left out")
		}
	})
}

// FuzzTilePath compares paths with those of golang.org/x/mod.
func FuzzTilePath(f *testing.F) {
	for _, n := range []int64{0, 1, 999, 1000, 1001, 123456, 999999, 1e6, 1 << 54, -1} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 || n > 1<<54 {
			return
		}
		want := tlog.Tile{H: 8, L: -1, N: n, W: rekor.TileEntries}.Path()
		if got := filepath.ToSlash("tile/8/data/" + rekor.TilePath(n)); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}
