// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// TestDateEntry: an entry is dated by the minute in which its certificate began, under the root
// that issued that and no other; what is no entry of its log says nothing.
func TestDateEntry(t *testing.T) {
	c, other := newChained(t, 1, 2), newChained(t, 1, 2)
	minute := sigstoretest.Now.Truncate(time.Minute).Add(-time.Hour)
	signed := func(c *chained, log sigstoretest.LogKind) []byte {
		r := workflow(widget, c.one)
		r.NotBefore, r.TSA, r.Log = minute.Add(37*time.Second), true, log
		r.At = r.NotBefore.Add(time.Minute)
		raw := c.inst.Sign(r)
		if log == sigstoretest.LogV1 {
			_, entry := entryV1(t, raw)
			return entry
		}
		bodies := c.inst.BodiesV2()
		return bodies[len(bodies)-1]
	}
	v1, v2 := signed(c, sigstoretest.LogV1), signed(c, sigstoretest.LogV2)
	for name, x := range map[string]struct {
		generation int
		entry      []byte
		root       *sigstore.Root
		dated, by  bool
	}{
		"v1":                 {1, v1, c.root, true, true},
		"v2":                 {2, v2, c.root, true, true},
		"v1 of another root": {1, v1, other.root, true, false},
		"v2 of another root": {2, v2, other.root, true, false},
		"v1 of a stranger":   {1, signed(other, sigstoretest.LogV1), c.root, true, false},
		"v2 of a stranger":   {2, signed(other, sigstoretest.LogV2), c.root, true, false},
		"v1 as v2":           {2, v1, c.root, false, false},
		"v2 as v1":           {1, v2, c.root, false, false},
		"junk in v1":         {1, []byte("junk"), c.root, false, false},
		"junk in v2":         {2, []byte("junk"), c.root, false, false},
		"nothing":            {2, nil, c.root, false, false},
	} {
		d := DateEntry(x.generation, x.entry)
		if d.Minute.IsZero() == x.dated || x.dated && (!d.Minute.Equal(minute) || d.Minute.Location() != time.UTC) {
			t.Errorf("%s: %s, not %s", name, d.Minute, minute)
		}
		if d.By(x.root) != x.by {
			t.Errorf("%s: of the root: %t", name, !x.by)
		}
	}
	if (Dated{}).By(c.root) {
		t.Error("nothing is dated")
	}
}
