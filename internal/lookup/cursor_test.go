// SPDX-License-Identifier: Apache-2.0

package lookup_test

import (
	"encoding/json"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
)

// FuzzCursor: a kept cursor is an error, or one that goes on from its own tree; in
// neither case does a log that is read with it show anything that is not there.
func FuzzCursor(f *testing.F) {
	c := bindtest.NewChained(f, 2)
	good := c.Honest()
	state := bindtest.NewState(f)
	s := c.Scan(good, state)
	if _, err := s.Find(f.Context(), c.Query()); err != nil {
		f.Fatal(err)
	}
	kept, err := state.Load(c.Root.Logs()[0].ID)
	bindtest.Check(f, err)
	for _, change := range []func(*lookup.Cursor){
		func(*lookup.Cursor) {}, func(k *lookup.Cursor) { k.Size-- }, func(k *lookup.Cursor) { k.Map = "x" },
		func(k *lookup.Cursor) { k.Narrow, k.Asked = true, nil },
		func(k *lookup.Cursor) { k.Tree.Size++ }, func(k *lookup.Cursor) { k.Bindings = k.Bindings[:1] },
		func(k *lookup.Cursor) { k.Hashes = nil },
	} {
		k := kept
		change(&k)
		data, err := json.Marshal(k)
		bindtest.Check(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var k lookup.Cursor
		if json.Unmarshal(data, &k) != nil || k.Size > 1<<20 {
			return
		}
		root, err := lookup.RootOf(k)
		if err != nil {
			return
		}
		if k.Size == k.Tree.Size && k.Size > 0 && root != k.Tree.Root {
			t.Fatalf("its root is %s, of %+v", root, k.Tree)
		}
		again := *s
		again.Cursors = &fixed{k}
		found, err := again.Find(t.Context(), bindings.Query{Repository: bindtest.Locator(t, bindtest.Widget)})
		if err != nil {
			return
		}
		for _, l := range found.Leaves {
			at := l.Facts().Entry
			if at.Index < 0 || at.Index >= int64(len(good.Bodies)) ||
				l.Facts().Binding.Repository != bindtest.Locator(t, bindtest.Widget) {
				t.Errorf("a leaf at %d", at.Index)
			}
		}
	})
}

// fixed always has the same cursor.
type fixed struct{ lookup.Cursor }

func (f *fixed) Load(string) (lookup.Cursor, error)                      { return f.Cursor, nil }
func (f *fixed) Save(string, lookup.Cursor, lookup.Cursor) (bool, error) { return true, nil }
