// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"

	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

// TestNothing: that nothing is there is proven, in as many requests as the
// directory's prefixes take.
func TestNothing(t *testing.T) {
	for digits, requests := range map[int]int{2: 2, 5: 3} {
		for name, fill := range map[string]func(s *site){
			"beside others": func(*site) {},
			"in a full map": func(s *site) {
				for i := range 2000 {
					s.Records[fmt.Sprint("https://github.com/acme/", i)] = s.Records[repo]
				}
			},
			"in an empty map": func(s *site) { s.Records = map[string][]answers.Record{} },
		} {
			t.Run(fmt.Sprint(name, " ", digits), func(t *testing.T) {
				s := newSite(t)
				fill(s)
				s.Digits = digits
				s.Build(built)
				d := s.lookup(nil)
				found, err := d.Find(
					t.Context(), bindings.Query{Repository: locator(t, "https://github.com/acme/nobody")},
				)
				check(t, err)
				if len(found.Leaves) > 0 || found.Completeness != chain.CompleteProven {
					t.Errorf("%+v", found)
				}
				if n := len(s.Requests()); n != requests {
					t.Errorf("%d requests: %v", n, s.Requests())
				}
			})
		}
	}
	s := newSite(t)
	d := s.lookup(nil)
	s.Change = func(a *answers.Answer) {
		a.Keys, a.Absent, a.Split = nil, nil, 3 // for ever
	}
	_, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, "https://github.com/acme/nobody")})
	if err == nil || len(s.Requests()) != 3 {
		t.Errorf("asked %d times: %v", len(s.Requests()), err)
	}
}

// TestKeptHead: what the output log showed once, it has to go on from.
func TestKeptHead(t *testing.T) {
	q := bindings.Query{Repository: locator(t, repo)}
	for name, x := range map[string]struct {
		then  func(s *site, d *answers.Directory) // after the first use
		want  chain.Completeness                  // "" for an error
		forks bool
	}{
		"the same": {func(*site, *answers.Directory) {}, chain.CompleteProven, false},
		"one more": {
			func(s *site, _ *answers.Directory) { s.Build(built.Add(time.Minute)) }, chain.CompleteProven, false,
		},
		"many more":        {func(s *site, _ *answers.Directory) { many(s, 600) }, chain.CompleteProven, false},
		"at the same time": {func(s *site, _ *answers.Directory) { s.Build(built) }, chain.CompleteProven, false},
		"another of the same size": {func(s *site, _ *answers.Directory) {
			f := s.before.Fork()
			f.Build(built.Add(time.Second))
			s.serveInstead(f)
		}, "", true},
		"another, longer": {func(s *site, _ *answers.Directory) {
			f := s.before.Fork()
			f.Build(built.Add(time.Second))
			f.Build(built.Add(time.Minute))
			s.serveInstead(f)
		}, "", true},
		"without its tiles": {func(s *site, _ *answers.Directory) {
			s.Build(built.Add(time.Minute))
			s.Tamper = func(p string, f []byte) []byte {
				if strings.HasPrefix(p, "/tile/") {
					return nil
				}
				return f
			}
		}, "", false},
		"with tiles of another": {func(s *site, _ *answers.Directory) {
			s.Build(built.Add(time.Minute))
			s.Tamper = func(p string, f []byte) []byte {
				if strings.HasPrefix(p, "/tile/") {
					return bytes.Repeat([]byte{1}, len(f))
				}
				return f
			}
		}, "", false},
		"clock runs backwards": {func(s *site, _ *answers.Directory) { s.Build(built.Add(-time.Minute)) }, "", false},
		"off-line, the same": {
			func(s *site, d *answers.Directory) { d.Staple, d.Client = s.Honest(repo), nil }, chain.CompleteProven, false,
		},
		"off-line, one more": {func(s *site, d *answers.Directory) {
			s.Build(built.Add(time.Minute))
			d.Staple, d.Client = s.Honest(repo), nil
		}, chain.CompleteSigned, false}, // nobody can show it
		"off-line, fewer": {
			func(s *site, d *answers.Directory) { d.Staple, d.Client = directorytestBefore(s), nil }, "", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.Witness = nil
			s.before = s.Directory.Fork()
			s.Build(built.Add(time.Second / 2))
			state := bindtest.NewState(t)
			d := s.lookup(state)
			found, err := d.Find(t.Context(), q)
			if err != nil || found.Completeness != chain.CompleteSigned {
				t.Fatal(found.Completeness, err)
			}
			// In the same run it is no better known when it is asked again.
			if found, err = d.Find(t.Context(), q); err != nil || found.Completeness != chain.CompleteSigned {
				t.Fatal(found.Completeness, err)
			}
			next := &answers.Directory{
				Root: d.Root, Descriptor: d.Descriptor, Client: d.Client, Heads: state, Now: d.Now,
			}
			x.then(s, next)
			found, err = next.Find(t.Context(), q)
			if (err == nil) != (x.want != "") || found.Completeness != x.want {
				t.Fatalf("%s, want %q: %v", found.Completeness, x.want, err)
			}
			var fork *rekor.Fork
			if errors.As(err, &fork) != x.forks {
				t.Fatalf("evidence: %v", err)
			}
			if fork == nil || strings.Contains(name, "longer") {
				return
			}
			parsed, err := rekor.ParseFork(fork.Bytes())
			check(t, err)
			if origin, err := d.Descriptor.JudgeFork(parsed); err != nil || origin != d.Descriptor.Origin() {
				t.Errorf("the evidence proves nothing: %v", err)
			}
			_, err = directorytest.New(t, d.Descriptor.Origin()).Descriptor("https://x.example").JudgeFork(parsed)
			if err == nil {
				t.Error("it convicts another directory")
			}
		})
	}
}

func many(s *site, n int) {
	for i := range n {
		s.Append(fmt.Appendf(nil, "leaf %d", i))
	}
	s.Build(built.Add(time.Minute))
}

func directorytestBefore(s *site) []byte { return s.before.Honest(repo) }

// serveInstead makes the site one of another directory.
func (s *site) serveInstead(f *directorytest.Directory) {
	s.Tamper = func(p string, _ []byte) []byte { return f.File(p) }
}

// TestStaple: an answer at hand needs no request while it is fresh.
func TestStaple(t *testing.T) {
	q := bindings.Query{Repository: locator(t, repo)}
	for name, x := range map[string]struct {
		change   func(s *site, d *answers.Directory)
		requests int
		fails    bool
	}{
		"fresh":        {func(*site, *answers.Directory) {}, 0, false},
		"of any age":   {func(s *site, d *answers.Directory) { d.StapleAge, d.Client = 0, nil; aged(s, d) }, 0, false},
		"old":          {aged, 1, false},
		"of a day ago": {func(s *site, d *answers.Directory) { cosigned(s, d, 25*time.Hour) }, 1, false},
		"of today":     {func(s *site, d *answers.Directory) { cosigned(s, d, 23*time.Hour) }, 0, false},
		"of a day ago, no more": {
			func(s *site, d *answers.Directory) { cosigned(s, d, 25*time.Hour); d.Client = nil }, 0, false,
		},
		"old, no more": {func(s *site, d *answers.Directory) { aged(s, d); d.Client = nil }, 0, true},
		"junk":         {func(_ *site, d *answers.Directory) { d.Staple = []byte("junk") }, 1, false},
		"of another": {func(s *site, d *answers.Directory) {
			a := s.Absence("https://github.com/acme/nobody", 2)
			d.Staple, _ = a.Encode()
		}, 1, false},
		"of another key": {func(s *site, d *answers.Directory) {
			f := directorytest.New(t, "directory.example/output")
			f.Read(s.World.Root, s.Log, s.Bodies, s.World.Checkpoint)
			f.Build(built)
			d.Staple = f.Honest(repo)
		}, 1, false},
		"without its witness": {func(s *site, d *answers.Directory) {
			f := s.Fork()
			f.Witness = nil
			d.Staple = f.Honest(repo)
		}, 1, false},
		"junk and nobody to ask": {func(_ *site, d *answers.Directory) { d.Staple, d.Client = []byte("junk"), nil }, 0, true},
		"that lies": {func(s *site, d *answers.Directory) {
			f := s.Fork()
			f.Records[repo] = append(f.Records[repo], f.Records[repo][0])
			f.Build(built)
			d.Staple = f.Honest(repo)
		}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			d := s.lookup(bindtest.NewState(t))
			d.Staple, d.StapleAge = s.Honest(repo), 7*24*time.Hour
			x.change(s, d)
			found, err := d.Find(t.Context(), q)
			if (err != nil) != x.fails || err == nil && len(found.Leaves) != 4 {
				t.Errorf("%d leaves: %v", len(found.Leaves), err)
			}
			if n := len(s.Requests()); n != x.requests {
				t.Errorf("%d requests: %v", n, s.Requests())
			}
		})
	}
}

func aged(s *site, d *answers.Directory) { cosigned(s, d, 8*24*time.Hour) }

// cosigned staples an answer that is so old.
func cosigned(s *site, d *answers.Directory, ago time.Duration) {
	f := s.Fork()
	f.Cosigned = now.Add(-ago)
	d.Staple = f.Honest(repo)
}

// TestPages: records that are paged are all fetched, and each page is that of the
// map.
func TestPages(t *testing.T) {
	for name, x := range map[string]struct {
		tamper func(p string, f []byte) []byte
		fails  bool
	}{
		"honest":    {nil, false},
		"withheld":  {func(p string, f []byte) []byte { return unless(p, "/page/", f, nil) }, true},
		"malformed": {func(p string, f []byte) []byte { return unless(p, "/page/", f, []byte("x")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for range 70 {
				s.Bind(repo, s.Payloads[1])
			}
			s.Refresh()
			s.read(s.Bodies)
			s.Paged = true
			s.Build(built)
			s.Tamper = x.tamper
			d := s.lookup(nil)
			found, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)})
			if (err != nil) != x.fails || err == nil && len(found.Leaves) != 74 {
				t.Fatalf("%d leaves: %v", len(found.Leaves), err)
			}
			if n := len(s.Requests()); !x.fails && n != 3 {
				t.Errorf("%d requests: %v", n, s.Requests())
			}
			if x.fails {
				return
			}
			// The same with what is carried to where nobody is asked.
			pages := d.AnswerPages()
			carried := &answers.Directory{
				Root: d.Root, Descriptor: d.Descriptor, Now: d.Now, Staple: d.Answer(), Pages: pages,
			}
			if found, err := carried.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); err != nil ||
				len(found.Leaves) != 74 {
				t.Errorf("carried: %d leaves: %v", len(found.Leaves), err)
			}
			first, second := answers.PageName(repo, 0, 64), answers.PageName(number, 0, 64)
			for what, less := range map[string]map[string][]byte{
				"no page":             nil,
				"one of two":          {first: pages[first]},
				"one in both places":  {first: pages[first], second: pages[first]},
				"half a page":         {first: pages[first], second: pages[second][:len(pages[second])/2]},
				"under another block": {first: pages[first], answers.PageName(number, 1, 64): pages[second]},
			} {
				carried.Pages = less
				if found, err := carried.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); err == nil {
					t.Errorf("carried with %s: %d leaves", what, len(found.Leaves))
				}
			}
		})
	}
	// A page of another block, and one that the directory omits a binding from.
	s := newSite(t)
	for range 140 {
		s.Bind(repo, s.Payloads[1])
	}
	s.Refresh()
	s.read(s.Bodies)
	s.Paged = true
	s.Build(built)
	d := s.lookup(nil)
	s.Tamper = func(p string, f []byte) []byte {
		if strings.Contains(p, "/page/") && strings.HasSuffix(p, "/1.json.gz") {
			return s.File(strings.Replace(p, "/1.json.gz", "/0.json.gz", 1))
		}
		return f
	}
	if _, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); err == nil ||
		!strings.Contains(err.Error(), "page 1 is not that of the map") {
		t.Errorf("a page of another block: %v", err)
	}
	for name, change := range map[string]func(p *answers.Page){
		"renamed":                       func(p *answers.Page) { p.Key = number },
		"numbered":                      func(p *answers.Page) { p.Block = 5 },
		"with a record of another page": func(p *answers.Page) { p.Records[0] = s.Records[repo][130] },
	} {
		s.Tamper = func(p string, f []byte) []byte {
			if !strings.Contains(p, "/page/") || !strings.HasSuffix(p, "/1.json.gz") {
				return f
			}
			page, err := answers.ParsePage(f)
			check(t, err)
			change(page)
			f, err = page.Encode()
			check(t, err)
			return f
		}
		if _, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); err == nil ||
			!strings.Contains(err.Error(), "page 1 is not that of the map") {
			t.Errorf("a page %s: %v", name, err)
		}
	}
	s.Tamper = nil
	for _, k := range []string{repo, number} {
		s.Records[k] = s.Records[k][1:]
	}
	s.Build(built)
	var lie *bindings.Lie
	res := resolve(t, s.World, s.Files, d)
	if lie = res.Lie; lie == nil || len(lie.Pages) != 4 {
		t.Fatalf("%v", res.Failed)
	}
	parsed, err := bindings.ParseLie(lie.Bytes())
	check(t, err)
	if _, err := d.Descriptor.JudgeLie(parsed, s.World.Root, nil); err != nil {
		t.Error(err)
	}
	parsed.Pages = parsed.Pages[1:]
	if _, err := d.Descriptor.JudgeLie(parsed, s.World.Root, nil); err == nil {
		t.Error("evidence without a page")
	}
}

func unless(p, part string, f, instead []byte) []byte {
	if strings.Contains(p, part) {
		return instead
	}
	return f
}

// TestDeadline: a directory that never answers is one that gave no answer, in time.
func TestDirectoryDeadline(t *testing.T) {
	s := newSite(t)
	d := s.lookup(nil)
	answers.SetTimeout(d, 50*time.Millisecond)
	release := make(chan struct{})
	s.Tamper = func(string, []byte) []byte { <-release; return nil }
	defer close(release)
	start := time.Now()
	res := resolve(t, s.World, s.Files, d)
	if got := decide(res.Chain, demand); got != policy.BelowRequired || time.Since(start) > 10*time.Second {
		t.Errorf("%s after %s", got, time.Since(start))
	}
}

// TestDirectoryOfV1: where there is no other log, Rekor v1 is read, and its
// promises count.
func TestDirectoryOfV1(t *testing.T) {
	w := bindtest.NewWorld(t, 1)
	d := directorytest.New(t, "directory.example/v1")
	entries, log, checkpoints := w.EntriesV1(t)
	fill := func() {
		d.Map = answers.MapLeaf{Function: bindings.MapVersion, Root: w.Root.Digest().Hex}
		for _, c := range checkpoints {
			d.Map.Inputs = append(d.Map.Inputs, answers.Input{Log: log, Checkpoint: c})
		}
		d.Map.Disclosed, _ = answers.NewPublished(nil)
		for _, key := range []string{repo, number} {
			d.Records[key] = nil
			for _, e := range entries {
				leaf, _, err := bindings.BindsV1(w.Root, nil, e)
				check(t, err)
				d.Records[key] = append(
					d.Records[key],
					answers.Record{Binding: &answers.BindingRecord{Log: log, Index: leaf.Place.Index, Entry: e}},
				)
			}
		}
	}
	fill()
	d.Build(built)
	url := d.Serve()
	client, err := web.New(url, nil, "test")
	check(t, err)
	look := &answers.Directory{
		Root: w.Root, Descriptor: d.Descriptor(url), Client: client, Now: func() time.Time { return now },
	}
	found, err := look.Find(t.Context(), bindings.Query{Repository: locator(t, repo)})
	check(t, err)
	if len(found.Leaves) != len(entries) {
		t.Errorf("%d leaves of %d", len(found.Leaves), len(entries))
	}
	// What it omits of what is at hand is a lie here, too.
	c, ignored := bindings.Collect(w.Root, nil, w.Files)
	if len(ignored) > 0 || len(c.Held()) != 2 {
		t.Fatal(ignored, len(c.Held()))
	}
	var lie *bindings.Lie
	q := bindings.Query{Repository: locator(t, repo), Held: c.Held()}
	if _, err := look.Find(t.Context(), q); !errors.As(err, &lie) {
		t.Fatalf("two bindings are left out: %v", err)
	}
	if _, err := look.Descriptor.JudgeLie(lie, w.Root, nil); err != nil {
		t.Errorf("the evidence proves nothing: %v", err)
	}
	q.Held = nil
	for _, key := range []string{repo, number} {
		b := *d.Records[key][0].Binding
		b.Index--
		d.Records[key][0].Binding = &b
	}
	d.Build(built)
	if _, err := look.Find(t.Context(), q); err == nil ||
		!strings.Contains(err.Error(), "its promise is about the entry") {
		t.Errorf("at another index: %v", err)
	}
	fill()
	d.Build(built)
	for name, change := range map[string]func(b *answers.BindingRecord){
		"another index": func(b *answers.BindingRecord) { b.Index++ },
		"another promise": func(b *answers.BindingRecord) {
			b.Entry = bytes.Replace(b.Entry, []byte(`"integratedTime":1`), []byte(`"integratedTime":2`), 1)
		},
	} {
		d.Change = func(a *answers.Answer) { change(a.Keys[0].Records[0].Binding) }
		if _, err := look.Find(t.Context(), bindings.Query{Repository: locator(t, repo)}); err == nil ||
			errors.As(err, &lie) {
			t.Errorf("%s: %v", name, err)
		}
		fill()
		d.Build(built)
	}
}

// TestBeforeV2: where Rekor v1 decided about a time in which the format existed, a
// directory of Rekor v2 alone claims nothing.
func TestBeforeV2(t *testing.T) {
	for start, want := range map[time.Time]chain.Completeness{
		time.Date(2025, 10, 1, 0, 0, 0, 0, time.UTC): chain.CompleteProven,
		time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC):  chain.CompleteNone,
	} {
		w := bindtest.NewWorldFrom(t, start)
		s := &site{World: w, Directory: directorytest.New(t, "directory.example/output"), t: t}
		s.Directory.Witness = directorytest.NewWitness(t, "witness.example")
		s.read(s.Bodies)
		s.Build(built)
		found, err := s.lookup(nil).Find(t.Context(), bindings.Query{Repository: locator(t, repo)})
		check(t, err)
		if found.Completeness != want {
			t.Errorf("from %s: %s, want %s", start, found.Completeness, want)
		}
	}
}

// TestNoForge: where maintainers' own entries bind, a directory knows of none.
func TestNoForge(t *testing.T) {
	s := newSite(t)
	d := s.lookup(nil)
	found, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, "https://git.example/acme/widget")})
	check(t, err)
	if found.Completeness != chain.CompleteNone {
		t.Errorf("completeness %s", found.Completeness)
	}
}

// TestMapID: the id of a map, as the specification says.
func TestMapID(t *testing.T) {
	root := strings.Repeat("ab", 32)
	if a, b := bindings.MapID(1, root, ""), spelling.Sum([]byte("1 " + root + " -\n"))[:32]; a != b {
		t.Errorf("%s, want %s", a, b)
	}
}
