// SPDX-License-Identifier: Apache-2.0

package memory_test

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

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/internal/signlog"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// digests returns n digests of statements.
func digests(n int) chain.Kept {
	var k chain.Kept
	for i := range n {
		k.Chain = append(k.Chain, spelling.Sum([]byte{byte(i)}))
	}
	return k
}

// TestState: everything is read back as it was written, and files are private.
func TestState(t *testing.T) {
	s := bindtest.NewState(t)
	repo, other := bindtest.Locator(t, bindtest.Widget), bindtest.Locator(t, bindtest.Widget+"-2")
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
	cursor := lookup.Cursor{
		Size: 7, Hashes: []string{"ab"}, Checkpoint: []byte("note\n"),
		Bindings: []lookup.Binding{{Keys: []string{"k"}, Index: 3, Body: []byte{0, 255}}}, Map: "m",
	}
	ok, err = s.Save("log", lookup.Cursor{}, cursor)
	swap("cursor", ok, err, true)
	ok, err = s.Save("log", lookup.Cursor{}, cursor)
	swap("cursor again", ok, err, false)
	entry := signlog.JournalEntry{Draft: []byte("{}"), V1: []byte("1")}
	ok, err = s.SaveEntry("id", signlog.JournalEntry{}, entry)
	swap("entry", ok, err, true)

	again, err := memory.OpenState(s.Dir())
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
	repo, other := bindtest.Locator(t, bindtest.Widget), bindtest.Locator(t, bindtest.Widget+"-2")
	write := func(data string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	good := func(t *testing.T) string {
		s := bindtest.NewState(t)
		for _, r := range []policy.Locator{repo, other} {
			if _, err := s.Keep(r, chain.Kept{}, digests(2)); err != nil {
				t.Fatal(err)
			}
		}
		return s.Dir()
	}
	path := func(dir string, r policy.Locator) string {
		return filepath.Join(dir, memory.Name("chains", r.String()))
	}
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
		"empty":          write(""),
		"NULs":           write(strings.Repeat("\x00", len(doc))),
		"null":           write("null"),
		"an object":      write("{}"),
		"a list":         write("[" + doc + "]"),
		"twice":          write(doc + doc),
		"trailing":       write(doc + "x"),
		"newer":          replace("state-v1", "state-v2"),
		"no schema":      replace(`"schema"`, `"scheme"`),
		"about another":  replace(bindtest.Widget, bindtest.Widget+"-2"),
		"about nothing":  replace(`"about"`, `"abuot"`),
		"no value":       replace(`"value"`, `"valeu"`),
		"value twice":    replace(`"value"`, `"value": {}, "value"`),
		"about twice":    replace(`"about"`, `"about": "x", "about"`),
		"chain twice":    replace(`"chain"`, `"chain": [], "chain"`),
		"another case":   replace(`"value"`, `"Value"`),
		"twice by case":  replace(`"chain"`, `"Chain": [], "chain"`),
		"an unknown key": replace(`"value"`, `"more": 1, "value"`),
		"value is null": write(
			fmt.Sprintf(`{"schema":%q,"about":%q,"value":null}`, memory.StateSchema, bindtest.Widget),
		),
		"value is text": write(
			fmt.Sprintf(`{"schema":%q,"about":%q,"value":"x"}`, memory.StateSchema, bindtest.Widget),
		),
		"chain is text": write(
			fmt.Sprintf(`{"schema":%q,"about":%q,"value":{"Chain":"x"}}`, memory.StateSchema, bindtest.Widget),
		),
		"too large": write(doc + strings.Repeat(" ", memory.MaxStateBytes)),
		"another's file": func(t *testing.T, p string) {
			bindtest.Check(t, os.Rename(path(filepath.Dir(filepath.Dir(p)), other), p))
		},
		"a directory": func(t *testing.T, p string) {
			bindtest.Check(t, os.Remove(p))
			bindtest.Check(t, os.Mkdir(p, 0o700))
		},
		"a link to the file": func(t *testing.T, p string) {
			bindtest.Check(t, os.Rename(p, p+".x"))
			bindtest.Check(t, os.Symlink(p+".x", p))
		},
		"a link to nothing": func(t *testing.T, p string) {
			bindtest.Check(t, os.Remove(p))
			bindtest.Check(t, os.Symlink(p+".x", p))
		},
		"a link to itself": func(t *testing.T, p string) {
			bindtest.Check(t, os.Remove(p))
			bindtest.Check(t, os.Symlink(p, p))
		},
		"a link to a device": func(t *testing.T, p string) {
			bindtest.Check(t, os.Remove(p))
			bindtest.Check(t, os.Symlink("/dev/zero", p))
		},
	}
	for n := range len(doc) - 1 { // the last byte is a line's end
		cases[fmt.Sprintf("cut at %d", n)] = write(doc[:n])
	}
	root := bindtest.NewForge(t).Root
	for name, tamper := range cases {
		dir := good(t)
		file := path(dir, repo)
		tamper(t, file)
		s, err := memory.OpenState(dir)
		bindtest.Check(t, err)
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
		r := &bindings.Resolver{Root: root, Keeper: s}
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
					if !slices.Contains(memory.StateRules.Known, key) {
						t.Errorf("%s: the key %s is not known", r, key)
					}
					visit(r.Field(i).Type)
				}
			}
		}
	}
	for _, v := range []any{
		memory.Document[chain.Kept]{}, memory.Document[lookup.Cursor]{}, memory.Document[rekor.Head]{},
		memory.Document[[]string]{}, memory.Document[signlog.JournalEntry]{},
	} {
		visit(reflect.TypeOf(v))
	}
}

func TestOpenState(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no permissions in modes")
	}
	dir := t.TempDir()
	bindtest.Check(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	bindtest.Check(t, os.Symlink("real", filepath.Join(dir, "link")))
	bindtest.Check(t, os.Symlink("nothing", filepath.Join(dir, "dangling")))
	bindtest.Check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for _, mode := range []os.FileMode{0o702, 0o720, 0o777, 0o1777, 0o755} {
		p := filepath.Join(dir, fmt.Sprintf("%o", mode))
		bindtest.Check(t, os.Mkdir(p, 0o700))
		bindtest.Check(t, os.Chmod(p, mode&os.ModePerm))
	}
	for name, ok := range map[string]bool{
		"real": true, "new": true, "new/below": true, "755": true, "link": false, "dangling": false, "file": false,
		"file/below": false, "702": false, "720": false, "777": false, "1777": false,
	} {
		s, err := memory.OpenState(filepath.Join(dir, name))
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
	s := bindtest.NewState(t)
	ok, err := s.SaveEntry("id", signlog.JournalEntry{}, signlog.JournalEntry{Draft: make([]byte, memory.MaxStateBytes)})
	if err == nil || ok {
		t.Error("written")
	}
	if e, err := s.LoadEntry("id"); err != nil || e.Draft != nil {
		t.Errorf("%d bytes, %v", len(e.Draft), err)
	}
	root := bindtest.NewChained(t, 1).Root
	entries, err := s.Entries("service", root, nil)
	bindtest.Check(t, err)
	var all []lookup.Looked
	for i := range memory.MaxRemembered + 1 {
		all = append(all, lookup.Looked{Name: fmt.Sprintf("%064x", i)})
	}
	bindtest.Check(t, entries.Add(all[1:]))
	bindtest.Check(t, entries.Add(all[2:3])) // once more: it is the latest
	bindtest.Check(t, entries.Add(all[:1]))
	again, err := s.Entries("service", root, nil)
	bindtest.Check(t, err)
	has := func(e lookup.Remembered, i int) bool { _, ok := e.Get(all[i].Name); return ok }
	if !has(again, 0) || has(again, 1) || !has(again, 2) || again.Age(all[2].Name) != 1 ||
		again.Age(all[3].Name) != memory.MaxRemembered-1 {
		t.Errorf("not the oldest was forgotten: %d, %d", again.Age(all[2].Name), again.Age(all[3].Name))
	}
	if other, err := s.Entries("another", root, nil); err != nil || has(other, 0) {
		t.Errorf("remembered for another service (%v)", err)
	}
}

// TestLooked: what is remembered is read as it was written, or not at all.
func TestLooked(t *testing.T) {
	n, k := strings.Repeat("a", 80), strings.Repeat("b", bindings.KeyDigits)
	for line, ok := range map[string]bool{
		n: true, n[16:]: true, n + " " + k + " " + k + " 0": true, n + " " + k + " " + k + " 12 late": true,
		"": false, n[1:]: false, n + " ": false, n + " " + k: false, n + " " + k + " 1": false,
		n + " " + k + " " + k + " ": false, n + " " + k + " " + k + " -1": false,
		n + " " + k + " " + k + " 01": false, n + " " + k + " " + k + " 1 early": false,
		n + " " + k + " " + k + " 1 late late": false,
		n + " " + k[1:] + " " + k + " 1":       false, n + " " + strings.ToUpper(k) + " " + k + " 1": false,
		strings.ToUpper(n): false,
	} {
		if l, err := memory.ParseLooked(line); (err == nil) != ok || ok && memory.LineOf(l) != line {
			t.Errorf("%q: %+v, %v", line, l, err)
		}
	}
}

// TestStateConcurrent: no update of many writers is lost.
func TestStateConcurrent(t *testing.T) {
	const writers, each = 8, 10
	s := bindtest.NewState(t)
	repo := bindtest.Locator(t, bindtest.Widget)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			s, err := memory.OpenState(s.Dir())
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
	repo := bindtest.Locator(t, bindtest.Widget)
	if dir := os.Getenv(stateDir); dir != "" {
		s, err := memory.OpenState(dir)
		bindtest.Check(t, err)
		for {
			old, err := s.Kept(repo)
			bindtest.Check(t, err)
			_, err = s.Keep(repo, old, digests(len(old.Chain)%200+1))
			bindtest.Check(t, err)
			fmt.Println("written")
		}
	}
	s := bindtest.NewState(t)
	for i := range 15 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStateKilled$")
		cmd.Env = append(os.Environ(), stateDir+"="+s.Dir())
		out, err := cmd.StdoutPipe()
		bindtest.Check(t, err)
		bindtest.Check(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range 1 + i*7 {
			if !lines.Scan() || lines.Text() != "written" {
				t.Fatalf("the writer says %q", lines.Text())
			}
		}
		bindtest.Check(t, cmd.Process.Kill())
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
	s := bindtest.NewState(f)
	repo := bindtest.Locator(f, bindtest.Widget)
	if _, err := s.Keep(repo, chain.Kept{}, digests(2)); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(s.Dir(), memory.Name("chains", repo.String()))
	good, err := os.ReadFile(path)
	bindtest.Check(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(fmt.Sprintf(`{"schema":%q,"about":%q,"value":null}`, memory.StateSchema, bindtest.Widget)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := t.TempDir()
		s, err := memory.OpenState(d)
		bindtest.Check(t, err)
		path := filepath.Join(d, memory.Name("chains", repo.String()))
		bindtest.Check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		bindtest.Check(t, os.WriteFile(path, data, 0o600))
		k, err := s.Kept(repo)
		if err != nil {
			if k.Chain != nil {
				t.Fatal("a chain beside an error")
			}
			return
		}
		var doc struct{ Schema, About string }
		if err := json.Unmarshal(data, &doc); err != nil || doc.Schema != memory.StateSchema ||
			doc.About != bindtest.Widget ||
			!bytes.Contains(bytes.ToLower(data), []byte("value")) && !bytes.Contains(data, []byte(`\u`)) {
			t.Fatalf("%q was read: %v", data, err)
		}
	})
}

// TestResolveKeeps: a resolution that cannot remember is none, and one that was
// overtaken begins again.
func TestResolveKeeps(t *testing.T) {
	c := bindtest.NewChained(t, 2)
	repo := bindtest.Locator(t, bindtest.Widget)
	for name, x := range map[string]struct {
		keeper *bindtest.Failing
		ok     bool
	}{
		"keeps":        {&bindtest.Failing{Keeper: bindtest.NewState(t)}, true},
		"overtaken":    {&bindtest.Failing{Keeper: bindtest.NewState(t), Lost: 3}, true},
		"cannot load":  {&bindtest.Failing{Keeper: bindtest.NewState(t), Load: errors.New("disk")}, false},
		"cannot store": {&bindtest.Failing{Keeper: bindtest.NewState(t), Store: errors.New("disk")}, false},
	} {
		r := &bindings.Resolver{
			Root: c.Root, Keeper: x.keeper, Now: c.At,
			Lookups: []bindings.Lookup{c.Scan(c.Honest(), bindtest.NewState(t))},
		}
		res, err := r.Resolve(t.Context(), repo, c.Files)
		if (err == nil) != x.ok || (res != nil) != x.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !x.ok {
			continue
		}
		if x.keeper.Lost != 0 || res.Chain.Reason() != "" {
			t.Errorf("%s: %s", name, res.Chain.Reason())
		}
		// With less at hand, what was kept is missed.
		for _, files := range [][]bindings.File{nil, c.Files[:2]} {
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
	s := memory.StateIn(deaf{})
	if ok, err := s.Keep(bindtest.Locator(t, bindtest.Widget), chain.Kept{}, chain.Kept{Chain: []string{"a"}}); ok ||
		err == nil {
		t.Error(ok, err)
	}
	if path, err := s.WriteEvidence("fork", []byte("x")); err == nil {
		t.Error(path)
	}
}
