// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/repopolicy/repopolicy/internal/spelling"
	"github.com/repopolicy/repopolicy/policy"
)

// The property of SPEC 9, on worlds that are drawn: what is withheld beside the horizon of a
// view never makes an OK that the whole view would not give, and where both decide they decide
// alike. The worlds have two logs whose windows may overlap, a directory that sees late, in
// part or nothing, an insider with a fork and a genesis of his own, certificates that were made
// long before, place proofs, versions that expire or revoke, and an owner that changes.

var viewStart = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func day(d float64) time.Time {
	return viewStart.Add(time.Duration(d * float64(24*time.Hour))).Truncate(time.Second)
}

// viewKind is a threshold, and what is special about the statements of a world.
type viewKind struct {
	threshold                 int
	expiring, revoking, owner bool
}

// viewStatements are the statements of all worlds, by name: an honest chain V1 to V3, whose
// second version removes M, and M's own X1, X2 after V1, and X3.
var viewStatements = func() map[viewKind]map[string]Statement {
	out := map[viewKind]map[string]Statement{}
	for i := range 16 {
		kind := viewKind{1 + i&1, i&2 != 0, i&4 != 0, i&8 != 0}
		threshold := kind.threshold
		of := map[string]Statement{}
		for _, v := range []struct {
			name, after, members, releasers string
			threshold                       int
		}{
			{"V1", "", "HKM", "HM", threshold}, {"V2", "V1", "HK", "H", threshold}, {"V3", "V2", "HK", "H", threshold},
			{"X1", "", "M", "M", 1}, {"X2", "V1", "M", "M", 1}, {"X3", "X2", "M", "M", 1},
		} {
			prev, number := "", 1
			if v.after != "" {
				before := of[v.after]
				prev, number = before.digest, before.version+1
			}
			var b strings.Builder
			expires := "2099-01-01T00:00:00Z"
			if kind.expiring {
				expires = day(6 + 5*float64(number)).Format(time.RFC3339)
			}
			fmt.Fprintf(
				&b,
				"# %s\nformat = \"repopolicy/v1\"\nrepository = \"https://github.com/acme/widget\"\nversion = %d\n"+
					"expires = %s\n",
				v.name, number, expires,
			)
			if kind.owner && number > 1 {
				b.WriteString("owner-changed = true\n")
			}
			fmt.Fprintf(&b, "[maintainers]\nthreshold = %d\n", v.threshold)
			for _, m := range v.members {
				fmt.Fprintf(
					&b,
					"[[maintainers.member]]\nname = \"%c\"\n"+
						"identities = [{ email = \"%c@example.com\", issuer = \"https://accounts.google.com\" }]\n",
					m, m,
				)
			}
			for _, r := range v.releasers {
				fmt.Fprintf(
					&b,
					"[[release]]\nname = \"r%c\"\ntags = \"any\"\nartifacts = \"any\"\n"+
						"identities = [{ email = \"%c@example.com\", issuer = \"https://accounts.google.com\" }]\n",
					r+32, r,
				)
			}
			if kind.revoking && number == 3 {
				fmt.Fprintf(
					&b,
					"[[revoked]]\n"+
						"identity = { email = \"%s@example.com\", issuer = \"https://accounts.google.com\" }\n",
					v.members[:1],
				)
			}
			of[v.name] = statementOf(panicker{}, b.String(), prev)
			if s := of[v.name]; s.err != nil {
				panic(s.err)
			}
		}
		out[kind] = of
	}
	return out
}()

var viewNames = []string{"V1", "V2", "V3", "X1", "X2", "X3"}

// panicker is a fataler outside of tests.
type panicker struct{}

func (panicker) Helper()           {}
func (panicker) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

type viewEvent struct {
	statement string // "" is of nobody's
	member    byte   // 0 binds
	log       string
	at        float64 // day
	entry     policy.Entry
}

// viewWorld is one repository, two logs and one directory.
type viewWorld struct {
	statements map[string]Statement
	events     []viewEvent
	logs       []policy.Log
	leaves     []float64 // of the directory, in days; none without one
	shown      map[string]int
	signed     map[Position]int
	moments    []policy.Moment
	owner      float64 // day from which on another owner's number is certified
	end        float64
}

const viewDays = 24

func drawView(r *rand.Rand) *viewWorld {
	kind := viewKind{1 + r.IntN(2), r.IntN(4) == 0, r.IntN(4) == 0, r.IntN(4) == 0}
	w := &viewWorld{
		statements: viewStatements[kind], owner: 99, shown: map[string]int{}, signed: map[Position]int{}, end: viewDays,
	}
	w.logs = []policy.Log{{ID: "a", Generation: 2, Start: day(-9)}}
	if kind.owner {
		w.owner = r.Float64() * viewDays
	}
	two := r.IntN(3) == 0
	if two { // the first is closed some days after the second was opened
		w.logs[0].End = day(14)
		w.logs = append(w.logs, policy.Log{ID: "b", Generation: 2, Start: day(8)})
	}
	when := map[string]float64{"V1": 2, "X1": 2, "V2": 6, "X2": 6, "V3": 11, "X3": 11}
	add := func(s string, member byte, at float64) {
		e := viewEvent{statement: s, member: member, at: max(at, 0.1), log: "a"}
		if two && (e.at > 14 || e.at > 8 && r.IntN(2) == 0) {
			e.log = "b"
		}
		w.events = append(w.events, e)
	}
	for _, s := range []string{"V1", "V2", "V3", "X1", "X2", "X3", ""} {
		if s == "" {
			if r.IntN(2) == 0 {
				add("", 0, r.Float64()*viewDays)
			}
			continue
		}
		if s != "V1" && s != "V2" && r.Float64() < 0.45 {
			continue
		}
		for _, m := range []byte("HKM") {
			p := 0.25
			if (m == 'M') == (s[0] == 'X') {
				p = 0.8
			}
			for n := 0; n < 2 && r.Float64() < p; n++ {
				add(s, m, when[s]+r.Float64()*4-3)
				p = 0.15
			}
		}
		for range 1 + r.IntN(2) {
			add(s, 0, when[s]+r.Float64()*6-2)
		}
	}
	slices.SortStableFunc(w.events, func(a, b viewEvent) int { return cmp.Compare(a.at, b.at) })
	next := map[string]int64{}
	for i := range w.events {
		e := &w.events[i]
		made := e.at - r.Float64()/200
		if r.IntN(12) == 0 {
			made = e.at - r.Float64()*5 // long before
		}
		e.entry = policy.Entry{
			Log: e.log, Index: next[e.log], NotBefore: day(made), NotAfter: day(made).Add(10 * time.Minute),
		}
		next[e.log]++
	}
	for _, l := range w.logs {
		for n := r.IntN(5); n > 0; n-- {
			at := r.Float64() * viewDays
			w.moments = append(w.moments, policy.Log{ID: l.ID}.Seen(w.size(l.ID, at), day(at).Add(time.Second), "tsa"))
		}
	}
	w.direct(r)
	return w
}

// direct draws what the directory saw, and when.
func (w *viewWorld) direct(r *rand.Rand) {
	if r.IntN(4) == 0 {
		return
	}
	for d := r.Float64(); d < viewDays; d += []float64{1, 1, 1, 3}[r.IntN(4)] {
		w.leaves = append(w.leaves, d)
	}
	if r.IntN(8) == 0 {
		return // it never saw anything
	}
	for _, name := range viewNames {
		cover := -1
		for _, e := range w.events {
			if e.member == 0 && e.statement == name {
				if k := w.covers(e); k >= 0 && (cover < 0 || k < cover) {
					cover = k
				}
			}
		}
		if cover < 0 || r.IntN(5) == 0 {
			continue
		}
		at := cover + []int{0, 0, 0, 1, 3, 6, 9, 12}[r.IntN(8)]
		if at >= len(w.leaves) {
			continue
		}
		w.shown[name] = at
		for _, e := range w.events {
			if e.member == 0 || e.statement != name {
				continue
			}
			if k := max(at, w.covers(e)) + []int{0, 0, 0, 0, 1, 8, 99}[r.IntN(7)]; w.covers(e) >= 0 &&
				k < len(w.leaves) {
				w.signed[positionOf(e.entry)] = k
			}
		}
	}
}

// size is how large a log was.
func (w *viewWorld) size(log string, at float64) (n int64) {
	for _, e := range w.events {
		if e.log == log && e.at <= at {
			n++
		}
	}
	return n
}

// covers returns the first leaf that covers an entry; -1 if none does.
func (w *viewWorld) covers(e viewEvent) int {
	return slices.IndexFunc(w.leaves, func(d float64) bool { return e.at <= d })
}

func (w *viewWorld) moment(k int) Shown {
	s := Shown{Leaf: int64(k), Time: day(w.leaves[k])}
	for i := 1; i <= k; i++ {
		s.Clock += min(day(w.leaves[i]).Sub(day(w.leaves[i-1])), 24*time.Hour)
	}
	return s
}

// view is what somebody sees of the world: the directory as of a leaf, -1 without one, and
// what is at hand.
type view struct {
	leaf       int
	statements map[string]bool
	signatures map[Position]bool
	moments    map[int]bool
	beyond     map[Position]bool // bindings that the directory has not read
}

func (w *viewWorld) history(v view) History {
	repo, err := policy.ParseLocator("https://github.com/acme/widget")
	if err != nil {
		panic(err)
	}
	asOf := day(w.end)
	h := History{Repository: repo, Logs: w.logs, Now: asOf, View: View{Completeness: CompleteScanned, AsOf: asOf}}
	if v.leaf < 0 {
		for _, e := range w.events { // which a scan has read
			h.clock = append(h.clock, newTick(e.log, e.entry.Index, e.entry.NotBefore))
		}
	}
	if v.leaf >= 0 {
		h.View = View{Completeness: CompleteProven, AsOf: day(w.leaves[v.leaf])}
		h.Directory = &Directory{Latest: w.moment(v.leaf), Sizes: map[string]int64{}, Bindings: map[Position]Shown{}}
		for _, l := range w.logs {
			h.Directory.Sizes[l.ID] = w.size(l.ID, w.leaves[v.leaf])
		}
		for name, k := range w.shown {
			if s := w.statements[name]; k <= v.leaf {
				h.Directory.Statements = append(
					h.Directory.Statements, Listed{s.digest, s.pae, Position{}, w.moment(k)},
				)
			}
		}
	}
	for name, s := range w.statements {
		if v.statements[name] {
			h.Statements = append(h.Statements, s)
		}
	}
	for i, e := range w.events {
		at := positionOf(e.entry)
		if e.member != 0 {
			s := w.statements[e.statement]
			if k, ok := w.signed[at]; ok && k <= v.leaf {
				h.Directory.Signatures = append(h.Directory.Signatures, Listed{s.digest, "", at, w.moment(k)})
			}
			if v.signatures[at] {
				h.Signatures = append(h.Signatures, SignatureFacts{
					Statement: s.digest, Signer: person(string(e.member) + "@example.com"), Entry: e.entry,
				}.Verified())
			}
			continue
		}
		if k := w.covers(e); v.leaf >= 0 && k >= 0 && k <= v.leaf {
			h.Directory.Bindings[at] = w.moment(k)
		} else if v.leaf >= 0 && !v.beyond[at] {
			continue
		}
		owner := "2002"
		if e.at > w.owner {
			owner = "2003"
		}
		f := LeafFacts{
			PAE: spelling.Sum([]byte(fmt.Sprint("nobody's ", i))), Body: spelling.Sum([]byte(fmt.Sprint("event ", i))),
			Binding: Binding{Repository: repo, RepositoryID: "1001", OwnerID: owner}, Entry: e.entry,
		}
		if e.statement != "" {
			s := w.statements[e.statement]
			f.PAE = s.pae
		}
		h.Leaves = append(h.Leaves, f.Verified())
	}
	for i, m := range w.moments {
		if v.moments[i] {
			h.Moments = append(h.Moments, m)
		}
	}
	return h
}

// some returns a view of everything, of which less leaves out parts.
func (w *viewWorld) all(leaf int, r *rand.Rand) view {
	v := view{leaf, map[string]bool{}, map[Position]bool{}, map[int]bool{}, map[Position]bool{}}
	for name := range w.statements {
		v.statements[name] = true
	}
	for _, e := range w.events {
		if e.member != 0 {
			v.signatures[positionOf(e.entry)] = true
		} else if r.IntN(2) == 0 {
			v.beyond[positionOf(e.entry)] = true
		}
	}
	for i := range w.moments {
		v.moments[i] = true
	}
	return v
}

func (v view) less(w *viewWorld, r *rand.Rand) view {
	out := view{v.leaf, map[string]bool{}, map[Position]bool{}, map[int]bool{}, v.beyond}
	p := []float64{0, 0.1, 0.3, 1}
	ps, pg, pm := p[r.IntN(3)], p[r.IntN(3)], p[r.IntN(4)]
	for _, name := range viewNames {
		out.statements[name] = r.Float64() >= ps
	}
	for _, e := range w.events {
		if e.member != 0 {
			out.signatures[positionOf(e.entry)] = r.Float64() >= pg
		}
	}
	for i := range w.moments {
		out.moments[i] = r.Float64() >= pm
	}
	return out
}

// viewVerdict is what a chain says to a release.
type viewVerdict struct {
	ok      bool
	decided bool // by one version
}

func (w *viewWorld) judge(c *Chain, who byte, e policy.Entry, now time.Time) viewVerdict {
	d := c.Trusted(Demand{}).
		Decide(policy.Request{Now: now},
			policy.Claims{Signer: person(string(who) + "@example.com")}.Verified(policy.Verification{
				Times: []time.Time{e.NotBefore}, Logged: true, Proven: true, Entries: []policy.Entry{e},
				NotBefore: e.NotBefore,
			}))
	return viewVerdict{d.Permitted, c.Reason() == "" && len(d.Versions) == 1}
}

func digestsOf(c *Chain) (out []string) {
	for _, v := range c.Versions() {
		out = append(out, v.Statement)
	}
	return out
}

// long returns how many worlds a test draws, and from which seed: some, or as many as
// REPOPOLICY_WORLDS says.
func long(t *testing.T, some int) (worlds int, seed uint64) {
	n, err := strconv.Atoi(os.Getenv("REPOPOLICY_WORLDS"))
	if err != nil {
		return some, 1
	}
	seed = uint64(time.Now().UnixNano())
	t.Logf("%d worlds of the seed %d", n, seed)
	return n, seed
}

// TestViews is the property.
func TestViews(t *testing.T) {
	worlds, seed := long(t, 1500)
	pairs, oks, lapsed := 0, 0, 0
	for n := range worlds {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		w := drawView(r)
		leaf := -1
		if len(w.leaves) > 0 {
			leaf = []int{len(w.leaves) - 1, r.IntN(len(w.leaves))}[r.IntN(2)]
		}
		all := w.all(leaf, r)
		h := w.history(all)
		full := Evaluate(h)
		if slices.ContainsFunc(full.Alarms(), func(a Alarm) bool { return a.Code == alarmLapsed }) {
			lapsed++
		}
		type release struct {
			who byte
			at  policy.Entry
		}
		var releases []release
		for range 3 {
			at := r.Float64() * viewDays
			e := policy.Entry{Log: "a", NotBefore: day(at), NotAfter: day(at).Add(10 * time.Minute)}
			if len(w.logs) > 1 && (at > 14 || at > 8 && r.IntN(2) == 0) {
				e.Log = "b"
			}
			e.Index = w.size(e.Log, at) // after what was there, with the next entry at the same place
			for _, who := range []byte("HM") {
				releases = append(releases, release{who, e})
			}
		}
		for range 4 {
			v := all.less(w, r)
			part := Evaluate(w.history(v))
			pairs++
			for _, x := range releases {
				a, b := w.judge(part, x.who, x.at, h.Now), w.judge(full, x.who, x.at, h.Now)
				if a.ok {
					oks++
				}
				if a.ok && !b.ok || a.decided && b.decided && a.ok != b.ok {
					t.Fatalf(
						"seed %d world %d: a release by %c at %v of %v: %+v with less, %+v with all\n%s", seed, n,
						x.who, x.at.NotBefore, x.at, a, b, w.story(v, part, full),
					)
				}
			}
			if part.Reason() == "" && full.Reason() == "" && !slices.Equal(digestsOf(part), digestsOf(full)) {
				t.Fatalf("seed %d world %d: two chains\n%s", seed, n, w.story(v, part, full))
			}
		}
	}
	t.Logf(
		"%d worlds, %d pairs of views, %d OKs with less, %d worlds with something that lapsed", worlds, pairs, oks,
		lapsed,
	)
	if oks == 0 || lapsed == 0 {
		t.Error("nothing was looked at")
	}
}

// TestViewsKept: what a client kept at one leaf is a beginning of the chain at every later one,
// from when the directory takes part.
func TestViewsKept(t *testing.T) {
	worlds, seed := long(t, 1500)
	kept := 0
	for n := range worlds {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		w := drawView(r)
		part := len(w.leaves)
		for _, k := range w.shown {
			part = min(part, k)
		}
		if part+1 >= len(w.leaves) {
			continue
		}
		early := part + r.IntN(len(w.leaves)-1-part)
		late := early + 1 + r.IntN(len(w.leaves)-1-early)
		seen := w.history(w.all(early, r).less(w, r))
		if len(newEvaluator(&seen, newOrder(seen.Logs)).watch.since) == 0 {
			continue // what bound the statement that was listed was late: it does not take part
		}
		first := Evaluate(seen)
		then := w.history(w.all(late, r))
		c := Evaluate(then)
		if first.Reason() != "" || c.Reason() != "" {
			continue
		}
		k := first.Keep()
		if got := digestsOf(c); len(k.Chain) > 0 &&
			(len(got) < len(k.Chain) || !slices.Equal(got[:len(k.Chain)], k.Chain)) {
			t.Fatalf(
				"seed %d world %d: kept at leaf %d, not at %d\n%s", seed, n, early, late,
				w.story(w.all(late, r), first, c),
			)
		}
		kept += len(k.Chain)
	}
	t.Logf("%d worlds, %d versions kept", worlds, kept)
	if kept == 0 {
		t.Error("nothing was looked at")
	}
}

func (w *viewWorld) name(digest string) string {
	for name, s := range w.statements {
		if s.digest == digest {
			return name
		}
	}
	return digest
}

func (w *viewWorld) story(v view, part, full *Chain) string {
	var b strings.Builder
	fmt.Fprintf(&b, "logs %v\nleaf %d of %.1f\n", w.logs, v.leaf, w.leaves)
	for _, e := range w.events {
		what := "binds"
		if e.member != 0 {
			what = "signed by " + string(e.member)
		}
		fmt.Fprintf(
			&b, "%5.2f %s %d: %s %s, certificate of %s", e.at, e.log, e.entry.Index, e.statement, what,
			e.entry.NotBefore.Format("02 15:04"),
		)
		if k, ok := w.signed[positionOf(e.entry)]; ok {
			fmt.Fprintf(&b, ", shown in leaf %d", k)
		}
		if e.member != 0 && !v.signatures[positionOf(e.entry)] {
			b.WriteString(", withheld")
		}
		b.WriteByte('\n')
	}
	for _, name := range viewNames {
		k, ok := w.shown[name]
		fmt.Fprintf(&b, "%s shown %v in leaf %d, at hand %v\n", name, ok, k, v.statements[name])
	}
	for i, m := range w.moments {
		fmt.Fprintf(&b, "moment %v, at hand %v\n", m, v.moments[i])
	}
	for what, c := range map[string]*Chain{"less": part, "all": full} {
		fmt.Fprintf(&b, "%s: %q", what, c.Reason())
		for _, s := range digestsOf(c) {
			b.WriteString(" " + w.name(s))
		}
		for _, p := range c.Problems() {
			fmt.Fprintf(&b, "\n  %s %s", p.Reason, p.Detail)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
