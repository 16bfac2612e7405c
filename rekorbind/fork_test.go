// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
)

// TestJudgeFork: two trees of one size that a log signed prove a fork to anyone;
// nothing else does.
func TestJudgeFork(t *testing.T) {
	for _, generation := range []int{1, 2} {
		c := newChained(t, generation)
		forked := c.inst.Fork()
		stranger := newChained(t, generation)
		note := func(c *chained, i *sigstoretest.Instance) []byte {
			if generation == 1 {
				return c.head(i).Note
			}
			bodies := append(i.BodiesV2(), []byte(c.next().String()))
			return i.CheckpointV2(bodies, i.Origin())
		}
		one, other := note(c, c.inst), note(c, forked)
		later := one
		if generation == 1 {
			later = note(c, c.inst)
		} else {
			later = c.inst.CheckpointV2(append(c.inst.BodiesV2(), fillers(9)...), c.inst.Origin())
		}
		for name, x := range map[string]struct {
			seen, new []byte
			ok        bool
		}{
			"two trees of one size": {one, other, true},
			"the other way round":   {other, one, true},
			"the same tree":         {one, one, false},
			"of two sizes":          {other, later, false},
			"of a stranger":         {one, note(stranger, stranger.inst), false},
			"unsigned":              {one, other[:bytes.Index(other, []byte("\n\n"))+2], false},
			"another root in it":    {one, bytes.Replace(one, []byte("\n"), []byte("\nA"), 1), false},
			"nothing seen":          {nil, other, false},
			"nothing new":           {one, nil, false},
		} {
			f := &Fork{Log: "https://log.example", Seen: x.seen, New: x.new, Why: "x"}
			again, err := ParseFork(f.Bytes())
			if err != nil || cmp.Diff(f.Bytes(), again.Bytes()) != "" {
				t.Fatalf("%s: %v", name, err)
			}
			if origin, err := again.Judge(c.root); (err == nil) != x.ok || (origin == "") == x.ok {
				t.Errorf("generation %d, %s: %q %v", generation, name, origin, err)
			}
			if _, err := again.Judge(stranger.root); err == nil {
				t.Errorf("%s: another root took it", name)
			}
		}
	}
}

// FuzzFork: what is read as evidence of a fork is written back as it is.
func FuzzFork(f *testing.F) {
	good := (&Fork{Log: "https://log.example", Seen: []byte("a\n1\nx\n"), New: []byte("b"), Proof: []byte("{}"), Why: "w"}).Bytes()
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"why"`), []byte(`"Why"`), 1))
	f.Add([]byte(strings.Replace(string(good), `"log"`, `"log":"x","log"`, 1)))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseFork(data)
		if err != nil {
			return
		}
		b, err := ParseFork(a.Bytes())
		if err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%q: %v", data, err)
		}
	})
}
