// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestScanProgress: what a long scan has read and proven is kept when it ends
// early, and nothing else.
func TestScanProgress(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	id := c.Root.Logs()[0].ID
	const n = 5
	honest := c.Long(n)
	fork := slices.Clone(honest.Bodies)
	fork[rekor.TileEntries+3] = []byte("{}")
	broken := func(at int) func(int, int, []byte) []byte {
		return func(n, _ int, d []byte) []byte {
			if n >= at {
				return nil
			}
			return d
		}
	}
	for name, x := range map[string]struct {
		first bindtest.Tiles
		kept  int64 // entries
		want  bindtest.Outcome
		then  bindtest.Tiles
		after bindtest.Outcome
		from  int // tile at which the second run begins
	}{
		"cut short": {
			bindtest.Tiles{Tile: broken(4)}, 4 * rekor.TileEntries, bindtest.Unavailable, bindtest.Tiles{}, bindtest.Scanned, 4,
		},
		"cut short at once": {
			bindtest.Tiles{Tile: broken(1)}, 0, bindtest.Unavailable, bindtest.Tiles{}, bindtest.Scanned, 0,
		},
		"no hashes": {
			bindtest.Tiles{Tile: broken(4), Hashes: []tlog.Hash{}}, 0, bindtest.Unavailable, bindtest.Tiles{}, bindtest.Scanned,
			0,
		},
		"hashes of a fork": {
			*(&bindtest.Tiles{Tile: broken(4)}).WithHashes(t, fork), 0, bindtest.Unavailable, bindtest.Tiles{}, bindtest.Scanned,
			0,
		},
		"entries of a fork": {bindtest.Tiles{Bodies: fork}, 0, bindtest.Alarm, bindtest.Tiles{}, bindtest.Scanned, 0},
		"a fork later": {
			bindtest.Tiles{Tile: broken(4)}, 4 * rekor.TileEntries, bindtest.Unavailable,
			bindtest.Tiles{Bodies: fork, Checkpoint: c.Inst.CheckpointV2(fork, c.Inst.Origin())}, bindtest.Alarm, 4,
		},
		"smaller than was seen": {
			bindtest.Tiles{Tile: broken(4)}, 4 * rekor.TileEntries, bindtest.Unavailable,
			bindtest.Tiles{Checkpoint: c.Inst.CheckpointV2(honest.Bodies[:4*rekor.TileEntries+1], c.Inst.Origin())},
			bindtest.Unavailable, -1,
		},
		"partial tiles gone": {bindtest.Tiles{Pruned: true}, 0, bindtest.Unavailable, bindtest.Tiles{}, bindtest.Scanned, 0},
	} {
		t.Run(name, func(t *testing.T) {
			log := func(x bindtest.Tiles) *bindtest.Tiles {
				if x.Bodies == nil {
					x.Bodies = honest.Bodies
				}
				if x.Checkpoint == nil {
					x.Checkpoint = honest.Checkpoint
				}
				if x.Hashes == nil {
					x.Hashes = honest.Hashes
				}
				return &x
			}
			state := bindtest.NewState(t)
			s := c.Scan(log(x.first), state)
			s.SetEvery(2 * rekor.TileEntries)
			c.Expect(t, s, x.want)
			kept, err := state.Load(id)
			if err != nil || kept.Size != x.kept {
				t.Fatalf("%d entries are kept, want %d (%v)", kept.Size, x.kept, err)
			}
			then := log(x.then)
			s = c.Scan(then, state)
			s.SetEvery(2 * rekor.TileEntries)
			found, _ := c.Expect(t, s, x.after)
			if x.after == bindtest.Scanned && len(found.Leaves) != 4 {
				t.Errorf("%d leaves", len(found.Leaves))
			}
			read := bindtest.EntryTiles(then.Read)
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
	c := bindtest.NewChained(t, 2)
	id := c.Root.Logs()[0].ID
	honest := c.Long(5)
	fork := slices.Clone(honest.Bodies)
	fork[3*rekor.TileEntries+1] = []byte("{}")
	fork = append(fork, bindtest.Fillers(rekor.TileEntries)...)
	liar := func() *bindtest.Tiles {
		return (&bindtest.Tiles{Bodies: fork, Checkpoint: c.Inst.CheckpointV2(fork, c.Inst.Origin())}).WithHashes(
			t, fork,
		)
	}
	state := bindtest.NewState(t)
	c.Expect(t, c.Scan(honest, state), bindtest.Scanned)
	before, err := state.Load(id)
	bindtest.Check(t, err)
	again := before // to be read again, under another mapping
	again.Map = "another"
	if ok, err := state.Save(id, before, again); !ok || err != nil {
		t.Fatal(ok, err)
	}
	early := *honest
	early.Tile = func(n, _ int, d []byte) []byte {
		if n > 2 {
			return nil
		}
		return d
	}
	s := c.Scan(&early, state)
	s.SetEvery(rekor.TileEntries)
	c.Expect(t, s, bindtest.Unavailable)
	kept, err := state.Load(id)
	if err != nil || kept.Size != 3*rekor.TileEntries || kept.Tree != before.Tree ||
		!bytes.Equal(kept.Checkpoint, before.Checkpoint) {
		t.Fatalf("%d entries are kept, of %+v (%v)", kept.Size, kept.Tree, err)
	}
	s = c.Scan(liar(), state)
	s.SetEvery(rekor.TileEntries)
	c.Expect(t, s, bindtest.Unavailable) // its tiles do not prove the tree that was seen
	if after, err := state.Load(id); err != nil || after.Size != kept.Size || after.Tree != kept.Tree {
		t.Errorf("%d entries are kept, of %+v (%v)", after.Size, after.Tree, err)
	}
	c.Expect(t, c.Scan(liar(), state), bindtest.Alarm)
	s = c.Scan(honest, state)
	s.SetEvery(rekor.TileEntries)
	if found, _ := c.Expect(t, s, bindtest.Scanned); len(found.Leaves) != 4 {
		t.Errorf("%d leaves", len(found.Leaves))
	}
}

// TestScanShown: the log that is read is the one that bundles are from.
func TestScanShown(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	forked := c.Inst.Fork()
	bodies := c.Inst.BodiesV2()
	log := &bindtest.Tiles{Bodies: bodies, Checkpoint: c.Inst.CheckpointV2(bodies, c.Inst.Origin())}
	sign := func(i *sigstoretest.Instance) bindings.File {
		r := sigstoretest.Request{
			Statement: c.One, SAN: "alice@example.com", Issuer: "https://accounts.google.com",
			Log: sigstoretest.LogV2, TSA: true, At: c.Next(),
		}
		r.Mutate = func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].LogId.KeyId = bindtest.ShardID
		}
		return bindings.File{Name: bindings.SignatureName(1, []byte(fmt.Sprint(c.At)), false), Data: i.Sign(r)}
	}
	mine, other := sign(c.Inst), sign(forked)
	grown := c.Inst.BodiesV2()
	now := &bindtest.Tiles{Bodies: grown, Checkpoint: c.Inst.CheckpointV2(grown, c.Inst.Origin())}
	more := slices.Concat(grown, bindtest.Fillers(9))
	later := &bindtest.Tiles{Bodies: more, Checkpoint: c.Inst.CheckpointV2(more, c.Inst.Origin())}
	for name, x := range map[string]struct {
		before *bindtest.Tiles // that was read before; nil if none was
		log    *bindtest.Tiles
		files  []bindings.File
		want   policy.Class
		done   chain.Completeness
	}{
		"the same":               {nil, now, []bindings.File{mine}, policy.ClassDeny, chain.CompleteScanned},
		"the same, again":        {now, now, []bindings.File{mine}, policy.ClassDeny, chain.CompleteScanned},
		"older than the bundle":  {nil, log, []bindings.File{mine}, policy.ClassUnavailable, chain.CompleteNone},
		"another history":        {nil, now, []bindings.File{other}, policy.ClassAlarm, chain.CompleteNone},
		"another history, again": {now, now, []bindings.File{other}, policy.ClassAlarm, chain.CompleteNone},
		"another history, grown": {now, later, []bindings.File{other}, policy.ClassAlarm, chain.CompleteNone},
		"older, again":           {later, later, []bindings.File{mine}, policy.ClassDeny, chain.CompleteScanned},
		"another history, older": {later, later, []bindings.File{other}, policy.ClassAlarm, chain.CompleteNone},
	} {
		state := bindtest.NewState(t)
		if x.before != nil {
			c.Expect(t, c.Scan(x.before, state), bindtest.Scanned)
		}
		res := c.Resolve(append(slices.Clone(c.Files), x.files...), c.Scan(x.log, state))
		if len(res.Ignored) > 0 || bindtest.Decide(res.Chain).Class() != x.want ||
			res.Chain.View().Completeness != x.done ||
			(res.Fork != nil) != (x.want == policy.ClassAlarm) {
			t.Errorf(
				"%s: %s, %s, ignored %v, failed %v", name, bindtest.Decide(res.Chain), res.Chain.View().Completeness,
				res.Ignored, res.Failed,
			)
		}
	}
}

// TestScanPartial: a partial tile that is gone is the beginning of the full one.
func TestScanPartial(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	good := c.Honest()
	grown := slices.Concat(good.Bodies, bindtest.Fillers(2*rekor.TileEntries))
	other := slices.Clone(grown)
	other[len(good.Bodies)-1] = []byte("{}")
	for name, x := range map[string]struct {
		log  bindtest.Tiles
		want bindtest.Outcome
	}{
		"full":           {bindtest.Tiles{Bodies: grown, Checkpoint: good.Checkpoint, Pruned: true}, bindtest.Scanned},
		"full of a fork": {bindtest.Tiles{Bodies: other, Checkpoint: good.Checkpoint, Pruned: true}, bindtest.Alarm},
		"neither": {
			bindtest.Tiles{Bodies: good.Bodies, Checkpoint: good.Checkpoint, Pruned: true}, bindtest.Unavailable,
		},
		"full one too long": {
			bindtest.Tiles{
				Bodies: grown, Checkpoint: good.Checkpoint, Pruned: true,
				Tile: func(_, _ int, d []byte) []byte { return append(d, 0, 0) },
			},
			bindtest.Unavailable,
		},
		"full one partial": {
			bindtest.Tiles{
				Bodies: grown, Checkpoint: good.Checkpoint, Pruned: true,
				Tile: func(n, _ int, d []byte) []byte { return bindtest.JoinTile(grown[n*rekor.TileEntries:][:255]) },
			},
			bindtest.Unavailable,
		},
		"partial one full": {
			bindtest.Tiles{
				Bodies: grown, Checkpoint: good.Checkpoint,
				Tile: func(n, _ int, d []byte) []byte { return bindtest.JoinTile(grown[n*rekor.TileEntries:][:256]) },
			},
			bindtest.Unavailable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			found, _ := c.Expect(t, c.Scan(&x.log, bindtest.NewState(t)), x.want)
			if x.want == bindtest.Scanned && len(found.Leaves) != 4 {
				t.Errorf("%d leaves", len(found.Leaves))
			}
		})
	}
}

// TestScanDeadline: a log that answers ever so slowly does not hold a run.
func TestScanDeadline(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	log := c.Long(4)
	log.Latency = func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/003") {
			<-r.Context().Done()
		}
	}
	state := bindtest.NewState(t)
	s := c.Scan(log, state)
	s.SetTimeout(2 * time.Second)
	s.SetEvery(rekor.TileEntries)
	start := time.Now()
	_, err := s.Find(t.Context(), c.Query())
	if err == nil || !strings.Contains(err.Error(), "not done after 2s") || time.Since(start) > time.Minute {
		t.Fatalf("%v after %s", err, time.Since(start))
	}
	if kept, err := state.Load(c.Root.Logs()[0].ID); err != nil || kept.Size != 3*rekor.TileEntries {
		t.Errorf("%d entries are kept (%v)", kept.Size, err)
	}
}

// TestCursorNarrow: whoever fills a log with bindings fills no state, and hides
// none of another repository.
func TestCursorNarrow(t *testing.T) {
	other := bindtest.Locator(t, "https://github.com/acme/other")
	block := bytes.Repeat([]byte("x"), 1<<20)
	r, err := lookup.Resume(lookup.Cursor{}, "map", []string{bindtest.Widget})
	if err != nil {
		t.Fatal(err)
	}
	take := func(body []byte, repo string) {
		t.Helper()
		err := r.Take(
			body, bindings.Keys(chain.Binding{Repository: bindtest.Locator(t, repo), RepositoryID: "1", OwnerID: "2"}),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	take([]byte("first"), bindtest.Widget)
	for i := range lookup.MaxForeign / len(block) {
		take(block, fmt.Sprintf("https://github.com/acme/%d", i))
	}
	if r.Narrow || len(r.Bindings) != 9 {
		t.Fatalf("narrow %v, %d bindings", r.Narrow, len(r.Bindings))
	}
	take([]byte("x"), other.String())
	take([]byte("last"), bindtest.Widget)
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
	kept.Tree = rekor.Tree{Size: kept.Size, Root: root}
	for name, x := range map[string]struct {
		mapping string
		repo    policy.Locator
		size    int64
		narrow  bool
		asked   int
	}{
		"the same":           {"map", bindtest.Locator(t, bindtest.Widget), 12, true, 1},
		"another repository": {"map", other, 0, true, 2},
		"under another root": {"other", bindtest.Locator(t, bindtest.Widget), 0, false, 1},
		"both":               {"other", other, 0, false, 2},
	} {
		r, err := lookup.Resume(kept, x.mapping, []string{x.repo.String()})
		if err != nil || r.Size != x.size || r.Narrow != x.narrow || len(r.Asked) != x.asked ||
			(r.Size == 0) != (len(r.Bindings) == 0) {
			t.Errorf("%s: size %d, narrow %v, asked %v, %v", name, r.Size, r.Narrow, r.Asked, err)
		}
	}
	for i := range lookup.MaxAsked {
		r, err := lookup.Resume(kept, "map", []string{fmt.Sprintf("https://github.com/acme/r%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		kept = r.Cursor
		kept.Asked = r.Asked
	}
	if len(kept.Asked) != lookup.MaxAsked || slices.Contains(kept.Asked, bindtest.Widget) {
		t.Errorf("%d are remembered", len(kept.Asked))
	}

	// A log of which only another repository's bindings were kept is read again.
	c := bindtest.NewChained(t, 2)
	state := bindtest.NewState(t)
	good := c.Honest()
	c.Expect(t, c.Scan(good, state), bindtest.Scanned)
	id := c.Root.Logs()[0].ID
	old, err := state.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	next := old
	next.Asked, next.Narrow, next.Bindings = []string{other.String()}, true, nil
	if ok, err := state.Save(id, old, next); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if found, _ := c.Expect(t, c.Scan(good, state), bindtest.Scanned); len(found.Leaves) != 4 {
		t.Errorf("%d leaves", len(found.Leaves))
	}
}

// scanLog is a log of n entries, of which every one or none is a binding.
func scanLog(b *testing.B, n int, ours bool) (*bindtest.Chained, *bindtest.Tiles) {
	c := bindtest.NewChained(b, 2)
	base := len(c.Inst.BodiesV2())
	for range n {
		r := bindtest.Workflow(bindtest.Widget, c.One)
		if !ours {
			r = bindtest.Workflow("https://github.com/acme/other", c.One)
			r.Extensions[20] = "push" // as most entries: a workflow that binds nothing
		}
		c.Log(r)
	}
	bodies := c.Inst.BodiesV2()[base:]
	return c, &bindtest.Tiles{Bodies: bodies, Checkpoint: c.Inst.CheckpointV2(bodies, c.Inst.Origin())}
}

// BenchmarkScan reads a log of 2,048 entries: none or all of them bindings of the
// repository, each with a certificate of its own.
func BenchmarkScan(b *testing.B) {
	const n = 2048
	for _, ours := range []bool{false, true} {
		c, log := scanLog(b, n, ours)
		b.Run(map[bool]string{false: "foreign", true: "ours"}[ours], func(b *testing.B) {
			for b.Loop() {
				s := c.Scan(log, bindtest.NewState(b))
				s.Root = c.RootWith(2) // a root remembers certificates
				found, err := s.Find(b.Context(), c.Query())
				if err != nil || ours != (len(found.Leaves) == n) {
					b.Fatal(len(found.Leaves), err)
				}
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
	c, log := scanLog(b, n, false)
	b.Run("hashing alone", func(b *testing.B) {
		client := c.Scan(log, bindtest.NewState(b)).Clients[c.Root.Logs()[0].ID]
		for b.Loop() {
			r, err := lookup.Resume(lookup.Cursor{}, "", []string{bindtest.Widget})
			if err != nil {
				b.Fatal(err)
			}
			for r.Size < n {
				entries, err := rekor.NewTiles(b.Context(), client).Entries(r.Size, n)
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
