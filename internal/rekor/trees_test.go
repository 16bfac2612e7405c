// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestOneTree: every tree that a log of Rekor v2 shows is of one history with those that it
// showed before, by its tiles, by a proof that is carried, or by its witnesses' word; else the
// log forked, or nothing is known.
func TestOneTree(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(700))
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	tree := func(n int) rekor.Seen { return c.Tree(all[:n]) }
	fork := func(n int) rekor.Seen { return c.Tree(lie[:n]) }
	served := func(n int) *bindtest.Tiles {
		return (&bindtest.Tiles{Bodies: all[:n], Checkpoint: tree(n).Note}).WithHashes(t, all[:n])
	}
	fails := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	ended := c.Windows(
		sigstoretest.RootOptions{
			LogV2: &sigstoretest.Window{
				Start: sigstoretest.Now.AddDate(-1, 0, 0), End: sigstoretest.Now.Add(-time.Hour),
			},
		},
	)
	pruned := served(600)
	pruned.Pruned = true
	for name, x := range map[string]struct {
		seen   []rekor.Seen
		now    rekor.Seen
		log    http.Handler // nil for nobody who could be asked
		root   *sigstore.Root
		want   string // "", "fork", "unproven" or "unasked"
		kept   int64
		silent bool // no request
	}{
		"first":                   {nil, tree(40), served(700), nil, "", 40, true},
		"the same":                {[]rekor.Seen{tree(40)}, tree(40), served(700), nil, "", 40, true},
		"grown":                   {[]rekor.Seen{tree(40)}, tree(300), served(700), nil, "", 300, false},
		"grown to what is served": {[]rekor.Seen{tree(40)}, tree(700), served(700), nil, "", 700, false},
		"older":                   {[]rekor.Seen{tree(300)}, tree(40), served(700), nil, "", 300, false},
		"between two":             {[]rekor.Seen{tree(40), tree(600)}, tree(300), served(700), nil, "", 600, false},
		"older, proven before":    {[]rekor.Seen{tree(300), tree(40)}, tree(40), served(700), nil, "", 300, true},
		"partial tiles are gone":  {[]rekor.Seen{tree(40)}, tree(600), pruned, nil, "unproven", 40, false},
		"empty":                   {[]rekor.Seen{tree(40)}, tree(0), served(700), nil, "", 40, true},
		"another of one size":     {[]rekor.Seen{tree(40)}, fork(40), served(700), nil, "fork", 40, true},
		"another of the size of an older": {
			[]rekor.Seen{tree(40), tree(300)}, fork(40), served(700), nil, "fork", 300, false,
		},
		"a smaller one that forked":          {[]rekor.Seen{tree(300)}, fork(40), served(700), nil, "fork", 300, false},
		"a larger one that forked":           {[]rekor.Seen{tree(40)}, fork(300), served(700), nil, "fork", 40, false},
		"a forked one of the size served":    {[]rekor.Seen{tree(40)}, fork(700), served(700), nil, "fork", 40, false},
		"a forked one beyond what is served": {[]rekor.Seen{tree(40)}, fork(650), served(600), nil, "unproven", 40, false},
		"beyond what is served":              {[]rekor.Seen{tree(40)}, tree(650), served(600), nil, "unproven", 40, false},
		"the log errs":                       {[]rekor.Seen{tree(40)}, tree(300), fails(500), nil, "unproven", 40, false},
		"the log refuses":                    {[]rekor.Seen{tree(40)}, tree(300), fails(403), nil, "unproven", 40, false},
		"the log is gone":                    {[]rekor.Seen{tree(40)}, tree(300), fails(404), nil, "unproven", 40, false},
		"a closed log errs":                  {[]rekor.Seen{tree(40)}, tree(300), fails(500), ended, "unproven", 40, false},
		"a closed log is gone":               {[]rekor.Seen{tree(40)}, tree(300), fails(404), ended, "unasked", 40, false},
		"a closed log":                       {[]rekor.Seen{tree(40)}, tree(300), served(700), ended, "", 300, false},
		"a closed log that forked":           {[]rekor.Seen{tree(300)}, fork(40), served(700), ended, "fork", 300, false},
		"off-line":                           {[]rekor.Seen{tree(40)}, tree(300), nil, nil, "unasked", 40, true},
		"off-line, another of one size":      {[]rekor.Seen{tree(40)}, fork(40), nil, nil, "fork", 40, true},
	} {
		t.Run(name, func(t *testing.T) {
			state := bindtest.NewState(t)
			before := c.Trees(t, served(700), state)
			for _, s := range x.seen {
				bindtest.Check(t, before.Same(t.Context(), s))
			}
			asked := 0
			h := x.log
			if h == nil {
				h = http.NotFoundHandler()
			}
			trees := c.Trees(
				t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; h.ServeHTTP(w, r) }),
				state,
			)
			if x.log == nil {
				trees.Clients = nil
			}
			if x.root != nil {
				trees.Root = x.root
			}
			for range 2 { // what failed once fails again, and asks nobody
				err := trees.Same(t.Context(), x.now)
				if got := bindtest.KindOf(err); got != x.want {
					t.Fatalf("%q: %v", got, err)
				}
			}
			if (asked == 0) != x.silent {
				t.Errorf("%d requests", asked)
			}
			f := trees.Fork()
			if (f != nil) != (x.want == "fork") || f != nil && x.log != nil && f.Log != trees.Clients[x.now.Log].URL() {
				t.Errorf("fork %+v", f)
			}
			head, err := state.LoadHead(x.now.Log + " " + x.now.Origin)
			empty := func(t rekor.Tree) bool { return t.Size == 0 }
			if err != nil || head.Tree.Size != x.kept || slices.ContainsFunc(head.Earlier, empty) {
				t.Errorf("kept %d, want %d, after %v (%v)", head.Tree.Size, x.kept, head.Earlier, err)
			}
		})
	}
}

// TestKnownTree: a tree that is known already costs no memory, however many there are.
func TestKnownTree(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	trees := c.Trees(t, http.NotFoundHandler(), bindtest.NewState(t))
	trees.Clients = nil
	for size := range int64(300) {
		seen := rekor.Seen{Log: "log", Generation: 2, Checkpoint: sigstore.Checkpoint{Size: 1 + size, Root: make([]byte, 32)}}
		err := trees.Same(t.Context(), seen)
		if n := testing.AllocsPerRun(10, func() { _ = trees.Same(t.Context(), seen) }); n > 1 { // the error's place
			t.Fatalf("%d trees: %v allocations for the newest, which is %v", size+1, n, err)
		}
	}
}

// TestManyTrees: the trees of many pieces of evidence cost few requests.
func TestManyTrees(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(2000))
	log := (&bindtest.Tiles{Bodies: all, Checkpoint: c.Tree(all).Note}).WithHashes(t, all)
	state := bindtest.NewState(t)
	bindtest.Check(t, c.Trees(t, log, state).Same(t.Context(), c.Tree(all[:10])))
	asked := 0
	trees := c.Trees(
		t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; log.ServeHTTP(w, r) }), state,
	)
	for i := range 60 { // of one release, in any order
		bindtest.Check(t, trees.Same(t.Context(), c.Tree(all[:1500+3*(i*37%60)])))
	}
	if asked > 12 {
		t.Errorf("%d requests", asked)
	}
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	for _, n := range []int{15 + 1490, 1800, 25} {
		if got := bindtest.KindOf(trees.Same(t.Context(), c.Tree(lie[:n+1]))); got != "fork" {
			t.Errorf("%d: %q", n, got)
		}
	}
	if head, err := state.LoadHead(c.Tree(all).Log + " " + c.Tree(all).Origin); err != nil ||
		head.Tree.Size != int64(len(all)) {
		t.Errorf("kept %d (%v)", head.Tree.Size, err)
	}
}

// TestNewestTree: what a log shows as its newest tree serves the proofs of others only where it
// goes on from what is known; it may contradict that, and need not be of any use.
func TestNewestTree(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(700))
	lie := slices.Clone(all)
	lie[290] = []byte("another entry")
	honest := (&bindtest.Tiles{Bodies: all[:700], Checkpoint: c.Tree(all[:700]).Note}).WithHashes(t, all[:700])
	forked := (&bindtest.Tiles{Bodies: lie[:700], Checkpoint: c.Tree(lie[:700]).Note}).WithHashes(t, lie[:700])
	newest := func(cp rekor.Seen) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/checkpoint") {
				_, _ = w.Write(cp.Note)
				return
			}
			honest.ServeHTTP(w, r)
		})
	}
	// Of the tree of 300 entries the last tile is one of 44.
	beside := func(other http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/001.p/44") {
				honest.ServeHTTP(w, r)
				return
			}
			other.ServeHTTP(w, r)
		})
	}
	for name, x := range map[string]struct {
		log  http.Handler
		want string // of the second proof
		kept int64
	}{
		"honest":               {honest, "", 700},
		"none":                 {newest(rekor.Seen{}), "", 300},
		"of the same size":     {newest(c.Tree(all[:300])), "", 300},
		"older":                {newest(c.Tree(all[:100])), "", 300},
		"another of that size": {newest(c.Tree(lie[:300])), "fork", 300},
		"of another history":   {beside(forked), "fork", 300},
		"that is not there":    {newest(c.Tree(all[:720])), "", 300},
	} {
		t.Run(name, func(t *testing.T) {
			state := bindtest.NewState(t)
			asked := 0
			trees := c.Trees(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/checkpoint") {
					asked++
				}
				x.log.ServeHTTP(w, r)
			}), state)
			bindtest.Check(t, trees.Same(t.Context(), c.Tree(all[:40])))
			bindtest.Check(t, trees.Same(t.Context(), c.Tree(all[:300])))
			if asked > 0 {
				t.Error("asked for the newest tree, which one proof does not need")
			}
			if got := bindtest.KindOf(trees.Same(t.Context(), c.Tree(all[:200]))); got != x.want || asked == 0 {
				t.Errorf("%q after asking %d times", got, asked)
			}
			head, err := state.LoadHead(c.Tree(all).Log + " " + c.Tree(all).Origin)
			if err != nil || head.Tree.Size != x.kept {
				t.Errorf("kept %d (%v)", head.Tree.Size, err)
			}
			got := bindtest.KindOf(trees.Same(t.Context(), c.Tree(all[:730])))
			if got != "unproven" || x.kept == 700 && asked != 1 {
				t.Errorf("beyond all: %q after asking %d times", got, asked)
			}
		})
	}
}

// TestForkShows: the evidence has the two trees of which the one was shown not to begin the
// other.
func TestForkShows(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(700))
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	all40, all300, newest := c.Tree(all[:40]), c.Tree(all[:300]), c.Tree(all[:700])
	lie40, lie300, lie700 := c.Tree(lie[:40]), c.Tree(lie[:300]), c.Tree(lie[:700])
	honest := (&bindtest.Tiles{Bodies: all[:700], Checkpoint: newest.Note}).WithHashes(t, all[:700])
	without := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the last tile of the tree of 300
		if strings.HasSuffix(r.URL.Path, "/001.p/44") || strings.HasSuffix(r.URL.Path, "/0/001") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		honest.ServeHTTP(w, r)
	})
	for name, x := range map[string]struct {
		known, now rekor.Seen
		log        http.Handler
		seen, new  rekor.Seen
	}{
		"an older one":                 {all300, lie40, honest, all300, lie40},
		"one that was kept":            {lie40, all300, honest, lie40, all300},
		"an older one, by the newest":  {all300, lie40, without, lie40, newest},
		"a larger one, by the newest":  {all40, lie300, honest, lie300, newest},
		"one that is as large":         {all40, lie40, honest, all40, lie40},
		"one as large as the newest":   {all40, lie700, honest, lie700, newest},
		"what was kept, by the newest": {lie300, all40, honest, lie300, newest},
	} {
		trees := c.Trees(t, x.log, nil)
		bindtest.Check(t, trees.Same(t.Context(), x.known))
		err := trees.Same(t.Context(), x.now)
		f := trees.Fork()
		if bindtest.KindOf(err) != "fork" || !bytes.Equal(f.Seen, x.seen.Note) || !bytes.Equal(f.New, x.new.Note) {
			t.Errorf("%s: %v: %+v", name, err, f)
		}
	}
}

// TestGrowth: proofs that are carried stand for asking the log; those of other trees, or that
// are wrong, are nothing.
func TestGrowth(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(300))
	small, middle, large := c.Tree(all[:40]), c.Tree(all[:256]), c.Tree(all)
	honest := c.Trees(t, (&bindtest.Tiles{Bodies: all, Checkpoint: large.Note}).WithHashes(t, all), nil)
	for _, s := range []rekor.Seen{middle, small, large} {
		bindtest.Check(t, honest.Same(t.Context(), s))
	}
	made, err := honest.Growth(t.Context())
	if err != nil || len(made) != 1 || len(made[0].Proofs) != 2 {
		t.Fatal(made, err)
	}
	good, err := rekor.ParseGrowth(made[0].Bytes())
	bindtest.Check(t, err)
	with := func(change func(*rekor.Growth)) *rekor.Growth {
		g := &rekor.Growth{Checkpoint: good.Checkpoint, Proofs: slices.Clone(good.Proofs)}
		for i := range g.Proofs {
			g.Proofs[i].Hashes = slices.Clone(g.Proofs[i].Hashes)
		}
		change(g)
		return g
	}
	for name, x := range map[string]struct {
		carried *rekor.Growth
		want    string
	}{
		"good":              {good, ""},
		"none":              {nil, "unasked"},
		"to a smaller tree": {with(func(g *rekor.Growth) { g.Checkpoint = middle.Note }), "unasked"},
		"of another size":   {with(func(g *rekor.Growth) { g.Proofs[0].Size-- }), "unasked"},
		"wrong":             {with(func(g *rekor.Growth) { g.Proofs[0].Hashes[0] = make([]byte, 32) }), "unasked"},
		"cut":               {with(func(g *rekor.Growth) { g.Proofs[0].Hashes = g.Proofs[0].Hashes[1:] }), "unasked"},
		"of the other tree": {with(func(g *rekor.Growth) { g.Proofs[0].Hashes = g.Proofs[1].Hashes }), "unasked"},
		"left out":          {with(func(g *rekor.Growth) { g.Proofs = g.Proofs[1:] }), "unasked"},
	} {
		for _, order := range [][]rekor.Seen{{small, middle, large}, {large, middle, small}, {middle, small}} {
			trees := &rekor.Trees{Root: c.Root, Now: honest.Now}
			got := ""
			if x.carried != nil {
				got = bindtest.KindOf(trees.Carry(t.Context(), x.carried))
			}
			for _, s := range order {
				if err := trees.Same(t.Context(), s); err != nil {
					got = bindtest.KindOf(err)
				}
			}
			if got != x.want {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	// One that goes on from what is there already is as good.
	trees := &rekor.Trees{Root: c.Root, Now: honest.Now}
	bindtest.Check(t, trees.Same(t.Context(), small))
	bindtest.Check(t, trees.Carry(t.Context(), good))
	// Two trees that go on from one, each by a proof, need not be of one history.
	lie := slices.Clone(all)
	lie[100] = []byte("another entry")
	for _, order := range [][]rekor.Seen{
		{small, large, c.Tree(lie[:256])}, {small, c.Tree(lie[:256]), large}, {large, small, c.Tree(lie[:256])},
	} {
		trees := &rekor.Trees{Root: c.Root, Now: honest.Now}
		for _, x := range []struct {
			bodies [][]byte
			to     rekor.Seen
		}{{all, large}, {lie[:256], c.Tree(lie[:256])}} {
			served := (&bindtest.Tiles{Bodies: x.bodies, Checkpoint: x.to.Note}).WithHashes(t, x.bodies)
			other := c.Trees(t, served, nil)
			bindtest.Check(t, other.Same(t.Context(), small))
			bindtest.Check(t, other.Same(t.Context(), x.to))
			g, err := other.Growth(t.Context())
			bindtest.Check(t, err)
			for _, p := range g[0].Proofs {
				trees.AddProof(small.Log, small.Origin, p.Size, x.to.Size, p.Hashes)
			}
		}
		var err error
		for _, s := range order {
			if again := trees.Same(t.Context(), s); again != nil {
				err = again
			}
		}
		if got := bindtest.KindOf(err); got != "unasked" {
			t.Errorf("two that go on from one: %q", got)
		}
	}
	err = (&rekor.Trees{Root: bindtest.NewChained(t, 2).Root, Now: honest.Now}).Carry(t.Context(), good)
	if bindtest.KindOf(err) == "" {
		t.Error("a checkpoint of a log of another root is taken")
	}
}

// FuzzGrowth: a file with proofs has one spelling, and is as large as it may be.
func FuzzGrowth(f *testing.F) {
	f.Add(
		(&rekor.Growth{
			Checkpoint: []byte("x"),
			Proofs:     []rekor.GrowthProof{{Size: 1, Hashes: [][]byte{make([]byte, 32)}}, {Size: 2, Hashes: [][]byte{}}},
		}).Bytes(),
	)
	f.Add((&rekor.Growth{Checkpoint: []byte("x")}).Bytes())
	f.Add([]byte(`{"schema":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := rekor.ParseGrowth(data)
		if err != nil {
			return
		}
		if !bytes.Equal(g.Bytes(), data) || len(g.Proofs) > rekor.MaxGrowth {
			t.Errorf("%q", data)
		}
	})
}

// TestWitnessedTrees: where witnesses are demanded, every checkpoint of Rekor v2 has their
// quorum or begins one that has, off-line, too; what was kept is not enough.
func TestWitnessedTrees(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(300))
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	a := bindtest.NewCosigner(t, "a.example")
	w, err := rekor.ParseWitnessPolicy([]byte("witness a " + a.Vkey + "\nquorum a\n"))
	bindtest.Check(t, err)
	seenBy := func(bodies [][]byte) rekor.Seen {
		return c.Tree(bodies, a.Line(c.Inst.CheckpointV2(bodies, c.Inst.Origin()), sigstoretest.Now.Add(-time.Minute)))
	}
	late := c.Tree(all, a.Line(c.Inst.CheckpointV2(all, c.Inst.Origin()), sigstoretest.Now.Add(time.Hour)))
	cosigned := (&bindtest.Tiles{Bodies: all, Checkpoint: seenBy(all).Note}).WithHashes(t, all)
	plain := (&bindtest.Tiles{Bodies: all, Checkpoint: c.Tree(all).Note}).WithHashes(t, all)
	for name, x := range map[string]struct {
		seen []rekor.Seen // without a demand
		now  []rekor.Seen // the last of which decides
		log  http.Handler
		want string
	}{
		"cosigned, off-line":     {nil, []rekor.Seen{seenBy(all[:40])}, nil, ""},
		"not cosigned, off-line": {nil, []rekor.Seen{c.Tree(all[:40])}, nil, "unproven"},
		"not cosigned, kept":     {[]rekor.Seen{c.Tree(all[:40])}, []rekor.Seen{c.Tree(all[:40])}, nil, "unproven"},
		"not cosigned, proven, kept": {
			[]rekor.Seen{c.Tree(all[:40]), c.Tree(all[:60])}, []rekor.Seen{c.Tree(all[:40])}, nil, "unproven",
		},
		"begins the newest":              {nil, []rekor.Seen{c.Tree(all[:40])}, cosigned, ""},
		"begins one at hand":             {nil, []rekor.Seen{seenBy(all), c.Tree(all[:40])}, plain, ""},
		"begins one at hand, off-line":   {nil, []rekor.Seen{seenBy(all), c.Tree(all[:40])}, nil, "unproven"},
		"a smaller one is cosigned":      {nil, []rekor.Seen{seenBy(all[:30]), c.Tree(all[:40])}, nil, "unproven"},
		"the newest is not cosigned":     {nil, []rekor.Seen{c.Tree(all[:40])}, plain, "unproven"},
		"cosigned in the future":         {nil, []rekor.Seen{late}, nil, "unproven"},
		"forked, and not cosigned":       {nil, []rekor.Seen{c.Tree(lie[:40])}, cosigned, "fork"},
		"forked, beside a cosigned":      {nil, []rekor.Seen{seenBy(all), c.Tree(lie[:40])}, cosigned, "fork"},
		"two of one size, both cosigned": {nil, []rekor.Seen{seenBy(all), seenBy(lie)}, nil, "fork"},
		"another of one size was kept":   {[]rekor.Seen{c.Tree(all[:40])}, []rekor.Seen{seenBy(lie[:40])}, nil, "fork"},
		"kept, and cosigned since": {
			[]rekor.Seen{c.Tree(all[:40])}, []rekor.Seen{seenBy(all[:40]), c.Tree(all[:40])}, nil, "",
		},
		"a larger one is not cosigned":   {nil, []rekor.Seen{c.Tree(all[:90]), c.Tree(all[:40])}, plain, "unproven"},
		"a larger one was kept":          {[]rekor.Seen{c.Tree(all[:90])}, []rekor.Seen{c.Tree(all[:40])}, plain, "unproven"},
		"another as large as the newest": {[]rekor.Seen{c.Tree(lie)}, []rekor.Seen{c.Tree(all[:15])}, cosigned, "fork"},
		"a larger one than was kept": {
			[]rekor.Seen{c.Tree(all[:40])}, []rekor.Seen{seenBy(all[:90]), seenBy(all[:90])}, nil, "",
		},
		"failed, then cosigned": {nil, []rekor.Seen{c.Tree(all[:40]), seenBy(all[:50])}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			state := bindtest.NewState(t)
			for _, s := range x.seen {
				bindtest.Check(t, c.Trees(t, plain, state).Same(t.Context(), s))
			}
			about := c.Tree(all).Log + " " + c.Tree(all).Origin
			before, err := state.LoadHead(about)
			bindtest.Check(t, err)
			trees, asked := &rekor.Trees{Root: c.Root, Now: func() time.Time { return sigstoretest.Now }}, 0
			if x.log != nil {
				count := func(w http.ResponseWriter, r *http.Request) { asked++; x.log.ServeHTTP(w, r) }
				trees = c.Trees(t, http.HandlerFunc(count), state)
			}
			trees.Heads, trees.Witnesses = state, w
			for _, s := range x.now {
				err = trees.Same(t.Context(), s)
			}
			first := asked
			again := trees.Same(t.Context(), x.now[len(x.now)-1])
			if got := bindtest.KindOf(err); got != x.want || bindtest.KindOf(again) != got {
				t.Errorf("%q: %v, then %v", got, err, again)
			}
			if asked != first {
				t.Errorf("asked %d times, then %d more", first, asked-first)
			}
			// That witnesses saw a tree is no proof that it goes on from the one that was kept.
			if head, err := state.LoadHead(about); err != nil || len(x.seen) > 0 && head.Tree != before.Tree {
				t.Errorf("kept %d, then %d (%v)", before.Tree.Size, head.Tree.Size, err)
			}
		})
	}
}

// TestWitnessedOffline: a tree that a proof at hand shows to begin one that witnesses saw is
// known from then on.
func TestWitnessedOffline(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(60))
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	small, large := c.Tree(all[:40]), c.Tree(all)
	honest := c.Trees(t, (&bindtest.Tiles{Bodies: all, Checkpoint: large.Note}).WithHashes(t, all), nil)
	bindtest.Check(t, honest.Same(t.Context(), small))
	bindtest.Check(t, honest.Same(t.Context(), large))
	made, err := honest.Growth(t.Context())
	bindtest.Check(t, err)
	a := bindtest.NewCosigner(t, "a.example")
	w, err := rekor.ParseWitnessPolicy([]byte("witness a " + a.Vkey + "\nquorum a\n"))
	bindtest.Check(t, err)
	made[0].Checkpoint = append(bytes.Clone(large.Note), a.Line(large.Note, sigstoretest.Now)...)
	trees := &rekor.Trees{Root: c.Root, Now: honest.Now, Witnesses: w}
	bindtest.Check(t, trees.Carry(t.Context(), made[0]))
	bindtest.Check(t, trees.Same(t.Context(), small))
	if got := bindtest.KindOf(trees.Same(t.Context(), c.Tree(lie[:40]))); got != "fork" {
		t.Errorf("another of its size: %q", got)
	}
}

// TestOneTreeRace: two processes that a log shows two histories notice, whatever each saw
// before.
func TestOneTreeRace(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(300))
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	log := (&bindtest.Tiles{Bodies: all, Checkpoint: c.Tree(all).Note}).WithHashes(t, all)
	a := bindtest.NewCosigner(t, "a.example")
	w, err := rekor.ParseWitnessPolicy([]byte("witness a " + a.Vkey + "\nquorum a\n"))
	bindtest.Check(t, err)
	seen := c.Tree(all[:50], a.Line(c.Inst.CheckpointV2(all[:50], c.Inst.Origin()), sigstoretest.Now))
	for name, x := range map[string]struct {
		mine []rekor.Seen
		mute bool // nobody can be asked
		by   *rekor.WitnessPolicy
		want string
	}{
		"one history":              {[]rekor.Seen{c.Tree(all[:30]), c.Tree(all[:50])}, false, nil, ""},
		"another":                  {[]rekor.Seen{c.Tree(lie[:30])}, false, nil, "fork"},
		"of one size":              {[]rekor.Seen{c.Tree(lie[:40])}, false, nil, "fork"},
		"a later fork":             {[]rekor.Seen{c.Tree(lie[:200])}, false, nil, "fork"},
		"off-line, the same":       {[]rekor.Seen{c.Tree(all[:40])}, true, nil, ""},
		"off-line, of one size":    {[]rekor.Seen{c.Tree(lie[:40])}, true, nil, "fork"},
		"off-line, another size":   {[]rekor.Seen{c.Tree(all[:50])}, true, nil, "unasked"},
		"off-line, with witnesses": {[]rekor.Seen{seen}, true, w, ""}, // whose word is enough
	} {
		state := bindtest.NewState(t)
		other := c.Trees(t, log, state)
		trees := c.Trees(
			t,
			log,
			&bindtest.RacingHeads{
				Heads: state, Before: func() { bindtest.Check(t, other.Same(t.Context(), c.Tree(all[:40]))) },
			},
		)
		if trees.Witnesses = x.by; x.mute {
			trees.Clients = nil
		}
		var err error
		for _, s := range x.mine {
			err = trees.Same(t.Context(), s)
		}
		if got := bindtest.KindOf(err); got != x.want {
			t.Errorf("%s: %q: %v", name, got, err)
		}
	}
	// Who is interrupted while others write does not go on, and says nothing of the log.
	state := bindtest.NewState(t)
	ctx, cancel := context.WithCancel(t.Context())
	trees := c.Trees(t, log, &bindtest.RacingHeads{Heads: state, Before: func() {
		bindtest.Check(t, c.Trees(t, log, state).Same(t.Context(), c.Tree(all[:40])))
		cancel()
	}})
	if err := trees.Same(ctx, c.Tree(all[:30])); bindtest.KindOf(err) != context.Canceled.Error() {
		t.Error(err)
	}
}

// TestParseGrowth: a file with proofs is what the schema says, and nothing else.
func TestParseGrowth(t *testing.T) {
	good := &rekor.Growth{
		Checkpoint: []byte("note"),
		Proofs: []rekor.GrowthProof{
			{Size: 3, Hashes: [][]byte{make([]byte, 32), bytes.Repeat([]byte{1}, 32)}}, {Size: 7, Hashes: [][]byte{}},
		},
	}
	with := func(change func(*rekor.Growth)) []byte {
		g := &rekor.Growth{Checkpoint: good.Checkpoint, Proofs: slices.Clone(good.Proofs)}
		change(g)
		return g.Bytes()
	}
	many := func(n int) []byte {
		return with(func(g *rekor.Growth) {
			g.Proofs = nil
			for i := range n {
				g.Proofs = append(g.Proofs, rekor.GrowthProof{Size: int64(i + 1), Hashes: [][]byte{}})
			}
		})
	}
	long := func(n int) []byte {
		return with(func(g *rekor.Growth) { g.Proofs[0].Hashes = slices.Repeat([][]byte{make([]byte, 32)}, n) })
	}
	replaced := func(old, now string) []byte { return bytes.Replace(good.Bytes(), []byte(old), []byte(now), 1) }
	for name, x := range map[string]struct {
		data []byte
		ok   bool
	}{
		"good":                {good.Bytes(), true},
		"no proofs":           {many(0), true},
		"as many as are read": {many(rekor.MaxGrowth), true},
		"one more":            {many(rekor.MaxGrowth + 1), false},
		"the longest proof":   {long(rekor.MaxProofHashes), true},
		"a longer one":        {long(rekor.MaxProofHashes + 1), false},
		"of the empty tree":   {with(func(g *rekor.Growth) { g.Proofs[0].Size = 0 }), false},
		"twice the same":      {with(func(g *rekor.Growth) { g.Proofs[1].Size = 3 }), false},
		"descending":          {with(func(g *rekor.Growth) { g.Proofs[1].Size = 2 }), false},
		"no checkpoint":       {with(func(g *rekor.Growth) { g.Checkpoint = nil }), false},
		"a large checkpoint": {
			with(func(g *rekor.Growth) { g.Checkpoint = bytes.Repeat([]byte("x"), rekor.MaxCheckpoint) }), true,
		},
		"one that is too large": {
			with(func(g *rekor.Growth) { g.Checkpoint = bytes.Repeat([]byte("x"), rekor.MaxCheckpoint+1) }), false,
		},
		"a short hash": {with(func(g *rekor.Growth) { g.Proofs[0].Hashes = [][]byte{make([]byte, 31)} }), false},
		"in upper case": {
			with(func(g *rekor.Growth) { g.Proofs[0].Hashes = [][]byte{bytes.Repeat([]byte{0xab}, 32)} }), true,
		},
		"not hex":              {replaced("0000", "zzzz"), false},
		"another schema":       {replaced("growth-v1", "growth-v2"), false},
		"another key":          {replaced(`"size"`, `"sizes"`), false},
		"hashes that are null": {replaced("[]", "null"), false},
		"proofs that are null": {[]byte(`{"schema":"` + rekor.GrowthSchema + `","checkpoint":"x","proofs":null}`), false},
		"spaces":               {append(good.Bytes(), ' '), false},
		"too large":            {bytes.Repeat([]byte(" "), rekor.MaxGrowthBytes+1), false},
	} {
		if x.data = bytes.Clone(x.data); name == "in upper case" {
			x.data, x.ok = bytes.ReplaceAll(x.data, []byte("abab"), []byte("ABAB")), false
		}
		if g, err := rekor.ParseGrowth(x.data); (err == nil) != x.ok || err != nil && g != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// brokenHeads cannot be read or written.
type brokenHeads struct{ load, save error }

func (b brokenHeads) LoadHead(string) (rekor.Head, error) { return rekor.Head{}, b.load }
func (b brokenHeads) SaveHead(string, rekor.Head, rekor.Head) (bool, error) {
	return b.save == nil, b.save
}

// TestTreesState: what cannot be remembered, or was not kept whole, is an error, and never
// that a log is one or that it is not.
func TestTreesState(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(60))
	one, two := c.Tree(all[:20]), c.Tree(all[:40])
	log := (&bindtest.Tiles{Bodies: all, Checkpoint: c.Tree(all).Note}).WithHashes(t, all)
	bindtest.Check(t, (*rekor.Trees)(nil).Same(t.Context(), one))
	if (*rekor.Trees)(nil).Fork() != nil {
		t.Error("a fork of nothing")
	}
	sick := errors.New("sick disk")
	for _, h := range []rekor.Heads{brokenHeads{load: sick}, brokenHeads{save: sick}} {
		trees := c.Trees(t, log, h)
		if err := trees.Same(t.Context(), one); !errors.Is(err, sick) || trees.Fork() != nil {
			t.Errorf("%+v: %v", h, err)
		}
	}
	about := one.Log + " " + one.Origin
	for name, head := range map[string]rekor.Head{
		"without its checkpoint": {Tree: rekor.TreeOfCheckpoint(two.Checkpoint)},
		"only earlier ones":      {Earlier: []rekor.Tree{{Size: 1, Root: "ab"}}},
		"no root":                {Tree: rekor.Tree{Size: 40, Root: "zz"}, Checkpoint: two.Note},
	} {
		state := bindtest.NewState(t)
		if ok, err := state.SaveHead(about, rekor.Head{}, head); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := c.Trees(t, log, state).Same(t.Context(), one); err == nil || bindtest.KindOf(err) != err.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
	var u *rekor.Unproven
	trees := &rekor.Trees{Root: c.Root, Now: func() time.Time { return sigstoretest.Now }}
	bindtest.Check(t, trees.Same(t.Context(), one))
	if err := trees.Same(t.Context(), two); !errors.As(err, &u) || u.Log != c.Root.Logs()[len(c.Root.Logs())-1].URL ||
		u.Small != 20 ||
		u.Large != 40 {
		t.Errorf("%v", err)
	}

	// Of very many trees the latest are remembered.
	full := rekor.Head{Tree: rekor.TreeOfCheckpoint(two.Checkpoint), Checkpoint: two.Note}
	for i := range rekor.MaxEarlier {
		full.Earlier = append(full.Earlier, rekor.Tree{Size: int64(i), Root: "ab"})
	}
	state := bindtest.NewState(t)
	if ok, err := state.SaveHead(about, rekor.Head{}, full); err != nil || !ok {
		t.Fatal(ok, err)
	}
	bindtest.Check(t, c.Trees(t, log, state).Same(t.Context(), one))
	if head, err := state.LoadHead(about); err != nil || len(head.Earlier) != rekor.MaxEarlier ||
		head.Earlier[0].Size != 1 ||
		head.Earlier[rekor.MaxEarlier-1].Size != 20 {
		t.Errorf("%d trees (%v)", len(head.Earlier), err)
	}
}

// floors are shared with another process, or broken.
type floors struct {
	*memory.State
	before     func()
	load, save error
}

func (f *floors) LoadFloor() (rekor.Floor, error) {
	if f.load != nil {
		return rekor.Floor{}, f.load
	}
	return f.State.LoadFloor()
}

func (f *floors) SaveFloor(old, next rekor.Floor) (bool, error) {
	if f.save != nil {
		return false, f.save
	}
	if do := f.before; do != nil {
		f.before = nil
		do()
	}
	return f.State.SaveFloor(old, next)
}

// TestClockState: of two processes the later time stays, and what cannot be kept is an error.
func TestClockState(t *testing.T) {
	now := sigstoretest.Now
	for _, other := range []time.Duration{-30 * time.Minute, -5 * time.Minute} {
		state := bindtest.NewState(t)
		f := &floors{State: state, before: func() {
			if ok, err := state.SaveFloor(rekor.Floor{}, rekor.Floor{Time: now.Add(other), Why: "another"}); err != nil ||
				!ok {
				t.Error(ok, err)
			}
		}}
		clock := &rekor.Clock{Now: func() time.Time { return now }}
		bindtest.Check(t, clock.Load(f))
		clock.Prove(now.Add(-10*time.Minute), "a test")
		bindtest.Check(t, clock.Save(f))
		if got, err := state.LoadFloor(); err != nil || !got.Time.Equal(now.Add(max(other, -10*time.Minute))) {
			t.Errorf("%s: %s (%v)", other, got.Time, err)
		}
	}
	sick := errors.New("sick disk")
	clock := &rekor.Clock{Now: func() time.Time { return now }}
	if err := clock.Load(&floors{load: sick}); !errors.Is(err, sick) {
		t.Error(err)
	}
	clock.Prove(now.Add(-time.Minute), "a test")
	if err := clock.Save(&floors{State: bindtest.NewState(t), save: sick}); !errors.Is(err, sick) {
		t.Error(err)
	}
	state := bindtest.NewState(t)
	raced := &floors{State: state}
	raced.before = func() { // another process, after which nothing can be read or written
		if ok, err := state.SaveFloor(rekor.Floor{}, rekor.Floor{Time: now.Add(-time.Hour), Why: "another"}); err != nil ||
			!ok {
			t.Error(ok, err)
		}
		raced.load, raced.save = sick, errors.New("and was written")
	}
	clock = &rekor.Clock{Now: func() time.Time { return now }}
	clock.Prove(now.Add(-time.Minute), "a test")
	if err := clock.Save(raced); !errors.Is(err, sick) {
		t.Error(err)
	}
	if err := (*rekor.Clock)(nil).Check(); err != nil {
		t.Error(err)
	}
	bindtest.Check(t, (*rekor.Clock)(nil).Save(nil))
	(*rekor.Clock)(nil).Prove(now, "nothing")
	(*rekor.Clock)(nil).Date(nil)
	for kept, want := range map[bool]bool{true: true, false: false} {
		text := (&rekor.Behind{Floor: rekor.Floor{Time: now, Why: "it"}, Now: now, Kept: kept}).Error()
		if strings.Contains(text, "earlier run") != want || !strings.Contains(text, "it proves") {
			t.Error(text)
		}
	}
}

// TestClock: the latest time that is proven is the least that this machine's clock may say,
// within what clocks differ by; what was ahead of it is not kept.
func TestClock(t *testing.T) {
	now := sigstoretest.Now
	log := func(at time.Time) *sigstore.Verified {
		return &sigstore.Verified{Entries: []sigstore.LogEntry{{LogID: "a", Time: at}}}
	}
	ago := func(d time.Duration) []*sigstore.Verified { return []*sigstore.Verified{log(now.Add(-d))} }
	certified := func(at time.Time) *sigstore.Verified {
		return &sigstore.Verified{NotBefore: at, Entries: []sigstore.LogEntry{{LogID: "a"}}}
	}
	unlogged := func(at time.Time) *sigstore.Verified { return &sigstore.Verified{NotBefore: at} }
	tsa := func(at time.Time, by string) *sigstore.Verified {
		return &sigstore.Verified{Times: []sigstore.Time{{Time: at, Source: "tsa", URI: by}}}
	}
	month := now.AddDate(0, 1, 0)
	for name, x := range map[string]struct {
		kept   time.Time
		seen   []*sigstore.Verified
		behind bool
		keeps  time.Time
	}{
		"nothing":                     {keeps: time.Time{}},
		"the past":                    {seen: []*sigstore.Verified{log(now.Add(-time.Hour))}, keeps: now.Add(-time.Hour)},
		"4 minutes ahead":             {seen: []*sigstore.Verified{log(now.Add(4 * time.Minute))}},
		"6 minutes ahead":             {seen: []*sigstore.Verified{log(now.Add(6 * time.Minute))}, behind: true},
		"a certificate":               {seen: []*sigstore.Verified{certified(month)}, behind: true},
		"a certificate in no log":     {seen: []*sigstore.Verified{unlogged(month)}},
		"one stamp":                   {seen: []*sigstore.Verified{tsa(month, "x")}},
		"two stamps of one authority": {seen: []*sigstore.Verified{tsa(month, "x"), tsa(month.Add(time.Hour), "x")}},
		"two authorities": {
			seen: []*sigstore.Verified{tsa(month, "x"), tsa(month.Add(time.Hour), "y")}, behind: true,
		},
		"the other is of the past": {
			seen: []*sigstore.Verified{tsa(month, "x"), tsa(now.Add(-time.Hour), "y")}, keeps: now.Add(-time.Hour),
		},
		"kept, later": {kept: month, behind: true, keeps: month},
		"kept, earlier": {
			kept: now.Add(-time.Hour), seen: []*sigstore.Verified{log(now.Add(-time.Minute))}, keeps: now.Add(-time.Minute),
		},
		"kept, a moment earlier": {
			kept: now.Add(-time.Hour), seen: []*sigstore.Verified{log(now.Add(-time.Hour + time.Second))},
			keeps: now.Add(-time.Hour),
		},
		"kept, a minute earlier": {kept: now.Add(-2 * time.Minute), seen: ago(time.Minute), keeps: now.Add(-time.Minute)},
		"kept, and later than proven": {
			kept: now.Add(-time.Minute), seen: []*sigstore.Verified{log(now.Add(-time.Hour))}, keeps: now.Add(-time.Minute),
		},
	} {
		state := bindtest.NewState(t)
		if !x.kept.IsZero() {
			if ok, err := state.SaveFloor(rekor.Floor{}, rekor.Floor{Time: x.kept, Why: "a test"}); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		clock := &rekor.Clock{Now: func() time.Time { return now }}
		bindtest.Check(t, clock.Load(state))
		for _, v := range x.seen {
			clock.Date(v)
		}
		var b *rekor.Behind
		err := clock.Check()
		if errors.As(err, &b) != x.behind || (err != nil) != x.behind || x.behind && b.Kept != (x.kept == month) {
			t.Errorf("%s: %v", name, err)
		}
		bindtest.Check(t, clock.Save(state))
		if f, err := state.LoadFloor(); err != nil || !f.Time.Equal(x.keeps) {
			t.Errorf("%s: kept %s (%v)", name, f.Time, err)
		}
	}
}

// TestCovers: an answer knows of what was logged below its sizes, or else before it.
func TestCovers(t *testing.T) {
	now := sigstoretest.Now
	read := &chain.Directory{Sizes: map[string]int64{"a": 5}}
	for name, x := range map[string]struct {
		d    *chain.Directory
		e    policy.Entry
		want bool
	}{
		"below":                      {read, policy.Entry{Log: "a", Index: 4, NotBefore: now.Add(time.Hour)}, true},
		"beyond":                     {read, policy.Entry{Log: "a", Index: 5, NotBefore: now.Add(-time.Hour)}, false},
		"another log, before":        {read, policy.Entry{Log: "b", Index: 9, Time: now}, true},
		"another log, after":         {read, policy.Entry{Log: "b", Index: 1, Time: now.Add(time.Second)}, false},
		"another log, a certificate": {read, policy.Entry{Log: "b", NotBefore: now.Add(time.Second)}, false},
		"no time":                    {read, policy.Entry{Log: "b"}, false},
		"left out, before":           {nil, policy.Entry{Log: "a", Index: 4, NotBefore: now.Add(-time.Hour)}, true},
		"left out, after":            {nil, policy.Entry{Log: "a", Index: 4, NotBefore: now.Add(time.Hour)}, false},
	} {
		if got := (&bindings.Found{Directory: x.d, AsOf: now}).Covers(x.e); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
