// SPDX-License-Identifier: Apache-2.0

package rekorbind

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

	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// tiles is a log of Rekor v2 that may lie: it serves entries and a checkpoint
// that need not belong together.
type tiles struct {
	bodies     [][]byte
	checkpoint []byte
	// tile, if set, changes a tile before it is served; nil is none.
	tile func(n, width int, data []byte) []byte
	read []string
	// hashes are the stored hashes of the entries whose tiles of hashes it
	// serves; nil serves those of bodies.
	hashes  []tlog.Hash
	pruned  bool // no partial tiles of entries and their hashes
	latency func(r *http.Request)
}

// withHashes makes the log serve tiles of the hashes of those entries.
func (s *tiles) withHashes(t testing.TB, bodies [][]byte) *tiles {
	t.Helper()
	if err := s.hash(bodies); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *tiles) hash(bodies [][]byte) error {
	s.hashes = nil
	for i, b := range bodies {
		h, err := tlog.StoredHashes(int64(i), b, s.reader())
		if err != nil {
			return err
		}
		s.hashes = append(s.hashes, h...)
	}
	return nil
}

func (s *tiles) reader() tlog.HashReaderFunc {
	return func(idx []int64) (out []tlog.Hash, err error) {
		for _, n := range idx {
			out = append(out, s.hashes[n])
		}
		return out, nil
	}
}

// hashTile returns a tile of hashes, nil if the path is not of one that is there.
func (s *tiles) hashTile(path string) []byte {
	path, ok := strings.CutPrefix(path, "/api/v2/tile/")
	if !ok || strings.HasPrefix(path, "entries/") {
		return nil
	}
	if s.hashes == nil {
		if s.hash(s.bodies) != nil {
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
	if stored >= int64(len(s.hashes)) {
		return nil
	}
	data, err := tlog.ReadTileData(t, s.reader())
	if err != nil {
		return nil
	}
	return data
}

func (s *tiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.read = append(s.read, r.URL.Path)
	if s.latency != nil {
		s.latency(r)
	}
	if s.pruned && strings.Contains(r.URL.Path, ".p/") && !strings.Contains(r.URL.Path, "/tile/1/") {
		http.NotFound(w, r)
		return
	}
	if data := s.hashTile(r.URL.Path); data != nil {
		_, _ = w.Write(data)
		return
	}
	if r.URL.Path == "/api/v2/checkpoint" {
		_, _ = w.Write(s.checkpoint)
		return
	}
	for n := 0; n*TileEntries < len(s.bodies); n++ {
		path := "/api/v2/tile/entries/" + strings.TrimPrefix(tlog.Tile{H: 8, L: -1, N: int64(n), W: TileEntries}.Path(), "tile/8/data/")
		width, err := TileEntries, error(nil)
		if partial, ok := strings.CutPrefix(r.URL.Path, path+".p/"); ok {
			width, err = strconv.Atoi(partial)
		} else if r.URL.Path != path {
			continue
		}
		if err != nil || n*TileEntries+width > len(s.bodies) {
			break
		}
		data := joinTile(s.bodies[n*TileEntries : n*TileEntries+width])
		if s.tile != nil {
			data = s.tile(n, width, data)
		}
		if data != nil {
			_, _ = w.Write(data)
			return
		}
	}
	http.NotFound(w, r)
}

func joinTile(bodies [][]byte) []byte {
	var out []byte
	for _, b := range bodies {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
	}
	return out
}

func fillers(n int) [][]byte {
	var out [][]byte
	for i := range n {
		out = append(out, fmt.Appendf(nil, `{"kind":"hashedrekord","apiVersion":"0.0.2","n":%d}`, i))
	}
	return out
}

func (c *chained) scan(s http.Handler, cursors Cursors) *Scan {
	c.t.Helper()
	srv := httptest.NewServer(s)
	c.t.Cleanup(srv.Close)
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		c.t.Fatal(err)
	}
	out := &Scan{Root: c.root, Clients: map[string]*web.Client{}, Cursors: cursors, Now: func() time.Time { return sigstoretest.Now }}
	for _, l := range c.root.Logs() {
		if l.Generation == 2 {
			out.Clients[l.ID] = client
		}
	}
	return out
}

// honest is a log with the chain's entries before more than a tile of others.
func (c *chained) honest() *tiles {
	bodies := slices.Concat(c.inst.BodiesV2(), fillers(300))
	return &tiles{bodies: bodies, checkpoint: c.inst.CheckpointV2(bodies, c.inst.Origin())}
}

func (c *chained) query() Query { return Query{Repository: locator(c.t, widget)} }

// outcome is what a scan must come to.
type outcome int

const (
	unavailable outcome = iota
	alarm               // the log contradicts itself
	scanned
)

// expect demands the outcome of the scan and of a chain that rests on it alone.
func (c *chained) expect(t *testing.T, s *Scan, want outcome) (Found, error) {
	t.Helper()
	found, err := s.Find(t.Context(), c.query())
	if (err == nil) != (want == scanned) || errors.Is(err, ErrLogFork) != (want == alarm) {
		t.Fatalf("%d leaves, %v", len(found.Leaves), err)
	}
	if err != nil && (found.Leaves != nil || found.Completeness == chain.CompleteScanned) {
		t.Errorf("something was found beside an error: %+v", found)
	}
	res := c.resolve(c.files, s)
	switch d := decide(res.Chain); want {
	case unavailable:
		if d != policy.BelowRequired || res.Chain.View().Completeness != chain.CompleteNone || res.Fork != nil || len(res.Failed) != 1 {
			t.Errorf("decided %s at %s, failed %v", d, res.Chain.View().Completeness, res.Failed)
		}
	case alarm:
		if d.Class() != policy.ClassAlarm || res.Fork == nil || !bytes.Equal(res.Fork.New, shownBy(t, s)) {
			t.Errorf("decided %s, fork %+v", d, res.Fork)
		}
	case scanned:
		if d == policy.BelowRequired || d.Class() != policy.ClassDeny || res.Chain.View().Completeness != chain.CompleteScanned || len(res.Chain.Versions()) != 2 {
			t.Errorf("decided %s at %s: %+v", d, res.Chain.View().Completeness, res.Chain.Problems())
		}
	}
	return found, err
}

// shownBy returns the checkpoint that the log serves.
func shownBy(t *testing.T, s *Scan) []byte {
	t.Helper()
	for _, c := range s.Clients {
		data, err := c.Get(t.Context(), "api/v2/checkpoint", maxCheckpoint)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return nil
}

// long is a log of several tiles with the chain's entries in its first.
func (c *chained) long(n int) *tiles {
	bodies := slices.Concat(c.inst.BodiesV2(), fillers(n*TileEntries))
	return (&tiles{bodies: bodies, checkpoint: c.inst.CheckpointV2(bodies, c.inst.Origin())}).withHashes(c.t, bodies)
}

func entryTiles(read []string) (out []string) {
	for _, p := range read {
		if strings.Contains(p, "/tile/entries/") {
			out = append(out, p)
		}
	}
	return out
}
