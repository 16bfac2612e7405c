// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// The reference evaluator knows one log in which everything happens one after
// the other. It plays the log through and keeps what is in force; what several
// logs, missing files and directories mean is defined by playing every order and
// every completion that is possible. It shares no code with the evaluator but
// the types of the input.

var modelStart = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func hour(n int64) time.Time { return modelStart.Add(time.Duration(n) * time.Hour) }

// modelVersion is a statement of a world.
type modelVersion struct {
	number    int
	parent    int // -1 for a version 1
	members   []int
	threshold int
	releasers []int
	since     bool
	short     bool // expires at hour 30
	owner     bool // says that the owner changed
	revokes   []int
	restores  []int
	voids     int // index of an event whose leaf is declared void; -1 for none
	tombstone bool
	withheld  bool
}

type modelEvent struct {
	bind      bool
	statement int // -1: of nobody's statement
	member    int
	id, owner string
	log       string
	index     int64
}

type world struct {
	versions []modelVersion
	events   []modelEvent
}

const modelExpiry = 30 // hour at which short versions expire

func drawWorld(t *rapid.T, logs []string, tidy bool) *world {
	w := &world{}
	some := func(label string, n int) []int {
		var out []int
		for i := range n {
			if rapid.Bool().Draw(t, label) {
				out = append(out, i)
			}
		}
		return out
	}
	chance := func(label string, percent int) bool { return rapid.IntRange(0, 99).Draw(t, label) < percent }
	for i := range rapid.IntRange(1, 5).Draw(t, "versions") {
		v := modelVersion{parent: -1, number: 1, members: some("member", 3), releasers: some("releaser", 3), voids: -1}
		if len(v.members) == 0 {
			v.members = []int{i % 3}
		}
		v.threshold = rapid.IntRange(1, len(v.members)).Draw(t, "threshold")
		if i > 0 && !chance("genesis", 15) {
			v.parent = i - 1
			if chance("sibling", 25) {
				v.parent = rapid.IntRange(0, i-1).Draw(t, "parent")
			}
			v.number = w.versions[v.parent].number + 1
			if chance("skip", 3) {
				v.number++
			}
		}
		v.since, v.short = chance("since", 20), chance("short", 10)
		v.owner, v.tombstone = chance("owner changed", 10), chance("tombstone", 4)
		if chance("revokes", 20) {
			v.revokes = some("revoked", 3)
		}
		if chance("restores", 20) {
			v.restores = some("restored", 3)
		}
		if !tidy {
			v.withheld = chance("withheld", 8)
		}
		w.versions = append(w.versions, v)
	}
	for i, v := range w.versions {
		all := slices.Clone(v.members)
		if v.parent >= 0 {
			all = append(all, w.versions[v.parent].members...)
		}
		slices.Sort(all)
		for _, m := range slices.Compact(all) {
			if tidy || chance("signs", 85) {
				w.events = append(w.events, modelEvent{statement: i, member: m})
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "bindings") {
			b := modelEvent{bind: true, statement: i, id: "1001", owner: "2002"}
			if chance("new owner", 6) {
				b.owner = "3003"
			}
			if !tidy && chance("other id", 4) {
				b.id = "77"
			}
			if !tidy && chance("unknown", 4) {
				b.statement = -1
			}
			w.events = append(w.events, b)
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "swaps") {
		if n := len(w.events); n > 1 {
			i, j := rapid.IntRange(0, n-1).Draw(t, "i"), rapid.IntRange(0, n-1).Draw(t, "j")
			w.events[i], w.events[j] = w.events[j], w.events[i]
		}
	}
	if !tidy && len(w.events) > 0 {
		for i := range w.versions {
			if chance("voids", 10) {
				w.versions[i].voids = rapid.IntRange(0, len(w.events)-1).Draw(t, "void")
			}
		}
	}
	next := map[string]int64{}
	for i := range w.events {
		e := &w.events[i]
		e.log = logs[0]
		if len(logs) > 1 && rapid.Bool().Draw(t, "log") {
			e.log = logs[1]
		}
		e.index = 2*next[e.log] + 2
		next[e.log]++
	}
	return w
}

func email(prefix string, i int) string { return fmt.Sprintf("%s%d@example.com", prefix, i) }

func (w *world) body(event int) string { return spelling.Sum([]byte(fmt.Sprint("event ", event))) }

func (w *world) text(i int) string {
	v := w.versions[i]
	var b strings.Builder
	expires := "2027-01-01T00:00:00Z"
	if v.short {
		expires = hour(modelExpiry).Format(time.RFC3339)
	}
	fmt.Fprintf(
		&b,
		"# %d\nformat = \"repopolicy/v1\"\nrepository = \"https://github.com/acme/widget\"\nversion = %d\n"+
			"expires = %s\n",
		i, v.number, expires,
	)
	if v.owner {
		b.WriteString("owner-changed = true\n")
	}
	if v.tombstone {
		b.WriteString("tombstone = true\n")
	}
	fmt.Fprintf(&b, "[maintainers]\nthreshold = %d\n", v.threshold)
	for _, m := range v.members {
		fmt.Fprintf(
			&b,
			"[[maintainers.member]]\nname = \"m%d\"\n"+
				"identities = [{ email = %q, issuer = \"https://accounts.google.com\" }]\n",
			m, email("m", m),
		)
	}
	if !v.tombstone {
		for _, r := range v.releasers {
			fmt.Fprintf(
				&b,
				"[[release]]\nname = \"r%d\"\ntags = \"any\"\nartifacts = \"any\"\n"+
					"identities = [{ email = %q, issuer = \"https://accounts.google.com\" }]\n",
				r, email("r", r),
			)
			if v.since {
				fmt.Fprintf(&b, "since = %s\n", hour(3).Format(time.RFC3339))
			}
		}
	}
	for word, list := range map[string][]int{"revoked": v.revokes, "restored": v.restores} {
		for _, r := range list {
			fmt.Fprintf(
				&b, "[[%s]]\nidentity = { email = %q, issuer = \"https://accounts.google.com\" }\n", word,
				email("r", r),
			)
		}
	}
	if v.voids >= 0 {
		fmt.Fprintf(&b, "[[void]]\nleaf = \"sha256:%s\"\n", w.body(v.voids))
	}
	return b.String()
}

// history returns the world as the evaluator sees it, and the digests of its
// statements.
func (w *world) history(t fataler, logs []policy.Log) (History, []string) {
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	h := History{Repository: repo, Logs: logs, Now: now, View: View{Completeness: CompleteScanned, AsOf: now}}
	var digests, paes []string
	for i, v := range w.versions {
		prev := ""
		if v.parent >= 0 {
			prev = digests[v.parent]
		}
		s := statementOf(t, w.text(i), prev)
		if s.err != nil {
			t.Fatal(s.err)
		}
		digests, paes = append(digests, s.digest), append(paes, s.pae)
		if !v.withheld {
			h.Statements = append(h.Statements, s)
		}
	}
	for i, e := range w.events {
		at := w.entry(e.log, e.index)
		if !e.bind {
			h.Signatures = append(h.Signatures, SignatureFacts{
				Statement: digests[e.statement], Signer: person(email("m", e.member)), Entry: at,
			}.Verified())
			continue
		}
		f := LeafFacts{
			PAE: spelling.Sum([]byte(fmt.Sprint("nobody's ", i))), Body: w.body(i),
			Binding: Binding{Repository: repo, RepositoryID: e.id, OwnerID: e.owner}, Entry: at,
		}
		if e.statement >= 0 {
			f.PAE = paes[e.statement]
		}
		h.Leaves = append(h.Leaves, f.Verified())
	}
	return h, digests
}

func (w *world) entry(log string, index int64) policy.Entry {
	return policy.Entry{Log: log, Index: index, NotBefore: hour(index), NotAfter: hour(index).Add(10 * time.Minute)}
}

// playout is what came of a world in one order of its events. For each of them and
// for the end, chains has the versions in force. Publication counts for that.
type playout struct {
	chains  [][]int
	bound   map[int]int // place in the order of the binding that put a version in force
	foreign []int       // bindings of another repository
}

func (p *playout) final() []int { return p.chains[len(p.chains)-1] }

// judges returns the versions that judge evidence before the event at a place of the
// order, -1 for the time before version 1. Publication decides between versions; to
// evidence a version is in force from its binding on, as in a log without a directory.
// What was published late may be bound before the version that it comes after. Until
// that is bound too it may have been in force or not, and so may all between them.
func (p *playout) judges(place int) []int {
	in := func(s int) bool { return p.bound[s] < place }
	chain := slices.Insert(slices.Clone(p.final()), 0, -1)
	first, last := 0, 0
	for i, s := range p.final() {
		if in(s) {
			last = i + 1
		}
		if first == i && in(s) {
			first = i + 1
		}
	}
	return chain[first : last+1]
}

// play runs through the events in the given order. Granted statements are taken to
// have all signatures; events to skip never happened.
func (w *world) play(order []int, granted, skip map[int]bool) *playout {
	var chain []int
	p := &playout{bound: map[int]int{}}
	ids := map[string]bool{}
	owner := ""
	signed := map[[2]int]bool{}
	quorum := func(s int) bool {
		enough := func(v modelVersion) bool {
			n := 0
			for _, m := range v.members {
				if signed[[2]int{s, m}] {
					n++
				}
			}
			return n >= v.threshold
		}
		v := w.versions[s]
		return granted[s] || enough(v) && (v.parent < 0 || enough(w.versions[v.parent]))
	}
	bind := func(k int) {
		e := w.events[order[k]]
		v := w.versions[e.statement]
		switch {
		case v.parent < 0:
			if len(chain) == 0 && v.number == 1 {
				chain, ids[e.id], owner, p.bound[e.statement] = []int{e.statement}, true, e.owner, k
			}
		case len(chain) > 0 && chain[len(chain)-1] == v.parent && v.number == w.versions[v.parent].number+1 &&
			!w.versions[v.parent].tombstone:
			if ids[e.id] && (e.owner == owner || v.owner) {
				chain = append(slices.Clone(chain), e.statement)
				owner, p.bound[e.statement] = e.owner, k
			}
		}
	}
	for k, i := range order {
		p.chains = append(p.chains, chain)
		e := w.events[i]
		switch {
		case skip[i]:
		case !e.bind:
			signed[[2]int{e.statement, e.member}] = true
		case e.statement >= 0 && !w.versions[e.statement].withheld && quorum(e.statement):
			bind(k)
		}
	}
	p.chains = append(p.chains, chain)
	genesis := false
	for k, i := range order {
		genesis = genesis || len(p.chains[k]) > 0
		if e := w.events[i]; e.bind && genesis && !ids[e.id] {
			p.foreign = append(p.foreign, i)
		}
	}
	void := w.voided(chain)
	p.foreign = slices.DeleteFunc(p.foreign, func(i int) bool { return void[i] })
	return p
}

// voided returns the events that a chain declares void.
func (w *world) voided(chain []int) map[int]bool {
	void := map[int]bool{}
	for _, s := range chain {
		void[w.versions[s].voids] = true
	}
	return void
}

// verdict of the reference: whether release by r at the given place in the order
// (before the event of that number) is allowed.
func (w *world) allows(p *playout, place, r int, at time.Time, now time.Time) bool {
	final := p.final()
	if len(final) == 0 {
		return false
	}
	revoked := map[int]bool{}
	for _, s := range final {
		for _, x := range w.versions[s].revokes {
			revoked[x] = true
		}
		for _, x := range w.versions[s].restores {
			revoked[x] = false
		}
	}
	head := w.versions[final[len(final)-1]]
	if revoked[r] || !head.tombstone && head.short && now.After(hour(modelExpiry).Add(90*24*time.Hour)) {
		return false
	}
	return !slices.ContainsFunc(p.judges(place), func(s int) bool {
		by := w.versions[final[0]]
		if s >= 0 {
			by = w.versions[s]
		} else if !by.since {
			return true
		}
		return by.tombstone || !slices.Contains(by.releasers, r) ||
			by.since && at.Before(hour(3)) || by.short && at.After(hour(modelExpiry))
	})
}

// undecided reports whether something that is missing could change the chain:
// the statement of a binding, or signatures over one. Bindings that the chain
// declares void are left aside.
func (w *world) undecided(order []int, p *playout) bool {
	final := p.final()
	void := w.voided(final)
	var open []int
	skip := map[int]bool{}
	for _, i := range order {
		e := w.events[i]
		skip[i] = e.bind && void[i] && !slices.Contains(final, e.statement)
		switch {
		case !e.bind || void[i]:
		case e.statement < 0 || w.versions[e.statement].withheld:
			return true
		case !slices.Contains(final, e.statement):
			open = append(open, e.statement)
		}
	}
	slices.Sort(open)
	for _, granted := range subsets(slices.Compact(open)) {
		if !slices.Equal(w.play(order, granted, skip).final(), final) {
			return true
		}
	}
	return false
}

func subsets(of []int) []map[int]bool {
	var out []map[int]bool
	for set := range 1 << len(of) {
		granted := map[int]bool{}
		for k, s := range of {
			granted[s] = set>>k&1 == 1
		}
		out = append(out, granted)
	}
	return out
}

// completions returns what would have come of the world if signatures were missing
// over versions of the chain: they may have been in force earlier.
func (w *world) completions(order []int, final []int) []*playout {
	var out []*playout
	for _, granted := range subsets(final) {
		if p := w.play(order, granted, nil); slices.Equal(p.final(), final) {
			out = append(out, p)
		}
	}
	return out
}

// orders returns every order of the events that is compatible with the indexes
// inside each log.
func (w *world) orders() [][]int {
	var a, b []int
	for i, e := range w.events {
		if e.log == w.events[0].log {
			a = append(a, i)
		} else {
			b = append(b, i)
		}
	}
	byIndex := func(x, y int) int { return cmp.Compare(w.events[x].index, w.events[y].index) }
	slices.SortFunc(a, byIndex)
	slices.SortFunc(b, byIndex)
	var out [][]int
	var merge func(done, a, b []int)
	merge = func(done, a, b []int) {
		if len(a) == 0 || len(b) == 0 {
			out = append(out, slices.Concat(done, a, b))
			return
		}
		merge(append(slices.Clone(done), a[0]), a[1:], b)
		merge(append(slices.Clone(done), b[0]), a, b[1:])
	}
	merge(nil, a, b)
	return out
}

func modelRelease(r int, e policy.Entry) policy.Evidence {
	return policy.Claims{Signer: person(email("r", r))}.Verified(policy.Verification{
		Times: []time.Time{e.NotBefore}, Logged: true, Proven: true, Entries: []policy.Entry{e},
		NotBefore: e.NotBefore,
	})
}

var oneLog = []policy.Log{{ID: "a", Generation: 2, Start: modelStart.Add(-time.Hour)}}
var twoLogs = []policy.Log{
	{ID: "a", Generation: 2, Start: modelStart.Add(-time.Hour)},
	{ID: "b", Generation: 2, Start: modelStart.Add(-time.Hour)},
}

// TestModel: in one log the evaluator and the reference agree. The evaluator may
// be undecided where the reference is not, never the reverse.
func TestModel(t *testing.T) {
	decided, allowed := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, []string{"a"}, rapid.Bool().Draw(rt, "tidy"))
		d, a := w.compare(rt)
		decided, allowed = decided+d, allowed+a
	})
	t.Logf("%d worlds were decided, %d releases allowed", decided, allowed)
}

func (w *world) compare(rt *rapid.T) (decided, allowed int) {
	h, digests := w.history(rt, oneLog)
	c := Evaluate(h)
	trusted := c.Trusted(Demand{})
	var order []int
	for i := range w.events {
		order = append(order, i)
	}
	p := w.play(order, nil, nil)
	final, foreign := p.final(), p.foreign
	open := w.undecided(order, p)
	if c.Reason() == "" {
		decided++
		if open || len(foreign) > 0 {
			rt.Fatalf("decided, but the reference is not: %v foreign %v\n%s", open, foreign, w)
		}
		var want, got []string
		for _, s := range final {
			want = append(want, digests[s])
		}
		for _, v := range c.Versions() {
			got = append(got, v.Statement)
		}
		if !slices.Equal(want, got) {
			rt.Fatalf("chain of %d, the reference has %v\n%s", len(got), final, w)
		}
	}
	complete := w.completions(order, final)
	for place := range len(w.events) + 1 {
		index := int64(2*place + 1)
		for r := range 3 {
			e := w.entry("a", index)
			got := trusted.Decide(policy.Request{Now: h.Now}, modelRelease(r, e)).Permitted
			want := !slices.ContainsFunc(complete, func(p *playout) bool {
				return !w.allows(p, place, r, hour(index), h.Now)
			})
			if got {
				allowed++
			}
			if got && (!want || open || len(foreign) > 0) || c.Reason() == "" && got != want {
				rt.Fatalf("release by r%d before event %d: %v, the reference says %v\n%s", r, place, got, want, w)
			}
		}
	}
	return decided, allowed
}

func (w *world) String() string {
	var b strings.Builder
	for i, v := range w.versions {
		fmt.Fprintf(&b, "statement %d: %+v\n", i, v)
	}
	for i, e := range w.events {
		fmt.Fprintf(&b, "event %d: %+v\n", i, e)
	}
	return b.String()
}

// TestModelTidy: where nothing is missing the evaluator is never undecided, but
// for a new owner that no version announces and for bindings out of turn.
func TestModelTidy(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, []string{"a"}, true)
		var sorted, binds []modelEvent
		last := -1
		for _, e := range w.events { // in turn: signatures, then the binding
			e.owner = "2002"
			if e.bind {
				binds = append(binds, e)
			} else {
				sorted = append(sorted, e)
			}
		}
		slices.SortStableFunc(binds, func(a, b modelEvent) int { return cmp.Compare(a.statement, b.statement) })
		for _, b := range binds { // no gaps in the chain
			if p := w.versions[b.statement].parent; p >= 0 &&
				!slices.ContainsFunc(sorted, func(e modelEvent) bool { return e.bind && e.statement == p }) {
				continue
			}
			sorted = append(sorted, b)
			last = b.statement
		}
		w.events = sorted
		for i := range w.events {
			w.events[i].index = int64(2*i + 2)
		}
		h, _ := w.history(t, oneLog)
		if c := Evaluate(h); c.Reason() != "" && !(c.Reason() == policy.NoBinding && last < 0) {
			rt.Fatalf("%v\n%s", c.Problems(), w)
		}
		w.compare(rt)
	})
}

// TestModelShards: with two logs that overlap, a release is allowed only if every
// order that is possible allows it, and a chain is decided only if it is the same
// in all of them.
func TestModelShards(t *testing.T) {
	allowed := 0
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, []string{"a", "b"}, rapid.Bool().Draw(rt, "tidy"))
		if len(w.events) > 11 {
			w.events = w.events[:11]
		}
		if len(w.events) == 0 {
			return
		}
		h, digests := w.history(t, twoLogs)
		c := Evaluate(h)
		p := c.Trusted(Demand{})
		type run struct {
			order []int
			*playout
			bad bool
		}
		var runs []run
		for _, order := range w.orders() {
			p := w.play(order, nil, nil)
			runs = append(runs, run{order, p, len(p.foreign) > 0 || w.undecided(order, p)})
		}
		if c.Reason() == "" {
			var got []string
			for _, v := range c.Versions() {
				got = append(got, v.Statement)
			}
			for _, r := range runs {
				var want []string
				for _, s := range r.final() {
					want = append(want, digests[s])
				}
				if r.bad || !slices.Equal(want, got) {
					rt.Fatalf("decided, but in the order %v it is %v\n%s", r.order, want, w)
				}
			}
		}
		for _, log := range []string{"a", "b"} {
			for place := range int64(len(w.events) + 1) {
				index := 2*place + 1
				for r := range 3 {
					d := p.Decide(policy.Request{Now: h.Now}, modelRelease(r, w.entry(log, index)))
					if !d.Permitted {
						continue
					}
					allowed++
					for _, run := range runs {
						// The release stands somewhere after all events of its own log
						// with a lower index and before the others.
						for at := range len(run.order) + 1 {
							fits := true
							for k, i := range run.order {
								if e := w.events[i]; e.log == log && (e.index < index) != (k < at) {
									fits = false
								}
							}
							if fits && !w.allows(run.playout, at, r, hour(index), h.Now) {
								rt.Fatalf(
									"release by r%d in %s at %d is allowed, but not in the order %v\n%s", r, log, index,
									run.order, w,
								)
							}
						}
					}
				}
			}
		}
	})
	t.Logf("%d releases were allowed", allowed)
}

// TestModelMonotone: dropping a statement or a signature never turns a denial
// into a permission, unless some version declares a binding void: then the
// quorum itself said that what is missing does not matter.
func TestModelMonotone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, []string{"a"}, false)
		for i := range w.versions {
			w.versions[i].voids = -1
		}
		h, _ := w.history(t, oneLog)
		full := Evaluate(h).Trusted(Demand{})
		var less []History
		for i := range h.Statements {
			x := h
			x.Statements = slices.Delete(slices.Clone(h.Statements), i, i+1)
			less = append(less, x)
		}
		for i := range h.Signatures {
			x := h
			x.Signatures = slices.Delete(slices.Clone(h.Signatures), i, i+1)
			less = append(less, x)
		}
		for k, x := range less {
			p := Evaluate(x).Trusted(Demand{})
			for place := range int64(len(w.events) + 1) {
				for r := range 3 {
					ev := modelRelease(r, w.entry("a", 2*place+1))
					a, b := p.Decide(policy.Request{Now: h.Now}, ev), full.Decide(policy.Request{Now: h.Now}, ev)
					if a.Permitted && !b.Permitted {
						rt.Fatalf("allowed after dropping %d of %d\n%s", k, len(less), w)
					}
				}
			}
		}
	})
}

// TestModelJunk: replays, spam and copies change no verdict and no chain.
func TestModelJunk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, []string{"a"}, false)
		h, _ := w.history(t, oneLog)
		c := Evaluate(h)
		x := h
		x.Leaves = slices.Clone(h.Leaves)
		x.Signatures = slices.Clone(h.Signatures)
		end := int64(len(w.events)) * 4
		effective := map[policy.Entry]bool{}
		for _, v := range c.Versions() {
			for _, b := range v.Bindings {
				effective[b] = true
			}
		}
		for _, l := range h.Leaves {
			spam, late := l, l
			spam.facts.Binding = Binding{}
			late.facts.Entry.Index = end + 1 // its certificate is of long before
			x.Leaves = append(x.Leaves, spam, late)
			if effective[l.facts.Entry] { // a replay of what is in force
				replay := l
				replay.facts.Entry = w.entry("a", end+3)
				x.Leaves = append(x.Leaves, replay)
			}
		}
		x.Leaves = append(x.Leaves, LeafFacts{Entry: w.entry("a", end)}.Verified())
		for _, s := range h.Signatures {
			stranger, again := s, s
			stranger.facts.Signer.Value = "mallory@example.com"
			again.facts.Entry = w.entry("a", end+5)
			x.Signatures = append(x.Signatures, stranger, again)
		}
		d := Evaluate(shuffled(x, rand.New(rand.NewPCG(1, 1))))
		if !reflect.DeepEqual(c.Keep(), d.Keep()) || c.Reason() != d.Reason() {
			rt.Fatalf("%q %v with junk, before %q %v\n%s", d.Reason(), d.Problems(), c.Reason(), c.Problems(), w)
		}
		p, q := c.Trusted(Demand{}), d.Trusted(Demand{})
		for place := range int64(len(w.events) + 1) {
			for r := range 3 {
				ev := modelRelease(r, w.entry("a", 2*place+1))
				a, b := p.Decide(policy.Request{Now: h.Now}, ev), q.Decide(policy.Request{Now: h.Now}, ev)
				if !reflect.DeepEqual(a, b) {
					rt.Fatalf("%s with junk, before %s\n%s", b.Reason, a.Reason, w)
				}
			}
		}
	})
}

// FuzzModel lets the fuzzer choose the worlds.
func FuzzModel(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(rt *rapid.T) {
		w := drawWorld(rt, []string{"a"}, false)
		w.compare(rt)
	}))
}
