// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestJudgeFork: two trees of one size that a log signed prove a fork to anyone;
// nothing else does.
func TestJudgeFork(t *testing.T) {
	for _, generation := range []int{1, 2} {
		c := bindtest.NewChained(t, generation)
		forked := c.Inst.Fork()
		stranger := bindtest.NewChained(t, generation)
		note := func(c *bindtest.Chained, i *sigstoretest.Instance) []byte {
			if generation == 1 {
				return c.Head(i).Note
			}
			bodies := append(i.BodiesV2(), []byte(c.Next().String()))
			return i.CheckpointV2(bodies, i.Origin())
		}
		one, other := note(c, c.Inst), note(c, forked)
		later := one
		if generation == 1 {
			later = note(c, c.Inst)
		} else {
			later = c.Inst.CheckpointV2(append(c.Inst.BodiesV2(), bindtest.Fillers(9)...), c.Inst.Origin())
		}
		for name, x := range map[string]struct {
			seen, new []byte
			ok        bool
		}{
			"two trees of one size": {one, other, true},
			"the other way round":   {other, one, true},
			"the same tree":         {one, one, false},
			"of two sizes":          {other, later, false},
			"of a stranger":         {one, note(stranger, stranger.Inst), false},
			"unsigned":              {one, other[:bytes.Index(other, []byte("\n\n"))+2], false},
			"another root in it":    {one, bytes.Replace(one, []byte("\n"), []byte("\nA"), 1), false},
			"nothing seen":          {nil, other, false},
			"nothing new":           {one, nil, false},
		} {
			f := &rekor.Fork{Log: "https://log.example", Seen: x.seen, New: x.new, Why: "x"}
			again, err := rekor.ParseFork(f.Bytes())
			if err != nil || cmp.Diff(f.Bytes(), again.Bytes()) != "" {
				t.Fatalf("%s: %v", name, err)
			}
			if origin, err := again.Judge(c.Root); (err == nil) != x.ok || (origin == "") == x.ok {
				t.Errorf("generation %d, %s: %q %v", generation, name, origin, err)
			}
			if _, err := again.Judge(stranger.Root); err == nil {
				t.Errorf("%s: another root took it", name)
			}
		}
	}
}

// FuzzFork: what is read as evidence of a fork is written back as it is.
func FuzzFork(f *testing.F) {
	good := (&rekor.Fork{
		Log: "https://log.example", Seen: []byte("a\n1\nx\n"), New: []byte("b"), Proof: []byte("{}"), Why: "w",
	}).Bytes()
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"why"`), []byte(`"Why"`), 1))
	f.Add([]byte(strings.Replace(string(good), `"log"`, `"log":"x","log"`, 1)))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := rekor.ParseFork(data)
		if err != nil {
			return
		}
		b, err := rekor.ParseFork(a.Bytes())
		if err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%q: %v", data, err)
		}
	})
}
