// SPDX-License-Identifier: Apache-2.0

package rekorbind

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// digests returns n digests of statements.
func digests(n int) chain.Kept {
	var k chain.Kept
	for i := range n {
		k.Chain = append(k.Chain, policy.Sum([]byte{byte(i)}))
	}
	return k
}

// TestState: everything is read back as it was written, and files are private.
func TestState(t *testing.T) {
	s := NewState(t)
	repo, other := locator(t, widget), locator(t, widget+"-2")
	if k, err := s.Kept(repo); err != nil || k.Chain != nil {
		t.Fatalf("a first use: %v %v", k, err)
	}
	swap := func(what string, ok bool, err error, want bool) {
		t.Helper()
		if ok != want || err != nil {
			t.Errorf("%s: stored %v, %v", what, ok, err)
		}
	}
	ok, err := s.Keep(repo, chain.Kept{}, digests(1))
	swap("first", ok, err, true)
	ok, err = s.Keep(repo, chain.Kept{}, digests(2))
	swap("as if it were the first", ok, err, false)
	ok, err = s.Keep(repo, digests(1), digests(3))
	swap("next", ok, err, true)
	cursor := Cursor{Size: 7, Hashes: []string{"ab"}, Checkpoint: []byte("note\n"), Bindings: []Binding{{[]string{"k"}, 3, []byte{0, 255}}}, Map: "m"}
	ok, err = s.Save("log", Cursor{}, cursor)
	swap("cursor", ok, err, true)
	ok, err = s.Save("log", Cursor{}, cursor)
	swap("cursor again", ok, err, false)
	entry := JournalEntry{Draft: []byte("{}"), V1: []byte("1")}
	ok, err = s.SaveEntry("id", JournalEntry{}, entry)
	swap("entry", ok, err, true)

	again, err := OpenState(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if k, err := again.Kept(repo); err != nil || !slices.Equal(k.Chain, digests(3).Chain) {
		t.Errorf("%v %v", k, err)
	}
	if k, err := again.Kept(other); err != nil || k.Chain != nil {
		t.Errorf("another repository: %v %v", k, err)
	}
	if c, err := again.Load("log"); err != nil || !reflect.DeepEqual(c, cursor) {
		t.Errorf("%+v %v", c, err)
	}
	if e, err := again.LoadEntry("id"); err != nil || !reflect.DeepEqual(e, entry) {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := s.WriteEvidence("fork", []byte("{}")); err != nil {
		t.Error(err)
	}
	for _, kind := range []string{"../x", "a/b", `a\b`, "a.b", ".."} {
		if path, err := s.WriteEvidence(kind, nil); err == nil {
			t.Errorf("%q was written to %s", kind, path)
		}
	}
	if runtime.GOOS != "windows" {
		err = filepath.Walk(s.Dir(), func(path string, info os.FileInfo, err error) error {
			if err == nil && filepath.Base(path) != "lock" && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is %s", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestStateTampered: a file that is not what was written is an error for
// reading and writing, and never a first use.
func TestStateTampered(t *testing.T) {
	repo, other := locator(t, widget), locator(t, widget+"-2")
	write := func(data string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	good := func(t *testing.T) string {
		s := NewState(t)
		for _, r := range []policy.Locator{repo, other} {
			if _, err := s.Keep(r, chain.Kept{}, digests(2)); err != nil {
				t.Fatal(err)
			}
		}
		return s.Dir()
	}
	path := func(dir string, r policy.Locator) string { return filepath.Join(dir, name("chains", r.String())) }
	text, err := os.ReadFile(path(good(t), repo))
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	replace := func(old, new string) func(*testing.T, string) {
		if !strings.Contains(doc, old) {
			t.Fatalf("no %q in %s", old, doc)
		}
		return write(strings.Replace(doc, old, new, 1))
	}
	cases := map[string]func(*testing.T, string){
		"empty":              write(""),
		"NULs":               write(strings.Repeat("\x00", len(doc))),
		"null":               write("null"),
		"an object":          write("{}"),
		"a list":             write("[" + doc + "]"),
		"twice":              write(doc + doc),
		"trailing":           write(doc + "x"),
		"newer":              replace("state-v1", "state-v2"),
		"no schema":          replace(`"schema"`, `"scheme"`),
		"about another":      replace(widget, widget+"-2"),
		"about nothing":      replace(`"about"`, `"abuot"`),
		"no value":           replace(`"value"`, `"valeu"`),
		"value twice":        replace(`"value"`, `"value": {}, "value"`),
		"about twice":        replace(`"about"`, `"about": "x", "about"`),
		"chain twice":        replace(`"chain"`, `"chain": [], "chain"`),
		"another case":       replace(`"value"`, `"Value"`),
		"twice by case":      replace(`"chain"`, `"Chain": [], "chain"`),
		"an unknown key":     replace(`"value"`, `"more": 1, "value"`),
		"value is null":      write(fmt.Sprintf(`{"schema":%q,"about":%q,"value":null}`, stateSchema, widget)),
		"value is text":      write(fmt.Sprintf(`{"schema":%q,"about":%q,"value":"x"}`, stateSchema, widget)),
		"chain is text":      write(fmt.Sprintf(`{"schema":%q,"about":%q,"value":{"Chain":"x"}}`, stateSchema, widget)),
		"too large":          write(doc + strings.Repeat(" ", maxStateBytes)),
		"another's file":     func(t *testing.T, p string) { check(t, os.Rename(path(filepath.Dir(filepath.Dir(p)), other), p)) },
		"a directory":        func(t *testing.T, p string) { check(t, os.Remove(p)); check(t, os.Mkdir(p, 0o700)) },
		"a link to the file": func(t *testing.T, p string) { check(t, os.Rename(p, p+".x")); check(t, os.Symlink(p+".x", p)) },
		"a link to nothing":  func(t *testing.T, p string) { check(t, os.Remove(p)); check(t, os.Symlink(p+".x", p)) },
		"a link to itself":   func(t *testing.T, p string) { check(t, os.Remove(p)); check(t, os.Symlink(p, p)) },
		"a link to a device": func(t *testing.T, p string) { check(t, os.Remove(p)); check(t, os.Symlink("/dev/zero", p)) },
	}
	for n := range len(doc) - 1 { // the last byte is a line's end
		cases[fmt.Sprintf("cut at %d", n)] = write(doc[:n])
	}
	root := newForge(t).root
	for name, tamper := range cases {
		dir := good(t)
		file := path(dir, repo)
		tamper(t, file)
		s, err := OpenState(dir)
		check(t, err)
		before, _ := os.Lstat(file)
		if k, err := s.Kept(repo); err == nil || k.Chain != nil {
			t.Errorf("%s: read as %v", name, k)
		}
		if ok, err := s.Keep(repo, chain.Kept{}, digests(1)); err == nil || ok {
			t.Errorf("%s: written over", name)
		}
		if after, err := os.Lstat(file); err != nil || after.Mode() != before.Mode() || after.Size() != before.Size() {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
		r := &Resolver{Root: root, Keeper: s}
		if res, err := r.Resolve(t.Context(), repo, nil); err == nil || res != nil {
			t.Errorf("%s: resolved", name)
		}
	}
}

// TestOpenState: only a directory of one's own keeps state.
// TestStateKeys: what the state may hold is read again.
func TestStateKeys(t *testing.T) {
	var visit func(reflect.Type)
	visit = func(r reflect.Type) {
		switch r.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(r.Elem())
		case reflect.Struct:
			for i := range r.NumField() {
				if key, _, _ := strings.Cut(r.Field(i).Tag.Get("json"), ","); key != "" {
					if !slices.Contains(stateRules.Known, key) {
						t.Errorf("%s: the key %s is not known", r, key)
					}
					visit(r.Field(i).Type)
				}
			}
		}
	}
	for _, v := range []any{document[chain.Kept]{}, document[Cursor]{}, document[Head]{}, document[[]string]{}, document[JournalEntry]{}} {
		visit(reflect.TypeOf(v))
	}
}

func TestOpenState(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permissions in modes")
	}
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	check(t, os.Symlink("real", filepath.Join(dir, "link")))
	check(t, os.Symlink("nothing", filepath.Join(dir, "dangling")))
	check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for _, mode := range []os.FileMode{0o702, 0o720, 0o777, 0o1777, 0o755} {
		p := filepath.Join(dir, fmt.Sprintf("%o", mode))
		check(t, os.Mkdir(p, 0o700))
		check(t, os.Chmod(p, mode&os.ModePerm))
	}
	for name, ok := range map[string]bool{"real": true, "new": true, "new/below": true, "755": true, "link": false, "dangling": false, "file": false, "file/below": false, "702": false, "720": false, "777": false, "1777": false} {
		s, err := OpenState(filepath.Join(dir, name))
		if (err == nil) != ok || (s != nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "new")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("made with %s (%v)", info.Mode(), err)
	}
}

// TestStateFull: what could not be read again is not written.
func TestStateFull(t *testing.T) {
	s := NewState(t)
	if ok, err := s.SaveEntry("id", JournalEntry{}, JournalEntry{Draft: make([]byte, maxStateBytes)}); err == nil || ok {
		t.Error("written")
	}
	if e, err := s.LoadEntry("id"); err != nil || e.Draft != nil {
		t.Errorf("%d bytes, %v", len(e.Draft), err)
	}
	root := newChained(t, 1).root
	entries, err := s.Entries("service", root, nil)
	check(t, err)
	var all []Looked
	for i := range maxRemembered + 1 {
		all = append(all, Looked{Name: fmt.Sprintf("%064x", i)})
	}
	check(t, entries.Add(all[1:]))
	check(t, entries.Add(all[2:3])) // once more: it is the latest
	check(t, entries.Add(all[:1]))
	again, err := s.Entries("service", root, nil)
	check(t, err)
	has := func(e Remembered, i int) bool { _, ok := e.Get(all[i].Name); return ok }
	if !has(again, 0) || has(again, 1) || !has(again, 2) || again.Age(all[2].Name) != 1 || again.Age(all[3].Name) != maxRemembered-1 {
		t.Errorf("not the oldest was forgotten: %d, %d", again.Age(all[2].Name), again.Age(all[3].Name))
	}
	if other, err := s.Entries("another", root, nil); err != nil || has(other, 0) {
		t.Errorf("remembered for another service (%v)", err)
	}
}

// TestLooked: what is remembered is read as it was written, or not at all.
func TestLooked(t *testing.T) {
	n, k := strings.Repeat("a", 80), strings.Repeat("b", keyDigits)
	for line, ok := range map[string]bool{
		n: true, n[16:]: true, n + " " + k + " " + k + " 0": true, n + " " + k + " " + k + " 12 late": true,
		"": false, n[1:]: false, n + " ": false, n + " " + k: false, n + " " + k + " 1": false, n + " " + k + " " + k + " ": false, n + " " + k + " " + k + " -1": false,
		n + " " + k + " " + k + " 01": false, n + " " + k + " " + k + " 1 early": false, n + " " + k + " " + k + " 1 late late": false,
		n + " " + k[1:] + " " + k + " 1": false, n + " " + strings.ToUpper(k) + " " + k + " 1": false, strings.ToUpper(n): false,
	} {
		if l, err := parseLooked(line); (err == nil) != ok || ok && lineOf(l) != line {
			t.Errorf("%q: %+v, %v", line, l, err)
		}
	}
}

// TestStateConcurrent: no update of many writers is lost.
func TestStateConcurrent(t *testing.T) {
	const writers, each = 8, 10
	s := NewState(t)
	repo := locator(t, widget)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			s, err := OpenState(s.Dir())
			if err != nil {
				t.Error(err)
				return
			}
			for done := 0; done < each; {
				old, err := s.Kept(repo)
				if err != nil {
					t.Error(err)
					return
				}
				ok, err := s.Keep(repo, old, digests(len(old.Chain)+1))
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	all.Wait()
	if k, err := s.Kept(repo); err != nil || len(k.Chain) != writers*each {
		t.Errorf("%d updates of %d, %v", len(k.Chain), writers*each, err)
	}
}

// stateDir names to a process of this test where to write for ever.
const stateDir = "REPOPOLICY_TEST_STATE"

// TestStateKilled: a writer that is killed leaves the state before or after a
// write, and no lock.
func TestStateKilled(t *testing.T) {
	repo := locator(t, widget)
	if dir := os.Getenv(stateDir); dir != "" {
		s, err := OpenState(dir)
		check(t, err)
		for {
			old, err := s.Kept(repo)
			check(t, err)
			_, err = s.Keep(repo, old, digests(len(old.Chain)%200+1))
			check(t, err)
			fmt.Println("written")
		}
	}
	s := NewState(t)
	for i := range 15 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStateKilled$")
		cmd.Env = append(os.Environ(), stateDir+"="+s.Dir())
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range 1 + i*7 {
			if !lines.Scan() || lines.Text() != "written" {
				t.Fatalf("the writer says %q", lines.Text())
			}
		}
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		k, err := s.Kept(repo)
		if err != nil || !slices.Equal(k.Chain, digests(len(k.Chain)).Chain) || len(k.Chain) == 0 {
			t.Fatalf("after %d writes: %v, %v", 1+i*7, k, err)
		}
		if ok, err := s.Keep(repo, k, digests(len(k.Chain)+1)); !ok || err != nil {
			t.Fatalf("the lock is left: %v", err)
		}
	}
}

// FuzzState: what is read of a file is about what was asked for, in the known
// format, and is there.
func FuzzState(f *testing.F) {
	s := NewState(f)
	repo := locator(f, widget)
	if _, err := s.Keep(repo, chain.Kept{}, digests(2)); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(s.Dir(), name("chains", repo.String()))
	good, err := os.ReadFile(path)
	check(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(fmt.Sprintf(`{"schema":%q,"about":%q,"value":null}`, stateSchema, widget)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := t.TempDir()
		s, err := OpenState(d)
		check(t, err)
		path := filepath.Join(d, name("chains", repo.String()))
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		check(t, os.WriteFile(path, data, 0o600))
		k, err := s.Kept(repo)
		if err != nil {
			if k.Chain != nil {
				t.Fatal("a chain beside an error")
			}
			return
		}
		var doc struct{ Schema, About string }
		if err := json.Unmarshal(data, &doc); err != nil || doc.Schema != stateSchema || doc.About != widget || !bytes.Contains(bytes.ToLower(data), []byte("value")) && !bytes.Contains(data, []byte(`\u`)) {
			t.Fatalf("%q was read: %v", data, err)
		}
	})
}

// TestResolveKeeps: a resolution that cannot remember is none, and one that was
// overtaken begins again.
func TestResolveKeeps(t *testing.T) {
	c := newChained(t, 2)
	repo := locator(t, widget)
	for name, x := range map[string]struct {
		keeper *failing
		ok     bool
	}{
		"keeps":        {&failing{Keeper: NewState(t)}, true},
		"overtaken":    {&failing{Keeper: NewState(t), lost: 3}, true},
		"cannot load":  {&failing{Keeper: NewState(t), load: errors.New("disk")}, false},
		"cannot store": {&failing{Keeper: NewState(t), store: errors.New("disk")}, false},
	} {
		r := &Resolver{Root: c.root, Keeper: x.keeper, Now: c.at, Lookups: []Lookup{c.scan(c.honest(), NewState(t))}}
		res, err := r.Resolve(t.Context(), repo, c.files)
		if (err == nil) != x.ok || (res != nil) != x.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !x.ok {
			continue
		}
		if x.keeper.lost != 0 || res.Chain.Reason() != "" {
			t.Errorf("%s: %s", name, res.Chain.Reason())
		}
		// With less at hand, what was kept is missed.
		for _, files := range [][]File{nil, c.files[:2]} {
			r.Lookups = nil
			if res, err := r.Resolve(t.Context(), repo, files); err != nil || res.Chain.Reason() == "" {
				t.Errorf("%s: %d files are enough (%v)", name, len(files), err)
			}
		}
	}
}

// deaf is a store that takes nothing.
type deaf struct{}

func (deaf) Load(string) ([]byte, error)               { return nil, nil }
func (deaf) Swap(string, []byte, []byte) (bool, error) { return false, nil }

// TestStateDeaf: who cannot keep anything is told, and does not try for ever.
func TestStateDeaf(t *testing.T) {
	s := StateIn(deaf{})
	if ok, err := s.Keep(locator(t, widget), chain.Kept{}, chain.Kept{Chain: []string{"a"}}); ok || err == nil {
		t.Error(ok, err)
	}
	if path, err := s.WriteEvidence("fork", []byte("x")); err == nil {
		t.Error(path)
	}
}
