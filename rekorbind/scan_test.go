// SPDX-License-Identifier: Apache-2.0

package rekorbind

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

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestScan: of what a log may show at first contact, only entries that give the
// root of a checkpoint of its own are read.
func TestScan(t *testing.T) {
	c := newChained(t, 2)
	good := c.honest()
	origin := c.inst.Origin()
	n := len(good.bodies)
	sigless, _, _ := strings.Cut(string(good.checkpoint), "\n\n")
	swapped := slices.Clone(good.bodies)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for name, x := range map[string]struct {
		log  tiles
		want outcome
	}{
		"honest":                   {*good, scanned},
		"honest, whole tiles":      {tiles{bodies: slices.Concat(c.inst.BodiesV2(), fillers(2*TileEntries-len(c.inst.BodiesV2()))), checkpoint: c.inst.CheckpointV2(slices.Concat(c.inst.BodiesV2(), fillers(2*TileEntries-len(c.inst.BodiesV2()))), origin)}, scanned},
		"more entries than signed": {tiles{bodies: append(slices.Clone(good.bodies), fillers(10)...), checkpoint: good.checkpoint}, scanned},
		"extension lines":          {tiles{bodies: good.bodies, checkpoint: c.inst.CheckpointV2(good.bodies, origin, "999999", "AAAA", "Timestamp: 1", origin)}, scanned},
		"further signatures":       {tiles{bodies: good.bodies, checkpoint: append(slices.Clone(good.checkpoint), "— witness.example AAAAAAAA\n"...)}, scanned},

		"no checkpoint":              {tiles{bodies: good.bodies}, unavailable},
		"unsigned":                   {tiles{bodies: good.bodies, checkpoint: []byte(sigless + "\n")}, unavailable},
		"no signature line":          {tiles{bodies: good.bodies, checkpoint: []byte(sigless + "\n\n")}, unavailable},
		"signature of nobody":        {tiles{bodies: good.bodies, checkpoint: []byte(sigless + "\n\n— " + origin + " AAAAAAAA\n")}, unavailable},
		"another key":                {tiles{bodies: good.bodies, checkpoint: sigstoretest.New(t).CheckpointV2(good.bodies, origin)}, unavailable},
		"another origin":             {tiles{bodies: good.bodies, checkpoint: c.inst.CheckpointV2(good.bodies, "log2025-1.rekor.example")}, unavailable},
		"origin with a path":         {tiles{bodies: good.bodies, checkpoint: c.inst.CheckpointV2(good.bodies, origin+"/v2")}, unavailable},
		"a size that was not signed": {tiles{bodies: good.bodies, checkpoint: bytes.Replace(good.checkpoint, fmt.Appendf(nil, "\n%d\n", n), fmt.Appendf(nil, "\n%d\n", n-1), 1)}, unavailable},
		"cut checkpoint":             {tiles{bodies: good.bodies, checkpoint: good.checkpoint[:len(good.checkpoint)-10]}, unavailable},
		"a page":                     {tiles{bodies: good.bodies, checkpoint: []byte("<!doctype html>\n")}, unavailable},
		"large checkpoint":           {tiles{bodies: good.bodies, checkpoint: append(slices.Clone(good.checkpoint), bytes.Repeat([]byte("— w.example AAAAAAAA\n"), maxCheckpoint/20)...)}, unavailable},
		"fewer entries than signed":  {tiles{bodies: good.bodies[:n-1], checkpoint: good.checkpoint}, unavailable},
		"no entries":                 {tiles{checkpoint: good.checkpoint}, unavailable},

		"another entry":   {tiles{bodies: append(slices.Clone(good.bodies[:n-1]), []byte("{}")), checkpoint: good.checkpoint}, alarm},
		"swapped entries": {tiles{bodies: swapped, checkpoint: good.checkpoint}, alarm},

		"no tile":         {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(int, int, []byte) []byte { return nil }}, unavailable},
		"empty tile":      {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(int, int, []byte) []byte { return []byte{} }}, unavailable},
		"cut tile":        {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(_, _ int, d []byte) []byte { return d[:len(d)-1] }}, unavailable},
		"cut at a length": {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(_, _ int, d []byte) []byte { return append(d, 0) }}, unavailable},
		"one more":        {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(_, _ int, d []byte) []byte { return append(d, 0, 0) }}, unavailable},
		"one less":        {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(_, _ int, d []byte) []byte { return d[2+binary.BigEndian.Uint16(d):] }}, unavailable},
		"tile too large":  {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(_, _ int, d []byte) []byte { return append(d, make([]byte, TileEntries*(64<<10+2))...) }}, unavailable},
		"a flipped bit": {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(n, _ int, d []byte) []byte {
			if n == 1 {
				d[len(d)-1] ^= 1
			}
			return d
		}}, alarm},
		"first tile again": {tiles{bodies: good.bodies, checkpoint: good.checkpoint, tile: func(n, w int, d []byte) []byte {
			if n == 1 {
				return joinTile(good.bodies[:w])
			}
			return d
		}}, alarm},
	} {
		t.Run(name, func(t *testing.T) {
			state := NewState(t)
			found, _ := c.expect(t, c.scan(&x.log, state), x.want)
			if x.want == scanned && len(found.Leaves) != 4 {
				t.Errorf("%d leaves", len(found.Leaves))
			}
			// What was not read as a whole is not kept.
			kept, err := state.Load(c.root.Logs()[0].ID)
			if err != nil || (kept.Size != 0) != (x.want == scanned) || x.want == scanned && !bytes.Equal(kept.Checkpoint, x.log.checkpoint) {
				t.Errorf("%d entries are kept (%v)", kept.Size, err)
			}
		})
	}
}

// TestScanAgain: at every later contact the log goes on from what it showed.
func TestScanAgain(t *testing.T) {
	c := newChained(t, 2)
	good := c.honest()
	origin := c.inst.Origin()
	n := len(good.bodies)
	show := func(bodies [][]byte) tiles {
		return tiles{bodies: bodies, checkpoint: c.inst.CheckpointV2(bodies, origin)}
	}
	fork := slices.Clone(good.bodies)
	fork[n-1] = []byte("{}")
	grown := slices.Concat(good.bodies, fillers(5))
	early := slices.Concat(c.inst.BodiesV2(), [][]byte{[]byte("{}")}, fillers(299))
	for name, x := range map[string]struct {
		log    tiles
		want   outcome
		rescan outcome // if everything is read again
	}{
		"the same":          {*good, scanned, scanned},
		"signed again":      {show(good.bodies), scanned, scanned},
		"grown":             {show(grown), scanned, scanned},
		"smaller by one":    {show(good.bodies[:n-1]), unavailable, unavailable},
		"smaller, forked":   {show(fork[:n-1]), unavailable, unavailable},
		"empty":             {show(nil), unavailable, unavailable},
		"forked":            {show(fork), alarm, alarm},
		"forked and grown":  {show(append(slices.Clone(fork), fillers(5)...)), alarm, alarm},
		"forked long ago":   {show(append(slices.Clone(early), fillers(5)...)), alarm, alarm},
		"fork of old tiles": {tiles{bodies: grown, checkpoint: c.inst.CheckpointV2(append(slices.Clone(fork), fillers(5)...), origin)}, alarm, alarm},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprint(name, again), func(t *testing.T) {
				state := NewState(t)
				c.expect(t, c.scan(good, state), scanned)
				id := c.root.Logs()[0].ID
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
				found, err := c.expect(t, c.scan(&log, state), want)
				if want == scanned {
					tile := slices.ContainsFunc(log.read, func(p string) bool { return strings.Contains(p, "/000") })
					if len(found.Leaves) != 4 || tile != again {
						t.Errorf("%d leaves, read %v", len(found.Leaves), log.read)
					}
					// Once is enough.
					log.read = nil
					c.expect(t, c.scan(&log, state), scanned)
					if slices.ContainsFunc(log.read, func(p string) bool { return strings.Contains(p, "/tile/") }) {
						t.Errorf("read again: %v", log.read)
					}
					return
				}
				after, loadErr := state.Load(id)
				if a, b := fmt.Sprint(after), fmt.Sprint(before); loadErr != nil || a != b {
					t.Errorf("the cursor was changed (%v)", loadErr)
				}
				var f *Fork
				if errors.As(err, &f) {
					var doc map[string]string
					if err := json.Unmarshal(f.Bytes(), &doc); err != nil || doc["seen"] != string(good.checkpoint) || doc["new"] != string(log.checkpoint) || doc["log"] == "" || doc["why"] == "" {
						t.Errorf("the evidence is %s (%v)", f.Bytes(), err)
					}
				}
				// The honest log is still believed.
				c.expect(t, c.scan(good, state), scanned)
			})
		}
	}
}

// racing saves as another process would that was here in between.
type racing struct {
	Cursors
	before func()
}

func (r *racing) Save(log string, old, next Cursor) (bool, error) {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.Cursors.Save(log, old, next)
}

// TestScanRace: two processes to which a log shows two histories notice.
func TestScanRace(t *testing.T) {
	c := newChained(t, 2)
	good := c.honest()
	fork := slices.Clone(good.bodies)
	fork[len(fork)-1] = []byte("{}")
	for name, x := range map[string]struct {
		bodies [][]byte
		fork   bool
	}{"the same": {good.bodies, false}, "another": {fork, true}} {
		state := NewState(t)
		other := c.scan(good, state)
		s := c.scan(&tiles{bodies: x.bodies, checkpoint: c.inst.CheckpointV2(x.bodies, c.inst.Origin())}, &racing{state, func() {
			if _, err := other.Find(t.Context(), c.query()); err != nil {
				t.Error(err)
			}
		}})
		found, err := s.Find(t.Context(), c.query())
		if errors.Is(err, ErrLogFork) != x.fork || (err == nil) == x.fork || !x.fork && len(found.Leaves) != 4 {
			t.Errorf("%s: %d leaves, %v", name, len(found.Leaves), err)
		}
	}
}

// TestScanCursor: a kept cursor that cannot be true is an error.
func TestScanCursor(t *testing.T) {
	c := newChained(t, 2)
	good := c.honest()
	id := c.root.Logs()[0].ID
	hash := strings.Repeat("a", 64)
	for name, change := range map[string]func(*Cursor){
		"negative size":    func(k *Cursor) { k.Size = -1 },
		"the least size":   func(k *Cursor) { k.Size, k.Hashes = -1<<63, []string{hash} },
		"-1 and 64 hashes": func(k *Cursor) { k.Size, k.Hashes = -1, slices.Repeat([]string{hash}, 64) },
		"no hashes":        func(k *Cursor) { k.Hashes = nil },
		"one more hash":    func(k *Cursor) { k.Hashes = append(k.Hashes, hash) },
		"no hex":           func(k *Cursor) { k.Hashes[0] = "x" },
		"half a hash":      func(k *Cursor) { k.Hashes[0] = k.Hashes[0][2:] },
		"another hash":     func(k *Cursor) { k.Hashes[0] = hash },
		"larger":           func(k *Cursor) { k.Size, k.Hashes = 1<<62, []string{hash} },
		"changed binding": func(k *Cursor) {
			k.Bindings[0].Body = bytes.Replace(k.Bindings[0].Body, []byte("SHA2_256"), []byte("SHA2_257"), 1)
		},
		"cut binding":   func(k *Cursor) { k.Bindings[0].Body = k.Bindings[0].Body[1:] },
		"empty binding": func(k *Cursor) { k.Bindings[0].Body = nil },
	} {
		state := NewState(t)
		c.expect(t, c.scan(good, state), scanned)
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
		if found, err := c.scan(good, state).Find(t.Context(), c.query()); err == nil {
			t.Errorf("%s: %d leaves", name, len(found.Leaves))
		}
	}
}

// broken keeps nothing.
type broken struct{ err error }

func (b broken) Load(string) (Cursor, error)               { return Cursor{}, nil }
func (b broken) Save(string, Cursor, Cursor) (bool, error) { return false, b.err }

// TestScanMixed: entries of Rekor v1 decide as well, so that a scan beside it
// says nothing of how much is known: only the index does, where it answers.
func TestScanMixed(t *testing.T) {
	c := newChained(t, 1, 2)
	bodies := c.inst.BodiesV2()
	log := &tiles{bodies: bodies, checkpoint: c.inst.CheckpointV2(bodies, c.inst.Origin())}
	state := NewState(t)
	found, err := c.scan(log, state).Find(t.Context(), c.query())
	if err != nil || found.Completeness != chain.CompleteNone || len(found.Leaves) != 4 {
		t.Fatalf("%s, %d leaves, %v", found.Completeness, len(found.Leaves), err)
	}
	for name, x := range map[string]struct {
		reply string
		want  chain.Completeness
	}{"answers": {list(c.names...)(), chain.CompleteHinted}, "does not": {"<!doctype html>", chain.CompleteNone}} {
		x := x
		for _, first := range []bool{true, false} {
			lookups := []Lookup{c.hint(&index{list: func() string { return x.reply }}), c.scan(log, state)}
			if !first {
				slices.Reverse(lookups)
			}
			res := c.resolve(c.files, lookups...)
			if got := res.Chain.View().Completeness; got != x.want || (decide(res.Chain) == policy.BelowRequired) != (x.want == chain.CompleteNone) {
				t.Errorf("the index %s: %s, decided %s", name, got, decide(res.Chain))
			}
		}
	}
}

// TestScanRefuses: what cannot be scanned, or kept, is an error.
func TestScanRefuses(t *testing.T) {
	c := newChained(t, 2)
	good := c.honest()
	if s := c.scan(good, broken{errors.New("disk full")}); s.Name() == "" {
		t.Error("no name")
	} else if _, err := s.Find(t.Context(), c.query()); err == nil {
		t.Error("the disk is full")
	}
	s := c.scan(good, NewState(t))
	s.Clients = nil
	if _, err := s.Find(t.Context(), c.query()); err == nil {
		t.Error("nobody can be asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = c.scan(good, NewState(t))
	s.Progress = func(_ string, done, total int64) {
		if done > total || total != int64(len(good.bodies)) {
			t.Errorf("%d of %d", done, total)
		}
		cancel()
	}
	if _, err := s.Find(ctx, c.query()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	s = c.scan(good, NewState(t))
	s.Root = c.rootWith(1)
	if _, err := s.Find(t.Context(), c.query()); err == nil {
		t.Error("a root without a log to scan")
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
	srv.Close()
	client, err := web.New(srv.URL, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	s = c.scan(good, NewState(t))
	s.Clients[c.root.Logs()[0].ID] = client
	if _, err := s.Find(t.Context(), c.query()); err == nil {
		t.Error("nobody listens")
	}
}
