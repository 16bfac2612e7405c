// SPDX-License-Identifier: Apache-2.0

package rekor_test

import (
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// TestDateEntry: an entry is dated by the minute in which its certificate began, under the root
// that issued that and no other; what is no entry of its log says nothing.
func TestDateEntry(t *testing.T) {
	c, other := bindtest.NewChained(t, 1, 2), bindtest.NewChained(t, 1, 2)
	minute := sigstoretest.Now.Truncate(time.Minute).Add(-time.Hour)
	signed := func(c *bindtest.Chained, log sigstoretest.LogKind) []byte {
		r := bindtest.Workflow(bindtest.Widget, c.One)
		r.NotBefore, r.TSA, r.Log = minute.Add(37*time.Second), true, log
		r.At = r.NotBefore.Add(time.Minute)
		raw := c.Inst.Sign(r)
		if log == sigstoretest.LogV1 {
			_, entry := bindtest.EntryV1(t, raw)
			return entry
		}
		bodies := c.Inst.BodiesV2()
		return bodies[len(bodies)-1]
	}
	v1, v2 := signed(c, sigstoretest.LogV1), signed(c, sigstoretest.LogV2)
	for name, x := range map[string]struct {
		generation int
		entry      []byte
		root       *sigstore.Root
		dated, by  bool
	}{
		"v1":                 {1, v1, c.Root, true, true},
		"v2":                 {2, v2, c.Root, true, true},
		"v1 of another root": {1, v1, other.Root, true, false},
		"v2 of another root": {2, v2, other.Root, true, false},
		"v1 of a stranger":   {1, signed(other, sigstoretest.LogV1), c.Root, true, false},
		"v2 of a stranger":   {2, signed(other, sigstoretest.LogV2), c.Root, true, false},
		"v1 as v2":           {2, v1, c.Root, false, false},
		"v2 as v1":           {1, v2, c.Root, false, false},
		"junk in v1":         {1, []byte("junk"), c.Root, false, false},
		"junk in v2":         {2, []byte("junk"), c.Root, false, false},
		"nothing":            {2, nil, c.Root, false, false},
	} {
		d := rekor.DateEntry(x.generation, x.entry)
		if d.Minute.IsZero() == x.dated || x.dated && (!d.Minute.Equal(minute) || d.Minute.Location() != time.UTC) {
			t.Errorf("%s: %s, not %s", name, d.Minute, minute)
		}
		if d.By(x.root) != x.by {
			t.Errorf("%s: of the root: %t", name, !x.by)
		}
	}
	if (rekor.Dated{}).By(c.Root) {
		t.Error("nothing is dated")
	}
}
