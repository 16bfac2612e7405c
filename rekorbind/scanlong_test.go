// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestScanProgress: what a long scan has read and proven is kept when it ends
// early, and nothing else.
func TestScanProgress(t *testing.T) {
	c := newChained(t, 2)
	id := c.root.Logs()[0].ID
	const n = 5
	honest := c.long(n)
	fork := slices.Clone(honest.bodies)
	fork[TileEntries+3] = []byte("{}")
	broken := func(at int) func(int, int, []byte) []byte {
		return func(n, _ int, d []byte) []byte {
			if n >= at {
				return nil
			}
			return d
		}
	}
	for name, x := range map[string]struct {
		first tiles
		kept  int64 // entries
		want  outcome
		then  tiles
		after outcome
		from  int // tile at which the second run begins
	}{
		"cut short":             {tiles{tile: broken(4)}, 4 * TileEntries, unavailable, tiles{}, scanned, 4},
		"cut short at once":     {tiles{tile: broken(1)}, 0, unavailable, tiles{}, scanned, 0},
		"no hashes":             {tiles{tile: broken(4), hashes: []tlog.Hash{}}, 0, unavailable, tiles{}, scanned, 0},
		"hashes of a fork":      {*(&tiles{tile: broken(4)}).withHashes(t, fork), 0, unavailable, tiles{}, scanned, 0},
		"entries of a fork":     {tiles{bodies: fork}, 0, alarm, tiles{}, scanned, 0},
		"a fork later":          {tiles{tile: broken(4)}, 4 * TileEntries, unavailable, tiles{bodies: fork, checkpoint: c.inst.CheckpointV2(fork, c.inst.Origin())}, alarm, 4},
		"smaller than was seen": {tiles{tile: broken(4)}, 4 * TileEntries, unavailable, tiles{checkpoint: c.inst.CheckpointV2(honest.bodies[:4*TileEntries+1], c.inst.Origin())}, unavailable, -1},
		"partial tiles gone":    {tiles{pruned: true}, 0, unavailable, tiles{}, scanned, 0},
	} {
		t.Run(name, func(t *testing.T) {
			log := func(x tiles) *tiles {
				if x.bodies == nil {
					x.bodies = honest.bodies
				}
				if x.checkpoint == nil {
					x.checkpoint = honest.checkpoint
				}
				if x.hashes == nil {
					x.hashes = honest.hashes
				}
				return &x
			}
			state := NewState(t)
			s := c.scan(log(x.first), state)
			s.SetEvery(2 * TileEntries)
			c.expect(t, s, x.want)
			kept, err := state.Load(id)
			if err != nil || kept.Size != x.kept {
				t.Fatalf("%d entries are kept, want %d (%v)", kept.Size, x.kept, err)
			}
			then := log(x.then)
			s = c.scan(then, state)
			s.SetEvery(2 * TileEntries)
			found, _ := c.expect(t, s, x.after)
			if x.after == scanned && len(found.Leaves) != 4 {
				t.Errorf("%d leaves", len(found.Leaves))
			}
			read := entryTiles(then.read)
			if x.from < 0 {
				if len(read) > 0 {
					t.Errorf("read %v", read)
				}
			} else if len(read) == 0 || !strings.HasSuffix(read[0], fmt.Sprintf("%03d", x.from)) {
				t.Errorf("began with %v, want tile %d", read, x.from)
			}
		})
	}
}

// TestScanForgetsNothing: a run that ends early has not shown yet that the log goes
// on from what was seen before it, and the next one still demands that.
func TestScanForgetsNothing(t *testing.T) {
	c := newChained(t, 2)
	id := c.root.Logs()[0].ID
	honest := c.long(5)
	fork := slices.Clone(honest.bodies)
	fork[3*TileEntries+1] = []byte("{}")
	fork = append(fork, fillers(TileEntries)...)
	liar := func() *tiles {
		return (&tiles{bodies: fork, checkpoint: c.inst.CheckpointV2(fork, c.inst.Origin())}).withHashes(t, fork)
	}
	state := NewState(t)
	c.expect(t, c.scan(honest, state), scanned)
	before, err := state.Load(id)
	check(t, err)
	again := before // to be read again, under another mapping
	again.Map = "another"
	if ok, err := state.Save(id, before, again); !ok || err != nil {
		t.Fatal(ok, err)
	}
	early := *honest
	early.tile = func(n, _ int, d []byte) []byte {
		if n > 2 {
			return nil
		}
		return d
	}
	s := c.scan(&early, state)
	s.SetEvery(TileEntries)
	c.expect(t, s, unavailable)
	kept, err := state.Load(id)
	if err != nil || kept.Size != 3*TileEntries || kept.Tree != before.Tree || !bytes.Equal(kept.Checkpoint, before.Checkpoint) {
		t.Fatalf("%d entries are kept, of %+v (%v)", kept.Size, kept.Tree, err)
	}
	s = c.scan(liar(), state)
	s.SetEvery(TileEntries)
	c.expect(t, s, unavailable) // its tiles do not prove the tree that was seen
	if after, err := state.Load(id); err != nil || after.Size != kept.Size || after.Tree != kept.Tree {
		t.Errorf("%d entries are kept, of %+v (%v)", after.Size, after.Tree, err)
	}
	c.expect(t, c.scan(liar(), state), alarm)
	s = c.scan(honest, state)
	s.SetEvery(TileEntries)
	if found, _ := c.expect(t, s, scanned); len(found.Leaves) != 4 {
		t.Errorf("%d leaves", len(found.Leaves))
	}
}

// TestScanShown: the log that is read is the one that bundles are from.
func TestScanShown(t *testing.T) {
	c := newChained(t, 2)
	forked := c.inst.Fork()
	bodies := c.inst.BodiesV2()
	log := &tiles{bodies: bodies, checkpoint: c.inst.CheckpointV2(bodies, c.inst.Origin())}
	sign := func(i *sigstoretest.Instance) File {
		r := sigstoretest.Request{Statement: c.one, SAN: "alice@example.com", Issuer: "https://accounts.google.com", Log: sigstoretest.LogV2, TSA: true, At: c.next()}
		r.Mutate = func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].LogId.KeyId = shardID
		}
		return File{SignatureName(1, []byte(fmt.Sprint(c.at)), false), i.Sign(r)}
	}
	mine, other := sign(c.inst), sign(forked)
	grown := c.inst.BodiesV2()
	now := &tiles{bodies: grown, checkpoint: c.inst.CheckpointV2(grown, c.inst.Origin())}
	more := slices.Concat(grown, fillers(9))
	later := &tiles{bodies: more, checkpoint: c.inst.CheckpointV2(more, c.inst.Origin())}
	for name, x := range map[string]struct {
		before *tiles // that was read before; nil if none was
		log    *tiles
		files  []File
		want   policy.Class
		done   chain.Completeness
	}{
		"the same":               {nil, now, []File{mine}, policy.ClassDeny, chain.CompleteScanned},
		"the same, again":        {now, now, []File{mine}, policy.ClassDeny, chain.CompleteScanned},
		"older than the bundle":  {nil, log, []File{mine}, policy.ClassUnavailable, chain.CompleteNone},
		"another history":        {nil, now, []File{other}, policy.ClassAlarm, chain.CompleteNone},
		"another history, again": {now, now, []File{other}, policy.ClassAlarm, chain.CompleteNone},
		"another history, grown": {now, later, []File{other}, policy.ClassAlarm, chain.CompleteNone},
		"older, again":           {later, later, []File{mine}, policy.ClassDeny, chain.CompleteScanned},
		"another history, older": {later, later, []File{other}, policy.ClassAlarm, chain.CompleteNone},
	} {
		state := NewState(t)
		if x.before != nil {
			c.expect(t, c.scan(x.before, state), scanned)
		}
		res := c.resolve(append(slices.Clone(c.files), x.files...), c.scan(x.log, state))
		if len(res.Ignored) > 0 || decide(res.Chain).Class() != x.want || res.Chain.View().Completeness != x.done || (res.Fork != nil) != (x.want == policy.ClassAlarm) {
			t.Errorf("%s: %s, %s, ignored %v, failed %v", name, decide(res.Chain), res.Chain.View().Completeness, res.Ignored, res.Failed)
		}
	}
}

// TestScanPartial: a partial tile that is gone is the beginning of the full one.
func TestScanPartial(t *testing.T) {
	c := newChained(t, 2)
	good := c.honest()
	grown := slices.Concat(good.bodies, fillers(2*TileEntries))
	other := slices.Clone(grown)
	other[len(good.bodies)-1] = []byte("{}")
	for name, x := range map[string]struct {
		log  tiles
		want outcome
	}{
		"full":              {tiles{bodies: grown, checkpoint: good.checkpoint, pruned: true}, scanned},
		"full of a fork":    {tiles{bodies: other, checkpoint: good.checkpoint, pruned: true}, alarm},
		"neither":           {tiles{bodies: good.bodies, checkpoint: good.checkpoint, pruned: true}, unavailable},
		"full one too long": {tiles{bodies: grown, checkpoint: good.checkpoint, pruned: true, tile: func(_, _ int, d []byte) []byte { return append(d, 0, 0) }}, unavailable},
		"full one partial":  {tiles{bodies: grown, checkpoint: good.checkpoint, pruned: true, tile: func(n, _ int, d []byte) []byte { return joinTile(grown[n*TileEntries:][:255]) }}, unavailable},
		"partial one full":  {tiles{bodies: grown, checkpoint: good.checkpoint, tile: func(n, _ int, d []byte) []byte { return joinTile(grown[n*TileEntries:][:256]) }}, unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			found, _ := c.expect(t, c.scan(&x.log, NewState(t)), x.want)
			if x.want == scanned && len(found.Leaves) != 4 {
				t.Errorf("%d leaves", len(found.Leaves))
			}
		})
	}
}

// TestScanDeadline: a log that answers ever so slowly does not hold a run.
func TestScanDeadline(t *testing.T) {
	c := newChained(t, 2)
	log := c.long(4)
	log.latency = func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/003") {
			<-r.Context().Done()
		}
	}
	state := NewState(t)
	s := c.scan(log, state)
	s.SetTimeout(2 * time.Second)
	s.SetEvery(TileEntries)
	start := time.Now()
	_, err := s.Find(t.Context(), c.query())
	if err == nil || !strings.Contains(err.Error(), "not done after 2s") || time.Since(start) > time.Minute {
		t.Fatalf("%v after %s", err, time.Since(start))
	}
	if kept, err := state.Load(c.root.Logs()[0].ID); err != nil || kept.Size != 3*TileEntries {
		t.Errorf("%d entries are kept (%v)", kept.Size, err)
	}
}

// TestCursorNarrow: whoever fills a log with bindings fills no state, and hides
// none of another repository.
func TestCursorNarrow(t *testing.T) {
	other := locator(t, "https://github.com/acme/other")
	block := bytes.Repeat([]byte("x"), 1<<20)
	r, err := resume(Cursor{}, "map", []string{widget})
	if err != nil {
		t.Fatal(err)
	}
	take := func(body []byte, repo string) {
		t.Helper()
		if err := r.Take(body, Keys(chain.Binding{Repository: locator(t, repo), RepositoryID: "1", OwnerID: "2"})); err != nil {
			t.Fatal(err)
		}
	}
	take([]byte("first"), widget)
	for i := range maxForeign / len(block) {
		take(block, fmt.Sprintf("https://github.com/acme/%d", i))
	}
	if r.Narrow || len(r.Bindings) != 9 {
		t.Fatalf("narrow %v, %d bindings", r.Narrow, len(r.Bindings))
	}
	take([]byte("x"), other.String())
	take([]byte("last"), widget)
	take(block, other.String())
	if !r.Narrow || len(r.Bindings) != 2 || r.Bindings[0].Index != 0 || r.Bindings[1].Index != 10 || r.Size != 12 {
		t.Fatalf("narrow %v, %+v, size %d", r.Narrow, r.Bindings, r.Size)
	}
	kept := r.Cursor
	tree, root, err := r.Hashes()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range tree.Hashes() {
		kept.Hashes = append(kept.Hashes, fmt.Sprintf("%x", h))
	}
	kept.Tree = Tree{kept.Size, root}
	for name, x := range map[string]struct {
		mapping string
		repo    policy.Locator
		size    int64
		narrow  bool
		asked   int
	}{
		"the same":           {"map", locator(t, widget), 12, true, 1},
		"another repository": {"map", other, 0, true, 2},
		"under another root": {"other", locator(t, widget), 0, false, 1},
		"both":               {"other", other, 0, false, 2},
	} {
		r, err := resume(kept, x.mapping, []string{x.repo.String()})
		if err != nil || r.Size != x.size || r.Narrow != x.narrow || len(r.Asked) != x.asked || (r.Size == 0) != (len(r.Bindings) == 0) {
			t.Errorf("%s: size %d, narrow %v, asked %v, %v", name, r.Size, r.Narrow, r.Asked, err)
		}
	}
	for i := range maxAsked {
		r, err := resume(kept, "map", []string{fmt.Sprintf("https://github.com/acme/r%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		kept = r.Cursor
		kept.Asked = r.Asked
	}
	if len(kept.Asked) != maxAsked || slices.Contains(kept.Asked, widget) {
		t.Errorf("%d are remembered", len(kept.Asked))
	}

	// A log of which only another repository's bindings were kept is read again.
	c := newChained(t, 2)
	state := NewState(t)
	good := c.honest()
	c.expect(t, c.scan(good, state), scanned)
	id := c.root.Logs()[0].ID
	old, err := state.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	next := old
	next.Asked, next.Narrow, next.Bindings = []string{other.String()}, true, nil
	if ok, err := state.Save(id, old, next); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if found, _ := c.expect(t, c.scan(good, state), scanned); len(found.Leaves) != 4 {
		t.Errorf("%d leaves", len(found.Leaves))
	}
}

// scanLog is a log of n entries, of which every one or none is a binding.
func scanLog(b *testing.B, n int, ours bool) (*chained, *tiles) {
	c := newChained(b, 2)
	base := len(c.inst.BodiesV2())
	for range n {
		r := workflow(widget, c.one)
		if !ours {
			r = workflow("https://github.com/acme/other", c.one)
			r.Extensions[20] = "push" // as most entries: a workflow that binds nothing
		}
		c.log(r)
	}
	bodies := c.inst.BodiesV2()[base:]
	return c, &tiles{bodies: bodies, checkpoint: c.inst.CheckpointV2(bodies, c.inst.Origin())}
}

// BenchmarkScan reads a log of 2,048 entries: none or all of them bindings of the
// repository, each with a certificate of its own.
func BenchmarkScan(b *testing.B) {
	const n = 2048
	for _, ours := range []bool{false, true} {
		c, log := scanLog(b, n, ours)
		b.Run(map[bool]string{false: "foreign", true: "ours"}[ours], func(b *testing.B) {
			for b.Loop() {
				s := c.scan(log, NewState(b))
				s.Root = c.rootWith(2) // a root remembers certificates
				found, err := s.Find(b.Context(), c.query())
				if err != nil || ours != (len(found.Leaves) == n) {
					b.Fatal(len(found.Leaves), err)
				}
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
	c, log := scanLog(b, n, false)
	b.Run("hashing alone", func(b *testing.B) {
		client := c.scan(log, NewState(b)).Clients[c.root.Logs()[0].ID]
		for b.Loop() {
			r, err := resume(Cursor{}, "", []string{widget})
			if err != nil {
				b.Fatal(err)
			}
			for r.Size < n {
				entries, err := NewTiles(b.Context(), client).Entries(r.Size, n)
				if err != nil {
					b.Fatal(err)
				}
				for _, e := range entries {
					if err := r.Take(e, nil); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}
