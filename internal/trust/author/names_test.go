// SPDX-License-Identifier: Apache-2.0

package author

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNames: keys are called as those who keep the repository called them, on their own machines; what
// the file says hinders nothing, and is not published.
func TestNames(t *testing.T) {
	w := newWorld(t)
	waits := func() string {
		t.Helper()
		var out []string
		check(t, w.do(now, func(r *Repository) error {
			all, err := r.Status()
			for _, s := range all {
				for _, k := range s.Missing {
					out = append(out, s.Role+" "+k.String())
				}
			}
			return err
		}))
		return strings.Join(out, "\n")
	}
	if got := waits(); !strings.Contains(got, "root key "+w.alice.key.ID()) {
		t.Errorf("without names:\n%s", got)
	}
	dir := t.TempDir()
	roles := w.roles()
	people := roles[Root]
	people.Keys = []Key{w.alice.key.Called("alice"), w.bob.key, w.carol.key.Called("ca\x1b[31mrol")}
	roles[Root] = people
	r, err := Create(dir, now, roles)
	check(t, err)
	r.Close()
	w.dir = dir
	got := waits()
	for _, want := range []string{"root alice (key " + w.alice.key.ID()[:16] + "…)", "root key " + w.bob.key.ID(),
		"targets alice ("} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	path := filepath.Join(dir, namesFile)
	for _, text := range []string{"null", "[]", "{", `{"x":1}`, ""} {
		check(t, os.WriteFile(path, []byte(text), 0o600))
		if got := waits(); strings.Contains(got, "alice (") || !strings.Contains(got, "root key ") {
			t.Errorf("%q:\n%s", text, got)
		}
		check(t, w.do(now, func(r *Repository) error {
			return r.Delegate("role"+string(rune('a'+len(text))), []string{"x/*"},
				Setup{Keys: []Key{w.bob.key.Called("bob")}, Threshold: 1})
		}))
		if got := waits(); !strings.Contains(got, " bob (key ") {
			t.Errorf("after %q:\n%s", text, got)
		}
	}
	check(t, os.Remove(path))
	check(t, os.Symlink("/dev/zero", path))
	if r, err := Open(dir, now); err == nil {
		r.Close()
		t.Error("a link was followed")
	}
	check(t, os.Remove(path))
	check(t, w.do(now, func(r *Repository) error {
		_, err := r.Sign(t.Context(), w.alice.signer)
		return err
	}))
	if got := waits(); strings.Contains(got, "root key "+w.alice.key.ID()) {
		t.Errorf("signed, and waited for:\n%s", got)
	}
}
