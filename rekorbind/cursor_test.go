// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"encoding/json"
	"testing"
)

// FuzzCursor: a kept cursor is an error, or one that goes on from its own tree; in
// neither case does a log that is read with it show anything that is not there.
func FuzzCursor(f *testing.F) {
	c := newChained(f, 2)
	good := c.honest()
	state := NewState(f)
	s := c.scan(good, state)
	if _, err := s.Find(f.Context(), c.query()); err != nil {
		f.Fatal(err)
	}
	kept, err := state.Load(c.root.Logs()[0].ID)
	check(f, err)
	for _, change := range []func(*Cursor){
		func(*Cursor) {}, func(k *Cursor) { k.Size-- }, func(k *Cursor) { k.Map = "x" }, func(k *Cursor) { k.Narrow, k.Asked = true, nil },
		func(k *Cursor) { k.Tree.Size++ }, func(k *Cursor) { k.Bindings = k.Bindings[:1] }, func(k *Cursor) { k.Hashes = nil },
	} {
		k := kept
		change(&k)
		data, err := json.Marshal(k)
		check(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var k Cursor
		if json.Unmarshal(data, &k) != nil || k.Size > 1<<20 {
			return
		}
		root, err := RootOf(k)
		if err != nil {
			return
		}
		if k.Size == k.Tree.Size && k.Size > 0 && root != k.Tree.Root {
			t.Fatalf("its root is %s, of %+v", root, k.Tree)
		}
		again := *s
		again.Cursors = &fixed{k}
		found, err := again.Find(t.Context(), Query{Repository: locator(t, widget)})
		if err != nil {
			return
		}
		for _, l := range found.Leaves {
			at := l.Facts().Entry
			if at.Index < 0 || at.Index >= int64(len(good.bodies)) || l.Facts().Binding.Repository != locator(t, widget) {
				t.Errorf("a leaf at %d", at.Index)
			}
		}
	})
}

// fixed always has the same cursor.
type fixed struct{ Cursor }

func (f *fixed) Load(string) (Cursor, error)               { return f.Cursor, nil }
func (f *fixed) Save(string, Cursor, Cursor) (bool, error) { return true, nil }
