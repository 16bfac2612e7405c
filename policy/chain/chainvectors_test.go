// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/repopolicy/repopolicy/internal/scaffold/vectors"
	"github.com/repopolicy/repopolicy/internal/scaffold/vectors/evidence"
	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// The JSON form of a history (SPEC 11).
type historyCase struct {
	Repository  string    `json:"repository"`
	Binder      string    `json:"binder"`
	DefaultRefs []string  `json:"default-refs"`
	Now         time.Time `json:"now"`
	Skew        int       `json:"skew"`
	Logs        []struct {
		ID         string    `json:"id"`
		Generation int       `json:"generation"`
		Start      time.Time `json:"start"`
		End        time.Time `json:"end"`
	} `json:"logs"`
	Statements []struct {
		Name     string `json:"name"`
		Policy   string `json:"policy"`
		Previous string `json:"previous"`
		Withheld bool   `json:"withheld"`
	} `json:"statements"`
	Signers    map[string]evidence.Signer `json:"signers"`
	Signatures []struct {
		Statement string `json:"statement"`
		Signer    string `json:"signer"`
		evidence.Entry
		Unverified  bool   `json:"unverified"`
		Certificate string `json:"certificate"` // "revoked" or "unknown"; "" if it counts
		Body        string `json:"body"`
	} `json:"signatures"`
	Leaves []struct {
		Statement    string `json:"statement"`
		Shows        string `json:"shows"` // "payload" or "pae"
		Body         string `json:"body"`
		Repository   string `json:"repository"`
		RepositoryID string `json:"repository-id"`
		OwnerID      string `json:"owner-id"`
		Ref          string `json:"ref"`
		evidence.Entry
		Unverified bool `json:"unverified"`
	} `json:"leaves"`
	Directory *directoryCase `json:"directory"`
	Moments   []struct {
		Log  string    `json:"log"`
		Size int64     `json:"size"`
		At   time.Time `json:"at"`
		By   string    `json:"by"`
	} `json:"moments"`
	Clock []struct {
		Log   string    `json:"log"`
		Index int64     `json:"index"`
		At    time.Time `json:"at"`
	} `json:"clock"`
	Kept   []string `json:"kept"`
	Pin    string   `json:"pin"`
	Anchor string   `json:"anchor"`
	Ids    struct {
		Repository string `json:"repository"`
		Owner      string `json:"owner"`
	} `json:"ids"`
	View struct {
		Completeness Completeness `json:"completeness"`
		AsOf         time.Time    `json:"as-of"`
		Inputs       time.Time    `json:"inputs"`
	} `json:"view"`
	Demand struct {
		Require     string `json:"require"`
		MaxAge      int    `json:"max-age"` // seconds
		Strict      bool   `json:"strict"`
		FailOnAlarm bool   `json:"fail-on-alarm"`
	} `json:"demand"`
}

// directoryCase is what a directory showed: in leaves before the newest one, of which each
// has a number from 0, and in the newest, of the moment of the view.
type directoryCase struct {
	Sizes  map[string]int64 `json:"sizes"` // of the newest leaf
	Leaves []struct {
		Time  time.Time        `json:"time"`
		Sizes map[string]int64 `json:"sizes"`
	} `json:"leaves"`
	// Disclosed says by statement which leaf first shows it. The leaf shows all signatures
	// at hand with it, but for those of Signatures; leaf -1 is none.
	Disclosed  map[string]int `json:"disclosed"`
	Signatures []struct {
		Statement string `json:"statement"`
		Log       string `json:"log"`
		Index     int64  `json:"index"`
		Leaf      int    `json:"leaf"`
	} `json:"signatures"`
}

// directory returns what the directory proves about the entries of h.
func (c *directoryCase) directory(
	t fataler, h *History, ref func(string) string, paes map[string]string, asOf time.Time,
) *Directory {
	d := &Directory{Sizes: c.Sizes, Bindings: map[Position]Shown{}}
	var leaves []Shown
	var sizes []map[string]int64
	add := func(at time.Time, s map[string]int64) {
		x := Shown{Leaf: int64(len(leaves)), Time: at}
		if n := len(leaves); n > 0 {
			x.Clock = leaves[n-1].Clock + min(at.Sub(leaves[n-1].Time), 24*time.Hour)
		}
		leaves, sizes = append(leaves, x), append(sizes, s)
	}
	for _, l := range c.Leaves {
		add(l.Time, l.Sizes)
	}
	add(asOf, c.Sizes)
	d.Latest = leaves[len(leaves)-1]
	for _, l := range h.Leaves {
		at := l.facts.Entry
		for i := range leaves {
			if size, ok := sizes[i][at.Log]; ok && at.Index < size && !l.facts.Binding.IsZero() {
				d.Bindings[positionOf(at)] = leaves[i]
				break
			}
		}
	}
	named := map[Position]bool{}
	for _, s := range c.Signatures {
		p := Position{s.Log, s.Index}
		named[p] = true
		if s.Leaf >= 0 {
			d.Signatures = append(d.Signatures, Listed{ref(s.Statement), "", p, leaves[s.Leaf]})
		}
	}
	for name, i := range c.Disclosed {
		if i >= len(leaves) {
			t.Fatal("no leaf ", i)
		}
		digest := ref(name)
		d.Statements = append(d.Statements, Listed{digest, paes[name], Position{}, leaves[i]})
		for _, sig := range h.Signatures {
			if at := positionOf(sig.facts.Entry); sig.verified && sig.facts.Statement == digest && !named[at] {
				d.Signatures = append(d.Signatures, Listed{digest, "", at, leaves[i]})
			}
		}
	}
	return d
}

type chainWant struct {
	Genesis  *string  `json:"genesis"` // label
	Chain    []string `json:"chain"`   // names of statements
	Versions []int    `json:"versions"`
	Alarms   []string `json:"alarms"`
	Problems []string `json:"problems"`
	Rule     *string  `json:"rule"`
	Notes    []string `json:"notes"`
}

// fataler is what tests and properties have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// encodeStatement is the canonical encoding for texts without the few
// characters that encoding/json escapes and RFC 8785 does not.
func encodeStatement(t fataler, p Predicate) []byte {
	t.Helper()
	type d struct {
		Digest map[string]string `json:"digest"`
		Name   string            `json:"name"`
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	pred := map[string]any{"policy": p.Policy, "repository": p.Repository, "version": p.Version}
	if p.Previous != "" {
		pred["previous"] = p.Previous
	}
	anchor := func(name string) d {
		return d{map[string]string{"sha256": spelling.Sum([]byte("repopolicy/v1\n" + name + "\n"))}, name}
	}
	subjects := []d{
		{map[string]string{"sha256": spelling.Sum([]byte(p.Policy))}, ".repopolicy/policy.toml"}, anchor(p.Repository),
	}
	if p.Formerly != "" {
		pred["formerly"] = p.Formerly
		subjects = append(subjects, anchor(p.Formerly))
	}
	err := enc.Encode(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"predicate":     pred,
		"predicateType": spelling.StatementPredicate,
		"subject":       subjects,
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// statementOf returns the statement over a policy; a digest that is not of a
// statement stands for itself.
func statementOf(t fataler, text, previous string) Statement {
	t.Helper()
	p := Predicate{Policy: text, Previous: previous}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "repository = \""); ok {
			p.Repository = strings.TrimSuffix(v, "\"\n")
		}
		if v, ok := strings.CutPrefix(line, "formerly = \""); ok {
			p.Formerly = strings.TrimSuffix(v, "\"\n")
		}
		if v, ok := strings.CutPrefix(line, "version = "); ok {
			if _, err := fmt.Sscan(v, &p.Version); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, _ := p.Statement(encodeStatement(t, p), nil)
	return s
}

// chainInput is a vector as the package takes it.
type chainInput struct {
	h      History
	demand Demand
	in     evidence.Case
	want   chainWant
	names  map[string]string // of statements, by digest
	facts  []policy.RootFact
}

// trusted returns what the release is judged by.
func (in *chainInput) trusted(c *Chain) *Trusted {
	t := c.Trusted(in.demand).Knowing(in.facts)
	if in.in.Among != nil {
		t = t.Among(*in.in.Among)
	}
	return t
}

func readChain(t testing.TB, v vectors.Vector) chainInput {
	t.Helper()
	parts := v.Sections(t)
	for name := range parts {
		if !strings.HasSuffix(name, ".toml") && name != "history.json" && name != "release.json" &&
			name != "want.json" && name != "roots.json" {
			t.Fatalf("unknown section %s", name)
		}
	}
	var c historyCase
	vectors.Strict(t, parts["history.json"], &c)
	out := chainInput{names: map[string]string{}}
	vectors.Strict(t, parts["want.json"], &out.want)
	out.in = evidence.Read(t, parts["release.json"])
	out.facts = evidence.Roots(t, parts["roots.json"])
	out.in.Request.Now, out.in.Request.Skew = c.Now, time.Duration(c.Skew)*time.Second
	var err error
	h := &out.h
	locator := func(s string) policy.Locator {
		if s == "" {
			return policy.Locator{}
		}
		l, err := policy.ParseLocator(s)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	h.Repository, h.Now, h.DefaultRefs = locator(c.Repository), c.Now, c.DefaultRefs
	switch c.Binder {
	case "", "workflow":
	case "maintainers":
		h.MaintainersBind = true
	default:
		t.Fatalf("binder %q", c.Binder)
	}
	for _, l := range c.Logs {
		h.Logs = append(h.Logs, policy.Log{ID: l.ID, Generation: l.Generation, Start: l.Start, End: l.End})
	}
	digests, paes := map[string]string{}, map[string]string{}
	ref := func(name string) string {
		switch d, ok := digests[name]; {
		case ok:
			return d
		case name == "" || spelling.IsHex(name, 64):
			return name
		}
		t.Fatalf("no statement %s", name)
		return ""
	}
	for _, x := range c.Statements {
		s := statementOf(t, parts[x.Policy+".toml"], ref(x.Previous))
		digests[x.Name], paes[x.Name], out.names[s.digest] = s.digest, s.pae, x.Name
		if !x.Withheld {
			h.Statements = append(h.Statements, s)
		}
	}
	for _, x := range c.Signatures {
		s, ok := c.Signers[x.Signer]
		if !ok {
			t.Fatalf("no signer %s", x.Signer)
		}
		f := SignatureFacts{Statement: ref(x.Statement), Signer: s.Identity(), Entry: policy.Entry(x.Entry)}
		if f.Body = x.Body; x.Certificate != "" {
			f.Doubt = map[string]policy.Reason{
				"revoked": policy.CertificateRevoked, "unknown": policy.RevocationUnknown,
			}[x.Certificate]
			if f.Doubt == "" {
				t.Fatalf("certificate %q", x.Certificate)
			}
		}
		sig := f.Verified()
		sig.verified = !x.Unverified
		h.Signatures = append(h.Signatures, sig)
	}
	for _, x := range c.Leaves {
		f := LeafFacts{Body: x.Body, Entry: policy.Entry(x.Entry), Binding: Binding{
			locator(x.Repository), x.RepositoryID, x.OwnerID, x.Ref,
		}}
		d := ref(x.Statement)
		if x.Shows == "payload" {
			f.Payload = d
		} else if f.PAE = d; paes[x.Statement] != "" {
			f.PAE = paes[x.Statement]
		}
		l := f.Verified()
		l.verified = !x.Unverified
		h.Leaves = append(h.Leaves, l)
	}
	for _, m := range c.Moments {
		h.Moments = append(h.Moments, policy.Log{ID: m.Log}.Seen(m.Size, m.At, m.By))
	}
	for _, x := range c.Clock {
		h.clock = append(h.clock, newTick(x.Log, x.Index, x.At))
	}
	if c.Directory != nil {
		h.Directory = c.Directory.directory(t, h, ref, paes, c.View.AsOf)
	}
	for _, k := range c.Kept {
		h.Kept.Chain = append(h.Kept.Chain, ref(k))
	}
	texts := map[string]string{}
	for name, text := range parts {
		if base, ok := strings.CutSuffix(name, ".toml"); ok {
			texts[base] = text
		}
	}
	if len(c.Statements) > 0 {
		texts[""] = parts[c.Statements[0].Policy+".toml"]
	}
	out.in.Approve(t, texts)
	h.Pin, h.Anchor, h.Ids = ref(c.Pin), ref(c.Anchor), policy.Ids(c.Ids)
	h.View = View{c.View.Completeness, c.View.AsOf, c.View.Inputs}
	out.demand = Demand{
		MaxAge: time.Duration(c.Demand.MaxAge) * time.Second, Strict: c.Demand.Strict,
		FailOnAlarm: c.Demand.FailOnAlarm,
	}
	if c.Demand.Require != "" {
		if out.demand, err = out.demand.ParseRequire(c.Demand.Require); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func codesOf(c *Chain) (alarms, problems []string) {
	alarms, problems = []string{}, []string{}
	for _, a := range c.Alarms() {
		alarms = append(alarms, a.Code)
	}
	for _, p := range c.Problems() {
		problems = append(problems, string(p.Reason))
	}
	slices.Sort(alarms)
	slices.Sort(problems)
	return slices.Compact(alarms), slices.Compact(problems)
}

func TestChainVectors(t *testing.T) {
	for _, v := range vectors.Read(t, "chain") {
		t.Run(v.Name, func(t *testing.T) {
			in := readChain(t, v)
			c := Evaluate(in.h)
			d := in.in.Decide(in.trusted(c))
			if string(d.Reason) != v.Header["reason"] || d.Reason.Class().String() != v.Header["expect"] {
				near, _ := d.Nearest()
				t.Errorf(
					"got %s %s (%s), want %s %s\nproblems %v\nalarms %v\nversions %v\nnearest %v", d.Reason.Class(),
					d.Reason, d.Detail, v.Header["expect"], v.Header["reason"], c.Problems(), c.Alarms(), d.Versions,
					near,
				)
			}
			if (d.Permitted) != (v.Header["expect"] == "OK") {
				t.Errorf("permitted %v", d.Permitted)
			}
			alarms, problems := codesOf(c)
			if w := in.want.Alarms; w != nil || len(alarms) > 0 {
				if diff := cmp.Diff(w, alarms); diff != "" {
					t.Errorf("alarms (-want +got):\n%s", diff)
				}
			}
			if w := in.want.Problems; w != nil || len(problems) > 0 {
				if diff := cmp.Diff(w, problems); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
			}
			if w := in.want.Genesis; w != nil && string(c.Genesis()) != *w {
				t.Errorf("genesis %s, want %s", c.Genesis(), *w)
			}
			if w := in.want.Chain; w != nil {
				got := []string{}
				for _, x := range c.Versions() {
					got = append(got, in.names[x.Statement])
				}
				if diff := cmp.Diff(w, got); diff != "" {
					t.Errorf("chain (-want +got):\n%s", diff)
				}
			}
			if w := in.want.Versions; w != nil && !slices.Equal(w, d.Numbers()) {
				t.Errorf("versions %v, want %v", d.Versions, w)
			}
			if w := in.want.Rule; w != nil && d.Rule != *w {
				t.Errorf("rule %q, want %q", d.Rule, *w)
			}
			if w := in.want.Notes; w != nil {
				got := []string{}
				for _, n := range d.Notes {
					got = append(got, n.Code)
				}
				if !slices.Equal(w, got) {
					t.Errorf("notes %q, want %q", got, w)
				}
			}
		})
	}
}

// shuffled returns the history with every list in another order.
func shuffled(h History, r *rand.Rand) History {
	h.Logs, h.Statements = shuffledList(h.Logs, r), shuffledList(h.Statements, r)
	h.Signatures, h.Leaves = shuffledList(h.Signatures, r), shuffledList(h.Leaves, r)
	return h
}

func shuffledList[T any](of []T, r *rand.Rand) []T {
	of = slices.Clone(of)
	r.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	return of
}

// TestChainOrder: the order of the input changes nothing, and neither do copies.
func TestChainOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range vectors.Read(t, "chain") {
		in := readChain(t, v)
		c := Evaluate(in.h)
		d := in.in.Decide(in.trusted(c))
		for range 10 {
			h := shuffled(in.h, r)
			h.Statements = append(h.Statements, h.Statements...)
			h.Signatures = append(h.Signatures, h.Signatures...)
			h.Leaves = append(h.Leaves, h.Leaves...)
			again := Evaluate(shuffled(h, r))
			if got := in.in.Decide(in.trusted(again)); !reflect.DeepEqual(d, got) {
				t.Fatalf(
					"%s: %s (%s) after shuffling, before %s (%s)", v.Name, got.Reason, got.Detail, d.Reason, d.Detail,
				)
			}
			if !reflect.DeepEqual(c.Keep(), again.Keep()) {
				t.Fatalf("%s: another chain after shuffling", v.Name)
			}
		}
	}
}

// TestChainJunk: what is not verified, in no known log, late or without authority
// changes nothing.
func TestChainJunk(t *testing.T) {
	for _, v := range vectors.Read(t, "chain") {
		in := readChain(t, v)
		d := in.in.Decide(in.trusted(Evaluate(in.h)))
		junk := in.h
		junk.Signatures, junk.Leaves = slices.Clone(junk.Signatures), slices.Clone(junk.Leaves)
		junk.Statements = append(slices.Clone(junk.Statements), Statement{}, bad([]byte("junk")))
		for _, s := range in.h.Signatures {
			unverified, elsewhere := s, s
			unverified.verified = false
			unverified.facts.Entry.Index = 0
			elsewhere.facts.Entry.Log, elsewhere.facts.Entry.Index = "no such log", 0
			stranger := s
			stranger.facts.Signer = person("mallory@example.net")
			junk.Signatures = append(junk.Signatures, unverified, elsewhere, stranger, Signature{})
		}
		for _, l := range in.h.Leaves {
			unverified, elsewhere, spam, negative := l, l, l, l
			unverified.verified = false
			unverified.facts.Entry.Index = 0
			elsewhere.facts.Entry.Log, elsewhere.facts.Entry.Index = "no such log", 0
			spam.facts.Binding = Binding{}
			negative.facts.Entry.Index = -1
			nobody := l
			nobody.facts.Binding.RepositoryID = ""
			junk.Leaves = append(junk.Leaves, unverified, elsewhere, spam, negative, nobody, Leaf{})
		}
		if got := in.in.Decide(in.trusted(Evaluate(junk))); !reflect.DeepEqual(d, got) {
			t.Errorf("%s: %s (%s) with junk, before %s (%s)", v.Name, got.Reason, got.Detail, d.Reason, d.Detail)
		}
	}
}

// TestChainPrecheck: what is refused early is refused after verification too.
func TestChainPrecheck(t *testing.T) {
	for _, v := range vectors.Read(t, "chain") {
		in := readChain(t, v)
		if in.in.Claims == nil {
			continue
		}
		p := in.trusted(Evaluate(in.h))
		pre, final := p.Precheck(in.in.Request, *in.in.Claims)
		if pre.Permitted || final && v.Header["expect"] == "OK" || final != (pre.Reason != "") {
			t.Errorf("%s: refused early as %s", v.Name, pre.Reason)
		}
	}
}

// TestChainKeeps: a chain that is decided is kept, and kept it changes nothing; a
// failed evaluation leaves what was kept.
func TestChainKeeps(t *testing.T) {
	for _, v := range vectors.Read(t, "chain") {
		in := readChain(t, v)
		c := Evaluate(in.h)
		kept := c.Keep()
		if c.Reason() != "" {
			if !reflect.DeepEqual(kept, in.h.Kept) {
				t.Errorf("%s: an undecided chain was kept", v.Name)
			}
			continue
		}
		again := in.h
		again.Kept = kept
		d, e := in.in.Decide(in.trusted(c)), in.in.Decide(in.trusted(Evaluate(again)))
		if !reflect.DeepEqual(d, e) {
			t.Errorf("%s: %s when kept, %s before", v.Name, e.Reason, d.Reason)
		}
		if len(kept.Chain) == 0 {
			continue
		}
		again.Kept = Kept{append(slices.Clone(kept.Chain), strings.Repeat("0", 64))}
		lapsed := slices.ContainsFunc(c.Alarms(), func(a Alarm) bool { return a.Code == alarmLapsed })
		if r := Evaluate(again).Reason(); r != policy.ChainRollback &&
			!(r == policy.ChainForked && len(kept.Chain) < len(c.Versions())) && !(r == policy.Undisclosed && lapsed) {
			t.Errorf("%s: a version that was seen before is gone: %q", v.Name, r)
		}
		if r := Evaluate(again).Keep(); !reflect.DeepEqual(r, again.Kept) {
			t.Errorf("%s: the rollback was kept", v.Name)
		}
	}
}

// TestStatementVectorsAgree compares the encoder of these tests with the vectors.
func TestStatementVectorsAgree(t *testing.T) {
	n := 0
	for _, v := range vectors.Read(t, "statement") {
		parts := v.Sections(t)
		text, ok := parts["policy.toml"]
		if !ok || v.Header["expect"] != "OK" || strings.Contains(text, "v2") {
			continue
		}
		s := statementOf(t, text, v.Header["previous"])
		if s.Digest() != v.Header["digest"] || s.PAE() != v.Header["pae"] || s.Err() != nil {
			t.Errorf("%s: %s", v.Name, s.Digest())
		}
		n++
	}
	if n == 0 {
		t.Error("no vector")
	}
}

// bad returns the statement of a payload that encodes no predicate.
func bad(payload []byte) Statement {
	s, _ := Predicate{}.Statement(payload, errors.New("not a statement"))
	return s
}

// TestLockedIds: numbers that a lock demands change no verdict if they are those of the first
// version, and let nothing pass if they are others; where there is no chain they mean nothing.
func TestLockedIds(t *testing.T) {
	for _, v := range vectors.Read(t, "chain") {
		in := readChain(t, v)
		if in.h.Ids != (policy.Ids{}) {
			continue
		}
		c := Evaluate(in.h)
		d := in.in.Decide(c.Trusted(in.demand))
		same := policy.Ids{Repository: "1001", Owner: "2002"}
		if len(c.links) > 0 {
			same = c.links[0].ids
		}
		for _, ids := range []policy.Ids{
			same, {Repository: same.Repository + "0", Owner: same.Owner}, {Repository: same.Repository, Owner: same.Owner + "0"},
		} {
			h := in.h
			h.Ids = ids
			locked := Evaluate(h)
			again := in.in.Decide(locked.Trusted(in.demand))
			switch {
			case len(c.links) == 0 || ids == same:
				if diff := cmp.Diff(d, again); diff != "" {
					t.Errorf("%s: by its own numbers (-without +with):\n%s", v.Name, diff)
				}
			case again.Permitted || again.Reason.Class() != policy.ClassAlarm && d.Reason.Class() != policy.ClassAlarm:
				t.Errorf("%s: by %+v instead of %+v: %+v", v.Name, ids, same, again)
			case !slices.Equal(locked.Keep().Chain, h.Kept.Chain):
				t.Errorf("%s: it is kept", v.Name)
			}
		}
	}
}

// TestChainWithheldRoots: whoever keeps a trust root from answering can make a verdict undecided,
// and no other one of it.
func TestChainWithheldRoots(t *testing.T) {
	open := 0
	for _, v := range vectors.Read(t, "chain") {
		in := readChain(t, v)
		if len(in.facts) == 0 {
			continue
		}
		c := Evaluate(in.h)
		before := in.in.Decide(in.trusted(c))
		for what, facts := range map[string][]policy.RootFact{"none": nil, "all": evidence.Withheld(in.facts)} {
			in.facts = facts
			d := in.in.Decide(in.trusted(c))
			switch {
			case d.Open() && !d.Permitted:
				open++
			case d.Permitted != before.Permitted || d.Reason.Class() != before.Reason.Class() && !before.Open():
				t.Errorf("%s, %s kept back: %s, was %s", v.Name, what, d.Reason, before.Reason)
			}
		}
	}
	if open == 0 {
		t.Error("nothing became undecided")
	}
}
