// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEntries: what entries are is remembered in the order in which they were looked at, each
// once; what was not kept whole is an error, whoever reads it.
func TestEntries(t *testing.T) {
	c, state := newChained(t, 1), NewState(t)
	key := strings.Repeat("b", keyDigits)
	entry := func(n int) Looked { return Looked{Name: fmt.Sprintf("%080x", n)} }
	late := Looked{Name: fmt.Sprintf("%080x", 9), Keys: []string{key, key}, Index: 12, Late: true}
	open := func() Remembered {
		t.Helper()
		r, err := state.Entries("log", c.root, nil)
		check(t, err)
		return r
	}
	first, second := open(), open()
	check(t, first.Add([]Looked{entry(1), entry(2), entry(3), entry(2)}))
	if first.Age(entry(1).Name) != 0 {
		t.Error("it was looked at in this run")
	}
	check(t, second.Add([]Looked{entry(1), late})) // another process, which did not know
	again := open()
	for n, l := range []Looked{late, entry(1), entry(3), entry(2)} {
		got, ok := again.Get(l.Name)
		if !ok || lineOf(got) != lineOf(l) || again.Age(l.Name) != n {
			t.Errorf("%+v: %+v of age %d, want %d", l, got, again.Age(l.Name), n)
		}
	}
	if _, ok := again.Get(entry(4).Name); ok {
		t.Error("nobody looked at it")
	}

	files, err := filepath.Glob(filepath.Join(state.Dir(), "entries", "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	check(t, err)
	for _, broken := range []string{"junk", strings.Replace(string(data), late.Name, "x"+late.Name[1:], 1)} {
		check(t, os.WriteFile(files[0], []byte(broken), 0o600))
		if r, err := state.Entries("log", c.root, nil); err == nil || r != nil {
			t.Errorf("%.20q is read", broken)
		}
	}
	check(t, os.WriteFile(files[0], []byte("junk"), 0o600))
	if err := again.Add([]Looked{entry(5)}); err == nil {
		t.Error("junk is written over")
	}
	check(t, os.WriteFile(files[0], data, 0o600))
	check(t, again.Add([]Looked{entry(5)}))
	lock := filepath.Join(state.Dir(), "lock")
	check(t, os.Remove(lock))
	check(t, os.Mkdir(lock, 0o700))
	if err := again.Add([]Looked{entry(6)}); err == nil {
		t.Error("what cannot be kept is no error")
	}
}
