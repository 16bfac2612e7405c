// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
)

// TestGrowthAsked: what is carried is what a log gives and what verifies; of a log that shows
// one tree, or that nobody asks, there is nothing.
func TestGrowthAsked(t *testing.T) {
	c := bindtest.NewChained(t, 1, 2)
	one, two, three := c.Seen(c.Head(c.Inst)), c.Seen(c.Head(c.Inst)), c.Seen(c.Head(c.Inst))
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(60))
	small, large := c.Tree(all[:40]), c.Tree(all)
	served := (&bindtest.Tiles{Bodies: all, Checkpoint: large.Note}).WithHashes(t, all)
	wrong := `{"hashes":["` + strings.Repeat("a", 64) + `"]}`
	says := func(code int, text string) *bindtest.Prover {
		return &bindtest.Prover{Inst: c.Inst, Reply: func(_, _ int64) (int, string) { return code, text }}
	}
	gone := http.NotFoundHandler()
	const ask = "proof that its tree of"
	for name, x := range map[string]struct {
		seen []rekor.Seen
		v1   *bindtest.Prover // nil for one that is not asked
		v2   http.Handler     // the same
		made int
		fail string
	}{
		"both logs":          {[]rekor.Seen{one, three, two, small, large}, &bindtest.Prover{Inst: c.Inst}, served, 2, ""},
		"one tree of each":   {[]rekor.Seen{one, small}, &bindtest.Prover{Inst: c.Inst}, served, 0, ""},
		"nobody is asked":    {[]rekor.Seen{one, two, small, large}, nil, nil, 0, ""},
		"v1 is not asked":    {[]rekor.Seen{one, two, small, large}, nil, served, 1, ""},
		"v1 gives no answer": {[]rekor.Seen{one, two}, says(404, ""), served, 0, ask},
		"v1 gives another":   {[]rekor.Seen{one, two}, says(200, wrong), served, 0, "wrong proof"},
		"v2 gives no answer": {[]rekor.Seen{one, two, small, large}, &bindtest.Prover{Inst: c.Inst}, gone, 0, ask},
		"nothing was shown":  {nil, &bindtest.Prover{Inst: c.Inst}, served, 0, ""},
	} {
		trees := c.Trees(t, served, nil)
		honest := &bindtest.Prover{Inst: c.Inst}
		maps.Copy(trees.Clients, c.Prover(honest, nil).Clients)
		for _, s := range x.seen {
			bindtest.Check(t, trees.Same(t.Context(), s))
		}
		for _, asked := range honest.Asked { // and not for its newest tree, as Rekor v2 is
			if !strings.HasPrefix(asked, "/api/v1/log/proof?") {
				t.Errorf("%s: asked for %s", name, asked)
			}
		}
		trees.Clients = map[string]*web.Client{}
		if x.v1 != nil {
			trees.Clients = c.Prover(x.v1, nil).Clients
		}
		if x.v2 != nil {
			trees.Clients[small.Log] = c.Trees(t, x.v2, nil).Clients[small.Log]
		}
		made, err := trees.Growth(t.Context())
		failed := err != nil && x.fail != "" && strings.Contains(err.Error(), x.fail)
		if len(made) != x.made || (err != nil || x.fail != "") && !failed {
			t.Errorf("%s: %d files, %v", name, len(made), err)
		}
		if name != "both logs" {
			continue
		}
		alone := &rekor.Trees{Root: c.Root, Now: trees.Now}
		for _, g := range made {
			bindtest.Check(t, alone.Carry(t.Context(), g))
		}
		for _, s := range x.seen {
			bindtest.Check(t, alone.Same(t.Context(), s))
		}
		// Witnesses are demanded of Rekor v2 alone, also of what is carried.
		a := bindtest.NewCosigner(t, "a.example")
		w, err := rekor.ParseWitnessPolicy([]byte("witness a " + a.Vkey + "\nquorum a\n"))
		bindtest.Check(t, err)
		for _, g := range made {
			_, log, err := c.Root.OpenAnyCheckpoint(g.Checkpoint)
			bindtest.Check(t, err)
			want := ""
			if log == small.Log {
				want = "unproven"
			}
			watched := &rekor.Trees{Root: c.Root, Now: trees.Now, Witnesses: w}
			if err := watched.Carry(t.Context(), g); bindtest.KindOf(err) != want {
				t.Errorf("with witnesses: %v", err)
			}
		}
	}
}

// TestShow: the checkpoints of evidence are compared before it is verified; what no log of the
// root signed says nothing.
func TestShow(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	all := slices.Concat(c.Inst.BodiesV2(), bindtest.Fillers(60))
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	foreign := bindtest.NewChained(t, 2)
	other := foreign.Tree(all[:40])
	for name, x := range map[string]struct {
		notes [][]byte
		want  string
	}{
		"none":             {nil, ""},
		"one":              {[][]byte{c.Tree(all[:40]).Note}, ""},
		"twice":            {[][]byte{c.Tree(all[:40]).Note, c.Tree(all[:40]).Note}, ""},
		"junk":             {[][]byte{[]byte("junk"), nil}, ""},
		"of another log":   {[][]byte{other.Note, c.Tree(lie[:40]).Note}, ""},
		"forked":           {[][]byte{c.Tree(all[:40]).Note, c.Tree(lie[:40]).Note}, "fork"},
		"forked, and junk": {[][]byte{nil, c.Tree(all[:40]).Note, []byte("junk"), c.Tree(lie[:40]).Note, nil}, "fork"},
		"of two sizes":     {[][]byte{c.Tree(all[:40]).Note, c.Tree(all[:50]).Note}, "unasked"},
	} {
		trees := &rekor.Trees{Root: c.Root, Now: func() time.Time { return sigstoretest.Now }}
		if err := trees.Show(t.Context(), x.notes); bindtest.KindOf(err) != x.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
