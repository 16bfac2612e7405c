// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/repopolicy/repopolicy/internal/arrange"
	"github.com/repopolicy/repopolicy/policy"
)

// Alarm is something that the owners of a repository, or of a log, should know.
// Of itself it changes no verdict.
type Alarm struct {
	Code       string // such as "fork" or "second-genesis" (SPEC 9)
	Text       string
	Statements []string       // hex digests of the statements that it is about
	Entries    []policy.Entry // log entries that prove it
	// Evidence is the hex SHA-256 of the evidence file about it, "" if there is
	// none; see [Chain.Acknowledge]. Acknowledged says that a version lists it.
	Evidence     string
	Acknowledged bool
}

// The codes of alarms.
const (
	alarmFork            = "fork"             // a version that lost against another one with the same number
	alarmSecondGenesis   = "second-genesis"   // a later version 1
	alarmGenesisConflict = "genesis-conflict" // a version 1 that the log puts before the one that was named
	alarmReanchored      = "re-anchored"      // a super root names another chain than was kept
	alarmRecovery        = "recovery"         // a recovery waits, took effect or was vetoed
	alarmLapsed          = "lapsed"           // a binding of which nobody handed in in time what it binds
	alarmBranch          = "branch"           // a next version that only the branch it was bound from keeps from effect
	alarmStamps          = "stamps"           // an authority that dated a log before its entries
	alarmVoid            = "void"             // a binding that a later version declares void
)

// Contradiction returns which contradiction the alarm is about, so that evidence can be made of
// it; "" for none.
func (a Alarm) Contradiction() string {
	switch a.Code {
	case alarmFork:
		return contradictionFork
	case alarmSecondGenesis, alarmGenesisConflict:
		return contradictionGenesis
	}
	return ""
}

// Problem is why a chain gives no verdict.
type Problem struct {
	Reason    policy.Reason
	Detail    string
	Entries   []policy.Entry
	Statement string // hex digest of the statement that is bound and not in force, if it is at hand
	Waits     bool   // a directory waits for what is bound: it can be handed in
	Ref       string // not the default branch, from which a first version was bound; "" where that is not why
}

// Version is one version of a chain.
type Version struct {
	Number    int
	Statement string // hex digest
	Document  *policy.Document
	Ids       policy.Ids     // of the repository, once the version is in force
	Bindings  []policy.Entry // at the first of these it took effect
	From      time.Time      // of a recovery, when it took effect; else zero
	// WithoutV1 says that it was bound in Rekor v2 alone though there is a v1: it
	// is in no index, and never ordered against evidence in v1.
	WithoutV1 bool
	Signers   []policy.Identity // in a [Finding] alone: who signed it
}

// Chain is what is known about the policy of one repository through time. Only
// [Evaluate] makes one. The zero value and nil allow nothing.
type Chain struct {
	repository policy.Locator
	label      policy.GenesisLabel
	links      []*link
	alarms     []Alarm
	unasked    []string // of which logs it is not shown that they are of one history
	problems   []Problem
	order      *order
	view       View
	kept       Kept
	walk       *walk           // of the chosen chain; nil if there is none
	newest     *policy.Trusted // version; nil if there is none
}

// link is one version of a chain while it is being built.
type link struct {
	stmt   *Statement
	effect effect
	ids    policy.Ids
}

func (l *link) file() *policy.File { return l.stmt.file() }

type leaf struct {
	LeafFacts
	statement *Statement // nil if it is not at hand
	watch     watch
	deadline  time.Duration // by the directory's clock; what is handed in later does not count
	shown     Shown         // of the statement
	pending   bool          // the statement was not handed in so far, or too late
}

type signature struct {
	SignatureFacts
	listed bool // a directory shows it
	shown  Shown
}

// evaluator holds the sorted input of one evaluation.
type evaluator struct {
	*order
	h          *History
	statements map[string]*Statement
	genesis    []*Statement            // every version 1 that does not recover anything
	children   map[string][]*Statement // by digest of the previous statement
	recoverers map[string][]*Statement // by digest of the head that they recover
	leaves     map[string][]*leaf      // by digest of the statement
	unknown    []*leaf                 // bindings of statements that are not at hand
	lapsed     []*leaf                 // bindings of which a directory shows that they bind nothing
	watch      *watcher                // nil without a directory
	liars      []contradicted          // authorities that are believed in no date
	incomplete map[string]bool         // statements of which a signature that a directory shows is not at hand
	sigs       map[string][]*signature
	kept       map[string]bool
}

// walk follows one chain from its genesis.
type walk struct {
	*evaluator
	id       string // number of the repository that founded the chain
	links    []*link
	subjects map[signer]string // accounts that signed, by name
	settled  map[*leaf]bool    // bindings that were compared with the chain
	alarms   []Alarm
	problems []Problem
	owner    map[*leaf]bool // bindings that only the owner's number keeps from effect
}

// evaluate is [Evaluate] by the signatures that count.
func evaluate(h History) *Chain {
	c := &Chain{repository: h.Repository, view: h.View, kept: h.Kept, order: newOrder(h.Logs)}
	switch {
	case h.Repository.IsZero() || h.Now.IsZero():
		return c.fail(policy.Internal, "no repository or no moment of judging")
	case len(h.Statements) > maxStatements || len(h.Signatures)+len(h.Leaves) > maxEntries:
		return c.fail(policy.ChainTooLarge, fmt.Sprintf(
			"%d statements, %d signatures and %d log entries", len(h.Statements), len(h.Signatures), len(h.Leaves)))
	}
	for _, why := range h.LogForks {
		c.fail(policy.LogForked, why)
	}
	for _, why := range h.Lies {
		c.fail(policy.DirectoryLied, why)
	}
	for _, why := range h.Unproven {
		c.fail(policy.LogUnproven, why)
	}
	c.unasked = h.Unasked
	e := newEvaluator(&h, c.order)
	for _, l := range e.liars {
		c.alarm(alarmStamps, l.by+" dates a log before an entry that was in it", nil, l.entry)
	}
	var walks []*walk
	if len(e.genesis) > maxGeneses {
		return c.fail(policy.ChainTooLarge, fmt.Sprintf("%d first versions", len(e.genesis)))
	}
	for _, s := range e.genesis {
		for _, id := range e.foundersOf(s) {
			if w := e.walkFrom(s, id); w != nil {
				walks = append(walks, w)
			}
		}
	}
	w := c.choose(e, walks)
	if w != nil {
		c.adopt(w)
	}
	c.demandKept(e)
	c.demandIds(h.Ids)
	c.missing(e, w, walks)
	c.compare(e, w, walks)
	if len(c.links) > maxVersions {
		c.fail(policy.ChainTooLarge, fmt.Sprintf("%d versions", len(c.links)))
	}
	return c
}

func (c *Chain) fail(r policy.Reason, detail string, entries ...policy.Entry) *Chain {
	c.problems = append(c.problems, Problem{Reason: r, Detail: detail, Entries: entries})
	return c
}

func (c *Chain) alarm(code, text string, statements []string, entries ...policy.Entry) {
	c.alarms = append(c.alarms, Alarm{Code: code, Text: text, Statements: statements, Entries: entries})
}

// newEvaluator sorts the history; what was not verified and what the log clock
// rules out is left behind here.
func newEvaluator(h *History, o *order) *evaluator {
	e := &evaluator{
		order: o, h: h, statements: map[string]*Statement{},
		children: map[string][]*Statement{}, recoverers: map[string][]*Statement{},
		leaves: map[string][]*leaf{}, sigs: map[string][]*signature{}, kept: map[string]bool{},
	}
	for _, d := range h.Kept.Chain {
		e.kept[d] = true
	}
	e.sort()
	return e
}

// sort sorts statements, signatures and leaves.
func (e *evaluator) sort() {
	shown := map[string]*Statement{}
	for i := range e.h.Statements {
		if s := &e.h.Statements[i]; s.digest != "" && shown[s.digest] == nil {
			shown[s.digest], shown[s.pae] = s, s
		}
	}
	leaves := e.bindings(shown)
	e.watch = e.watcher(leaves)
	lapsed := e.look(leaves)
	e.incomplete = e.watch.holes(e.h.Signatures, leaves)
	for i := range e.h.Statements {
		s := &e.h.Statements[i]
		if s.digest == "" || e.statements[s.digest] != nil || e.incomplete[s.digest] {
			continue
		}
		e.statements[s.digest] = s
		switch {
		case s.previous != "":
			e.children[s.previous] = append(e.children[s.previous], s)
		case s.doc != nil && s.file().Recovers != "":
			e.recoverers[s.file().Recovers] = append(e.recoverers[s.file().Recovers], s)
		case s.doc != nil:
			e.genesis = append(e.genesis, s)
		}
	}
	byDigest := func(a, b *Statement) int { return cmp.Compare(a.digest, b.digest) }
	arrange.By(e.genesis, byDigest)
	for _, m := range []map[string][]*Statement{e.children, e.recoverers} {
		for _, s := range m {
			arrange.By(s, byDigest)
		}
	}
	e.place(leaves, lapsed)
	e.signatures()
}

// bindings returns the leaves that bind something, and sets clocks and dates of the logs.
func (e *evaluator) bindings(shown map[string]*Statement) []*leaf {
	var out []*leaf
	var all []policy.Entry
	for _, v := range e.h.Leaves {
		if !v.verified {
			continue
		}
		all = append(all, v.facts.Entry)
		if e.h.MaintainersBind || v.facts.Binding.IsZero() {
			continue
		}
		l := &leaf{LeafFacts: v.facts, statement: shown[v.facts.Payload]}
		if l.statement == nil {
			l.statement = shown[v.facts.PAE]
		}
		out = append(out, l)
	}
	for _, s := range e.h.Signatures {
		if s.verified {
			all = append(all, s.facts.Entry)
		}
	}
	var moments []dated
	for _, m := range e.h.Moments {
		moments = append(moments, datedBy(m))
	}
	if d := e.h.Directory; d != nil {
		for at, s := range d.Bindings {
			moments = append(moments, dated{log: at.Log, size: at.Index + 1, at: s.Time})
		}
	}
	e.liars = e.date(moments, all)
	if e.h.View.Completeness != CompleteScanned { // a scan has read all that there is
		all = e.vouched(out)
	}
	e.wind(e.h.clock, all)
	return slices.DeleteFunc(out, func(l *leaf) bool { return !e.counts(l.Entry) })
}

// vouched returns the entries that every view of the repository has: bindings under a name
// or number of the chain. What else is at hand, a stranger may have added or left out.
func (e *evaluator) vouched(leaves []*leaf) []policy.Entry {
	var out []policy.Entry
	horizon(e.h.Repository, leaves, func(l *leaf) { out = append(out, l.Entry) })
	return out
}

// look applies what a directory shows to the bindings, and returns which lapsed.
func (e *evaluator) look(leaves []*leaf) map[*leaf]bool {
	lapsed, watched := map[*leaf]bool{}, map[*Statement][]*leaf{}
	for _, l := range leaves {
		lapsed[l] = e.watch.look(l)
		if l.watch != watchNone && l.statement != nil {
			watched[l.statement] = append(watched[l.statement], l)
		}
	}
	for _, l := range leaves {
		if l.watch == watchNone && l.statement != nil && !e.authoritative(l.Entry) {
			lapsed[l] = l.mirrors(watched[l.statement], lapsed)
		}
	}
	return lapsed
}

// place sorts the bindings by what is known of their statements.
func (e *evaluator) place(leaves []*leaf, lapsed map[*leaf]bool) {
	for _, l := range leaves {
		switch {
		case lapsed[l]:
			e.lapsed = append(e.lapsed, l)
		case l.statement == nil || e.incomplete[l.statement.digest]:
			e.unknown = append(e.unknown, l)
		default:
			e.leaves[l.statement.digest] = append(e.leaves[l.statement.digest], l)
		}
	}
	byEntry := func(a, b *leaf) int {
		return cmp.Or(
			a.Entry.Compare(b.Entry), cmp.Compare(a.Body, b.Body),
			cmp.Compare(a.Binding.RepositoryID, b.Binding.RepositoryID),
			cmp.Compare(a.Binding.OwnerID, b.Binding.OwnerID),
		)
	}
	for digest, ls := range e.leaves {
		arrange.By(ls, byEntry)
		// However often a binding is logged again, the first ones of each log
		// decide. If they do not suffice, what is left out leaves them pending.
		logged := map[string]int{}
		e.leaves[digest] = slices.DeleteFunc(ls, func(l *leaf) bool {
			logged[l.Entry.Log]++
			return logged[l.Entry.Log] > maxBindings
		})
	}
	arrange.By(e.unknown, byEntry)
	arrange.By(e.lapsed, byEntry)
}

// mirrors takes over what a directory says of the bindings of the same statement, of which
// this one is no more than a mirror in Rekor v1, and returns whether all of them lapsed. Of the
// same number they are looked at up to the first that counts.
func (l *leaf) mirrors(of []*leaf, lapsed map[*leaf]bool) bool {
	var one *leaf
	all := true
	for _, x := range of {
		if x.Binding.RepositoryID != l.Binding.RepositoryID {
			continue
		}
		if !lapsed[x] && !x.pending {
			return false
		}
		one, all = x, all && lapsed[x]
	}
	if one == nil {
		return false
	}
	l.pending, l.watch, l.deadline = true, one.watch, one.deadline
	return all
}

// signatures sorts the signatures over statements.
func (e *evaluator) signatures() {
	for _, s := range e.h.Signatures {
		if s.verified && e.counts(s.facts.Entry) {
			e.sigs[s.facts.Statement] = append(e.sigs[s.facts.Statement], &signature{SignatureFacts: s.facts})
		}
	}
	for digest, sigs := range e.sigs {
		arrange.By(sigs, func(a, b *signature) int {
			return cmp.Or(
				a.Entry.Compare(b.Entry), cmp.Compare(a.Signer.Value, b.Signer.Value),
				cmp.Compare(a.Signer.TokenSubject, b.Signer.TokenSubject),
			)
		})
		sigs = e.watch.handedIn(digest, sigs, e.leaves[digest])
		// Of entries of one signer in one log the first does what all do: however
		// often somebody logs a signature again, the work stays the same.
		type who struct {
			signer
			subject, log string
			shown        time.Duration
			counts       bool
		}
		seen := map[who]bool{}
		e.sigs[digest] = slices.DeleteFunc(sigs, func(s *signature) bool {
			k := who{signerOf(&s.Signer), s.Signer.TokenSubject, s.Entry.Log, s.shown.Clock, s.Doubt == ""}
			again := seen[k]
			seen[k] = true
			return again
		})
	}
}

// foundersOf returns the numbers of the repositories that bound s as a genesis:
// each of them founded a chain of its own.
func (e *evaluator) foundersOf(s *Statement) []string {
	if e.h.MaintainersBind {
		return []string{""}
	}
	var ids []string
	for _, l := range e.leaves[s.digest] {
		ids = append(ids, l.Binding.RepositoryID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// walkFrom follows the chain from s as the genesis of the repository with that
// number; nil if s never took effect there.
func (e *evaluator) walkFrom(s *Statement, id string) *walk {
	w := &walk{evaluator: e, id: id, subjects: map[signer]string{}, settled: map[*leaf]bool{}, owner: map[*leaf]bool{}}
	sigs := w.countable(nil, s)
	eff := w.effectOf(nil, nil, s, sigs)
	if eff.none() && len(eff.mirror) == 0 {
		return nil
	}
	w.add(s, eff, sigs)
	for len(eff.sure) > 0 || !eff.from.IsZero() {
		next := w.successor()
		if next == nil {
			return w
		}
		eff = next.effect
	}
	w.fail(policy.EffectUndecided, entriesOf(eff.possible),
		"version %d: its signatures and its binding are in logs that are not ordered, or too early", w.head().stmt.version)
	w.problems[len(w.problems)-1].Statement = w.head().stmt.digest
	return w
}

func (w *walk) add(s *Statement, eff effect, sigs []*signature) *link {
	w.learn(sigs, &eff)
	ids, sure := w.idsAfter(s, &eff)
	l := &link{stmt: s, effect: eff, ids: ids}
	w.links = append(w.links, l)
	if !sure {
		w.fail(policy.EffectUndecided, entriesOf(eff.possible),
			"version %d was bound under several numbers of repository or owner, and which came first is not known",
			s.version)
	}
	return l
}

func (w *walk) fail(r policy.Reason, entries []policy.Entry, format string, args ...any) {
	w.problems = append(w.problems, Problem{Reason: r, Detail: fmt.Sprintf(format, args...), Entries: entries})
}

func (w *walk) head() *link { return w.links[len(w.links)-1] }

func entriesOf(ls []*leaf) []policy.Entry {
	var out []policy.Entry
	for _, l := range ls {
		out = append(out, l.Entry)
	}
	return out
}

// contender is a version that took effect, or may have, after the same one as
// another.
type contender struct {
	stmt   *Statement
	effect effect
	sigs   []*signature
}

// successor adds the version that took effect first after the head, and returns
// nil if there is none or if that is not decided (SPEC 8.2).
func (w *walk) successor() *link {
	head := w.head()
	var all []contender
	for _, s := range w.children[head.stmt.digest] {
		if !follows(head.stmt, s) {
			continue
		}
		sigs := w.countable(head, s)
		eff := w.effectOf(head, head, s, sigs)
		if !eff.none() {
			all = append(all, contender{s, eff, sigs})
		}
		for _, l := range w.leaves[s.digest] {
			w.owner[l] = w.mayBind(head, s, l.Binding) == bindsOwner
		}
	}
	recs := w.recoveries(head)
	win := w.winner(all)
	if win == nil && len(all) > 0 {
		w.undecided(all)
		return nil
	}
	if next := w.recover(head, recs, win); next != nil || len(w.problems) > 0 || win == nil {
		return next
	}
	for _, x := range all {
		if x.stmt != win.stmt {
			w.lost(&x, win.stmt)
		}
	}
	return w.add(win.stmt, win.effect, win.sigs)
}

// winner is the one that took effect before all others could; where the log does
// not decide, the one that was kept.
func (w *walk) winner(all []contender) *contender {
	for i := range all {
		if !slices.ContainsFunc(all, func(x contender) bool {
			return x.stmt != all[i].stmt && !all[i].effect.beats(w.order, &x.effect)
		}) {
			return &all[i]
		}
	}
	var kept *contender
	for i := range all {
		if w.kept[all[i].stmt.digest] {
			kept = &all[i]
		}
	}
	return kept
}

func (w *walk) undecided(all []contender) {
	var entries []policy.Entry
	for _, x := range all {
		w.settle(x.effect.possible)
		entries = append(entries, entriesOf(x.effect.possible)...)
	}
	w.fail(policy.ChainForked, entries, "%d versions %d, and no order between them", len(all), all[0].stmt.version)
}

func (w *walk) lost(loser *contender, winner *Statement) {
	w.settle(loser.effect.possible)
	w.alarms = append(w.alarms, Alarm{
		Code:       alarmFork,
		Text:       fmt.Sprintf("another version %d with a quorum took effect later", loser.stmt.version),
		Statements: []string{winner.digest, loser.stmt.digest}, Entries: entriesOf(loser.effect.possible),
	})
}

func (w *walk) settle(leaves []*leaf) {
	for _, l := range leaves {
		w.settled[l] = true
	}
}
