// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestScan: of what a log may show at first contact, only entries that give the
// root of a checkpoint of its own are read.
func TestScan(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	good := c.Honest()
	origin := c.Inst.Origin()
	n := len(good.Bodies)
	sigless, _, _ := strings.Cut(string(good.Checkpoint), "\n\n")
	swapped := slices.Clone(good.Bodies)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	whole := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(2*rekor.TileEntries-len(c.Inst.BodiesV2())))
	for name, x := range map[string]struct {
		log  bindtest.Tiles
		want bindtest.Outcome
	}{
		"honest": {*good, bindtest.Scanned},
		"honest, whole tiles": {
			bindtest.Tiles{Bodies: whole, Checkpoint: c.Inst.CheckpointV2(whole, origin)}, bindtest.Scanned,
		},
		"more entries than signed": {
			bindtest.Tiles{Bodies: append(slices.Clone(good.Bodies), bindtest.Fillers(10)...), Checkpoint: good.Checkpoint},
			bindtest.Scanned,
		},
		"extension lines": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: c.Inst.CheckpointV2(good.Bodies, origin, "999999", "AAAA", "Timestamp: 1", origin),
			},
			bindtest.Scanned,
		},
		"further signatures": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: append(slices.Clone(good.Checkpoint), "— witness.example AAAAAAAA\n"...),
			},
			bindtest.Scanned,
		},

		"no checkpoint": {bindtest.Tiles{Bodies: good.Bodies}, bindtest.Unavailable},
		"unsigned":      {bindtest.Tiles{Bodies: good.Bodies, Checkpoint: []byte(sigless + "\n")}, bindtest.Unavailable},
		"no signature line": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: []byte(sigless + "\n\n")}, bindtest.Unavailable,
		},
		"signature of nobody": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: []byte(sigless + "\n\n— " + origin + " AAAAAAAA\n")},
			bindtest.Unavailable,
		},
		"another key": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: sigstoretest.New(t).CheckpointV2(good.Bodies, origin)},
			bindtest.Unavailable,
		},
		"another origin": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: c.Inst.CheckpointV2(good.Bodies, "log2025-1.rekor.example")},
			bindtest.Unavailable,
		},
		"origin with a path": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: c.Inst.CheckpointV2(good.Bodies, origin+"/v2")},
			bindtest.Unavailable,
		},
		"a size that was not signed": {
			bindtest.Tiles{
				Bodies:     good.Bodies,
				Checkpoint: bytes.Replace(good.Checkpoint, fmt.Appendf(nil, "\n%d\n", n), fmt.Appendf(nil, "\n%d\n", n-1), 1),
			},
			bindtest.Unavailable,
		},
		"cut checkpoint": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: good.Checkpoint[:len(good.Checkpoint)-10]}, bindtest.Unavailable,
		},
		"a page": {bindtest.Tiles{Bodies: good.Bodies, Checkpoint: []byte("<!doctype html>\n")}, bindtest.Unavailable},
		"large checkpoint": {
			bindtest.Tiles{
				Bodies: good.Bodies,
				Checkpoint: append(
					slices.Clone(good.Checkpoint), bytes.Repeat([]byte("— w.example AAAAAAAA\n"), rekor.MaxCheckpoint/20)...,
				),
			},
			bindtest.Unavailable,
		},
		"fewer entries than signed": {
			bindtest.Tiles{Bodies: good.Bodies[:n-1], Checkpoint: good.Checkpoint}, bindtest.Unavailable,
		},
		"no entries": {bindtest.Tiles{Checkpoint: good.Checkpoint}, bindtest.Unavailable},

		"another entry": {
			bindtest.Tiles{Bodies: append(slices.Clone(good.Bodies[:n-1]), []byte("{}")), Checkpoint: good.Checkpoint},
			bindtest.Alarm,
		},
		"swapped entries": {bindtest.Tiles{Bodies: swapped, Checkpoint: good.Checkpoint}, bindtest.Alarm},

		"no tile": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: good.Checkpoint, Tile: func(int, int, []byte) []byte { return nil }},
			bindtest.Unavailable,
		},
		"empty tile": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint, Tile: func(int, int, []byte) []byte { return []byte{} },
			},
			bindtest.Unavailable,
		},
		"cut tile": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint, Tile: func(_, _ int, d []byte) []byte { return d[:len(d)-1] },
			},
			bindtest.Unavailable,
		},
		"cut at a length": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint, Tile: func(_, _ int, d []byte) []byte { return append(d, 0) },
			},
			bindtest.Unavailable,
		},
		"one more": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint, Tile: func(_, _ int, d []byte) []byte { return append(d, 0, 0) },
			},
			bindtest.Unavailable,
		},
		"one less": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint,
				Tile: func(_, _ int, d []byte) []byte { return d[2+binary.BigEndian.Uint16(d):] },
			},
			bindtest.Unavailable,
		},
		"tile too large": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint,
				Tile: func(_, _ int, d []byte) []byte { return append(d, make([]byte, rekor.TileEntries*(64<<10+2))...) },
			},
			bindtest.Unavailable,
		},
		"a flipped bit": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint,
				Tile: func(n, _ int, d []byte) []byte {
					if n == 1 {
						d[len(d)-1] ^= 1
					}
					return d
				},
			},
			bindtest.Alarm,
		},
		"first tile again": {
			bindtest.Tiles{
				Bodies: good.Bodies, Checkpoint: good.Checkpoint,
				Tile: func(n, w int, d []byte) []byte {
					if n == 1 {
						return bindtest.JoinTile(good.Bodies[:w])
					}
					return d
				},
			},
			bindtest.Alarm,
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := bindtest.NewState(t)
			found, _ := c.Expect(t, c.Scan(&x.log, state), x.want)
			if x.want == bindtest.Scanned && len(found.Leaves) != 4 {
				t.Errorf("%d leaves", len(found.Leaves))
			}
			// What was not read as a whole is not kept.
			kept, err := state.Load(c.Root.Logs()[0].ID)
			if err != nil || (kept.Size != 0) != (x.want == bindtest.Scanned) ||
				x.want == bindtest.Scanned && !bytes.Equal(kept.Checkpoint, x.log.Checkpoint) {
				t.Errorf("%d entries are kept (%v)", kept.Size, err)
			}
		})
	}
}

// TestScanAgain: at every later contact the log goes on from what it showed.
func TestScanAgain(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	good := c.Honest()
	origin := c.Inst.Origin()
	n := len(good.Bodies)
	show := func(bodies [][]byte) bindtest.Tiles {
		return bindtest.Tiles{Bodies: bodies, Checkpoint: c.Inst.CheckpointV2(bodies, origin)}
	}
	fork := slices.Clone(good.Bodies)
	fork[n-1] = []byte("{}")
	grown := slices.Concat(good.Bodies, bindtest.Fillers(5))
	early := slices.Concat(c.Inst.BodiesV2(), [][]byte{[]byte("{}")}, bindtest.Fillers(299))
	for name, x := range map[string]struct {
		log    bindtest.Tiles
		want   bindtest.Outcome
		rescan bindtest.Outcome // if everything is read again
	}{
		"the same":         {*good, bindtest.Scanned, bindtest.Scanned},
		"signed again":     {show(good.Bodies), bindtest.Scanned, bindtest.Scanned},
		"grown":            {show(grown), bindtest.Scanned, bindtest.Scanned},
		"smaller by one":   {show(good.Bodies[:n-1]), bindtest.Unavailable, bindtest.Unavailable},
		"smaller, forked":  {show(fork[:n-1]), bindtest.Unavailable, bindtest.Unavailable},
		"empty":            {show(nil), bindtest.Unavailable, bindtest.Unavailable},
		"forked":           {show(fork), bindtest.Alarm, bindtest.Alarm},
		"forked and grown": {show(append(slices.Clone(fork), bindtest.Fillers(5)...)), bindtest.Alarm, bindtest.Alarm},
		"forked long ago":  {show(append(slices.Clone(early), bindtest.Fillers(5)...)), bindtest.Alarm, bindtest.Alarm},
		"fork of old tiles": {
			bindtest.Tiles{
				Bodies: grown, Checkpoint: c.Inst.CheckpointV2(append(slices.Clone(fork), bindtest.Fillers(5)...), origin),
			},
			bindtest.Alarm, bindtest.Alarm,
		},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprint(name, again), func(t *testing.T) {
				state := bindtest.NewState(t)
				c.Expect(t, c.Scan(good, state), bindtest.Scanned)
				id := c.Root.Logs()[0].ID
				before, err := state.Load(id)
				if err != nil {
					t.Fatal(err)
				}
				want := x.want
				if again { // found under another root, which saw no bindings
					old := before
					before.Map, before.Bindings = "another", nil
					if ok, err := state.Save(id, old, before); !ok || err != nil {
						t.Fatal(ok, err)
					}
					want = x.rescan
				}
				log := x.log
				found, err := c.Expect(t, c.Scan(&log, state), want)
				if want == bindtest.Scanned {
					tile := slices.ContainsFunc(log.Read, func(p string) bool { return strings.Contains(p, "/000") })
					if len(found.Leaves) != 4 || tile != again {
						t.Errorf("%d leaves, read %v", len(found.Leaves), log.Read)
					}
					// Once is enough.
					log.Read = nil
					c.Expect(t, c.Scan(&log, state), bindtest.Scanned)
					if slices.ContainsFunc(log.Read, func(p string) bool { return strings.Contains(p, "/tile/") }) {
						t.Errorf("read again: %v", log.Read)
					}
					return
				}
				after, loadErr := state.Load(id)
				if a, b := fmt.Sprint(after), fmt.Sprint(before); loadErr != nil || a != b {
					t.Errorf("the cursor was changed (%v)", loadErr)
				}
				var f *rekor.Fork
				if errors.As(err, &f) {
					var doc map[string]string
					if err := json.Unmarshal(f.Bytes(), &doc); err != nil || doc["seen"] != string(good.Checkpoint) ||
						doc["new"] != string(log.Checkpoint) ||
						doc["log"] == "" ||
						doc["why"] == "" {
						t.Errorf("the evidence is %s (%v)", f.Bytes(), err)
					}
				}
				// The honest log is still believed.
				c.Expect(t, c.Scan(good, state), bindtest.Scanned)
			})
		}
	}
}

// racing saves as another process would that was here in between.
type racing struct {
	lookup.Cursors
	before func()
}

func (r *racing) Save(log string, old, next lookup.Cursor) (bool, error) {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.Cursors.Save(log, old, next)
}

// TestScanRace: two processes to which a log shows two histories notice.
func TestScanRace(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	good := c.Honest()
	fork := slices.Clone(good.Bodies)
	fork[len(fork)-1] = []byte("{}")
	for name, x := range map[string]struct {
		bodies [][]byte
		fork   bool
	}{"the same": {good.Bodies, false}, "another": {fork, true}} {
		state := bindtest.NewState(t)
		other := c.Scan(good, state)
		s := c.Scan(
			&bindtest.Tiles{Bodies: x.bodies, Checkpoint: c.Inst.CheckpointV2(x.bodies, c.Inst.Origin())},
			&racing{state, func() {
				if _, err := other.Find(t.Context(), c.Query()); err != nil {
					t.Error(err)
				}
			}},
		)
		found, err := s.Find(t.Context(), c.Query())
		if errors.Is(err, rekor.ErrLogFork) != x.fork || (err == nil) == x.fork || !x.fork && len(found.Leaves) != 4 {
			t.Errorf("%s: %d leaves, %v", name, len(found.Leaves), err)
		}
	}
}

// TestScanCursor: a kept cursor that cannot be true is an error.
func TestScanCursor(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	good := c.Honest()
	id := c.Root.Logs()[0].ID
	hash := strings.Repeat("a", 64)
	for name, change := range map[string]func(*lookup.Cursor){
		"negative size":    func(k *lookup.Cursor) { k.Size = -1 },
		"the least size":   func(k *lookup.Cursor) { k.Size, k.Hashes = -1<<63, []string{hash} },
		"-1 and 64 hashes": func(k *lookup.Cursor) { k.Size, k.Hashes = -1, slices.Repeat([]string{hash}, 64) },
		"no hashes":        func(k *lookup.Cursor) { k.Hashes = nil },
		"one more hash":    func(k *lookup.Cursor) { k.Hashes = append(k.Hashes, hash) },
		"no hex":           func(k *lookup.Cursor) { k.Hashes[0] = "x" },
		"half a hash":      func(k *lookup.Cursor) { k.Hashes[0] = k.Hashes[0][2:] },
		"another hash":     func(k *lookup.Cursor) { k.Hashes[0] = hash },
		"larger":           func(k *lookup.Cursor) { k.Size, k.Hashes = 1<<62, []string{hash} },
		"changed binding": func(k *lookup.Cursor) {
			k.Bindings[0].Body = bytes.Replace(k.Bindings[0].Body, []byte("SHA2_256"), []byte("SHA2_257"), 1)
		},
		"cut binding":   func(k *lookup.Cursor) { k.Bindings[0].Body = k.Bindings[0].Body[1:] },
		"empty binding": func(k *lookup.Cursor) { k.Bindings[0].Body = nil },
	} {
		state := bindtest.NewState(t)
		c.Expect(t, c.Scan(good, state), bindtest.Scanned)
		old, err := state.Load(id)
		if err != nil {
			t.Fatal(err)
		}
		next, err := state.Load(id)
		if err != nil {
			t.Fatal(err)
		}
		change(&next)
		if ok, err := state.Save(id, old, next); !ok || err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if found, err := c.Scan(good, state).Find(t.Context(), c.Query()); err == nil {
			t.Errorf("%s: %d leaves", name, len(found.Leaves))
		}
	}
}

// broken keeps nothing.
type broken struct{ err error }

func (b broken) Load(string) (lookup.Cursor, error)                      { return lookup.Cursor{}, nil }
func (b broken) Save(string, lookup.Cursor, lookup.Cursor) (bool, error) { return false, b.err }

// TestScanMixed: entries of Rekor v1 decide as well, so that a scan beside it
// says nothing of how much is known: only the index does, where it answers.
func TestScanMixed(t *testing.T) {
	c := bindtest.NewChained(t, 1, 2)
	bodies := c.Inst.BodiesV2()
	log := &bindtest.Tiles{Bodies: bodies, Checkpoint: c.Inst.CheckpointV2(bodies, c.Inst.Origin())}
	state := bindtest.NewState(t)
	found, err := c.Scan(log, state).Find(t.Context(), c.Query())
	if err != nil || found.Completeness != chain.CompleteNone || len(found.Leaves) != 4 {
		t.Fatalf("%s, %d leaves, %v", found.Completeness, len(found.Leaves), err)
	}
	for name, x := range map[string]struct {
		reply string
		want  chain.Completeness
	}{
		"answers":  {bindtest.List(c.Names...)(), chain.CompleteHinted},
		"does not": {"<!doctype html>", chain.CompleteNone},
	} {
		x := x
		for _, first := range []bool{true, false} {
			lookups := []bindings.Lookup{
				c.Hint(&bindtest.Index{List: func() string { return x.reply }}), c.Scan(log, state),
			}
			if !first {
				slices.Reverse(lookups)
			}
			res := c.Resolve(c.Files, lookups...)
			if got := res.Chain.View().Completeness; got != x.want ||
				(bindtest.Decide(res.Chain) == policy.BelowRequired) != (x.want == chain.CompleteNone) {
				t.Errorf("the index %s: %s, decided %s", name, got, bindtest.Decide(res.Chain))
			}
		}
	}
}

// TestScanRefuses: what cannot be scanned, or kept, is an error.
func TestScanRefuses(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	good := c.Honest()
	if s := c.Scan(good, broken{errors.New("disk full")}); s.Name() == "" {
		t.Error("no name")
	} else if _, err := s.Find(t.Context(), c.Query()); err == nil {
		t.Error("the disk is full")
	}
	s := c.Scan(good, bindtest.NewState(t))
	s.Clients = nil
	if _, err := s.Find(t.Context(), c.Query()); err == nil {
		t.Error("nobody can be asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = c.Scan(good, bindtest.NewState(t))
	s.Progress = func(_ string, done, total int64) {
		if done > total || total != int64(len(good.Bodies)) {
			t.Errorf("%d of %d", done, total)
		}
		cancel()
	}
	if _, err := s.Find(ctx, c.Query()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	s = c.Scan(good, bindtest.NewState(t))
	s.Root = c.RootWith(1)
	if _, err := s.Find(t.Context(), c.Query()); err == nil {
		t.Error("a root without a log to scan")
	}
	srv := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }),
	)
	srv.Close()
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	s = c.Scan(good, bindtest.NewState(t))
	s.Clients[c.Root.Logs()[0].ID] = client
	if _, err := s.Find(t.Context(), c.Query()); err == nil {
		t.Error("nobody listens")
	}
}
