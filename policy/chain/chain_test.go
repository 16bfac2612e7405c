// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

const chainPolicy = `format = "repopolicy/v1"
repository = "https://github.com/acme/widget"
version = %d
expires = 2027-01-01T00:00:00Z

[maintainers]
threshold = 2
[[maintainers.member]]
name = "alice"
identities = [{ email = "alice@example.com", issuer = "https://accounts.google.com" }]
[[maintainers.member]]
name = "bob"
identities = [{ email = "bob@example.com", issuer = "https://accounts.google.com" }]

[[release]]
name = "carol"
tags = "any"
artifacts = "any"
identities = [{ email = "carol@example.com", issuer = "https://accounts.google.com" }]
`

// longChain returns a history of n versions, each signed by two and bound in
// both generations of logs.
func longChain(t testing.TB, n int) History {
	t.Helper()
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	h := History{
		Repository: repo, Now: start.Add(500 * 24 * time.Hour),
		View: View{Completeness: CompleteScanned, AsOf: start.Add(500 * 24 * time.Hour)},
		Logs: []policy.Log{
			{ID: "v1", Generation: 1, Start: start.AddDate(-3, 0, 0)}, {ID: "v2", Generation: 2, Start: start},
		},
	}
	prev := ""
	for i := range n {
		s := statementOf(t, fmt.Sprintf(chainPolicy, i+1), prev)
		prev = s.digest
		h.Statements = append(h.Statements, s)
		at := start.Add(time.Duration(i) * 10 * time.Hour)
		entry := func(log string, k int64) policy.Entry {
			e := policy.Entry{Log: log, Index: int64(i)*10 + k, NotBefore: at.Add(time.Duration(k) * time.Hour)}
			e.NotAfter = e.NotBefore.Add(10 * time.Minute)
			if log == "v1" {
				e.Time = e.NotBefore.Add(time.Minute)
			}
			return e
		}
		for _, log := range []string{"v1", "v2"} {
			for k, who := range []string{"alice", "bob"} {
				h.Signatures = append(h.Signatures, SignatureFacts{
					Statement: s.digest, Signer: person(who + "@example.com"), Entry: entry(log, int64(k)),
				}.Verified())
			}
			h.Leaves = append(h.Leaves, LeafFacts{
				Payload: s.digest, Body: spelling.Sum([]byte(fmt.Sprint(log, i))),
				Binding: Binding{Repository: repo, RepositoryID: "1001", OwnerID: "2002"}, Entry: entry(log, 5),
			}.Verified())
		}
	}
	return h
}

// person returns somebody with an account at Google.
func person(address string) policy.Identity {
	return policy.Identity{Kind: policy.KindEmail, Value: address, Issuer: "https://accounts.google.com"}
}

func carol(e policy.Entry) policy.Evidence {
	return policy.Claims{Signer: person("carol@example.com")}.Verified(policy.Verification{
		Times: []time.Time{e.NotBefore}, Logged: true, Proven: true, Entries: []policy.Entry{e},
		NotBefore: e.NotBefore,
	})
}

func BenchmarkChain1000(b *testing.B) {
	h := longChain(b, 1000)
	req := policy.Request{Now: h.Now}
	ev := carol(policy.Entry{Log: "v2", Index: 5007, NotBefore: time.Date(2025, 8, 1, 0, 0, 0, 0, time.UTC)})
	for b.Loop() {
		c := Evaluate(h)
		if d := c.Trusted(Demand{}).Decide(req, ev); !d.Permitted || len(c.Versions()) != 1000 {
			b.Fatal(d.Reason, c.Problems())
		}
	}
}

// BenchmarkChainDecide judges one release by a chain that was evaluated before.
func BenchmarkChainDecide(b *testing.B) {
	h := longChain(b, 1000)
	p := Evaluate(h).Trusted(Demand{})
	ev := carol(policy.Entry{Log: "v2", Index: 5007, NotBefore: time.Date(2025, 8, 1, 0, 0, 0, 0, time.UTC)})
	for b.Loop() {
		if d := p.Decide(policy.Request{Now: h.Now}, ev); !d.Permitted {
			b.Fatal(d.Reason)
		}
	}
}

func TestLongChain(t *testing.T) {
	h := longChain(t, 300)
	c := Evaluate(h)
	if c.Reason() != "" || len(c.Versions()) != 300 || len(c.Alarms()) > 0 {
		t.Fatal(c.Problems(), len(c.Versions()), c.Alarms())
	}
	v := c.Versions()[41]
	if v.Number != 42 || v.Ids != (policy.Ids{Repository: "1001", Owner: "2002"}) ||
		v.Document.Content().Version != 42 || len(v.Bindings) != 1 || v.Bindings[0].Index != 415 ||
		v.Statement != h.Statements[41].Digest() {
		t.Errorf("%+v", v)
	}
	if c.Repository() != h.Repository || c.View() != h.View || c.Genesis() != policy.GenesisFirst {
		t.Error("repository, view or label")
	}
	p := c.Trusted(Demand{})
	if p.Chain() != c || p.Content().Version != 300 || p.Digest() != c.Versions()[299].Document.Digest() ||
		p.Genesis() != policy.GenesisFirst {
		t.Error("the head is not the last version")
	}
	for _, log := range []string{"v1", "v2"} {
		e := policy.Entry{Log: log, Index: 417, NotBefore: h.Now.AddDate(-1, 0, 0)}
		e.NotBefore = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(417 * time.Hour)
		if log == "v1" {
			e.Time = e.NotBefore.Add(time.Minute)
		}
		if d := p.Decide(policy.Request{Now: h.Now}, carol(e)); !d.Permitted ||
			!slices.Equal(d.Numbers(), []int{42}) {
			t.Errorf("%s: %s %v", log, d.Reason, d.Versions)
		}
	}
}

// TestChainZero: what nobody made allows nothing.
func TestChainZero(t *testing.T) {
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	ev := carol(policy.Entry{Log: "v2", Index: 7, NotBefore: now.Add(-time.Hour)})
	h := longChain(t, 2)
	var none *Chain
	noRepo, noNow := h, h
	noRepo.Repository, noNow.Now = policy.Locator{}, time.Time{}
	for name, p := range map[string]*Trusted{
		"nil": none.Trusted(Demand{}), "zero": (&Chain{}).Trusted(Demand{}),
		"empty history": Evaluate(History{}).Trusted(Demand{}),
		"no repository": Evaluate(noRepo).Trusted(Demand{}), "no moment": Evaluate(noNow).Trusted(Demand{}),
		"nothing demanded": (&Chain{}).Trusted(Demand{Genesis: policy.GenesisClaimed, Completeness: CompleteNone}),
	} {
		if p == nil || p.Chain() == nil {
			t.Fatalf("%s: no policy", name)
		}
		d := p.Decide(policy.Request{Now: now}, ev)
		if d.Permitted || d.Reason.Class() == policy.ClassOK {
			t.Errorf("%s: %s", name, d.Reason)
		}
		if d, ok := p.DecideAdopted(policy.Request{
			Now: now, Digests: []policy.Digest{{Alg: "sha256", Hex: strings.Repeat("a", 64)}},
		}); !ok || d.Permitted {
			t.Errorf("%s: adopted %s", name, d.Reason)
		}
		if d, final := p.Precheck(policy.Request{Now: now}, ev.Claims()); !final || d.Permitted {
			t.Errorf("%s: precheck %s", name, d.Reason)
		}
		if p.Content() != nil || len(p.Keys()) > 0 || p.AcceptsUnlogged() || len(p.DigestAlgorithms()) > 0 {
			t.Errorf("%s: has content", name)
		}
	}
	p := Evaluate(h).Trusted(Demand{})
	for name, d := range map[string]policy.Decision{
		"unverified": p.Decide(policy.Request{Now: h.Now}, policy.Evidence{}),
		"no time": p.Decide(policy.Request{Now: h.Now}, ev.Claims().Verified(policy.Verification{
			Logged: true, Proven: true, Entries: ev.Verification().Entries,
		})),
		"no place": p.Decide(policy.Request{Now: h.Now}, ev.Claims().Verified(policy.Verification{
			Times: ev.Verification().Times, Logged: true, Proven: true,
		})),
		"no moment": p.Decide(policy.Request{}, ev),
	} {
		if d.Permitted {
			t.Errorf("%s: allowed", name)
		}
	}
	if none.Versions() != nil || (*Trusted)(nil).Chain() != nil || (*Trusted)(nil).files() != nil {
		t.Error("nil has something")
	}
	if Evaluate(h).Reason() != "" {
		t.Error(Evaluate(h).Problems())
	}
}

// TestPlaces: what has no place is judged by no version, a promise of a place is no
// proof of it, and neither order nor copies matter.
func TestPlaces(t *testing.T) {
	h := longChain(t, 3)
	p := Evaluate(h).Trusted(Demand{})
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(log string, index int64) policy.Entry {
		e := policy.Entry{Log: log, Index: index, NotBefore: start.Add(time.Duration(max(index, 0)) * time.Hour)}
		if log == "v1" {
			e.Time = e.NotBefore.Add(time.Minute)
		}
		return e
	}
	first, second, before, nowhere, unplaced := at("v2", 7), at("v1", 17), at("v2", 1), at("v3", 17), at("v2", -1)
	untimed := second
	untimed.Time = time.Time{}
	for name, c := range map[string]struct {
		entries, promised []policy.Entry
		want              policy.Reason
	}{
		"one place":               {entries: []policy.Entry{first}, want: policy.Allowed},
		"two places":              {entries: []policy.Entry{first, second}, want: policy.Allowed},
		"one of two is too early": {entries: []policy.Entry{before, second}, want: policy.Allowed},
		"no place":                {want: policy.EntryLate},
		"a negative index":        {entries: []policy.Entry{unplaced}, want: policy.EntryLate},
		"no time in Rekor v1":     {entries: []policy.Entry{untimed}, want: policy.EntryLate},
		"a log that is not known": {entries: []policy.Entry{nowhere}, want: policy.EntryLate},
		"too early":               {entries: []policy.Entry{before}, want: policy.BeforeGenesis},
		"too early, and no place": {entries: []policy.Entry{unplaced, before, untimed}, want: policy.BeforeGenesis},
		"too early, and a promise": {
			entries: []policy.Entry{before, second}, promised: []policy.Entry{second}, want: policy.RuleMismatch,
		},
		"a promise": {
			entries: []policy.Entry{second}, promised: []policy.Entry{second}, want: policy.RuleMismatch,
		},
		"a promise, and a proof": {
			entries: []policy.Entry{second, first}, promised: []policy.Entry{second}, want: policy.Allowed,
		},
		"a promise, proof elsewhere": {
			entries: []policy.Entry{second, unplaced}, promised: []policy.Entry{second}, want: policy.RuleMismatch,
		},
	} {
		for range 3 {
			v := policy.Verification{
				Times: []time.Time{first.NotBefore}, Logged: true, Proven: true, NotBefore: first.NotBefore,
				Entries: c.entries, Promised: c.promised,
			}
			if d := p.Decide(policy.Request{Now: h.Now}, carol(first).Claims().Verified(v)); d.Reason != c.want {
				t.Errorf("%s: %v: %s", name, v.Entries, d.Reason)
			}
			slices.Reverse(c.entries)
			c.entries = append(c.entries, c.entries...)
		}
		v := policy.Verification{Entries: c.entries, Promised: c.promised}
		ok := slices.ContainsFunc(Evaluate(h).inForceAt(&v), func(at []*policy.File) bool {
			return !slices.Contains(at, nil)
		})
		if ok != (c.want == policy.Allowed) {
			t.Errorf("%s: an approval counts: %v", name, ok)
		}
	}
}

func TestChainLimits(t *testing.T) {
	if c := Evaluate(longChain(t, maxVersions+1)); c.Reason() != policy.ChainTooLarge || len(c.Keep().Chain) > 0 {
		t.Error(c.Problems())
	}
	h := longChain(t, 2)
	many := h
	many.Statements = make([]Statement, maxStatements+1)
	if r := Evaluate(many).Reason(); r != policy.ChainTooLarge {
		t.Error(r)
	}
	many = h
	many.Signatures = make([]Signature, maxEntries)
	if r := Evaluate(many).Reason(); r != policy.ChainTooLarge {
		t.Error(r)
	}
	many = h
	many.Leaves = slices.Concat(h.Leaves, make([]Leaf, maxEntries-len(h.Leaves)-len(h.Signatures)))
	if r := Evaluate(many).Reason(); r != "" {
		t.Error(r)
	}
}

// TestFlood: signatures and bindings that anybody logs again cost little and
// change nothing.
func TestFlood(t *testing.T) {
	h := longChain(t, 3)
	flood := func(n int) History {
		x := h
		x.Signatures, x.Leaves = slices.Clone(h.Signatures), slices.Clone(h.Leaves)
		for i := range n {
			s, l := h.Signatures[i%len(h.Signatures)], h.Leaves[i%len(h.Leaves)]
			s.facts.Entry.Index += 1000 + int64(i)
			l.facts.Entry.Index += 1000 + int64(i)
			s.facts.Entry.NotAfter, l.facts.Entry.NotAfter = time.Time{}, time.Time{}
			x.Signatures, x.Leaves = append(x.Signatures, s), append(x.Leaves, l)
		}
		return x
	}
	want := Evaluate(h).Keep()
	for _, n := range []int{1, 100, 40_000} {
		start := time.Now()
		c := Evaluate(flood(n))
		if c.Reason() != "" || !slices.Equal(c.Keep().Chain, want.Chain) {
			t.Errorf("%d copies: %d problems, first %v", n, len(c.Problems()), c.Reason())
		}
		t.Logf("%d copies: %s", n, time.Since(start))
	}
	// One statement bound so often that its last binding is not looked at: without
	// quorum before the others it is undecided, never absent.
	x := h
	x.Signatures = slices.DeleteFunc(slices.Clone(h.Signatures), func(s Signature) bool {
		return s.facts.Statement == h.Statements[2].digest
	})
	for i := range maxBindings + 10 {
		l := h.Leaves[len(h.Leaves)-1]
		l.facts.Entry.Index += int64(i)
		l.facts.Entry.NotAfter = time.Time{}
		x.Leaves = append(slices.Clip(x.Leaves), l)
	}
	if r := Evaluate(x).Reason(); r != policy.Undisclosed {
		t.Errorf("many bindings without quorum: %s", r)
	}
	many := h
	many.Statements = slices.Clone(h.Statements)
	for i := range maxGeneses {
		many.Statements = append(many.Statements, statementOf(t, fmt.Sprintf("# %d\n"+chainPolicy, i, 1), ""))
	}
	if r := Evaluate(many).Reason(); r != policy.ChainTooLarge {
		t.Errorf("many first versions: %s", r)
	}
	many.Statements = many.Statements[:len(many.Statements)-1]
	if r := Evaluate(many).Reason(); r != "" {
		t.Errorf("nearly as many: %s", r)
	}
}

// TestLogs: logs that contradict themselves or are of no known generation count
// for nothing.
func TestLogs(t *testing.T) {
	for name, change := range map[string]func(*History){
		"unknown generation": func(h *History) { h.Logs[1].Generation = 3 },
		"no generation":      func(h *History) { h.Logs[1].Generation = 0 },
		"two windows": func(h *History) {
			h.Logs = append(h.Logs, policy.Log{ID: "v2", Generation: 2, Start: h.Logs[1].Start, End: h.Now})
		},
		"two generations": func(h *History) {
			h.Logs = append(h.Logs, policy.Log{ID: "v2", Generation: 1, Start: h.Logs[1].Start, End: time.Time{}})
		},
		"not yet started": func(h *History) { h.Logs[1].Start = h.Now },
		"none":            func(h *History) { h.Logs = nil },
	} {
		h := longChain(t, 2)
		h.Logs = slices.Clone(h.Logs)
		for i := range h.Leaves { // leave only what is in v2
			if h.Leaves[i].facts.Entry.Log == "v1" {
				h.Leaves[i].verified = false
			}
		}
		change(&h)
		if r := Evaluate(h).Reason(); r == "" {
			t.Errorf("%s: a chain was found", name)
		}
	}
	h := longChain(t, 2)
	h.Logs = append(slices.Clone(h.Logs), h.Logs[1], policy.Log{})
	if r := Evaluate(h).Reason(); r != "" {
		t.Errorf("the same log twice: %s", r)
	}
}

func TestRequire(t *testing.T) {
	for in, want := range map[string]Demand{
		"claimed":              {Genesis: policy.GenesisClaimed},
		"none":                 {Completeness: CompleteNone},
		"claimed,none":         {Genesis: policy.GenesisClaimed, Completeness: CompleteNone},
		"none,claimed":         {Genesis: policy.GenesisClaimed, Completeness: CompleteNone},
		"pinned,first,claimed": {Genesis: policy.GenesisClaimed},
		"claimed,pinned":       {Genesis: policy.GenesisClaimed},
		"proven,scanned":       {Completeness: CompleteScanned},
		"scanned,proven":       {Completeness: CompleteScanned},
		"anchored,hinted":      {Genesis: policy.GenesisAnchored, Completeness: CompleteHinted},
		"one-log":              {OneLog: true},
		"signed,one-log,first": {Genesis: policy.GenesisFirst, Completeness: CompleteSigned, OneLog: true},
	} {
		got, err := Demand{}.ParseRequire(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "any", "claimed,", ",none", "Claimed", "claimed none", "flags", strings.Repeat("x", 1000),
	} {
		if got, err := (Demand{}).ParseRequire(in); err == nil || got != (Demand{}) {
			t.Errorf("%q was read", in)
		}
	}
	if d := (Demand{}); d.genesis() != policy.GenesisFirst || d.completeness() != CompleteHinted {
		t.Error("defaults")
	}
}

// TestOneLog: a log of which nothing shows that it is one stops every verdict if it was asked,
// and is noted if it was not, unless that is demanded; a fork is worse than either.
func TestOneLog(t *testing.T) {
	ev := carol(policy.Entry{Log: "v2", Index: 57, NotBefore: time.Date(2025, 8, 1, 0, 0, 0, 0, time.UTC)})
	for name, x := range map[string]struct {
		change func(*History)
		demand Demand
		reason policy.Reason
		noted  bool
	}{
		"shown": {func(*History) {}, Demand{OneLog: true}, policy.Allowed, false},
		"asked, and not shown": {
			func(h *History) { h.Unproven = []string{"x"} }, Demand{}, policy.LogUnproven, false,
		},
		"the same, demanded": {
			func(h *History) { h.Unproven = []string{"x"} }, Demand{OneLog: true}, policy.LogUnproven, false,
		},
		"not asked": {
			func(h *History) { h.Unasked = []string{"x"} }, Demand{}, policy.Allowed, true,
		},
		"not asked, demanded": {
			func(h *History) { h.Unasked = []string{"x"} }, Demand{OneLog: true}, policy.LogUnproven, false,
		},
		"not asked, alarms are decided": {
			func(h *History) { h.Unasked = []string{"x"} }, Demand{FailOnAlarm: true}, policy.Allowed, true,
		},
		"not shown, and another forked": {func(h *History) {
			h.Unproven, h.LogForks = []string{"x"}, []string{"y"}
		}, Demand{}, policy.LogForked, false},
	} {
		h := longChain(t, 5)
		x.change(&h)
		c := Evaluate(h)
		d := c.Trusted(x.demand).Decide(policy.Request{Now: h.Now}, ev)
		noted := slices.Contains(d.Notes, unshown("x"))
		if d.Reason != x.reason || noted != x.noted || (d.Permitted) != (x.reason == policy.Allowed) {
			t.Errorf("%s: %s %v", name, d.Reason, d.Notes)
		}
		if k := c.Keep(); x.reason == policy.LogUnproven && len(h.Unproven) > 0 && len(k.Chain) > 0 {
			t.Errorf("%s: kept", name)
		}
	}
}

// TestChainOfferings: what may be asked for in advance covers every version.
func TestChainOfferings(t *testing.T) {
	h := longChain(t, 1)
	old := strings.Replace(fmt.Sprintf(chainPolicy, 1), `artifacts = "any"`, "artifacts = \"any\"\nunlogged = true", 1)
	old = strings.Replace(
		old, "[[release]]", "[[yanked]]\ndigest = \"sha384:"+strings.Repeat("a", 96)+"\"\n[[release]]", 1,
	)
	first := statementOf(t, old, "")
	second := statementOf(
		t,
		fmt.Sprintf(chainPolicy, 2)+"[[adopted]]\ntag = \"v0\"\ndigests = [\"sha512:"+strings.Repeat("b", 128)+"\"]\n",
		first.digest,
	)
	h.Statements = []Statement{first, second}
	h.Leaves, h.Signatures = nil, nil
	for i, s := range h.Statements {
		for k, who := range []string{"alice", "bob"} {
			h.Signatures = append(h.Signatures, SignatureFacts{
				Statement: s.digest, Signer: person(who + "@example.com"), Entry: policy.Entry{Log: "v2", Index: int64(10*i + k)},
			}.Verified())
		}
		h.Leaves = append(h.Leaves, LeafFacts{
			PAE: s.pae, Binding: Binding{Repository: h.Repository, RepositoryID: "1", OwnerID: "2"},
			Entry: policy.Entry{Log: "v2", Index: int64(10*i + 5)},
		}.Verified())
	}
	if f := h.Leaves[0].Facts(); f.PAE != first.pae || f.Entry.Index != 5 {
		t.Errorf("%+v", f)
	}
	c := Evaluate(h)
	p := c.Trusted(Demand{})
	if c.Reason() != "" || len(c.Versions()) != 2 {
		t.Fatal(c.Problems())
	}
	if !p.AcceptsUnlogged() {
		t.Error("a rule of version 1 takes unlogged evidence")
	}
	if got := p.DigestAlgorithms(); !slices.Equal(got, []string{"sha384", "sha512"}) {
		t.Errorf("algorithms %v", got)
	}
	// A statement answers for itself.
	if second.Previous() != first.Digest() || second.Version() != 2 || second.Repository() != h.Repository ||
		second.PAE() == second.Digest() || second.Err() != nil || second.Document() == nil {
		t.Errorf("%+v", second)
	}
	if bad, _ := (Predicate{}).Statement(nil, errors.New("not a statement")); bad.Err() == nil || bad.Document() != nil {
		t.Error("a bad statement without an error")
	}
}

// TestChainPrecheckFinal: what no version allows is refused before anything is
// verified; what some version allows is not.
func TestChainPrecheckFinal(t *testing.T) {
	claims := func(who string) policy.Claims {
		return policy.Claims{Signer: person(who + "@example.com")}
	}
	h := longChain(t, 3)
	p := Evaluate(h).Trusted(Demand{})
	req := policy.Request{Now: h.Now}
	if d, final := p.Precheck(req, claims("mallory")); !final || d.Reason != policy.RuleMismatch || len(d.Rules) != 1 {
		t.Errorf("nobody allows mallory: %v %s", final, d.Reason)
	}
	if d, final := p.Precheck(req, claims("carol")); final || d.Reason != "" {
		t.Errorf("carol is allowed: %s", d.Reason)
	}
	strict := policy.Request{Now: h.Now.AddDate(3, 0, 0)}
	if d, final := p.Precheck(strict, claims("carol")); final {
		t.Errorf("a stale head is not final: %s", d.Reason)
	}
	late := Evaluate(h).Trusted(Demand{Completeness: CompleteProven})
	if d, final := late.Precheck(req, claims("carol")); !final || d.Reason != policy.BelowRequired {
		t.Errorf("below what is demanded: %v %s", final, d.Reason)
	}
	var first, last Statement
	first = statementOf(t, strings.ReplaceAll(fmt.Sprintf(chainPolicy, 1), "carol", "dave"), "")
	last = statementOf(t, strings.ReplaceAll(fmt.Sprintf(chainPolicy, 2), "carol", "erin"), first.digest)
	two := longChain(t, 2)
	instead := map[string]string{
		two.Statements[0].digest: first.digest, two.Statements[1].digest: last.digest,
	}
	for i := range two.Signatures {
		two.Signatures[i].facts.Statement = instead[two.Signatures[i].facts.Statement]
	}
	for i := range two.Leaves {
		two.Leaves[i].facts.Payload = instead[two.Leaves[i].facts.Payload]
	}
	two.Statements = []Statement{first, last}
	q := Evaluate(two).Trusted(Demand{})
	for who, want := range map[string]bool{"dave": false, "erin": false, "carol": true} {
		if d, final := q.Precheck(req, claims(who)); final != want {
			t.Errorf("%s: %v %s", who, final, d.Reason)
		}
	}
}

// TestWithoutV1: a version says that it is bound in Rekor v2 alone, where there is
// a v1 in which it could be.
func TestWithoutV1(t *testing.T) {
	for name, x := range map[string]struct {
		drop func(log string, version int) bool // bindings
		logs int                                // of the root, from the end
		want []int
	}{
		"in both":              {func(string, int) bool { return false }, 2, nil},
		"the second alone":     {func(log string, v int) bool { return log == "v1" && v == 2 }, 2, []int{2}},
		"all of them":          {func(log string, _ int) bool { return log == "v1" }, 2, []int{1, 2, 3}},
		"a root with v2 alone": {func(log string, _ int) bool { return log == "v1" }, 1, nil},
	} {
		h := longChain(t, 3)
		h.Logs = h.Logs[len(h.Logs)-x.logs:]
		var leaves []Leaf
		for i, l := range h.Leaves {
			if !x.drop(l.facts.Entry.Log, i/2+1) {
				leaves = append(leaves, l)
			}
		}
		h.Leaves = leaves
		c := Evaluate(h)
		if c.Reason() != "" || len(c.Versions()) != 3 {
			t.Fatalf("%s: %s %+v", name, c.Reason(), c.Problems())
		}
		var got []int
		for _, v := range c.Versions() {
			if v.WithoutV1 {
				got = append(got, v.Number)
			}
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", name, got, x.want)
		}
	}
}
