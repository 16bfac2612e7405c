// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/lookup"
	"github.com/repopolicy/repopolicy/internal/memory"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/internal/signlog"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/sigstore"
)

// TestStateSchema: every file of the state is one that its schema describes.
func TestStateSchema(t *testing.T) {
	compile := func(name string) func([]byte) error {
		schema := vectors.Schema(t, name)
		return func(data []byte) error {
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				return err
			}
			return schema.Validate(v)
		}
	}
	dir := filepath.Join(t.TempDir(), "state")
	state, err := memory.OpenState(dir)
	bindtest.Check(t, err)
	v2 := bindtest.NewChained(t, 2)
	v2.Expect(t, v2.Scan(v2.Honest(), state), bindtest.Scanned)
	v1 := bindtest.NewChained(t, 1)
	h := v1.Prover(&bindtest.Prover{Inst: v1.Inst}, state)
	one := v1.Head(v1.Inst)
	for _, cp := range []sigstore.Checkpoint{one, v1.Head(v1.Inst)} {
		bindtest.Check(t, h.Same(t.Context(), v1.Seen(cp)))
	}
	entries, err := state.Entries("service", v1.Root, nil)
	bindtest.Check(t, err)
	key := bindings.LookKey("x")
	bindtest.Check(
		t,
		entries.Add(
			[]lookup.Looked{
				{Name: strings.Repeat("a", 64)},
				{Name: strings.Repeat("b", 80), Keys: []string{key, key}, Index: 0, Late: false},
				{Name: strings.Repeat("c", 80), Keys: []string{key, key}, Index: 7, Late: true},
			},
		),
	)
	r := &bindings.Resolver{
		Root: v2.Root, Keeper: state, Now: sigstoretest.Now, Lookups: []bindings.Lookup{v2.Scan(v2.Honest(), state)},
	}
	res, err := r.Resolve(t.Context(), bindtest.Locator(t, bindtest.Widget), v2.Files)
	if err != nil || len(res.Chain.Versions()) != 2 {
		t.Fatal(err)
	}
	for _, e := range []signlog.JournalEntry{
		{Draft: []byte("{}")}, {Draft: []byte("{}"), More: [][]byte{[]byte("{}")}, Places: [][]byte{[]byte("{}")}}, {},
	} {
		old, err := state.LoadEntry("id")
		bindtest.Check(t, err)
		if ok, err := state.SaveEntry("id", old, e); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	validate := compile("state-v1.json")
	kinds := map[string]bool{}
	var sample []byte
	bindtest.Check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		kind := filepath.Base(filepath.Dir(path))
		kinds[kind] = true
		if kind == "logs" {
			sample = data
		}
		if err := validate(data); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	}))
	if len(kinds) != 5 {
		t.Errorf("kinds %v", kinds)
	}
	for name, change := range map[string]func(string) string{
		"a key more":     func(s string) string { return strings.Replace(s, `"size"`, `"x":1,"size"`, 1) },
		"another schema": func(s string) string { return strings.Replace(s, "state-v1", "state-v2", 1) },
		"negative size":  func(s string) string { return strings.Replace(s, `"size": `, `"size": -`, 1) },
		"null":           func(string) string { return `{"schema":"` + memory.StateSchema + `","about":"x","value":null}` },
		"about nothing":  func(s string) string { return strings.Replace(s, `"about"`, `"above"`, 1) },
		"hash cut":       func(s string) string { return strings.Replace(s, `"root": "`, `"root": "x`, 1) },
		"nothing at all": func(string) string { return `{}` },
		"a list of words": func(string) string {
			return `{"schema":"` + memory.StateSchema + `","about":"x","value":["word"]}`
		},
	} {
		if err := validate([]byte(change(string(sample)))); err == nil {
			t.Errorf("%s: the schema takes it", name)
		}
	}

	// Evidence of a fork has a schema as well.
	forked := v1.Inst.Fork()
	v1.Head(v1.Inst)
	other := v1.Head(forked)
	var f *rekor.Fork
	if err := v1.Prover(&bindtest.Prover{Inst: v1.Inst}, state).Same(t.Context(), v1.Seen(other)); !errors.As(err, &f) {
		t.Fatal(err)
	}
	if err := compile("fork-v1.json")(f.Bytes()); err != nil {
		t.Error(err)
	}
	if err := compile("fork-v1.json")(bytes.Replace(f.Bytes(), []byte(`"new"`), []byte(`"now"`), 1)); err == nil {
		t.Error("evidence without a checkpoint")
	}

	// So have proofs that a log is of one history.
	growth := (&rekor.Growth{
		Checkpoint: []byte("a note"), Proofs: []rekor.GrowthProof{{Size: 1, Hashes: [][]byte{make([]byte, 32)}}},
	}).Bytes()
	if err := compile("growth-v1.json")(growth); err != nil {
		t.Error(err)
	}
	if err := compile("growth-v1.json")(bytes.Replace(growth, []byte(`"size"`), []byte(`"index"`), 1)); err == nil {
		t.Error("a proof without a size")
	}

	// So has a place proof.
	proof := v2.Proof(1, sigstoretest.Now).Bytes()
	if err := compile("place-v1.json")(proof); err != nil {
		t.Error(err)
	}
	if err := compile("place-v1.json")(bytes.Replace(proof, []byte(`"stamp"`), []byte(`"time"`), 1)); err == nil {
		t.Error("a place proof without a stamp")
	}
}

// FuzzHead: a head that is read is one of its shard, and never changes a verdict
// for the better.
func FuzzHead(f *testing.F) {
	c := bindtest.NewChained(f, 1)
	one := c.Head(c.Inst)
	two := c.Head(c.Inst)
	dir := filepath.Join(f.TempDir(), "state")
	state, err := memory.OpenState(dir)
	bindtest.Check(f, err)
	h := c.Prover(&bindtest.Prover{Inst: c.Inst}, state)
	bindtest.Check(f, h.Same(f.Context(), c.Seen(one)))
	path := filepath.Join(dir, memory.Name("heads", c.Seen(one).Log+" "+one.Origin))
	data, err := os.ReadFile(path)
	bindtest.Check(f, err)
	f.Add(data)
	f.Add(bytes.Replace(data, []byte(`"size": `), []byte(`"size": 9`), 1))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		bindtest.Check(t, os.WriteFile(path, data, 0o600))
		fresh := &rekor.Trees{Root: h.Root, Clients: h.Clients, Heads: state, Now: h.Now}
		err := fresh.Same(t.Context(), c.Seen(two))
		if err != nil {
			return
		}
		var doc memory.Document[rekor.Head]
		if json.Unmarshal(data, &doc) != nil || doc.Value == nil || doc.Schema != memory.StateSchema {
			t.Errorf("taken: %q", data)
		}
		head, err := state.LoadHead(c.Seen(one).Log + " " + one.Origin)
		if err != nil || head.Tree.Size < two.Size {
			t.Errorf("kept %+v (%v)", head, err)
		}
	})
}
