// SPDX-License-Identifier: Apache-2.0

package bindtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// tiles is a log of Rekor v2 that may lie: it serves entries and a checkpoint
// that need not belong together.
type Tiles struct {
	Bodies     [][]byte
	Checkpoint []byte
	// tile, if set, changes a tile before it is served; nil is none.
	Tile func(n, width int, data []byte) []byte
	Read []string
	// hashes are the stored hashes of the entries whose tiles of hashes it
	// serves; nil serves those of bodies.
	Hashes  []tlog.Hash
	Pruned  bool // no partial tiles of entries and their hashes
	Latency func(r *http.Request)
}

// withHashes makes the log serve tiles of the hashes of those entries.
func (s *Tiles) WithHashes(t testing.TB, bodies [][]byte) *Tiles {
	t.Helper()
	if err := s.hash(bodies); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Tiles) hash(bodies [][]byte) error {
	s.Hashes = nil
	for i, b := range bodies {
		h, err := tlog.StoredHashes(int64(i), b, s.reader())
		if err != nil {
			return err
		}
		s.Hashes = append(s.Hashes, h...)
	}
	return nil
}

func (s *Tiles) reader() tlog.HashReaderFunc {
	return func(idx []int64) (out []tlog.Hash, err error) {
		for _, n := range idx {
			out = append(out, s.Hashes[n])
		}
		return out, nil
	}
}

// hashTile returns a tile of hashes, nil if the path is not of one that is there.
func (s *Tiles) hashTile(path string) []byte {
	path, ok := strings.CutPrefix(path, "/api/v2/tile/")
	if !ok || strings.HasPrefix(path, "entries/") {
		return nil
	}
	if s.Hashes == nil {
		if s.hash(s.Bodies) != nil {
			return nil
		}
	}
	width := "256"
	if p, w, part := strings.Cut(path, ".p/"); part {
		path, width = p, w
	}
	level, n, _ := strings.Cut(path, "/")
	t, err := tlog.ParseTilePath("tile/8/" + level + "/" + n + ".p/" + width)
	if width == "256" {
		t, err = tlog.ParseTilePath("tile/8/" + level + "/" + n)
	}
	if err != nil {
		return nil
	}
	stored := tlog.StoredHashIndex(t.L*t.H, t.N<<t.H+int64(t.W)-1)
	if stored >= int64(len(s.Hashes)) {
		return nil
	}
	data, err := tlog.ReadTileData(t, s.reader())
	if err != nil {
		return nil
	}
	return data
}

func (s *Tiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Read = append(s.Read, r.URL.Path)
	if s.Latency != nil {
		s.Latency(r)
	}
	if s.Pruned && strings.Contains(r.URL.Path, ".p/") && !strings.Contains(r.URL.Path, "/tile/1/") {
		http.NotFound(w, r)
		return
	}
	if data := s.hashTile(r.URL.Path); data != nil {
		_, _ = w.Write(data)
		return
	}
	if r.URL.Path == "/api/v2/checkpoint" {
		_, _ = w.Write(s.Checkpoint)
		return
	}
	for n := 0; n*rekor.TileEntries < len(s.Bodies); n++ {
		path := "/api/v2/tile/entries/" + strings.TrimPrefix(
			tlog.Tile{H: 8, L: -1, N: int64(n), W: rekor.TileEntries}.Path(), "tile/8/data/",
		)
		width, err := rekor.TileEntries, error(nil)
		if partial, ok := strings.CutPrefix(r.URL.Path, path+".p/"); ok {
			width, err = strconv.Atoi(partial)
		} else if r.URL.Path != path {
			continue
		}
		if err != nil || n*rekor.TileEntries+width > len(s.Bodies) {
			break
		}
		data := JoinTile(s.Bodies[n*rekor.TileEntries : n*rekor.TileEntries+width])
		if s.Tile != nil {
			data = s.Tile(n, width, data)
		}
		if data != nil {
			_, _ = w.Write(data)
			return
		}
	}
	http.NotFound(w, r)
}

func JoinTile(bodies [][]byte) []byte {
	var out []byte
	for _, b := range bodies {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	return out
}

func Fillers(n int) [][]byte {
	var out [][]byte
	for i := range n {
		out = append(out, fmt.Appendf(nil, `{"kind":"hashedrekord","apiVersion":"0.0.2","n":%d}`, i))
	}
	return out
}

func (c *Chained) Scan(s http.Handler, cursors lookup.Cursors) *lookup.Scan {
	c.T.Helper()
	srv := httptest.NewServer(s)
	c.T.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		c.T.Fatal(err)
	}
	out := &lookup.Scan{
		Root: c.Root, Clients: map[string]*web.Client{}, Cursors: cursors,
		Now: func() time.Time { return sigstoretest.Now },
	}
	for _, l := range c.Root.Logs() {
		if l.Generation == 2 {
			out.Clients[l.ID] = client
		}
	}
	return out
}

// honest is a log with the chain's entries before more than a tile of others.
func (c *Chained) Honest() *Tiles {
	bodies := slices.Concat(c.Inst.BodiesV2(), Fillers(300))
	return &Tiles{Bodies: bodies, Checkpoint: c.Inst.CheckpointV2(bodies, c.Inst.Origin())}
}

func (c *Chained) Query() bindings.Query { return bindings.Query{Repository: Locator(c.T, Widget)} }

// outcome is what a scan must come to.
type Outcome int

const (
	Unavailable Outcome = iota
	Alarm               // the log contradicts itself
	Scanned
)

// expect demands the outcome of the scan and of a chain that rests on it alone.
func (c *Chained) Expect(t *testing.T, s *lookup.Scan, want Outcome) (bindings.Found, error) {
	t.Helper()
	found, err := s.Find(t.Context(), c.Query())
	if (err == nil) != (want == Scanned) || errors.Is(err, rekor.ErrLogFork) != (want == Alarm) {
		t.Fatalf("%d leaves, %v", len(found.Leaves), err)
	}
	if err != nil && (found.Leaves != nil || found.Completeness == chain.CompleteScanned) {
		t.Errorf("something was found beside an error: %+v", found)
	}
	res := c.Resolve(c.Files, s)
	switch d := Decide(res.Chain); want {
	case Unavailable:
		if d != policy.BelowRequired || res.Chain.View().Completeness != chain.CompleteNone || res.Fork != nil ||
			len(res.Failed) != 1 {
			t.Errorf("decided %s at %s, failed %v", d, res.Chain.View().Completeness, res.Failed)
		}
	case Alarm:
		if d.Class() != policy.ClassAlarm || res.Fork == nil || !bytes.Equal(res.Fork.New, shownBy(t, s)) {
			t.Errorf("decided %s, fork %+v", d, res.Fork)
		}
	case Scanned:
		if d == policy.BelowRequired || d.Class() != policy.ClassDeny ||
			res.Chain.View().Completeness != chain.CompleteScanned ||
			len(res.Chain.Versions()) != 2 {
			t.Errorf("decided %s at %s: %+v", d, res.Chain.View().Completeness, res.Chain.Problems())
		}
	}
	return found, err
}

// shownBy returns the checkpoint that the log serves.
func shownBy(t *testing.T, s *lookup.Scan) []byte {
	t.Helper()
	for _, c := range s.Clients {
		data, err := c.Get(t.Context(), "api/v2/checkpoint", rekor.MaxCheckpoint)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return nil
}

// long is a log of several tiles with the chain's entries in its first.
func (c *Chained) Long(n int) *Tiles {
	bodies := slices.Concat(c.Inst.BodiesV2(), Fillers(n*rekor.TileEntries))
	return (&Tiles{Bodies: bodies, Checkpoint: c.Inst.CheckpointV2(bodies, c.Inst.Origin())}).WithHashes(c.T, bodies)
}

func EntryTiles(read []string) (out []string) {
	for _, p := range read {
		if strings.Contains(p, "/tile/entries/") {
			out = append(out, p)
		}
	}
	return out
}
