// SPDX-License-Identifier: Apache-2.0

package answers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/answers"
	"github.com/repopolicy/repopolicy/internal/bindings"
	"github.com/repopolicy/repopolicy/internal/rekor"
	"github.com/repopolicy/repopolicy/internal/scaffold/bindtest"
	"github.com/repopolicy/repopolicy/rekorbind"

	"github.com/repopolicy/repopolicy/internal/prefixmap"
	"github.com/repopolicy/repopolicy/internal/scaffold/directorytest"
	"github.com/repopolicy/repopolicy/internal/scaffold/sigstoretest"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/internal/web"
	"github.com/repopolicy/repopolicy/policy"
	"github.com/repopolicy/repopolicy/policy/chain"
)

const (
	repo   = "https://github.com/acme/widget"
	number = "https://github.com#15:1001"
)

var (
	now = sigstoretest.Now
	// built is when the directory was built last.
	built = now.Add(-time.Hour)
)

// site is a world and a directory that has read it.
type site struct {
	*bindtest.World
	*directorytest.Directory
	before *directorytest.Directory // with a leaf less, where a test set it
	t      testing.TB
}

// newSite returns a directory with a witness and an earlier leaf, of a map without
// labels.
func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{World: bindtest.NewWorld(t, 2), Directory: directorytest.New(t, "directory.example/output"), t: t}
	s.Directory.Witness = directorytest.NewWitness(t, "witness.example")
	s.read(s.Bodies[:1])
	s.Build(built.Add(-time.Hour))
	s.read(s.Bodies)
	s.Build(built)
	return s
}

// read makes the map of the first entries of the log.
func (s *site) read(bodies [][]byte) {
	s.Read(s.World.Root, s.Log, bodies, s.Inst.CheckpointV2(bodies, s.Inst.Origin()))
}

// publish lists a statement and the signatures over it, at a moment or, with none, in the
// next leaf.
func (s *site) publish(payload []byte, at chain.Shown, keys ...string) {
	st, err := rekorbind.ParseStatement(payload)
	check(s.t, err)
	for _, k := range keys {
		s.Records[k] = append(
			s.Records[k],
			answers.Record{At: at, Disclosed: &answers.DisclosedRecord{Payload: st.Digest(), PAE: st.PAE()}},
		)
		for _, o := range bindings.Offers(s.World.Root, nil, s.Files, nil) {
			for _, sig := range o.Signatures {
				if sig.Payload == st.Digest() {
					s.Records[k] = append(s.Records[k], answers.Record{At: at, Signature: &sig.SignatureRecord})
				}
			}
		}
	}
}

func (s *site) lookup(heads rekor.Heads) *answers.Directory {
	s.t.Helper()
	url := s.Serve()
	client, err := web.New(url, nil, "test")
	check(s.t, err)
	return &answers.Directory{
		Root: s.World.Root, Descriptor: s.Descriptor(url), Client: client, Heads: heads,
		Now: func() time.Time { return now },
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func resolve(t testing.TB, w *bindtest.World, files []bindings.File, lookups ...bindings.Lookup) *bindings.Resolution {
	t.Helper()
	l, err := policy.ParseLocator(repo)
	check(t, err)
	r := &bindings.Resolver{Root: w.Root, Lookups: lookups, Now: now}
	res, err := r.Resolve(t.Context(), l, files)
	check(t, err)
	return res
}

// demand is what is demanded where a directory is named.
var demand = func() chain.Demand {
	d, err := chain.Demand{MaxAge: 24 * time.Hour}.ParseRequire("first,signed")
	if err != nil {
		panic(err)
	}
	return d
}()

// decide judges a release that no rule could allow, to see what the chain says
// before that: "rule-mismatch" or the like if it says nothing.
func decide(c *chain.Chain, d chain.Demand) policy.Reason {
	req := policy.Request{Now: now}
	if v, refused := c.Trusted(d).DecideAdopted(req); refused {
		return v.Reason // also where Precheck leaves it open: a view that is too old
	}
	v, _ := c.Trusted(d).Precheck(req, policy.Claims{})
	return v.Reason
}

// TestDirectory: a stranger's first use is one request, and proven.
func TestDirectory(t *testing.T) {
	s := newSite(t)
	d := s.lookup(nil)
	res := resolve(t, s.World, s.Files, d)
	view := res.Chain.View()
	if len(res.Failed) > 0 || view.Completeness != chain.CompleteProven || !view.AsOf.Equal(built) ||
		len(res.Chain.Versions()) != 2 {
		t.Fatalf("%v %+v %+v", res.Failed, view, res.Chain.Problems())
	}
	if r := decide(res.Chain, demand); r.Class() != policy.ClassDeny {
		t.Errorf("decided %s", r)
	}
	if n := len(s.Requests()); n != 1 {
		t.Errorf("%d requests: %v", n, s.Requests())
	}
	// What the directory alone shows is all bindings, those without files included.
	found, err := d.Find(t.Context(), bindings.Query{Repository: locator(t, repo)})
	check(t, err)
	if len(found.Leaves) != 4 || found.Directory.Sizes[s.Log] != int64(len(s.Bodies)) {
		t.Errorf("%d leaves up to %v", len(found.Leaves), found.Directory.Sizes)
	}
}

func locator(t testing.TB, s string) policy.Locator {
	t.Helper()
	l, err := policy.ParseLocator(s)
	check(t, err)
	return l
}

// TestHostileDirectory: no directory, with or without its key, makes a verdict that
// the log does not give. A lie that it signed is kept as evidence.
func TestHostileDirectory(t *testing.T) {
	const (
		unavailable = policy.BelowRequired
		lied        = policy.DirectoryLied
		forked      = policy.LogForked
	)
	type attack func(s *site)
	answer := func(change func(s *site, a *answers.Answer)) attack {
		return func(s *site) { s.Change = func(a *answers.Answer) { change(s, a) } }
	}
	// signed changes the map before it is built and signed.
	signed := func(change func(r map[string][]answers.Record)) attack {
		return func(s *site) {
			change(s.Records)
			s.Build(built)
		}
	}
	both := func(f func(r []answers.Record) []answers.Record) func(map[string][]answers.Record) {
		return func(m map[string][]answers.Record) {
			for _, k := range []string{repo, number} {
				m[k] = f(m[k])
			}
		}
	}
	drop := func(n int) func([]answers.Record) []answers.Record {
		return func(r []answers.Record) []answers.Record {
			n := (n + len(r)) % len(r)
			return slices.Delete(slices.Clone(r), n, n+1)
		}
	}
	swap := func(r []answers.Record) []answers.Record {
		r = slices.Clone(r)
		r[0], r[1] = r[1], r[0]
		return r
	}
	without := func(m map[string][]answers.Record) {
		delete(m, repo)
		delete(m, number)
	}
	records := func(f func([]answers.Record) []answers.Record) attack {
		return answer(func(_ *site, a *answers.Answer) {
			for i := range a.Keys {
				a.Keys[i].Records = f(a.Keys[i].Records)
			}
		})
	}
	publishes := func(at func(now chain.Shown) chain.Shown) attack {
		return func(s *site) {
			s.publish(s.Payloads[0], at(s.Now), repo, number)
			s.publish(s.Payloads[1], at(s.Now), repo, number)
			s.Build(built)
		}
	}
	lists := func(more ...answers.Record) attack {
		return func(s *site) {
			s.publish(s.Payloads[0], chain.Shown{}, repo, number)
			for _, k := range []string{repo, number} {
				s.Records[k] = append(s.Records[k], more...)
			}
			s.Build(built)
		}
	}
	signature := func(payload string, index int64) answers.Record {
		return answers.Record{
			Signature: &bindings.SignatureRecord{Payload: payload, Log: spelling.Sum(nil), Index: index},
		}
	}
	other := func(s *site) answers.Record { // a binding of somebody else, in the log
		f := s.Bind("https://github.com/acme/other", s.Payloads[0])
		_ = f
		s.Refresh()
		s.read(s.Bodies)
		return s.Records["https://github.com/acme/other"][0]
	}
	for name, x := range map[string]struct {
		attack attack
		want   policy.Reason // of the chain; "" for what is no attack
	}{
		"honest": {func(*site) {}, ""},

		// By whoever is in between.
		"drops the first":   {records(drop(0)), unavailable},
		"drops the last":    {records(drop(-1)), unavailable},
		"reorders":          {records(swap), unavailable},
		"shows one twice":   {records(func(r []answers.Record) []answers.Record { return append(r, r[0]) }), unavailable},
		"shows no record":   {records(func([]answers.Record) []answers.Record { return nil }), unavailable},
		"hides the number":  {answer(func(_ *site, a *answers.Answer) { a.Keys = a.Keys[:1] }), unavailable},
		"hides the locator": {answer(func(_ *site, a *answers.Answer) { a.Keys = a.Keys[1:] }), unavailable},
		"renames a key": {
			answer(func(_ *site, a *answers.Answer) { a.Keys[0].Key = "https://github.com/acme/other" }), unavailable,
		},
		"gives values as a block": {answer(asBlock), unavailable},
		"claims none":             {answer(func(s *site, a *answers.Answer) { *a = s.Absence(repo, 2) }), unavailable},
		"claims none elsewhere": {
			answer(func(s *site, a *answers.Answer) { *a = s.Absence("https://github.com/acme/nobody", 2) }), unavailable,
		},
		"claims an empty map": {
			answer(func(_ *site, a *answers.Answer) { a.Keys, a.Absent = nil, &answers.Absence{} }), unavailable,
		},
		"says where to ask": {answer(func(_ *site, a *answers.Answer) { a.Keys, a.Split = nil, 4 }), unavailable},
		"another body": {answer(func(_ *site, a *answers.Answer) {
			b := a.Keys[0].Records[0].Binding
			b.Body = strings.Replace(b.Body, "0.0.2", "0.0.1", 1)
		}), unavailable},
		"another index": {answer(func(_ *site, a *answers.Answer) { a.Keys[0].Records[0].Binding.Index++ }), unavailable},
		"no inclusion": {
			answer(func(_ *site, a *answers.Answer) { a.Keys[0].Records[0].Binding.Inclusion = nil }), unavailable,
		},
		"a step less": {answer(func(_ *site, a *answers.Answer) { a.Keys[0].Path = a.Keys[0].Path[:0] }), unavailable},
		"another leaf": {
			answer(func(_ *site, a *answers.Answer) { a.Leaf = bytes.Replace(a.Leaf, []byte("2026"), []byte("2027"), 1) }),
			unavailable,
		},
		"the leaf before": {answer(func(s *site, a *answers.Answer) { *a = older(s, a) }), unavailable},
		"no signature": {
			answer(func(_ *site, a *answers.Answer) { a.Checkpoint, _, _ = strings.Cut(a.Checkpoint, "—") }), unavailable,
		},
		"another spelling": {
			answer(func(s *site, a *answers.Answer) { a.Checkpoint += "\u2014 other AAAAAAB=\n" }), unavailable,
		},
		"a checkpoint of others": {answer(func(s *site, a *answers.Answer) { a.Checkpoint = stranger(s) }), unavailable},
		"a checkpoint of the log": {
			answer(func(s *site, a *answers.Answer) { a.Checkpoint = string(s.World.Checkpoint) }), unavailable,
		},
		"the log's own checkpoint": {answer(func(s *site, a *answers.Answer) {
			a.Keys[0].Records[0].Binding.Checkpoint = string(s.World.Checkpoint)
		}), ""},
		"no such thing": {func(s *site) { s.Tamper = func(string, []byte) []byte { return nil } }, unavailable},
		"an empty file": {func(s *site) { s.Tamper = func(string, []byte) []byte { return []byte{} } }, unavailable},
		"cut":           {func(s *site) { s.Tamper = func(_ string, f []byte) []byte { return f[:len(f)/2] } }, unavailable},
		"something after it": {
			func(s *site) { s.Tamper = func(_ string, f []byte) []byte { return append(f, f...) } }, unavailable,
		},
		"no lookup, but an absence": {func(s *site) {
			s.Tamper = func(p string, f []byte) []byte {
				if strings.Contains(p, "/lookup/") {
					return nil
				}
				return f
			}
		}, unavailable},
		"no cosignature": {func(s *site) {
			s.Change = func(a *answers.Answer) {
				i := strings.LastIndex(a.Checkpoint, "— witness.example")
				a.Checkpoint = a.Checkpoint[:i]
			}
		}, ""}, // its word: signed
		"a log that stands still": {func(s *site) {
			s.Dated = now.AddDate(0, -3, 0)
			s.Build(built)
		}, policy.ViewStale},
		"a log that stood still for hours": {func(s *site) {
			s.Dated = now.Add(-20 * time.Hour)
			s.Build(built)
		}, ""},
		"a log that nothing dates": {func(s *site) { // and that is not proven to be as new as the leaf
			s.Undated = true
			s.Build(built)
		}, ""},
		"an old answer": {func(s *site) {
			old := s.Directory.Fork()
			s.Records = map[string][]answers.Record{}
			s.Tamper = func(string, []byte) []byte { old.Cosigned = now.Add(-48 * time.Hour); return old.Honest(repo) }
		}, policy.ViewStale},

		// By the directory itself.
		"omits the first": {signed(both(drop(0))), lied},
		// a binding that nobody has
		"omits the last":             {signed(both(func(r []answers.Record) []answers.Record { return r[:len(r)-1] })), ""},
		"omits the last of ours":     {signed(both(drop(1))), lied},
		"omits it from the name":     {signed(func(m map[string][]answers.Record) { m[repo] = drop(0)(m[repo]) }), lied},
		"omits the number's":         {signed(func(m map[string][]answers.Record) { m[number] = drop(0)(m[number]) }), lied},
		"has none":                   {signed(without), lied},
		"puts them in another order": {signed(both(swap)), lied},
		"has one twice": {
			signed(both(func(r []answers.Record) []answers.Record { return append(slices.Clone(r), r[len(r)-1]) })), lied,
		},
		"adds another's": {func(s *site) {
			r := other(s)
			s.Records[repo] = append(s.Records[repo], r)
			s.Build(built)
		}, lied},
		"adds an entry that is none": {signed(both(func(r []answers.Record) []answers.Record {
			return append(
				slices.Clone(r),
				answers.Record{Binding: &answers.BindingRecord{Log: r[0].Binding.Log, Index: 299, Body: `{"kind":"hashedrekord"}`}},
			)
		})), lied},
		"adds one beyond what it read": {func(s *site) {
			beyond := s.Records[repo][3]
			s.read(s.Bodies[:beyond.Binding.Index])
			for _, k := range []string{repo, number} {
				s.Records[k] = append(s.Records[k], beyond)
			}
			s.Build(built)
		}, lied},
		"forks the output log": {nil, forked}, // below
		"reads another log": {func(s *site) {
			s.Map.Inputs[0].Log = spelling.Sum([]byte("other"))
			s.Build(built)
		}, unavailable},
		"reads none": {func(s *site) {
			s.Map.Inputs[0].Checkpoint = "none\n"
			s.Build(built)
		}, unavailable},
		"reads a fork of the log": {func(s *site) {
			own, err := rekorbindCheckpoint(s)
			check(s.t, err)
			bodies := slices.Clone(s.Bodies[:own])
			bodies[0] = []byte("another")
			s.read(bodies)
			s.Build(built)
		}, forked},
		"keeps no such map":       {func(s *site) { s.Map.Root = spelling.Sum(nil); s.Build(built) }, unavailable},
		"has another function":    {func(s *site) { s.Map.Function++; s.Build(built) }, unavailable},
		"has another forge table": {func(s *site) { s.Map.Forges = spelling.Sum(nil); s.Build(built) }, unavailable},
		"is from the future":      {func(s *site) { s.Build(now.Add(time.Hour)) }, unavailable},
		"is a little ahead":       {func(s *site) { s.Build(now.Add(time.Minute)) }, ""},
		"was read long ago": {func(s *site) {
			s.Forget()
			s.read(s.Bodies)
			s.Build(now.Add(-25 * time.Hour))
			s.Cosigned = now
		}, policy.ViewStale},
		"publishes":                            {publishes(func(chain.Shown) chain.Shown { return chain.Shown{} }), ""},
		"publishes what an earlier leaf shows": {publishes(func(now chain.Shown) chain.Shown { return now }), ""},
		"publishes in a leaf to come": {publishes(func(now chain.Shown) chain.Shown {
			now.Leaf += 2
			return now
		}), lied},
		"publishes in a leaf of two times": {publishes(func(now chain.Shown) chain.Shown {
			now.Time = now.Time.Add(-time.Second)
			return now
		}), lied},
		"publishes in a leaf whose clock is ahead": {publishes(func(now chain.Shown) chain.Shown {
			now.Clock += time.Hour
			return now
		}), lied},
		"publishes in a leaf before the first, later": {publishes(func(now chain.Shown) chain.Shown {
			return chain.Shown{Leaf: 0, Time: now.Time.Add(time.Hour)}
		}), lied},
		"lists a signature twice": {
			lists(signature(spelling.Sum(nil), 1), signature(spelling.Sum(nil), 1)), lied,
		},
		"lists a signature over no statement": {lists(signature(spelling.Sum(nil), 1)), lied},
		"publishes twice": {func(s *site) {
			s.publish(s.Payloads[0], chain.Shown{}, repo, number)
			s.publish(s.Payloads[0], chain.Shown{}, repo, number)
			s.Build(built)
		}, lied},
		"publishes at two moments": {func(s *site) {
			s.publish(s.Payloads[0], s.Now, repo)
			s.publish(s.Payloads[0], chain.Shown{}, number)
			s.Build(built)
		}, lied},
		"publishes before it is bound": {func(s *site) {
			s.publish(s.Payloads[1], chain.Shown{}, repo, number)
			for _, k := range []string{repo, number} {
				r := s.Records[k]
				s.Records[k] = slices.Concat(r[len(r)-1:], r[:len(r)-1])
			}
			s.Build(built)
		}, lied},
		"publishes what nothing binds": {signed(both(func(r []answers.Record) []answers.Record {
			return append(
				slices.Clone(r),
				answers.Record{
					At: r[0].At, Disclosed: &answers.DisclosedRecord{Payload: spelling.Sum(nil), PAE: spelling.Sum(nil)},
				},
			)
		})), lied},
	} {
		if x.attack == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.t = t
			d := s.lookup(nil)
			x.attack(s)
			res := resolve(t, s.World, s.Files, d)
			got := decide(res.Chain, demand)
			if x.want == "" && (got.Class() != policy.ClassDeny || len(res.Failed) > 0) ||
				x.want != "" && got != x.want {
				t.Fatalf("%s, want %q: %v %+v", got, x.want, res.Failed, res.Chain.Problems())
			}
			if (res.Lie != nil) != (x.want == lied) {
				t.Fatalf("evidence: %v", res.Lie)
			}
			if res.Lie == nil {
				return
			}
			// Anyone can judge it, and nobody can turn it against an honest directory.
			lie, err := bindings.ParseLie(res.Lie.Bytes())
			check(t, err)
			if _, err := d.Descriptor.JudgeLie(lie, s.World.Root, nil); err != nil {
				t.Errorf("the evidence proves nothing: %v", err)
			}
			honest := newSite(t)
			if why, err := honest.Descriptor(d.Descriptor.URL).JudgeLie(lie, s.World.Root, nil); err == nil {
				t.Errorf("it convicts another directory: %s", why)
			}
			lie.Answer = honestAnswer(t, s)
			if why, err := d.Descriptor.JudgeLie(lie, s.World.Root, nil); err == nil {
				t.Errorf("it convicts for an honest answer: %s", why)
			}
		})
	}
}

// honestAnswer returns what the same directory would have answered.
func honestAnswer(t testing.TB, s *site) []byte {
	t.Helper()
	f := s.Directory.Fork()
	f.Read(s.World.Root, s.Log, s.Bodies, s.World.Checkpoint)
	f.Build(built)
	return f.Honest(repo)
}

// rekorbindCheckpoint returns the size of the newest tree that a bundle shows.
func rekorbindCheckpoint(s *site) (int64, error) {
	c, ignored := bindings.Collect(s.World.Root, nil, s.Files)
	if len(ignored) > 0 {
		return 0, errors.New(ignored[0].Why)
	}
	return c.Trees()[s.Log][0].Size, nil
}

// older returns an answer with the leaf before the last.
func older(s *site, a *answers.Answer) answers.Answer {
	out := *a
	out.Leaf, out.Index = s.Leaf(-2)
	return out
}

// asBlock gives all values of a key as one block.
func asBlock(_ *site, a *answers.Answer) {
	k := &a.Keys[0]
	var values []prefixmap.Hash
	for _, r := range k.Records {
		text, err := r.Text()
		if err != nil {
			panic(err)
		}
		values = append(values, answers.Value(text))
	}
	k.Blocks, k.Records = []prefixmap.Hash{prefixmap.Values(prefixmap.KeyHash(k.Key), nil, values)}, nil
}

// stranger returns a checkpoint of the same log by another key.
func stranger(s *site) string {
	x := directorytest.New(s.t, "directory.example/output")
	for n := range 2 {
		leaf, _ := s.Leaf(n)
		x.Append(leaf)
	}
	return x.Checkpoint(2)
}

// witnessed keeps what a directory found.
type witnessed struct {
	*answers.Directory
	found bindings.Found
}

func (w *witnessed) Find(ctx context.Context, q bindings.Query) (bindings.Found, error) {
	var err error
	w.found, err = w.Directory.Find(ctx, q)
	return w.found, err
}

// TestUnasked: of a repository that the answer is not about it says nothing, although a
// binding of it is at hand.
func TestUnasked(t *testing.T) {
	s := newSite(t)
	const other = "https://github.com/acme/before"
	third := s.First(other)
	files := slices.Clone(s.Files)
	for i, payload := range [][]byte{third, s.Payloads[0]} {
		f := s.BindAs(other, "77", payload)
		f.Name = fmt.Sprintf("%s/more%d.sigstore.json", bindings.SignaturesDir, i)
		files = append(files, f)
	}
	s.Refresh()
	s.read(s.Bodies)
	s.publish(s.Payloads[0], chain.Shown{}, repo, number)
	s.publish(s.Payloads[1], chain.Shown{}, repo, number)
	s.Build(built.Add(time.Minute))
	w := &witnessed{Directory: s.lookup(nil)}
	res := resolve(t, s.World, files, w)
	if len(res.Failed) > 0 || len(res.Ignored) > 0 {
		t.Fatalf("%v %v", res.Failed, res.Ignored)
	}
	d := w.found.Directory
	bindings := 0
	for _, r := range s.Records[repo] {
		if r.Binding != nil {
			bindings++
		}
	}
	if len(d.Bindings) != bindings || len(d.Statements) != 2 || len(d.Signatures) == 0 {
		t.Errorf("%d bindings, %d statements, %d signatures", len(d.Bindings), len(d.Statements), len(d.Signatures))
	}
	for at, shown := range d.Bindings {
		if shown.Leaf > 1 || d.Latest.Leaf != 2 || at.Index >= d.Sizes[at.Log] {
			t.Errorf("%v at %+v, of %v", at, shown, d.Sizes)
		}
	}
}

// TestNothingLongAgo: an old proof that nothing is bound, which a mirror without the key
// can serve for ever, is no answer. Else it would leave a scope with continue.
func TestNothingLongAgo(t *testing.T) {
	for age, want := range map[time.Duration]policy.Reason{time.Hour: policy.NoBinding, 25 * time.Hour: policy.ViewStale} {
		s := &site{World: bindtest.NewWorld(t, 2), Directory: directorytest.New(t, "directory.example/output"), t: t}
		s.read(s.Bodies[:1])
		s.Build(now.Add(-age))
		res := resolve(t, s.World, nil, s.lookup(nil))
		if got := decide(res.Chain, demand); len(res.Failed) > 0 || got != want {
			t.Errorf("%s: %v, decided %s, want %s", age, res.Failed, got, want)
		}
	}
}
