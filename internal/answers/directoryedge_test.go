// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
)

// TestUnsigned: what the directory's signature does not cover is not believed,
// however well the rest fits.
func TestUnsigned(t *testing.T) {
	empty := func(s *site) answers.MapLeaf {
		m := s.Map
		m.Labels, m.Hash = 0, prefixmap.Empty()
		return m
	}
	for name, change := range map[string]func(s *site, a *answers.Answer){
		"a leaf of an empty map": func(s *site, a *answers.Answer) {
			a.Leaf = answers.DirectoryLeaf{Time: built, Maps: []answers.MapLeaf{empty(s)}}.Bytes()
			a.Keys, a.Absent = nil, &answers.Absence{}
		},
		"the empty map of the leaf before": func(s *site, a *answers.Answer) {
			*a = s.At(-2)
			a.Absent = &answers.Absence{}
		},
		"everything of another key": func(s *site, a *answers.Answer) {
			x := directorytest.New(s.t, "directory.example/output")
			x.Map = s.Map
			x.Build(built)
			*a = x.At(0)
			a.Absent = &answers.Absence{}
		},
		"a checkpoint that nobody signed for a record": func(_ *site, a *answers.Answer) {
			a.Keys[0].Records[0].Binding.Checkpoint = "log2026-1.rekor.example\n9\nAAAA\n"
		},
		"a smaller checkpoint without its proof": func(s *site, a *answers.Answer) {
			a.Keys[0].Records[0].Binding.Checkpoint = string(s.Inst.CheckpointV2(s.Bodies[:20], s.Inst.Origin()))
		},
	} {
		s := newSite(t)
		d := s.lookup(nil)
		s.Change = func(a *answers.Answer) { change(s, a) }
		res := resolve(t, s.World, s.Files, d)
		if got := decide(res.Chain, demand); got != policy.BelowRequired || res.Lie != nil || res.Fork != nil {
			t.Errorf("%s: %s %v", name, got, res.Failed)
		}
	}
	for name, x := range map[string]struct {
		other bool // another tree of the same size
		want  policy.Reason
	}{"a smaller checkpoint": {false, ""}, "a fork of its input": {true, policy.LogForked}} {
		s := newSite(t)
		d := s.lookup(nil)
		s.Change = func(a *answers.Answer) {
			b := *a.Keys[0].Records[0].Binding
			bodies := slices.Clone(s.Bodies[:20])
			if x.other {
				bodies = slices.Clone(s.Bodies)
				bodies[len(bodies)-1] = []byte("another")
			}
			b.Checkpoint, b.Inclusion = string(
				s.Inst.CheckpointV2(bodies, s.Inst.Origin()),
			), s.Directory.Inclusion(bodies, b.Index)
			a.Keys[0].Records = slices.Clone(a.Keys[0].Records)
			a.Keys[0].Records[0].Binding = &b
		}
		res := resolve(t, s.World, s.Files, d)
		if got := decide(res.Chain, demand); x.want != "" && got != x.want ||
			x.want == "" && got.Class() != policy.ClassDeny {
			t.Errorf("%s: %s %v", name, got, res.Failed)
		}
	}
}

// TestForeignMap: a map of another trusted root, function or forge table is none,
// also where it is served as ours.
func TestForeignMap(t *testing.T) {
	for name, change := range map[string]func(s *site){
		"root":     func(s *site) { s.Map.Root = spelling.Sum(nil) },
		"function": func(s *site) { s.Map.Function++ },
		"forges":   func(s *site) { s.Map.Forges = spelling.Sum(nil) },
	} {
		s := newSite(t)
		d := s.lookup(nil)
		change(s)
		s.Build(built)
		s.Tamper = func(string, []byte) []byte { return s.Honest(repo) }
		if _, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); err == nil ||
			!strings.Contains(err.Error(), "no map for this trusted root") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAllLogs: every log that counts has to be read, each up to one size.
func TestAllLogs(t *testing.T) {
	for _, generation := range []int{1, 2} {
		w := bindtest.NewWorldOfTwo(t, generation)
		logs := w.Root.Logs()
		if len(logs) != 2 || logs[0].Generation != generation || logs[1].Generation != generation {
			t.Fatalf("logs %+v", logs)
		}
		a, b := answers.Input{Log: w.Log, Checkpoint: w.Notes[0]}, answers.Input{Log: w.Other, Checkpoint: w.Notes[1]}
		again := answers.Input{Log: w.Log, Checkpoint: w.Notes[2]}
		for name, x := range map[string]struct {
			inputs []answers.Input
			ok     bool
		}{
			"both":             {[]answers.Input{a, b}, true},
			"one":              {[]answers.Input{a}, false},
			"the other":        {[]answers.Input{b}, false},
			"one at two sizes": {[]answers.Input{a, again, b}, false},
			"with each other's": {
				[]answers.Input{{Log: w.Log, Checkpoint: w.Notes[1]}, {Log: w.Other, Checkpoint: w.Notes[0]}}, false,
			},
			"one with the other's":    {[]answers.Input{a, {Log: w.Other, Checkpoint: w.Notes[0]}}, false},
			"and one that is unknown": {[]answers.Input{a, b, {Log: spelling.Sum(nil), Checkpoint: w.Notes[0]}}, false},
		} {
			d := directorytest.New(t, "directory.example")
			slices.SortFunc(
				x.inputs,
				func(a, b answers.Input) int { return strings.Compare(a.Log+a.Checkpoint, b.Log+b.Checkpoint) },
			)
			d.Map = answers.MapLeaf{Function: bindings.MapVersion, Root: w.Root.Digest().Hex, Inputs: x.inputs}
			d.Map.Disclosed, _ = answers.NewPublished(nil)
			d.Build(built)
			url := d.Serve()
			client, err := web.New(url, nil, "test")
			check(t, err)
			look := &answers.Directory{
				Root: w.Root, Descriptor: d.Descriptor(url), Client: client, Now: func() time.Time { return now },
			}
			if _, err := look.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); (err == nil) != x.ok {
				t.Errorf("generation %d, %s: %v", generation, name, err)
			}
		}
	}
}

// TestHeld: a directory is accused of what it has to show, and of nothing else.
func TestHeld(t *testing.T) {
	s := newSite(t)
	d := s.lookup(nil)
	c, ignored := bindings.Collect(s.World.Root, nil, s.Files)
	if len(ignored) > 0 || len(c.Held()) != 2 {
		t.Fatal(ignored, len(c.Held()))
	}
	find := func(repo string, held ...bindings.Held) error {
		_, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo), Held: held})
		return err
	}
	var lie *bindings.Lie
	all := c.Held()
	// Bindings of others, whatever their number, are not what it was asked for.
	if err := find("https://github.com/acme/nobody", all...); err != nil {
		t.Errorf("others' bindings: %v", err)
	}
	stranger := s.BindAs("https://github.com/acme/stranger", "77", s.Payloads[0])
	of, ignored := bindings.Collect(s.World.Root, nil, []bindings.File{stranger})
	if len(ignored) > 0 {
		t.Fatal(ignored)
	}
	if err := find(repo, append(all, of.Held()...)...); err != nil {
		t.Errorf("a stranger's binding: %v", err)
	}
	// What it has not read yet is no omission, from the first entry on.
	index := all[1].Leaf.Facts().Entry.Index
	for _, x := range []struct {
		size int64
		lies bool
	}{{index, false}, {index + 1, true}} {
		s.read(s.Bodies[:x.size])
		if x.lies {
			for _, k := range []string{repo, number} {
				s.Records[k] = s.Records[k][:1]
			}
		}
		s.Build(built)
		if err := find(repo, all...); errors.As(err, &lie) != x.lies || (err != nil) != x.lies {
			t.Errorf("read up to %d of %d: %v", x.size, index, err)
		}
	}
	// A bundle that shows no binding accuses nobody.
	for name, bundle := range map[string][]byte{"junk": []byte("junk"), "another": s.Files[0].Data} {
		if err := find(repo, all[0], bindings.Held{Leaf: all[1].Leaf, Bundle: bundle}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRenamed: the bindings of a repository under its former name come with those of its
// number, and under any other name that is asked for, from one state.
func TestRenamed(t *testing.T) {
	s := newSite(t)
	s.Bind("https://github.com/acme/former", s.Payloads[0])
	s.BindAs("https://github.com/acme/other", "77", s.Payloads[0])
	s.Refresh()
	s.read(s.Bodies)
	s.Build(built)
	d := s.lookup(nil)
	q := bindings.Query{Repository: locator(t, repo)}
	find := func(want int) {
		t.Helper()
		if found, err := d.Find(t.Context(), q); err != nil || len(found.Leaves) != want ||
			len(found.Directory.Bindings) != want {
			t.Errorf("%d leaves: %v", len(found.Leaves), err)
		}
	}
	find(5)
	q.Names = []policy.Locator{
		locator(t, repo), locator(t, "https://github.com/acme/former"), locator(t, "https://github.com/acme/nobody"),
	}
	find(5)
	q.Names = append(q.Names, locator(t, "https://github.com/acme/other"))
	find(6)
	refused := func(want string) {
		t.Helper()
		if _, err := d.Find(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
	s.Tamper = func(path string, file []byte) []byte {
		if strings.HasSuffix(path, hashOf("https://github.com/acme/other")+".json.gz") {
			s.Build(built.Add(time.Second)) // meanwhile
			return s.File(path)
		}
		return file
	}
	refused("another state")
	s.Tamper, q.Names = nil, nil
	s.Change = func(a *answers.Answer) { a.Keys = append(a.Keys, s.Answer("https://github.com/acme/other").Keys...) }
	refused("an answer about 4 names")
	s.Change = func(a *answers.Answer) {
		a.Keys = slices.DeleteFunc(
			a.Keys, func(k answers.KeyAnswer) bool { return k.Key == "https://github.com/acme/former" },
		)
	}
	refused("not about https://github.com/acme/former")
}

func hashOf(key string) string {
	h := prefixmap.KeyHash(key)
	return hex.EncodeToString(h[:])
}

// TestSamePlace: two keys cannot have different entries at one place of a log.
func TestSamePlace(t *testing.T) {
	s := newSite(t)
	d := s.lookup(nil)
	b := *s.Records[number][0].Binding
	b.Body = s.Records[number][1].Binding.Body
	s.Records[number] = slices.Clone(s.Records[number])
	s.Records[number][0].Binding = &b
	s.Build(built)
	if _, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); err == nil ||
		!strings.Contains(err.Error(), "not in the log") {
		t.Errorf("%v", err)
	}
}
