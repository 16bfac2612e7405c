// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/web"
)

// TestGrowthAsked: what is carried is what a log gives and what verifies; of a log that shows
// one tree, or that nobody asks, there is nothing.
func TestGrowthAsked(t *testing.T) {
	c := newChained(t, 1, 2)
	one, two, three := c.seen(c.head(c.inst)), c.seen(c.head(c.inst)), c.seen(c.head(c.inst))
	all := slices.Concat(c.inst.BodiesV2(), fillers(60))
	small, large := c.tree(all[:40]), c.tree(all)
	served := (&tiles{bodies: all, checkpoint: large.Note}).withHashes(t, all)
	wrong := `{"hashes":["` + strings.Repeat("a", 64) + `"]}`
	says := func(code int, text string) *prover {
		return &prover{inst: c.inst, reply: func(_, _ int64) (int, string) { return code, text }}
	}
	gone := http.NotFoundHandler()
	const ask = "proof that its tree of"
	for name, x := range map[string]struct {
		seen []Seen
		v1   *prover      // nil for one that is not asked
		v2   http.Handler // the same
		made int
		fail string
	}{
		"both logs":          {[]Seen{one, three, two, small, large}, &prover{inst: c.inst}, served, 2, ""},
		"one tree of each":   {[]Seen{one, small}, &prover{inst: c.inst}, served, 0, ""},
		"nobody is asked":    {[]Seen{one, two, small, large}, nil, nil, 0, ""},
		"v1 is not asked":    {[]Seen{one, two, small, large}, nil, served, 1, ""},
		"v1 gives no answer": {[]Seen{one, two}, says(404, ""), served, 0, ask},
		"v1 gives another":   {[]Seen{one, two}, says(200, wrong), served, 0, "wrong proof"},
		"v2 gives no answer": {[]Seen{one, two, small, large}, &prover{inst: c.inst}, gone, 0, ask},
		"nothing was shown":  {nil, &prover{inst: c.inst}, served, 0, ""},
	} {
		trees := c.trees(t, served, nil)
		honest := &prover{inst: c.inst}
		maps.Copy(trees.Clients, c.prover(honest, nil).Clients)
		for _, s := range x.seen {
			check(t, trees.Same(t.Context(), s))
		}
		for _, asked := range honest.asked { // and not for its newest tree, as Rekor v2 is
			if !strings.HasPrefix(asked, "/api/v1/log/proof?") {
				t.Errorf("%s: asked for %s", name, asked)
			}
		}
		trees.Clients = map[string]*web.Client{}
		if x.v1 != nil {
			trees.Clients = c.prover(x.v1, nil).Clients
		}
		if x.v2 != nil {
			trees.Clients[small.Log] = c.trees(t, x.v2, nil).Clients[small.Log]
		}
		made, err := trees.Growth(t.Context())
		failed := err != nil && x.fail != "" && strings.Contains(err.Error(), x.fail)
		if len(made) != x.made || (err != nil || x.fail != "") && !failed {
			t.Errorf("%s: %d files, %v", name, len(made), err)
		}
		if name != "both logs" {
			continue
		}
		alone := &Trees{Root: c.root, Now: trees.Now}
		for _, g := range made {
			check(t, alone.Carry(t.Context(), g))
		}
		for _, s := range x.seen {
			check(t, alone.Same(t.Context(), s))
		}
		// Witnesses are demanded of Rekor v2 alone, also of what is carried.
		a := newCosigner(t, "a.example")
		w, err := ParseWitnessPolicy([]byte("witness a " + a.vkey + "\nquorum a\n"))
		check(t, err)
		for _, g := range made {
			_, log, err := c.root.OpenAnyCheckpoint(g.Checkpoint)
			check(t, err)
			want := ""
			if log == small.Log {
				want = "unproven"
			}
			watched := &Trees{Root: c.root, Now: trees.Now, Witnesses: w}
			if err := watched.Carry(t.Context(), g); kindOf(err) != want {
				t.Errorf("with witnesses: %v", err)
			}
		}
	}
}

// TestShow: the checkpoints of evidence are compared before it is verified; what no log of the
// root signed says nothing.
func TestShow(t *testing.T) {
	c := newChained(t, 2)
	all := slices.Concat(c.inst.BodiesV2(), fillers(60))
	lie := slices.Clone(all)
	lie[20] = []byte("another entry")
	foreign := newChained(t, 2)
	other := foreign.tree(all[:40])
	for name, x := range map[string]struct {
		notes [][]byte
		want  string
	}{
		"none":             {nil, ""},
		"one":              {[][]byte{c.tree(all[:40]).Note}, ""},
		"twice":            {[][]byte{c.tree(all[:40]).Note, c.tree(all[:40]).Note}, ""},
		"junk":             {[][]byte{[]byte("junk"), nil}, ""},
		"of another log":   {[][]byte{other.Note, c.tree(lie[:40]).Note}, ""},
		"forked":           {[][]byte{c.tree(all[:40]).Note, c.tree(lie[:40]).Note}, "fork"},
		"forked, and junk": {[][]byte{nil, c.tree(all[:40]).Note, []byte("junk"), c.tree(lie[:40]).Note, nil}, "fork"},
		"of two sizes":     {[][]byte{c.tree(all[:40]).Note, c.tree(all[:50]).Note}, "unasked"},
	} {
		trees := &Trees{Root: c.root, Now: func() time.Time { return sigstoretest.Now }}
		if err := trees.Show(t.Context(), x.notes); kindOf(err) != x.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
