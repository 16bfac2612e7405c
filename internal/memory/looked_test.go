// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
)

// TestEntries: what entries are is remembered in the order in which they were looked at, each
// once; what was not kept whole is an error, whoever reads it.
func TestEntries(t *testing.T) {
	c, state := bindtest.NewChained(t, 1), bindtest.NewState(t)
	key := strings.Repeat("b", bindings.KeyDigits)
	entry := func(n int) lookup.Looked { return lookup.Looked{Name: fmt.Sprintf("%080x", n)} }
	late := lookup.Looked{Name: fmt.Sprintf("%080x", 9), Keys: []string{key, key}, Index: 12, Late: true}
	open := func() lookup.Remembered {
		t.Helper()
		r, err := state.Entries("log", c.Root, nil)
		bindtest.Check(t, err)
		return r
	}
	first, second := open(), open()
	bindtest.Check(t, first.Add([]lookup.Looked{entry(1), entry(2), entry(3), entry(2)}))
	if first.Age(entry(1).Name) != 0 {
		t.Error("it was looked at in this run")
	}
	bindtest.Check(t, second.Add([]lookup.Looked{entry(1), late})) // another process, which did not know
	again := open()
	for n, l := range []lookup.Looked{late, entry(1), entry(3), entry(2)} {
		got, ok := again.Get(l.Name)
		if !ok || memory.LineOf(got) != memory.LineOf(l) || again.Age(l.Name) != n {
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
	bindtest.Check(t, err)
	for _, broken := range []string{"junk", strings.Replace(string(data), late.Name, "x"+late.Name[1:], 1)} {
		bindtest.Check(t, os.WriteFile(files[0], []byte(broken), 0o600))
		if r, err := state.Entries("log", c.Root, nil); err == nil || r != nil {
			t.Errorf("%.20q is read", broken)
		}
	}
	bindtest.Check(t, os.WriteFile(files[0], []byte("junk"), 0o600))
	if err := again.Add([]lookup.Looked{entry(5)}); err == nil {
		t.Error("junk is written over")
	}
	bindtest.Check(t, os.WriteFile(files[0], data, 0o600))
	bindtest.Check(t, again.Add([]lookup.Looked{entry(5)}))
	lock := filepath.Join(state.Dir(), "lock")
	bindtest.Check(t, os.Remove(lock))
	bindtest.Check(t, os.Mkdir(lock, 0o700))
	if err := again.Add([]lookup.Looked{entry(6)}); err == nil {
		t.Error("what cannot be kept is no error")
	}
}
